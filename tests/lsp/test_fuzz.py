"""Whatever an editor or a session says, the server lives on, answers each request once, and bothers
nobody with a popup."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onsave.control import Entry
from onsave.lsp import ext, transport
from onsave.lsp.server import OnsaveServer
from onsave.lsp.sessions import Link
from onsave_agent.protocol import EVENT_MESSAGES

METHODS = [
    "textDocument/didSave", "textDocument/willSave", "textDocument/didOpen",
    "textDocument/didClose", "textDocument/didChange", "textDocument/codeLens",
    "workspace/didChangeWatchedFiles", "workspace/didCreateFiles", "workspace/didRenameFiles",
    "workspace/didDeleteFiles", "workspace/didChangeConfiguration", "workspace/executeCommand",
    "workspace/didChangeWorkspaceFolders", "$/cancelRequest", "$/setTrace", "what/ever",
    "initialized", ext.WHY, ext.LOADED,
]  # fmt: skip
REQUESTS = (
    "textDocument/codeLens", "workspace/executeCommand", "what/ever", ext.WHY, ext.LOADED
)  # fmt: skip

uris = st.sampled_from(
    ["file:///a.py", "untitled:1", "file:///%ff", "file://h/x", "", "file:///" + "x" * 5000]
)
keys = st.sampled_from(
    ["textDocument", "uri", "changes", "files", "oldUri", "newUri", "settings", "onsave", "reason",
     "autoSave", "python", "command", "arguments", "name", "id", "event", "added", "removed"]
)  # fmt: skip
commands = st.sampled_from([ext.STOP, ext.RESTART, ext.STATUS_COMMAND, ext.WHY_COMMAND])
leaves = st.none() | st.booleans() | st.integers(-1, 5) | st.text(max_size=5) | uris | commands
values = st.recursive(
    leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=4), max_leaves=8
)
lsp_messages = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.sampled_from(METHODS), "params": values}
)

quietly = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Sent:
    """In the place of ``Outgoing``: keeps what would be written."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def put(self, data: bytes, key: str | None = None, droppable: bool = False) -> None:
        self.messages.append(json.loads(data.partition(b"\r\n\r\n")[2]))

    def take_dropped(self) -> int:
        return 0


async def initialized(folder: Path) -> tuple[OnsaveServer, Sent]:
    server = OnsaveServer()
    sent = Sent()
    server.protocol.outgoing = sent  # type: ignore[assignment]
    server.protocol.done = asyncio.Event()
    params = {"capabilities": {}, "rootUri": folder.as_uri(), "processId": None}
    say(server, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
    await asyncio.sleep(0)
    return server, sent


def say(server: OnsaveServer, message: dict[str, Any]) -> None:
    transport._handle(server.protocol, json.dumps(message).encode())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_directory: Path) -> Path:
    monkeypatch.setenv("ONSAVE_RUN_DIR", str(run_directory))
    return tmp_path


@quietly
@given(messages=st.lists(lsp_messages, max_size=8))
def test_editors(messages: list[dict[str, Any]], folder: Path) -> None:
    async def converse() -> None:
        server, sent = await initialized(folder)
        asked = []
        for number, message in enumerate(messages, 1):
            if message["method"] in REQUESTS:
                asked.append(number)
                message = {**message, "id": number}
            say(server, message)
        while server._tasks or any(
            not future.done() for future in server.protocol._request_futures.values()
        ):
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        await server.end()
        answered = [m["id"] for m in sent.messages if "method" not in m]
        assert sorted(answered) == [0, *asked]
        said = [m.get("method") for m in sent.messages]
        assert "window/showMessage" not in said
        assert server.protocol.exit_code is None

    asyncio.run(converse())


fields = st.sampled_from(
    ["path", "range", "message", "severity", "kind", "related", "state", "run", "reason", "action",
     "evidence", "listening", "stale", "lastVerdict", "functions", "command", "root", "session"]
)  # fmt: skip
said = st.recursive(
    st.none() | st.integers(-1, 3) | st.text(max_size=4) | st.sampled_from(["ready", "broken"]),
    lambda v: st.lists(v, max_size=4) | st.dictionaries(fields, v, max_size=6),
    max_leaves=10,
)
session_messages = st.dictionaries(fields | st.sampled_from(["problems", "id", "result"]), said)


@quietly
@given(
    messages=st.lists(st.tuples(st.sampled_from(sorted(EVENT_MESSAGES)), session_messages)),
    lines=st.lists(st.binary(max_size=30), max_size=2),
)
def test_sessions(
    messages: list[tuple[str, dict[str, Any]]], lines: list[bytes], folder: Path
) -> None:
    """Fields of the right type where the protocol says so, with any content; then nonsense."""

    async def converse() -> None:
        server, sent = await initialized(folder)
        reader = asyncio.StreamReader()
        welcome = {"type": "welcome", "version": 1, "name": "shop", "pid": 1, "root": "/"}
        everything = [welcome]
        examples = {int: 1, str: "ready", list: [], object: None}
        for kind, more in messages:
            right = {name: examples[wanted] for name, wanted in EVENT_MESSAGES[kind].items()}
            fitting = {
                name: value
                for name, value in more.items()
                if isinstance(value, EVENT_MESSAGES[kind].get(name, object))
            }
            everything.append({**right, **fitting, "type": kind})
        for each in everything:
            reader.feed_data(json.dumps(each).encode() + b"\n")
        for line in lines:
            reader.feed_data(line + b"\n")
        reader.feed_eof()
        entry = Entry("session", "shop", 1, "", "/", "")
        await Link(entry, reader, Writer()).run(server.sessions)  # type: ignore[arg-type]
        assert server.links == []
        say(server, {"jsonrpc": "2.0", "id": 1, "method": "shutdown"})
        await server.end()
        assert [m["id"] for m in sent.messages if "method" not in m] == [0, 1]

    asyncio.run(converse())


class Writer:
    """In the place of a StreamWriter: the session hears nothing."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...

    def is_closing(self) -> bool:
        return False
