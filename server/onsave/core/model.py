"""What the session knows of its app: plain data, changed only by ``step``.

The invariant is *level, not edge*: ``Run.loaded`` says what a run was built from, ``App.saved``
what is on disk as far as we were told; a path that is in both with different digests is *stale*,
and stale paths of the newest run are the only reason to act. Events are hints that this may have
changed, so a double event, an undo, a save during start-up or a report that comes late need no case
of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from onsave_agent.protocol import ABSENT

__all__ = [
    "ABSENT",
    "Action",
    "App",
    "Asked",
    "Evidence",
    "FailedException",
    "Failure",
    "Frame",
    "Loaded",
    "Options",
    "Phase",
    "Problem",
    "Run",
    "State",
    "Verdict",
    "Wanted",
]


class Action(str, Enum):
    """What one save means."""

    IGNORE = "ignore"
    PATCH = "patch"
    RESTART = "restart"
    HOLD = "hold"


class State(str, Enum):
    """What an editor shows: one word for the whole session."""

    STARTING = "starting"  # the first run, or one after a broken one, is on its way
    READY = "ready"  # it listens
    RUNNING = "running"  # it is up, and is no server
    RESTARTING = "restarting"  # a newer run is on its way, or the old one on its way out
    HELD = "held"  # the app runs, but not what was saved: something must be mended
    BROKEN = "broken"  # no app is alive; a mending save starts it
    ENDED = "ended"  # it ended by itself and well, and waits for a save (--rerun) or is over


class Phase(str, Enum):
    """One run's life. A run only ever goes down this list."""

    STARTING = "starting"
    WAITING = "waiting"  # it stands before its first accept, until the old run has gone
    UP = "up"  # it listens, or has settled
    STOPPING = "stopping"
    GONE = "gone"


@dataclass(frozen=True)
class Options:
    """The part of the configuration that decisions depend on."""

    overlap: bool = True
    patch: bool = True
    on_exit: str = "wait"  # "wait" | "restart" | "end"
    once: bool = False
    rerun: bool = False
    hot: tuple[str, ...] = ()
    stop_timeout: float = 5.0  # seconds
    linger: float = 1.0  # seconds that a call may go on with an old body after a patch


@dataclass(frozen=True)
class Evidence:
    """A place that shows why: ``path`` absolute, ``line`` 1-based."""

    path: str
    line: int
    message: str


@dataclass(frozen=True)
class Verdict:
    """What one save means, and why. Made once, by ``onsave.core.verdict``; shown everywhere.

    ``reason`` is a short phrase for people ("not loaded", "module-level code changed");
    ``functions`` are the qualified names that a patch swaps.
    """

    action: Action
    path: str
    reason: str
    run: int
    evidence: tuple[Evidence, ...] = ()
    functions: tuple[str, ...] = ()


@dataclass(slots=True)
class Loaded:
    """One path that is part of a run.

    ``digests`` maps the process that loaded it to the digest of what it loaded: a worker that
    imports late may hold other code than its siblings. None: not known (a library file that
    nobody had edited when it was imported).
    """

    kind: str  # "module" | "main" | "extension" | "data" | "missing" | "extra"
    module: str | None = None
    importer: str | None = None  # "path:line"
    digests: dict[int, str | None] = field(default_factory=dict)
    reread: bool = False  # the app reads it anew on each use


@dataclass(frozen=True)
class Frame:
    path: str
    line: int
    function: str
    end_line: int | None = None
    column: int | None = None  # characters, 1-based
    end_column: int | None = None


@dataclass(frozen=True)
class Failure:
    """Why a run failed, or what went wrong in one that lives on.

    ``exceptions`` is the chain, what was raised last first; empty where the end had no Python
    exception (a signal, ``sys.exit(3)``), and ``summary`` says it all.
    """

    summary: str
    where: str = "main"
    text: str = ""
    fatal: bool = True
    exceptions: tuple[FailedException, ...] = ()


@dataclass(frozen=True)
class FailedException:
    type: str
    message: str
    relation: str | None  # None | "cause" | "context" | "group"
    frames: tuple[Frame, ...]
    # path, line, column, end_line, end_column of a SyntaxError; characters, 1-based
    syntax: tuple[str, int, int, int, int] | None = None


@dataclass(frozen=True)
class Problem:
    """Something to be mended, at its place, until it is: becomes a diagnostic.

    ``range`` is (line, column, end line, end column), 0-based, in characters.
    """

    path: str
    range: tuple[int, int, int, int]
    message: str
    kind: str  # "syntax" | "failure" | "config" | "note"
    severity: str = "error"  # "error" | "warning" | "information"
    related: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """A run that is to be started as soon as it can be."""

    cause: str
    verdicts: tuple[Verdict, ...] = ()
    stale: tuple[str, ...] = ()
    forced: bool = False  # whatever is stale: asked for, or the configuration changed
    out_of_debugger: bool = False


