"""Which functions had run before the app was ready: an edit of those needs a restart.

What such a function has done at start-up (routes registered, constants computed) is not undone by
giving it another body. Recorded are names and first lines, file by file, of the project's modules
alone; a file that is not known counts as having run as a whole. The means cost next to nothing:

* Python 3.12 and newer: ``sys.monitoring`` reports the first start of each function, which it
  then forgets (DISABLE), so that only the first call is slower.
* 3.9 to 3.11: the code object's own warm-up counter, which the interpreter keeps anyway, is read
  from memory. Its place is found out by a self-test; without it everything counts as having run.

The set is taken when the app is ready, and again after each project module that is imported later:
what that module did while it was executed is as much its start-up as anything before. A process is
ready when it begins to listen; one that never does is told so once its run has settled.
"""

import os
import sys

from onsave_agent import codes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import Any, Iterable

#: filename → its module codes, the newest last; of modules that were seen from the beginning
trees = {}  # type: dict[str, list[CodeType]]
#: filename → functions that had run when the set was last taken
_before = {}  # type: dict[str, set[tuple[str, int]]]
#: filename → functions that have run since; before 3.12 only those whose code was replaced
_since = {}  # type: dict[str, set[tuple[str, int]]]

#: filename → what stood when its module began to be executed: who imported it, which module had
#: been loaded last, how many were there, which of the project's were being executed
began = {}  # type: dict[str, tuple[str | None, str | None, int, list[str]]]

#: Where the import system's frames are, and ours.
_IMPORTING = ("<frozen importlib", os.path.dirname(__file__) + os.sep)
_IMPORTLIB = os.sep + os.path.join("importlib", "__init__.py")
#: So deeply imports nest.
_DEEPEST = 200

_ready = False
importing = []  # type: list[str]  # filenames of project modules that are being executed
_monitor = None  # type: object  # our tool number, 3.12 and newer
_counter = None  # type: Any  # code → whether it ever ran; False: no way to know. 3.9 to 3.11
_main = ""  # the script's filename: its module code never passes through the import system


def begin():
    # type: () -> None
    """To be called before any of the app's code runs; again is once too often, and harmless."""
    global _monitor
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is None or _monitor is not None:
        return
    # 0, 1, 2 and 5 are spoken for; hypothesis takes 3.
    for number in (4, 3):
        if monitoring.get_tool(number) is None:
            monitoring.use_tool_id(number, "onsave")
            monitoring.register_callback(number, monitoring.events.PY_START, _started)
            _monitor = number
            return


def main_is_next():
    # type: () -> None
    """The next module to be executed as ``__main__`` was not imported: watch out for it."""
    begin()
    if _monitor is not None:
        monitoring = sys.monitoring  # type: ignore[attr-defined]
        monitoring.register_callback(_monitor, monitoring.events.PY_START, _main_started)
        monitoring.set_events(_monitor, monitoring.events.PY_START)


def watch(code):
    # type: (CodeType) -> None
    """A project module's code is about to be executed, or a patch has made a new one."""
    known = trees.setdefault(code.co_filename, [])
    known[:] = known[-1:] + [code]
    if _monitor is not None:
        monitoring = sys.monitoring  # type: ignore[attr-defined]
        for inner in codes.inside(code):
            if codes.is_function(inner):
                monitoring.set_local_events(_monitor, inner, monitoring.events.PY_START)


def entered(code):
    # type: (CodeType) -> None
    """A project module begins to be executed."""
    began[code.co_filename] = (_importer(), _last_finished(), len(sys.modules), importing[:])
    importing.append(code.co_filename)
    watch(code)


def _importer():
    # type: () -> str | None
    """The file of the statement or call that has led to the module that begins."""
    frame = sys._getframe(2)  # type: FrameType | None
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_IMPORTING) and not name.endswith(_IMPORTLIB):
            return name
        frame = frame.f_back
    return None


def _last_finished():
    # type: () -> str | None
    """The module that was loaded last: each is put at the end of sys.modules once it has been."""
    for name in reversed(list(sys.modules)[-_DEEPEST:]):
        try:
            # As is: a lazy module would load itself if it were asked.
            spec = object.__getattribute__(sys.modules[name], "__spec__")
        except (KeyError, AttributeError):
            spec = None
        if not getattr(spec, "_initializing", False):
            return name
    return None


def left(filename):
    # type: (str) -> None
    """A module has been executed, or has failed: perhaps one of the project's. Never raises."""
    if filename in importing:
        importing.remove(filename)
        if _ready and not importing:
            try:
                take()
            except Exception:
                pass


def ready():
    # type: () -> None
    """The app is ready now: what has run so far is its start-up. Cheap to call again."""
    global _ready
    _ready = True
    take()


def is_ready():
    # type: () -> bool
    return _ready


def forked():
    # type: () -> None
    """A child has a start-up of its own, however long its parent has been ready."""
    global _ready
    _ready = False


