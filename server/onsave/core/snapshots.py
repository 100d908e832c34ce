"""Where a snapshot is to stand, what is imported in it ahead, and when it may become the app.

A snapshot is the app's command once more, which has run ahead up to some module, or stands before
any of the app's code (see ``onsave_agent.snapshot``). Pure: what is true of processes and files is
told to these functions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from onsave.core.model import Failure, Run

#: A resumed run has this long to be up: so many times what a cold start took, but at least …
TIMES_COLD = 3.0
AT_LEAST = 5.0  # seconds
#: After so many trials something is different each time: then it is not worth it.
MOST_TRIALS = 6
#: Memory that has to stay free, in bytes, and what a snapshot takes at most, by the app's own.
LEFT_FREE = 256 * 1024 * 1024
OF_THE_APP = 1.0

#: A file as the system describes it: device, inode, size, time of content, time of any change (ns).
Stat = tuple[int, int, int, int, int]


#: What was edited for so many last actions may well be edited next.
LATEST = 3
#: More than these would stand where others do: before what was edited lately, before any of the
#: project's modules, before the file edited last.
MOST = 3


class Edits:
    """The files that were edited lately: a snapshot is to stand before all of them."""

    def __init__(self) -> None:
        self._latest: deque[frozenset[str]] = deque(maxlen=LATEST)

    def note(self, paths: Iterable[str]) -> None:
        """The app was restarted, or patched, for these."""
        edited = frozenset(paths)
        if edited and (not self._latest or self._latest[-1] != edited):
            self._latest.append(edited)

    def targets(self, most: int) -> list[frozenset[str]]:
        """Before which files snapshots are to stand, up to ``most``, the most useful one first;
        none of them: before the project's first module, which is good for any edit."""
        every = frozenset[str]().union(*self._latest)
        last = self._latest[-1] if self._latest else every
        return list(dict.fromkeys([every, frozenset[str](), last]))[:most]


@dataclass(frozen=True)
class Scouted:
    """How far a start can run ahead, and what it depended on so far.

    until:    what it was to stop before
    before:   the module that it came to; None where it came to none
    library:  whether that is a library's: in the midst of it, others can't be imported ahead
    reason:   why no further; None where it is one of ``until``, or there was nothing to stop before
    where:    "path:line" of that
    project:  the project's modules that were executed on the way
    files:    what it read, and looked for in vain
    listings: folders that were listed, with the names in them
    """

    until: frozenset[str]
    before: str | None = None
    library: bool = False
    reason: str | None = None
    where: str | None = None
    project: tuple[str, ...] = ()
    files: Mapping[str, Stat | None] = field(default_factory=dict)
    listings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def why(self) -> str:
        """Why there is nothing to be gained."""
        where = f" ({self.where})" if self.where else ""
        return f"nothing can be run ahead: {self.reason}{where}"


@dataclass
class Knowledge:
    """What was learnt about importing ahead in this session.

    names:   the libraries' modules that runs have imported, in the order in which they asked
    tried:   those that a trial has looked at
    skipped: those that are left to the app, with the reason
    looks:   (name, at what) of those that look at the working directory, the locale …
    opened:  files outside libraries and workspace that were read as they were imported
    """

    names: list[str] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    looks: tuple[tuple[str, str], ...] = ()
    opened: tuple[str, ...] = ()
    trials: int = 0
    absent: set[str] = field(default_factory=set)  # which the last run had not imported (so far)

    def heard(self, run: Run) -> None:
        """Take over what a run has imported.

        The order is that of the first run that reported it: one that was resumed reports what it
        was served in another. A module is forgotten when two runs in a row had no use for it: a
        worker may be late.
        """
        now = library_modules(run)
        there = set(now)
        known = set(self.names)
        gone = known - there
        self.names = [name for name in self.names if name not in gone & self.absent]
        self.names += [name for name in now if name not in known]
        self.absent = gone

    @property
    def ahead(self) -> list[str]:
        """What is to be imported ahead."""
        return [name for name in self.names if name not in self.skipped]

    def wants_trial(self) -> bool:
        return any(name not in self.tried for name in self.ahead)

    def took(self, names: Iterable[str], good: Collection[str], skipped: Mapping[str, str]) -> None:
        """The result of a trial of ``names``. One that it says nothing of was not there."""
        self.skipped.update(skipped)
        for name in names:
            self.tried.add(name)
            if name not in good:
                self.skipped.setdefault(name, "not imported by its name")
        self.trials += 1

    def unlike(self, modules: Mapping[str, str]) -> None:
        """A run turned out to be other than the last one: leave these to it, and try once more."""
        self.skipped.update(modules)
        self.tried.clear()


def library_modules(run: Run) -> list[str]:
    """The modules of the run that are nobody's to edit: those reported without a digest."""
    return [
        entry.module
        for entry in run.loaded.values()
        if entry.kind == "module"
        and entry.module is not None
        and all(digest is None for digest in entry.digests.values())
    ]


def changed(before: Mapping[str, Stat | None], now: Mapping[str, Stat | None]) -> str | None:
    """The first file that is not as it was."""
    return next((path for path, stat in before.items() if now.get(path) != stat), None)


def too_new(files: Mapping[str, Stat | None], started: int) -> str | None:
    """The first file that changed at or after ``started`` (ns): nobody knows what was read."""
    return next((path for path, stat in files.items() if stat and stat[4] >= started), None)


def is_enough_memory(available: int, app: int) -> bool:
    return available - app * OF_THE_APP > LEFT_FREE


def patience(cold: float) -> float:
    """How long a resumed run may take to be up, in seconds, where a cold start took ``cold``."""
    return max(TIMES_COLD * cold, AT_LEAST)


def is_doubtful(failure: Failure, signal: str | None, workspace: Collection[str]) -> bool:
    """Whether a resumed run may have failed for having been resumed: it crashed, or a library's
    module failed as it was executed. All else is the app's own doing."""
    if signal in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"):
        return True
    for raised in failure.exceptions[:1]:
        if raised.frames and raised.syntax is None:
            deepest = raised.frames[-1]
            own = deepest.path.startswith(tuple(workspace)) and "site-packages" not in deepest.path
            return not own and deepest.function == "<module>"
    return False
