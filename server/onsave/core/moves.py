"""The small moves that events and questions have in common: each changes the app one way."""

from __future__ import annotations

from onsave.core import effects as do
from onsave.core import events as ev
from onsave.core.model import Action, App, Failure, Phase, Run, Verdict, Wanted

#: A restart waits this long for the next save; doubled for each run that was overtaken by one.
QUIET = 0.02
LONGEST_QUIET = 0.5
#: At most so often is the quiet moment begun again, so that endless saving can't starve a restart.
MOST_EXTENSIONS = 25
#: So many verdicts are kept for whoever asks later.
KEPT_VERDICTS = 20


def want(app: App, out: list[do.Effect], wanted: Wanted) -> None:
    if app.wanted is not None and app.wanted.forced:
        wanted = Wanted(
            wanted.cause,
            wanted.verdicts,
            wanted.stale,
            forced=True,
            out_of_debugger=app.wanted.out_of_debugger or wanted.out_of_debugger,
        )
    app.extended = app.extended + 1 if app.wanted else 0
    app.wanted = wanted
    app.deaths = 0
    if app.extended <= MOST_EXTENSIONS:
        app.quiet = False
        out.append(do.SetTimer("quiet", min(QUIET * 2**app.overtaken, LONGEST_QUIET)))


def start(app: App, wanted: Wanted, serving: Run | None, out: list[do.Effect]) -> None:
    previous = app.newest_run
    if previous is not None and not previous.alive:
        del app.runs[previous.number]
    app.last_number += 1
    app.newest = app.last_number
    beside = serving.number if serving else None
    app.runs[app.newest] = Run(app.newest, wanted, beside)
    app.wanted = None
    app.judged = None
    app.extended = 0
    out.append(do.CancelTimer("again"))
    out.append(do.Start(app.newest, wanted.cause, beside, wanted.stale))


def up(app: App, run: Run, out: list[do.Effect]) -> None:
    older = app.serving_run
    run.phase = Phase.UP
    if run.failure is not None and run.failure.fatal:
        run.failure = None
    out.append(do.CancelTimer(f"give-up-{run.number}"))
    if older is not None and older is not run:
        stop(older, out, drain=True, why=run.wanted.cause)
    app.serving = run.number
    app.overtaken = 0
    release(run, out)  # a worker that came to wait after the others were released
    first = run.wanted.cause == "first start"
    out.append(
        do.Outcome(
            "started" if first else "restarted", run.number, run.wanted.cause, run.wanted.verdicts
        )
    )


def stop(run: Run, out: list[do.Effect], *, drain: bool, why: str) -> None:
    if run.phase not in (Phase.STOPPING, Phase.GONE):
        drain = drain and run.up and bool(run.listening)
        run.phase = Phase.STOPPING
        out.append(do.Stop(run.number, drain, why))


def release(run: Run, out: list[do.Effect]) -> None:
    if run.waiting:
        out.append(do.Release(run.number, tuple(run.waiting)))
        run.waiting.clear()


def end(app: App, code: int | None) -> None:
    app.ending = True
    app.wanted = None
    if code is not None:
        app.exit_code = code


def leave_if_empty(app: App, out: list[do.Effect]) -> None:
    if app.ending and not any(run.alive for run in app.runs.values()):
        if app.exit_code is None:
            newest = app.newest_run
            status = newest.status if newest else None
            app.exit_code = (130 if app.interrupts else 0) if status is None else status
        out.append(do.EndSession(app.exit_code))


def now_runs(
    app: App, run: Run, paths: tuple[str, ...], digests: dict[str, str] | None = None
) -> None:
    """The run is as if it had been built from these digests (by default: from what is saved)."""
    for path in paths:
        digest = (digests or app.saved).get(path, app.saved[path])
        run.loaded[path].digests = {run.pid or 0: digest}


def tell(app: App, out: list[do.Effect], verdict: Verdict, batches: list[int]) -> None:
    if verdict.action is Action.IGNORE and not batches:
        return  # of no save, or of the echo of one: nobody has asked, and nothing comes of it
    app.last_verdicts.append(verdict)
    del app.last_verdicts[:-KEPT_VERDICTS]
    out.append(do.Tell(verdict, tuple(batches)))


def can_overlap(app: App, serving: Run) -> bool:
    return (
        app.options.overlap
        and app.alone is None
        and serving.phase is Phase.UP
        and serving.had_agent
        and bool(serving.listening)
        and all(serving.listening.values())
    )


def needs_to_be_alone(failure: Failure) -> bool:
    """Whether the failure looks like two runs wanting one thing: a port, a lock, a device."""
    return any(
        sign in failure.text or sign in failure.summary
        for sign in (
            "Address already in use",
            "Only one usage of each socket address",
            "Resource temporarily unavailable",
            "database is locked",
            "Device or resource busy",
        )
    )


def end_in_words(event: ev.Gone, *, early: bool = False) -> str:
    when = " before it was up" if early else ""
    if event.oom:
        return f"killed by the kernel for want of memory{when}"
    if event.signal:
        return f"ended by {event.signal}{when}"
    return f"exited with {event.status}{when}"


def fingerprint(app: App, run: Run) -> tuple[int, frozenset[tuple[str, str]]]:
    return run.number, frozenset((path, app.saved[path]) for path in run.stale(app.saved))
