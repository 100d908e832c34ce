"""A stand-in for the session that speaks protocol.py for real, and real Python processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from onsave_agent import protocol

BOOTSTRAP = Path(protocol.__file__).parent / "bootstrap"
PATIENCE = 30.0
WANTED = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")


def _interpreters() -> dict[str, str]:
    """Version → path of each interpreter found; the running one stands for its version."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    for version in WANTED:
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        candidates = [*(str(path) for path in reversed(pyenv)), shutil.which(f"python{version}")]
        for candidate in candidates:
            if version not in found and candidate and _runs(candidate, version):
                found[version] = candidate
    return dict(sorted(found.items(), key=lambda item: int(item[0].split(".")[1])))


def _runs(path: str, version: str) -> bool:
    command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == version


INTERPRETERS = _interpreters()


def pytest_report_header() -> str:
    left_out = [version for version in WANTED if version not in INTERPRETERS]
    return (
        f"agent tests run in Python {', '.join(INTERPRETERS)}; "
        f"not found here and left out: {', '.join(left_out) or 'none'}"
    )


@pytest.fixture(params=list(INTERPRETERS))
def python(request: pytest.FixtureRequest) -> str:
    """Each interpreter in turn. None but the running one has packages installed."""
    return INTERPRETERS[request.param]


@dataclass
class Peer:
    """One agent's connection."""

    connection: socket.socket
    hello: dict[str, Any] = field(default_factory=dict)
    closed: bool = False


