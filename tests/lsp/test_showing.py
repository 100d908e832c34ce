"""What a session says, as the editor shows it: diagnostics, status, progress, one message for a
failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fake_session import FakeSession
from lsprotocol import types

from conftest import OpenClient

Fake = Callable[..., FakeSession]

LINE = 'x = "😀é" + oops'
#: ``oops`` in characters, and in the units of each encoding.
PLACE = (0, 11, 0, 15)
UNITS = {"utf-8": (15, 19), "utf-16": (12, 16), "utf-32": (11, 15)}


def problem(path: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "range": list(PLACE), "message": "NameError: oops",
            "severity": "error", "kind": "failure", "related": [], **more}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shöp.py"
    path.write_text(f"{LINE}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", None])
async def test_ranges_are_in_the_negotiated_encoding(
    open_client: OpenClient, fake: Fake, file: Path, encoding: str | None
) -> None:
    def negotiate(capabilities: types.ClientCapabilities) -> None:
        capabilities.general = types.GeneralClientCapabilities(
            position_encodings=[encoding] if encoding else None
        )

    session = fake()
    client = await open_client(capabilities=negotiate)
    assert client.result.capabilities.position_encoding == (encoding or "utf-16")
    await client.knows("shop")
    session.say(type="problems", problems=[problem(file)])
    (found,) = await client.until(lambda: client.diagnostics(file), "a diagnostic")
    start, end = UNITS[encoding or "utf-16"]
    assert found.range == types.Range(types.Position(0, start), types.Position(0, end))
    assert (found.source, found.code, found.severity) == ("onsave", "failure", 1)


async def test_diagnostics_of_several_sessions_are_one_set(
    open_client: OpenClient, fake: Fake, file: Path
) -> None:
    a, b = fake("a"), fake("b")
    client = await open_client()
    await client.knows("a", "b")
    both, only_b = problem(file, kind="syntax"), problem(file, kind="syntax", message="other")
    a.say(type="problems", problems=[both])
    await client.until(lambda: len(client.diagnostics(file)) == 1, "one")
    b.say(type="problems", problems=[both, only_b])
    await client.until(lambda: len(client.diagnostics(file)) == 2, "two, the same one once")
    a.say(type="problems", problems=[])
    b.say(type="problems", problems=[only_b])
    await client.until(lambda: [d.message for d in client.diagnostics(file)] == ["other"], "b's")
    b.kill()
    await client.until(lambda: client.diagnostics(file) == [], "gone with its session")


async def test_related_places(open_client: OpenClient, fake: Fake, file: Path) -> None:
    session = fake()
    with_related = await open_client()
    without = await open_client(capabilities=_without_related)
    for client in (with_related, without):
        await client.knows("shop")
    session.say(type="problems", problems=[problem(file, related=[[str(file), 1, "in main"]])])
    (found,) = await with_related.until(lambda: with_related.diagnostics(file), "diagnostic")
    assert found.message == "NameError: oops"
    (related,) = found.related_information
    assert (related.location.uri, related.message) == (file.as_uri(), "in main")
    assert related.location.range.end == types.Position(0, 16)
    (found,) = await without.until(lambda: without.diagnostics(file), "diagnostic")
    assert found.message == "NameError: oops\nshöp.py:1: in main"
    assert found.related_information is None


def _without_related(capabilities: types.ClientCapabilities) -> None:
    assert capabilities.text_document is not None
    capabilities.text_document.publish_diagnostics = types.PublishDiagnosticsClientCapabilities()


async def test_an_open_document_is_called_as_the_editor_calls_it(
    open_client: OpenClient, fake: Fake, file: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.py"
    link.symlink_to(file)
    session = fake()
    client = await open_client()
    await client.knows("shop")
    client.open(link.as_uri())
    await client.execute("onsave.server.status")  # the server has seen what came before
    session.say(type="problems", problems=[problem(file)])
    await client.until(lambda: client.diagnostics(link), "a diagnostic under the link's URI")


async def test_status_tells_of_all_sessions(
    open_client: OpenClient, fake: Fake, tmp_path: Path
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    session.status("held", 4, pid=77, listening=["127.0.0.1:8000"], stale=[str(tmp_path / "a b")],
                   lastVerdict=None, readyMs=12.5, root=str(tmp_path), command=["flask", "run"],
                   message="held", processes=[77, 78], loaded=12)  # fmt: skip
    await client.until(lambda: client.sessions[0]["state"] == "held", "held")
    assert client.sessions == [{
        "name": "shop", "state": "held", "run": 4, "pid": 77, "listening": ["127.0.0.1:8000"],
        "stale": [(tmp_path / "a b").as_uri()], "lastVerdict": None, "readyMs": 12.5,
        "root": tmp_path.as_uri(), "command": ["flask", "run"], "message": "held",
        "processes": [77, 78], "loaded": 12,
    }]  # fmt: skip
    assert await client.execute("onsave.server.status") == {"sessions": client.sessions}


async def test_what_came_of_a_save_is_logged_once(open_client: OpenClient, fake: Fake) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    session.status("ready", 1, message="started in 0.52 s")  # before we came
    session.status("ready", 2, message="restarted in 0.41 s")
    session.status("ready", 2, message="restarted in 0.41 s", loaded=4)
    session.status("ready", 3, message="restarted in 0.41 s")
    session.say(type="log", level="info", text="over")
    await client.logged("over")
    told = [m.message for m in client.of(types.WINDOW_LOG_MESSAGE)]
    assert told.count("shop: restarted in 0.41 s") == 2


async def test_progress_while_it_restarts(open_client: OpenClient, fake: Fake) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    for run in (1, 2):
        session.status("restarting", run)
        begun = await client.until(partial(_progress, client, "begin", run), "begun")
        session.status("ready", run)
        ended = await client.until(partial(_progress, client, "end", run), "ended")
        assert begun[-1].token == ended[-1].token
        assert begun[-1].value["title"] == "onsave: restarting shop"
    tokens = {params.token for params in client.of(types.PROGRESS)}
    assert len(tokens) == 2, "a token is used once"


async def test_progress_ends_when_the_session_is_killed(
    open_client: OpenClient, fake: Fake
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    session.status("starting")
    await client.until(lambda: _progress(client, "begin", 1), "begun")
    session.kill()
    await client.until(lambda: _progress(client, "end", 1), "ended")


async def test_no_progress_for_a_client_without(open_client: OpenClient, fake: Fake) -> None:
    def without(capabilities: types.ClientCapabilities) -> None:
        capabilities.window = None

    session = fake()
    client = await open_client(capabilities=without)
    await client.knows("shop")
    session.status("restarting")
    session.status("ready")
    await client.until(lambda: client.sessions[0]["state"] == "ready", "ready")
    assert client.of(types.PROGRESS) == []
    assert client.lsp.progress_reports == {}


def _progress(client: Any, kind: str, number: int) -> list[Any]:
    found = [params for params in client.of(types.PROGRESS) if params.value["kind"] == kind]
    return found if len(found) == number else []


async def test_one_message_a_failure(open_client: OpenClient, fake: Fake, file: Path) -> None:
    session = fake()
    client = await open_client(speaks="visual-studio-code")
    await client.knows("shop")
    asked = types.WINDOW_SHOW_MESSAGE_REQUEST
    for attempt in (1, 2):
        session.status("restarting", attempt)
        session.say(type="problems", problems=[problem(file)])
        session.status("broken", attempt, message="failed")
        session.say(type="problems", problems=[problem(file), problem(file, message="more")])
        session.say(type="log", level="info", text=f"attempt {attempt} over")
        await client.logged(f"attempt {attempt} over")
    await client.until(lambda: len(client.of(asked)) >= 2, "two messages")
    await client.execute("onsave.server.status")
    assert len(client.of(asked)) == 2
    assert client.of(asked)[0].message == "shop: NameError: oops"
    titles = [action.title for action in client.of(asked)[0].actions]
    assert titles == ["Show traceback", "Restart"]


async def test_a_client_that_tells_of_failures_itself_is_left_to_it(
    open_client: OpenClient, fake: Fake
) -> None:
    session = fake()
    client = await open_client(options={"onsave": {"tellsFailures": True}})
    await client.knows("shop")
    session.status("broken", message="failed")
    await client.until(lambda: client.sessions[0]["state"] == "broken", "broken")
    await client.execute("onsave.server.status")
    assert client.of(types.WINDOW_SHOW_MESSAGE_REQUEST) == []


async def test_a_syntax_error_is_a_diagnostic_and_no_message(
    open_client: OpenClient, fake: Fake, file: Path
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    session.status("held")
    session.say(type="problems", problems=[problem(file, kind="syntax")])
    session.say(type="log", level="info", text="over")
    await client.logged("over")
    assert client.diagnostics(file)
    assert client.of(types.WINDOW_SHOW_MESSAGE_REQUEST) == []
    assert client.of(types.WINDOW_SHOW_MESSAGE) == []


async def test_a_client_without_actions_gets_a_plain_message(
    open_client: OpenClient, fake: Fake
) -> None:
    def without(capabilities: types.ClientCapabilities) -> None:
        assert capabilities.window is not None
        capabilities.window.show_message = None

    session = fake()
    client = await open_client(capabilities=without)
    await client.knows("shop")
    session.status("broken", message="killed by SIGSEGV")
    (shown,) = await client.until(lambda: client.of(types.WINDOW_SHOW_MESSAGE), "a message")
    assert shown.message == "shop: killed by SIGSEGV"


async def test_restart_from_the_message(open_client: OpenClient, fake: Fake) -> None:
    session = fake()
    client = await open_client()
    client.choice = "Restart"
    await client.knows("shop")
    session.status("broken", message="failed")
    request = await asyncio.to_thread(
        session.until, lambda _: session.of_type("request"), "asked to restart"
    )
    assert request[0]["request"] == "restart"


async def test_traceback_from_the_message(
    open_client: OpenClient, fake: Fake, run_directory: Path
) -> None:
    def shows_documents(capabilities: types.ClientCapabilities) -> None:
        assert capabilities.window is not None
        capabilities.window.show_document = types.ShowDocumentClientCapabilities(support=True)

    session = fake()
    client = await open_client(capabilities=shows_documents)
    client.choice = "Show traceback"
    await client.knows("shop")
    session.status("broken", message="failed")
    (shown,) = await client.until(lambda: client.of(types.WINDOW_SHOW_DOCUMENT), "shown")
    (file,) = run_directory.glob("traceback-*")
    assert shown.uri == file.as_uri()
    assert "boom" in file.read_text()
    await client.lsp.shutdown_session()
    assert not file.exists(), "it goes with the server"
    client.abandoned = True


async def test_traceback_in_the_log_of_a_client_without_documents(
    open_client: OpenClient, fake: Fake
) -> None:
    def without(capabilities: types.ClientCapabilities) -> None:
        assert capabilities.window is not None
        capabilities.window.show_document = None

    session = fake()
    client = await open_client(capabilities=without)
    client.choice = "Show traceback"
    await client.knows("shop")
    session.status("broken", message="failed")
    await client.logged("boom")


@pytest.mark.parametrize("level", ["error", "warning", "info", "debug"])
async def test_levels(open_client: OpenClient, fake: Fake, level: str) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    session.say(type="log", level=level, text="listen")
    await client.logged("shop: listen")
    shown = {m.message: m.type.value for m in client.of(types.WINDOW_LOG_MESSAGE)}
    assert shown["shop: listen"] == {"error": 1, "warning": 2, "info": 3, "debug": 4}[level]


async def test_an_outcome_is_not_logged_again_with_the_next_run(
    open_client: OpenClient, fake: Fake
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    session.status("ready", run=1, message="held: long mended")
    session.status("ready", run=1, message="patched in 0.01 s: body of f changed")
    session.status("restarting", run=1, message="patched in 0.01 s: body of f changed")
    session.status("restarting", run=2, message="patched in 0.01 s: body of f changed")
    for run in (2, 3):
        session.status("ready", run=run, message="restarted in 0.10 s")
    session.say(type="log", level="info", text="end")
    await client.logged("shop: end")
    told = [each.message for each in client.of(types.WINDOW_LOG_MESSAGE)]
    outcomes = [text for text in told if " in 0." in text or "held" in text]
    assert outcomes == [
        "shop: patched in 0.01 s: body of f changed",
        "shop: restarted in 0.10 s",
        "shop: restarted in 0.10 s",
    ]