@dataclass
class Run:
    """One life of the app."""

    number: int
    wanted: Wanted  # why it was started
    beside: int | None = None  # the run that it was started beside
    phase: Phase = Phase.STARTING
    pid: int | None = None  # of the root process
    had_agent: bool = False
    processes: set[int] = field(default_factory=set)  # those whose agent is connected
    loaded: dict[str, Loaded] = field(default_factory=dict)
    listening: dict[str, bool] = field(default_factory=dict)  # address → do we hold its socket?
    serving: set[int] = field(default_factory=set)  # the processes that have begun to accept
    waiting: list[int] = field(default_factory=list)  # ids of those that wait to accept
    workers: int = 1  # how many will
    drained: bool = False  # nobody can get an answer from it any more
    failure: Failure | None = None
    status: int | None = None  # its exit status once gone, 128 + n after a signal
    paused: str | None = None  # where a debugger holds it
    from_snapshot: str | None = None  # as in events.Started
    midway: str | None = None  # of no server: a function that had run before it was patched

    @property
    def alive(self) -> bool:
        return self.phase is not Phase.GONE

    @property
    def up(self) -> bool:
        return self.phase is Phase.UP

    def stale(self, saved: dict[str, str]) -> tuple[str, ...]:
        """The paths that are part of this run with another content than was saved last."""
        return tuple(sorted(path for path in saved if self.is_stale(path, saved[path])))

    def is_stale(self, path: str, digest: str) -> bool:
        entry = self.loaded.get(path)
        if entry is None or entry.reread:
            return False
        return any(known != digest for known in entry.digests.values())


@dataclass(frozen=True)
class Asked:
    """A question that is under way: one at a time of each kind."""

    id: int
    run: int
    paths: tuple[str, ...]
    verdicts: tuple[Verdict, ...] = ()


#: What was decided last, so that it is not decided again: a run and its stale paths with digests.
Judged = tuple[int, frozenset[tuple[str, str]]]


@dataclass
class App:
    """Everything that the session knows."""

    options: Options = field(default_factory=Options)
    runs: dict[int, Run] = field(default_factory=dict)  # those alive, and the newest
    last_number: int = 0
    newest: int = 0  # the run whose stale paths we act upon
    serving: int | None = None  # the run that is up, if one is
    saved: dict[str, str] = field(default_factory=dict)
    # Saved, but nobody had loaded it, so it was not read: if a run reports it after all, it is.
    unread: set[str] = field(default_factory=set)
    held: dict[str, Problem] = field(default_factory=dict)  # what does not compile
    config_problems: tuple[Problem, ...] = ()
    last_verdicts: list[Verdict] = field(default_factory=list)  # the newest last, a few

    # What is under way.
    wanted: Wanted | None = None
    quiet: bool = True  # no stale save came within the last moment
    overtaken: int = 0  # how many runs in a row became stale before they were up
    extended: int = 0  # how often the quiet moment was begun again
    checking: Asked | None = None
    patching: Asked | None = None
    syncing: Asked | None = None
    lingering: dict[int, Asked] = field(default_factory=dict)  # patches whose old bodies live on
    judged: Judged | None = None
    # Saves whose verdict is not known yet: path → batches.
    unjudged: dict[str, list[int]] = field(default_factory=dict)  # stale, to be checked
    unknown: dict[str, list[int]] = field(default_factory=dict)  # not loaded, to be asked for
    alone: str | None = None  # why this app can't be started beside itself, once that was learnt
    deaths: int = 0  # how often in a row it died by itself (on-exit = "restart")
    told_waiting: set[int] = field(default_factory=set)  # runs of which "waits" was told
    interrupts: int = 0
    ending: bool = False
    exit_code: int | None = None
    last_id: int = 0

    def run(self, number: int | None) -> Run | None:
        return None if number is None else self.runs.get(number)

    @property
    def newest_run(self) -> Run | None:
        return self.runs.get(self.newest)

    @property
    def serving_run(self) -> Run | None:
        return self.run(self.serving)

    @property
    def busy(self) -> bool:
        """Whether an action is under way or about to be."""
        newest = self.newest_run
        return bool(
            self.wanted
            or self.checking
            or self.patching
            or (newest and newest.phase in (Phase.STARTING, Phase.WAITING, Phase.STOPPING))
        )

    def concerns(self, path: str) -> bool:
        """Whether the content of ``path`` matters to any run: if not, nobody needs to read it."""
        return path in self.saved or any(path in run.loaded for run in self.runs.values())

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id
