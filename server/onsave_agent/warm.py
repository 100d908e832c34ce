"""Imports made ahead of time, with everything recorded that they depended on.

A snapshot stands before the app's first line of code. While it has nothing else to do, it
imports the library modules that the last run had imported. For each of them is recorded what it
asked for as it was executed: other modules, in which order; modules that there were not;
variables of the environment; what is installed; filters of warnings that it added, and functions
of the standard library that it replaced. Then all is hidden again: ``sys.modules``, the attributes
of packages, filters and functions are as if nothing had happened. :mod:`onsave_agent.served`
hands a module out when the app asks for it, if what it depended on is still the same.
"""

import _frozen_importlib
import _warnings
import builtins
import os
import sys
import time

from onsave_agent import paths, reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_bootstrap = _frozen_importlib  # type: Any
_there = "_locale" in sys.modules
_locale = __import__("_locale")
if not _there:
    del sys.modules["_locale"]  # whether and when the app imports it is the app's affair

#: The name of the import system's own frames, for ours between them: they are stripped from
#: tracebacks, and skipped by the stack levels of warnings.
_IMPORTLIB = "<frozen importlib._bootstrap>"


#: Modules whose functions and classes programs replace: gevent, eventlet, tests, import hooks.
REPLACED = (
    "builtins", "_thread", "threading", "socket", "_socket", "ssl", "select", "selectors", "time",
    "os", "subprocess", "signal", "queue", "json", "json.decoder", "json.encoder", "logging",
    "datetime", "random", "asyncio", "urllib.request", "http.client", "io", "importlib",
    "pathlib", "tempfile", "contextlib", "functools", "collections", "inspect", "typing",
    "traceback",
)  # fmt: skip
_namespace = type(sys).__dict__["__dict__"].__get__  # type: ignore[index]
_NOT_CALLABLE = (int, str, bytes, float, tuple, list, dict, set, frozenset, bool, type(None))

#: Readers of what is installed, by module.
_HERE = os.path.dirname(__file__)
_METADATA = ("importlib.metadata", "importlib_metadata")


class Entry:
    """One module that was imported ahead, and what its execution asked for."""

    __slots__ = (
        "bound", "filters", "looks", "metadata", "missing", "module", "name", "needs", "reads",
        "replaced", "report", "trouble",
    )  # fmt: skip

    def __init__(self, name):
        # type: (str) -> None
        self.name = name
        self.module = None  # type: Any
        self.needs = {}  # type: dict[str, None]
        self.missing = {}  # type: dict[str, str | None]  # name → by whom, "path:line"
        self.reads = {}  # type: dict[str, str | None]
        self.filters = []  # type: list[tuple[bool, object]]
        self.replaced = []  # type: list[tuple[str, str, object, object]]
        self.report = None  # type: list[object] | None  # what an agent tells of its file
        self.looks = set()  # type: set[str]  # at the state of the process, see state()
        self.metadata = False  # whether it asked what is installed
        self.bound = False  # whether its package has it as an attribute
        self.trouble = ""  # a failed import that it survived


