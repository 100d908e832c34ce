"""One process that stands by, as the session sees it, and what it depends on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from onsave.core import snapshots as policy
from onsave.session.peers import Peer
from onsave_agent import protocol


@dataclass(eq=False)
class Snapshot:
    """One process that stands by, or finds something out and ends.

    purpose: "stand" | "scout" | "trial"
    before:  the module that it is to stand before; None: before any of the app's code
    state:   "starting", then what ``purpose`` demands: "warming", "scouting" or "trying"; "ready"
    until:   the files that it, or its scout, was to stop before
    names:   the libraries' modules that it imports ahead, or tries to
    files:   what it depends on, as it was; listings: the names in folders that it has looked into
    """

    number: int
    pid: int
    argv: list[str]
    env: dict[str, str]  # without ONSAVE_AGENT
    cwd: str
    told: Mapping[str, Any]
    purpose: str
    started: int  # ns since the epoch
    before: str | None = None
    until: frozenset[str] = frozenset()
    state: str = "starting"
    peer: Peer | None = None
    names: list[str] = field(default_factory=list)
    modules: int = 0
    files: dict[str, policy.Stat | None] = field(default_factory=dict)
    listings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.state == "ready"

    def starts_alike(
        self, argv: list[str], env: Mapping[str, str], told: Mapping[str, Any]
    ) -> bool:
        """Whether a start with these would be the one that this process has begun."""
        begun = self.argv, self.env, lasting(self.told)
        return (argv, without_agent(env), lasting(told)) == begun

    def different(self) -> str | None:
        """The first file or folder that it depends on and that is not as it was."""
        return policy.changed(self.files, stats(self.files)) or listed_differently(self.listings)


def without_agent(env: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in env.items() if key != protocol.ENVIRONMENT_KEY}


def lasting(told: Mapping[str, Any]) -> dict[str, Any]:
    """What an agent is told that does not change from run to run."""
    passing = ("run", "held", "beside", "edited", "snapshot")
    return {key: value for key, value in told.items() if key not in passing}


def stats(paths: Iterable[str]) -> dict[str, policy.Stat | None]:
    found: dict[str, policy.Stat | None] = {}
    for path in paths:
        found[path] = None
        with contextlib.suppress(OSError):
            stat = os.stat(path)
            times = stat.st_mtime_ns, stat.st_ctime_ns
            found[path] = (stat.st_dev, stat.st_ino, stat.st_size, *times)
    return found


def listings(folders: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The names in these folders, but those that come and go as files are edited."""
    return {folder: tuple(_names(folder)) for folder in folders}


def listed_differently(before: Mapping[str, tuple[str, ...]]) -> str | None:
    return next((folder for folder in before if tuple(_names(folder)) != before[folder]), None)


def _names(folder: str) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [n for n in names if n != "__pycache__" and not n.startswith(".") and n[-1] != "~"]


def lives(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def memory(pid: int) -> int | None:
    """What the process has for itself, shared pages in proportion (PSS) where that is known."""
    import psutil

    try:
        full = psutil.Process(pid).memory_full_info()
    except (psutil.Error, OSError):
        return None
    return int(getattr(full, "pss", 0) or full.rss)
