"""Who keeps something of a function besides the function itself: its results, or its looks.

A function that is given a new body stays the same object, so that whoever calls it is served. But
what was computed from the old one lives on, and is looked for here.
"""

import functools
import gc
import sys
from types import CodeType, FrameType, FunctionType, ModuleType

from onsave_agent import codes, paths, swap
from onsave_agent.origins import namespace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

_LRU = functools._lru_cache_wrapper
#: Packages whose wrappers hold machine code, or a trace, of all that the function calls.
_COMPILERS = ("jax", "jaxlib", "numba", "torch", "tensorflow", "triton", "taichi")
#: Words by which a program looks through a namespace: it would see what a patch adds too late.
_LOOKING = frozenset(["dir", "vars", "globals", "getmembers", "__dict__", "__subclasses__"])


def results_of(changed):
    # type: (set[str]) -> list[object]
    """The lru_caches that may hold results of functions so named. Raises Refused for compilers.

    Found by name, as all that a cached function may call is known by name only: some may be
    cleared that need not be, which is what a cache must bear at any time.
    """
    outdated = []  # type: list[object]
    called = None  # type: dict[str, set[str]] | None
    compilers = any(name in sys.modules for name in _COMPILERS)
    for thing in _wrappers(compilers):
        function = getattr(thing, "__wrapped__", None) or getattr(thing, "py_func", None)
        code = getattr(function, "__code__", None)
        if not isinstance(code, CodeType):
            continue
        if type(thing) is _LRU and not thing.cache_info().currsize:
            continue
        if called is None:
            called = _calls()
        if not _reaches(code, changed, called):
            continue
        if type(thing) is not _LRU:
            package = type(thing).__module__.partition(".")[0]
            raise codes.Refused("%s has compiled %s, which uses it" % (package, code.co_name))
        outdated.append(thing)
    return outdated


def _wrappers(compilers):
    # type: (bool) -> Iterable[object]
    """The project's lru_caches and, where there are ``compilers``, compiled functions."""
    for value in _values():
        kind = type(value)
        if kind is _LRU or (compilers and kind.__module__.partition(".")[0] in _COMPILERS):
            yield value


def _values():
    # type: () -> Iterable[object]
    """What stands in the project's modules and classes, and what that wraps."""
    for module in project_modules():
        namespace = vars(module)
        name = namespace.get("__name__")
        for value in list(namespace.values()):
            if isinstance(value, type):
                inner = namespace_of(value)
                if inner.get("__module__") == name:
                    for attribute in list(inner.values()):
                        yield from _layers(attribute, 4)
            else:
                yield from _layers(value, 4)


def _layers(value, depth):
    # type: (object, int) -> Iterable[object]
    """``value``, and what it is wrapped around: methods, properties, decorators' closures."""
    yield value
    kind = type(value)
    if depth == 0:
        return
    inner = []  # type: list[object]
    if kind is FunctionType:
        for cell in value.__closure__ or ():  # type: ignore[attr-defined]
            try:
                inner.append(cell.cell_contents)
            except ValueError:
                pass
    elif kind is staticmethod or kind is classmethod:
        inner.append(value.__func__)  # type: ignore[attr-defined]
    elif kind is property:
        inner += [value.fget, value.fset]  # type: ignore[attr-defined]
    elif kind is _LRU or kind is functools.cached_property:
        inner.append(getattr(value, "__wrapped__", None) or getattr(value, "func", None))
    for thing in inner:
        yield from _layers(thing, depth - 1)


def project_modules():
    # type: () -> Iterable[ModuleType]
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            file = vars(module).get("__file__")
            if type(file) is str and not paths.is_library(file):
                yield module


def _calls():
    # type: () -> dict[str, set[str]]
    """Function name → names that it uses, over all of the project."""
    found = {}  # type: dict[str, set[str]]
    for value in _values():
        if type(value) is FunctionType:
            for code in codes.inside(value.__code__):
                for name in {code.co_name, value.__name__}:
                    found.setdefault(name, set()).update(code.co_names)
    return found


def _reaches(code, changed, called):
    # type: (CodeType, set[str], dict[str, set[str]]) -> bool
    seen = set()  # type: set[str]
    waiting = [code.co_name]
    for inner in codes.inside(code):
        waiting.extend(inner.co_names)
        waiting.extend(inner.co_freevars)
    while waiting:
        name = waiting.pop()
        if name in changed:
            return True
        if name not in seen:
            seen.add(name)
            waiting.extend(called.get(name, ()))
    return False


def cached_in_instances(owner, name):
    # type: (type, str) -> bool
    """Whether ``name`` is a cached property of the class that some instance has the value of."""
    value = namespace_of(owner).get(name)
    if "cached" not in type(value).__name__:
        return False
    found = swap.instances(owner)
    return found is None or any(name in getattr(thing, "__dict__", ()) for thing in found)


def only_in_namespace(function, ours):
    # type: (FunctionType, Iterable[object]) -> bool
    """Whether nobody holds the function but modules and its class, by name; and ``ours``."""
    if gc.get_freeze_count():
        gc.unfreeze()
    known = {id(thing) for thing in ours}
    for holder in gc.get_referrers(function):
        if id(holder) in known or (type(holder) is FrameType and _is_agents(holder)):
            continue
        if type(holder) is not dict or not _is_namespace(holder, function):
            return False
    return True


def _is_agents(frame):
    # type: (FrameType) -> bool
    return str(frame.f_globals.get("__name__")).startswith("onsave_agent.")


def _is_namespace(holder, function):
    # type: (dict[str, object], FunctionType) -> bool
    if "__name__" in holder and sys.modules.get(str(holder["__name__"])) is not None:
        return vars(sys.modules[str(holder["__name__"])]) is holder
    return holder.get("__module__") == function.__module__ and "__qualname__" not in holder


def why_not_added(modules, owner, qualname, name):
    # type: (list[ModuleType], type | None, str, str) -> str | None
    """Why a new function or method can't simply be bound; None if it can."""
    if owner is None:
        if "." in qualname:
            return "its class was not found"
        if any(name in vars(module) for module in modules):
            return "its name is used already"
    else:
        if type(owner) is not type:
            return "its class has a metaclass"
        bases = [kind for kind in owner.__mro__ if kind is not object]
        if any("__init_subclass__" in namespace_of(kind) for kind in bases):
            return "its class is looked through by __init_subclass__"
        for kind in bases + _derived(owner):
            if name in namespace_of(kind):
                return "%s has that name already" % kind.__name__
    for module in project_modules():
        for code in _codes_of(module):
            if not _LOOKING.isdisjoint(code.co_names):
                return "%s looks through namespaces" % module.__name__
            if module not in modules and (
                name in code.co_consts or (owner is None and name in code.co_names)
            ):
                return "%s looks for that name" % module.__name__
    return None


def _derived(kind):
    # type: (type) -> list[type]
    found = [kind]
    for known in found:
        found.extend(k for k in type.__subclasses__(known) if k not in found)
    return found[1:]


def _codes_of(module):
    # type: (ModuleType) -> Iterable[CodeType]
    from onsave_agent import ran

    for filename, trees in list(ran.trees.items()):
        if filename == vars(module).get("__file__"):
            for tree in trees:
                yield from codes.inside(tree)
