"""A restart never drops a request, and a broken save never takes the app down."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from harness import Project, Session
from harness.load import Load
from harness.processes import free_port, until

Start = Callable[..., Session]
Scripts = Callable[..., Project]

ROUNDS = int(os.environ.get("ONSAVE_OVERLAP_ROUNDS", "8"))

PAGES = {
    "flask": (
        "from flask import Flask\nimport part\napp = Flask(__name__)\n"
        "@app.get('/')\ndef page():\n    return str(part.X)\n",
        ["{python}", "-m", "flask", "--app", "main", "run", "--port", "{port}"],
    ),
    "http.server": (
        "import part, sys\nfrom http.server import BaseHTTPRequestHandler, ThreadingHTTPServer\n"
        "class Page(BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        text = str(part.X).encode()\n"
        "        self.send_response(200)\n"
        "        self.send_header('Content-Length', str(len(text)))\n"
        "        self.end_headers()\n"
        "        self.wfile.write(text)\n"
        "    def log_message(self, *_):\n        pass\n"
        "ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Page).serve_forever()\n",
        ["{python}", "main.py", "{port}"],
    ),
    "uvicorn": (
        "import part\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'http':\n        raise RuntimeError\n"
        "    text = str(part.X).encode()\n"
        "    headers = [(b'content-length', str(len(text)).encode())]\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})\n"
        "    await send({'type': 'http.response.body', 'body': text})\n",
        ["{python}", "-m", "uvicorn", "main:app", "--port", "{port}", "--log-level", "warning"],
    ),
}


def serve(scripts: Scripts, start: Start, what: str) -> Session:
    source, command = PAGES[what]
    return start(scripts(main=source, part="X = 0\n"), command)


@pytest.mark.parametrize("what", PAGES)
def test_no_request_fails_while_the_app_is_restarted(
    scripts: Scripts, start: Start, what: str
) -> None:
    session = serve(scripts, start, what)
    with Load(session.port, page="/") as load:
        for number in range(1, ROUNDS + 1):
            session.project.write("part.py", f"X = {number}\n")
            assert session.save_one("part.py").action == "restart"
            assert session.ask("/") == str(number), "the newest code answers once it says so"
    print(load)
    assert load.requests > ROUNDS
    assert not load.failures, (load, load.failures[:5], session.story())
    assert session.run == ROUNDS + 1


@pytest.mark.parametrize("what", PAGES)
def test_broken_saves_leave_the_old_run_answering(
    scripts: Scripts, start: Start, what: str
) -> None:
    session = serve(scripts, start, what)
    with Load(session.port, page="/") as load:
        for number, broken in enumerate(["X = ", "X = nonsense", "import no_such_module_x"], 1):
            session.project.write("part.py", broken + "\n")
            session.save("part.py")
            assert session.request("status")["state"] == "held"
            assert session.stderr.count("the run before goes on") == max(number - 1, 0)
            assert session.ask("/") == str(number - 1)
            session.project.write("part.py", f"X = {number}\n")
            session.save("part.py")
            assert session.request("status")["state"] == "ready"
            assert session.ask("/") == str(number)
    assert not load.failures, (load, load.failures[:5], session.story())


def test_the_port_stays_the_same_after_a_restart(scripts: Scripts, start: Start) -> None:
    source, command = PAGES["http.server"]
    session = start(scripts(main=source, part="X = 0\n"), [*command[:-1], "0"], port=None)
    port = session.port
    session.project.write("part.py", "X = 1\n")
    session.save("part.py")
    assert session.request("status")["listening"] == [f"127.0.0.1:{port}"]
    assert session.ask("/") == "1"


def test_a_unix_socket_keeps_its_file(scripts: Scripts, start: Start) -> None:
    """Though each run removes the file before it binds, and at its end."""
    import socket

    source, _command = PAGES["uvicorn"]
    project = scripts(main=source, part="X = 0\n")
    path = f"/tmp/onsave-test-{os.getpid()}.sock"
    command = [sys.executable, "-m", "uvicorn", "main:app", "--uds", path]
    session = start(project, command, port=None)

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(path)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            data = b""
            while more := client.recv(4096):
                data += more
            return data.rpartition(b"\r\n\r\n")[2]

    assert ask() == b"0"
    for number in (1, 2):
        project.write("part.py", f"X = {number}\n")
        assert session.save_one("part.py").action == "restart"
        assert ask() == str(number).encode()
    session.stop()
    folder, name = os.path.split(path)
    assert not [left for left in os.listdir(folder) if name in left and left != name]


def test_clients_are_refused_once_no_run_can_serve(scripts: Scripts, start: Start) -> None:
    """A held socket that nobody will accept on must not let clients hang."""
    source, command = PAGES["http.server"]
    session = start(scripts(main=source, part="X = 0\n"), command)
    import psutil

    psutil.Process(session.request("status")["pid"]).kill()
    session.until_state("broken")
    with pytest.raises(ConnectionRefusedError):
        _connect(session.port)
    session.project.write("part.py", "X = 1\n")
    session.save("part.py")
    session.until_state("ready", after=1)
    assert session.ask("/") == "1"


def _connect(port: int) -> None:
    import socket

    socket.create_connection(("127.0.0.1", port), 10).close()


def test_a_socket_that_cannot_be_held_is_said(scripts: Scripts, start: Start) -> None:
    """Bound behind the agent's back: restarts stop the old run first, and work."""
    port = free_port()
    hidden = (
        "import ctypes, part, socket, struct, time\n"
        "libc = ctypes.CDLL(None)\n"
        "fd = libc.socket(2, 1, 0)\n"
        "libc.setsockopt(fd, 1, 2, struct.pack('i', 1), 4)\n"
        f"address = struct.pack('!HH4s8x', 0x0200, {port}, socket.inet_aton('127.0.0.1'))\n"
        "assert libc.bind(fd, address, 16) == 0\n"
        "libc.listen(fd, 10)\n"
        "print('listens', part.X, flush=True)\n"
        "time.sleep(1000)\n"
    )
    session = start(scripts(main=hidden, part="X = 0\n"), [sys.executable, "main.py"])
    assert session.status["listening"] == [f"127.0.0.1:{port}"]
    assert session.status["held"] == []
    assert f"127.0.0.1:{port} can't be held" in session.stderr
    session.project.write("part.py", "X = 1\n")
    session.save("part.py")
    until(lambda: "listens 1" in session.stdout, "the new run listens")
