"""Every transition of a session.

``step(app, event)`` changes ``app`` and returns what is to be done. It is pure in the sense that
counts: no I/O, no clock, no randomness, so that a transcript of events always gives the same
effects (tests/core/transcripts).

An event is first *noted* (what do we know now? see ``noting``), then, whatever it was, the same
questions are asked in the same order: is the newest run stale (``_judge``)? is a run wanted, and
what stands in its way (``_advance``)? has what people see changed (``_announce``)? So no event
needs to know what it may mean, and none can be forgotten.

The life of one wanted run, ``_advance``'s business::

    wanted ─▶ quiet ─▶ a newer one that is not up yet? stop it first
                   ─▶ beside the serving run, if that can be; else stop it first
                   ─▶ Start ─▶ Waiting ─▶ stop the serving run ─▶ Release ─▶ up
"""

from __future__ import annotations

from onsave.core import effects as do
from onsave.core import events as ev
from onsave.core import moves
from onsave.core import verdict as verdicts
from onsave.core.model import App, Asked, Phase, Run, State
from onsave.core.noting import NOTE
from onsave.core.problems import Problems, problems

#: So many runs may be alive at once: one that serves, one on its way, and one on its way out.
AT_ONCE = 3


def step(app: App, event: ev.Event) -> list[do.Effect]:
    """Take one event in; give back what is to be done, in order."""
    before = _shown(app)
    out: list[do.Effect] = []
    number = getattr(event, "run", None)
    if number is None or number in app.runs:
        NOTE[type(event)](app, event, out)
    _ask(app, out)
    _judge(app, out)
    _advance(app, out)
    _announce(app, before, out)
    return out


def state(app: App) -> State:
    """One word for the whole session."""
    newest, serving = app.newest_run, app.serving_run
    if app.ending or newest is None:
        return State.ENDED if app.ending else State.STARTING
    if app.held:
        return State.HELD if serving else State.BROKEN
    if app.wanted or newest.phase is Phase.STOPPING:
        return State.RESTARTING if serving or newest.alive else State.STARTING
    if newest.phase in (Phase.STARTING, Phase.WAITING):
        return State.RESTARTING if newest.beside is not None else State.STARTING
    if newest.up:
        return State.READY if newest.listening else State.RUNNING
    if serving:
        return State.HELD
    return State.BROKEN if newest.failure else State.ENDED


# --- the questions that follow every event ----------------------------------------------------


def _ask(app: App, out: list[do.Effect]) -> None:
    """Ask the app about saved paths that nobody has reported: one question at a time."""
    run = app.newest_run
    if app.syncing is not None or not app.unknown:
        return
    if run is None or not run.up or not run.processes or app.ending:
        for path in list(app.unknown):
            moves.tell(app, out, verdicts.of_unloaded(app, path), app.unknown.pop(path))
        return
    paths = tuple(path for path in app.unknown if path in app.unread and path not in run.loaded)
    if paths:
        app.syncing = Asked(app.next_id(), run.number, paths)
        out.append(do.Sync(app.syncing.id, run.number))


def _judge(app: App, out: list[do.Effect]) -> None:
    """Is the newest run stale? Then have what changed compiled, which leads to the verdicts."""
    run = app.newest_run
    if run is None or app.ending or app.checking or app.patching:
        return
    stale = run.stale(app.saved)
    if stale and _back_to_serving(app, run, out):
        return
    if not stale or run.phase is Phase.STOPPING:
        if not stale:
            app.held = {}
            app.judged = None
            undone = app.wanted is not None and not app.wanted.forced
            if undone and run.phase not in (Phase.STOPPING, Phase.GONE):
                app.wanted = None
        _forget_unjudged(app, run, stale, out)
        return
    if app.judged == moves.fingerprint(app, run):
        _forget_unjudged(app, run, (), out)
        return
    app.checking = Asked(app.next_id(), run.number, stale)
    out.append(do.Check(app.checking.id, run.number, stale))


