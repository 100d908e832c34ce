"""Code objects: compiling a source, finding the functions in it, and which became which."""

import _imp
from sys import version_info

from onsave_agent.protocol import digest

__all__ = ["Pair", "Refused", "by_key", "compiled", "differs", "digest", "equal", "futures",
           "inside", "is_function", "key", "pairs"]  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Iterator

_OPTIMIZED = 0x01  # CO_OPTIMIZED: functions, and not modules and class bodies
_FUTURES = 0x01000000  # CO_FUTURE_ANNOTATIONS


class Refused(Exception):
    """The patch can't be proven right. ``evidence``: [path, line, message] each."""

    def __init__(self, reason, evidence=()):
        # type: (str, object) -> None
        super().__init__(reason)
        self.reason = reason
        self.evidence = [list(place) for place in evidence]  # type: ignore[attr-defined]


def compiled(source, filename):
    # type: (bytes, str) -> CodeType
    """The module code of ``source``, as if read from ``filename``. Raises Refused."""
    from onsave_agent import check

    # Under a name of ours, whose warnings are silenced: the app has seen them, or will.
    filters = check._silence()
    try:
        code = compile(source, check._NAME, "exec", dont_inherit=True, optimize=-1)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise Refused("does not compile: %s" % error) from None
    finally:
        if filters is not None:
            filters.remove(check._FILTER)
    _imp._fix_co_filename(code, filename)  # type: ignore[attr-defined]
    return code


def inside(code):
    # type: (CodeType) -> Iterator[CodeType]
    """All code objects in ``code``, itself first, in the order in which they were compiled."""
    waiting = [code]
    kind = type(code)
    while waiting:
        code = waiting.pop()
        yield code
        waiting.extend([c for c in reversed(code.co_consts) if type(c) is kind])


def is_function(code):
    # type: (CodeType) -> bool
    """Whether ``code`` is the body of a ``def`` or a lambda: no module, class or comprehension."""
    name = code.co_name
    return bool(code.co_flags & _OPTIMIZED) and (name[0] != "<" or name == "<lambda>")


def key(code):
    # type: (CodeType) -> tuple[str, int]
    return code.co_name, code.co_firstlineno


def by_key(module_code):
    # type: (CodeType) -> dict[tuple[str, int], list[CodeType]]
    """The functions of a module by name and first line: one each, but for lambdas on one line."""
    found = {}  # type: dict[tuple[str, int], list[CodeType]]
    for code in inside(module_code):
        if is_function(code):
            found.setdefault(key(code), []).append(code)
    return found


class Pair:
    """A function of the old source, and what it is in the new one (None: it is gone there)."""

    __slots__ = ("header", "hot", "is_changed", "new", "old", "qualname", "state")

    def __init__(self, old, new, qualname, state, hot=False, body=False, header=""):
        # type: (CodeType, CodeType | None, str, str, bool, bool, str) -> None
        self.old = old
        self.new = new
        self.qualname = qualname
        self.state = state  # "same" | "changed" | "redefined" | "gone" | "removed"
        self.hot = hot
        self.header = header
        #: Does it do something else when it is called?
        self.is_changed = state == "changed" or (state == "redefined" and body)


def pairs(old_code, new_code, order):
    # type: (CodeType, CodeType, dict[str, Any]) -> list[Pair]
    """Every function of the old module code with its successor, as the ``order`` says.

    Raises Refused where the order and the code objects do not agree.
    """
    olds, news = by_key(old_code), by_key(new_code)
    moved = {}  # type: dict[tuple[str, int], list[list[Any]]]
    for entry in order["moved"]:
        moved.setdefault((entry[1], entry[2]), []).append(entry)
    gone = {(entry[1], entry[2]): (entry[0], "gone") for entry in order["gone"]}
    gone.update({(name, line): (name, "removed") for name, line in order["removed"]})
    made = []
    for where, codes in olds.items():
        if where in gone and where in moved:
            raise Refused("%s (line %d): several of the same name on one line" % where)
        if where in gone:
            made += [Pair(code, None, *gone[where]) for code in codes]
        elif where in moved:
            made += _moved(codes, moved[where], news)
        else:
            name, line = where
            delta = _shift(order["blocks"], line)
            same = news.get((name, line + delta), []) if delta is not None else []
            if len(same) != len(codes):
                raise Refused("%s (line %d) cannot be paired with its successor" % where)
            made += [Pair(codes[i], same[i], name, "same") for i in range(len(codes))]
    return made


def _moved(codes, entries, news):
    # type: (list[CodeType], list[list[Any]], dict[tuple[str, int], list[CodeType]]) -> list[Pair]
    name, line, new_line = entries[0][1:4]
    found = news.get((name, new_line), [])
    if {entry[3] for entry in entries} != {new_line} or not (
        len(entries) == len(codes) == len(found)
    ):
        raise Refused("%s (line %d): several of the same name on one line" % (name, line))
    made = []
    for i, entry in enumerate(entries):
        qualname, _name, _old_line, _new_line, state, hot, body, header = entry
        made.append(Pair(codes[i], found[i], qualname, state, hot, body, header))
    return made


def _shift(blocks, line):
    # type: (list[list[int]], int) -> int | None
    """By how many lines the text at ``line`` of the old source has moved."""
    for first, last, delta in blocks:
        if first <= line <= last:
            return delta
    return None


def equal(one, other):
    # type: (CodeType, CodeType) -> bool
    """Whether two code objects do the same, at the same positions.

    ``==`` won't do: in 3.11 it also compares what the interpreter has noted in code that is hot.
    """
    return (
        [getattr(one, name) for name in _PARTS] == [getattr(other, name) for name in _PARTS]
        and one.co_code == other.co_code
        and len(one.co_consts) == len(other.co_consts)
        and all(map(_same_constant, one.co_consts, other.co_consts))
    )


_PARTS = [
    "co_name", "co_firstlineno", "co_flags", "co_argcount", "co_posonlyargcount",
    "co_kwonlyargcount", "co_stacksize", "co_names", "co_varnames", "co_freevars", "co_cellvars",
]  # fmt: skip
_PARTS += ["co_linetable" if version_info >= (3, 10) else "co_lnotab"]
_PARTS += ["co_qualname", "co_exceptiontable"] if version_info >= (3, 11) else []


def _same_constant(one, other):
    # type: (object, object) -> bool
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is type(equal.__code__):
        return equal(one, other)  # type: ignore[arg-type]
    if kind is tuple:
        return len(one) == len(other) and all(map(_same_constant, one, other))  # type: ignore[arg-type, call-overload]
    return one == other and (kind not in (float, complex) or repr(one) == repr(other))


def differs(old, new, redefined=False):
    # type: (CodeType, CodeType, bool) -> str | None
    """Why functions that run ``old`` can't run ``new`` instead; None if they can.

    CPython itself only compares the number of free variables.
    """
    if old.co_freevars != new.co_freevars:
        return "uses other variables of the functions around it"
    if redefined:
        return None
    # What calling gives: a generator, a coroutine …; and nothing but *args and **kwargs besides.
    if (old.co_flags ^ new.co_flags) & (0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200):
        return "is called in another way"
    if _parameters(old) != _parameters(new):
        return "has other parameters"
    return None


def _parameters(code):
    # type: (CodeType) -> tuple[object, ...]
    stars = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)
    count = code.co_argcount + code.co_kwonlyargcount + stars
    return (
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_varnames[:count],
    )


def futures(code):
    # type: (CodeType) -> int
    """The flags that ``compile`` needs to compile something in the same way as ``code`` was."""
    return code.co_flags & _FUTURES
