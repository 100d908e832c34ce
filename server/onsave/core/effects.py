"""What the session is to do: a closed set of values that ``step`` returns.

The session performs them in order and decides nothing; what comes of one enters again as an event.
"""

from __future__ import annotations

from dataclasses import dataclass

from onsave.core.events import CheckResult
from onsave.core.model import Failure, State, Verdict


@dataclass(frozen=True)
class Start:
    """Start run ``run``. → Started or CannotStart, then what its agents report.

    cause:    why, for people
    beside:   the run that goes on meanwhile: its listening sockets are to be asked for
    stale:    the paths that changed: a snapshot in which one was loaded won't do
    """

    run: int
    cause: str
    beside: int | None = None
    stale: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stop:
    """End a run and all its processes, within the configured bound. → Gone.

    drain: first let it stop accepting and finish the requests under way
    why:   for people
    """

    run: int
    drain: bool
    why: str


@dataclass(frozen=True)
class Kill:
    """End a run now. → Gone."""

    run: int


@dataclass(frozen=True)
class Forward:
    """Hand the app an interrupt that the terminal did not deliver to it."""

    run: int


@dataclass(frozen=True)
class Release:
    """Let the processes that wait before their first accept go on."""

    run: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class CloseSockets:
    """Nobody will accept on the held sockets: let clients be refused rather than hang."""


@dataclass(frozen=True)
class AwaitSettled:
    """Send Settled(run) once nothing was loaded for a while and nothing listens.

    Also look, meanwhile, whether the run listens in a way that its agents can't see (→ Listening).
    """

    run: int


@dataclass(frozen=True)
class AwaitResumed:
    """Send Resumed(run) when the debugger has let it go."""

    run: int


@dataclass(frozen=True)
class Sync:
    """Have every process of the run reconcile its report. → FilesLoaded …, Synced(id)."""

    id: int
    run: int


@dataclass(frozen=True)
class Check:
    """Compile these files as the run's own Python would. → Checked(id)."""

    id: int
    run: int
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Patch:
    """Swap code in place in every process of the run, all files or none. → Patched | Refused.

    files: as they were checked, old and new source included
    """

    id: int
    run: int
    files: tuple[CheckResult, ...]


@dataclass(frozen=True)
class Recheck:
    """Does anything still run the old body after patch ``id``? → Patched | Refused, of that id."""

    id: int
    run: int


@dataclass(frozen=True)
class Read:
    """Digest these files. → FilesRead."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class SetTimer:
    """→ TimerFired(name) after ``seconds``; setting it again moves it."""

    name: str
    seconds: float


@dataclass(frozen=True)
class CancelTimer:
    name: str


@dataclass(frozen=True)
class Tell:
    """A verdict, as it is made. ``batches``: of the Saved events that it answers."""

    verdict: Verdict
    batches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of the action in flight: the line on the terminal is written now.

    what:    "patched" | "started" | "restarted" | "failed" | "held" | "ended" | "waits" (for a
             debugger) | "alone" (it can't run beside the old run: from now on one after the other)
    verdicts: those that led to it (empty for a first start or a restart that was asked for)
    """

    what: str
    run: int
    reason: str
    verdicts: tuple[Verdict, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True)
class StatusChanged:
    """Something that ``onsave/status`` shows is different now."""

    state: State


@dataclass(frozen=True)
class ProblemsChanged:
    """The set of problems is different now: see ``onsave.core.problems``."""


@dataclass(frozen=True)
class EndSession:
    code: int


Effect = (
    Start
    | Stop
    | Kill
    | Forward
    | Release
    | CloseSockets
    | AwaitSettled
    | AwaitResumed
    | Sync
    | Check
    | Patch
    | Recheck
    | Read
    | SetTimer
    | CancelTimer
    | Tell
    | Outcome
    | StatusChanged
    | ProblemsChanged
    | EndSession
)
