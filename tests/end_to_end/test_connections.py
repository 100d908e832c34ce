"""What becomes of addresses and open connections when the app is restarted."""

from __future__ import annotations

import http.client
import threading
import urllib.request
from collections.abc import Callable

import pytest

from harness import DEADLINE, SAMPLES, Project, Session

Start = Callable[..., Session]
Copy = Callable[[str], Project]

everywhere = pytest.mark.parametrize("app", SAMPLES)


@everywhere
def test_port_0_is_the_same_port_after_a_restart(start: Start, app: str) -> None:
    command = [part.replace("{port}", "0") for part in SAMPLES[app].command]
    session = start(app, command, port=None)
    leaf = session.sample.leaf
    port = session.port
    for _ in range(2):
        session.bump(leaf)
        session.eventually(leaf)  # asks the port of the first run
        session.settle()
    assert f"127.0.0.1:{port}" in session.request("status")["listening"]


@everywhere
def test_a_request_under_way_is_finished(start: Start, project: Copy, app: str) -> None:
    """It is answered by the old code; the next one by the new."""
    copy = project(app)
    sample = SAMPLES[app]
    text = copy.read(sample.main.file)
    slow = f"__import__('time').sleep(1.5) or {sample.main.name.upper()}"
    for before in (f"return {sample.main.name.upper()}", f"HttpResponse({sample.main.name.upper()}",
                   f"lambda: {sample.main.name.upper()}"):  # fmt: skip
        text = text.replace(before, before.replace(sample.main.name.upper(), slow), 1)
    copy.write(sample.main.file, text)
    session = start(copy, sample.command, sample=sample)
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(session.ask(sample.main.page)))
    asking.start()
    asking.join(0.5)  # it is under way by then, and will be for a second
    session.bump(sample.leaf)
    session.eventually(sample.leaf)
    asking.join(DEADLINE)
    assert answers == [session.project.token(sample.main)]


@everywhere
def test_once_told_no_connection_gets_an_old_answer(start: Start, app: str) -> None:
    """A browser's next request comes over the connection that it has: to the old run, which may
    need a while to end."""
    session = start(app)
    leaf = session.sample.leaf
    for _ in range(3):
        before = session.run
        client = http.client.HTTPConnection("127.0.0.1", session.port, timeout=DEADLINE)
        client.request("GET", leaf.page, headers={"Connection": "keep-alive"})
        old = client.getresponse().read().decode()
        session.bump(leaf)
        session.until_state("ready", after=before)
        try:
            client.request("GET", leaf.page)
            new = client.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            new = session.ask(leaf.page)  # it was closed
        client.close()
        assert new.replace(session.project.token(leaf), "") != new, f"{old} then {new}"


def test_an_endless_stream_does_not_hold_up_a_restart(start: Start) -> None:
    session = start("fastapi")
    leaf = session.sample.leaf
    with urllib.request.urlopen(f"http://127.0.0.1:{session.port}/events", timeout=30) as stream:
        assert stream.readline().startswith(b"data: main-0")
        session.bump(leaf)
        session.eventually(leaf)
        with pytest.raises((OSError, http.client.HTTPException)):
            while stream.readline():
                pass
            raise ConnectionError("the stream ended in good order")


def test_an_open_web_socket_does_not_hold_up_a_restart(start: Start) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    session = start("fastapi")
    leaf = session.sample.leaf
    with connect(f"ws://127.0.0.1:{session.port}/ws") as socket:
        socket.send("hello")
        assert socket.recv(30) == "prices-0 hello"
        session.bump(leaf)
        session.eventually(leaf)
        with pytest.raises(ConnectionClosed):
            socket.send("hello")
            socket.recv(30)
    with connect(f"ws://127.0.0.1:{session.port}/ws") as socket:
        socket.send("again")
        assert socket.recv(30) == "prices-1 again"


def test_a_unix_socket(start: Start, run_directory: object) -> None:
    from pathlib import Path

    path = Path(str(run_directory)).parent / "app.sock"
    command = ["{python}", "-m", "gunicorn", "wsgi:app", "-w", "2", "-b", f"unix:{path}"]
    session = start("gunicorn", command, port=None)

    def ask(page: str) -> str:
        import socket

        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(str(path))
            connection.sendall(f"GET {page} HTTP/1.0\r\n\r\n".encode())
            answer = b""
            while data := connection.recv(65536):
                answer += data
        return answer.decode().partition("\r\n\r\n")[2]

    assert ask("/prices") == "prices-0"
    for number in (1, 2):
        session.bump(session.sample.leaf)
        session.settle()
        session.until(lambda s: s.status["state"] == "ready", "the app is ready")
        for _ in range(12):
            assert ask("/prices") == f"prices-{number}"
