"""When a run is up that no agent has called ready: a program that is no server, or one in disguise.

Asked for by the core while a run starts; a timer runs only until the answer is there.
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


class Settling:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._heard: dict[int, float] = {}

    def begin(self, run: int) -> None:
        self._heard[run] = time.monotonic()
        self._session.loop.after(QUIET, lambda: self._look(run))

    def heard_of(self, run: int) -> None:
        """The run has loaded something."""
        if run in self._heard:
            self._heard[run] = time.monotonic()

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

    def _is_to_listen(self, run: Run) -> bool:
        """Whether the run is to take the place of one that listens, or has sockets to take over."""
        older = self._session.app.run(run.beside)
        return len(self._session.listeners) > 0 or (older is not None and bool(older.listening))
