"""The run directory, and how clients find sessions and talk to them.

Each session (``onsave run``) and each server (``onsave lsp``) has an entry ``NAME-PID.json`` in one
directory per user. An entry is live while its pid is, with the same start time: pids are used
again, a pid together with its start time is not. Whoever lists the entries sweeps dead ones away,
so nothing that was killed needs to tidy up.

Only the standard library, no asyncio, no psutil: ``onsave saved`` runs at each save of editors that
have nothing better, and what it imports is most of what it costs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onsave.identity import process_started
from onsave_agent import protocol

Message = dict[str, Any]

#: ``sun_path`` has room for 108 bytes on Linux, for 104 on macOS and the BSDs, NUL included.
MAX_SOCKET_PATH = 100

#: Room for the pid and ``.sock`` in a file name that stays easy to read.
MAX_NAME_IN_FILE = 40


class ControlError(Exception):
    """A session can't be found or talked to. ``str()`` says what, where, and what to do."""


class SessionEnded(ControlError):
    """The session hung up before it had answered."""


@dataclass(frozen=True)
class Entry:
    """One live session or server, as the run directory tells it.

    started: identifies the process together with pid, see :func:`process_started`
    root:    the folder that it works for, absolute
    socket:  path of its Unix socket; on Windows ``host:port``
    token:   to be shown in ``hello``; "" for Unix sockets
    """

    kind: str  # "session" | "server"
    name: str
    pid: int
    started: str
    root: str
    socket: str
    token: str = ""
    version: int = protocol.VERSION


def default_run_directory() -> Path:
    """Where the run directory is unless ``ONSAVE_RUN_DIR`` (tests) says otherwise."""
    if sys.platform == "win32":  # not run by us so far
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "onsave" / "run"
    # A shell over ssh, in tmux or in a container may lack the variable that the editor has: they
    # are to meet all the same. `su` and `sudo -E` hand on somebody else's: that is not for us.
    for runtime in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.geteuid()}"):
        if runtime and Path(runtime).is_absolute() and _is_ours(runtime):
            return Path(runtime) / "onsave"
    if sys.platform == "darwin":  # not run by us so far
        return Path.home() / "Library" / "Caches" / "onsave" / "run"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onsave" / "run"


class RunDirectory:
    """The entries of this user's sessions and servers.

    Made on first use, for its owner alone. Raises ControlError where it can't be made, is a
    symbolic link, or could be read or written by others: whoever can write here could have the
    editor send it the names of saved files, or pose as the app.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        given = path or os.environ.get("ONSAVE_RUN_DIR")
        self.path = Path(given) if given else default_run_directory()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            self._check()
        except OSError as error:
            raise ControlError(
                f"the run directory {self.path} can't be made: {error.strerror}; "
                "set XDG_RUNTIME_DIR or XDG_CACHE_HOME to a folder of yours"
            ) from None

    def _check(self) -> None:
        found = self.path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise ControlError(f"the run directory {self.path} is a symbolic link; remove it")
        if not stat.S_ISDIR(found.st_mode):
            raise ControlError(f"the run directory {self.path} is not a directory; remove it")
        if sys.platform == "win32":
            return
        if found.st_uid != os.geteuid():
            raise ControlError(
                f"the run directory {self.path} belongs to user {found.st_uid}, not to you; "
                "set XDG_RUNTIME_DIR to a folder of yours"
            )
        if found.st_mode & 0o077:
            raise ControlError(
                f"the run directory {self.path} is accessible by others "
                f"(mode {stat.S_IMODE(found.st_mode):04o}); run: chmod 700 {self.path}"
            )

    def socket_path(self, name: str) -> str:
        """Where a process of that name is to bind its Unix socket; nothing is there yet.

        A path too long for the kernel goes into a private folder under ``/tmp`` instead.
        """
        path = self.path / f"{_file_name(name)}-{os.getpid()}.sock"
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            import tempfile

            path = Path(tempfile.mkdtemp(prefix="onsave-", dir="/tmp")) / "sock"
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # of an earlier process with our pid
        return str(path)

    def register(
        self, kind: str, name: str, root: Path | str, socket_path: str, token: str = ""
    ) -> Entry:
        """Add the entry of this process, whose socket listens already. Announce it next.

        Raises ControlError where a session of that name runs: names are how people and editors
        tell sessions apart.
        """
        started = process_started(os.getpid()) or ""
        entry = Entry(kind, name, os.getpid(), started, str(root), socket_path, token)
        with self._locked():
            for other in self.entries(kind) if kind == "session" else ():
                if other.name == name and other.pid != entry.pid:
                    raise ControlError(
                        f"a session named {name!r} runs already (pid {other.pid}, in {other.root});"
                        f" stop it with `onsave stop {name}`, or choose another --name"
                    )
            # Readers see the whole entry or none. Not by tempfile, which would take longer to
            # import than everything that is done here.
            temporary = self.path / f".new-{entry.pid}"
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(entry), file)
            temporary.replace(self._file(entry))
        return entry

    def entries(self, kind: str) -> list[Entry]:
        """The live entries of ``kind``, by name. What dead processes left is swept away."""
        found = []
        for file in sorted(self.path.glob("*.json")):
            entry = _read_entry(file)
            if entry is None:
                continue  # not of this version; not ours to judge
            if process_started(entry.pid) != entry.started:
                self.remove(entry)
            elif entry.kind == kind:
                found.append(entry)
        # Sockets of those killed before they could register, tracebacks of those that are gone.
        for file in (*self.path.glob("*.sock"), *self.path.glob("*.txt")):
            pid = file.stem.rpartition("-")[2]
            if pid.isdecimal() and process_started(int(pid)) is None:
                file.unlink(missing_ok=True)
        return found

    def remove(self, entry: Entry) -> None:
        """Take away an entry and its socket, as far as they are there."""
        with contextlib.suppress(OSError):
            self._file(entry).unlink()
        if sys.platform == "win32":
            return
        path = Path(entry.socket)
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
            if path.parent != self.path and path.parent.name.startswith("onsave-"):
                path.parent.rmdir()

    def _file(self, entry: Entry) -> Path:
        return self.path / f"{_file_name(entry.name)}-{entry.pid}.json"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One registration at a time, so that two sessions can't both find their name free."""
        if sys.platform == "win32":
            yield
            return
        import fcntl

        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def announce(directory: RunDirectory, entry: Entry) -> None:
    """Tell every server that this session is there. A server that can't hear it now is left out.

    The message carries nothing to be believed: it makes the server look into the run directory.
    """
    line = protocol.encode({"type": "announce", "name": entry.name, "pid": entry.pid})
    for server in directory.entries("server"):
        with contextlib.suppress(OSError), connect(server, timeout=1.0) as connection:
            connection.sendall(line)


