"""A change of a module, as a value, and what the app's processes are told to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from onsave_agent import protocol


class Restart(Exception):
    """The first difference that needs a restart, and its line in the new source."""

    def __init__(self, reason: str, line: int | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True)
class Moved:
    """A function that is in both sources. Lines are those of ``co_firstlineno``, so that name and
    line find its code object in either. The states:

    "same":      it does what it did
    "changed":   its body is another one (bodies of functions inside it apart)
    "redefined": as "changed", or the same body, with other parameters, defaults, annotations or
                 docstring. ``header`` is its ``def`` line, and has no effects when it is run.
                 Sound if nobody holds the function but the namespace that it is defined in.
    """

    qualname: str
    name: str
    old_line: int
    new_line: int
    state: str = "same"
    header: str = ""
    body: bool = True  # redefined only: is the body, or what it is called with, another one?


@dataclass
class Found:
    """Functions that a comparison has come upon so far; see ``Change`` for the three."""

    moved: list[Moved] = field(default_factory=list)
    gone: list[tuple[str, str, int]] = field(default_factory=list)
    blocks: list[tuple[int, int, int]] = field(default_factory=list)

    def mark(self) -> tuple[int, int, int]:
        return len(self.moved), len(self.gone), len(self.blocks)

    def back_to(self, mark: tuple[int, int, int]) -> None:
        del self.moved[mark[0] :], self.gone[mark[1] :], self.blocks[mark[2] :]


@dataclass(frozen=True)
class Added:
    """A new function or method that nothing in the old source mentions."""

    qualname: str
    name: str
    new_line: int
    header: str


@dataclass(frozen=True)
class Import:
    """An import. ``name``: what is taken from ``module``; "" for the module itself.

    ``bound`` is the name that it is bound to, ``value`` the module to bind where ``name`` is "".
    ``kept``: another import of the same module is in both sources, at or before that place.
    """

    bound: str
    module: str
    name: str
    value: str
    line: int
    kept: bool = False

    @property
    def what(self) -> tuple[str, str, str, str]:
        """All but its place."""
        return self.bound, self.module, self.name, self.value


@dataclass(frozen=True)
class Change:
    """``kind``:

    "same":      the same code at the same positions
    "positions": the same code, at other positions or in another layout. Import lists may be sorted
                 anew, as long as no name in them is bound twice.
    "bodies":    ``functions`` is what a patch would swap, add or remove; ``added`` and ``imports``
                 what it would bind anew; ``removed`` (functions' names and old lines) and
                 ``unbound`` what is gone (``bound`` is "" where another import binds the same)
    "restart":   anything else. ``reason`` is a short phrase, ``line`` the first place in the new
                 source (1-based, None where there is none).
    """

    kind: str
    functions: tuple[str, ...] = ()
    reason: str = ""
    line: int | None = None
    moved: tuple[Moved, ...] = ()
    #: (qualname, name, old line) of functions inside changed ones that are gone, or are called in
    #: another way now: none of them may be alive.
    gone: tuple[tuple[str, str, int], ...] = ()
    #: (first line, last line, by how many lines it moved) of text that is the same.
    blocks: tuple[tuple[int, int, int], ...] = ()
    added: tuple[Added, ...] = ()
    removed: tuple[tuple[str, int], ...] = ()
    imports: tuple[Import, ...] = ()
    unbound: tuple[Import, ...] = ()
    #: What has to be False (TYPE_CHECKING), as code under it is another one.
    unrun: tuple[str, ...] = ()
    #: Where functions stand in another order: "" the module, "A." a class.
    reordered: tuple[str, ...] = ()
    #: Docstrings: qualified name of a class, or "" for the module's, and the new text.
    documented: tuple[tuple[str, str | None], ...] = ()

    def in_words(self) -> str:
        """What a patch would do: "body of home changed, import added"."""
        added, removed = [a.qualname for a in self.added], [name for name, _line in self.removed]
        changed = [name for name in self.functions if name not in {*added, *removed}]
        said = []
        if changed:
            said.append(f"{'body' if len(changed) == 1 else 'bodies'} of {_some(changed)} changed")
        if added:
            said.append(f"{_some(added)} added")
        if removed:
            said.append(f"{_some(removed)} removed")
        if self.imports or self.unbound:
            said.append("imports changed")
        if self.documented:
            said.append("documentation changed")
        return ", ".join(said) or "code that is only for type checkers changed"


def _some(names: Sequence[str]) -> str:
    """
    >>> _some(["a", "b"]), _some(["a", "b", "c", "d"])
    ('a and b', 'a, b and 2 more')
    """
    if len(names) > 3:
        names = [*names[:2], f"{len(names) - 2} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def order(
    path: str,
    old: bytes,
    new: bytes,
    change: Change,
    *,
    module: str | None = None,
    hot: Sequence[str] = (),
) -> dict[str, Any]:
    """What the agent is told of one file: an element of the message "patch"'s ``files``.

    ``hot`` are the user's patterns ("shop.pricing:*") for functions that may be patched although
    they had run before the app was ready.
    """
    patterns = hot_patterns(module, hot)
    return {
        "path": path,
        "old_digest": protocol.digest(old),
        "digest": protocol.digest(new),
        # Bytes as characters, the one text form that JSON carries and that loses nothing.
        "old": old.decode("latin-1"),
        "new": new.decode("latin-1"),
        "moved": [
            [m.qualname, m.name, m.old_line, m.new_line, m.state, is_hot(m.qualname, patterns),
             m.body, m.header]
            for m in change.moved
        ],
        "gone": [list(g) for g in change.gone],
        "blocks": [list(b) for b in change.blocks],
        "added": [[a.qualname, a.name, a.new_line, a.header] for a in change.added],
        "removed": [list(r) for r in change.removed],
        "imports": [[i.bound, i.module, i.name, i.value, i.kept] for i in change.imports],
        "unbound": [[i.bound, i.module, i.name, i.value, i.kept] for i in change.unbound],
        "unrun": list(change.unrun),
        "reordered": list(change.reordered),
        "documented": [list(d) for d in change.documented],
    }  # fmt: skip


def hot_patterns(module: str | None, hot: Sequence[str]) -> list[str]:
    """Those parts of the user's "MODULE:FUNCTION" patterns that are about functions of ``module``.

    >>> hot_patterns("shop.pricing", ["shop.*:total", "other:*", "shop.pricing"])
    ['total', '*']
    """
    parts = [pattern.partition(":") for pattern in hot]
    return [name or "*" for where, _, name in parts if fnmatchcase(module or "", where)]


def is_hot(qualname: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(qualname, pattern) for pattern in patterns)
