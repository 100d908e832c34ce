"""A broken save never takes the app down, and what mends it brings the newest code."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable

import pytest

from harness import SAMPLES, Project, Session, Token, free_port

Start = Callable[..., Session]
Copy = Callable[[str], Project]

everywhere = pytest.mark.parametrize("app", SAMPLES)


def append(session: Session, name: str, line: str) -> str:
    """Add a line to a file; the text without it."""
    text = session.project.read(name)
    session.project.write(name, text + line + "\n")
    return text


@everywhere
def test_half_a_line_is_held(start: Start, app: str) -> None:
    session = start(app)
    leaf, main = session.sample.leaf, session.sample.main
    session.eventually(leaf)
    before = session.identity()
    good = append(session, leaf.file, "def half(")
    verdict = session.save_one(leaf.file)
    assert verdict.action == "hold", str(verdict)
    session.until_state("held")
    assert session.identity() == before
    assert session.answers(leaf, "prices-0" if leaf.name == "prices" else f"{leaf.name}-0")
    [problem] = session.until(lambda s: s.problems, "it is shown where")
    assert problem["path"] == session.path(leaf.file)
    assert problem["range"][0] == good.count("\n")
    assert problem["kind"] == "syntax"

    # Another good file waits with it: a change over several files is never half live.
    old = session.project.token(main)
    session.project.bump(main)
    assert session.save_one(main.file).action == "hold"
    assert session.identity() == before
    assert session.answers(main, old)

    session.project.write(leaf.file, good)
    session.project.bump(leaf)
    session.save_one(leaf.file)
    session.eventually(leaf)
    session.eventually(main)
    session.until(lambda s: not s.problems, "the problem is gone")
    session.ready()


@everywhere
def test_a_misspelt_name_at_module_level_leaves_the_old_run_answering(
    start: Start, app: str
) -> None:
    session = start(app)
    leaf = session.sample.leaf
    session.eventually(leaf)
    old = session.project.token(leaf)
    good = append(session, leaf.file, "nonsense_name")
    verdict = session.save_one(leaf.file)
    assert verdict.action == "restart", str(verdict)
    session.until_state("held")
    for _ in range(5):
        assert session.answers(leaf, old)
    here = lambda s: [p for p in s.problems if p["path"] == s.path(leaf.file)]
    [problem] = session.until(here, "it is shown where")
    assert "nonsense_name" in problem["message"]
    assert problem["range"][0] == good.count("\n")

    session.project.write(leaf.file, good)
    session.project.bump(leaf)
    session.save_one(leaf.file)
    session.eventually(leaf)
    session.ready()
    session.until(lambda s: not s.problems, "the problem is gone")


@everywhere
def test_undoing_the_mistake_needs_no_restart(start: Start, app: str) -> None:
    session = start(app)
    leaf = session.sample.leaf
    before = session.identity()
    good = append(session, leaf.file, "def half(")
    assert session.save_one(leaf.file).action == "hold"
    session.project.write(leaf.file, good)
    assert session.save_one(leaf.file).action == "ignore"
    session.ready()
    assert session.identity() == before
    session.until(lambda s: not s.problems, "the problem is gone")


@everywhere
@pytest.mark.parametrize("line", ["def half(", "nonsense_name", "import missing_module_xyz"])
def test_broken_at_the_very_first_start(start: Start, project: Copy, app: str, line: str) -> None:
    sample = SAMPLES[app]
    copy = project(app)
    text = copy.read(sample.leaf.file)
    copy.write(sample.leaf.file, f"{text}{line}\n")
    session = start(copy, sample.command, sample=sample, wait=False)
    session.until_state("broken")
    leaf = session.path(sample.leaf.file)
    session.until(lambda s: any(p["path"] == leaf for p in s.problems), "it is shown where")
    # What could not mend it starts nothing.
    assert session.save_one(sample.unused).action == "ignore"
    copy.write(sample.leaf.file, text)
    session.save_one(sample.leaf.file)
    session.ready()
    session.eventually(sample.leaf)
    session.until(lambda s: not s.problems, "the problem is gone")


@pytest.mark.parametrize("as_package", [False, True], ids=["module", "package"])
@pytest.mark.parametrize("first", [False, True], ids=["while it runs", "at the first start"])
def test_a_missing_module_is_created(
    start: Start, project: Copy, as_package: bool, first: bool
) -> None:
    sample = SAMPLES["service"]
    copy = project("service")
    importer = 'from helpers.missing import TOKEN  # "token-0"\n'
    if first:
        copy.write(sample.leaf.file, importer)
    session = start(copy, sample.command, sample=sample, wait=not first)
    if not first:
        copy.write(sample.leaf.file, importer)
        session.save_one(sample.leaf.file)
    session.until_state("broken" if first else "held")
    if not first:
        assert session.answers(sample.leaf, "token-0")
    name = "helpers/missing/__init__.py" if as_package else "helpers/missing.py"
    copy.write(name, 'TOKEN = "token-77"\n')
    session.save_one(name)
    session.ready()
    session.eventually(sample.leaf, "token-77")


def test_a_data_file_that_could_not_be_read(start: Start, project: Copy) -> None:
    sample = SAMPLES["flask"]
    copy = project("flask")
    (copy / "shop/settings.yaml").unlink()
    session = start(copy, sample.command, sample=sample, wait=False)
    session.until_state("broken")
    copy.write("shop/settings.yaml", "SETTING: setting-5\n")
    session.save_one("shop/settings.yaml")
    session.ready()
    session.eventually(sample.data, "setting-5")


def test_the_env_file_is_created_and_changed(start: Start, project: Copy) -> None:
    sample = SAMPLES["service"]
    copy = project("service")
    copy.write(
        "helpers/tokens.py", 'import os\n\nTOKEN = os.environ.get("SHOP_TOKEN", "unset-0")\n'
    )
    port = free_port()
    command = [part.format(python=sys.executable, port=port) for part in sample.command]
    settings = f"[apps.shop]\ncommand = {json.dumps(command)}\nenv-file = \".env\"\n"
    copy.write("onsave.toml", settings)
    session = start(copy, [], sample=sample, port=port, wait=False)
    session.until_state("ready", "broken")
    for number in (1, 2):
        copy.write(".env", f"SHOP_TOKEN=set-{number}\n")
        session.save_one(".env")
        session.eventually(Token("", "set", "/token"), f"set-{number}")


@everywhere
def test_an_app_that_was_killed_waits_visibly(start: Start, app: str) -> None:
    """Somebody kills it: that is told, and the next save of a loaded file starts it."""
    session = start(app)
    leaf = session.sample.leaf
    session.eventually(leaf)
    os.kill(int(session.request("status")["pid"]), signal.SIGKILL)
    session.until_state("broken")
    session.bump(leaf)
    session.ready()
    session.eventually(leaf)
