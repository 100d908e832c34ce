"""Who runs a piece of code: the functions that hold it, and the calls that are under way in it.

Functions are looked for in two ways. The short way starts at the module's namespace and follows
what wraps functions: decorators' closures, methods, properties, registries. Whether it found all is
proved by counting: each reference to a code object must be accounted for. Else the garbage
collector's list of everything is searched, which is complete, as no function escapes it, and takes
tens of milliseconds in a large app.
"""

import functools
import gc
import sys
from collections import deque
from itertools import repeat
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)

from onsave_agent import codes, ran

#: The short way gives up after so many objects.
_MOST = 5000
_DEEPEST = 5

_ATOMS = frozenset(
    [int, str, float, bool, bytes, bytearray, complex, type(None), type(...), CodeType, FrameType,
     ModuleType, range, slice, type(NotImplemented), GeneratorType, CoroutineType]
)  # fmt: skip
_class_namespace = type.__dict__["__dict__"].__get__  # not to be led astray by metaclasses
_GENERATORS = {GeneratorType: "gi", CoroutineType: "cr", AsyncGeneratorType: "ag"}


class Holders:
    """Functions of one file, and what is under way in them, as of now."""

    def __init__(self, filename, namespaces):
        # type: (str, list[dict[str, object]]) -> None
        self.filename = filename
        self.namespaces = namespaces
        self.functions = []  # type: list[FunctionType]
        self.caches = []  # type: list[object]  # lru_cache's wrappers on the way
        self.frames = _frames_in(filename)  # type: list[FrameType]
        self.generators = []  # type: list[tuple[object, CodeType]]
        self.complete = False  # whether everything was searched
        self._walk()

    def codes(self):
        # type: () -> list[CodeType]
        """The code objects of functions that live, those inside them included; each once."""
        found = {}
        for function in self.functions:
            code = function.__code__
            if id(code) not in found:
                for inner in codes.inside(code):
                    if codes.is_function(inner):
                        found[id(inner)] = inner
        return list(found.values())

    def unaccounted(self):
        # type: () -> bool
        """Whether anybody unknown holds one of these code objects, or may hold one."""
        expected = {}  # type: dict[int, int]

        def count(code):
            # type: (CodeType) -> None
            expected[id(code)] = expected.get(id(code), 0) + 1

        parents = {}  # type: dict[int, CodeType]
        for module in ran.trees.get(self.filename, ()):
            for code in codes.inside(module):
                parents[id(code)] = code
        for code in [f.__code__ for f in self.functions] + [f.f_code for f in self.frames]:
            for inner in codes.inside(code):
                parents[id(inner)] = inner
        for parent in parents.values():
            for inner in parent.co_consts:
                if type(inner) is CodeType:
                    count(inner)
        for function in self.functions:
            count(function.__code__)
        for frame in self.frames:
            count(frame.f_code)
        del parents, parent, module, code, inner, function, frame  # type: ignore # noqa: F821
        alive = self.codes()
        while alive:
            code = alive.pop()
            # What getrefcount itself and the name here hold.
            if sys.getrefcount(code) - 2 > expected.get(id(code), 0):
                return True
        return False

    def search(self):
        # type: () -> None
        """Find all of them among everything that the garbage collector knows."""
        if gc.get_freeze_count():
            gc.unfreeze()  # It does not look at what was frozen, not even if it is asked.
        self.complete = True
        filename = self.filename
        self.functions = []
        greenlet = getattr(sys.modules.get("greenlet"), "greenlet", None)
        for thing in gc.get_objects():
            kind = type(thing)
            if kind is FunctionType:
                if thing.__code__.co_filename == filename:
                    self.functions.append(thing)
            elif kind in _GENERATORS:
                prefix = _GENERATORS[kind]
                code = getattr(thing, prefix + "_code")
                if code.co_filename == filename and getattr(thing, prefix + "_frame"):
                    self.generators.append((thing, code))
            elif kind is functools._lru_cache_wrapper:
                self.caches.append(thing)
            elif greenlet is not None and issubclass(kind, greenlet):
                frame = thing.gr_frame
                while frame is not None:
                    if frame.f_code.co_filename == filename:
                        self.frames.append(frame)
                    frame = frame.f_back

    def under_way(self):
        # type: () -> list[tuple[CodeType, int]]
        """Code of calls, generators and coroutines that are alive, with the line they are at."""
        found = [(frame.f_code, frame.f_lineno or 0) for frame in self.frames]
        for thing, code in self.generators:
            frame = getattr(thing, _GENERATORS[type(thing)] + "_frame")
            if frame is not None:
                found.append((code, frame.f_lineno or code.co_firstlineno))
        return found

    def _walk(self):
        # type: () -> None
        seen = set()  # type: set[int]
        waiting = deque()  # type: deque[tuple[object, int]]
        names = {namespace.get("__name__") for namespace in self.namespaces}
        for namespace in self.namespaces:
            seen.add(id(namespace))
            waiting.extend((value, 0) for value in list(namespace.values()))
        visited = 0
        while waiting and visited < _MOST:
            thing, depth = waiting.popleft()
            kind = type(thing)
            if kind in _ATOMS or id(thing) in seen or depth > _DEEPEST:
                continue
            seen.add(id(thing))
            visited += 1
            for inner in self._inside(thing, kind, names):
                if type(inner) not in _ATOMS:
                    waiting.append((inner, depth + 1))

    def _inside(self, thing, kind, names):
        # type: (object, type, set[object]) -> object
        """What may lead on to functions from here."""
        if kind is FunctionType:
            if thing.__code__.co_filename == self.filename:  # type: ignore[attr-defined]
                self.functions.append(thing)  # type: ignore[arg-type]
            found = [thing.__dict__, thing.__defaults__, thing.__kwdefaults__]  # type: ignore
            return found + list(thing.__closure__ or ())  # type: ignore[attr-defined]
        if issubclass(kind, type):
            namespace = _class_namespace(thing)
            if namespace.get("__module__") in names:
                return list(namespace.values())
            return ()
        if kind is dict:
            return list(thing.values()) if len(thing) <= 2000 else ()  # type: ignore
        if kind in (list, tuple, set, frozenset):
            return list(thing) if len(thing) <= 2000 else ()  # type: ignore
        if kind is functools._lru_cache_wrapper:
            self.caches.append(thing)
        # The class of an instance is not where its functions are looked for, if it is another's.
        return [x for x in gc.get_referents(thing) if x is not kind]


