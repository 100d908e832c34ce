"""Every transition of a session, in one place.

``step(app, event)`` changes ``app`` and returns what is to be done. It is pure in the sense that
counts: no I/O, no clock, no randomness, so that a transcript of events always gives the same
effects (tests/core/transcripts).

An event is first *noted* (what do we know now?), then, whatever it was, the same questions are
asked in the same order: is the newest run stale (``_judge``)? is a run wanted, and what stands in
its way (``_advance``)? has what people see changed (``_announce``)? So no event needs to know what
it may mean, and none can be forgotten.

The life of one wanted run, ``_advance``'s business::

    wanted ─▶ quiet ─▶ a newer one that is not up yet? stop it first
                   ─▶ beside the serving run, if that can be; else stop it first
                   ─▶ Start ─▶ Waiting ─▶ stop the serving run ─▶ Release ─▶ up
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onsave.core import effects as do
from onsave.core import events as ev
from onsave.core import verdict as verdicts
from onsave.core.model import (
    ABSENT,
    Action,
    App,
    Asked,
    Failure,
    Loaded,
    Phase,
    Run,
    State,
    Verdict,
    Wanted,
)
from onsave.core.problems import Problems, problems

#: A restart waits this long for the next save; doubled for each run that was overtaken by one.
QUIET = 0.02
LONGEST_QUIET = 0.5
#: At most so often is the quiet moment begun again, so that endless saving can't starve a restart.
MOST_EXTENSIONS = 25
#: A run whose process failed but which lives on without getting up (a master that starts its
#: broken worker again and again) is given up after this long.
GIVE_UP = 2.0
#: on-exit = "restart": the first pause, doubled each time, and the longest.
PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: So many verdicts are kept for whoever asks later.
KEPT_VERDICTS = 20
#: A file with another ending is known by being opened, and its opening was reported already; asking
#: the app again only helps for what can be a module.
ASKED_FOR = (".py", ".pyw", ".pyc", ".so", ".pyd", ".zip", ".egg", ".pyz", ".whl")


def step(app: App, event: ev.Event) -> list[do.Effect]:
    """Take one event in; give back what is to be done, in order."""
    before = _shown(app)
    out: list[do.Effect] = []
    number = getattr(event, "run", None)
    if number is None or number in app.runs:
        _NOTE[type(event)](app, event, out)
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
    if app.wanted or app.patching or newest.phase is Phase.STOPPING:
        return State.RESTARTING if serving or newest.alive else State.STARTING
    if newest.phase in (Phase.STARTING, Phase.WAITING):
        return State.RESTARTING if newest.beside is not None else State.STARTING
    if newest.up:
        return State.READY if newest.listening else State.RUNNING
    if serving:
        return State.HELD
    return State.BROKEN if newest.failure else State.ENDED


# --- noting: what do we know now? -------------------------------------------------------------


def _begin(app: App, event: ev.Begin, out: list[do.Effect]) -> None:
    app.wanted = Wanted("first start", forced=True)


def _config_read(app: App, event: ev.ConfigRead, out: list[do.Effect]) -> None:
    app.options = event.options
    app.config_problems = event.problems
    if event.restart and app.newest:
        _want(app, out, Wanted("the configuration changed", forced=True))


def _saved(app: App, event: ev.Saved, out: list[do.Effect]) -> None:
    run = app.newest_run
    batches = [event.batch]
    for path, digest in event.files:
        if digest is None:
            app.unread.add(path)
            if run and run.up and run.processes and path.endswith(ASKED_FOR):
                app.unknown.setdefault(path, []).append(event.batch)
            else:
                _tell(app, out, verdicts.of_unloaded(app, path), batches)
            continue
        app.unread.discard(path)
        repeated = app.saved.get(path) == digest
        app.saved[path] = digest
        if run is None or path not in run.loaded:
            _tell(app, out, verdicts.of_unloaded(app, path), batches)
        elif not run.is_stale(path, digest):
            _tell(app, out, verdicts.of_unchanged(app, path), batches)
        elif repeated and path not in app.unjudged:
            _tell(app, out, verdicts.of_repeated(app, path), batches)
        else:
            app.unjudged.setdefault(path, []).append(event.batch)


def _files_read(app: App, event: ev.FilesRead, out: list[do.Effect]) -> None:
    for path, digest in event.files:
        app.saved[path] = digest
        app.unread.discard(path)
        batches = app.unknown.pop(path, [])
        run = app.newest_run
        if run and run.is_stale(path, digest):
            app.unjudged.setdefault(path, []).extend(batches)
        elif run and path in run.loaded:
            _tell(app, out, verdicts.of_unchanged(app, path), batches)
        else:
            _tell(app, out, verdicts.of_unloaded(app, path), batches)


def _restart_asked(app: App, event: ev.RestartAsked, out: list[do.Effect]) -> None:
    if not app.ending:
        app.judged = None
        app.held = {}
        _want(app, out, Wanted(event.by, forced=True, out_of_debugger=event.force))


def _stop_asked(app: App, event: ev.StopAsked, out: list[do.Effect]) -> None:
    _end(app, event.code)
    for run in list(app.runs.values()):
        _stop(run, out, drain=False, why="the session ends")
    _leave_if_empty(app, out)


def _interrupted(app: App, event: ev.Interrupted, out: list[do.Effect]) -> None:
    app.interrupts += 1
    alive = [run for run in app.runs.values() if run.alive]
    if app.interrupts == 1:
        _end(app, None)
        out.extend(do.Forward(run.number) for run in alive)
        out.append(do.SetTimer("interrupt", app.options.stop_timeout))
    else:
        out.extend(do.Kill(run.number) for run in alive)
    _leave_if_empty(app, out)


def _started(app: App, event: ev.Started, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    run.pid = event.pid
    run.from_snapshot = event.from_snapshot
    for path, digest in event.extra:
        run.loaded[path] = Loaded("extra", digests={event.pid: digest})
    out.append(do.AwaitSettled(run.number))


def _cannot_start(app: App, event: ev.CannotStart, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    run.failure = Failure(event.message, where="start")
    for path, digest in event.extra:
        run.loaded[path] = Loaded("extra", digests={0: digest})
    _gone(app, ev.Gone(event.run, event.status), out)


def _process_up(app: App, event: ev.ProcessUp, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    run.had_agent = True
    run.processes.add(event.pid)


def _process_down(app: App, event: ev.ProcessDown, out: list[do.Effect]) -> None:
    app.runs[event.run].processes.discard(event.pid)


def _files_loaded(app: App, event: ev.FilesLoaded, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    late = []
    for file in event.files:
        entry = run.loaded.get(file.path)
        if entry is None:
            entry = run.loaded[file.path] = Loaded(file.kind, file.module, file.importer)
        elif entry.kind in ("data", "missing") and file.kind != "missing":
            entry.kind, entry.module = file.kind, file.module or entry.module
            if file.digest is not None:
                # What was looked for in vain was found in the end: that is what the run stands on.
                entry.digests = {
                    pid: known for pid, known in entry.digests.items() if known != ABSENT
                }
        _add_digest(entry, event.pid, file.digest)
        if file.path in app.unread:
            late.append(file.path)
    if late:
        out.append(do.Read(tuple(late)))


def _add_digest(entry: Loaded, pid: int, digest: str | None) -> None:
    known = entry.digests.get(pid)
    if digest is None and known is not None:
        return
    # One process is enough to witness a digest: short-lived workers must not pile up here.
    if pid in entry.digests or digest not in entry.digests.values():
        entry.digests[pid] = digest


def _files_reread(app: App, event: ev.FilesReread, out: list[do.Effect]) -> None:
    for path in event.paths:
        entry = app.runs[event.run].loaded.get(path)
        if entry is not None and entry.kind == "data":
            entry.reread = True


def _files_written(app: App, event: ev.FilesWritten, out: list[do.Effect]) -> None:
    loaded = app.runs[event.run].loaded
    for path in event.paths:
        entry = loaded.get(path)
        if entry is not None and entry.kind in ("data", "missing"):
            del loaded[path]


def _listening(app: App, event: ev.Listening, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    run.listening[event.address] = event.held
    if run.phase in (Phase.STARTING, Phase.WAITING):
        _up(app, run, out)


def _waiting(app: App, event: ev.Waiting, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    run.waiting.append(event.id)
    if run.phase is Phase.STARTING:
        run.phase = Phase.WAITING
    elif run.up:
        _release(run, out)  # a worker that was started anew: its run serves already


def _settled(app: App, event: ev.Settled, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    if run.phase is Phase.STARTING:
        _up(app, run, out)


def _failed(app: App, event: ev.Failed, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    run.failure = event.failure
    if run.phase in (Phase.STARTING, Phase.WAITING) and event.failure.fatal:
        out.append(do.SetTimer(f"give-up-{run.number}", GIVE_UP))
    elif run.up and not event.failure.fatal:
        out.append(do.Outcome("failed", run.number, event.failure.summary, failure=event.failure))


def _gone(app: App, event: ev.Gone, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    was, run.phase = run.phase, Phase.GONE
    run.status = event.status
    run.processes.clear()
    run.waiting.clear()
    if app.ending and app.exit_code is None and app.serving in (None, run.number):
        app.exit_code = event.status
    if app.serving == run.number:
        app.serving = None
    for question in ("checking", "patching", "syncing"):
        asked = getattr(app, question)
        if asked is not None and asked.run == run.number:
            setattr(app, question, None)
    if run.number != app.newest:
        del app.runs[run.number]
    if app.ending:
        _leave_if_empty(app, out)
    elif run.number == app.newest and app.wanted is None and was is not Phase.STOPPING:
        _ended_by_itself(app, run, event, out)
    elif run.number == app.newest and app.wanted is None:
        _given_up(app, run, out)


def _ended_by_itself(
    app: App, run: Run, event: ev.Gone, out: list[do.Effect]
) -> None:
    serving = app.serving_run
    well = event.status == 0 and serving is None
    raised = run.failure is not None and run.failure.fatal
    # With --rerun an exit code is a result (of tests, say), and no failure.
    well = well or (app.options.rerun and serving is None and not event.signal and not raised)
    if well:
        run.failure = None
        reason = _end_in_words(event) if event.status else "ended"
        out.append(do.Outcome("ended", run.number, reason, run.wanted.verdicts))
    else:
        if event.signal or not raised or run.failure is None:
            run.failure = Failure(_end_in_words(event, early=serving is not None), where="end")
        failure = run.failure
        if serving is not None and app.alone is None and _needs_to_be_alone(failure):
            # What failed is the side-by-side, not the app: once more, one after the other.
            app.alone = failure.summary
            app.wanted = run.wanted
            out.append(do.Outcome("alone", run.number, failure.summary))
            return
        out.append(
            do.Outcome("failed", run.number, failure.summary, run.wanted.verdicts, failure)
        )
    if serving is not None:
        return
    out.append(do.CloseSockets())
    if app.options.once or (well and not app.options.rerun) or app.options.on_exit == "end":
        _end(app, event.status)
        _leave_if_empty(app, out)
    elif not well and app.options.on_exit == "restart":
        out.append(do.SetTimer("again", min(PAUSE * 2**app.deaths, LONGEST_PAUSE)))
        app.deaths += 1


def _given_up(app: App, run: Run, out: list[do.Effect]) -> None:
    """A run was stopped without another being wanted: it had failed, yet would not end."""
    failure = run.failure or Failure("it was stopped before it was up", where="end")
    run.failure = failure
    out.append(do.Outcome("failed", run.number, failure.summary, run.wanted.verdicts, failure))
    if app.serving is None:
        out.append(do.CloseSockets())


def _synced(app: App, event: ev.Synced, out: list[do.Effect]) -> None:
    asked = app.syncing
    if asked is None or asked.id != event.id:
        return
    app.syncing = None
    run = app.newest_run
    for path in asked.paths:
        if run and path in run.loaded:
            if path not in app.unread and path in app.unknown:
                _tell(app, out, verdicts.of_unchanged(app, path), app.unknown.pop(path))
            # else it was reported just now, and is being read: see _files_loaded
        elif path in app.unknown:
            _tell(app, out, verdicts.of_unloaded(app, path), app.unknown.pop(path))


def _checked(app: App, event: ev.Checked, out: list[do.Effect]) -> None:
    asked = app.checking
    if asked is None or asked.id != event.id:
        return
    app.checking = None
    for result in event.results:
        app.saved[result.path] = result.digest
    run = app.newest_run
    if run is None or run.number != asked.run:
        return
    if app.serving_run is not None:
        app.serving_run.paused = event.paused
    stale = run.stale(app.saved)
    if not set(stale) <= {result.path for result in event.results}:
        return  # more became stale meanwhile: all of it is checked together
    results = [result for result in event.results if result.path in stale]
    app.held = {result.path: result.problem for result in results if result.problem}
    app.judged = _fingerprint(app, run)
    for result in event.results:
        if result.path not in stale and result.path in app.unjudged:
            _tell(app, out, verdicts.of_unchanged(app, result.path), app.unjudged.pop(result.path))
    made = verdicts.of_stale(app, run, results)
    for verdict in made:
        _tell(app, out, verdict, app.unjudged.pop(verdict.path, []))
    _act(app, run, made, out)


def _act(app: App, run: Run, made: tuple[Verdict, ...], out: list[do.Effect]) -> None:
    """Do what the verdicts say, all files together."""
    actions = {verdict.action for verdict in made}
    paths = tuple(verdict.path for verdict in made)
    if Action.HOLD in actions:
        app.wanted = None if app.wanted is None or not app.wanted.forced else app.wanted
        culprit = next(v for v in made if v.path in app.held)
        out.append(do.Outcome("held", run.number, culprit.reason, made))
    elif Action.RESTART in actions:
        gravest = next(v for v in made if v.action is Action.RESTART)
        _want(app, out, Wanted(gravest.reason, made, paths))
    elif Action.PATCH in actions:
        app.patching = Asked(app.next_id(), run.number, paths, made)
        changed = tuple(v.path for v in made if v.action is Action.PATCH)
        out.append(do.Patch(app.patching.id, run.number, changed))
    else:
        _now_runs(app, run, paths)


def _patched(app: App, event: ev.Patched, out: list[do.Effect]) -> None:
    asked = app.patching
    if asked is None or asked.id != event.id:
        return
    app.patching = None
    run = app.runs.get(asked.run)
    if run is None or not run.alive:
        return
    _now_runs(app, run, asked.paths, dict(app.judged[1]) if app.judged else {})
    changed = [v for v in asked.verdicts if v.action is Action.PATCH]
    out.append(do.Outcome("patched", run.number, changed[0].reason, asked.verdicts))


def _refused(app: App, event: ev.Refused, out: list[do.Effect]) -> None:
    asked = app.patching
    if asked is None or asked.id != event.id:
        return
    app.patching = None
    made = tuple(verdicts.of_refused(v, event.reason, event.evidence) for v in asked.verdicts)
    for verdict in made:
        _tell(app, out, verdict, [])
    _want(app, out, Wanted(event.reason, made, asked.paths))


def _resumed(app: App, event: ev.Resumed, out: list[do.Effect]) -> None:
    app.runs[event.run].paused = None


def _timer_fired(app: App, event: ev.TimerFired, out: list[do.Effect]) -> None:
    if event.name == "quiet":
        app.quiet = True
    elif event.name == "again" and app.wanted is None and app.serving is None and not app.ending:
        app.wanted = Wanted("it ended by itself", forced=True)
    elif event.name == "interrupt":
        for run in app.runs.values():
            _stop(run, out, drain=False, why="it did not end at Ctrl-C")
    elif event.name.startswith("give-up-"):
        given_up = app.runs.get(int(event.name[8:]))
        if given_up is not None and given_up.phase in (Phase.STARTING, Phase.WAITING):
            _stop(given_up, out, drain=False, why="it failed and did not end")


_NOTE: dict[type, Callable[[App, Any, list[do.Effect]], None]] = {
    ev.Begin: _begin,
    ev.Saved: _saved,
    ev.RestartAsked: _restart_asked,
    ev.StopAsked: _stop_asked,
    ev.Interrupted: _interrupted,
    ev.ConfigRead: _config_read,
    ev.Started: _started,
    ev.CannotStart: _cannot_start,
    ev.ProcessUp: _process_up,
    ev.ProcessDown: _process_down,
    ev.FilesLoaded: _files_loaded,
    ev.FilesReread: _files_reread,
    ev.FilesWritten: _files_written,
    ev.Listening: _listening,
    ev.Waiting: _waiting,
    ev.Settled: _settled,
    ev.Failed: _failed,
    ev.Gone: _gone,
    ev.Synced: _synced,
    ev.Checked: _checked,
    ev.Resumed: _resumed,
    ev.Patched: _patched,
    ev.Refused: _refused,
    ev.FilesRead: _files_read,
    ev.TimerFired: _timer_fired,
}


# --- the questions that follow every event ----------------------------------------------------


def _ask(app: App, out: list[do.Effect]) -> None:
    """Ask the app about saved paths that nobody has reported: one question at a time."""
    run = app.newest_run
    if app.syncing is not None or not app.unknown:
        return
    if run is None or not run.up or not run.processes or app.ending:
        for path in list(app.unknown):
            _tell(app, out, verdicts.of_unloaded(app, path), app.unknown.pop(path))
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
            if run.alive and app.wanted and not app.wanted.forced and run.phase is not Phase.STOPPING:
                app.wanted = None  # undone before it began
        _forget_unjudged(app, run, stale, out)
        return
    if app.judged == _fingerprint(app, run):
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
        _stop(run, out, drain=False, why="what was saved is what the old run has")
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
            _tell(app, out, verdicts.of_repeated(app, path), batches)
        else:
            _tell(app, out, verdicts.of_unchanged(app, path), batches)


def _advance(app: App, out: list[do.Effect]) -> None:
    """Bring a wanted run, or one that waits, one step nearer to serving."""
    if app.ending:
        return
    newest, serving = app.newest_run, app.serving_run
    if app.wanted is None:
        if newest is not None and newest.phase is Phase.WAITING:
            _take_over(app, newest, serving, out)
        return
    if not app.quiet or app.checking:
        return
    if newest is not None and newest is not serving and newest.alive:
        app.overtaken += newest.phase is not Phase.STOPPING
        _stop(newest, out, drain=False, why="a newer save overtook it")
        return
    if serving is not None and not _can_overlap(app, serving):
        if not _held_by_debugger(app, serving, app.wanted.out_of_debugger, out):
            _stop(serving, out, drain=True, why=app.wanted.cause)
        return
    _start(app, app.wanted, serving, out)


def _take_over(app: App, newest: Run, serving: Run | None, out: list[do.Effect]) -> None:
    """The newest run could accept: end the serving one, then let it."""
    if serving is None:
        if not any(run.alive for run in app.runs.values() if run is not newest):
            _release(newest, out)
    elif not _held_by_debugger(app, serving, newest.wanted.out_of_debugger, out):
        _stop(serving, out, drain=True, why=newest.wanted.cause)


def _held_by_debugger(app: App, serving: Run, forced: bool, out: list[do.Effect]) -> bool:
    if serving.paused is None or forced:
        return False
    if serving.phase is Phase.UP and serving.number not in app.told_waiting:
        app.told_waiting.add(serving.number)
        reason = f"waits: {serving.paused} (onsave restart --force ends it)"
        out.append(do.Outcome("waits", serving.number, reason))
        out.append(do.AwaitResumed(serving.number))
    return True


def _announce(app: App, before: _Shown, out: list[do.Effect]) -> None:
    after = _shown(app)
    if after[:-1] != before[:-1]:
        out.append(do.StatusChanged(after[0]))
    if after[-1] != before[-1]:
        out.append(do.ProblemsChanged())


# --- small steps ------------------------------------------------------------------------------


def _want(app: App, out: list[do.Effect], wanted: Wanted) -> None:
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


def _start(app: App, wanted: Wanted, serving: Run | None, out: list[do.Effect]) -> None:
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


def _up(app: App, run: Run, out: list[do.Effect]) -> None:
    older = app.serving_run
    run.phase = Phase.UP
    if run.failure is not None and run.failure.fatal:
        run.failure = None
    out.append(do.CancelTimer(f"give-up-{run.number}"))
    if older is not None and older is not run:
        _stop(older, out, drain=True, why=run.wanted.cause)
    app.serving = run.number
    app.overtaken = 0
    first = run.wanted.cause == "first start"
    out.append(
        do.Outcome(
            "started" if first else "restarted", run.number, run.wanted.cause, run.wanted.verdicts
        )
    )


def _stop(run: Run, out: list[do.Effect], *, drain: bool, why: str) -> None:
    if run.phase not in (Phase.STOPPING, Phase.GONE):
        drain = drain and run.up and bool(run.listening)
        run.phase = Phase.STOPPING
        out.append(do.Stop(run.number, drain, why))


def _release(run: Run, out: list[do.Effect]) -> None:
    if run.waiting:
        out.append(do.Release(run.number, tuple(run.waiting)))
        run.waiting.clear()


def _end(app: App, code: int | None) -> None:
    app.ending = True
    app.wanted = None
    if code is not None:
        app.exit_code = code


def _leave_if_empty(app: App, out: list[do.Effect]) -> None:
    if app.ending and not any(run.alive for run in app.runs.values()):
        if app.exit_code is None:
            newest = app.newest_run
            status = newest.status if newest else None
            app.exit_code = (130 if app.interrupts else 0) if status is None else status
        out.append(do.EndSession(app.exit_code))


def _now_runs(
    app: App, run: Run, paths: tuple[str, ...], digests: dict[str, str] | None = None
) -> None:
    """The run is as if it had been built from these digests (by default: from what is saved)."""
    for path in paths:
        digest = (digests or app.saved).get(path, app.saved[path])
        run.loaded[path].digests = {run.pid or 0: digest}


def _tell(app: App, out: list[do.Effect], verdict: Verdict, batches: list[int]) -> None:
    app.last_verdicts.append(verdict)
    del app.last_verdicts[:-KEPT_VERDICTS]
    out.append(do.Tell(verdict, tuple(batches)))


def _can_overlap(app: App, serving: Run) -> bool:
    return (
        app.options.overlap
        and app.alone is None
        and serving.phase is Phase.UP
        and serving.had_agent
        and bool(serving.listening)
        and all(serving.listening.values())
    )


def _needs_to_be_alone(failure: Failure) -> bool:
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


def _end_in_words(event: ev.Gone, *, early: bool = False) -> str:
    when = " before it was up" if early else ""
    if event.oom:
        return f"killed by the kernel for want of memory{when}"
    if event.signal:
        return f"ended by {event.signal}{when}"
    return f"exited with {event.status}{when}"


def _fingerprint(app: App, run: Run) -> tuple[int, frozenset[tuple[str, str]]]:
    return run.number, frozenset((path, app.saved[path]) for path in run.stale(app.saved))


_Shown = tuple[
    State, int, int | None, tuple[str, ...], tuple[str, ...], str | None, int, Problems
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
        problems(app),
    )
