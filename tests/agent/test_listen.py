"""Sockets: told, taken over, waited with, drained; with real servers."""
# ruff: noqa: E501 (programs of the app's, on one line each)

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import PATIENCE, Peer, Session, write

#: A server that answers each request with its number of the run, slowly where asked to.
WSGI = """
import os, time
def app(environ, start_response):
    if environ['PATH_INFO'] == '/slow':
        time.sleep(1.5)
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '5')])
    return [b'hello']
"""
ASGI = """
import asyncio
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        while True:
            message = await receive()
            await send({'type': message['type'] + '.complete'})
            if 'shutdown' in message['type']: return
    if scope['path'] == '/slow':
        await asyncio.sleep(1.5)
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'5')]})
    await send({'type': 'http.response.body', 'body': b'hello'})
"""
HTTP = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/slow': time.sleep(1.5)
        self.send_response(200); self.send_header('Content-Length', '5'); self.end_headers()
        self.wfile.write(b'hello')
    def log_message(self, *args): pass
"""
STREAMS = """
import asyncio
async def handle(reader, writer):
    line = await reader.readline()
    while (await reader.readline()).strip(): pass
    if b'/slow' in line: await asyncio.sleep(1.5)
    writer.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello')
    await writer.drain()
    writer.close()
"""
MAIN_STREAMS = STREAMS + """
async def main():
    server = await asyncio.start_server(handle, '127.0.0.1', PORT)
    async with server: await server.serve_forever()
"""

PLAIN = {
    "http.server": HTTP + "http.server.ThreadingHTTPServer(('127.0.0.1', PORT), Handler).serve_forever()",
    "asyncio": MAIN_STREAMS + "asyncio.run(main())",
}
#: name → (modules, command) with PORT to be replaced; these need packages.
SERVERS: dict[str, tuple[dict[str, str], list[str]]] = {
    "uvloop": ({"app": MAIN_STREAMS + "import uvloop; uvloop.run(main())"}, ["app.py"]),
    "werkzeug": ({"app": WSGI + "from werkzeug.serving import run_simple\n"
                         "run_simple('127.0.0.1', PORT, app, threaded=True)"}, ["app.py"]),
    "uvicorn": ({"app": ASGI}, ["-m", "uvicorn", "app:app", "--port", "PORT", "--loop", "asyncio"]),
    "uvicorn, uvloop": ({"app": ASGI}, ["-m", "uvicorn", "app:app", "--port", "PORT", "--loop", "uvloop"]),
    "uvicorn, workers": ({"app": ASGI},
                         ["-m", "uvicorn", "app:app", "--port", "PORT", "--workers", "2"]),
    "gunicorn": ({"app": WSGI}, ["-m", "gunicorn", "app:app", "-w", "2", "-b", "127.0.0.1:PORT"]),
    "gunicorn, gthread": ({"app": WSGI}, ["-m", "gunicorn", "app:app", "-w", "1", "--threads", "4",
                                          "-b", "127.0.0.1:PORT"]),
    "gunicorn, gevent": ({"app": WSGI}, ["-m", "gunicorn", "app:app", "-k", "gevent",
                                         "-b", "127.0.0.1:PORT"]),
    "hypercorn": ({"app": ASGI}, ["-m", "hypercorn", "app:app", "-b", "127.0.0.1:PORT"]),
    "gevent": ({"app": "from gevent import monkey; monkey.patch_all()\n" + WSGI
                       + "from gevent.pywsgi import WSGIServer\n"
                         "WSGIServer(('127.0.0.1', PORT), app).serve_forever()"}, ["app.py"]),
    "eventlet": ({"app": "import eventlet; eventlet.monkey_patch()\nfrom eventlet import wsgi\n" + WSGI
                         + "wsgi.server(eventlet.listen(('127.0.0.1', PORT)), app)"}, ["app.py"]),
}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def start(session: Session, name: str, port: int, **settings: Any) -> None:
    modules, command = SERVERS.get(name) or ({"app": PLAIN[name]}, ["app.py"])
    write(session.folder, **{k: v.replace("PORT", str(port)) for k, v in modules.items()})
    session.start(sys.executable, *[c.replace("PORT", str(port)) for c in command], **settings)


def get(port: int, path: str = "/", patience: float = PATIENCE) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as client:
        client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
        return answer


@contextlib.contextmanager
def held_socket() -> Iterator[socket.socket]:
    """A listening socket, as the session holds it between two runs."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        sock.listen(100)
        yield sock


