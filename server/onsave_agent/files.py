"""Which data files the app reads, and which of them it reads anew each time.

``open`` is wrapped by something that looks like ``open``, does not bind as a method, and costs one
comparison for files outside the workspace. An audit hook would see more (``os.open``), but it can
never be removed and makes ``id()`` three times slower for good.
"""

import builtins
import io
import os
import sys

from onsave_agent import paths, protocol, reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

#: Who opens files for the sake of tracebacks, caches and tools, not of the app. First names of
#: modules, or whole names.
_TOOLS = frozenset(
    ["tokenize", "linecache", "importlib.metadata", "zipimport", "traceback", "inspect", "logging",
     "py_compile", "coverage", "pydevd", "debugpy", "_pydev_bundle", "_pydevd_bundle", "pdb", "bdb",
     "_pytest", "tracemalloc", "onsave_agent", "multiprocessing", "pydoc", "jedi", "IPython"]
)
#: Who merely passes on what its caller wants to open.
_BETWEEN = ("pathlib", "codecs", "io", "importlib", "pkgutil", "_frozen_importlib_external",
            "onsave_agent", "fileinput")  # fmt: skip
#: So many frames tell one use of a file from another.
_DEPTH = 8

_WRITING = frozenset("wax+")
_real_open = io.open
_warns = bool(getattr(sys.flags, "warn_default_encoding", 0))

#: path → the uses (hashes of call chains) seen once, and those seen again after the run was ready
_uses = {}  # type: dict[str, tuple[set[int], set[int]]]
_ready = False


def install(settings):
    # type: (dict[str, Any]) -> None
    """Observe ``open`` from now on, unless data files are not to count."""
    if settings["data"] is False:
        return
    opener = _Open()
    # Not _io.open: the import system's own reading goes through it.
    builtins.open = io.open = opener


def ready():
    # type: () -> None
    """The run is up: what is opened from now on, and again, is read anew."""
    global _ready
    _ready = True


def is_ready():
    # type: () -> bool
    return _ready


class _Open:
    """Stands in the place of ``open``."""

    __slots__ = ()
    __doc__ = _real_open.__doc__
    __module__ = "io"  # where pickle looks for what it calls "open"
    __wrapped__ = _real_open

    def __call__(self, *arguments, **options):
        # type: (*Any, **Any) -> Any
        file = arguments[0] if arguments else options.get("file")
        if file.__class__ is not int:
            try:
                mode = arguments[1] if len(arguments) > 1 else options.get("mode", "r")
                _opening(file, mode)
            except Exception:
                pass
            if _warns and _lacks_encoding(arguments, options):
                # The warning is to name our caller, not us.
                options["encoding"] = io.text_encoding(None, 2)  # type: ignore[attr-defined]
        return _real_open(*arguments, **options)

    def __getattr__(self, name):
        # type: (str) -> Any
        return getattr(_real_open, name)

    def __repr__(self):
        # type: () -> str
        return repr(_real_open)

    def __reduce__(self):
        # type: () -> str
        return "open"


def _lacks_encoding(arguments, options):
    # type: (tuple[Any, ...], dict[str, Any]) -> bool
    mode = arguments[1] if len(arguments) > 1 else options.get("mode", "r")
    return len(arguments) < 4 and options.get("encoding") is None and "b" not in str(mode)


def resource_read(path):
    # type: (Any) -> None
    """A loader reads a file that is not code: pkgutil.get_data, importlib.resources."""
    try:
        if isinstance(path, str) and not path.endswith((".py", ".pyc", ".pyw")):
            _opening(path, "r")
    except Exception:
        pass


def _opening(file, mode):
    # type: (Any, Any) -> None
    """``file`` is about to be opened: digest it before the app reads it."""
    path = file if file.__class__ is str else os.fsdecode(file)
    path = paths.real(path if path.startswith("/") else os.path.abspath(path))
    if not paths.in_roots(path) or not paths.is_data(path) or path.endswith((".pyc", ".pyo")):
        return
    if not _WRITING.isdisjoint(mode):
        reports.wrote(path)
        return
    if reports.is_written(path) or reports.is_code(path):
        return
    frame = _opener(sys._getframe(2))
    if frame is None or _is_tool(frame):
        return
    _note_use(path, frame)
    digest = reports.digest_of_file(path)
    if digest == protocol.ABSENT:
        reports.missing(path, None, reports.place(frame))
    elif digest is not None:
        reports.loaded(path, digest, "data", None, reports.place(frame))
    reports.flush()


def _opener(frame):
    # type: (FrameType | None) -> FrameType | None
    """The frame that wants the file, behind those that merely pass its wish on."""
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if name is not None and (
            not isinstance(name, str)
            or name.partition(".")[0] not in _BETWEEN
            or name == "importlib.metadata"
        ):
            return frame
        frame = frame.f_back
    return None


def _is_tool(frame):
    # type: (FrameType) -> bool
    name = frame.f_globals.get("__name__")
    if not isinstance(name, str):
        return False
    return name in _TOOLS or name.partition(".")[0] in _TOOLS or name.startswith("werkzeug.debug")


def _note_use(path, frame):
    # type: (str, FrameType) -> None
    """Find out whether ``path`` is read anew on each use.

    It is where a reader opens it that is known to look after changes by itself, and where every
    place of the program that has ever read it has read it again since the run was ready. A
    place is a chain of calls: a helper that reads one file for the start and, called by others, for
    each request, is two.
    """
    first, again = _uses.setdefault(path, (set(), set()))
    use = _chain(frame)
    if use in first and _ready:
        again.add(use)
    first.add(use)
    if len(first) > 1000:
        return
    if first == again or _refreshes_itself(frame):
        reports.reread(path)


def _chain(frame):
    # type: (FrameType | None) -> int
    places = []  # type: list[tuple[Any, int]]
    while frame is not None and len(places) < _DEPTH:
        places.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return hash(tuple(places))


def _refreshes_itself(frame):
    # type: (FrameType) -> bool
    """Jinja's loaders compare the file's time at each use, where the environment says so."""
    if not str(frame.f_globals.get("__name__")).startswith("jinja2.loaders"):
        return False
    environment = frame.f_locals.get("environment")
    return bool(getattr(environment, "auto_reload", False))
