"""What is in ``sys.modules`` but did not come through the source loader; what was not found.

Extension modules, zip archives, sourceless files, ``__main__`` and ``__mp_main__``, modules that
were entered by hand.
"""

import os
import sys

from onsave_agent import paths, reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EXTENSION = (".so", ".pyd", ".dll", ".dylib")
_BYTECODE = (".pyc", ".pyo")
#: More than this many failed searches are not reported: no honest program has them.
_MOST_MISSING = 5000

_seen = {}  # type: dict[str, int]
#: Those that have no file, or not yet: ``__main__`` gets its own after we began.
_without = set()  # type: set[str]
#: The ids of all modules, in their order, when they were last compared.
_compared = []  # type: list[int]
_missing = set()  # type: set[tuple[str, str]]
#: Entries of sys.path and the like in which nobody creates a module by hand.
_libraries = set()  # type: set[str]
_namespace = vars(type(sys))["__dict__"].__get__


def restart():
    # type: () -> None
    """A snapshot has become an app: nothing has been told so far."""
    _seen.clear()
    _missing.clear()
    _compared.clear()


def reconcile():
    # type: () -> None
    """Compare all of sys.modules with what was reported."""
    # Lists of numbers and names: as many tuples would set the garbage collector off, which takes
    # a third of a second where there are 20,000 modules.
    found = list(map(id, list(sys.modules.values())))
    names = list(_without) if found == _compared else list(sys.modules)
    for name in names:
        module = sys.modules.get(name)
        if _seen.get(name) != id(module) and name in sys.modules:
            _look_at(name, module)
    _compared[:] = found


def reconcile_tail():
    # type: () -> None
    """The same for the newest entries: cheap, and complete unless modules were deleted."""
    main = sys.modules.get("__main__")
    if main is not None and _seen.get("__main__") != id(main):
        _look_at("__main__", main)
    new = len(sys.modules) - len(_seen) - len(_without)
    if new <= 0:
        return
    found = []
    try:
        for name in reversed(sys.modules):
            if name not in _seen and name not in _without:
                found.append(name)
                if len(found) == new:
                    break
    except RuntimeError:
        pass  # Another thread imports: the rest is seen next time.
    for name in reversed(found):
        module = sys.modules.get(name)
        if module is not None:
            _look_at(name, module)


def came_by_import(name):
    # type: (str) -> None
    """The module ``name`` is on its way through the source loader, and was reported there."""
    module = sys.modules.get(name)
    if module is not None and name != "__main__":
        _seen[name] = id(module)
        _without.discard(name)


def _look_at(name, module):
    # type: (str, Any) -> None
    if name.startswith("onsave_agent"):
        _seen[name] = id(module)
        return
    _without.add(name)
    try:
        # Not getattr: a lazy module must stay unloaded.
        values = _namespace(module)
    except TypeError:
        try:
            values = object.__getattribute__(module, "__dict__")
        except AttributeError:
            return
    try:
        path = values.get("__file__")
        if not isinstance(path, str):
            spec = values.get("__spec__")
            path = getattr(spec, "origin", None) if getattr(spec, "has_location", 0) else None
        if isinstance(path, str):
            _without.discard(name)
            _seen[name] = id(module)
            _report(name, path)
    except Exception:
        pass


def _report(name, path):
    # type: (str, str) -> None
    real = paths.standard(path)
    if real is not None:
        reports.loaded(real, None, "extension" if real.endswith(_EXTENSION) else "module", name)
        return
    real = paths.real(os.path.abspath(path))
    main = name in ("__main__", "__mp_main__")
    if reports.known(real) and not main:
        return
    kind = "main" if main else "extension" if real.endswith(_EXTENSION) else "module"
    if not os.path.exists(real):
        # A module inside an archive: the nearest path above that exists is the file.
        archive = real
        while not os.path.exists(archive):
            archive = os.path.dirname(archive)
        if not os.path.isfile(archive):
            return
        real = archive
        if reports.known(real) and not main:
            return
    if real.endswith(_BYTECODE):
        reports.missing(real[:-1], name)
    digest = None if paths.is_library(real) else reports.late_digest(real)
    reports.loaded(real, digest, kind, name)


class LookedForInVain:
    """The last finder on sys.meta_path: what comes here, nobody has found.

    Where it could be created in the project, that is reported as missing.
    """

    def find_spec(self, name, path=None, target=None, importer=None):
        # type: (str, Any, Any, str | None) -> None
        """importer: where it was looked for, "path:line", "" where that is not known."""
        try:
            last = name.rpartition(".")[2]
            for entry in sys.path if path is None else path:
                if not isinstance(entry, str) or entry in _libraries or (entry, last) in _missing:
                    continue
                if len(_missing) >= _MOST_MISSING:
                    return
                folder = paths.real_folder(os.path.abspath(entry))
                if paths.is_library(folder):
                    if entry.startswith("/"):
                        _libraries.add(entry)
                elif os.path.isdir(folder):
                    _missing.add((entry, last))
                    if importer is None:
                        importer = reports.place(sys._getframe(1)) or ""
                    for file in (folder + last + ".py", folder + last + "/__init__.py"):
                        reports.missing(file, name, importer or None)
        except Exception:
            pass
