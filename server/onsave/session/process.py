"""The app's processes: started as the user would, ended to the last one.

A run's root process is our child. Stopping a run is a small ladder, each rung bounded by the same
moment: drain (its agents stop accepting and finish what they have) → the stop signal to the root →
when that has gone, the stop signal to what is left → at the bound, everything is killed.
``Drained`` is posted once no client can get an answer from it any more, ``Gone`` when no process
of the run lives any more, and never before.

Nothing is polled: all descendants become our children when their parents end (we are their
subreaper), so each end of a process wakes us up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from onsave.core.events import Drained, Event, Gone
from onsave.session.loop import Loop, Timer
from onsave.session.platform import here

if TYPE_CHECKING:
    import psutil

#: The last part of the bound that draining leaves to the stop signal, in seconds.
FOR_THE_SIGNAL = 1.0
#: How long the kernel may take to end what was killed, before we say that it can't.
KILL_WITHIN = 5.0
#: Between two looks at what was killed: it may have started others just before it died.
KILL_AGAIN = 0.05
#: Between two looks at what has ended, where the system does not tell (Windows).
LOOK_AGAIN = 0.2

SpawnError = here.SpawnError


class Drain(Protocol):
    """Ask a run's agents to drain, see ``Agents.drain``."""

    def __call__(
        self, run: int, seconds: float, done: Callable[[set[int]], None], *, closed: bool = False
    ) -> None: ...


@dataclass
class Life:
    """A run as seen by the operating system."""

    run: int
    pid: int  # of the root process
    oom_kills: int  # of the kernel, when it was started
    status: int | None = None  # of the root process, once it has ended
    stopping: bool = False
    killing: bool = False
    signalled: set[int] = field(default_factory=set)
    bound: Timer | None = None


