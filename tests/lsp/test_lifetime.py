"""However its editor goes, the server goes too, at once, and takes along what it has started.

Raw pipes: each of these is what a well-behaved client never does.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_session import DEADLINE, FakeSession

from harness.processes import until
from harness.session import environment

ONSAVE = str(Path(sys.executable).with_name("onsave"))

Fake = Callable[..., FakeSession]


class Server:
    """``onsave lsp`` on raw pipes."""

    def __init__(self, env: dict[str, str], cwd: Path, *arguments: str, **options: Any) -> None:
        self.cwd = cwd
        self._unread = b""
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE} | options
        self.process = subprocess.Popen([ONSAVE, "lsp", *arguments], env=env, cwd=cwd, **options)
        self._numbers = iter(range(1, 10**6))

    def send(self, method: str, params: Any = None, request: bool = False) -> int | None:
        number = next(self._numbers) if request else None
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.send_raw(frame({**message, "id": number} if request else message))
        return number

    def send_raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any] | None:
        head = self._read_until(lambda data: data.find(b"\r\n\r\n") + 1)
        if head is None:
            return None
        start = head.index(b"\r\n\r\n") + 4
        length = int(head[len(b"Content-Length: ") : start])
        data = self._read_until(lambda data: len(data) >= start + length)
        assert data is not None, "half a message"
        self._unread = data[start + length :]
        message: dict[str, Any] = json.loads(data[start : start + length])
        return message

    def _read_until(self, enough: Callable[[bytes], Any]) -> bytes | None:
        assert self.process.stdout is not None
        while not enough(self._unread):
            ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
            assert ready, "the server says nothing"
            more = os.read(self.process.stdout.fileno(), 2**20)
            if not more:
                return None
            self._unread += more
        return self._unread

    def ask(self, method: str, params: Any = None) -> dict[str, Any]:
        number = self.send(method, params, request=True)
        return self.until(lambda message: message.get("id") == number and "method" not in message)

    def until(self, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        while True:
            message = self.receive()
            assert message is not None, "the server has ended"
            if wanted(message):
                return message

    def initialize(self, process_id: int | None = None, **capabilities: Any) -> None:
        folder = {"uri": self.cwd.as_uri(), "name": "work"}
        params = {
            "processId": process_id, "rootUri": self.cwd.as_uri(), "workspaceFolders": [folder],
            "capabilities": capabilities,
        }  # fmt: skip
        assert "result" in self.ask("initialize", params)
        self.send("initialized", {})

    def meets_a_session(self) -> None:
        self.until(lambda m: m.get("method") == "onsave/status" and m["params"]["sessions"])

    def ended(self) -> int:
        return self.process.wait(DEADLINE)


def frame(message: Any) -> bytes:
    body = json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.fixture
def start(run_directory: Path, mark: str, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def begin(*arguments: str, **options: Any) -> Server:
        env = environment(run_directory, mark, PYTHONUNBUFFERED="1")
        made.append(Server(env, tmp_path, *arguments, **options))
        return made[-1]

    yield begin
    for server in made:
        server.process.kill()
        for stream in (server.process.stdin, server.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        server.process.wait()


def left_over(run_directory: Path) -> list[str]:
    return [file.name for file in run_directory.glob("*") if file.name != ".lock"]


# --- its end -----------------------------------------------------------------------------------


def test_shutdown_and_exit(start: Callable[..., Server], run_directory: Path) -> None:
    server = start()
    server.initialize(os.getpid())
    assert "result" in server.ask("shutdown")
    server.send("exit")
    assert server.ended() == 0
    assert left_over(run_directory) == []


def test_exit_without_shutdown(start: Callable[..., Server], run_directory: Path) -> None:
    server = start()
    server.initialize()
    server.send("exit")
    assert server.ended() == 1
    assert left_over(run_directory) == []


def test_exit_before_initialize(start: Callable[..., Server]) -> None:
    server = start()
    server.send("exit")
    assert server.ended() == 1


def test_end_of_stdin(start: Callable[..., Server], run_directory: Path) -> None:
    server = start()
    server.initialize()
    assert server.process.stdin is not None
    server.process.stdin.close()
    assert server.ended() == 1
    assert left_over(run_directory) == []


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signals(start: Callable[..., Server], run_directory: Path, name: str) -> None:
    server = start()
    server.initialize()
    number = signal.Signals[name]
    server.process.send_signal(number)
    assert server.ended() == 128 + number
    assert left_over(run_directory) == []


def test_stdout_that_nobody_reads_any_more(start: Callable[..., Server]) -> None:
    server = start()
    server.initialize()
    assert server.process.stdout is not None
    server.process.stdout.close()
    server.send("onsave/why", {"uri": "file:///a.py"}, request=True)
    assert server.ended() == 1


def test_editor_that_died_and_left_the_pipe_open(
    start: Callable[..., Server], run_directory: Path
) -> None:
    server = start()
    with subprocess.Popen(["sleep", "1000"]) as editor:
        server.initialize(editor.pid)
        assert "result" in server.ask("workspace/executeCommand",
                                      {"command": "onsave.server.status"})  # fmt: skip
        editor.kill()
    assert server.ended() == 1
    assert left_over(run_directory) == []


def test_editor_that_can_t_be_seen_from_here(start: Callable[..., Server]) -> None:
    """Its pid is of another namespace: the server must not end because of that."""
    with subprocess.Popen(["true"]) as gone:
        pass
    server = start()
    server.initialize(gone.pid)
    assert "result" in server.ask("shutdown")


def test_killed_and_swept_by_the_next(start: Callable[..., Server], run_directory: Path) -> None:
    server = start()
    server.initialize()
    until(lambda: len(left_over(run_directory)) == 2, "entry and socket are there")
    server.process.kill()
    server.process.wait()
    following = start()
    following.initialize()
    until(lambda: (run_directory / f"lsp-{following.process.pid}.json").exists(), "its entry")
    assert not (run_directory / f"lsp-{server.process.pid}.sock").exists() or until(
        lambda: not (run_directory / f"lsp-{server.process.pid}.sock").exists(), "swept"
    )


# --- its streams -------------------------------------------------------------------------------


def test_a_stray_print_does_not_garble_the_protocol(
    run_directory: Path, mark: str, tmp_path: Path
) -> None:
    code = (
        "import os, sys\n"
        "from onsave.lsp import server, transport\n"
        "streams = transport.take_stdio()\n"
        "print('stray'); sys.stdout.flush(); os.system('echo of a child')\n"
        "assert sys.stdin.read() == ''\n"
        "os._exit(server.main(*streams))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(run_directory, mark),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {}}}
    out, err = process.communicate(frame(request), DEADLINE)
    assert out.startswith(b"Content-Length: ")
    assert b"stray" not in out
    assert b"stray" in err
    assert b"of a child" in err


GARBAGE = [
    b"Content-Length: 9\r\n\r\nnot json!",
    b"Content-Length: 2\r\n\r\n[]",
    b"content-length: 4\r\nContent-Type: application/vscode-jsonrpc\r\n\r\nnull",
    frame({"jsonrpc": "2.0"}),
    frame({"jsonrpc": "1.0", "method": "shutdown", "id": 77}),
    frame({"jsonrpc": "2.0", "method": "textDocument/didSave", "params": {"textDocument": 3}}),
    frame({"jsonrpc": "2.0", "method": "textDocument/didSave"}),
    frame({"jsonrpc": "2.0", "method": "workspace/didChangeWatchedFiles", "params": 3}),
    frame({"jsonrpc": "2.0", "method": "$/unknown", "params": {}}),
    frame({"jsonrpc": "2.0", "id": "nobody asked", "result": {}}),
    frame({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 12345}}),
]


def test_garbage_is_survived(start: Callable[..., Server]) -> None:
    server = start()
    server.initialize()
    for data in GARBAGE:
        server.send_raw(data)
    number = server.send("shutdown", request=True)
    said = []
    server.until(lambda message: said.append(message.get("method")) or message.get("id") == number)
    assert "window/showMessage" not in said, "nobody wants a popup for each"


def test_a_request_that_waits_holds_up_nobody(
    start: Callable[..., Server], fake: Fake
) -> None:
    """Neither other requests nor the end."""
    session = fake()
    server = start()
    server.initialize()
    server.meets_a_session()
    session.process.send_signal(signal.SIGSTOP)
    for _ in range(10):
        server.send("onsave/why", {"uri": "file:///a.py"}, request=True)
    began = time.monotonic()
    assert "result" in server.ask(
        "workspace/executeCommand", {"command": "onsave.server.status"}
    )
    assert "result" in server.ask("shutdown")
    server.send("exit")
    assert server.ended() == 0
    assert time.monotonic() - began < 8, "it waited for the session's answer (10 s)"


def test_a_client_that_never_answers_what_it_is_asked(
    start: Callable[..., Server], fake: Fake
) -> None:
    session = fake()
    server = start()
    server.initialize(workspace={"codeLens": {"refreshSupport": True}, "configuration": True})
    server.meets_a_session()
    for state in ("restarting", "ready") * 5:
        session.status(state)
    session.status("ended")
    seen = []
    server.until(lambda m: seen.append(m.get("method")) or "ended" in str(m))
    assert "result" in server.ask("shutdown")
    assert seen.count("workspace/codeLens/refresh") <= 1, "one question at a time"


def test_a_cancelled_request_is_answered_and_nothing_pops_up(
    start: Callable[..., Server], fake: Fake
) -> None:
    session = fake()
    server = start()
    server.initialize()
    server.meets_a_session()
    session.process.send_signal(signal.SIGSTOP)
    number = server.send("onsave/why", {"uri": "file:///a.py"}, request=True)
    server.send("$/cancelRequest", {"id": number})
    answer = server.until(lambda m: m.get("id") == number or "showMessage" in str(m))
    assert answer["error"]["code"] == -32800  # RequestCancelled


def test_progress_that_is_granted_too_late_is_not_begun(
    start: Callable[..., Server], fake: Fake
) -> None:
    session = fake()
    server = start()
    server.initialize(window={"workDoneProgress": True})
    server.meets_a_session()
    session.status("restarting")
    asked = server.until(lambda m: m.get("method") == "window/workDoneProgress/create")
    session.status("ready")
    server.until(lambda m: m.get("method") == "onsave/status"
                 and m["params"]["sessions"][0]["state"] == "ready")  # fmt: skip
    server.send_raw(frame({"jsonrpc": "2.0", "id": asked["id"], "result": None}))
    session.status("restarting")
    again = server.until(
        lambda m: m.get("method") in ("window/workDoneProgress/create", "$/progress")
    )
    assert again["method"] == "window/workDoneProgress/create"
    # One that is declined is not begun either.
    error = {"code": -32603, "message": "no"}
    server.send_raw(frame({"jsonrpc": "2.0", "id": again["id"], "error": error}))
    session.status("ready")
    answer = server.until(lambda m: "ready" in str(m) or m.get("method") == "$/progress")
    assert answer["method"] == "onsave/status"


def test_a_run_directory_that_can_t_be_used_is_told(
    start: Callable[..., Server], run_directory: Path
) -> None:
    run_directory.mkdir(mode=0o755)
    server = start()
    server.initialize()
    told = server.until(lambda m: m.get("method") == "window/showMessage")
    assert "chmod 700" in told["params"]["message"]
    answer = server.ask("workspace/executeCommand", {"command": "onsave.server.restart"})
    assert "no run directory" in answer["error"]["message"]
    server.send("textDocument/didSave", {"textDocument": {"uri": "file:///a.py"}})
    assert "result" in server.ask("shutdown")


def test_notifications_leave_nothing_behind_in_pygls() -> None:
    """It keeps a future for each asynchronous handler of a notification, for ever."""
    from onsave.lsp.server import OnsaveServer

    server = OnsaveServer()
    handle = server.protocol.handle_message
    structure = server.protocol.structure_message
    params = {"textDocument": {"uri": "file:///a.py"}}
    for _ in range(500):
        handle(
            structure({"jsonrpc": "2.0", "method": "textDocument/didSave", "params": params})
        )
    assert server.protocol._request_futures == {}
    assert server.protocol._result_types == {}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("unknown/method", {}),
        ("onsave/why", {"uri": 3}),
        ("onsave/why", None),
        ("textDocument/codeLens", {"textDocument": None}),
        ("workspace/executeCommand", {"command": "onsave.server.unknown"}),
        ("workspace/executeCommand", {"command": "onsave.server.stop", "arguments": [3]}),
        ("workspace/executeCommand", {"command": "onsave.server.why", "arguments": [{}]}),
    ],
)
def test_a_bad_request_is_declined_without_a_traceback(
    start: Callable[..., Server], method: str, params: Any
) -> None:
    server = start(stderr=subprocess.PIPE)
    server.initialize()
    answer = server.ask(method, params)
    assert answer["error"]["message"]
    assert "Traceback" not in json.dumps(answer)
    assert not answer["error"].get("data")
    assert "result" in server.ask("shutdown")
    server.send("exit")
    assert server.process.stderr is not None
    assert b"Traceback" not in server.process.stderr.read()
    server.process.stderr.close()


def test_an_editor_that_does_not_read_for_a_while(
    start: Callable[..., Server], fake: Fake
) -> None:
    """Logs are dropped, and it is said so; saves go on; what counts arrives."""
    session = fake()
    server = start()
    server.initialize()
    server.meets_a_session()
    for number in range(3000):
        session.say(type="log", level="info", text=f"{number} " + "x" * 5000)
    problem = {"path": "/a.py", "range": [0, 0, 0, 1], "message": "at last", "kind": "syntax"}
    session.say(type="problems", problems=[problem])
    session.say(type="log", level="info", text="the last line")
    # Still nothing is read; the server hears us all the same.
    for number in range(3):
        server.send("textDocument/didSave", {"textDocument": {"uri": f"file:///{number}.py"}})
    session.until(lambda _: len(session.saved()) == 3, "saves go through")
    assert psutil.Process(server.process.pid).memory_info().rss < 200e6
    server.until(lambda m: m.get("method") == "textDocument/publishDiagnostics")
    session.say(type="log", level="info", text="read again")
    server.until(lambda m: "messages were left out" in m.get("params", {}).get("message", ""))
    server.ask("shutdown")


def test_idle_costs_nothing(start: Callable[..., Server]) -> None:
    """No timer, no poll: nobody wakes up."""
    server = start()
    server.initialize(os.getpid())
    assert "result" in server.ask("workspace/executeCommand", {"command": "onsave.server.status"})
    process = psutil.Process(server.process.pid)

    def switches() -> int:
        found = 0
        for thread in Path(f"/proc/{server.process.pid}/task").iterdir():
            for line in (thread / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    found += int(line.split()[1])
        return found

    until(lambda: process.status() == psutil.STATUS_SLEEPING, "it has nothing to do")
    time.sleep(0.5)  # what was begun comes to its end
    before = switches()
    time.sleep(3)  # the passage of time is what is measured
    assert switches() - before <= 3


# --- TCP ---------------------------------------------------------------------------------------


def test_tcp(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start("--tcp", "127.0.0.1:0", stderr=subprocess.PIPE)
    assert server.process.stderr is not None
    line = server.process.stderr.readline().decode()
    address, _, port = line.strip().rpartition(" ")[2].rpartition(":")
    with socket.create_connection((address, int(port))) as connection:
        with connection.makefile("rb") as answers:
            request = {"jsonrpc": "2.0", "id": 1, "method": "initialize",
                       "params": {"capabilities": {}}}  # fmt: skip
            connection.sendall(frame(request))
            assert answers.readline().startswith(b"Content-Length")
        connection.shutdown(socket.SHUT_WR)
        assert server.ended() == 1
    server.process.stderr.close()


@pytest.mark.parametrize("address", ["0.0.0.0:2087", "example.com:1", "127.0.0.1", ":1", "::1:x"])
def test_tcp_beyond_this_machine_is_refused(
    start: Callable[..., Server], address: str
) -> None:
    server = start("--tcp", address, stderr=subprocess.PIPE)
    assert server.process.stderr is not None
    assert "not a loopback address and a port" in server.process.stderr.read().decode()
    assert server.ended() == 2
    server.process.stderr.close()
