"""Real apps under real sessions, seen through the editor alone: what it hears, and what the app
itself answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from harness import Editor, Project, Session, free_port
from harness.processes import marked, until

Start = Callable[..., Session]
Open = Callable[..., Editor]

EDITORS = ("visual-studio-code", "neovim", "emacs")


def verdicts(editor: Editor, path: Path) -> list[dict[str, Any]]:
    return [verdict for verdict in editor.verdicts if verdict["uri"] == path.as_uri()]


def saved(editor: Editor, path: Path) -> dict[str, Any]:
    """Save, and wait for the verdict."""
    seen = len(verdicts(editor, path))
    editor.save(path)
    found = editor.until(lambda e: verdicts(e, path)[seen:], f"a verdict on {path.name}")
    return dict(found[0])


def state(editor: Editor, name: str) -> str:
    return next((s["state"] for s in editor.sessions if s["name"] == name), "unknown")


@pytest.mark.parametrize("speaks", EDITORS)
def test_one_save_after_the_other(start: Start, open_editor: Open, speaks: str) -> None:
    session = start("flask")
    project, sample = session.project, session.sample
    assert sample is not None
    editor = open_editor(project.path, speaks)
    editor.until(lambda e: e.sessions and e.sessions[0]["state"] == "ready", "ready")
    name = editor.sessions[0]["name"]
    assert editor.sessions[0]["listening"] == [f"127.0.0.1:{session.port}"]
    pid = session.pid()

    # Not loaded, and loaded but the same: nothing happens.
    assert saved(editor, project / sample.unused)["action"] == "ignore"
    assert saved(editor, project / sample.leaf.file)["action"] == "ignore"
    assert session.pid() == pid

    # A constant at module level: a new run.
    token = sample.leaf
    project.bump(token)
    assert saved(editor, project / token.file)["action"] == "restart"
    session.eventually(token)
    editor.until(lambda e: state(e, name) == "ready", "ready again")
    assert session.pid() != pid
    pid = session.pid()

    # Half a line: held, with a diagnostic at its place, and the app goes on.
    file = project / token.file
    good = project.read(token.file)
    project.write(token.file, good + "é = (\n")
    assert saved(editor, file)["action"] == "hold"
    editor.until(lambda e: state(e, name) == "held", "held")
    until(lambda: editor.diagnostics(file), "a diagnostic")
    (diagnostic,) = editor.diagnostics(file)
    assert diagnostic.source == "onsave"
    assert diagnostic.range.start.line == good.count("\n")
    assert session.pid() == pid

    # Mended: the diagnostic goes; the bytes are those that run, so nothing is done.
    project.write(token.file, good)
    saved(editor, file)
    until(lambda: not editor.diagnostics(file), "the diagnostic is gone")
    editor.until(lambda e: state(e, name) == "ready", "ready")
    assert session.pid() == pid


def test_a_failing_start_is_shown_at_its_line(start: Start, open_editor: Open) -> None:
    session = start("flask")
    project, sample = session.project, session.sample
    assert sample is not None
    editor = open_editor(project.path)
    editor.until(lambda e: e.sessions and e.sessions[0]["state"] == "ready", "ready")
    pid = session.pid()
    file = project / sample.leaf.file
    good = project.read(sample.leaf.file)
    project.write(sample.leaf.file, good + "\nunknown_name\n")
    editor.save(file)
    until(lambda: editor.diagnostics(file), "a diagnostic")
    (diagnostic,) = editor.diagnostics(file)
    assert "unknown_name" in diagnostic.message
    assert diagnostic.range.start.line == good.count("\n") + 1
    assert diagnostic.related_information
    assert session.pid() == pid, "the old run goes on"
    project.write(sample.leaf.file, good)
    editor.save(file)
    until(lambda: not editor.diagnostics(file), "the diagnostic is gone")
    assert session.answers(sample.leaf, project.token(sample.leaf))


def test_a_save_that_comes_twice_is_one_action(start: Start, open_editor: Open) -> None:
    session = start("flask")
    project, sample = session.project, session.sample
    assert sample is not None
    editor = open_editor(project.path)
    editor.until(lambda e: e.sessions and e.sessions[0]["state"] == "ready", "ready")
    run = editor.sessions[0]["run"]
    file = project / sample.leaf.file
    project.bump(sample.leaf)
    for _ in range(2):
        editor.save(file)
        editor.changed_on_disk(file)
    session.eventually(sample.leaf)
    session.settle()
    editor.until(lambda e: e.sessions[0]["state"] == "ready", "ready")
    assert editor.sessions[0]["run"] == run + 1


def test_a_renamed_folder_and_a_deleted_file(start: Start, open_editor: Open) -> None:
    session = start("service")
    project, sample = session.project, session.sample
    assert sample is not None
    editor = open_editor(project.path)
    editor.until(lambda e: e.sessions and e.sessions[0]["state"] == "ready", "ready")
    folder, moved = project / "helpers", project / "moved"
    folder.rename(moved)
    renamed = types.RenameFilesParams([types.FileRename(folder.as_uri(), moved.as_uri())])
    editor.do(editor.client.workspace_did_rename_files, renamed)
    editor.until(lambda e: e.sessions[0]["state"] in ("held", "broken"), "it is noticed")
    assert session.pid(), "the old run goes on"
    moved.rename(folder)
    editor.do(
        editor.client.workspace_did_rename_files,
        types.RenameFilesParams([types.FileRename(moved.as_uri(), folder.as_uri())]),
    )
    editor.until(lambda e: e.sessions[0]["state"] == "ready", "and mended")


def test_why(start: Start, open_editor: Open) -> None:
    session = start("flask")
    project, sample = session.project, session.sample
    assert sample is not None
    editor = open_editor(project.path)
    editor.until(lambda e: e.sessions and e.sessions[0]["state"] == "ready", "ready")
    answer = editor.execute("onsave.server.why", {"uri": (project / sample.leaf.file).as_uri()})
    (told,) = answer["sessions"]
    assert told["loaded"]
    assert told["module"] == "shop.prices"
    assert told["since"] == 1
    (told,) = editor.execute(
        "onsave.server.why", {"uri": (project / sample.unused).as_uri()}
    )["sessions"]
    assert not told["loaded"]
    assert told["would"]["action"] == "ignore"


def test_two_sessions_and_two_editors(start: Start, open_editor: Open) -> None:
    flask, service = start("flask"), start("service")
    editors = [open_editor(flask.project.path), open_editor(service.project.path, "neovim")]
    for editor in editors:
        editor.until(lambda e: [s["state"] for s in e.sessions] == ["ready"] * 2, "both are ready")
    assert flask.sample is not None
    assert service.sample is not None
    token = service.sample.leaf
    service.project.bump(token)
    file = service.project / token.file
    told = saved(editors[0], file)  # by the editor that has the other project open
    actions = {v["session"]: v["action"] for e in editors for v in verdicts(e, file)}
    service.eventually(token)
    actions |= {v["session"]: v["action"] for e in editors for v in verdicts(e, file)}
    assert actions[str(service.status["name"])] == "restart", (told, actions)
    assert actions.get(str(flask.status["name"]), "ignore") == "ignore"


def test_an_app_of_the_editor_s_own_from_lens_to_stop(
    open_editor: Open, project: Callable[[str], Project], mark: str
) -> None:
    copy = project("service")
    editor = open_editor(copy.path)
    params = types.CodeLensParams(types.TextDocumentIdentifier((copy / "service.py").as_uri()))
    (lens,) = editor.call(editor.client.text_document_code_lens_async(params))
    assert lens.command.title.startswith("▶ Run with onsave")
    port = free_port()
    (arguments,) = lens.command.arguments
    import sys

    command = [sys.executable, *arguments["command"][1:], "--port", str(port)]
    editor.execute(lens.command.command, {**arguments, "command": command})
    editor.until(lambda e: e.sessions and e.sessions[0]["state"] == "ready", "ready")
    assert editor.sessions[0]["name"] == arguments["name"]
    first = editor.sessions[0]["pid"]
    editor.execute("onsave.server.restart")
    editor.until(
        lambda e: e.sessions and e.sessions[0]["state"] == "ready" and e.sessions[0]["run"] > 1,
        "restarted",
    )
    assert editor.sessions[0]["pid"] != first
    editor.execute("onsave.server.stop")
    editor.until(lambda e: not e.sessions, "ended")
    until(lambda: all("service.py" not in " ".join(p.cmdline()) for p in marked(mark)), "no app")


def test_a_headless_app_goes_with_a_server_that_is_killed(
    open_editor: Open, project: Callable[[str], Project], mark: str
) -> None:
    import sys

    copy = project("service")
    editor = open_editor(copy.path)
    command = [sys.executable, "service.py", "--port", str(free_port())]
    editor.execute("onsave.server.start", {"command": command})
    editor.until(lambda e: e.sessions and e.sessions[0]["state"] == "ready", "ready")
    server = editor.client._server
    server.kill()
    until(lambda: not marked(mark), "nothing is left")
    editor.client.capabilities = None
