"""A stand-in for the session, for one app: cold starts, trials, snapshots and their resumption."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onsave_agent import protocol

BOOTSTRAP = Path(protocol.__file__).parent / "bootstrap"
PATIENCE = 60.0

#: What an app of these tests says of itself: everything that a start could make different.
DESCRIBE = """
import json as _json, os as _os, signal as _signal, sys as _sys
def describe(**more):
    import threading, warnings
    print(_json.dumps({
        "modules": [n for n in _sys.modules if not n.startswith("onsave_agent")],
        "children": {n: sorted(k for k, v in vars(m).items() if type(v) is type(_sys))
                     for n, m in list(_sys.modules.items())
                     if hasattr(m, "__dict__") and not n.startswith("onsave_agent")},
        "argv": _sys.argv, "path": _sys.path, "cwd": _os.getcwd(), "flags": list(_sys.flags),
        "environ": {k: v for k, v in _os.environ.items() if k != "ONSAVE_AGENT"},
        "main": sorted(_sys.modules["__main__"].__dict__),
        "file": _sys.modules["__main__"].__file__,
        "name": __name__,
        "fds": sorted(int(fd) for fd in _os.listdir("/proc/self/fd") if int(fd) < 100),
        "threads": [t.name for t in threading.enumerate()],
        "handlers": [str(_signal.getsignal(n)).partition(" at 0x")[0] for n in range(1, 32)],
        "mask": sorted(_signal.pthread_sigmask(_signal.SIG_BLOCK, [])),
        "filters": [str(f) for f in warnings.filters],
        "meta": [getattr(f, "__name__", type(f).__name__) for f in _sys.meta_path],
        "umask": _os.umask(0o022), "group": _os.getpgrp() == _os.getpgid(_os.getppid()),
        "bytecode": _sys.dont_write_bytecode, "hooks": len(_sys.path_hooks),
        "limit": _sys.getrecursionlimit(),
        **more,
    }), flush=True)
"""


class Peer:
    """One connection of a process of the app's."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self._connection = connection
        self._file = connection.makefile("rb")
        self.hello = self.receive(
            {"hello": {"role": str, "version": int, "token": str, "pid": int}}
        ) or {"role": ""}
        self.table = (
            protocol.SNAPSHOT_MESSAGES
            if self.hello["role"] == "snapshot"
            else protocol.AGENT_MESSAGES
        )

    def receive(self, table: Any = None) -> dict[str, Any] | None:
        line = self._file.readline()
        return protocol.decode(line.rstrip(b"\n"), table or self.table) if line else None

    def send(self, **message: Any) -> None:
        line = protocol.encode(message)
        protocol.decode(line, protocol.SESSION_MESSAGES)
        self._connection.sendall(line)