class Recorder:
    """Records all imports between ``begin`` and ``end``.

    entries:  the modules that were imported, by name, in the order in which they were complete
    watch:    called at each beginning and end of a module's execution, with the entry of the
              module that was being executed until then
    on_path:  called when somebody else than the import system looks at sys.path, unless it is to
              learn what is installed
    """

    def __init__(self, watch=None, on_path=None):
        # type: (object, object) -> None
        self.entries = {}  # type: dict[str, Entry]
        self.stack = [Entry("")]
        self._watch = watch
        self._on_path = on_path
        self._known = set(sys.modules)
        self._filters = []  # type: list[object]
        self._the_filters = []  # type: list[object]
        self._functions = {}  # type: dict[str, dict[str, object]]
        self._all_replaced = []  # type: list[tuple[str, str, object, object]]

    # --- beginning and ending -------------------------------------------------------------------

    def begin(self):
        # type: () -> None
        self._the_filters = _warnings.filters  # type: ignore[assignment]
        self._filters = list(self._the_filters)
        self._before = list(self._the_filters)
        self._known = set(sys.modules)
        self._functions = functions()
        self._real = (_bootstrap._find_and_load, _bootstrap._gcd_import, builtins.__import__)
        self._environ = type(os.environ)
        _bootstrap._find_and_load = _like_importlib(_find_and_load(self, self._real[0]))
        _bootstrap._gcd_import = _like_importlib(_gcd_import(self, self._real[1]))
        builtins.__import__ = _like_importlib(_import(self, self._real[2]))
        os.environ.__class__ = _watched(self)
        self._path = sys.path
        sys.path = _Path(self, self._path)

    def end(self):
        # type: () -> None
        _bootstrap._find_and_load, _bootstrap._gcd_import, builtins.__import__ = self._real
        os.environ.__class__ = self._environ
        self._path[:] = list.copy(sys.path)
        sys.path = self._path

    # --- what happens ---------------------------------------------------------------------------

    def boundary(self):
        # type: () -> Entry
        """Put down what has changed since the last boundary to the module being executed."""
        top = self.stack[-1]
        # Within catch_warnings another list stands in its place, which goes away by itself.
        used = getattr(sys.modules.get("warnings"), "filters", None)
        if used is self._the_filters and self._filters != self._the_filters:
            front, back = _added(self._filters, self._the_filters)
            top.filters += [(True, added) for added in reversed(front)]
            top.filters += [(False, added) for added in back]
            self._filters = list(self._the_filters)
        found = replaced(self._functions)
        while found is not None:
            top.replaced.append(found)
            self._all_replaced.append(found)
            self._functions[found[0]][found[1]] = found[3]
            found = replaced(self._functions)
        executing = {entry.name for entry in self.stack}
        self._functions.update(functions(executing.union(self._functions)))
        if self._watch is not None:
            self._watch(top)  # type: ignore[operator]
        return top

    def push(self, name):
        # type: (str) -> None
        self.boundary().needs[name] = None
        self._known.add(name)
        self.stack.append(Entry(name))

    def pop(self, error, importer=None):
        # type: (BaseException | None, str | None) -> None
        entry = self.boundary()
        self.stack.pop()
        top = self.stack[-1]
        for name in [name for name in sys.modules if name not in self._known]:
            # Put there by hand, as six does for its moves.
            self._known.add(name)
            self.entries.setdefault(name, Entry(name))
            entry.needs[name] = None
        if error is None:
            # Where its package had imported it meanwhile, that was the real thing.
            self.entries.setdefault(entry.name, entry)
            return
        # Whoever asked for it may go on without; what it has loaded is there all the same.
        top.needs.pop(entry.name, None)
        self._known.discard(entry.name)
        top.needs.update(entry.needs)
        top.missing.update(entry.missing)
        top.reads.update(entry.reads)
        top.filters += entry.filters
        top.replaced += entry.replaced
        top.metadata = top.metadata or entry.metadata
        top.looks |= entry.looks
        absent = getattr(error, "name", None)
        if isinstance(error, ModuleNotFoundError) and absent == entry.name:
            top.missing.setdefault(entry.name, importer)
        elif not (isinstance(error, ModuleNotFoundError) and absent in top.missing):
            top.trouble = "%s: %s: %s" % (entry.name, type(error).__name__, error)

    def asked(self, name):
        # type: (str) -> None
        """The module being executed asks for ``name``, which is loaded."""
        needs = self.stack[-1].needs
        while name and name not in needs:
            needs[name] = None
            name = name.rpartition(".")[0]

    def looked_at_path(self, frame):
        # type: (object) -> None
        if asks_what_is_installed(frame):
            self.stack[-1].metadata = True
        elif self._on_path is not None and not passes_by(frame):
            self._on_path()  # type: ignore[operator]

    def read(self, key):
        # type: (str) -> None
        """The module being executed reads a variable; "*" for all of them."""
        reads = self.stack[-1].reads
        if key not in reads:
            reads[key] = variable(key)

    # --- afterwards -----------------------------------------------------------------------------

    def hide(self):
        # type: () -> dict[str, Entry]
        """Make everything look as before; return what there is to be served."""
        found = {}
        for name, entry in self.entries.items():
            if name in sys.modules:
                entry.module = sys.modules[name]
                found[name] = entry
        for name, entry in found.items():
            package, _, child = name.rpartition(".")
            space = namespace(sys.modules.get(package))
            entry.bound = bool(package) and space.get(child) is entry.module
        for name, entry in found.items():
            if entry.bound:
                package, _, child = name.rpartition(".")
                where = found[package].module if package in found else sys.modules[package]
                namespace(where).pop(child, None)
        for name in found:
            sys.modules.pop(name, None)
        self._the_filters[:] = self._before
        filters_changed()
        for module, key, old, _new in reversed(self._all_replaced):
            where = found[module].module if module in found else sys.modules.get(module)
            if where is not None:
                setattr(where, key, old)
        return found


