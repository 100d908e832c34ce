"""Which modules are loaded, from which bytes.

The import system's own ``SourceFileLoader.get_code`` is left alone; the pieces that it calls for a
project's module are ours. ``path_stats`` reads the source, once, and digests it; ``get_data``
hands over a cached .pyc only where that cannot be stale, and else the very bytes that were
digested; ``_cache_bytecode`` writes only what it could be trusted to read again.

The two functions that can stand in a traceback (``get_data``, ``exec_module``) look like the import
system's own: file name, function name and line numbers, so that Python strips their frames as it
does its own, and where it does not, prints what it would have printed.
"""

import _imp
import io
import os
import sys
from _thread import get_ident
from errno import ELOOP
from os import lstat
from stat import S_IFLNK as _LINK
from time import time

from onsave_agent import hooks, modules, paths, ran, reports
from onsave_agent.protocol import ABSENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Callable

_bootstrap = sys.modules["_frozen_importlib"]  # type: Any
_external = sys.modules["_frozen_importlib_external"]  # type: Any
_Loader = _external.SourceFileLoader
_GET_CODE = _external.SourceLoader.get_code.__code__
_FIND_AND_LOAD = _bootstrap._find_and_load.__code__
_real_path_stats = _Loader.path_stats  # type: Callable[[Any, str], dict[str, Any]]
_real_cache_bytecode = _Loader._cache_bytecode

_frame = sys._getframe
_KIND = 0o170000  # of a file, in its mode: stat.S_IFMT
_real_open_code = io.open_code
_open_file = _external._io.open_code
_AFTER = hooks.AFTER
_call_with_frames_removed = _bootstrap._call_with_frames_removed
_RUNNERS = ("runpy", "_pydevd_bundle.pydevd_runpy", "pdb", "cProfile", "profile", "trace")

#: Called with the real path of each module that is about to be read, where the start runs ahead.
before = None  # type: Callable[[str], None] | None

#: thread → the source that get_code is at work on: (path, bytes, mtime, when it was read)
_reading = {}  # type: dict[int, tuple[str, bytes, float, float]]

def install():
    # type: () -> None
    """Observe all imports from now on."""
    ran.begin()
    _Loader.path_stats = _path_stats
    _Loader._cache_bytecode = _cache_bytecode
    _Loader.get_data = _in_the_place_of(_external.FileLoader.get_data, get_data)
    _Loader.exec_module = _in_the_place_of(_external._LoaderBasics.exec_module, exec_module)
    io.open_code = _open_code
    sys.meta_path.append(modules.LookedForInVain())


def begin():
    # type: () -> None
    """Report the script, which is about to be read, and what was imported before us."""
    _report_script()
    modules.reconcile()


def _in_the_place_of(original, ours):
    # type: (Any, Any) -> Any
    """``ours``, on the same lines of the same file as ``original``."""
    place = original.__code__
    code = ours.__code__.replace(
        co_filename=place.co_filename, co_firstlineno=place.co_firstlineno
    )
    function = type(ours)(code, dict(globals(), __name__=_external.__name__))
    for name in ("__module__", "__qualname__", "__doc__"):
        setattr(function, name, getattr(original, name))
    return function


def _report_script():
    # type: () -> None
    """Digest the script before the interpreter reads it: in doubt the digest is the older."""
    path = paths.script()
    if path is None:
        return
    path = paths.real(os.path.abspath(path))
    if os.path.isdir(path):
        return  # Its __main__.py comes through the import system.
    digest = reports.digest_of_file(path)
    if digest == ABSENT:
        reports.missing(path, "__main__")
    else:
        reports.loaded(path, digest, "main", "__main__")
    ran.main_is_next()


# --- what stands in tracebacks ------------------------------------------------------------------

# Line by line where the originals have the same, see _in_the_place_of.


def get_data(self, path):  # type: (Any, str) -> bytes
    if (data := _data(self, path)) is not None:
        return data
    with _open_file(str(path)) as file:
        return file.read()  # type: ignore[no-any-return]


def exec_module(self, module):  # type: (Any, Any) -> None
    """Execute the module."""
    code = self.get_code(module.__name__)
    if code is None:
        raise ImportError("cannot load module %r when get_code() returns None" % module.__name__)
    if _reading or reports.urgent: _entered(code)  # noqa: E701
    try: _call_with_frames_removed(exec, code, module.__dict__)  # noqa: E701
    except BaseException as error:
        _failed(self, error)
        raise
    if ran.importing or module.__name__ in _AFTER:
        _executed(self, module)


# --- what get_code calls ------------------------------------------------------------------------


