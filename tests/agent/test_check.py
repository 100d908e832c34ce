"""Compiling before anything is stopped, and noticing a debugger."""
# ruff: noqa: E501 (programs of the app's, on one line each)

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from onsave_agent.protocol import ABSENT

from .conftest import Session, digest, write

SLEEP = "print('up', flush=True)\nimport time\ntime.sleep(600)"


def up(python: str, session: Session, *options: str, **modules: str) -> None:
    write(session.folder, **{"app": SLEEP, **modules})
    process = session.start(python, *options, "app.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"


SOURCES: dict[str, tuple[bytes, int | None]] = {
    "good": (b"x = 1\n", None),
    "empty": (b"", None),
    "half a line": (b"x = 1\ndef f(\n", 2),
    "bad indentation": (b"def f():\nx = 1\n", 2),
    "unfinished string": (b"x = 'a\n", 1),
    "return outside": (b"\n\nreturn 3\n", 3),
    "nul": (b"x = 1\ny = '\0'\n", 2),
    "latin-1 declared": (b"# coding: latin-1\nx = '\xe4'\n", None),
    "latin-1 undeclared": (b"x = 1\nx = '\xe4'\n", 2),
    "unknown coding": (b"# coding: nothing-like-it\n", 1),
    "byte order mark": (b"\xef\xbb\xbfx = 1\n", None),
    "warning": (b"x = '\\d'\nassert (1, 'x')\n", None),
    "no newline": (b"if 1: pass", None),
    "deep": (b"x = " + b"(" * 5000 + b")" * 5000, 1),
}


@pytest.mark.parametrize("options", [[], ["-W", "error"], ["-W", "always"]])
def test_sources(python: str, session: Session, options: list[str]) -> None:
    up(python, session, *options)
    for name, (source, _) in SOURCES.items():
        (session.folder / f"{name}.py").write_bytes(source)
    files = [str(session.folder / f"{name}.py") for name in SOURCES]
    answer = session.ask({"type": "check", "files": files})
    assert answer["paused"] is None
    lines = {}
    for (name, (_, line)), (path, known, error) in zip(SOURCES.items(), answer["results"], strict=True):
        assert known == digest(session.folder / f"{name}.py")
        assert path == str(session.folder / f"{name}.py")
        lines[name] = error and error["line"]
        if error:
            assert (error["end_line"], error["end_column"]) > (error["line"], error["column"])
            assert error["column"] >= 1
            assert "onsave" not in error["message"]
        if name not in ("deep", "latin-1 undeclared"):
            assert lines[name] == line, (name, error)
    assert lines["latin-1 undeclared"] is not None
    process = session.processes[0]
    process.kill()
    assert process.communicate() == ("", "")


def test_the_interpreters_own_syntax_counts(python: str, session: Session) -> None:
    up(python, session)
    write(session.folder, new="match 1:\n    case 1: pass\n")
    answer = session.ask({"type": "check", "files": [str(session.folder / "new.py")]})
    version = tuple(session.of("hello")[0]["python"])
    assert (answer["results"][0][2] is None) == (version >= (3, 10))


def test_only_code_is_compiled(python: str, session: Session) -> None:
    up(python, session)
    (session.folder / "page.html").write_text("<p>")
    (session.folder / "folder.py").mkdir()
    names = ["page.html", "gone.py", "folder.py"]
    answer = session.ask({"type": "check", "files": [str(session.folder / n) for n in names]})
    html, gone, folder = answer["results"]
    assert html[2] is None
    assert gone[1:] == [ABSENT, None]
    assert "irectory" in folder[2]["message"]


def test_a_script_of_any_name_is_code(python: str, session: Session) -> None:
    (session.folder / "serve").write_text(SLEEP)
    process = session.start(python, "serve")
    assert process.stdout is not None
    process.stdout.readline()
    (session.folder / "serve").write_text("def f(")
    answer = session.ask({"type": "check", "files": [str(session.folder / "serve")]})
    assert answer["results"][0][2]["line"] == 1


def test_a_busy_app_answers(python: str, session: Session) -> None:
    up(python, session, app="print('up', flush=True)\nwhile True: pass")
    answer = session.ask({"type": "check", "files": [str(session.folder / "app.py")]})
    assert answer["results"][0][2] is None


def paused(session: Session) -> Any:
    return session.ask({"type": "check", "files": []})["paused"]


@pytest.mark.parametrize("where", ["main", "thread"])
def test_pdb(python: str, session: Session, where: str) -> None:
    code = "def stop():\n    x = 1\n    breakpoint()\n    return x\n"
    code += "stop()" if where == "main" else "import threading; threading.Thread(target=stop).start()"
    write(session.folder, app=code)
    import subprocess

    process = subprocess.Popen(
        [python, "app.py"], cwd=session.folder, env=session.environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    session.processes.append(process)
    deadline = time.monotonic() + 30
    while not (found := session.of("hello") and paused(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    # Python 3.14 stops at breakpoint() itself.
    assert found in [f"pdb at {session.folder}/app.py:{line}" for line in (3, 4)]
    assert process.stdin is not None
    process.stdin.write("c\n")
    process.stdin.flush()
    assert process.wait(30) == 0


def test_debugpy(session: Session) -> None:
    """Suspended for real, by a client that speaks just enough of the Debug Adapter Protocol."""
    import json
    import socket

    write(session.folder, app="import time\nfor n in range(100000):\n    time.sleep(0.01)\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    session.start(
        sys.executable, "-Xfrozen_modules=off", "-m", "debugpy", "--listen", f"127.0.0.1:{port}",
        "--wait-for-client", "app.py", env={"DEBUGPY_PROCESS_SPAWN_TIMEOUT": "60"},
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            client = socket.create_connection(("127.0.0.1", port))
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    reader = client.makefile("rb")

    def send(number: int, command: str, **arguments: Any) -> None:
        body = json.dumps(
            {"seq": number, "type": "request", "command": command, "arguments": arguments}
        ).encode()
        client.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def receive(wanted: str) -> dict[str, Any]:
        while True:
            size = int(reader.readline().split(b":")[1])
            reader.readline()
            message: dict[str, Any] = json.loads(reader.read(size))
            if wanted in (message.get("event"), message.get("command")):
                return message

    client.settimeout(60)
    send(1, "initialize", adapterID="test")
    receive("initialize")
    send(2, "attach", justMyCode=True)
    receive("initialized")
    source = {"path": f"{session.folder}/app.py"}
    send(3, "setBreakpoints", source=source, breakpoints=[{"line": 3}])
    receive("setBreakpoints")
    send(4, "configurationDone")
    thread = receive("stopped")["body"]["threadId"]
    app = next(p for p in session.peers if p.hello.get("argv", [""])[-1] == "app.py")
    answer = session.ask({"type": "check", "files": []}, app)
    assert answer["paused"] == f"debugpy at {session.folder}/app.py:3"
    send(5, "setBreakpoints", source=source, breakpoints=[])
    send(6, "continue", threadId=thread)
    receive("continue")
    assert session.ask({"type": "check", "files": []}, app)["paused"] is None
    client.close()
