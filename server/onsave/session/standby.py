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
    """One process that stands by, or tries."""

    number: int
    pid: int
    argv: list[str]
    env: dict[str, str]  # without ONSAVE_AGENT
    cwd: str
    told: Mapping[str, Any]
    trial: bool
    started: int  # ns since the epoch
    state: str = "starting"  # "starting" | "warming" | "trying" | "ready"
    peer: Peer | None = None
    names: list[str] = field(default_factory=list)
    modules: int = 0
    files: dict[str, policy.Stat | None] = field(default_factory=dict)


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
