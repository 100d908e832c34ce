"""Modules that were imported ahead, handed out when the app asks for them.

The app's imports run as ever. Where one asks for a module that :mod:`onsave_agent.warm` has
imported ahead, the module is not executed once more, but taken from the store, and with it what
its execution had asked for, in the same order; so ``sys.modules`` becomes what it would have
become, and a module that nobody asks for never shows up.

A module counts only as long as everything that its execution depended on is as it was: the
files that its name leads to, what was not there, the variables that it read, what it may have
taken over from others, the functions that programs like to replace. Else the session is told,
which starts the app without snapshot: there is no way to be half right.
"""

import _frozen_importlib
import _thread
import os
import sys
import time

from onsave_agent import modules, reports, warm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_bootstrap = _frozen_importlib  # type: Any

#: Variables that libraries read in C, where it can't be seen.
_READ_IN_C = (
    b"OMP_", b"OPENBLAS_", b"MKL_", b"GOTO_", b"BLIS_", b"KMP_", b"NUMEXPR_", b"VECLIB_", b"LD_",
    b"MALLOC_", b"CUDA_", b"TF_", b"GRPC_", b"POLARS_", b"RAYON_", b"ARROW_", b"PYTHON",
)  # fmt: skip
_FIND_AND_LOAD = _bootstrap._find_and_load_unlocked.__code__


def _may_have(entry, key, value):
    # type: (warm.Entry, str, object) -> bool
    """Whether ``entry`` may use what another module had under that name as it was executed.

    A public function or class in any way (called, derived from); of the rest, such as a cache that
    is filled by and by, what has the same name in both.
    """
    if callable(value) and key[:1] != "_":
        return True
    taken = warm.namespace(entry.module)
    return key in taken and taken[key] is value


def read_in_c():
    # type: () -> dict[bytes, bytes]
    return {
        key: value
        for key, value in list(os.environ._data.items())  # type: ignore[attr-defined]
        if key.startswith(_READ_IN_C)
    }


def _meta_path():
    # type: () -> Any
    return sys.meta_path


