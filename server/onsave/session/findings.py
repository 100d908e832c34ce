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


class Findings:
    """libraries: whether these are to be imported ahead of their turn."""

    def __init__(self) -> None:
        self.edits = policy.Edits()
        self.known = policy.Knowledge()
        self.scouted: policy.Scouted | None = None
        self.libraries = False

    # --- where a snapshot is to stand, and with what ------------------------------------------

    @property
    def point(self) -> str | None:
        """The module before which a snapshot is to stand; None: before any of the app's code."""
        scouted = self.scouted
        if scouted is None:
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

    def wants_scout(self, overlap: bool) -> bool:
        """Whether it has to be found out anew how far a start can run ahead.

        overlap: whether two runs may be beside each other; else nothing may run ahead at all.
        """
        if not overlap:
            self.scouted = policy.Scouted(self.edits.paths, reason="overlap is off")
            return False
        scouted = self.scouted
        return (
            scouted is None
            or scouted.until != self.edits.paths
            or policy.changed(scouted.files, standby.stats(scouted.files)) is not None
            or standby.listed_differently(scouted.listings) is not None
        )

    def wants_trial(self) -> bool:
        return self.libraries and self.known.wants_trial()

    def goes_elsewhere(self, reason: str) -> None:
        """A start did not come to where it was to stand, or could not stand there."""
        if self.scouted is not None:
            self.scouted = replace(self.scouted, before=None, reason=reason)

    # --- what processes are asked, and what they answer ---------------------------------------

    def ask(self, snapshot: Snapshot, forks: bool) -> Message:
        """What the process is to do, by its purpose. forks: whether the app forks workers."""
        known, scouted = self.known, self.scouted
        if snapshot.purpose == "scout":
            snapshot.until = self.edits.paths
            return {"type": "scout", "until": sorted(snapshot.until)}
        if snapshot.purpose == "trial":
            snapshot.names = known.names
            without = [[name, reason] for name, reason in known.skipped.items()]
            return {"type": "try", "names": known.names, "without": without, "forks": forks}
        snapshot.names = self.names
        message = {
            "type": "warm",
            "names": snapshot.names,
            "without": list(known.skipped),
            "looks": [list(look) for look in known.looks],
        }
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
            self.scouted = policy.Scouted(
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
        if snapshot.before is not None and self.scouted is not None:
            files += self.scouted.files
            snapshot.listings = self.scouted.listings
        path = commands.program(snapshot.argv, snapshot.env, snapshot.cwd)
        snapshot.files = standby.stats([*files, *([path] if path else [])])
        return policy.too_new(snapshot.files, snapshot.started - TICK)
