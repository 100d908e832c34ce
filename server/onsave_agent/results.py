"""What was computed from a function and is kept: lru_caches, machine code, traces.

A function with a new body stays the same object, but a cache goes on giving what its old body gave.
Which caches those are can be known of names alone, as what Python code calls is looked up by name:
the names that a cached function uses, those that are used by what stands under these names, and so
on. A name stands for all functions that can be got at from what is bound to it. So some caches are
cleared that need not be, which is what a cache must bear at any time (and a restart clears all).
"""

import builtins
import functools
import gc
import sys
from types import CodeType, FunctionType

from onsave_agent import codes, lookups, ran, swap
from onsave_agent.origins import namespace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Iterator

_LRU = functools._lru_cache_wrapper
_BUILTINS = builtins.__dict__
_ATOMS = swap.ATOMS
#: Packages whose wrappers hold machine code, or a trace, of all that the function calls.
_COMPILERS = ("jax", "jaxlib", "numba", "torch", "tensorflow", "triton", "taichi")
#: Where such wrappers have the function that they were made of.
_WRAPPED = ("__wrapped__", "py_func", "python_function", "fn", "_torchdynamo_orig_callable")
#: What may be wrapped around something else, see _layers.
_LAYERED = frozenset(
    [FunctionType, staticmethod, classmethod, property, _LRU, functools.cached_property,
     functools.partial, list, tuple, dict]
)  # fmt: skip
_COMMON = _ATOMS | {FunctionType, dict}
#: What functions that make caches use, besides lru_cache: functools.cache, in two ways.
_BOTH = frozenset(["functools", "cache"])
_CACHE = functools.cache
#: filename → whether functions in it make caches
_making = {}  # type: dict[str, bool]
#: Containers that are larger are not looked through; what lies deeper is not looked for.
_MOST = 2000
_DEEPEST = 5


def outdated(names, changed):
    # type: (set[str], list[FunctionType]) -> list[object]
    """The lru_caches that may hold results of the functions ``changed``, whose code has ``names``.

    Raises Refused where a compiler holds what it made of one.
    """
    found = []  # type: list[object]
    calls = None  # type: _Calls | None
    compilers = any(name in sys.modules for name in _COMPILERS)
    for thing in _wrappers(compilers):
        code = _code_of(thing)
        is_cache = type(thing) is _LRU
        if code is None or (is_cache and not thing.cache_info().currsize):  # type: ignore[attr-defined]
            continue
        if calls is None:
            calls = _Calls(list(_bound()), names, {id(function) for function in changed})
        if not calls.reach(thing, code):
            continue
        if not is_cache:
            package = _compiler_of(thing)
            raise codes.Refused("%s has compiled %s, which uses it" % (package, code.co_name))
        found.append(thing)
    return found