def connect(entry: Entry, timeout: float | None) -> socket.socket:
    """A connection to the entry's socket, with that timeout set. Raises OSError."""
    if entry.token:
        host, _, port = entry.socket.rpartition(":")
        return socket.create_connection((host, int(port)), timeout)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(entry.socket)
    except BaseException:
        connection.close()
        raise
    return connection


class Client:
    """A blocking conversation with one session. Every method raises ControlError when it ends.

    Messages that come while an answer is awaited are kept for :meth:`events`.
    """

    def __init__(self, entry: Entry, role: str = "client", timeout: float = 5.0) -> None:
        """Connect and say hello; ``welcome`` is what the session answered."""
        self.entry = entry
        self._buffer = bytearray()
        self._waiting: list[Message] = []
        self._next_id = 1
        try:
            self._socket = connect(entry, timeout)
        except OSError as error:
            raise ControlError(f"session {entry.name!r} (pid {entry.pid}): {error}") from None
        self.send({"type": "hello", "role": role, "version": protocol.VERSION,
                   "token": entry.token})  # fmt: skip
        self.welcome = self._await(lambda message: message["type"] == "welcome", timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, message: Message) -> None:
        try:
            self._socket.settimeout(10.0)
            self._socket.sendall(protocol.encode(message))
        except OSError as error:
            raise ControlError(f"session {self.entry.name!r} hears nothing: {error}") from None

    def request(self, what: str, timeout: float | None = 10.0, **fields: Any) -> Any:
        """Ask for ``what`` (see ``CLIENT_MESSAGES``) and return the result of the reply."""
        return self.answer(self.ask({"type": "request", "request": what, **fields}), timeout)

    def saved(
        self,
        files: list[str],
        origin: str = "save",
        wait: bool = False,
        timeout: float | None = 10.0,
    ) -> Any:
        """Tell of saved files (absolute paths) and return the result of the reply."""
        message = {"type": "saved", "files": files, "origin": origin, "wait": wait}
        return self.answer(self.ask(message), timeout)

    def subscribe(self) -> None:
        self.send({"type": "subscribe"})

    def events(self, timeout: float | None = None) -> Iterator[Message]:
        """Messages as they come, until the session hangs up. Raises TimeoutError, see receive."""
        while True:
            message = self._waiting.pop(0) if self._waiting else self._receive(_deadline(timeout))
            if message is None:
                return
            yield message

    def ask(self, message: Message) -> int:
        """Send a message that will be answered; the number to fetch the :meth:`answer` by."""
        number = self._next_id
        self._next_id += 1
        self.send({**message, "id": number})
        return number

    def answer(self, number: int, timeout: float | None) -> Any:
        """The result of the reply. Raises TimeoutError; the answer may be fetched again then."""
        reply = self._await(lambda m: m["type"] == "reply" and m["id"] == number, timeout)
        if reply.get("error"):
            raise ControlError(f"session {self.entry.name!r}: {reply['error']}")
        return reply["result"]

    def _await(self, wanted: Any, timeout: float | None) -> Message:
        deadline = _deadline(timeout)
        while True:
            message = self._receive(deadline)
            if message is None:
                raise ControlError(f"session {self.entry.name!r} has ended")
            if wanted(message):
                return message
            if message["type"] == "error":
                raise ControlError(f"session {self.entry.name!r}: {message['message']}")
            self._waiting.append(message)

    def _receive(self, deadline: float | None) -> Message | None:
        """The next message, None at the end. Raises TimeoutError at the deadline."""
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                try:
                    return protocol.decode(bytes(line), protocol.EVENT_MESSAGES)
                except protocol.ProtocolError as error:
                    raise ControlError(f"session {self.entry.name!r}: {error}") from None
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise
            except OSError:
                return None
            if not data:
                return None
            self._buffer += data


def _read_entry(file: Path) -> Entry | None:
    try:
        data = json.loads(file.read_bytes())
        entry = Entry(**{key: data[key] for key in Entry.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    expected = {"pid": int, "version": int}
    plain = all(type(value) is expected.get(key, str) for key, value in asdict(entry).items())
    return entry if plain else None


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:MAX_NAME_IN_FILE].lstrip(".") or "app"


def _is_ours(path: str) -> bool:
    with contextlib.suppress(OSError):
        return os.stat(path).st_uid == os.geteuid()  # noqa: PTH116
    return False


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