def functions(but=()):
    # type: (object) -> dict[str, dict[str, object]]
    """The functions and classes of the modules that programs like to patch, as they are now.

    but: names of modules to leave out, such as those that are still being executed
    """
    found = {}
    for name in REPLACED:
        if name in sys.modules and name not in but:  # type: ignore[operator]
            found[name] = callables(sys.modules[name])
    return found


def namespace(module):
    # type: (object) -> dict[str, Any]
    """Not getattr: a lazy module is to stay asleep."""
    try:
        return _namespace(module)  # type: ignore[no-any-return]
    except TypeError:
        return {}  # nothing of the kind, put there by hand


def callables(module):
    # type: (object) -> dict[str, object]
    return {
        key: value
        for key, value in list(namespace(module).items())
        # Hooks are there to be replaced.
        if not issubclass(type(value), _NOT_CALLABLE) and not key.endswith(("__", "hook"))
        and callable(value)
    }


def replaced(before):
    # type: (dict[str, dict[str, object]]) -> tuple[str, str, object, object] | None
    """The first of these that is another one now: (module, name, before, now)."""
    for name, values in before.items():
        if name in sys.modules:
            space = namespace(sys.modules[name])
            for key, value in values.items():
                if space.get(key) is not value:
                    return name, key, value, space.get(key)
    return None


def installed():
    # type: () -> list[str]
    """The installed distributions that stand in folders of sys.path outside the libraries.

    Those of the libraries' folders are watched by the session.
    """
    found = []
    for folder in sys.path:
        if isinstance(folder, str) and not paths.is_library(os.path.abspath(folder) + "/"):
            try:
                names = os.listdir(folder or ".")
            except OSError:
                continue
            found += [
                os.path.join(os.path.abspath(folder), name)
                for name in names
                if name.endswith((".dist-info", ".egg-info", ".egg-link", ".egg"))
            ]
    return sorted(set(found))


def files_of(names):
    # type: (object) -> list[tuple[str, str]]
    """(name, real path) of those of these modules that came from files and are loaded."""
    found = []
    for name in list(names):  # type: ignore[call-overload]
        path = namespace(sys.modules.get(name)).get("__file__")
        if isinstance(path, str):
            found.append((name, paths.real(os.path.abspath(path))))
    return found


def values(module):
    # type: (object) -> dict[str, object]
    """What of a module others may have taken over as it was: public names, and functions."""
    # type(), not isinstance(): a lazy object is not to be waked up by asking what it is.
    return {
        key: value
        for key, value in list(namespace(module).items())
        if not issubclass(type(value), type(sys)) and (key[:1] != "_" or callable(value))
        and not key.endswith(("__", "hook"))
    }


def state():
    # type: () -> dict[str, object]
    """What a program may change as it starts, and a library look at when it is imported."""
    return {
        "working directory": os.getcwd(),
        "locale": _locale.setlocale(_locale.LC_ALL, None),
        "time zone": time.tzname,
    }


