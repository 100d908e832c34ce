"""What of the loaded files was told to the session, and what is still to be told.

Reports are told in batches: at each import of a project module (before it is executed, so that a
module that hangs or kills the process is known), when many have gathered, at the end, and when the
session asks.
"""

import os
from _collections import deque  # type: ignore[import-not-found]
from _io import FileIO as FileIO
from os import close
from os import open as open_file
from os import read as read_file
from stat import S_ISREG
from time import time

from onsave_agent import paths, protocol
from onsave_agent.protocol import digest as digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_STARTED = time()
_IMPORTLIB = (os.sep + os.path.join("importlib", "__init__.py"), os.sep + "pkgutil.py")

#: More are sent at once; also how many stand in one message, far below 256 KB.
MANY = 400

_LIBRARY = (None, "module")

_pending = deque()  # type: deque[list[Any]]
_known = {}  # type: dict[str, tuple[Any, str]]
_reread = set()  # type: set[str]
_wrote = set()  # type: set[str]
_channel = None  # type: Any

#: A project file waits to be told: do so before its code runs.
urgent = False


def begin(channel):
    # type: (Any) -> None
    global _channel
    _channel = channel


def restart():
    # type: () -> None
    """A snapshot has become an app, which begins now: nothing has been told so far."""
    global _STARTED, urgent
    _STARTED, urgent = time(), False
    for told in (_pending, _known, _reread, _wrote):
        told.clear()


def forget(path):
    # type: (str) -> None
    """``path`` was reported ahead of its turn: it may be once more."""
    _known.pop(path, None)


def known(path):
    # type: (str) -> bool
    return path in _known


def is_code(path):
    # type: (str) -> bool
    """Whether ``path`` was loaded as a module or script, whatever its name ends in."""
    return _known.get(path, (None, ""))[1] in ("module", "main")


def loaded(path, digest, kind, module=None, importer=None):
    # type: (str, str | None, str, str | None, str | None) -> None
    """The real ``path`` is part of this process; see "loaded" in the protocol."""
    global urgent
    before = _known.get(path)
    if before is not None:
        if digest is None and kind == before[1]:
            return  # Nothing new; a digest that is known is the better knowledge.
        if before == (digest, kind):
            return
    if paths.is_ignored(path) or paths.is_ours(path):
        return
    _known[path] = (digest, kind)
    _pending.append([path, digest, kind, module, importer])
    if digest is not None:
        urgent = True
    if len(_pending) >= MANY:
        flush()


def library(path, module, importer):
    # type: (str, str, FrameType) -> None
    """The same for a module of a library (see paths.library_folder) that ``importer`` imports."""
    if path in _known:
        loaded(path, None, "module", module, None)
        return
    where = importer.f_code.co_filename  # type: str | None
    if _known.get(where) != _LIBRARY:  # type: ignore[arg-type]
        where = place(importer)
    # Else without the line, which costs more than all the rest and is nobody's to look at.
    _known[path] = _LIBRARY
    _pending.append([path, None, "module", module, where])
    if len(_pending) >= MANY:
        flush()


def missing(path, module=None, importer=None):
    # type: (str, str | None, str | None) -> None
    """``path`` was looked for in vain."""
    if path not in _known:
        loaded(path, protocol.ABSENT, "missing", module, importer)


def read(path, flags=0):
    # type: (str, int) -> tuple[bytes, os.stat_result]
    """The bytes of a file, and what was known of it before they were read. ``flags``: for open."""
    descriptor = open_file(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        status = os.fstat(descriptor)
        wanted = status.st_size + 1
        data = read_file(descriptor, wanted)
        while len(data) == wanted:  # It grew meanwhile.
            wanted += 1 << 16
            data += read_file(descriptor, 1 << 16)
        return data, status
    finally:
        close(descriptor)


def digest_of_file(path):
    # type: (str) -> str | None
    """The digest of the file as it is now; ABSENT where there is none, None where unreadable."""
    try:
        with FileIO(path) as file:
            status = os.fstat(file.fileno())
            if not S_ISREG(status.st_mode):
                return None
            if status.st_size > protocol.MAX_HASHED:
                return protocol.digest_of_stat(status.st_mtime_ns, status.st_size)
            return digest(file.readall())
    except (FileNotFoundError, NotADirectoryError):
        return protocol.ABSENT
    except (OSError, ValueError):
        return None


def digest_of(path):
    # type: (str) -> Any
    """What was reported of ``path``: its digest, None where it is not known."""
    return _known.get(path, (None, ""))[0]


def replaced(path, digest):
    # type: (str, str) -> None
    """A patch has made the process what it would be with this content of ``path``."""
    if path in _known:
        _known[path] = (digest, _known[path][1])


def late_digest(path):
    # type: (str) -> str | None
    """The digest of a file that was loaded some time after this process began.

    None where it may have changed since: nobody knows then which bytes were loaded.
    """
    try:
        before = os.stat(path)
        found = digest_of_file(path)
        after = os.stat(path)
    except OSError:
        return None
    newest = max(before.st_mtime, before.st_ctime, after.st_mtime, after.st_ctime)
    return found if newest < _STARTED - 0.05 else None


def place(frame):
    # type: (FrameType | None) -> str | None
    """"path:line" of the nearest frame that is not of the import system."""
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith("<frozen importlib"):
            if name.startswith("<"):
                return None
            if not name.endswith(_IMPORTLIB):
                path = name if name.startswith("/") else os.path.abspath(name)
                return "%s:%d" % (path, frame.f_lineno)
        frame = frame.f_back
    return None


def reread(path):
    # type: (str) -> None
    """``path`` is read anew on each use."""
    if path not in _reread:
        _reread.add(path)
        flush()
        _channel.send({"type": "reread", "paths": [path]})


def wrote(path):
    # type: (str) -> None
    """The app writes ``path`` itself."""
    if path not in _wrote:
        _wrote.add(path)
        flush()
        _channel.send({"type": "wrote", "paths": [path]})


def is_written(path):
    # type: (str) -> bool
    return path in _wrote


def flush():
    # type: () -> None
    """Tell what is still to be told."""
    global urgent
    urgent = False
    while _pending:
        batch = []  # type: list[list[Any]]
        try:
            # One at a time: another thread, or a signal handler, may do the same.
            while len(batch) < MANY:
                batch.append(_pending.popleft())
        except IndexError:
            pass
        if batch:
            _channel.send({"type": "loaded", "files": batch})


def forked():
    # type: () -> None
    """In a forked child: what the parent had not yet told is the parent's to tell."""
    _pending.clear()