class Session:
    """Accepts agents, checks and records each message; answers only what a test tells it to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = str(folder / "session.sock")
        self.messages: list[dict[str, Any]] = []
        self.peers: list[Peer] = []
        self.names: list[object] = []
        self.errors: list[str] = []
        #: message type → what to do with (peer, message), on the reading thread
        self.answers: dict[str, Callable[[Peer, dict[str, Any]], None]] = {}
        self.changed = threading.Condition()
        self.processes: list[subprocess.Popen[str]] = []
        self.count = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(100)
        threading.Thread(target=self._accept, daemon=True).start()

    # --- agents ---------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                connection, name = self.listener.accept()
            except OSError:
                return
            peer = Peer(connection)
            with self.changed:
                self.peers.append(peer)
                self.names.append(name)
                self.changed.notify_all()
            threading.Thread(target=self._read, args=(peer,), daemon=True).start()

    def _read(self, peer: Peer) -> None:
        received = b""
        descriptors: list[int] = []
        while True:
            try:
                data, new, _, _ = socket.recv_fds(peer.connection, 1 << 20, 100)
            except OSError:
                data, new = b"", []
            if not data:
                break
            descriptors += new
            *lines, received = (received + data).split(b"\n")
            for line in lines:
                try:
                    message = protocol.decode(line, protocol.AGENT_MESSAGES)
                except protocol.ProtocolError as error:
                    self.errors.append(f"{error}: {line[:200]!r}")
                    continue
                if len(line) > 256 * 1024:
                    self.errors.append(f"a message of {len(line)} bytes")
                if message["type"] == "hello":
                    peer.hello = message
                elif message["type"] in ("listening", "holding") and message["held"]:
                    message["fd"] = descriptors.pop(0)
                message["from"] = peer.hello.get("pid")
                with self.changed:
                    self.messages.append(message)
                    self.changed.notify_all()
                answer = self.answers.get(message["type"])
                if answer:
                    answer(peer, message)
        with self.changed:
            peer.closed = True
            self.changed.notify_all()

    def send(self, peer: Peer, message: dict[str, Any], *descriptors: int) -> None:
        line = protocol.encode(message)
        protocol.decode(line, protocol.SESSION_MESSAGES)
        socket.send_fds(peer.connection, [line], list(descriptors))

    def ask(self, message: dict[str, Any], peer: Peer | None = None) -> dict[str, Any]:
        """Send a question to a process (the first), and wait for the answer with its id."""
        self.count += 1
        number = self.count
        if peer is None:
            self.wait(lambda: any(peer.hello for peer in self.peers))
            peer = self.peers[0]
        self.send(peer, {**message, "id": number})
        return self.wait_for(lambda m: m.get("id") == number and m["type"] not in ASKING)

    # --- what was said --------------------------------------------------------------------

    def wait(self, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        with self.changed:
            result = self.changed.wait_for(condition, patience)
        assert result, f"not in {patience} s; said: {self.said()}; {self.errors}"
        return result

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return self.wait(lambda: next((m for m in self.messages if wanted(m)), None))

    def said(self) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["type"] != "loaded"]

    def of(self, kind: str, pid: int | None = None) -> list[dict[str, Any]]:
        return [
            m for m in list(self.messages)
            if m["type"] == kind and (pid is None or m["from"] == pid)
        ]

    def loaded(self, pid: int | None = None) -> dict[str, list[Any]]:
        """path → the last report of it."""
        return {entry[0]: entry for m in self.of("loaded", pid) for entry in m["files"]}

    # --- processes ------------------------------------------------------------------------

    def environment(self, env: dict[str, str] | None = None, **settings: Any) -> dict[str, str]:
        """The environment that `onsave run` would give the app."""
        whole = {
            key: value for key, value in os.environ.items()
            if key not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED")
        }
        whole.update(env or {})
        before = whole.get("PYTHONPATH")
        agent = {
            "socket": self.path, "token": "", "run": 1, "roots": [str(self.folder)],
            "ignore": [], "data": True, "edited": [], "pythonpath": before,
            "bootstrap": str(BOOTSTRAP), "held": False, "beside": False, **settings,
        }
        whole["PYTHONPATH"] = f"{BOOTSTRAP}:{before}" if before else str(BOOTSTRAP)
        whole[protocol.ENVIRONMENT_KEY] = json.dumps(agent)
        return whole

    def start(
        self,
        *command: str,
        env: dict[str, str] | None = None,
        observed: bool = True,
        **settings: Any,
    ) -> subprocess.Popen[str]:
        whole = self.environment(env, **settings)
        if not observed:
            whole.pop(protocol.ENVIRONMENT_KEY)
            whole.pop("PYTHONPATH")
            whole.update({k: v for k, v in (env or {}).items() if k == "PYTHONPATH"})
        process = subprocess.Popen(
            command, cwd=self.folder, env=whole, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        self.processes.append(process)
        return process

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end; all that it has said has arrived when this returns."""
        process = self.start(*command, **options)
        out, err = process.communicate(timeout=PATIENCE * 2)
        self.settle()
        assert not self.errors, self.errors
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def settle(self) -> None:
        """Wait until all that was sent by processes that have ended has been read."""
        with socket.socket(socket.AF_UNIX) as last:
            # Connections are accepted in their order: once this one is, all others were.
            last.bind(f"\0onsave-{id(last)}-{os.getpid()}")
            last.connect(self.path)
            self.wait(lambda: last.getsockname() in self.names)
        self.wait(lambda: all(peer.closed for peer in self.peers))

    def close(self) -> None:
        for peer in self.peers:
            # Forked children hold the pipes of their parent open.
            if not peer.closed and "pid" in peer.hello:
                with contextlib.suppress(OSError):
                    os.kill(peer.hello["pid"], signal.SIGKILL)
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=10)
        self.listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.connection.shutdown(socket.SHUT_RDWR)
            peer.connection.close()


#: Messages of the agent's whose id is a question's, not an answer's.
ASKING = ("bind", "waiting")


@pytest.fixture
def session() -> Iterator[Session]:
    # Not tmp_path: the path of a Unix socket has to be short.
    folder = Path(tempfile.mkdtemp(prefix="onsave-")).resolve()
    session = Session(folder)
    yield session
    session.close()
    errors = session.errors
    shutil.rmtree(folder, ignore_errors=True)
    assert not errors, errors


def write(folder: Path, more: dict[str, str] | None = None, /, **modules: str) -> None:
    """write(folder, {"pkg/__init__.py": ""}, app="…"): files, as if written long ago."""
    for name, text in [*(more or {}).items(), *((f"{n}.py", t) for n, t in modules.items())]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        age(path)


def age(path: Path, seconds: float = 100.0) -> None:
    """Make a file older than any bytecode or process."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def digest(path: Path) -> str:
    return protocol.digest(path.read_bytes())


def normal(text: str) -> str:
    """A text without addresses, which differ from run to run."""
    return re.sub(r"0x[0-9a-f]+", "0x…", text)