def hold(session: Session, sock: socket.socket, port: int) -> None:
    """Answer "bind" for that port with the held socket."""

    def answer(peer: Peer, message: dict[str, Any]) -> None:
        ours = message["address"] == ["127.0.0.1", port]
        reply = {"type": "bound", "id": message["id"], "held": ours}
        session.send(peer, reply, *([sock.fileno()] if ours else []))

    session.answers["bind"] = answer


@pytest.mark.parametrize(
    ("make", "family", "requested"),
    [
        ("s = socket.socket(); s.bind(('127.0.0.1', 0))", socket.AF_INET, ["127.0.0.1", 0]),
        ("s = socket.socket(); s.bind(('', 0))", socket.AF_INET, ["", 0]),
        ("s = socket.socket(socket.AF_INET6); s.bind(('::1', 0))", socket.AF_INET6, ["::1", 0]),
        ("s = socket.socket(socket.AF_UNIX); s.bind('app.sock')", socket.AF_UNIX, "app.sock"),
        ("s = socket.socket(socket.AF_UNIX); s.bind(b'\\0onsave-%d' % os.getpid())", socket.AF_UNIX, None),
        ("s = socket.create_server(('127.0.0.1', 0))", socket.AF_INET, ["127.0.0.1", 0]),
    ],
)
def test_what_listens_is_told(
    python: str, session: Session, make: str, family: int, requested: Any
) -> None:
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    write(session.folder, app=f"import os, socket\n{make}\ns.listen()\ns.listen(5)\nprint(s.getsockname())")
    done = session.run(python, "app.py")
    if done.returncode and "Cannot assign" in done.stderr:
        pytest.skip("no IPv6 here")
    (message,) = session.of("listening")
    assert message["family"] == family
    if requested == "app.sock":
        requested = str(session.folder / "app.sock")
    if requested is not None:
        assert message["requested"] == requested
    with socket.socket(fileno=message["fd"]) as copy:
        if family == socket.AF_INET:
            assert list(copy.getsockname()) == message["address"]


def test_other_sockets_are_left_alone(python: str, session: Session) -> None:
    write(
        session.folder,
        app="import multiprocessing, socket\nu = socket.socket(type=socket.SOCK_DGRAM)\n"
            "u.bind(('127.0.0.1', 0))\na, b = socket.socketpair()\n"
            "if __name__ == '__main__':\n    with multiprocessing.Manager() as m: m.list()\n",
    )
    done = session.run(python, "app.py", held=True)
    assert done.returncode == 0, done.stderr
    assert not session.of("listening") + session.of("bind")


def test_a_failing_bind_fails_as_ever(python: str, session: Session) -> None:
    session.answers["bind"] = lambda peer, m: session.send(
        peer, {"type": "bound", "id": m["id"], "held": False}
    )
    with held_socket() as sock:
        port = sock.getsockname()[1]
        write(
            session.folder,
            app=f"import socket\ns = socket.socket()\ntry: s.bind(('127.0.0.1', {port}))\n"
                "except OSError as e: print(e.errno, e.strerror)\n"
                "try: s.bind('nonsense')\nexcept TypeError as e: print(e)\n"
                "try: s.bind()\nexcept TypeError as e: print('no arguments')\n",
        )
        without = session.run(python, "app.py", observed=False)
        done = session.run(python, "app.py", held=True)
        assert done.stdout == without.stdout
        assert done.stderr == without.stderr == ""


@pytest.mark.parametrize("name", [*PLAIN, *SERVERS])
def test_servers_listen_take_over_and_wait(session: Session, name: str) -> None:
    """The whole way of a run that is started beside another, in each server."""
    with held_socket() as sock:
        port = sock.getsockname()[1]
        hold(session, sock, port)
        start(session, name, port, held=True, beside=True)
        session.wait_for(lambda m: m["type"] == "waiting")
        assert session.of("bind")
        # Nobody accepts yet: the connection waits in the kernel.
        client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert not session.of("listening")

        def release(peer: Peer, message: dict[str, Any]) -> None:
            session.send(peer, {"type": "release", "id": message["id"]})

        # Workers ask one after the other.
        session.answers["waiting"] = release
        for message in session.of("waiting"):
            release(next(p for p in session.peers if p.hello.get("pid") == message["from"]), message)
        session.wait_for(lambda m: m["type"] == "listening")
        client.settimeout(PATIENCE)
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
        assert answer.endswith(b"hello")
        client.close()
        assert get(port).endswith(b"hello")
        (address,) = {str(m["address"]) for m in session.of("listening")}
        assert address == str(["127.0.0.1", port])
        assert f"{session.folder}/app.py" in session.loaded()


