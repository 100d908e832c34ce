"""Which processes are the app's, and of which run: the only module here that needs psutil at once.

All of the app's processes descend from us, orphans included where we are their subreaper. Two runs
may live at the same time, so a direct child of ours is put down to a run by what is surest: it is a
run's root; its agent said so; its environment says so; else by when it was started.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import psutil

from onsave.session.platform import here
from onsave_agent.protocol import ENVIRONMENT_KEY


def families(
    roots: Mapping[int, int], told: Callable[[int], int | None], helpers: Iterable[int]
) -> dict[int, list[psutil.Process]]:
    """The live processes of each run, root first where it lives.

    roots:   run → pid of its root process, whether that lives or not
    told:    pid → the run that its agent named, None where it has none
    helpers: pids of children of ours that are no part of the app
    """
    found: dict[int, list[psutil.Process]] = {run: [] for run in roots}
    if not roots:
        return found
    skipped = set(helpers)
    for child in _children(os.getpid()):
        if child.pid in skipped:
            continue
        household = [child, *_descendants(child)]
        run = _run_of(household, roots, told)
        found[run] += [member for member in household if _lives(member)]
    return found


def _children(pid: int) -> list[psutil.Process]:
    pids = here.children(pid)
    if pids is None:
        found: list[psutil.Process] = _quietly(lambda: psutil.Process(pid).children(), [])
        return found
    found = [_quietly(partial(psutil.Process, child), None) for child in pids]
    return [process for process in found if process is not None]


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    found: list[psutil.Process]
    if here.children() is None:
        found = _quietly(partial(process.children, recursive=True), [])
        return found
    found = _children(process.pid)
    for child in found:  # which grows meanwhile
        found += _children(child.pid)
    return found


def _run_of(
    household: list[psutil.Process],
    roots: Mapping[int, int],
    told: Callable[[int], int | None],
) -> int:
    top = household[0].pid
    for run, pid in roots.items():
        if pid == top:
            return run
    for sure in (told, _run_in_environment):
        for member in household:
            named = sure(member.pid)
            if named is not None and named in roots:
                return named
    # A clean environment and no agent. Older than the newest run: then it can't be of that run.
    born = _quietly(household[0].create_time, 0.0)
    newest, *older = sorted(roots, reverse=True)
    root = roots[newest]
    root_born = _quietly(lambda: psutil.Process(root).create_time(), 0.0)
    return older[0] if older and (root_born == 0.0 or born < root_born) else newest


def _run_in_environment(pid: int) -> int | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        told = json.loads(here.environment_of(pid)[ENVIRONMENT_KEY])
        return int(told["run"])
    return None


def listening(processes: Iterable[psutil.Process]) -> list[tuple[int, str]]:
    """(pid, address) of each TCP socket that these processes listen on, as the system sees it."""
    found = []
    for process in processes:
        for connection in _quietly(partial(process.net_connections, kind="tcp"), []):
            if connection.status == psutil.CONN_LISTEN:
                host, port = connection.laddr[:2]
                found.append((process.pid, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
    return found


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """How long these processes have been computing, together."""
    times = [_quietly(process.cpu_times, None) for process in processes]
    return float(sum(found.user + found.system for found in times if found is not None))


def is_stopped(process: psutil.Process) -> bool:
    return bool(_quietly(process.status, "") in (psutil.STATUS_STOPPED, "tracing-stop"))


def describe(process: psutil.Process) -> str:
    return f"{process.pid} {_quietly(process.name, '?')}"


def _lives(process: psutil.Process) -> bool:
    return bool(_quietly(process.status, psutil.STATUS_ZOMBIE) != psutil.STATUS_ZOMBIE)


def _quietly(ask: Callable[[], Any], otherwise: Any) -> Any:
    """What ``ask`` returns, or ``otherwise`` where the process has ended meanwhile."""
    try:
        return ask()
    except (psutil.Error, OSError):
        return otherwise