class Processes:
    """All runs that have processes."""

    def __init__(
        self,
        loop: Loop,
        post: Callable[[Event], None],
        drain: Drain,
        told: Callable[[int], int | None],
        before_end: Callable[[], None],
    ) -> None:
        """told: pid → run, as agents said; before_end: called before the end of a process is news,
        to hear its last words."""
        self.stop_signal = int(here.DEFAULT_STOP_SIGNAL)
        self.stop_timeout = 5.0
        self.helpers: set[int] = set()  # children of ours that are no part of the app
        self._loop = loop
        self._post = post
        self._drain = drain
        self._told = told
        self._before_end = before_end
        self._lives: dict[int, Life] = {}
        self._adopts = False

    # --- starting ---------------------------------------------------------------------------

    def start(self, run: int, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> int:
        """Start the run's root process and return its pid. Raises SpawnError."""
        life = Life(run, 0, here.oom_kills())
        life.pid = here.spawn(argv, env, cwd)
        self._lives[run] = life
        if not self._adopts:
            # After the first start, which it would delay: the app's interpreter needs longer to
            # come up than we need for this.
            self._adopts = here.become_subreaper()
            if here.CHILD_SIGNAL is None:
                self._watch_for_ends()
        return life.pid

    def adopt(self, run: int, pid: int) -> None:
        """A helper becomes the root process of the run."""
        self.helpers.discard(pid)
        self._lives[run] = Life(run, pid, here.oom_kills())

    def _watch_for_ends(self) -> None:
        """Where no signal tells of the end of a child."""
        self.children_ended()
        self._loop.after(LOOK_AGAIN, self._watch_for_ends)

    # --- who is there -----------------------------------------------------------------------

    def alive(self, run: int) -> bool:
        return run in self._lives

    def root(self, run: int) -> int | None:
        """The pid of the run's root process."""
        return self._lives[run].pid if run in self._lives else None

    def tree(self, run: int) -> list[psutil.Process]:
        """All live processes of the run."""
        from onsave.session import tree

        roots = {life.run: life.pid for life in self._lives.values()}
        return tree.families(roots, self._told, self.helpers).get(run, [])

    def listening(self, run: int) -> list[tuple[int, str]]:
        """(pid, address) of what the run listens on, whether or not its agents know."""
        from onsave.session import tree

        return tree.listening(self.tree(run))

    def cpu_seconds(self, run: int) -> float:
        """How long the run's processes have been computing, those that have ended apart."""
        from onsave.session import tree

        return tree.cpu_seconds(self.tree(run))

    # --- ending -----------------------------------------------------------------------------

    def stop(self, run: int, drain: bool) -> None:
        """End the run within ``stop_timeout`` seconds. → Gone."""
        life = self._lives.get(run)
        if life is None or life.stopping:
            return
        life.stopping = True
        life.bound = self._loop.after(self.stop_timeout, lambda: self._kill(life))
        if drain:
            longest = max(self.stop_timeout - FOR_THE_SIGNAL, self.stop_timeout / 2)
            self._drain(run, longest, lambda idle: self._drained(life, idle))
        else:
            self._signal(life)

    def kill(self, run: int) -> None:
        """End the run now. → Gone."""
        life = self._lives.get(run)
        if life is not None and not life.killing:
            life.stopping = True
            self._kill(life)

    def interrupt(self, run: int) -> None:
        """Send what Ctrl-C sends, to those whom the terminal would send it: our process group."""
        if run in self._lives:
            for process in self.tree(run):
                if here.in_our_group(process.pid):
                    here.send_signal(process.pid, here.INTERRUPT)

    def _drained(self, life: Life, idle: set[int]) -> None:
        def closed(where: set[int]) -> None:
            if where >= idle and self._lives.get(life.run) is life:
                self._post(Drained(life.run))

        # A process without an agent may still accept; then only its end will do.
        if idle.issuperset(process.pid for process in self.tree(life.run)):
            self._drain(life.run, self.stop_timeout, closed, closed=True)
        self._signal(life)

    def _signal(self, life: Life) -> None:
        """The stop signal, to the root or to what is left of it; each is told once."""
        from onsave.session import tree

        if self._lives.get(life.run) is not life or life.killing:
            return
        for process in self.tree(life.run):
            of_the_root = life.status is None
            if process.pid not in life.signalled and (process.pid == life.pid or not of_the_root):
                life.signalled.add(process.pid)
                here.send_signal(process.pid, self.stop_signal)
            if tree.is_stopped(process):
                here.send_signal(process.pid, here.CONTINUE)  # else it could not hear the signal
        if not here.CHILD_SIGNAL or not self._adopts:
            self._loop.after(KILL_AGAIN, lambda: self._look(life))

    def _kill(self, life: Life) -> None:
        """SIGKILL to all, again and again until none is left."""
        if self._lives.get(life.run) is not life:
            return
        if not life.killing:
            life.killing = True
            if life.bound is not None:
                life.bound.cancel()
            life.bound = self._loop.after(KILL_WITHIN, lambda: self._give_up(life))
        for process in self.tree(life.run):
            here.send_signal(process.pid, here.KILL)
        self._loop.after(KILL_AGAIN, lambda: self._look(life))

    def _look(self, life: Life) -> None:
        if self._lives.get(life.run) is not life:
            return
        self.children_ended()
        if self._lives.get(life.run) is life:
            if life.killing:
                self._kill(life)
            elif not self._adopts:  # nobody tells us of the ends of those that are not our children
                self._end_if_empty(life)
                self._loop.after(KILL_AGAIN, lambda: self._look(life))

    def _give_up(self, life: Life) -> None:
        if self._lives.get(life.run) is life:
            from onsave.session import tree

            self._gone(life, tuple(tree.describe(process) for process in self.tree(life.run)))

    # --- what has ended ---------------------------------------------------------------------

    def children_ended(self) -> None:
        """Reap, and post what follows from it. Called when the system says that a child ended."""
        ended = here.reap()
        if not ended:
            return
        self._before_end()
        self.helpers.difference_update(pid for pid, _status in ended)
        statuses = dict(ended)
        for life in list(self._lives.values()):
            if life.status is None and life.pid in statuses:
                life.status = statuses[life.pid]
            if life.status is not None:
                self._end_if_empty(life)
            if life.status and self._lives.get(life.run) is life and not life.stopping:
                # The root failed; what it leaves behind would be half an app.
                self.stop(life.run, drain=False)
            elif life.status is not None and life.stopping:
                self._signal(life)

    def _end_if_empty(self, life: Life) -> None:
        if life.status is None:
            return
        children = here.children()
        others = {other.pid for other in self._lives.values()} | self.helpers
        if (children is not None and not set(children) - others) or not self.tree(life.run):
            self._gone(life)

    def _gone(self, life: Life, refused: tuple[str, ...] = ()) -> None:
        del self._lives[life.run]
        if life.bound is not None:
            life.bound.cancel()
        status = life.status if life.status is not None else 128 + here.KILL
        signal = here.signal_name(status)
        oom = (
            status == 128 + here.KILL
            and not life.killing
            and here.oom_kills() > life.oom_kills
        )
        self._post(Gone(life.run, status, signal, oom, refused))

    def kill_all(self) -> None:
        """The last resort when the session itself fails: no waiting, no events."""
        for life in self._lives.values():
            with contextlib.suppress(Exception):
                for process in self.tree(life.run):
                    here.send_signal(process.pid, here.KILL)
