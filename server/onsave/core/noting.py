"""What each event tells: noted in the app, and what follows from that event alone.

What follows from the whole situation is asked afterwards, by ``step``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onsave.core import effects as do
from onsave.core import events as ev
from onsave.core import moves
from onsave.core import verdict as verdicts
from onsave.core.model import (
    ABSENT,
    Action,
    App,
    Asked,
    Evidence,
    Failure,
    Loaded,
    Phase,
    Run,
    Verdict,
    Wanted,
)
from onsave.core.problems import has_place

#: A run whose process failed but which lives on without getting up (a master that starts its
#: broken worker again and again) is given up after this long.
GIVE_UP = 2.0
#: How long the first worker of a run that could accept waits for the others, in seconds.
WORKERS = 3.0
#: on-exit = "restart": the first pause, doubled each time, and the longest.
PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: A file with another ending is known by being opened, and its opening was reported already; asking
#: the app again only helps for what can be a module.
ASKED_FOR = (".py", ".pyw", ".pyc", ".so", ".pyd", ".zip", ".egg", ".pyz", ".whl")


def begin(app: App, event: ev.Begin, out: list[do.Effect]) -> None:
    app.wanted = Wanted("first start", forced=True)


def config_read(app: App, event: ev.ConfigRead, out: list[do.Effect]) -> None:
    app.options = event.options
    app.config_problems = event.problems
    if event.restart and app.newest:
        moves.want(app, out, Wanted("the configuration changed", forced=True))


def saved(app: App, event: ev.Saved, out: list[do.Effect]) -> None:
    run = app.newest_run
    echo = event.origin == "echo"
    batches = [] if echo else [event.batch]
    for path, digest in event.files:
        if echo and digest is not None and app.saved.get(path) == digest:
            continue  # judged already
        if digest is None:
            app.unread.add(path)
            if run and run.up and run.processes and path.endswith(ASKED_FOR):
                app.unknown.setdefault(path, []).extend(batches)
            else:
                moves.tell(app, out, verdicts.of_unloaded(app, path), batches)
            continue
        app.unread.discard(path)
        repeated = app.saved.get(path) == digest
        app.saved[path] = digest
        if run is None or path not in run.loaded:
            moves.tell(app, out, verdicts.of_unloaded(app, path), batches)
        elif not run.is_stale(path, digest):
            moves.tell(app, out, verdicts.of_unchanged(app, path), batches)
        elif repeated and path not in app.unjudged:
            moves.tell(app, out, verdicts.of_repeated(app, path), batches)
        else:
            app.unjudged.setdefault(path, []).extend(batches)


def files_read(app: App, event: ev.FilesRead, out: list[do.Effect]) -> None:
    for path, digest in event.files:
        app.saved[path] = digest
        awaited = path in app.unread  # else it is only known in another way: large, by its time
        app.unread.discard(path)
        batches = app.unknown.pop(path, [])
        run = app.newest_run
        if run and run.is_stale(path, digest):
            app.unjudged.setdefault(path, []).extend(batches)
        elif awaited and run and path in run.loaded:
            moves.tell(app, out, verdicts.of_unchanged(app, path), batches)
        elif awaited:
            moves.tell(app, out, verdicts.of_unloaded(app, path), batches)


def restart_asked(app: App, event: ev.RestartAsked, out: list[do.Effect]) -> None:
    if not app.ending:
        app.judged = None
        app.held = {}
        moves.want(app, out, Wanted(event.by, forced=True, out_of_debugger=event.force))


def stop_asked(app: App, event: ev.StopAsked, out: list[do.Effect]) -> None:
    moves.end(app, event.code)
    for run in list(app.runs.values()):
        moves.stop(run, out, drain=False, why="the session ends")
    moves.leave_if_empty(app, out)


def interrupted(app: App, event: ev.Interrupted, out: list[do.Effect]) -> None:
    app.interrupts += 1
    alive = [run for run in app.runs.values() if run.alive]
    if app.interrupts == 1:
        moves.end(app, None)
        out.extend(do.Forward(run.number) for run in alive)
        out.append(do.SetTimer("interrupt", app.options.stop_timeout))
    else:
        out.extend(do.Kill(run.number) for run in alive)
    moves.leave_if_empty(app, out)


def started(app: App, event: ev.Started, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    run.pid = event.pid
    run.from_snapshot = event.from_snapshot
    for path, digest in event.extra:
        run.loaded[path] = Loaded("extra", digests={event.pid: digest})
    out.append(do.AwaitSettled(run.number))


def cannot_start(app: App, event: ev.CannotStart, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    run.failure = Failure(event.message, where="start")
    for path, digest in event.extra:
        run.loaded[path] = Loaded("extra", digests={0: digest})
    gone(app, ev.Gone(event.run, event.status), out)


def process_up(app: App, event: ev.ProcessUp, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    run.had_agent = True
    run.processes.add(event.pid)


def process_down(app: App, event: ev.ProcessDown, out: list[do.Effect]) -> None:
    app.runs[event.run].processes.discard(event.pid)
    app.runs[event.run].serving.discard(event.pid)


def files_loaded(app: App, event: ev.FilesLoaded, out: list[do.Effect]) -> None:
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
        add_digest(entry, event.pid, file.digest)
        if file.path in app.unread:
            late.append(file.path)
    if late:
        out.append(do.Read(tuple(late)))


def add_digest(entry: Loaded, pid: int, digest: str | None) -> None:
    known = entry.digests.get(pid)
    if digest is None and known is not None:
        return
    # One process is enough to witness a digest: short-lived workers must not pile up here.
    if pid in entry.digests or digest not in entry.digests.values():
        entry.digests[pid] = digest


def files_reread(app: App, event: ev.FilesReread, out: list[do.Effect]) -> None:
    for path in event.paths:
        entry = app.runs[event.run].loaded.get(path)
        if entry is not None and entry.kind == "data":
            entry.reread = True


def files_written(app: App, event: ev.FilesWritten, out: list[do.Effect]) -> None:
    loaded = app.runs[event.run].loaded
    for path in event.paths:
        entry = loaded.get(path)
        if entry is not None and entry.kind in ("data", "missing"):
            del loaded[path]


def listening(app: App, event: ev.Listening, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    run.listening[event.address] = event.held
    run.serving.add(event.pid)
    if run.phase in (Phase.STARTING, Phase.WAITING):
        moves.up(app, run, out)


def waiting(app: App, event: ev.Waiting, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    run.waiting.append(event.id)
    if run.phase is Phase.STARTING:
        run.phase = Phase.WAITING
        run.workers = event.workers
        if run.workers > 1:
            out.append(do.SetTimer(f"workers-{run.number}", WORKERS))
    elif run.up:
        moves.release(run, out)  # a worker that was started anew: its run serves already


def settled(app: App, event: ev.Settled, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    if run.phase is Phase.STARTING:
        moves.up(app, run, out)


def failed(app: App, event: ev.Failed, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    if not (run.failure and has_place(run.failure) and not has_place(event.failure)):
        # Else it is the echo of one that is known: a master that says that its worker failed.
        run.failure = event.failure
    if run.phase in (Phase.STARTING, Phase.WAITING) and event.failure.fatal:
        out.append(do.SetTimer(f"give-up-{run.number}", GIVE_UP))
    elif run.up and not event.failure.fatal:
        out.append(do.Outcome("failed", run.number, event.failure.summary, failure=event.failure))


def drained(app: App, event: ev.Drained, out: list[do.Effect]) -> None:
    """It has only to end: whoever waits for its place need not wait for that."""
    run = app.runs[event.run]
    run.drained = True
    newest = app.newest_run
    if app.serving == run.number and newest is not None and newest.phase is Phase.WAITING:
        app.serving = None


def gone(app: App, event: ev.Gone, out: list[do.Effect]) -> None:
    run = app.runs[event.run]
    was, run.phase = run.phase, Phase.GONE
    run.status = event.status
    run.processes.clear()
    run.serving.clear()
    run.waiting.clear()
    in_question = app.serving == run.number or (app.serving is None and not run.drained)
    if app.ending and app.exit_code is None and in_question:
        app.exit_code = event.status
    if app.serving == run.number:
        app.serving = None
    for question in ("checking", "patching", "syncing"):
        asked = getattr(app, question)
        if asked is not None and asked.run == run.number:
            setattr(app, question, None)
    app.lingering = {n: asked for n, asked in app.lingering.items() if asked.run != run.number}
    if run.number != app.newest:
        del app.runs[run.number]
    if app.ending:
        moves.leave_if_empty(app, out)
    elif run.number == app.newest and app.wanted is None and was is not Phase.STOPPING:
        ended_by_itself(app, run, event, out)
    elif run.number == app.newest and app.wanted is None:
        given_up(app, run, out)


def ended_by_itself(
    app: App, run: Run, event: ev.Gone, out: list[do.Effect]
) -> None:
    serving = app.serving_run
    well = event.status == 0 and serving is None
    raised = run.failure is not None and run.failure.fatal
    # With --rerun an exit code is a result (of tests, say), and no failure.
    well = well or (app.options.rerun and serving is None and not event.signal and not raised)
    if well:
        run.failure = None
        reason = moves.end_in_words(event) if event.status else "ended"
        out.append(do.Outcome("ended", run.number, reason, run.wanted.verdicts))
    else:
        if event.signal or not raised or run.failure is None:
            run.failure = Failure(moves.end_in_words(event, early=serving is not None), where="end")
        failure = run.failure
        if serving is not None and app.alone is None and moves.needs_to_be_alone(failure):
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
    if run.midway and not app.options.once and app.options.on_exit != "end":
        # Some of what it did is of the old code: only another run is what was saved.
        cause = f"it ended, and {run.midway} had run before it was patched"
        app.wanted = Wanted(cause, forced=True)
    elif app.options.once or (well and not app.options.rerun) or app.options.on_exit == "end":
        moves.end(app, event.status)
        moves.leave_if_empty(app, out)
    elif not well and app.options.on_exit == "restart":
        out.append(do.SetTimer("again", min(PAUSE * 2**app.deaths, LONGEST_PAUSE)))
        app.deaths += 1


def given_up(app: App, run: Run, out: list[do.Effect]) -> None:
    """A run was stopped without another being wanted: it had failed, yet would not end."""
    failure = run.failure or Failure("it was stopped before it was up", where="end")
    run.failure = failure
    out.append(do.Outcome("failed", run.number, failure.summary, run.wanted.verdicts, failure))
    if app.serving is None:
        out.append(do.CloseSockets())


def synced(app: App, event: ev.Synced, out: list[do.Effect]) -> None:
    asked = app.syncing
    if asked is None or asked.id != event.id:
        return
    app.syncing = None
    run = app.newest_run
    for path in asked.paths:
        if run and path in run.loaded:
            if path not in app.unread and path in app.unknown:
                moves.tell(app, out, verdicts.of_unchanged(app, path), app.unknown.pop(path))
            # else it was reported just now, and is being read: see files_loaded
        elif path in app.unknown:
            moves.tell(app, out, verdicts.of_unloaded(app, path), app.unknown.pop(path))


def checked(app: App, event: ev.Checked, out: list[do.Effect]) -> None:
    asked = app.checking
    if asked is None or asked.id != event.id:
        return
    app.checking = None
    for result in event.results:
        app.saved[result.path] = result.digest
    run = app.newest_run
    if run is None or run.number != asked.run:
        return
    run.paused = event.paused
    if app.serving_run is not None and app.serving_run is not run:
        app.serving_run.paused = event.serving_paused
    stale = run.stale(app.saved)
    if not set(stale) <= {result.path for result in event.results}:
        return  # more became stale meanwhile: all of it is checked together
    results = [result for result in event.results if result.path in stale]
    app.held = {result.path: result.problem for result in results if result.problem}
    app.judged = moves.fingerprint(app, run)
    for result in event.results:
        path = result.path
        if path not in stale and path in app.unjudged:
            moves.tell(app, out, verdicts.of_unchanged(app, path), app.unjudged.pop(path))
    made = verdicts.of_stale(app, run, results)
    for verdict in made:
        moves.tell(app, out, verdict, app.unjudged.pop(verdict.path, []))
    act(app, run, made, results, out)


def act(
    app: App,
    run: Run,
    made: tuple[Verdict, ...],
    results: list[ev.CheckResult],
    out: list[do.Effect],
) -> None:
    """Do what the verdicts say, all files together."""
    actions = {verdict.action for verdict in made}
    paths = tuple(verdict.path for verdict in made)
    if Action.HOLD in actions:
        app.wanted = None if app.wanted is None or not app.wanted.forced else app.wanted
        culprit = next(v for v in made if v.path in app.held)
        out.append(do.Outcome("held", run.number, culprit.reason, made))
    elif Action.RESTART in actions:
        gravest = next(v for v in made if v.action is Action.RESTART)
        moves.want(app, out, Wanted(gravest.reason, made, paths))
    elif Action.PATCH in actions:
        app.patching = Asked(app.next_id(), run.number, paths, made)
        changed = {v.path for v in made if v.action is Action.PATCH}
        files = tuple(result for result in results if result.path in changed)
        out.append(do.Patch(app.patching.id, run.number, files))
    else:
        moves.now_runs(app, run, paths)


def patched(app: App, event: ev.Patched, out: list[do.Effect]) -> None:
    if event.id in app.lingering:
        asked = app.lingering.pop(event.id)
        if event.live:
            reason = f"{event.live[0]} still runs its old body"
            # Its digests are right, so nothing is stale: only this reason is left to restart.
            _restart_instead(app, asked, reason, (), out, forced=True)
        return
    if app.patching is None or app.patching.id != event.id:
        return
    asked, app.patching = app.patching, None
    run = app.runs.get(asked.run)
    if run is None or not run.alive:
        return
    moves.now_runs(app, run, asked.paths, dict(app.judged[1]) if app.judged else {})
    changed = [v for v in asked.verdicts if v.action is Action.PATCH]
    reason = changed[0].reason
    if event.live:
        app.lingering[asked.id] = asked
        out.append(do.SetTimer("linger", app.options.linger))
        reason += f"; {len(event.live)} under way with the old body"
    if event.ran and not run.listening:
        run.midway = event.ran[0]
        reason += f"; what {run.midway} did before stays"
    out.append(do.Outcome("patched", run.number, reason, asked.verdicts))


def refused(app: App, event: ev.Refused, out: list[do.Effect]) -> None:
    asked = app.lingering.pop(event.id, None)
    forced = asked is not None
    if asked is None and app.patching is not None and app.patching.id == event.id:
        asked, app.patching = app.patching, None
    if asked is not None:
        _restart_instead(app, asked, event.reason, event.evidence, out, forced=forced)


def _restart_instead(
    app: App,
    asked: Asked,
    reason: str,
    evidence: tuple[Evidence, ...],
    out: list[do.Effect],
    *,
    forced: bool,
) -> None:
    made = tuple(verdicts.of_refused(v, reason, evidence) for v in asked.verdicts)
    for verdict in made:
        moves.tell(app, out, verdict, [])
    moves.want(app, out, Wanted(made[0].reason, made, asked.paths, forced=forced))


def resumed(app: App, event: ev.Resumed, out: list[do.Effect]) -> None:
    app.runs[event.run].paused = None


def timer_fired(app: App, event: ev.TimerFired, out: list[do.Effect]) -> None:
    if event.name == "quiet":
        app.quiet = True
    elif event.name == "again" and app.wanted is None and app.serving is None and not app.ending:
        app.wanted = Wanted("it ended by itself", forced=True)
    elif event.name == "linger":
        out.extend(do.Recheck(asked.id, asked.run) for asked in app.lingering.values())
    elif event.name == "interrupt":
        for run in app.runs.values():
            moves.stop(run, out, drain=False, why="it did not end at Ctrl-C")
    elif event.name.startswith(("give-up-", "workers-")):
        what, _, number = event.name.rpartition("-")
        slow = app.runs.get(int(number))
        if slow is not None and what == "workers":
            slow.workers = 1
        elif slow is not None and slow.phase in (Phase.STARTING, Phase.WAITING):
            moves.stop(slow, out, drain=False, why="it failed and did not end")


NOTE: dict[type, Callable[[App, Any, list[do.Effect]], None]] = {
    ev.Begin: begin,
    ev.Saved: saved,
    ev.RestartAsked: restart_asked,
    ev.StopAsked: stop_asked,
    ev.Interrupted: interrupted,
    ev.ConfigRead: config_read,
    ev.Started: started,
    ev.CannotStart: cannot_start,
    ev.ProcessUp: process_up,
    ev.ProcessDown: process_down,
    ev.FilesLoaded: files_loaded,
    ev.FilesReread: files_reread,
    ev.FilesWritten: files_written,
    ev.Listening: listening,
    ev.Waiting: waiting,
    ev.Settled: settled,
    ev.Failed: failed,
    ev.Drained: drained,
    ev.Gone: gone,
    ev.Synced: synced,
    ev.Checked: checked,
    ev.Resumed: resumed,
    ev.Patched: patched,
    ev.Refused: refused,
    ev.FilesRead: files_read,
    ev.TimerFired: timer_fired,
}