def _frames_in(filename):
    # type: (str) -> list[FrameType]
    """The calls under way in the file's functions, on all stacks but ours."""
    found = []
    own = sys._getframe(0)
    for bottom in list(sys._current_frames().values()):
        frame = bottom  # type: FrameType | None
        while frame is not None and frame is not own:
            if frame.f_code.co_filename == filename:
                found.append(frame)
            frame = frame.f_back
    return found


def instances(kind, found=None):
    # type: (type, list[object] | None) -> bool
    """Whether there is any instance of a class or of one derived from it."""
    if gc.get_freeze_count():
        gc.unfreeze()
    kinds = {kind}
    waiting = [kind]
    while waiting:
        for derived in type.__subclasses__(waiting.pop()):
            if derived not in kinds:
                kinds.add(derived)
                waiting.append(derived)
    tracked = 1 << 14  # Py_TPFLAGS_HAVE_GC: without it nobody knows the instances
    if not all(k.__flags__ & tracked for k in kinds):
        return True
    return any(type(thing) in kinds for thing in gc.get_referrers(*kinds))


def all_at_once(things, names, values):
    # type: (list[object], list[str], list[object]) -> None
    """Set attribute by attribute without a moment in which another thread could run.

    The loop is in C from end to end: threads take turns between bytecodes only.
    """
    deque(map(setattr, things, names, values), maxlen=0)


def new_codes(functions, successors):
    # type: (list[FunctionType], list[CodeType]) -> None
    deque(map(setattr, functions, repeat("__code__"), successors), maxlen=0)


def unbound(thing):
    # type: (object) -> object
    return thing.__func__ if type(thing) is MethodType else thing  # type: ignore[attr-defined]