@pytest.mark.parametrize("name", [*PLAIN, *SERVERS])
def test_draining(session: Session, name: str) -> None:
    """A request under way is finished, and new connections wait for somebody else."""
    port = free_port()
    start(session, name, port)
    # Where there are workers, each of them says so: none may be on its way when we drain.
    several = {"gunicorn": 2, "uvicorn, workers": 2}.get(name, 1)
    session.wait(lambda: len(session.of("listening")) >= several)
    held = socket.socket(fileno=session.of("listening")[0]["fd"])
    results: list[bytes] = []
    slow = threading.Thread(target=lambda: results.append(get(port, "/slow")))
    begun = time.monotonic()
    slow.start()
    # It is under way when it was accepted: the queue of the socket is empty again.
    wait_accepted(port)
    peers = [p for p in session.peers if not p.closed]
    for number, peer in enumerate(peers):
        question = {"type": "drain", "id": 1000 + number, "timeout": PATIENCE, "closed": False}
        session.send(peer, question)
    session.wait(lambda: len(session.of("drained")) == len(peers))
    assert time.monotonic() - begun >= 1.4, "drained before the request was answered"
    assert [m["busy"] for m in session.of("drained")] == [0] * len(peers)
    slow.join()
    assert results[0].endswith(b"hello")
    late = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    late.sendall(b"GET / HTTP/1.0\r\n\r\n")
    late.settimeout(0.3)
    with pytest.raises(TimeoutError):
        late.recv(1)
    held.settimeout(PATIENCE)
    accepted, _ = held.accept()
    assert accepted.recv(100).startswith(b"GET / ")
    for sock in (accepted, late, held):
        sock.close()