def before(filename):
    # type: (str) -> set[tuple[str, int]] | None
    """Name and first line of the functions that ran before ready; None where that's not known.

    A process that nobody called ready is still starting: all that ran so far counts.
    """
    if not _ready or importing:
        take()
    if filename not in trees or not (_monitor is not None or _counter):
        return None
    return _before.get(filename, set())


def ever(filename):
    # type: (str) -> set[tuple[str, int]]
    """Name and first line of the functions that have run at all, as far as that is known."""
    found = _before.get(filename, set()) | _since.get(filename, set())
    if _monitor is None:
        has_run = _find_counter()
        if has_run:
            found |= _counted(trees.get(filename, ()), has_run)
    return found


def moved(filename, keys, code):
    # type: (str, dict[tuple[str, int], tuple[str, int]], CodeType) -> None
    """A patch has given the functions of a file new places, and module code ``code``."""
    if _monitor is None:
        _since[filename] = ever(filename)  # The new code's counters begin anew.
    for known in (_before, _since):
        if filename in known:
            known[filename] = {keys.get(where, where) for where in known[filename]}
    trees.pop(filename, None)
    watch(code)


def take():
    # type: () -> None
    if _monitor is not None:
        for filename in list(_since):
            _before.setdefault(filename, set()).update(_since.pop(filename))
        return
    _find_main()
    has_run = _find_counter()
    if has_run:
        for filename, modules in list(trees.items()):
            _before.setdefault(filename, set()).update(_counted(modules, has_run))


# --- Python 3.12 and newer ----------------------------------------------------------------------


def _started(code, offset):
    # type: (CodeType, int) -> object
    found = _since.get(code.co_filename)
    if found is None:
        found = _since.setdefault(code.co_filename, set())
    found.add((code.co_name, code.co_firstlineno))
    return sys.monitoring.DISABLE  # type: ignore[attr-defined]


def _main_started(code, offset):
    # type: (CodeType, int) -> object
    try:
        if code.co_name == "<module>":
            frame = sys._getframe(1)
            if frame.f_code is code and frame.f_globals.get("__name__") == "__main__":
                monitoring = sys.monitoring  # type: ignore[attr-defined]
                monitoring.set_events(_monitor, 0)
                monitoring.register_callback(_monitor, monitoring.events.PY_START, _started)
                watch(code)
        else:
            _started(code, offset)
    except Exception:
        pass
    return sys.monitoring.DISABLE  # type: ignore[attr-defined]


# --- Python 3.9 to 3.11 -------------------------------------------------------------------------


def _counted(modules, has_run):
    # type: (Iterable[CodeType], Any) -> set[tuple[str, int]]
    """The functions in these module codes that have run, by their own counters."""
    every = [code for module in modules for code in codes.inside(module)]
    return {codes.key(code) for code in every if codes.is_function(code) and has_run(code)}


def _find_main():
    # type: () -> None
    """The main module's code stands at the bottom of some thread's stack, if it still runs."""
    main = sys.modules.get("__main__")
    namespace = getattr(main, "__dict__", None)
    stacks = sys._current_frames()
    for thread in list(stacks):
        frame = stacks.pop(thread)  # type: FrameType | None
        while frame is not None:
            if frame.f_globals is namespace and frame.f_code.co_name == "<module>":
                trees.setdefault(frame.f_code.co_filename, [frame.f_code])
            frame = frame.f_back


def _find_counter():
    # type: () -> Any
    """A function that says whether a code object has ever run, or False."""
    global _counter
    if _counter is None:
        try:
            _counter = _self_tested_counter()
        except Exception:
            _counter = False
    return _counter


def _self_tested_counter():
    # type: () -> Any
    # The C half of ctypes alone: a tenth of the time, and the app's own import stays the app's.
    from _ctypes import _SimpleCData

    if sys.version_info >= (3, 11):
        # co_warmup, a short: starts at -8 and is raised by each call.
        kind = type("c_short", (_SimpleCData,), {"_type_": "h"})
        offset, fresh = 52, -8
    else:
        # co_opcache_flag, an int: counts the calls.
        kind = type("c_int", (_SimpleCData,), {"_type_": "i"})
        offset, fresh = 168, 0
    read = kind.from_address  # type: ignore[attr-defined]

    def has_run(code):
        # type: (object) -> bool
        return read(id(code) + offset).value != fresh  # type: ignore[no-any-return]

    if not (sys.implementation.name == "cpython" and sys.maxsize > 2**32):
        return False
    space = {}  # type: dict[str, object]
    source = "def f():\n  return 1\ndef g():\n  yield 1\nasync def c():\n  return 1\n"
    exec(compile(source, "<onsave>", "exec", dont_inherit=True), space)
    for name in "fgc":
        function = space[name]
        code = function.__code__  # type: ignore[attr-defined]
        if has_run(code):
            return False
        made = function()  # type: ignore[operator]
        if name == "g":
            list(made)
        elif name == "c":
            try:
                made.send(None)
            except StopIteration:
                pass
        if not has_run(code):
            return False
    return has_run
