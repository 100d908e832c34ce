"""The app's listening sockets, held between its runs.

While we hold a duplicate of a listening socket, the kernel queues connections to it whether or not
a process accepts them. A new run that asks for the same address gets the same socket, so nobody is
ever refused and port 0 keeps its port. That is all: a held socket is never read from here.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import dataclass, field
from typing import Any

#: How many connections the kernel may queue while no run accepts; it cuts this to its own limit
#: (net.core.somaxconn, 4096 by default).
BACKLOG = 4096

#: What tells sockets apart: family, kind, and the address *as asked for*.
Key = tuple[int, int, str]


@dataclass
class Held:
    """One socket, and the runs that use it."""

    key: Key
    fd: int
    inode: int
    users: set[int] = field(default_factory=set)
    path: str | None = None  # of a Unix socket with a file
    spare: str | None = None  # a second, hidden name of that file


class Listeners:
    """All held sockets of one session."""

    def __init__(self) -> None:
        self._held: list[Held] = []

    def __len__(self) -> int:
        return len(self._held)

    def addresses(self) -> set[str]:
        """Where the held sockets listen: a run that took one over may not be accepting yet."""
        found = set()
        for held in self._held:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(held.fd)) as ours:
                address = ours.getsockname()
                address = list(address) if isinstance(address, tuple) else address
                found.add(readable(int(ours.family), address))
        return found

    def revive(self) -> None:
        """Make all held sockets listen, whatever the run before did to what both had in common.

        A shutdown by the old run, on its way out, ends the listening of every descriptor.
        """
        for held in self._held:
            with contextlib.suppress(OSError):
                raise_backlog(held.fd)

    def hold(self, run: int, family: int, kind: int, requested: Any, fd: int) -> bool:
        """Keep ``fd``, ours from now on, which run ``run`` listens on. False: it is no socket."""
        try:
            inode = os.fstat(fd).st_ino
            for held in self._held:
                if held.inode == inode:
                    held.users.add(run)
                    os.close(fd)
                    return True
            raise_backlog(fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.close(fd)
            return False
        held = Held(_key(family, kind, requested), fd, inode, {run})
        self._name_twice(held, family)
        self._held.append(held)
        return True

    def take(self, run: int, family: int, kind: int, requested: Any) -> int | None:
        """The descriptor of a held socket for that address, for ``run`` to listen on.

        Several sockets may be held for one address (SO_REUSEPORT): each bind of a run gets
        another one. None: nothing is held there, so bind as usual.
        """
        key = _key(family, kind, requested)
        for held in self._held:
            if held.key == key and run not in held.users:
                held.users.add(run)
                with contextlib.suppress(OSError):
                    raise_backlog(held.fd)
                self._restore_path(held)
                return held.fd
        return None

    def run_gone(self, run: int) -> None:
        """A run has ended, and may have taken the files of its Unix sockets with it."""
        for held in self._held:
            held.users.discard(run)
            self._restore_path(held)

    def keep_only(self, runs: set[int]) -> None:
        """Close what none of these runs uses: clients of it would wait for nobody."""
        for held in list(self._held):
            if not held.users & runs:
                self._drop(held)

    def close(self) -> None:
        for held in list(self._held):
            self._drop(held)

    def _drop(self, held: Held) -> None:
        self._held.remove(held)
        with contextlib.suppress(OSError):
            os.close(held.fd)
        if held.spare is not None:
            with contextlib.suppress(OSError):
                os.unlink(held.spare)

    # A server removes the file of its Unix socket when it ends, and the next one before it binds:
    # both would leave a socket that nobody can find. A hard link keeps the file alive.

    def _name_twice(self, held: Held, family: int) -> None:
        if family != getattr(socket, "AF_UNIX", None):
            return
        path = _unix_path(held.fd)
        if path is None:
            return
        folder, name = os.path.split(path)
        spare = os.path.join(folder, f".{name}.onsave-{os.getpid()}-{held.inode}")
        with contextlib.suppress(OSError):
            os.link(path, spare)
            held.path, held.spare = path, spare

    def _restore_path(self, held: Held) -> None:
        if held.path is not None and held.spare is not None:
            with contextlib.suppress(OSError):  # FileExistsError: all is well
                os.link(held.spare, held.path)


def raise_backlog(fd: int) -> None:
    """Let more connections queue. Raises OSError where ``fd`` is not a socket that can listen."""
    duplicate = socket.socket(fileno=os.dup(fd))
    try:
        duplicate.listen(BACKLOG)
    finally:
        duplicate.close()


def _unix_path(fd: int) -> str | None:
    """The absolute path of a Unix socket's file; None for an abstract or unnamed one."""
    duplicate = socket.socket(fileno=os.dup(fd))
    try:
        name = duplicate.getsockname()
    finally:
        duplicate.close()
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    return name if isinstance(name, str) and os.path.isabs(name) and "\0" not in name else None


def _key(family: int, kind: int, requested: Any) -> Key:
    return family, kind & 0xF, json.dumps(requested)  # without SOCK_CLOEXEC and SOCK_NONBLOCK


def readable(family: int, address: Any) -> str:
    """An address as people write it: ``127.0.0.1:5000``, ``[::1]:5000``, ``/run/app.sock``."""
    if isinstance(address, list) and len(address) >= 2:
        host, port = str(address[0]), address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return str(address)
