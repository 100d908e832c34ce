"""When a run is up that no agent has called ready: a program that is no server, or one in disguise.

Asked for by the core while a run starts; a timer runs only until the answer is there.

Once a run is up, its processes that do not listen (all of them, or a server's helpers) are told
when their start-up is over: what runs for the first time after that may be patched. That is when
they have loaded nothing for a while and are not computing either: a program waits for something
once it does what it is for. One that computes all the time is never told, nor is one that is there
to end (--rerun, --once): what has run in it is not done again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from onsave.core import events as ev
from onsave.core.model import Phase, Run

if TYPE_CHECKING:
    from onsave.session.session import Session

#: A run of which nothing was heard for so long, in seconds, has settled.
QUIET = 1.0
#: Beside a run that listens, silence is a slow import rather than a program that is no server: to
#: take the old run away then would leave nobody to answer.
QUIET_BESIDE_A_SERVER = 30.0
#: Without an agent silence means nothing: then a run has this long to begin to listen.
WITHOUT_AGENT = 3.0
#: A run that computes for less than this part of so many seconds waits for something.
IDLE = 0.5
SAMPLE = 0.25
#: One that computes is looked at again after twice as long, and left alone after so long.
LONGEST = 32.0


class Settling:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._heard: dict[int, float] = {}  # when each run that is looked at has loaded something
        self._up: dict[int, float] = {}  # the same of those that are up, and perhaps not calm yet

    def begin(self, run: int) -> None:
        self._heard[run] = time.monotonic()
        self._session.loop.after(QUIET, lambda: self._look(run))

    def heard_of(self, run: int) -> None:
        """The run has loaded something."""
        for heard in (self._heard, self._up):
            if run in heard:
                heard[run] = time.monotonic()

    def _look(self, number: int) -> None:
        session = self._session
        run = session.app.runs.get(number)
        if run is None or run.phase is not Phase.STARTING:
            self._heard.pop(number, None)
            return
        quiet = time.monotonic() - self._heard[number]
        if quiet < QUIET:
            session.loop.after(QUIET - quiet, lambda: self._look(number))
            return
        held = session.listeners.addresses()
        unseen = [
            (pid, address)
            for pid, address in session.processes.listening(number)
            if address not in held
        ]
        if unseen:
            for pid, address in unseen:
                session.post(ev.Listening(number, pid, address, False))
            session.log(
                "warning",
                f"{unseen[0][1]} can't be held: it was bound in a way that the agent can't see, "
                "so that restarts stop the app first and clients may be refused meanwhile",
            )
        elif not run.had_agent and quiet < WITHOUT_AGENT:
            session.loop.after(QUIET / 4, lambda: self._look(number))
            return
        elif self._is_to_listen(run) and quiet < QUIET_BESIDE_A_SERVER:
            session.loop.after(QUIET, lambda: self._look(number))
            return
        else:
            # First hear what its agents have not reported so far: a program that does nothing but
            # wait gives them no occasion.
            session.agents.reconcile(number, lambda: session.post(ev.Settled(number)))
        self._heard.pop(number, None)
        if not run.had_agent:
            session.log(
                "warning",
                "no agent in the app (no Python in it, or python -I, -E or -S?): what it loads is "
                "not known; restart it with `onsave restart`",
            )

    def up(self, number: int) -> None:
        """The run is up, or another process of it is there: its start-up may be over soon."""
        session = self._session
        run = session.app.runs.get(number)
        options = session.app.options
        if run is None or not run.up or options.rerun or options.once:
            return
        if number not in self._up:
            session.loop.after(QUIET, lambda: self._look_whether_calm(number, QUIET))
        self._up[number] = time.monotonic()

    def _look_whether_calm(self, number: int, pause: float) -> None:
        session = self._session
        run = session.app.runs.get(number)
        if run is None or not run.up:
            del self._up[number]
            return
        quiet = time.monotonic() - self._up[number]
        if quiet < QUIET:
            session.loop.after(QUIET - quiet, lambda: self._look_whether_calm(number, pause))
            return
        before = session.processes.cpu_seconds(number)

        def look() -> None:
            computed = session.processes.cpu_seconds(number) - before
            if computed <= SAMPLE * IDLE:
                del self._up[number]
                session.agents.reconcile(number, settled=True)
            elif pause < LONGEST:
                session.loop.after(pause, lambda: self._look_whether_calm(number, pause * 2))
            else:
                del self._up[number]

        session.loop.after(SAMPLE, look)

    def _is_to_listen(self, run: Run) -> bool:
        """Whether the run is to take the place of one that listens, or has sockets to take over."""
        older = self._session.app.run(run.beside)
        return len(self._session.listeners) > 0 or (older is not None and bool(older.listening))
