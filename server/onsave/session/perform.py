"""What the session does when the core says so: one function an effect, and no decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from onsave.core import effects as do
from onsave.core import events as ev
from onsave.session import environment, files
from onsave.session.platform import here
from onsave.session.process import SpawnError

if TYPE_CHECKING:
    from onsave.session.session import Session


def start(session: Session, effect: do.Start) -> None:
    run = effect.run
    session.outcomes.started(run)
    extra = environment.digests(session.settings)
    from_snapshot = None
    try:
        argv, env, told = session.prepare_start(run, extra, beside=effect.beside is not None)
        snapshot = session.snapshots.resume(run, argv, env, told, effect.stale)
        if snapshot is not None:
            pid, from_snapshot = snapshot.pid, snapshot.before or ""
        else:
            pid = session.processes.start(run, argv, env, session.cwd)
    except (SpawnError, environment.EnvironmentProblem) as error:
        status = error.status if isinstance(error, SpawnError) else 1
        session.post(ev.CannotStart(run, str(error), status, extra))
    else:
        session.post(ev.Started(run, pid, extra, from_snapshot))


def stop(session: Session, effect: do.Stop) -> None:
    session.processes.stop(effect.run, effect.drain)


def kill(session: Session, effect: do.Kill) -> None:
    session.processes.kill(effect.run)


def forward(session: Session, effect: do.Forward) -> None:
    if not here.in_foreground():
        session.processes.interrupt(effect.run)


def release(session: Session, effect: do.Release) -> None:
    session.listeners.revive()
    session.agents.release(effect.ids)


def close_sockets(session: Session, effect: do.CloseSockets) -> None:
    session.listeners.close()


def await_settled(session: Session, effect: do.AwaitSettled) -> None:
    session.settling.begin(effect.run)


def await_resumed(session: Session, effect: do.AwaitResumed) -> None:
    session.agents.await_resumed(effect.run)


def sync(session: Session, effect: do.Sync) -> None:
    session.agents.sync(effect.id, effect.run)


def check(session: Session, effect: do.Check) -> None:
    session.agents.check(effect.id, effect.run, effect.paths)
    # While the app compiles: what it takes to compare the sources, which follows.
    import onsave.core.diff  # noqa: F401


def patch(session: Session, effect: do.Patch) -> None:
    session.agents.patch(effect.id, effect.run, effect.files)


def recheck(session: Session, effect: do.Recheck) -> None:
    session.agents.recheck(effect.id, effect.run)


def read(session: Session, effect: do.Read) -> None:
    digests = tuple(
        (path, files.digest_of(path, files.known_by_stat(session.app, path)))
        for path in effect.paths
    )
    session.post(ev.FilesRead(digests))


def tell(session: Session, effect: do.Tell) -> None:
    session.terminal.verdict(effect.verdict)
    session.clients.tell(effect)


def status_changed(session: Session, effect: do.StatusChanged) -> None:
    session.status_is_news = True


def problems_changed(session: Session, effect: do.ProblemsChanged) -> None:
    session.clients.problems_changed()


def end_session(session: Session, effect: do.EndSession) -> None:
    session.code = effect.code


def set_timer(session: Session, effect: do.SetTimer) -> None:
    cancel(session, effect)
    name = effect.name

    def fire() -> None:
        session.timers.pop(name, None)
        session.post(ev.TimerFired(name))

    session.timers[name] = session.loop.after(effect.seconds, fire)


def cancel(session: Session, effect: do.SetTimer | do.CancelTimer) -> None:
    timer = session.timers.pop(effect.name, None)
    if timer is not None:
        timer.cancel()


def outcome(session: Session, effect: do.Outcome) -> None:
    session.outcomes.tell(effect)
    session.status_is_news = True


PERFORM: dict[type, Callable[[Session, Any], None]] = {
    do.Start: start,
    do.Stop: stop,
    do.Kill: kill,
    do.Forward: forward,
    do.Release: release,
    do.CloseSockets: close_sockets,
    do.AwaitSettled: await_settled,
    do.AwaitResumed: await_resumed,
    do.Sync: sync,
    do.Check: check,
    do.Patch: patch,
    do.Recheck: recheck,
    do.Read: read,
    do.SetTimer: set_timer,
    do.CancelTimer: cancel,
    do.Tell: tell,
    do.Outcome: outcome,
    do.StatusChanged: status_changed,
    do.ProblemsChanged: problems_changed,
    do.EndSession: end_session,
}