def _back_to_serving(app: App, run: Run, out: list[do.Effect]) -> bool:
    """An undo back to what the serving run has: it is up to date after all."""
    serving = app.serving_run
    if serving is None or serving is run or run.wanted.forced or serving.phase is not Phase.UP:
        return False
    if serving.stale(app.saved):
        return False
    if run.alive:
        moves.stop(run, out, drain=False, why="what was saved is what the old run has")
    else:
        del app.runs[run.number]
    app.newest = serving.number
    app.wanted = None
    app.held = {}
    app.judged = None
    _forget_unjudged(app, serving, (), out)
    return True


def _forget_unjudged(
    app: App, run: Run, stale: tuple[str, ...], out: list[do.Effect]
) -> None:
    for path in [path for path in app.unjudged if path not in stale]:
        batches = app.unjudged.pop(path)
        digest = app.saved.get(path)
        if digest is not None and run.is_stale(path, digest):
            moves.tell(app, out, verdicts.of_repeated(app, path), batches)
        else:
            moves.tell(app, out, verdicts.of_unchanged(app, path), batches)


def _advance(app: App, out: list[do.Effect]) -> None:
    """Bring a wanted run, or one that waits, one step nearer to serving."""
    if app.ending:
        return
    newest, serving = app.newest_run, app.serving_run
    if app.wanted is None:
        # A worker that still imports may yet fail, and take a prefork server with it.
        waits = newest is not None and newest.phase is Phase.WAITING
        if newest is not None and waits and len(newest.waiting) >= newest.workers:
            _take_over(app, newest, serving, out)
        return
    if not app.quiet or app.checking:
        return
    if newest is not None and newest is not serving and newest.alive:
        if _held_by_debugger(app, newest, app.wanted.out_of_debugger, out):
            return
        app.overtaken += newest.phase is not Phase.STOPPING
        moves.stop(newest, out, drain=False, why="a newer save overtook it")
        return
    if serving is not None and not moves.can_overlap(app, serving):
        if not _held_by_debugger(app, serving, app.wanted.out_of_debugger, out):
            moves.stop(serving, out, drain=True, why=app.wanted.cause)
        return
    if sum(run.alive for run in app.runs.values()) < AT_ONCE:
        moves.start(app, app.wanted, serving, out)


def _take_over(app: App, newest: Run, serving: Run | None, out: list[do.Effect]) -> None:
    """The newest run could accept: end the serving one, then let it."""
    if serving is None:
        others = [run for run in app.runs.values() if run is not newest]
        if not any(run.alive and not run.drained for run in others):
            moves.release(newest, out)
    elif not _held_by_debugger(app, serving, newest.wanted.out_of_debugger, out):
        moves.stop(serving, out, drain=True, why=newest.wanted.cause)


def _held_by_debugger(app: App, run: Run, forced: bool, out: list[do.Effect]) -> bool:
    """Whether a person looks into the run, which is therefore not to be ended."""
    if run.paused is None or forced:
        return False
    if run.phase is not Phase.STOPPING and run.number not in app.told_waiting:
        app.told_waiting.add(run.number)
        reason = f"waits: {run.paused} (onsave restart --force ends it)"
        out.append(do.Outcome("waits", run.number, reason))
        out.append(do.AwaitResumed(run.number))
    return True


def _announce(app: App, before: _Shown, out: list[do.Effect]) -> None:
    after = _shown(app)
    if after[:-1] != before[:-1]:
        out.append(do.StatusChanged(after[0]))
    if after[-1] != before[-1]:
        out.append(do.ProblemsChanged())


_Shown = tuple[
    State, int, int | None, tuple[str, ...], tuple[str, ...], str | None, int, int, Problems
]


def _shown(app: App) -> _Shown:
    """What people see of the session, to tell when it has changed."""
    run = app.newest_run
    return (
        state(app),
        app.newest,
        app.serving,
        tuple(run.listening) if run else (),
        run.stale(app.saved) if run else (),
        run.paused if run else None,
        len(run.processes) if run else 0,
        len(run.serving) if run else 0,
        problems(app),
    )
