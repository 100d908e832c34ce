"""``onsave run``: one inbox, one loop. Performs what the core decides, and decides nothing.

Whatever happens (a message, the end of a process, a signal, a timer) becomes an event in the inbox;
``step`` turns it into effects; :mod:`onsave.session.perform` does them, and what comes of one is an
event again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

from onsave import config as configuration
from onsave.config import AppConfig
from onsave.control import Entry, RunDirectory
from onsave.core import events as ev
from onsave.core.model import App, Problem
from onsave.core.step import step
from onsave.session import environment, files
from onsave.session.agents import Agents
from onsave.session.clients import Clients
from onsave.session.listeners import Listeners
from onsave.session.loop import READ, Loop, Timer
from onsave.session.outcomes import Outcomes
from onsave.session.peers import Control, Message, Peer
from onsave.session.perform import PERFORM
from onsave.session.platform import here
from onsave.session.process import Processes
from onsave.session.record import Record
from onsave.session.settling import Settling
from onsave.session.snapshots import Snapshots
from onsave.session.sources import Sources
from onsave.session.terminal import Terminal


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
        self.timers: dict[str, Timer] = {}  # the core's, by name
        self.code: int | None = None  # the exit code, once it is time to leave
        self.status_is_news = False

        self.settings = settings
        self._config_path = config_path
        self._once, self._rerun = once, rerun
        self._inbox: deque[ev.Event] = deque()
        self._working = False
        self._lifeline = environment.lifeline()
        self._base_environment = environment.inherited()
        self._modes: Any = None
        self._guard: tuple[int, int] | None = None

        self.app = App(
            options=settings.options(once=once, rerun=rerun), config_problems=problems
        )
        self.record = Record(json_log) if json_log else None
        self.terminal = Terminal(root=root, verbose=verbose)
        self.loop = Loop(self.bug)
        self.listeners = Listeners()
        self.sources = Sources(self.loop, self.workspace)
        self.agents = Agents(self, self.listeners)
        self.clients = Clients(self)
        self.processes = Processes(
            self.loop, self.post, self.agents.drain, self.agents.run_of, self._hear_last_words
        )
        self.snapshots = Snapshots(self)
        self._use(settings)
        self.settling = Settling(self)
        self.outcomes = Outcomes(self)
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
            while self.code is None:
                self.loop.turn()
                self.work()
                self.clients.answer_what_is_ready()
            return self.code
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
            self.clients.goodbye(self.code if self.code is not None else 1)
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
                PERFORM[type(effect)](self, effect)
            except Exception as error:
                self.bug(error, effect)
        if isinstance(event, ev.Gone):
            self._after_gone(event)
        if self.status_is_news:
            # Only now: who hears that the app is broken may expect its sockets to be closed.
            self.status_is_news = False
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
        self.sources.loaded(loaded)
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
        old = self.settings
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
        self.settings = settings
        self.processes.stop_signal = int(signal.Signals[settings.stop_signal])
        self.processes.stop_timeout = settings.stop_timeout
        self.snapshots.use(settings.snapshots, settings.overlap)

    # --- what a run is started with ---------------------------------------------------------

    def prepare_start(
        self, run: int, extra: environment.Extra | None = None, *, beside: bool, **more: Any
    ) -> tuple[list[str], dict[str, str], dict[str, Any]]:
        """The command, its environment, and what stands in that for the agent.

        more: what only a snapshot is told. Raises EnvironmentProblem.
        """
        settings = self.settings
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
        if settings.before_snapshot or settings.after_resume:
            told["before-snapshot"] = list(settings.before_snapshot)
            told["after-resume"] = list(settings.after_resume)
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

    def _after_gone(self, event: ev.Gone) -> None:
        """A run's processes have ended: put right what they may have left behind."""
        here.restore_terminal(self._modes)
        self.listeners.run_gone(event.run)
        self.agents.run_gone(event.run)
        self.snapshots.run_gone(event.run, event.signal)
        self.outcomes.gone(event.run)
        for process in event.refused:
            self.terminal.error(f"process {process} could not be ended")
