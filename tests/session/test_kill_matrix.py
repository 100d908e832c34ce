"""SIGKILL of anything at any moment: nothing is left, and the next session works at once.

Each round starts a session on an app with a worker, has it do something (come up, restart, hold,
stop), and kills one of its processes at a random moment of that. ``ONSAVE_KILL_ROUNDS`` sets how
many rounds; a seed is printed for each, ``ONSAVE_KILL_SEED`` repeats one.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harness import Project, Session, free_port
from harness.processes import assert_no_orphans, marked, until
from onsave.control import ControlError, RunDirectory

ROUNDS = int(os.environ.get("ONSAVE_KILL_ROUNDS", "40"))
SEED = os.environ.get("ONSAVE_KILL_SEED")

MAIN = """
import os, part, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        text = str(part.X).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass

subprocess.Popen([sys.executable, "worker.py"])
subprocess.Popen(["sleep", "1000"], start_new_session=True)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
WORKER = "import part, time\ntime.sleep(1000)\n"

DOINGS = ("start", "restart", "hold", "break", "stop")
VICTIMS = ("session", "app", "worker", "any")


@pytest.mark.slow
@pytest.mark.timeout(60 + 15 * ROUNDS)
def test_kill_matrix(
    scripts: Callable[..., Project],
    sessions: list[Session],
    run_directory: Path,
    mark: str,
) -> None:
    port = free_port()
    for number in range(1 if SEED else ROUNDS):
        seed = int(SEED) if SEED else random.randrange(2**32)
        print(f"round {number}, seed {seed}")
        project = scripts(main=MAIN, worker=WORKER, part="X = 0\n")
        project.write("onsave.toml", "stop-timeout = 2\n")

        def begin(project: Project = project) -> Session:
            command = [sys.executable, "main.py", str(port)]
            session = Session(project, command, run_directory=run_directory, mark=mark, port=port)
            sessions.append(session)
            return session

        one_round(random.Random(seed), begin, run_directory, mark, port)
        for session in sessions:
            session.close()
        sessions.clear()


def one_round(
    chance: random.Random,
    begin: Callable[[], Session],
    run_directory: Path,
    mark: str,
    port: int,
) -> None:
    doing, victim = chance.choice(DOINGS), chance.choice(VICTIMS)
    delay = chance.random() ** 2 * (0.6 if doing in ("start", "restart") else 0.3)
    session = begin()
    said = f"{victim} killed {delay:.3f} s into {doing}"
    if doing != "start":
        session.connect().ready()
        do(session, doing)
    time.sleep(delay)
    kill(session, victim, mark, chance)
    # What is left to do for the session, if it lives, is to notice, and to go on or to end.
    if session.process.poll() is None:
        with contextlib.suppress(AssertionError, ControlError, OSError):
            session.connect()
            session.project.write("part.py", "X = 7\n")
            session.save("part.py")
        end(session, said)
    assert_no_orphans(mark)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))  # raises where anybody still has it
    assert not RunDirectory(run_directory).entries("session"), said
    left = [path.name for path in run_directory.iterdir() if path.suffix in (".sock", ".json")]
    assert not left, (said, left)
    # The next one works at once.
    session.project.write("part.py", "X = 0\n")
    after = begin().connect().ready()
    session.project.write("part.py", "X = 8\n")
    after.save("part.py")
    assert after.ask("/") == "8", said
    end(after, said)
    assert_no_orphans(mark)


def do(session: Session, doing: str) -> None:
    part = {"restart": "X = 1\n", "hold": "X = \n", "break": "X = nonsense\n"}.get(doing)
    if part is None:
        session.process.send_signal(signal.SIGTERM)
    else:
        session.project.write("part.py", part)
        session.tell("part.py")


def kill(session: Session, victim: str, mark: str, chance: random.Random) -> None:
    root = session.process.pid
    if victim == "session":
        chosen = [root]
    else:
        names = {"app": "main.py", "worker": "worker.py", "any": ""}
        chosen = [
            p.pid for p in marked(mark) if names[victim] in " ".join(quietly(p)) and p.pid != root
        ]
    if chosen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(sorted(chosen)), signal.SIGKILL)


def quietly(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


def end(session: Session, said: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        session.process.send_signal(signal.SIGTERM)
    until(lambda: session.process.poll() is not None, f"the session ends ({said})")
    assert "a bug in onsave" not in session.stderr, session.stderr
