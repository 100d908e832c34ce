"""The control socket of a live session: whoever comes, whatever they send, it lives on."""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import Project, Session
from harness.processes import DEADLINE, until
from onsave.control import Client, RunDirectory
from onsave_agent import protocol

HELLO = {"type": "hello", "role": "client", "version": protocol.VERSION, "token": ""}
AGENT = {
    **HELLO, "role": "agent", "run": 1, "pid": 999999999, "ppid": 1, "python": [3, 11],
    "executable": "/nowhere/python", "argv": [], "spawned": "exec",
}  # fmt: skip


class Raw:
    """A peer that sends whatever bytes it likes."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(address)
        self.socket.settimeout(DEADLINE)
        self._buffer = b""

    def send(self, *messages: Any) -> Raw:
        for message in messages:
            data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
            self.socket.sendall(data)
        return self

    def read(self) -> dict[str, Any] | None:
        """The next message; None at the end."""
        while b"\n" not in self._buffer:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def rest(self) -> list[dict[str, Any]]:
        return list(iter(self.read, None))

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def session(scripts: Callable[..., Project], start: Callable[..., Session]) -> Session:
    project = scripts(main="import part, time\ntime.sleep(1000)\n", part="X = 1\n")
    return start(project, [sys.executable, "main.py"])


@pytest.fixture
def connect(session: Session, run_directory: Any) -> Iterator[Callable[[], Raw]]:
    (entry,) = RunDirectory(run_directory).entries("session")
    made = []

    def begin() -> Raw:
        made.append(Raw(entry.socket))
        return made[-1]

    yield begin
    for raw in made:
        raw.close()


def lives(session: Session) -> None:
    """The session answers, the app is the one that was started, and no bug was met."""
    assert session.request("status")["state"] == "running"
    assert session.run == 1
    assert "a bug in onsave" not in session.stderr


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ([b"\xff\xfe\n"], "not a line of JSON"),
        ([b"[]\n"], "not a JSON object"),
        ([b"GET / HTTP/1.1\r\n\r\n"], "not a line of JSON"),
        ([{"type": "request", "id": 1, "request": "status"}], "unknown message type 'request'"),
        ([{**HELLO, "version": 99}], "use one version of onsave for both"),
        ([{**HELLO, "role": "king"}], "unknown role king"),
        ([{**HELLO, "token": "x"}], "the token is not this session's"),
        ([HELLO, {"type": "nonsense"}], "unknown message type 'nonsense'"),
        ([HELLO, {"type": "request", "id": "1", "request": "status"}], "'id' is '1'"),
        ([HELLO, {"type": "loaded", "files": []}], "unknown message type 'loaded'"),
        ([HELLO, HELLO], "hello is not expected here"),
        ([HELLO, {"type": "saved", "files": [1], "origin": "save"}], "files are to be paths"),
        ([HELLO, {"type": "saved", "files": ["a\0"], "origin": "save"}], "are to be paths"),
        ([HELLO, {"type": "saved", "files": [], "origin": "x"}], "unknown origin 'x'"),
        ([HELLO, {"type": "saved", "files": [], "origin": "save", "id": "1"}], "id is to be"),
        ([HELLO, {"type": "request", "id": 1, "request": "why"}], "path is to be a path"),
        ([{**AGENT, "pid": "x"}], "'pid' is 'x'"),
        ([AGENT, {"type": "saved", "files": [], "origin": "save"}], "unknown message type 'saved'"),
        ([AGENT, {"type": "loaded", "files": [["a"]]}], "not a file"),
        ([AGENT, {"type": "loaded", "files": [[1, None, "module", None, None]]}], "not a file"),
        ([AGENT, {"type": "reread", "paths": [1]}], "paths are to be text"),
        ([AGENT, {"type": "failed", "where": "main", "fatal": True, "exceptions": [3],
                  "text": ""}], "failed: "),
    ],
)  # fmt: skip
def test_what_is_not_of_the_protocol(
    session: Session, connect: Callable[[], Raw], sent: list[Any], error: str
) -> None:
    answers = connect().send(*sent).rest()
    assert answers, "it is told what is wrong, then hung up on"
    assert answers[-1]["type"] == "error"
    assert error in answers[-1]["message"]
    lives(session)


def test_an_unknown_request_gets_an_error_for_an_answer(
    session: Session, connect: Callable[[], Raw]
) -> None:
    raw = connect().send(HELLO, {"type": "request", "id": 7, "request": "x"})
    assert raw.read()["type"] == "welcome"  # type: ignore[index]
    assert raw.read() == {
        "type": "reply", "id": 7, "result": None, "error": "unknown request 'x'",
    }  # fmt: skip
    lives(session)


def test_an_agent_of_a_run_that_is_over(session: Session, connect: Callable[[], Raw]) -> None:
    (answer,) = connect().send({**AGENT, "run": 0}).rest()
    assert answer["message"] == "run 0 is over"
    lives(session)


def test_silence_is_hung_up_on(session: Session, connect: Callable[[], Raw]) -> None:
    (answer,) = connect().rest()
    assert answer["message"] == "no hello within 5 seconds"


def test_a_line_without_end(session: Session, connect: Callable[[], Raw]) -> None:
    raw = connect().send(HELLO)
    try:
        for _ in range(17):
            raw.send(b"x" * 1024 * 1024)
    except (BrokenPipeError, ConnectionResetError):
        pass
    lives(session)


def test_slow_readers_are_dropped_and_block_nobody(
    session: Session, connect: Callable[[], Raw]
) -> None:
    raw = connect().send(HELLO, {"type": "subscribe"})
    raw.socket.settimeout(0.5)
    question = json.dumps({"type": "request", "id": 1, "request": "files"}).encode() + b"\n"
    with pytest.raises(OSError):
        for _ in range(100_000):
            raw.socket.sendall(question * 1000)
    lives(session)


def test_a_slow_sender_blocks_nobody(session: Session, connect: Callable[[], Raw]) -> None:
    raw = connect()
    line = json.dumps(HELLO).encode() + b"\n"
    for position in range(len(line)):
        raw.send(line[position : position + 1])
        if position % 20 == 0:
            lives(session)
    assert raw.read()["type"] == "welcome"  # type: ignore[index]


def test_descriptors_nobody_asked_for_are_closed(
    session: Session, connect: Callable[[], Raw]
) -> None:
    def open_descriptors() -> int:
        return len(os.listdir(f"/proc/{session.process.pid}/fd"))

    lives(session)
    before = open_descriptors()
    raw = connect().send(HELLO)
    for _ in range(50):
        message = json.dumps({"type": "request", "id": 1, "request": "status"}).encode() + b"\n"
        socket.send_fds(raw.socket, [message], [0, 1, 2])
    lives(session)
    until(lambda: open_descriptors() <= before + 1, "they are closed")


def test_a_thousand_and_more_peers(session: Session, connect: Callable[[], Raw]) -> None:
    for _ in range(1200):
        raw = connect()
        raw.send(HELLO) if random.random() < 0.5 else None
        if random.random() < 0.9:
            raw.close()
    lives(session)


def test_a_save_of_a_hundred_thousand_files(session: Session) -> None:
    files = [f"/nowhere/{n // 1000}/{n}.py" for n in range(100_000)]
    files.append(str(session.project / "part.py"))
    assert session._client is not None
    result = session._client.saved(files, origin="watched", timeout=DEADLINE)
    assert result["ignored"] == len(files)
    assert not result["verdicts"]
    assert result["concerned"], "one of them is loaded, with the same bytes"
    lives(session)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=8,
)
TABLES = {"client": protocol.CLIENT_MESSAGES, "agent": protocol.AGENT_MESSAGES}


@st.composite
def messages(draw: st.DrawFn, role: str) -> Any:
    """A message that is nearly one of the protocol."""
    kind = draw(st.sampled_from(sorted(TABLES[role])))
    message: dict[str, Any] = {"type": kind}
    for name, wanted in TABLES[role][kind].items():
        likely = {
            int: st.integers(-2, 2**40), str: st.text(max_size=10),
            bool: st.booleans(), list: st.lists(json_values, max_size=4),
        }.get(wanted, json_values)  # fmt: skip
        message[name] = draw(st.one_of(likely, likely, likely, json_values))
    if message.get("request") in ("stop", "restart"):  # what ends the app is allowed to
        message["request"] = "status"
    return message


lines = st.binary(max_size=60).map(lambda data: data + b"\n")


def test_fuzz(session: Session, run_directory: Any) -> None:
    """Random lines, and messages that are nearly right, from clients and from would-be agents:
    the session answers after each, and the app is still the one that was started."""
    (entry,) = RunDirectory(run_directory).entries("session")

    @settings(
        max_examples=int(os.environ.get("ONSAVE_FUZZ", "150")),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def attack(data: st.DataObject) -> None:
        role = data.draw(st.sampled_from(["client", "agent"]))
        raw = Raw(entry.socket)
        try:
            raw.send(HELLO if role == "client" else AGENT)
            for sent in data.draw(st.lists(messages(role) | lines, max_size=6)):
                raw.send(sent)
            raw.socket.shutdown(socket.SHUT_WR)
            raw.rest()
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            raw.close()
        with Client(entry) as client:
            assert client.request("status")["run"] == 1

    attack()
    assert session.run == 1
    assert "a bug in onsave" not in session.stderr
    assert session.save_one("part.py").reason == "same bytes"


def test_many_clients_at_once(session: Session, run_directory: Any) -> None:
    (entry,) = RunDirectory(run_directory).entries("session")
    clients = [Client(entry) for _ in range(50)]
    began = time.monotonic()
    for client in clients:
        client.subscribe()
    session.project.write("part.py", "X = 2\n")
    session.save("part.py")
    for client in clients:
        assert any(m["type"] == "verdict" for m in client.events(DEADLINE))
        client.close()
    assert time.monotonic() - began < DEADLINE
