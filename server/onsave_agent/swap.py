"""Who runs a piece of code: the functions that hold it, and the calls that are under way in it.

Functions are looked for in two ways. The short way starts at the module's namespace and follows
what wraps functions: decorators' closures, methods, properties, registries. Whether it found all is
proved by counting: each reference to a code object must be accounted for. Else the garbage
collector's list of everything is searched, which is complete, as no function escapes it, and takes
tens of milliseconds in a large app.
"""

import builtins
import gc
import sys
from _thread import get_ident
from collections import deque
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    ModuleType,
)

from onsave_agent import codes, ran
from onsave_agent.origins import namespace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

#: The short way gives up after so many objects.
_MOST = 5000
_DEEPEST = 5

#: They lead on to no functions, or are nothing to follow.
ATOMS = frozenset(
    [int, str, float, bool, bytes, bytearray, complex, type(None), type(...), CodeType, FrameType,
     ModuleType, range, slice, type(NotImplemented), GeneratorType, CoroutineType]
)  # fmt: skip
_BUILTINS = builtins.__dict__
_TRACKED = 1 << 14  # Py_TPFLAGS_HAVE_GC: the collector knows the instances of such a class
_GENERATORS = {GeneratorType: "gi", CoroutineType: "cr", AsyncGeneratorType: "ag"}


class Holders:
    """Functions of one file, and what is under way in them, as of now."""

    def __init__(self, filename, namespaces):
        # type: (str, list[dict[str, object]]) -> None
        self.filename = filename
        self.namespaces = namespaces
        self.functions = []  # type: list[FunctionType]
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
        expected = self._expected()
        alive = {id(code): code for code in self.codes()}
        for module in ran.trees.get(self.filename, ()):
            # Those of functions that the namespace knows no more, but a registry might.
            alive.update((id(c), c) for c in codes.inside(module) if codes.is_function(c))
        return references(alive, expected)

    def _expected(self):
        # type: () -> dict[int, int]
        """How many references to each code object are known of."""
        holding = [function.__code__ for function in self.functions]
        holding += [frame.f_code for frame in self.frames]
        expected = {}  # type: dict[int, int]
        for code in holding:
            expected[id(code)] = expected.get(id(code), 0) + 1
        contain(holding + ran.trees.get(self.filename, []), expected)
        return expected

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
            if kind in ATOMS or id(thing) in seen or depth > _DEEPEST:
                continue
            seen.add(id(thing))
            visited += 1
            for inner in self._inside(thing, kind, names):
                if type(inner) not in ATOMS:
                    waiting.append((inner, depth + 1))

    def _inside(self, thing, kind, names):
        # type: (object, type, set[object]) -> Iterable[object]
        """What may lead on to functions from here."""
        if kind is FunctionType:
            if thing.__code__.co_filename == self.filename:  # type: ignore[attr-defined]
                self.functions.append(thing)  # type: ignore[arg-type]
            seen = thing.__globals__  # type: ignore[attr-defined]
            return [x for x in gc.get_referents(thing) if x is not seen and x is not _BUILTINS]
        if issubclass(kind, type):
            namespace = namespace_of(thing)
            if namespace.get("__module__") in names:
                return list(namespace.values())
            return ()
        if kind is dict:
            return list(thing.values()) if len(thing) <= 2000 else ()  # type: ignore[attr-defined, arg-type]
        if kind in (list, tuple, set, frozenset):
            return list(thing) if len(thing) <= 2000 else ()  # type: ignore[call-overload, arg-type]
        # The class of an instance is not where its functions are looked for, if it is another's.
        return [x for x in gc.get_referents(thing) if x is not kind]


def contain(parents, expected):
    # type: (list[CodeType], dict[int, int]) -> None
    """Count each code object in these: its parent holds it as a constant."""
    every = {id(inner): inner for parent in parents for inner in codes.inside(parent)}
    for parent in every.values():
        for inner in parent.co_consts:
            if type(inner) is CodeType:
                expected[id(inner)] = expected.get(id(inner), 0) + 1


def references(alive, expected):
    # type: (dict[int, CodeType], dict[int, int]) -> bool
    """Whether more hold one of these than ``expected``, and nobody but ``alive`` itself."""
    while alive:
        code = alive.popitem()[1]
        # Two: the name here, and the argument of getrefcount.
        if sys.getrefcount(code) - 2 > expected.get(id(code), 0):
            return True
    return False


def _frames_in(filename):
    # type: (str) -> list[FrameType]
    """The calls under way in the file's functions, on all stacks but ours."""
    found = []
    stacks = sys._current_frames()
    # Not ours: nothing of the file is on it, and a frame that names itself would never go.
    stacks.pop(get_ident(), None)
    for frame in stacks.values():
        while frame is not None:
            if frame.f_code.co_filename == filename:
                found.append(frame)
            frame = frame.f_back  # type: ignore[assignment]
    return found


def instances(kind):
    # type: (type) -> list[object] | None
    """All instances of a class and of those derived from it; None where that can't be known."""
    if gc.get_freeze_count():
        gc.unfreeze()
    kinds = [kind]
    for known in kinds:
        kinds.extend(k for k in type.__subclasses__(known) if k not in kinds)
    if not all(k.__flags__ & _TRACKED for k in kinds):
        return None
    return [thing for thing in gc.get_referrers(*kinds) if type(thing) in kinds]


def all_at_once(settings):
    # type: (list[tuple[object, str, object]]) -> None
    """Set attributes (thing, name, value) without a moment in which another thread could run.

    The loop is in C from end to end: threads take turns between bytecodes only.
    """
    if settings:
        deque(map(setattr, *zip(*settings)), maxlen=0)