class Served:
    """A finder, the first on ``sys.meta_path`` as long as there is something to serve.

    tell: called once, with [[module, reason], …], when the app is not what was prepared for;
    does not return where the app can still be thrown away
    """

    def __init__(self, store, tell):
        # type: (dict[str, warm.Entry], object) -> None
        self._store = store
        self._tell = tell
        self._given = {}  # type: dict[str, object]
        self._lock = _thread.allocate_lock()  # no RLock: eventlet puts others in their places
        self._owner = 0
        self._finders = list(_meta_path())
        self._hooks = list(sys.path_hooks)
        self._installed = []  # type: list[str]
        self._read_in_c = read_in_c()
        self._functions = {}  # type: dict[str, dict[str, object]]
        self._values = {}  # type: dict[str, dict[str, object]]
        self._state = warm.state()
        self._told = False

    def install(self, installed):
        # type: (list[str]) -> None
        """Begin. installed: what was, outside the libraries, when modules were imported ahead."""
        self._installed = installed
        self._functions = warm.functions()
        if self._store:
            _meta_path().insert(0, self)

    # --- a finder, a loader ---------------------------------------------------------------------

    def find_spec(self, name, path=None, target=None):
        # type: (str, object, object) -> object
        # Only where the module is about to be loaded: who merely looks gets the real spec.
        if (name not in self._store and name not in self._given) or (
            sys._getframe(2).f_code is not _FIND_AND_LOAD
        ):
            return None
        me = _thread.get_ident()
        if self._owner == me:
            return self._spec(name)  # Another finder, asked by us, imports something.
        with self._lock:
            self._owner = me
            try:
                return self._spec(name)
            finally:
                self._owner = 0

    def _spec(self, name):
        # type: (str) -> object
        if name in self._store:
            try:
                self._verify(name)
                self._give(name, first=name)
            except Exception as error:  # a bug of ours: not at the app's cost
                self._tell([["", "%s: %s" % (type(error).__name__, error)]])  # type: ignore[operator]
                raise
        elif sys.modules.get(name) is not self._given[name]:
            return None  # The app took it away, to have it executed once more.
        if not self._store and self in _meta_path():
            _meta_path().remove(self)
        return _bootstrap.ModuleSpec(name, self)

    def create_module(self, spec):
        # type: (object) -> None
        return None

    def exec_module(self, module):
        # type: (object) -> None
        # The import system goes on with whatever stands there now.
        name = module.__spec__.name  # type: ignore[attr-defined]
        sys.modules[name] = self._given[name]  # type: ignore[assignment]

    # --- giving ---------------------------------------------------------------------------------

    def _give(self, name, first=""):
        # type: (str, str) -> None
        """Put ``name`` and what it needs where they belong; ``first`` is the import system's."""
        package, _, child = name.rpartition(".")
        if package in self._store:
            self._give(package)
        entry = self._store.pop(name, None)
        if entry is None:
            return
        self._given[name] = entry.module
        if entry.report is not None:
            reports.loaded(*entry.report)  # type: ignore[arg-type]
        self._values[name] = warm.values(entry.module)
        if name in warm.REPLACED:
            self._functions[name] = warm.callables(entry.module)
        for need in entry.needs:
            self._give(need)
        if entry.filters:
            active = sys.modules.get("warnings", sys.modules["_warnings"])
            filters = active.filters
            for in_front, added in entry.filters:
                filters.insert(0 if in_front else len(filters), added)
            warm.filters_changed()
        for where, key, _old, new in entry.replaced:
            if where in self._given or where in sys.modules:
                setattr(self._given.get(where, sys.modules.get(where)), key, new)
                if where in self._values:
                    self._values[where][key] = new
                if where in self._functions:
                    self._functions[where][key] = new
        if name == "logging":
            nanoseconds = isinstance(entry.module._startTime, int)
            now = time.time_ns() if nanoseconds else time.time()
            entry.module._startTime = now
        if name == first:
            return
        sys.modules[name] = entry.module
        if entry.bound:
            # A package that is being given itself stands in sys.modules last.
            parent = self._given[package] if package in self._given else sys.modules[package]
            setattr(parent, child, entry.module)

    # --- verifying ------------------------------------------------------------------------------

    def _verify(self, name):
        # type: (str) -> None
        if self._told:
            return
        reason = self._general()
        found = []
        if reason:
            found.append(["", reason])
        elif self._is_mixed(name):
            found.append(["", self._reason])
        elif not all(self._is_good(entry) for entry in self._closure(name)):
            found = [
                [entry.name, self._reason]
                for entry in list(self._store.values())
                if not self._is_good(entry)
            ]
        if found:
            self._told = True
            self._tell(found)  # type: ignore[operator]

    def _general(self):
        # type: () -> str
        if read_in_c() != self._read_in_c:
            now = read_in_c()
            keys = [key for key in {**now, **self._read_in_c}
                    if now.get(key) != self._read_in_c.get(key)]  # fmt: skip
            return "the app sets %s as it starts" % os.fsdecode(keys[0])
        found = warm.replaced(self._functions)
        if found is not None:
            return "the app replaces %s.%s as it starts" % found[:2]
        if list(sys.path_hooks) != self._hooks:
            return "the app changes sys.path_hooks as it starts"
        return ""

    def _closure(self, name):
        # type: (str) -> list[warm.Entry]
        """All entries that would be given with ``name``."""
        found = {}  # type: dict[str, warm.Entry]
        queue = [name]
        while queue:
            wanted = queue.pop()
            entry = self._store.get(wanted)
            if entry is not None and wanted not in found:
                found[wanted] = entry
                queue += entry.needs
                queue.append(wanted.rpartition(".")[0])
        return list(found.values())

    def _is_mixed(self, name):
        # type: (str) -> bool
        """Whether a module that would be given, or that these use, is there as another one."""
        for entry in self._closure(name):
            for need in (entry.name, *entry.needs):
                there = sys.modules.get(need)
                if need in self._store:
                    mixed = there is not None
                else:
                    mixed = need in self._given and there is not self._given[need]
                if mixed:
                    self._reason = "the app has replaced the module %s" % need
                    return True
        return False

    def _is_good(self, entry):
        # type: (warm.Entry) -> bool
        """Whether everything that ``entry`` depended on is the same; else ``_reason`` says what."""
        for need in entry.needs:
            if need in self._values:
                now = warm.namespace(self._given[need])
                for key, value in self._values[need].items():
                    if now.get(key) is not value and _may_have(entry, key, value):
                        self._reason = "it may have taken over %s.%s as it was" % (need, key)
                        return False
        for key, value in entry.reads.items():
            if warm.variable(key) != value:
                self._reason = "it reads %s, which the app sets as it starts" % key
                return False
        for what in entry.looks:
            if warm.state()[what] != self._state[what]:
                self._reason = "it looks at the %s, which the app changes as it starts" % what
                return False
        if entry.metadata and warm.installed() != self._installed:
            self._reason = "it asks what is installed, which is more by now"
            return False
        for name, importer in entry.missing.items():
            if "." not in name and self._find(name, importer):
                self._reason = "it had to do without %s, which is there now" % name
                return False
        if "." in entry.name and not self._has_new_finders():
            return True
        return self._leads_to(entry)

    def _find(self, name, importer):
        # type: (str, str | None) -> bool
        """Whether there is such a module; where there is not, that is a fact to be reported."""
        for finder in _meta_path():
            if isinstance(finder, modules.LookedForInVain):
                finder.find_spec(name, importer=importer or "")
            elif finder is not self and finder.find_spec(name, None, None) is not None:
                return True
        return False

    def _leads_to(self, entry):
        # type: (warm.Entry) -> bool
        """Whether the name leads to the same file by the same kind of loader."""
        known = getattr(entry.module, "__spec__", None)
        if known is None or known.name != entry.name:
            return True  # put into sys.modules by hand
        package = entry.name.rpartition(".")[0]
        path = None
        if package:
            parent = self._store[package].module if package in self._store else sys.modules.get(
                package
            )
            path = getattr(parent, "__path__", None)
            if path is None:
                return True
        for finder in _meta_path():
            if finder is self:
                continue
            spec = finder.find_spec(entry.name, path, None)
            if spec is not None:
                if spec.loader is None and known.origin is None:  # a namespace package
                    if list(spec.submodule_search_locations) == list(entry.module.__path__):
                        return True
                elif spec.origin == known.origin and type(spec.loader) is type(known.loader):
                    return True
                self._reason = "it comes from %s now" % (spec.origin or spec.loader)
                return False
        self._reason = "it can't be found any more"
        return False

    def _has_new_finders(self):
        # type: () -> bool
        """Whether somebody stands before those who find files."""
        before = [finder for finder in _meta_path() if finder is not self]
        return before[:len(self._finders)] != self._finders
