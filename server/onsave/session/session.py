"""``onsave run``: one inbox, one loop. Performs what the core decides, and decides nothing.

Whatever happens (a message, the end of a process, a signal, a timer) becomes an event in the inbox;
``step`` turns it into effects; :meth:`Session.perform` does them, and what comes of one is an event
again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from onsave import config as configuration
from onsave.config import AppConfig
from onsave.control import Entry, RunDirectory
from onsave.core import effects as do
from onsave.core import events as ev
from onsave.core.model import App, Problem
from onsave.core.step import step
from onsave.session import environment, files
from onsave.session.agents import Agents
from onsave.session.clients import Clients
from onsave.session.listeners import Listeners
from onsave.session.loop import READ, Loop, Timer
from onsave.session.peers import Control, Message, Peer
from onsave.session.platform import here
from onsave.session.process import Processes, SpawnError
from onsave.session.record import Record
from onsave.session.settling import Settling
from onsave.session.snapshots import Snapshots
from onsave.session.terminal import Terminal

#: So many sources are read before the loop looks at what else there is to do.
SOURCES_AT_ONCE = 20

#: A run that is up may still bind its second port; so long do we wait before we close what it did
#: not take over, in seconds.
LEFTOVERS_AFTER = 3.0


class Session:
    """One session. ``run()`` returns its exit code.

    name:        unique among the sessions that live
    settings:    of the app
    command:     what to run; overrides the settings'
    cwd:         where to run it
    root:        the workspace's folder: that of the configuration, or the project's
    config_path: where the settings are from, None where there is no file
    problems:    what is wrong in that file
    """

    def __init__(
        self,
        *,
        name: str,
        settings: AppConfig,
        command: Sequence[str],
        cwd: str,
        root: str,
        directory: RunDirectory,
        config_path: str | None = None,
        problems: tuple[Problem, ...] = (),
        once: bool = False,
        rerun: bool = False,
        json_log: str | None = None,
        verbose: bool = False,
    ) -> None:
        self.pid = os.getpid()
        self.name = name
        self.root = root
        self.cwd = cwd
        self.command = list(command)
        self.workspace = tuple(dict.fromkeys([root, os.path.realpath(cwd)]))
        self.ready_ms: int | None = None
        self.last_message = ""
        self.sources = files.Sources()

        self._settings = settings
        self._config_path = config_path
        self._once, self._rerun = once, rerun
        self._code: int | None = None
        self._inbox: deque[ev.Event] = deque()
        self._working = False
        self._timers: dict[str, Timer] = {}
        self._started_at: dict[int, float] = {}
        self._lifeline = environment.lifeline()
        self._base_environment = environment.inherited()
        self._modes: Any = None
        self._guard: tuple[int, int] | None = None
        self._was_up = False
        self._status_is_news = False
        self._edited: set[str] = set()  # files outside the workspace that were saved

        self.app = App(
            options=settings.options(once=once, rerun=rerun), config_problems=problems
        )
        self.record = Record(json_log) if json_log else None
        self.terminal = Terminal(root=root, verbose=verbose)
        self.loop = Loop(self.bug)
        self.listeners = Listeners()
        self.agents = Agents(self, self.listeners)
        self.clients = Clients(self)
        self.processes = Processes(
            self.loop, self.post, self.agents.drain, self.agents.run_of, self._hear_last_words
        )
        self.snapshots = Snapshots(self)
        self._use(settings)
        self.settling = Settling(self)
        self._directory = directory
        self._control = Control(
            self.loop,
            directory.socket_path(name),
            self._hello,
            self._message,
            self._peer_gone,
            self.bug,
        )
        self._entry: Entry | None = None

    # --- the life of a session --------------------------------------------------------------

    def run(self) -> int:
        """Until the core says that the session ends. Raises ControlError for a name in use."""
        try:
            self._register()
            self._modes = here.terminal_modes()
            self.loop.watch_signals(here.WATCHED_SIGNALS, self._signal)
            self._hold_on_to_lifeline()
            self.terminal.running(self.command)
            self.post(ev.Begin())
            self.work()
            self.loop.after(0, self._after_the_start)
            while self._code is None:
                self.loop.turn()
                self.work()
                self.clients.answer_what_is_ready()
            return self._code
        finally:
            self._close()

    def _register(self) -> None:
        try:
            self._entry = self._directory.register(
                "session", self.name, self.root, self._control.address, self._control.token
            )
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(self._control.address)
            raise

    def _hold_on_to_lifeline(self) -> None:
        """End with the server that started us without a terminal, where one did."""
        if self._lifeline is None:
            return
        end = self._lifeline

        def closed(_events: int) -> None:
            self.loop.forget(end)
            self.post(ev.StopAsked())

        self.loop.watch(end, READ, closed)

    def _after_the_start(self) -> None:
        """What can wait until the app's interpreter is on its way."""
        from onsave.control import announce

        self._guard = here.guard(f'"socket":"{self._control.address}"')
        if self._guard is not None:
            self.processes.helpers.add(self._guard[0])
        for problem in self.app.config_problems:
            self.terminal.problem(problem.path, problem.range[0] + 1, problem.message)
        if self._entry is not None:
            announce(self._directory, self._entry)

    def _close(self) -> None:
        """Leave nothing behind, whatever state we are in."""
        with contextlib.suppress(Exception):
            self.processes.kill_all()
        with contextlib.suppress(Exception):
            self.snapshots.close()
        with contextlib.suppress(Exception):
            self.clients.goodbye(self._code if self._code is not None else 1)
        self._control.close()
        self.listeners.close()
        if self._entry is not None:
            self._directory.remove(self._entry)
        here.restore_terminal(self._modes)
        if self._guard is not None:
            here.dismiss(self._guard)
        self.loop.close()
        if self.record is not None:
            self.record.close()

    # --- the inbox --------------------------------------------------------------------------

    def post(self, event: ev.Event) -> None:
        """Put an event into the inbox. Never works on it at once: whoever posts is not done."""
        self._inbox.append(event)

    def work(self) -> None:
        """Take in all events of the inbox, and do what the core says."""
        if self._working:
            return
        self._working = True
        try:
            while self._inbox:
                event = self._inbox.popleft()
                try:
                    self._take(event)
                except Exception as error:
                    self.bug(error, event)
        finally:
            self._working = False

    def _take(self, event: ev.Event) -> None:
        if self.record is not None:
            self.record.event(event)
        for effect in step(self.app, event):
            if self.record is not None:
                self.record.effect(effect)
            try:
                _PERFORM[type(effect)](self, effect)
            except Exception as error:
                self.bug(error, effect)
        if isinstance(event, ev.Gone):
            self._after_gone(event)
        if self._status_is_news:
            # Only now: who hears that the app is broken may expect its sockets to be closed.
            self._status_is_news = False
            self.clients.status_changed()

    def bug(self, error: Exception, during: object = None) -> None:
        """An exception that should not have been: told with what to report, and survived."""
        import traceback

        text = "".join(traceback.format_exception(error))
        what = f" at {type(during).__name__}" if during is not None else ""
        self.terminal.error(
            f"a bug in onsave{what}, please report it (the session goes on):\n{text}"
        )
        if self.record is not None:
            self.record.bug(f"{during!r}\n{text}")

    def log(self, level: str, text: str) -> None:
        """Something that the user should know once, on the terminal and in editors."""
        self.terminal.once(text)
        self.clients.broadcast({"type": "log", "level": level, "text": text})

    # --- what happens -----------------------------------------------------------------------

    def _who(self, peer: Peer) -> Agents | Clients | Snapshots:
        if peer.role == "agent":
            return self.agents
        return self.snapshots if peer.role == "snapshot" else self.clients

    def _hello(self, peer: Peer, message: Message) -> None:
        self._who(peer).hello(peer, message)
        if peer.role == "agent":
            self.snapshots.agent_said_hello(peer.run, peer.pid, message["executable"])

    def _message(self, peer: Peer, message: Message) -> None:
        # What came before is taken in first: a save is read or not by what is loaded by then.
        self.work()
        self._who(peer).message(peer, message)

    def _peer_gone(self, peer: Peer) -> None:
        self._who(peer).gone(peer)

    def _hear_last_words(self) -> None:
        self._control.catch_up()

    def _signal(self, number: int) -> None:
        if number == here.CHILD_SIGNAL:
            self.processes.children_ended()
        elif number == here.INTERRUPT:
            self.post(ev.Interrupted())
        elif number in (signal.SIGTERM, getattr(signal, "SIGHUP", None)):
            self.post(ev.StopAsked())
        # SIGQUIT is the app's affair: it gets it from the terminal like us.

    def fallback_python(self) -> str:
        """The interpreter to compile with where the app's own is not known."""
        self.log(
            "warning", "the app's interpreter is not known: files are checked with onsave's own"
        )
        return sys.executable

    def before_loaded(self, run: int, loaded: Sequence[ev.LoadedFile]) -> None:
        """Called with what an agent reports, just before the core hears of it."""
        self.settling.heard_of(run)
        for file in loaded:
            saved = self.app.saved.get(file.path)
            if saved is None or file.digest is None or saved == file.digest:
                continue
            by_stat = file.digest.startswith("stat:")
            if by_stat != saved.startswith("stat:") and saved != "absent":
                # A file that has grown or shrunk past the size that is hashed: like with like.
                self.post(ev.FilesRead(((file.path, files.digest_of(file.path, by_stat)),)))

    def config_saved(self, paths: set[str]) -> None:
        """Read the configuration again where it is among what was saved."""
        if self._config_path is None or os.path.realpath(self._config_path) not in paths:
            return
        config, problems = configuration.read_file(self._config_path)
        old = self._settings
        new = config.apps.get(old.name, config.defaults) if old.name else config.defaults
        if problems and not config.apps and config.defaults == AppConfig():
            new = old  # a file that can't be parsed says nothing about the app
        restart = configuration.differs_at_start(old, new)
        if restart and new.command and new.command != old.command:
            self.command = list(new.command)
        self._use(new)
        for problem in problems:
            self.terminal.problem(problem.path, problem.range[0] + 1, problem.message)
        options = new.options(once=self._once, rerun=self._rerun)
        self.post(ev.ConfigRead(options, problems, restart))

    def _use(self, settings: AppConfig) -> None:
        self._settings = settings
        self.processes.stop_signal = int(signal.Signals[settings.stop_signal])
        self.processes.stop_timeout = settings.stop_timeout
        self.snapshots.enabled = settings.snapshots

    # --- performing -------------------------------------------------------------------------

    def _start(self, effect: do.Start) -> None:
        run = effect.run
        self._started_at[run] = time.monotonic()
        extra = environment.digests(self._settings)
        from_snapshot = None
        try:
            argv, env, told = self.prepare_start(run, extra, beside=effect.beside is not None)
            pid = self.snapshots.resume(run, argv, env, told, effect.stale)
            if pid is not None:
                from_snapshot = "base"
            else:
                pid = self.processes.start(run, argv, env, self.cwd)
        except (SpawnError, environment.EnvironmentProblem) as error:
            status = error.status if isinstance(error, SpawnError) else 1
            self.post(ev.CannotStart(run, str(error), status, extra))
        else:
            self.post(ev.Started(run, pid, extra, from_snapshot))

    def prepare_start(
        self, run: int, extra: environment.Extra | None = None, *, beside: bool, **more: Any
    ) -> tuple[list[str], dict[str, str], dict[str, Any]]:
        """The command, its environment, and what stands in that for the agent.

        more: what only a snapshot is told. Raises EnvironmentProblem.
        """
        settings = self._settings
        told = {
            "socket": self._control.address,
            "token": self._control.token,
            "run": run,
            "roots": list(self.workspace),
            "ignore": list(settings.ignore),
            "data": list(settings.data_files)
            if isinstance(settings.data_files, tuple)
            else settings.data_files,
            "edited": self._edited_outside(),
            "held": len(self.listeners) > 0,
            "beside": beside,
            **more,
        }
        if extra is None:
            extra = environment.digests(settings)
        env = environment.for_app(settings, extra, told, self._base_environment)
        return environment.command(settings, self.command), env, told

    def _edited_outside(self) -> list[str]:
        insides = tuple(root.rstrip(os.sep) + os.sep for root in self.workspace)
        return sorted(
            path
            for path in self.app.saved
            if not path.startswith(insides) or "site-packages" in path
        )

    def _stop(self, effect: do.Stop) -> None:
        self.processes.stop(effect.run, effect.drain)

    def _kill(self, effect: do.Kill) -> None:
        self.processes.kill(effect.run)

    def _forward(self, effect: do.Forward) -> None:
        if not here.in_foreground():
            self.processes.interrupt(effect.run)

    def _release(self, effect: do.Release) -> None:
        self.agents.release(effect.ids)

    def _close_sockets(self, effect: do.CloseSockets) -> None:
        self.listeners.close()

    def _await_settled(self, effect: do.AwaitSettled) -> None:
        self.settling.begin(effect.run)

    def _await_resumed(self, effect: do.AwaitResumed) -> None:
        self.agents.await_resumed(effect.run)

    def _sync(self, effect: do.Sync) -> None:
        self.agents.sync(effect.id, effect.run)

    def _check(self, effect: do.Check) -> None:
        self.agents.check(effect.id, effect.run, effect.paths)

    def _patch(self, effect: do.Patch) -> None:
        self.agents.patch(effect.id, effect.run, effect.files)

    def _recheck(self, effect: do.Recheck) -> None:
        self.agents.recheck(effect.id, effect.run)

    def _read(self, effect: do.Read) -> None:
        read = [
            (path, files.digest_of(path, files.known_by_stat(self.app, path)))
            for path in effect.paths
        ]
        self.post(ev.FilesRead(tuple(read)))

    def _set_timer(self, effect: do.SetTimer) -> None:
        self._cancel(effect.name)
        name = effect.name

        def fire() -> None:
            self._timers.pop(name, None)
            self.post(ev.TimerFired(name))

        self._timers[name] = self.loop.after(effect.seconds, fire)

    def _cancel_timer(self, effect: do.CancelTimer) -> None:
        self._cancel(effect.name)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _tell(self, effect: do.Tell) -> None:
        self.terminal.verdict(effect.verdict)
        self.clients.tell(effect)

    def _outcome(self, effect: do.Outcome) -> None:
        seconds = self._seconds_for(effect)
        if effect.what in ("started", "restarted"):
            run = self.app.runs[effect.run]
            since = self._started_at.get(effect.run, time.monotonic())
            self.ready_ms = round((time.monotonic() - since) * 1000)
            self._keep_sources()
            self.loop.after(LEFTOVERS_AFTER, self._close_leftovers)
            self.last_message = f"{effect.what} in {seconds:.2f} s"
            self.snapshots.run_up(effect.run, time.monotonic() - since)
            if run.from_snapshot is not None:
                effect = dataclasses.replace(effect, reason=f"from a snapshot; {effect.reason}")
            first, self._was_up = not self._was_up, True
            if effect.what == "started" or first:
                self.terminal.ready(run.listening, seconds, self.clients.editors > 0)
            else:
                self.terminal.outcome(effect, seconds)
        else:
            reason = effect.failure.summary if effect.failure else effect.reason
            self.last_message = f"{effect.what}: {reason}" if reason else effect.what
            self.terminal.outcome(effect, seconds)
            self.snapshots.plan()
        self._status_is_news = True

    def _keep_sources(self) -> None:
        """Read, a few at a time while nothing else is to do, the sources that the app runs.

        A later edit is compared with them. One that has changed meanwhile is not kept.
        """
        run = self.app.newest_run
        if run is None:
            return
        wanted = [
            (path, digest)
            for path, entry in run.loaded.items()
            if entry.kind in ("module", "main") and path.startswith(self.workspace)
            for digest in entry.digests.values()
            if digest is not None and digest not in self.sources
        ]
        for path, digest in wanted[:SOURCES_AT_ONCE]:
            found, content = files.read(path)
            self.sources.keep(digest, content if found == digest else None)
        if len(wanted) > SOURCES_AT_ONCE:
            self.loop.after(0.01, self._keep_sources)

    def _close_leftovers(self) -> None:
        """Close the held sockets that the newest run, up for a while, has not asked for."""
        app = self.app
        if app.serving == app.newest and not app.busy:
            self.listeners.keep_only({app.newest})

    def _seconds_for(self, outcome: do.Outcome) -> float:
        """From the first save that led to it; where none did, from the run's start."""
        told_at = self.clients.told_at
        moments = [told_at[v.path] for v in outcome.verdicts if v.path in told_at]
        since = min(moments, default=self._started_at.get(outcome.run, time.monotonic()))
        return time.monotonic() - since

    def _status_changed(self, effect: do.StatusChanged) -> None:
        self._status_is_news = True

    def _problems_changed(self, effect: do.ProblemsChanged) -> None:
        self.clients.problems_changed()

    def _end_session(self, effect: do.EndSession) -> None:
        self._code = effect.code

    def _after_gone(self, event: ev.Gone) -> None:
        """A run's processes have ended: put right what they may have left behind."""
        here.restore_terminal(self._modes)
        self.listeners.run_gone(event.run)
        self.agents.run_gone(event.run)
        self.snapshots.run_gone(event.run, event.signal)
        self._started_at.pop(event.run, None)
        for process in event.refused:
            self.terminal.error(f"process {process} could not be ended")


_PERFORM: dict[type, Callable[[Session, Any], None]] = {
    do.Start: Session._start,
    do.Stop: Session._stop,
    do.Kill: Session._kill,
    do.Forward: Session._forward,
    do.Release: Session._release,
    do.CloseSockets: Session._close_sockets,
    do.AwaitSettled: Session._await_settled,
    do.AwaitResumed: Session._await_resumed,
    do.Sync: Session._sync,
    do.Check: Session._check,
    do.Patch: Session._patch,
    do.Recheck: Session._recheck,
    do.Read: Session._read,
    do.SetTimer: Session._set_timer,
    do.CancelTimer: Session._cancel_timer,
    do.Tell: Session._tell,
    do.Outcome: Session._outcome,
    do.StatusChanged: Session._status_changed,
    do.ProblemsChanged: Session._problems_changed,
    do.EndSession: Session._end_session,
}
