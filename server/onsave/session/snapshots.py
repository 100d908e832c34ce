"""The snapshots of a session: started, scouted, filled, resumed, ended.

While the app runs and nothing is under way, its command is started once more, with a word to
the agent how far to go: up to just before a file that was edited lately, or, where libraries are to
be imported ahead, nowhere. A restart then sends that process on as the new run. How far it may go,
and what it may import ahead, is found out before, by processes that are thrown away. Whatever is in
the way, the app is started cold, and ``status`` says why.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onsave.core import events as ev
from onsave.core import snapshots as policy
from onsave.core.model import Phase
from onsave.session import eligible, messages, standby
from onsave.session.environment import EnvironmentProblem
from onsave.session.findings import Findings, Stand
from onsave.session.peers import Message, Peer
from onsave.session.platform import here
from onsave.session.standby import Snapshot
from onsave_agent import protocol

if TYPE_CHECKING:
    from onsave.session.session import Session

#: How long the app is left alone after it came up, before the snapshot is started, in seconds.
IDLE = 0.3
#: The same, where a file that it depends on had just changed.
LATER = 1.0
#: Snapshots that end by themselves, so many, are not started any more.
MOST_DEATHS = 3
#: A snapshot that has not got that far by then never will, in seconds.
HELLO_WITHIN = 20.0
WARM_WITHIN = 120.0
#: What a process that was started for a purpose does, once it has said hello.
_DOES = {"stand": "warming", "scout": "scouting", "trial": "trying"}


class Snapshots:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._numbers = itertools.count(1)
        self._all: dict[int, Snapshot] = {}
        self._found = Findings()
        self._cold: float | None = None  # seconds that a cold start took
        self._resumed: dict[int, float] = {}  # run → when
        self._banned = ""
        self._ups: set[int] = set()
        self._deaths = 0
        self._doubt = ""  # why the next start is to be cold
        self._executable = ""  # the app's Python, where the command is that
        self._planned = False
        self._closed = False
        self._enabled = False
        #: Why the next start will be cold; "" where a snapshot is ready, or on its way.
        self.reason = "the app was not up yet"

    def use(self, setting: bool | int | str, overlap: bool) -> None:
        """``snapshots`` of the configuration, and whether two runs may be beside each other."""
        found = self._found
        self._enabled, found.libraries = bool(setting), setting == "libraries"
        found.most = int(setting) if isinstance(setting, int) else 1
        found.refused = ""
        if not here.RUNS_AHEAD:
            found.refused, found.libraries = "that is for Linux", False
        elif not overlap:
            found.refused = "overlap is off"
        elif setting == "spare":
            found.refused = "that is off in the configuration"

    # --- making one -------------------------------------------------------------------------

    def run_up(self, run: int, seconds: float) -> None:
        """Run ``run`` is up, or has ended well, ``seconds`` after it was started."""
        self._ups.add(run)
        if run in self._resumed:
            self._found.known.trials = 0
        elif self._cold is None:
            self._cold = seconds
        if self._doubt:
            self._ban(self._doubt)
            self._session.log("warning", f"from now on restarts are cold: {self._doubt}")
            self._doubt = ""
        self.plan()

    def edited(self, paths: Iterable[str]) -> None:
        """The app was restarted, or patched, for these files: they may well be edited again."""
        self._found.edits.note(paths)

    def agent_said_hello(self, run: int, pid: int, executable: str) -> None:
        if pid == self._session.processes.root(run):
            self._executable = executable

    def plan(self, after: float = IDLE) -> None:
        """See to a snapshot as soon as nothing is under way."""
        if not self._planned and not self._closed:
            self._planned = True
            self._session.loop.after(after, self._prepare)

    def _prepare(self) -> None:
        """Go one step further towards a snapshot that is ready: a trial first, if need be."""
        self._planned = False
        session = self._session
        run = session.app.newest_run
        if self._closed or session.app.ending or run is None:
            return
        if session.app.checking or session.app.patching:
            self.plan()
            return
        if session.app.busy:
            return  # a run's coming up, or its failure, brings us back
        if not all(snapshot.ready for snapshot in self._all.values()):
            return  # its end, or its being ready, brings us back
        if run.up or run.failure is None:
            self._found.known.heard(run)
        if not self._may_be():
            self._end_all()
            return
        for snapshot in list(self._all.values()):
            if not self._fits(snapshot):
                self._end(snapshot)
        found = self._found
        target = found.wants_scout()
        if target is not None:
            self._start("scout", target)
        elif found.wants_trial() and (self._all or not found.names):
            if found.known.trials < policy.MOST_TRIALS:
                self._start("trial")
            else:
                self._ban("what can be imported ahead is different each time")
        else:
            self._stand_by()

    def _stand_by(self) -> None:
        """See to one process for each place that is of use."""
        stands = self._found.stands()
        taken = []
        for snapshot in list(self._all.values()):
            stand = (snapshot.before, snapshot.names)
            if stand in stands:
                taken.append(stand)
            else:
                self._end(snapshot)
        free = next((stand for stand in stands if stand not in taken), None)
        if free is not None:
            self._start("stand", stand=free)
        elif stands == [(None, [])]:
            self.reason = self._found.why

    def _may_be(self) -> bool:
        """Whether any process may stand by; sets the reason where not."""
        if not self._enabled:
            self.reason = "snapshots are off in the configuration"
        else:
            self.reason = self._banned or eligible.why_not(self._session, self._executable) or ""
        return not self.reason

    def _start(
        self, purpose: str, until: frozenset[str] = frozenset(), stand: Stand | None = None
    ) -> None:
        session = self._session
        number = next(self._numbers)
        try:
            argv, env, told = session.prepare_start(0, beside=False, snapshot=number)
            started = time.time_ns()
            pid = here.spawn(argv, env, session.cwd)
        except Exception as error:
            self._ban(f"a snapshot can't be started: {error}")
            return
        session.processes.helpers.add(pid)
        env = standby.without_agent(env)
        snapshot = Snapshot(
            number, pid, argv, env, session.cwd, told, purpose, started, until=until
        )
        if stand is not None:
            self._found.assign(snapshot, stand)
        self._all[number] = snapshot
        if not self._ready():
            self.reason = "the snapshot is not ready yet"
        session.loop.after(HELLO_WITHIN, lambda: self._too_slow(number, "starting"))
        session.loop.after(WARM_WITHIN, lambda: self._too_slow(number, *_DOES.values()))

    def _too_slow(self, number: int, *states: str) -> None:
        snapshot = self._all.get(number)
        if snapshot is not None and snapshot.state in states:
            self._end(snapshot)
            self._ban(f"a snapshot did not get further than {snapshot.state}")

    # --- what snapshots say -----------------------------------------------------------------

    def hello(self, peer: Peer, message: Message) -> None:
        snapshot = self._all.get(message["snapshot"])
        if snapshot is None or snapshot.pid != message["pid"]:
            peer.send({"type": "discard"})
            peer.finish()
            if snapshot is not None:
                self._end(snapshot)
                self._ban("the command starts Python in a process of its own")
            return
        peer.pid = message["pid"]
        snapshot.peer = peer
        if message["refused"]:
            self._end(snapshot)
            self._ban(str(message["refused"]))
            return
        run = self._session.app.newest_run
        snapshot.state = _DOES[snapshot.purpose]
        peer.send(self._found.ask(snapshot, forks=run is not None and len(run.processes) > 1))

    def message(self, peer: Peer, message: Message) -> None:
        snapshot = self._of(peer)
        if snapshot is None:
            return
        if message["type"] == "tried":
            self._end(snapshot)
            self._found.take_trial(snapshot, message)
            self.plan(0)
        elif message["type"] == "scouted":
            self._end(snapshot)
            new = self._found.take_scout(snapshot, message)
            if new and not self._ready():
                self.reason = f"{new} has just changed"
            self.plan(LATER if new else 0)
        elif message["type"] == "warmed":
            self._warmed(snapshot, message)

    def _warmed(self, snapshot: Snapshot, message: Message) -> None:
        new = self._found.note_what_it_depends_on(snapshot, message)
        if message["refused"] or new:
            self._end(snapshot)
            self.reason = str(message["refused"] or f"{new} has just changed")
            if message["refused"] and snapshot.before is not None:
                self._found.goes_elsewhere(snapshot.until, self.reason)
            elif message["refused"]:
                self._found.known.tried.clear()  # other than in the trial: another one
            self.plan(IDLE if message["refused"] else LATER)
            return
        snapshot.modules = message["modules"]
        snapshot.state = "ready"
        self.plan(0)

    def gone(self, peer: Peer) -> None:
        snapshot = self._of(peer)
        if snapshot is None:
            return
        self._end(snapshot)
        if snapshot.purpose == "trial":
            self._ban("the trial of what can be imported ahead has ended early")
            return
        if not snapshot.ready:
            # As far as it had to come, it did not come: another start would not, either.
            reason = "the app's start goes another way each time"
            self._found.goes_elsewhere(snapshot.until, reason)
        self.reason = "the snapshot has ended"
        self._deaths += 1
        if self._deaths > MOST_DEATHS:
            self._ban("snapshots end by themselves")
        else:
            self.plan()

    def _ready(self) -> list[Snapshot]:
        """Those that can be sent on, the one that has come furthest first."""
        ready = [snapshot for snapshot in self._all.values() if snapshot.ready]
        return sorted(ready, key=lambda snapshot: snapshot.modules, reverse=True)

    def _of(self, peer: Peer) -> Snapshot | None:
        return next((known for known in self._all.values() if known.peer is peer), None)

    # --- resuming ---------------------------------------------------------------------------

    def resume(
        self, run: int, argv: list[str], env: dict[str, str], told: Mapping[str, Any],
        stale: Sequence[str],
    ) -> Snapshot | None:  # fmt: skip
        """Send the snapshot on as run ``run``; None where the start has to be cold.

        stale: for which files; none where somebody asked for a restart: they get a whole one.
        """
        self.edited(stale)
        if not stale or self._doubt:
            return None
        for snapshot in self._ready():
            why = self._why_not(snapshot, argv, env, told, stale)
            if why is None:
                self._send_on(snapshot, run, env)
                return snapshot
            self.reason = why
            self._end(snapshot)
        return None

    def _send_on(self, snapshot: Snapshot, run: int, env: dict[str, str]) -> None:
        assert snapshot.peer is not None
        del self._all[snapshot.number]
        self._session.processes.adopt(run, snapshot.pid)
        settings = env[protocol.ENVIRONMENT_KEY]
        snapshot.peer.send({"type": "resume", "run": run, "settings": settings})
        self._resumed[run] = time.monotonic()
        self.reason = "" if self._ready() else "the snapshot is not ready yet"
        bound = policy.patience(self._cold or 0.0)
        self._session.loop.after(bound, lambda: self._watch(run, bound))

    def _why_not(
        self, snapshot: Snapshot, argv: list[str], env: dict[str, str], told: Mapping[str, Any],
        stale: Sequence[str],
    ) -> str | None:  # fmt: skip
        if not standby.lives(snapshot.pid):
            return "the snapshot has ended"
        if not snapshot.starts_alike(argv, env, told):
            return "the command, its environment or its settings are different now"
        edited = {*told["edited"], *stale}.intersection(snapshot.files)
        if edited:
            return f"{min(edited)} was edited"
        different = snapshot.different()
        return f"{different} is different now" if different else None

    def _fits(self, snapshot: Snapshot) -> bool:
        try:
            argv, env, told = self._session.prepare_start(0, beside=False)
        except EnvironmentProblem:
            return False  # no start at all could be made now
        return snapshot.starts_alike(argv, env, told) and (
            not snapshot.ready or snapshot.different() is None
        )

    def _watch(self, number: int, bound: float) -> None:
        """A resumed run that is not up by now is started anew, without snapshot, unless a debugger
        holds it."""
        run = self._session.app.runs.get(number)
        if run is None or run.phase is not Phase.STARTING:
            return

        def answered(answers: dict[Peer, Message], _silent: list[Peer]) -> None:
            paused = any(answer.get("paused") for answer in answers.values())
            if not paused and run.phase is Phase.STARTING:
                self._again(f"the run from the snapshot was not up within {bound:.0f} s")

        agents = self._session.agents
        question = {"type": "check", "files": []}
        agents.questions.ask(dict.fromkeys(agents.peers(number), question), 1.0, answered)

    def unlike(self, run: int, modules: Sequence[Any]) -> None:
        """A resumed run is not what its snapshot was prepared for."""
        found = {str(name): str(reason) for name, reason in modules}
        if "" in found:
            self._again(found[""])
            return
        self._found.known.unlike(found)
        name, reason = next(iter(found.items()))
        self._end_all()
        self._session.post(ev.RestartAsked(by=f"without snapshot: {name}: {reason}"))

    def run_gone(self, number: int, signal: str | None) -> None:
        """A run has ended. Where it failed on its way up in a way that might be the snapshot's
        fault, it is started once more without; if that comes up, there are no more snapshots."""
        resumed = self._resumed.pop(number, None) is not None
        was_up = number in self._ups
        self._ups.discard(number)
        app = self._session.app
        run = app.newest_run
        if run is None or run.number != number or run.failure is None or app.ending:
            return
        if not resumed or was_up:
            self._doubt = ""
        elif policy.is_doubtful(run.failure, signal, self._session.workspace):
            self._doubt = f"the run from the snapshot failed ({run.failure.summary})"
            self._session.post(ev.RestartAsked(by=f"without snapshot: {run.failure.summary}"))

    def _again(self, reason: str) -> None:
        self._ban(reason)
        self._session.log("warning", f"from now on restarts are cold: {reason}")
        self._session.post(ev.RestartAsked(by=f"without snapshot: {reason}"))

    def _ban(self, reason: str) -> None:
        self._banned = self.reason = reason
        self._end_all()

    # --- ending -----------------------------------------------------------------------------

    def _end(self, snapshot: Snapshot) -> None:
        self._all.pop(snapshot.number, None)
        here.send_signal(snapshot.pid, here.KILL)
        if snapshot.peer is not None:
            snapshot.peer.close()

    def _end_all(self) -> None:
        for snapshot in list(self._all.values()):
            self._end(snapshot)

    def close(self) -> None:
        """The session ends."""
        self._closed = True
        self._end_all()

    # --- telling ----------------------------------------------------------------------------

    def origin(self, before: str) -> str:
        """Where a run comes from that a snapshot has become, for people."""
        where = f" before {messages.short(before, self._session.root)}" if before else ""
        cold = f", a cold start takes {self._cold:.2f} s" if self._cold is not None else ""
        what = "snapshot" if before or self._found.libraries else "spare interpreter"
        return f"from a {what}{where}{cold}"

    def status(self) -> Message:
        """What every status says: cheap."""
        return {"ready": bool(self._ready()), "reason": self.reason}

    def full_status(self) -> Message:
        """What ``onsave status --json`` shows under "snapshots"."""
        return {
            **self.status(),
            "processes": [
                {
                    "pid": snapshot.pid,
                    "before": snapshot.before,
                    "state": snapshot.state,
                    "modules": snapshot.modules,
                    "spare": not (snapshot.before or snapshot.names),
                    "bytes": standby.memory(snapshot.pid),
                }
                for snapshot in self._all.values()
            ],
            "skipped": [list(item) for item in sorted(self._found.known.skipped.items())],
        }