def variable(key):
    # type: (str) -> str | None
    """A variable of the environment as the app sees it, unrecorded."""
    value = os.environ._data.get(_encoded(key))  # type: ignore[attr-defined]
    return None if value is None else os.fsdecode(value)


def asks_what_is_installed(frame):
    # type: (object) -> bool
    return frame.f_globals.get("__name__") in _METADATA  # type: ignore[attr-defined]


def passes_by(frame):
    # type: (object) -> bool
    """Whether it is the import system that looks, or we."""
    name = frame.f_code.co_filename  # type: ignore[attr-defined]
    return name.startswith(("<frozen importlib", _HERE))  # type: ignore[no-any-return]


class _Path(list):  # type: ignore[type-arg]
    """sys.path, which tells who looks at it."""

    def __init__(self, recorder, entries):
        # type: (Recorder, list[str]) -> None
        super().__init__(entries)
        self._recorder = recorder

    def __iter__(self):  # type: ignore[no-untyped-def]
        self._recorder.looked_at_path(sys._getframe(1))
        return super().__iter__()


def _encoded(key):
    # type: (object) -> bytes
    try:
        return os.fsencode(key)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return b""


def filters_changed():
    # type: () -> None
    """Tell the C half of warnings that its list has other content now."""
    for name in ("_filters_mutated", "_filters_mutated_lock_held"):  # before and since 3.14
        changed = getattr(_warnings, name, None)
        if changed is not None:
            changed()
            return


def _added(before, after):
    # type: (list[object], list[object]) -> tuple[list[object], list[object]]
    """What was put in front, and behind."""
    length = len(before)
    for at in range(len(after) - length + 1):
        if after[at:at + length] == before:
            return after[:at], after[at + length:]
    return [added for added in after if added not in before], []


def _like_importlib(function):
    # type: (Any) -> Any
    function.__code__ = function.__code__.replace(co_filename=_IMPORTLIB)
    return function


def _find_and_load(recorder, real):
    # type: (Recorder, object) -> object
    def _find_and_load(name, import_):
        # type: (str, object) -> object
        if name in sys.modules:
            recorder.asked(name)
            return real(name, import_)  # type: ignore[operator]
        recorder.push(name)
        try:
            module = real(name, import_)  # type: ignore[operator]
        except BaseException as error:
            recorder.pop(error, reports.place(sys._getframe(1)))
            raise
        recorder.pop(None)
        return module

    return _find_and_load


def _gcd_import(recorder, real):
    # type: (Recorder, object) -> object
    def _gcd_import(name, package=None, level=0):
        # type: (str, str | None, int) -> object
        module = real(name, package, level)  # type: ignore[operator]
        if level:
            name = _bootstrap._resolve_name(name, package, level)
        recorder.asked(name)
        return module

    return _gcd_import


def _import(recorder, real):
    # type: (Recorder, object) -> object
    def __import__(name, globals=None, locals=None, fromlist=(), level=0):
        # type: (str, dict[str, object] | None, object, object, int) -> object
        module = real(name, globals, locals, fromlist, level)  # type: ignore[operator]
        if level:
            package = _bootstrap._calc___package__(globals)
            name = _bootstrap._resolve_name(name, package, level)
        recorder.asked(name)
        for item in fromlist or ():  # type: ignore[attr-defined]
            if name + "." + str(item) in sys.modules:
                recorder.asked(name + "." + str(item))
        return module

    return __import__


def _watched(recorder):
    # type: (Recorder) -> type
    """The class of ``os.environ``, with all reading recorded."""
    real = type(os.environ)

    class _Environ(real):  # type: ignore[misc, valid-type]
        def __getitem__(self, key):
            # type: (object) -> object
            recorder.read(str(key))
            return real.__getitem__(self, key)  # type: ignore[index]

        def __iter__(self):
            # type: () -> object
            recorder.read("*")
            return real.__iter__(self)

    _Environ.__module__, _Environ.__qualname__ = real.__module__, real.__qualname__
    return _Environ
