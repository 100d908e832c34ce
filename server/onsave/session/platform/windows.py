"""Windows: the functions of :mod:`onsave.session.platform.posix`. Not run by us so far.

No descriptors travel between processes, so no socket is held; restarts stop the old run first. The
agents' lifeline is all that ends the app when we are killed (a job object would do better).
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

CHILD_SIGNAL: int | None = None  # ends of processes are looked for instead
WATCHED_SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
RUNS_AHEAD = False
KILL = int(signal.SIGTERM)  # os.kill with it is TerminateProcess
CONTINUE = 0
INTERRUPT = int(signal.SIGINT)
DEFAULT_STOP_SIGNAL = int(signal.SIGTERM)

_children: dict[int, subprocess.Popen[bytes]] = {}


class SpawnError(Exception):
    """The command can't be started. ``status`` is what a shell would exit with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def listen(path: str) -> tuple[socket.socket, str, str]:
    """A listening control socket on the loopback address: (socket, its address, token)."""
    control = socket.create_server(("127.0.0.1", 0))
    control.setblocking(False)
    host, port = control.getsockname()[:2]
    return control, f"{host}:{port}", secrets.token_hex(32)


def peer_is_ours(peer: socket.socket) -> bool:
    """The token, in a file that only this user can read, says so instead."""
    return True


def receive(peer: socket.socket, size: int) -> tuple[bytes, list[int]]:
    return peer.recv(size), []


def send(peer: socket.socket, data: bytes | memoryview, fds: Sequence[int] = ()) -> int:
    return peer.send(data)


def spawn(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> int:
    try:
        child = subprocess.Popen(list(argv), env=dict(env), cwd=cwd)
    except FileNotFoundError:
        raise SpawnError(f"{argv[0]}: command not found", 127) from None
    except OSError as error:
        raise SpawnError(f"{argv[0]} can't be started: {error.strerror}", 126) from None
    _children[child.pid] = child
    return child.pid


def reap() -> list[tuple[int, int]]:
    gone = [child for child in _children.values() if child.poll() is not None]
    ended = [(child.pid, child.returncode) for child in gone]
    for pid, _status in ended:
        del _children[pid]
    return ended


def signal_name(status: int) -> str | None:
    return None


def send_signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def children(pid: int | None = None) -> list[int] | None:
    return None


def become_subreaper() -> bool:
    return False


def environment_of(pid: int) -> dict[str, str]:
    return {}


def in_our_group(pid: int) -> bool:
    return True


def oom_kills() -> int:
    return 0


def guard(mark: str) -> tuple[int, int] | None:
    return None


def dismiss(guard: tuple[int, int]) -> None:
    pass


def terminal_modes() -> Any:
    return None


def in_foreground() -> bool:
    return True  # a console tells all its processes of Ctrl-C


def restore_terminal(modes: Any) -> None:
    pass