def _code_of(thing):
    # type: (object) -> CodeType | None
    for name in _WRAPPED:
        code = getattr(getattr(thing, name, None), "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None


def forget(filename):
    # type: (str) -> None
    """A file has been patched: it may make caches now."""
    _making.pop(filename, None)


def _are_made_at_run_time():
    # type: () -> bool
    """Whether functions of the project make caches: they may be anywhere then."""
    new = [name for name in list(ran.trees) if name not in _making]
    modules = map(vars, lookups.project_modules()) if new else ()
    with_cache = {names.get("__file__") for names in modules if names.get("cache") is _CACHE}
    for filename in new:
        makers = frozenset(["lru_cache", "cache"] if filename in with_cache else ["lru_cache"])
        _making[filename] = any(
            not makers.isdisjoint(code.co_names) or _BOTH.issubset(code.co_names)
            for tree in ran.trees.get(filename, ())
            for code in codes.inside(tree)
            if codes.is_function(code)
        )
    return any(_making.values())


def _wrappers(compilers):
    # type: (bool) -> Iterator[object]
    """The project's lru_caches and, where there are ``compilers``, compiled functions."""
    seen = set()  # type: set[int]
    if _are_made_at_run_time():
        if gc.get_freeze_count():
            gc.unfreeze()
        for thing in gc.get_objects():
            if type(thing) is _LRU:
                seen.add(id(thing))
                yield thing
    for namespace in _namespaces():
        for value in list(namespace.values()):
            kind = type(value)
            # Most are done with here: in a large app it is this that a patch takes longest for.
            if kind in _ATOMS:
                continue
            bare = kind not in _LAYERED or (kind is FunctionType and not value.__closure__)
            if bare and not compilers:
                continue
            for thing in _layers(value, 4):
                wanted = type(thing) is _LRU or (compilers and _compiler_of(thing))
                if wanted and id(thing) not in seen:
                    seen.add(id(thing))
                    yield thing


def _compiler_of(thing):
    # type: (object) -> str | None
    kind = type(thing)
    if kind is FunctionType:
        return "torch" if "_torchdynamo_orig_callable" in vars(thing) else None
    package = str(kind.__module__).partition(".")[0]
    return package if package in _COMPILERS else None


def _bound():
    # type: () -> Iterator[tuple[str, object]]
    """What is bound to names in the project's modules and classes."""
    for namespace in _namespaces():
        yield from list(namespace.items())


def _namespaces():
    # type: () -> Iterator[Any]
    """Those of the project's modules and of their own classes."""
    for module in lookups.project_modules():
        namespace = vars(module)
        yield namespace
        own = namespace.get("__name__")
        others = [value for value in list(namespace.values()) if type(value) not in _COMMON]
        for value in others:
            if isinstance(value, type):
                inner = namespace_of(value)
                if inner.get("__module__") == own:
                    yield inner


def _layers(value, depth):
    # type: (Any, int) -> Iterator[object]
    """``value``, and what it is wrapped around: methods, properties, decorators' closures."""
    yield value
    kind = type(value)
    if depth == 0:
        return
    inner = []  # type: Iterable[object]
    if kind is FunctionType:
        inner = _contents(value)
    elif kind is staticmethod or kind is classmethod:
        inner = [value.__func__]
    elif kind is property:
        inner = [value.fget, value.fset]
    elif kind is _LRU or kind is functools.cached_property:
        inner = [getattr(value, "__wrapped__", None) or getattr(value, "func", None)]
    elif kind is functools.partial:
        inner = [value.func]
    elif kind in (list, tuple, dict) and len(value) <= 100:
        inner = [x for x in (value.values() if kind is dict else value) if type(x) not in _ATOMS]
    for thing in inner:
        yield from _layers(thing, depth - 1)


def _contents(function):
    # type: (FunctionType) -> list[object]
    """What a function has closed over."""
    found = []  # type: list[object]
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            pass
    return found


class _Calls:
    """Which name leads to which, over all of the project."""

    def __init__(self, bound, names, changed):
        # type: (list[tuple[str, object]], set[str], set[int]) -> None
        self._changed = names
        self._targets = changed
        self._values = {}  # type: dict[str, list[object]]
        for name, value in bound:
            self._values.setdefault(name, []).append(value)
        #: name → the names that are used by what it stands for; None: it leads to what has changed
        self._used = {}  # type: dict[str, set[str] | None]

    def reach(self, thing, code):
        # type: (object, CodeType) -> bool
        """Whether a cached function, whose code that is, may call what has changed."""
        if any(name.startswith("__") for name in self._changed):
            return True  # Operators call these, by no name.
        # What it has closed over, and what it was called with.
        used = self._used_by([thing])
        if used is None:
            return True
        waiting = [code.co_name, *_names_in(code), *used]
        seen = set()  # type: set[str]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name not in self._used:
                self._used[name] = self._used_by(self._values.get(name, []))
            used = self._used[name]
            if name in self._changed or used is None:
                return True
            waiting.extend(used)
        return False

    def _used_by(self, values):
        # type: (list[object]) -> set[str] | None
        """The names that the functions in these values use; None if one of them has changed."""
        used = set()  # type: set[str]
        for value in values:
            functions = _functions_in(value)
            if functions is None or any(id(function) in self._targets for function in functions):
                return None
            for function in functions:
                used.add(function.__name__)
                used.update(_names_in(function.__code__))
        return used


def _names_in(code):
    # type: (CodeType) -> Iterator[str]
    for inner in codes.inside(code):
        yield from inner.co_names
        yield from inner.co_freevars


def _functions_in(value):
    # type: (object) -> list[FunctionType] | None
    """The functions that can be got at from a value; None if there is too much to look through."""
    if type(value) is FunctionType and not value.__closure__ and not value.__defaults__:
        return [value]
    found = []  # type: list[FunctionType]
    seen = set()  # type: set[int]
    waiting = [(value, 0)]
    while waiting:
        thing, depth = waiting.pop()
        kind = type(thing)
        if kind in _ATOMS or id(thing) in seen or isinstance(thing, type):
            continue  # What a class holds is bound to names in it.
        seen.add(id(thing))
        if depth > _DEEPEST or len(seen) > _MOST:
            return None
        if kind is FunctionType:
            found.append(thing)  # type: ignore[arg-type]
            world = thing.__globals__  # type: ignore[attr-defined]
            inner = [x for x in gc.get_referents(thing) if x is not world and x is not _BUILTINS]
        else:
            inner = gc.get_referents(thing)
        waiting.extend((x, depth + 1) for x in inner)
    return found
