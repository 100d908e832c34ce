"""The app's own start, run ahead of its turn: up to just before a certain module, and no further.

A process that has been started like the app runs the app's code as any start would, nothing
reordered, nothing simulated, and stops where the import system is about to read that module. There
it waits. What it has executed so far it needs not execute when the restart is due.

A run ahead must not do anything that others could notice: it may be thrown away. So a *scout* goes
first, in a process of its own. It ends itself at the first such deed, before the deed is done, and
says behind which module it would have come; there the snapshot is to stand instead.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import os
import sys
from _thread import get_ident

from onsave_agent import lifeline, paths, reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable

#: What others could notice, by audit event, in words that go on with "before it …".
_DEEDS = {
    "socket.connect": "opens a connection",
    "socket.sendto": "sends something",
    "socket.sendmsg": "sends something",
    "subprocess.Popen": "starts a process",
    "os.system": "starts a process",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.spawn": "starts a process",
    "os.exec": "becomes another program",
    "pty.spawn": "starts a process",
    "_thread.start_new_thread": "starts a thread",
    "_thread.start_joinable_thread": "starts a thread",
    "sqlite3.connect": "opens a database",
    "os.rename": "changes files",
    "os.remove": "changes files",
    "os.rmdir": "changes files",
    "os.link": "changes files",
    "os.symlink": "changes files",
    "os.truncate": "changes files",
    "os.chmod": "changes files",
    "os.chown": "changes files",
    "os.utime": "changes files",
    "os.setxattr": "changes files",
    "os.kill": "sends a signal",
    "os.killpg": "sends a signal",
    "signal.pthread_kill": "sends a signal",
    "fcntl.flock": "locks a file",
    "fcntl.lockf": "locks a file",
    "os.lockf": "locks a file",
    "syslog.openlog": "logs",
    "syslog.syslog": "logs",
    "builtins.input": "asks for input",
    "builtins.breakpoint": "calls a debugger",
    "sys.settrace": "sets a trace function",
    "sys.setprofile": "sets a trace function",
    "webbrowser.open": "opens a page",
}
_FILES = frozenset(["os.rename", "os.remove", "os.rmdir", "os.utime", "os.chmod"])
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_HARMLESS = frozenset([os.devnull, "/dev/tty"])
_INTERRUPTS = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)
_DEVICES = ("/dev/nvidia", "/dev/dri/", "/dev/kfd", "/dev/accel")
_main = get_ident()


class Ahead:
    """A start that runs ahead of its turn.

    point:  the real path of the module to stop before
    known:  the project's modules that the scout saw executed on the way there
    arrive: called there, once; returns when the process has become the app
    """

    def __init__(self, point, known, arrive):
        # type: (str, set[str], Callable[[], None]) -> None
        self._point = point
        self._known = known
        self._arrive = arrive

    def before(self, path):
        # type: (str) -> None
        """The import system is about to read the module at ``path``."""
        if path == self._point and get_ident() == _main:
            self._arrive()
        elif path not in self._known and not paths.is_library(path):
            self.leave()  # The scout did not come here: who knows what comes next.

    def leave(self, *_):
        # type: (*object) -> None
        """It has got where it should not: without any trace."""
        os._exit(1)


class Scout:
    """Looks how far a start can run ahead.

    until: the real paths before which to stop; none of them: before the project's first module
    tell:  called with the fields of "scouted"; the process ends then
    """

    def __init__(self, until, tell):
        # type: (set[str], Callable[[dict[str, object]], None]) -> None
        self._until = until
        self._tell = tell
        self._last = None  # type: str | None
        self._project = []  # type: list[str]
        self._opened = {}  # type: dict[str, None]
        self._listed = {}  # type: dict[str, None]
        self._missing = {}  # type: dict[str, None]
        self._output = 0
        self._busy = False
        self._done = False

    def begin(self):
        # type: () -> None
        os.nice(10)  # It is in no hurry, and the app may be.
        self._output = capture_output()
        for name in ("stat", "lstat", "access"):
            setattr(os, name, self._looking(getattr(os, name)))
        unaudited(self._asked)
        sys.addaudithook(self._audit)

    def before(self, path):
        # type: (str) -> None
        """The import system is about to read the module at ``path``."""
        if has_printed(self._output):
            self.finish("it prints something")
        elif get_ident() != _main:
            self.finish("it imports in a thread")
        elif path in self._until or not (self._until or paths.is_library(path)):
            self._last = path
            self.finish(None)
        self._last = path
        if not paths.is_library(path):
            held = holds()
            if held is not None:
                self.finish(held)
            self._project.append(path)

    def leave(self, *_):
        # type: (*object) -> None
        """The app has ended, or listens."""
        self.finish("it is up")

    def finish(self, reason, frame=None):
        # type: (str | None, FrameType | None) -> None
        """Say how far it got, and end."""
        if self._done:
            return
        self._done = True
        self._tell(
            {
                "type": "scouted",
                "before": self._last,
                "library": self._last is not None and paths.is_library(self._last),
                "reason": reason,
                "where": _place(frame) if reason else None,
                "project": self._project,
                "opened": list(self._opened),
                "listed": list(self._listed),
                "missing": list(self._missing),
            }
        )
        lifeline.cut()

    # --- observing ------------------------------------------------------------------------------

    def _asked(self, deed):
        # type: (str) -> None
        if not self._done:
            self.finish("it " + deed, sys._getframe(2))

    def _audit(self, event, arguments):
        # type: (str, tuple[object, ...]) -> None
        if self._busy or self._done:
            return
        self._busy = True
        try:
            deed = self._deed(event, arguments)
            if deed is not None:
                self.finish("it " + deed, sys._getframe(1))
        finally:
            self._busy = False

    def _deed(self, event, arguments):
        # type: (str, tuple[Any, ...]) -> str | None
        if event == "open":
            return self._opens(*arguments)
        if event in ("os.listdir", "os.scandir"):
            self._note(self._listed, arguments[0] or ".")
        elif event == "os.mkdir":
            is_new = not is_cache(arguments[0]) and not os.path.lexists(arguments[0])
            return "changes files" if is_new else None
        elif event == "socket.bind":
            address = arguments[1]
            # A port of the system's choice is how libraries find out what the system can do.
            free = isinstance(address, tuple) and len(address) > 1 and address[1] == 0
            return None if free else "binds a socket"
        elif event in _FILES and is_cache(arguments[0]):
            return None
        return _DEEDS.get(event)

    def _opens(self, path, mode, flags):
        # type: (Any, object, object) -> str | None
        if isinstance(path, int) or path is None:
            return None
        name = os.fsdecode(path)
        writes = isinstance(flags, int) and bool(flags & _WRITING)
        if writes or (isinstance(mode, str) and not set(mode).isdisjoint("wax+")):
            return None if is_cache(path) or name in _HARMLESS else "writes a file"
        if not is_cache(path):
            self._note(self._opened, name)
        return "reads %s, which was edited" % name if self._whole(name) in self._until else None

    def _note(self, where, path):
        # type: (dict[str, None], Any) -> None
        """Remember a path that the start depends on. Libraries are watched by other means."""
        if isinstance(path, int):
            return
        whole = self._whole(path)
        if not paths.is_library(whole + "/") and not whole.startswith(("/proc/", "/sys/", "/dev/")):
            where[whole] = None

    def _whole(self, path):
        # type: (Any) -> str
        return os.path.abspath(os.fsdecode(path))

    def _looking(self, real):
        # type: (Any) -> Any
        """A function in the place of this one that notes what is looked for in vain."""

        def look(path, *arguments, **options):
            # type: (Any, *Any, **Any) -> Any
            try:
                found = real(path, *arguments, **options)
            except OSError:
                found = None
                self._note_missing(path)
                raise
            if found is False:
                self._note_missing(path)
            return found

        look.__name__ = look.__qualname__ = real.__name__
        for name in ("supports_follow_symlinks", "supports_dir_fd", "supports_fd"):
            if real in getattr(os, name):
                getattr(os, name).add(look)
        return look

    def _note_missing(self, path):
        # type: (Any) -> None
        try:
            if paths.in_roots(self._whole(path) + "/"):
                self._note(self._missing, path)
        except (TypeError, ValueError):
            pass


def capture_output():
    # type: () -> int
    """Keep what is printed from now on from the terminal: the descriptor of where it goes."""
    _flush()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    output = os.memfd_create("onsave")
    os.dup2(output, 1)
    os.dup2(output, 2)
    return output


def has_printed(output):
    # type: (int) -> bool
    """Whether something has come there since it was captured."""
    _flush()
    return os.fstat(output).st_size > 0


def _flush():
    # type: () -> None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def unaudited(tell):
    # type: (Callable[[str], None]) -> None
    """Have ``tell`` called with a deed, before it is done, of which there is no audit event."""

    def watched(real, deed):
        # type: (Any, str) -> Any
        def call(*arguments, **options):
            # type: (*Any, **Any) -> Any
            tell(deed)
            return real(*arguments, **options)

        return call

    # Threads: since Python 3.12 there is one.
    for module, name, deed in (
        ("_thread", "start_new_thread", "starts a thread"),
        ("_thread", "start_new", "starts a thread"),
        ("threading", "_start_new_thread", "starts a thread"),
        ("_posixsubprocess", "fork_exec", "starts a process"),
        ("os", "mkfifo", "changes files"),
        ("os", "mknod", "changes files"),
    ):
        there = sys.modules.get(module)
        if module == "_posixsubprocess":
            there = __import__(module)
        real = getattr(there, name, None)
        if real is not None:
            setattr(there, name, watched(real, deed))


def holds():
    # type: () -> str | None
    """What the process holds that it is not to have, whoever has opened it: a socket, not ours,
    that listens or is connected to a host; a GPU, where there is no room for two of many a model.
    """
    for number, name in _open_files():
        if name.startswith("socket:") and _talks(number):
            return "it has a connection"
        if name.startswith(_DEVICES):
            return "it uses a GPU"
    return None


def _open_files():
    # type: () -> list[tuple[int, str]]
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append((int(number), os.readlink("/proc/self/fd/" + number)))
        except OSError:
            pass  # the folder itself
    return found


def _talks(descriptor):
    # type: (int) -> bool
    sock = _socket.socket(fileno=os.dup(descriptor))
    try:
        if sock.family not in (_socket.AF_INET, _socket.AF_INET6):
            return False  # A pair of an event loop's, say. Ours is one, too.
        try:
            sock.getpeername()
            return True
        except OSError:
            return bool(sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN))
    finally:
        sock.close()


def quiet(leave):
    # type: (Callable[..., None]) -> Callable[[], None]
    """While a process waits, Ctrl-C and its like end it: the app's handlers are not to be called.

    leave: called in their place. Returns what puts them back.
    """
    before = {}
    for number in _INTERRUPTS:
        handler = _signal.getsignal(number)
        if callable(handler):
            before[number] = handler
            _signal.signal(number, leave)

    def restore():
        # type: () -> None
        for number, handler in before.items():
            _signal.signal(number, handler)

    return restore


def is_cache(path):
    # type: (Any) -> bool
    """Bytecode, and the file that it is first written to."""
    try:
        return "__pycache__" in os.fsdecode(path)
    except TypeError:
        return False


def _place(frame):
    # type: (FrameType | None) -> str | None
    """"path:line" of the nearest frame of the project's, else of the nearest at all."""
    nearest = frame
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith("<") and paths.in_roots(path) and not paths.is_library(path):
            return reports.place(frame)
        frame = frame.f_back
    return reports.place(nearest)