class Stand:
    """One app in a folder of its own. ``command``: of a Python, in that folder."""

    def __init__(self, python: str, *arguments: str) -> None:
        # Not tmp_path: the path of a Unix socket has to be short.
        self.folder = Path(tempfile.mkdtemp(prefix="onsave-")).resolve()
        self.project = self.folder / "project"
        self.project.mkdir()
        self.command = [python, *arguments]
        self.env: dict[str, str] = {}
        self.processes: list[subprocess.Popen[str]] = []
        self._path = str(self.folder / "s")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(PATIENCE)
        self._listener.bind(self._path)
        self._listener.listen(20)
        self.skipped: dict[str, str] = {}
        self.looks: list[list[str]] = []

    def write(self, **files: str) -> None:
        """write(app="…", pkg__mod="…"): modules, ``__`` for folders; of the project, or of the
        library where the name begins with ``lib__``."""
        for name, text in files.items():
            base = self.project
            if name.startswith("lib__"):
                base, name = self.library, name[5:]
            for special in ("init", "main"):
                name = name.replace(f"____{special}__", f"/=={special}==")
            path = base / (name.replace("__", "/").replace("==", "__") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    @property
    def library(self) -> Path:
        """A folder that counts as installed, on PYTHONPATH."""
        return self.folder / "site-packages"

    def settings(self, **more: Any) -> str:
        told = {
            "socket": self._path, "token": "", "run": 1, "roots": [str(self.project)],
            "ignore": [], "data": True, "edited": [], "pythonpath": str(self.library),
            "bootstrap": str(BOOTSTRAP), "held": False, "beside": False, **more,
        }  # fmt: skip
        return json.dumps(told, separators=(",", ":"))

    def spawn(self, **more: Any) -> tuple[subprocess.Popen[str], Peer]:
        self.library.mkdir(exist_ok=True)
        env = {
            key: value
            for key, value in os.environ.items()
            if key not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH")
        }
        env.update(self.env)
        env["PYTHONPATH"] = f"{BOOTSTRAP}:{self.library}"
        env[protocol.ENVIRONMENT_KEY] = self.settings(**more)
        process = subprocess.Popen(
            self.command, cwd=self.project, env=env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.processes.append(process)
        return process, self.peer()

    def peer(self) -> Peer:
        return Peer(self._listener.accept()[0])

    # --- what a session does ----------------------------------------------------------------------

    def finish(self, process: subprocess.Popen[str], peer: Peer) -> Ended:
        """To the end of an app that ends by itself."""
        messages = []
        while (message := peer.receive()) is not None:
            messages.append(message)
            if message["type"] == "unlike":
                process.kill()
        out, err = process.communicate(timeout=PATIENCE)
        return Ended(process, out, err, messages)

    def cold(self) -> Ended:
        return self.finish(*self.spawn())

    def names(self, ended: Ended) -> list[str]:
        """The libraries' modules that it has imported, as the session knows them."""
        return [
            entry[3]
            for entry in ended.loaded.values()
            if entry[2] == "module" and entry[1] is None and entry[3]
        ]

    def attempt(self, names: list[str], forks: bool = False) -> dict[str, Any]:
        """A trial: the message "tried"."""
        process, peer = self.spawn(snapshot=1)
        peer.send(type="try", names=names, without=[], forks=forks)
        tried = peer.receive()
        out, err = process.communicate(timeout=PATIENCE)
        assert tried is not None and not out and not err, (tried, out, err)
        self.skipped, self.looks = dict(tried["skipped"]), tried["looks"]
        return tried

    def snapshot(self, names: list[str]) -> tuple[subprocess.Popen[str], Peer, dict[str, Any]]:
        process, peer = self.spawn(snapshot=2)
        assert peer.hello["refused"] is None
        peer.send(type="warm", names=names, without=list(self.skipped), looks=self.looks)
        warmed = peer.receive()
        assert warmed is not None and warmed["refused"] is None, warmed
        return process, peer, warmed

    def scout(self, *until: str) -> dict[str, Any]:
        """How far a start can run ahead, until one of these files of the project: "scouted"."""
        process, peer = self.spawn(snapshot=1)
        assert peer.hello["refused"] is None
        peer.send(type="scout", until=[str(self.project / name) for name in until])
        scouted = peer.receive()
        out, err = process.communicate(timeout=PATIENCE)
        assert scouted is not None and not out and not err, (scouted, out, err)
        return scouted

    def ahead(
        self, scouted: dict[str, Any], names: list[str] | None = None
    ) -> tuple[subprocess.Popen[str], Peer, dict[str, Any]]:
        """A process that has run ahead as far as was scouted: it, its connection, "warmed"."""
        process, peer = self.spawn(snapshot=2)
        assert scouted["before"] is not None
        peer.send(
            type="ahead", before=scouted["before"], project=scouted["project"],
            names=names or [], without=list(self.skipped), looks=self.looks,
        )  # fmt: skip
        warmed = peer.receive()
        assert warmed is not None and warmed["refused"] is None, warmed
        return process, peer, warmed

    def resumed_ahead(
        self,
        *until: str,
        names: list[str] | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> Ended:
        """From where a start could run ahead to, to the end; ``before``: meanwhile."""
        process, peer, _warmed = self.ahead(self.scout(*until), names)
        before()
        peer.send(type="resume", run=2, settings=self.settings(run=2))
        agent = self.peer()
        assert agent.hello["run"] == 2 and agent.hello["pid"] == process.pid
        return self.finish(process, agent)

    def resumed(
        self, names: list[str] | None = None, before: Callable[[], None] = lambda: None
    ) -> Ended:
        """From a snapshot, to the end; ``before``: what happens while it stands by."""
        if names is None:
            names = self.attempt(self.names(self.cold()))["modules"]
        process, peer, _warmed = self.snapshot(names)
        before()
        peer.send(type="resume", run=2, settings=self.settings(run=2))
        agent = self.peer()
        assert agent.hello["run"] == 2 and agent.hello["pid"] == process.pid
        return self.finish(process, agent)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        self._listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Ended:
    """What a run of the app came to."""

    def __init__(
        self, process: subprocess.Popen[str], out: str, err: str, messages: list[dict[str, Any]]
    ) -> None:
        self.code, self.out, self.err = process.returncode, out, err
        self.loaded = {
            entry[0]: entry for m in messages if m["type"] == "loaded" for entry in m["files"]
        }
        self.unlike = {
            name: reason for m in messages if m["type"] == "unlike" for name, reason in m["modules"]
        }

    @property
    def said(self) -> dict[str, Any]:
        """The last line of its output, as JSON."""
        assert self.out, self.err
        return dict(json.loads(self.out.splitlines()[-1]))