def wait_accepted(port: int) -> None:
    """Wait until a connection to the port has been accepted, by the kernel's own table."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with open("/proc/net/tcp") as file:
            for line in file.readlines()[1:]:
                words = line.split()
                if int(words[1].split(":")[1], 16) != port or words[3] != "01":
                    continue
                # Established, its bytes were read, and it has an inode: an owner.
                if words[9] != "0" and words[4].endswith(":00000000"):
                    return
        time.sleep(0.01)
    raise AssertionError("nobody accepted")


def test_draining_does_not_wait_for_idle_or_endless_connections(session: Session) -> None:
    port = free_port()
    start(session, "uvicorn", port)
    session.wait_for(lambda m: m["type"] == "listening")
    with socket.create_connection(("127.0.0.1", port)) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"hello" in idle.recv(4096) + idle.recv(4096)
        with socket.create_connection(("127.0.0.1", port)):
            assert drain(session, PATIENCE)["busy"] == 0
            # The second may not have been accepted, and then is none of this process's.
            assert drain(session, 0.1, closed=True)["busy"] in (1, 2)
            idle.shutdown(socket.SHUT_WR)
            idle.recv(1)
        assert drain(session, PATIENCE, closed=True)["busy"] == 0


def drain(session: Session, seconds: float, *, closed: bool = False) -> dict[str, Any]:
    return session.ask({"type": "drain", "timeout": seconds, "closed": closed})


def test_a_drain_that_takes_too_long_says_so(session: Session) -> None:
    port = free_port()
    start(session, "http.server", port)
    session.wait_for(lambda m: m["type"] == "listening")
    threading.Thread(target=lambda: get(port, "/slow"), daemon=True).start()
    wait_accepted(port)
    assert drain(session, 0.2)["busy"] == 1


@pytest.mark.parametrize("name", ["int", "term"])
def test_the_wait_can_be_interrupted(python: str, session: Session, name: str) -> None:
    with held_socket() as sock:
        port = sock.getsockname()[1]
        hold(session, sock, port)
        write(
            session.folder,
            app="import signal, socket, sys\nsignal.signal(signal.SIGTERM, lambda *a: sys.exit(5))\n"
                f"s = socket.socket(); s.bind(('127.0.0.1', {port}))\ntry: s.listen()\n"
                "except KeyboardInterrupt: sys.exit(4)\n",
        )
        process = session.start(python, "app.py", held=True, beside=True)
        session.wait_for(lambda m: m["type"] == "waiting")
        process.send_signal(signal.SIGINT if name == "int" else signal.SIGTERM)
        assert process.wait(PATIENCE) == (4 if name == "int" else 5)


def test_a_new_address_needs_no_wait(python: str, session: Session) -> None:
    session.answers["bind"] = lambda peer, m: session.send(
        peer, {"type": "bound", "id": m["id"], "held": False}
    )
    write(
        session.folder,
        app="import socket, time\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\ntime.sleep(600)",
    )
    session.start(python, "app.py", held=True, beside=True)
    session.wait_for(lambda m: m["type"] == "listening")
    assert not session.of("waiting")


def test_port_0_keeps_its_port(python: str, session: Session) -> None:
    with held_socket() as sock:
        hold(session, sock, 0)
        write(
            session.folder,
            app="import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
                "print(s.getsockname()[1], s.gettimeout(), s.getblocking())\n",
        )
        done = session.run(python, "app.py", held=True)
        assert done.stdout == f"{sock.getsockname()[1]} None True\n"


def test_a_session_that_goes_while_asked(python: str, session: Session) -> None:
    """Nobody answers "bind" any more: the lifeline, not a hang."""
    write(session.folder, app="import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()")
    process = session.start(python, "app.py", held=True)
    session.wait_for(lambda m: m["type"] == "bind")
    session.listener.close()
    os.unlink(session.path)
    for peer in session.peers:
        peer.connection.shutdown(2)
    assert process.wait(PATIENCE) == -signal.SIGKILL


# --- frameworks' reloaders ----------------------------------------------------------------------

RAN = "import os\nopen('ran', 'a').write('%d\\n' % os.getpid())\n"
FLASK = RAN + "import flask\napp = flask.Flask(__name__)\n@app.route('/')\ndef index(): return 'hello'\n"
DJANGO = {
    "manage": "import os, sys\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n"
              "from django.core.management import execute_from_command_line\n"
              "execute_from_command_line(sys.argv)\n",
    "settings": RAN + "SECRET_KEY = 'x'\nDEBUG = True\nROOT_URLCONF = 'urls'\nALLOWED_HOSTS = ['*']\n",
    "urls": "from django.http import HttpResponse\nfrom django.urls import path\n"
            "urlpatterns = [path('', lambda request: HttpResponse('hello'))]\n",
}
RELOADERS: dict[str, tuple[dict[str, str], list[str], str]] = {
    "flask run --debug": (
        {"app": FLASK}, ["-m", "flask", "run", "--debug", "--port", "PORT"], "Flask's"),
    "app.run(debug=True)": (
        {"app": FLASK + "if __name__ == '__main__': app.run(debug=True, port=PORT)"},
        ["app.py"], "Flask's"),
    "manage.py runserver": (DJANGO, ["manage.py", "runserver", "127.0.0.1:PORT"], "Django's"),
    "uvicorn --reload": (
        {"app": RAN + ASGI}, ["-m", "uvicorn", "app:app", "--reload", "--port", "PORT"], "uvicorn's"),
    "gunicorn --reload": (
        {"app": RAN + WSGI}, ["-m", "gunicorn", "app:app", "--reload", "-b", "127.0.0.1:PORT"],
        "gunicorn's"),
    "hypercorn --reload": (
        {"app": RAN + ASGI}, ["-m", "hypercorn", "app:app", "--reload", "-b", "127.0.0.1:PORT"],
        "hypercorn's"),
    "granian --reload": (
        {"app": RAN + ASGI},
        ["-m", "granian", "--interface", "asgi", "app:app", "--reload", "--port", "PORT"], "granian's"),
}


@pytest.mark.parametrize("name", list(RELOADERS))
def test_a_frameworks_own_reloader_is_off(session: Session, name: str) -> None:
    modules, command, whose = RELOADERS[name]
    port = free_port()
    write(session.folder, **{k: v.replace("PORT", str(port)) for k, v in modules.items()})
    process = session.start(sys.executable, *[c.replace("PORT", str(port)) for c in command])
    if not name.startswith("granian"):
        session.wait_for(lambda m: m["type"] == "listening")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            assert get(port).endswith(b"hello")
            break
        except ConnectionRefusedError:  # granian binds where we can't see it
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
    assert len((session.folder / "ran").read_text().split()) == 1, "executed more than once"
    (note,) = session.of("note")
    assert note["text"] == f"{whose} own reloader is off: onsave reloads"
    # A save is none of its business any more: granian's and uvicorn's watchers are not there.
    assert not [t for p in session.peers for t in threads(p.hello["pid"]) if "watch" in t or "notify" in t]


def threads(pid: int) -> list[str]:
    try:
        return [open(f"/proc/{pid}/task/{t}/comm").read() for t in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def test_flasks_debugger_stays(session: Session) -> None:
    port = free_port()
    code = FLASK + f"@app.route('/bad')\ndef bad(): 1 / 0\napp.run(debug=True, port={port})"
    write(session.folder, app=code)
    process = session.start(sys.executable, "app.py")
    session.wait_for(lambda m: m["type"] == "listening")
    assert b"Werkzeug Debugger" in get(port, "/bad")
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE)
    assert "Debugger PIN" in err