def _path_stats(self, path):
    # type: (Any, str) -> dict[str, Any]
    """Return the metadata for the path."""
    frame = _frame(1)
    if frame.f_code is not _GET_CODE:
        return _real_path_stats(self, path)
    if _reading:
        _reading.pop(get_ident(), None)
    try:
        status = _library_stats(self.name, path)
        if status is not None:
            return {"mtime": status.st_mtime, "size": status.st_size}
        folder, name = os.path.split(path)
        real = paths.real_folder(folder) + name
        caller = frame.f_back
        kind, name = "module", self.name
        if caller is not None and caller.f_globals.get("__name__") == "runpy":
            kind, name = "main", "__main__"
            ran.main_is_next()
        modules.came_by_import(name)
        if before is not None:
            before(real)
        if paths.is_library(real):
            real = os.path.realpath(path)
            reports.loaded(real, None, kind, name, reports.place(caller))
            return _real_path_stats(self, path)
        read = time()
        try:
            data, status = reports.read(path, os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != ELOOP:
                raise
            real = os.path.realpath(path)
            data, status = reports.read(path)
        reports.loaded(real, reports.digest(data), kind, name, reports.place(caller))
        _reading[get_ident()] = (path, data, status.st_mtime, read)
        return {"mtime": status.st_mtime, "size": len(data)}
    except OSError:
        raise
    except Exception:
        return _real_path_stats(self, path)


def _library_stats(name, path):
    # type: (str, str) -> os.stat_result | None
    """Report the module of a library in the cheapest way that there is: most modules are such.

    None where something is out of the ordinary: a link, another way in than ``import``.
    """
    cut = path.rfind("/") + 1
    folder = paths.library_folder(path[:cut])
    if folder is None or before is not None:
        return None
    try:
        # Ours, path_stats, get_code, exec_module, _load_unlocked, _find_and_load_unlocked, this:
        if _frame(6).f_code is not _FIND_AND_LOAD:
            return None
    except ValueError:
        return None
    status = lstat(path)
    if status.st_mode & _KIND == _LINK:
        return None
    modules.came_by_import(name)
    reports.library(folder + path[cut:], name, _frame(7))
    return status


def _data(self, path):
    # type: (Any, str) -> bytes | None
    """What get_data is to return where it is called by get_code for a project's module."""
    if sys._getframe(2).f_code is not _GET_CODE:
        hooks.resource_read(path)
        return None
    reading = _reading.get(get_ident())
    if reading is None:
        return None
    source, data, mtime, _read = reading
    if path == source:
        return data
    cached, status = reports.read(path)
    if not is_trusted(cached, status.st_mtime, mtime):
        raise OSError("onsave: this cache may be stale")  # get_code takes the source instead
    return cached


def is_trusted(cached, written, mtime):
    # type: (bytes, float, float) -> bool
    """Whether a .pyc, ``written`` then, must be of a source with that ``mtime`` if it says so.

    It only knows whole seconds. One of bytes that were replaced within the second can have been
    written in that second, or, as compiling takes a while, at the beginning of the next.
    """
    flags = int.from_bytes(cached[4:8], "little")
    if flags & 1:  # Validated by a hash of the source, if it is validated at all: PEP 552.
        policy = _imp.check_hash_based_pycs
        return policy == "always" or (policy == "default" and bool(flags & 2))
    return int(written) > int(mtime) + 1


def _cache_bytecode(self, source_path, bytecode_path, data):
    # type: (Any, str, str, bytes) -> Any
    reading = _reading.get(get_ident())
    if reading is not None and reading[0] == source_path:
        _source, _bytes, mtime, read = reading
        if not int.from_bytes(data[4:8], "little") & 1 and not int(read) > int(mtime) + 1:
            return None  # It could not be trusted: the next run writes it.
    return _real_cache_bytecode(self, source_path, bytecode_path, data)


def _open_code(path):
    # type: (str) -> Any
    """io.open_code: how runpy.run_path and pdb read the script that they are to run."""
    try:
        if isinstance(path, str) and sys._getframe(1).f_globals.get("__name__") in _RUNNERS:
            real = paths.real(os.path.abspath(path))
            reports.loaded(real, reports.digest_of_file(real), "main", "__main__")
            reports.flush()
            ran.main_is_next()
    except Exception:
        pass
    return _real_open_code(path)


# --- around the execution of a module -----------------------------------------------------------


def _entered(code):
    # type: (CodeType) -> None
    is_project = _reading.pop(get_ident(), None) is not None
    try:
        if is_project:
            ran.entered(code)
        if reports.urgent:
            modules.reconcile_tail()
            reports.flush()
    except Exception:
        pass


def _failed(loader, error):
    # type: (Any, BaseException) -> None
    _reading.pop(get_ident(), None)
    try:
        ran.left(loader.path)
        if isinstance(error, Exception) and not paths.is_library(paths.real(loader.path)):
            hooks.import_failed(error)
    except Exception:
        pass


def _executed(loader, module):
    # type: (Any, Any) -> None
    ran.left(loader.path)
    if module.__name__ in _AFTER:
        hooks.run(module.__name__, module)
