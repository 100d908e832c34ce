"""What was found out about the app's start: how far it can run ahead, what can be imported ahead.

Asked of processes that are thrown away; used by those that stand by. See ``onsave_agent.ahead`` and
``onsave_agent.trial``.
"""

from __future__ import annotations

from dataclasses import replace

from onsave.core import snapshots as policy
from onsave.session import commands, standby
from onsave.session.peers import Message
from onsave.session.standby import Snapshot

#: Clocks of file systems tick more slowly than the others.
TICK = 50_000_000  # ns


#: Where a process is to stand by: before which module (None: before any of the app's code), and
#: with which of the libraries' modules imported ahead.
Stand = tuple[str | None, list[str]]


class Findings:
    """What was found out, and what follows for the processes that stand by.

    most:      how many there may be
    libraries: whether libraries are to be imported ahead of their turn
    refused:   why nothing of the app may run ahead; "" where it may
    """

    def __init__(self) -> None:
        self.edits = policy.Edits()
        self.known = policy.Knowledge()
        self.most = 1
        self.libraries = False
        self.refused = ""
        self._scouted: dict[frozenset[str], policy.Scouted] = {}

    # --- where processes are to stand by, and with what ----------------------------------------

    def stands(self) -> list[Stand]:
        """The most useful one first."""
        points = [self._point(target) for target in self.edits.targets(self.most)]
        names = self.names
        return [(point, names) for point in dict.fromkeys(points)]

    @property
    def why(self) -> str:
        """Why the most useful one has run nothing ahead."""
        scouted = self._scouted.get(self.edits.targets(1)[0])
        reason = policy.Scouted(frozenset(), reason=self.refused) if self.refused else scouted
        return reason.why if reason is not None else "nothing was run ahead so far"

    def _point(self, target: frozenset[str]) -> str | None:
        """The module before which a snapshot is to stand; None: before any of the app's code."""
        scouted = self._scouted.get(target)
        if scouted is None or self.refused:
            return None
        # Where libraries are imported ahead, the place before all is good for any edit, and in the
        # midst of a library's execution others can't be imported.
        if self.libraries and (scouted.library or not scouted.until):
            return None
        return scouted.before

    @property
    def names(self) -> list[str]:
        """The libraries' modules that are to be imported ahead of their turn."""
        known = self.known
        return [n for n in known.ahead if n in known.tried] if self.libraries else []

    def wants_scout(self) -> frozenset[str] | None:
        """The files of which it has to be found out anew how far a start can run before them."""
        targets = [] if self.refused else self.edits.targets(self.most)
        self._scouted = {key: self._scouted[key] for key in targets if key in self._scouted}
        return next((target for target in targets if not self._holds(target)), None)

    def _holds(self, target: frozenset[str]) -> bool:
        scouted = self._scouted.get(target)
        return (
            scouted is not None
            and policy.changed(scouted.files, standby.stats(scouted.files)) is None
            and standby.listed_differently(scouted.listings) is None
        )

    def wants_trial(self) -> bool:
        return self.libraries and self.known.wants_trial()

    def goes_elsewhere(self, target: frozenset[str], reason: str) -> None:
        """A start did not come to where it was to stand, or could not stand there."""
        if target in self._scouted:
            self._scouted[target] = replace(self._scouted[target], before=None, reason=reason)

    # --- what processes are asked, and what they answer ---------------------------------------

    def assign(self, snapshot: Snapshot, stand: Stand) -> None:
        """Where the process is to stand by."""
        snapshot.before, snapshot.names = stand
        targets = self.edits.targets(self.most)
        snapshot.until = next(key for key in targets if self._point(key) == snapshot.before)

    def ask(self, snapshot: Snapshot, forks: bool) -> Message:
        """What the process is to do, by its purpose. forks: whether the app forks workers."""
        known = self.known
        if snapshot.purpose == "scout":
            return {"type": "scout", "until": sorted(snapshot.until)}
        if snapshot.purpose == "trial":
            snapshot.names = known.names
            without = [[name, reason] for name, reason in known.skipped.items()]
            return {"type": "try", "names": known.names, "without": without, "forks": forks}
        message = {
            "type": "warm",
            "names": snapshot.names,
            "without": list(known.skipped),
            "looks": [list(look) for look in known.looks],
        }
        scouted = self._scouted.get(snapshot.until)
        if snapshot.before is not None and scouted is not None:
            message["type"], message["before"] = "ahead", snapshot.before
            message["project"] = list(scouted.project)
        return message

    def take_trial(self, snapshot: Snapshot, message: Message) -> None:
        known = self.known
        skipped = {str(name): str(reason) for name, reason in message["skipped"]}
        known.looks = tuple((str(name), str(what)) for name, what in message["looks"])
        known.opened = tuple(map(str, message["files"]))
        known.took(snapshot.names, set(message["modules"]), skipped)

    def take_scout(self, snapshot: Snapshot, message: Message) -> str | None:
        """Believe the scout, unless a file has changed meanwhile: then say which."""
        before, reason, where = (
            None if message[key] is None else str(message[key])
            for key in ("before", "reason", "where")
        )
        files = standby.stats(map(str, [*message["opened"], *message["missing"]]))
        new = policy.too_new(files, snapshot.started - TICK)
        if new is None:
            self._scouted[snapshot.until] = policy.Scouted(
                until=snapshot.until,
                before=before,
                library=message["library"],
                reason=reason,
                where=where,
                project=tuple(map(str, message["project"])),
                files=files,
                listings=standby.listings(map(str, message["listed"])),
            )
        return new

    def note_what_it_depends_on(self, snapshot: Snapshot, message: Message) -> str | None:
        """A process stands where it was to: all files that matter to it, as they are.

        One that has changed since it was started is returned: nobody knows what was read.
        """
        files = [*map(str, message["files"]), *self.known.opened]
        scouted = self._scouted.get(snapshot.until)
        if snapshot.before is not None and scouted is not None:
            files += scouted.files
            snapshot.listings = scouted.listings
        path = commands.program(snapshot.argv, snapshot.env, snapshot.cwd)
        snapshot.files = standby.stats([*files, *([path] if path else [])])
        return policy.too_new(snapshot.files, snapshot.started - TICK)
