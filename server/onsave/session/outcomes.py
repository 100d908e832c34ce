"""What came of an action: the line on the terminal, how long it took, what can be done then."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from onsave.core import effects as do

if TYPE_CHECKING:
    from onsave.session.session import Session

#: A run that is up may still bind its second port; so long do we wait before we close what it did
#: not take over, in seconds.
LEFTOVERS_AFTER = 3.0


class Outcomes:
    """ready_ms: how long the last start took; last_message: what came of the last action."""

    def __init__(self, session: Session) -> None:
        self.ready_ms: int | None = None
        self.last_message = ""
        self._session = session
        self._started_at: dict[int, float] = {}
        self._was_up = False

    def started(self, run: int) -> None:
        """A run is being started: from now on it takes its time."""
        self._started_at[run] = time.monotonic()

    def gone(self, run: int) -> None:
        self._started_at.pop(run, None)

    def tell(self, effect: do.Outcome) -> None:
        """Tell people and clients, and do what can be done once a run is up."""
        session = self._session
        seconds = self._seconds_for(effect)
        if effect.what in ("started", "restarted"):
            run = session.app.runs[effect.run]
            since = self._started_at.get(effect.run, time.monotonic())
            self.ready_ms = round((time.monotonic() - since) * 1000)
            session.settling.up(effect.run)
            session.loop.after(LEFTOVERS_AFTER, self._close_leftovers)
            self.last_message = f"{effect.what} in {seconds:.2f} s"
            session.snapshots.run_up(effect.run, time.monotonic() - since)
            if run.from_snapshot is not None:
                origin = session.snapshots.origin(run.from_snapshot)
                effect = dataclasses.replace(effect, reason=f"{origin}; {effect.reason}")
            first, self._was_up = not self._was_up, True
            if effect.what == "started" or first:
                session.terminal.ready(run.listening, seconds, session.clients.editors > 0)
            else:
                session.terminal.outcome(effect, seconds)
        else:
            reason = effect.failure.summary if effect.failure else effect.reason
            took = f" in {seconds:.2f} s" if effect.what == "patched" else ""
            self.last_message = f"{effect.what}{took}: {reason}" if reason else effect.what
            if effect.what == "waits":  # its reason says that already
                self.last_message = reason
            session.terminal.outcome(effect, seconds, session.app.serving is not None)
            if effect.what == "patched":
                session.snapshots.edited(verdict.path for verdict in effect.verdicts)
            session.snapshots.plan()

    def _close_leftovers(self) -> None:
        """Close the held sockets that the newest run, up for a while, has not asked for."""
        app = self._session.app
        if app.serving == app.newest and not app.busy:
            self._session.listeners.keep_only({app.newest})

    def _seconds_for(self, outcome: do.Outcome) -> float:
        """From the first save that led to it; where none did, from the run's start."""
        told_at = self._session.clients.told_at
        moments = [told_at[v.path] for v in outcome.verdicts if v.path in told_at]
        since = min(moments, default=self._started_at.get(outcome.run, time.monotonic()))
        return time.monotonic() - since
