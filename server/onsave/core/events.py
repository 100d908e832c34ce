"""What can happen: a closed set of values that enter ``step`` by the session's one inbox.

News of a run that is not among ``App.runs`` any more is dropped by its number.
"""

from __future__ import annotations

from dataclasses import dataclass

from onsave.core.model import Evidence, Failure, Options, Problem


@dataclass(frozen=True)
class Begin:
    """The session is set up: start the first run."""


# --- from people, editors and scripts -----------------------------------------------------------


@dataclass(frozen=True)
class Saved:
    """Files were saved, created, deleted or renamed.

    files:  (path, digest) each: ABSENT where there is no such file; None where nobody is concerned
            (see ``App.concerns``) and it was therefore not read
    origin: "echo" is a save told once more, by the editor's file watcher or to a session that is
            new: there is a verdict only if something comes of it
    batch:  names the request, so that its verdicts can be told from others'
    """

    files: tuple[tuple[str, str | None], ...]
    origin: str = "save"  # "save" | "watched" | "command" | "rename" | "echo"
    batch: int = 0


@dataclass(frozen=True)
class RestartAsked:
    """A person wants a restart, whatever is stale. ``force``: even out of a debugger."""

    force: bool = False
    by: str = "asked for"


@dataclass(frozen=True)
class StopAsked:
    """End the app, then the session: ``onsave stop``, SIGTERM, SIGHUP."""

    code: int | None = None  # the session's exit code; None: the app's


@dataclass(frozen=True)
class Interrupted:
    """Ctrl-C. The terminal has told the app as well; a second one kills."""


@dataclass(frozen=True)
class ConfigRead:
    """The configuration was read (again). ``restart``: what a start depends on is different."""

    options: Options
    problems: tuple[Problem, ...] = ()
    restart: bool = False


# --- from the app's processes -------------------------------------------------------------------


@dataclass(frozen=True)
class Started:
    run: int
    pid: int
    # (path, digest): what the session itself built the run from: extra-files, env-file
    extra: tuple[tuple[str, str], ...] = ()
    # the module before which the snapshot stood that it was, "" before all; None: a cold start
    from_snapshot: str | None = None


@dataclass(frozen=True)
class CannotStart:
    """There is nothing to run: no such command, not executable, no such folder."""

    run: int
    message: str
    status: int = 127
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ProcessUp:
    """A process's agent said hello. ``parent``: the process that it was forked from, if it was."""

    run: int
    pid: int
    parent: int | None = None


@dataclass(frozen=True)
class ProcessDown:
    run: int
    pid: int


@dataclass(frozen=True)
class LoadedFile:
    path: str
    digest: str | None
    kind: str
    module: str | None = None
    importer: str | None = None


@dataclass(frozen=True)
class FilesLoaded:
    run: int
    pid: int
    files: tuple[LoadedFile, ...]


@dataclass(frozen=True)
class FilesReread:
    run: int
    paths: tuple[str, ...]


@dataclass(frozen=True)
class FilesWritten:
    run: int
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Listening:
    """A socket listens. ``held``: the session holds a duplicate of it."""

    run: int
    pid: int
    address: str
    held: bool


@dataclass(frozen=True)
class Waiting:
    """A process stands where it would begin to accept, and waits for ``Release``.

    ``workers``: how many processes of the run will come there.
    """

    run: int
    pid: int
    id: int
    address: str
    workers: int = 1


@dataclass(frozen=True)
class Settled:
    """Nothing has been imported or opened for a while: a program that is no server is up."""

    run: int


@dataclass(frozen=True)
class Failed:
    """An uncaught exception somewhere in the run; whether it ends is told by ``Gone``."""

    run: int
    pid: int
    failure: Failure


@dataclass(frozen=True)
class Drained:
    """Of a run that is being stopped: it accepts no more, and no client has a connection left.

    It has only to end: nobody can get an answer from it any more.
    """

    run: int


@dataclass(frozen=True)
class Gone:
    """The run's processes have all ended. ``status``: of the root process, 128 + n for signals."""

    run: int
    status: int
    signal: str | None = None  # "SIGSEGV", where one ended it
    oom: bool = False  # the kernel says that it killed it for memory
    refused: tuple[str, ...] = ()  # processes that could not be ended


# --- answers ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Synced:
    """Every live process has compared sys.modules with its report, or was too busy to."""

    id: int


@dataclass(frozen=True)
class CheckResult:
    """One stale file, as it is on disk now.

    old and new are the bytes that the run was built from and those just compiled, where the session
    has them; without both there is no patch.
    """

    path: str
    digest: str  # of the bytes that were compiled
    problem: Problem | None = None
    old: bytes | None = None
    new: bytes | None = None


@dataclass(frozen=True)
class Checked:
    """``paused``: where a debugger holds the run, "pdb at app.py:12"; ``serving_paused``: the same
    of the serving run, where that is another one."""

    id: int
    results: tuple[CheckResult, ...]
    paused: str | None = None
    serving_paused: str | None = None


@dataclass(frozen=True)
class Resumed:
    """The debugger that held the run let it go."""

    run: int


@dataclass(frozen=True)
class Patched:
    """Every process has the new code.

    live: the calls that go on with an old body, in words
    ran:  names of the functions with another body now that had run already, since it was ready
    """

    id: int
    live: tuple[str, ...] = ()
    ran: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """Some process can't be patched, so none was."""

    id: int
    reason: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class FilesRead:
    """Answer to ``Read``: (path, digest) each."""

    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TimerFired:
    name: str


Event = (
    Begin
    | Saved
    | RestartAsked
    | StopAsked
    | Interrupted
    | ConfigRead
    | Started
    | CannotStart
    | ProcessUp
    | ProcessDown
    | FilesLoaded
    | FilesReread
    | FilesWritten
    | Listening
    | Waiting
    | Settled
    | Failed
    | Drained
    | Gone
    | Synced
    | Checked
    | Resumed
    | Patched
    | Refused
    | FilesRead
    | TimerFired
)
