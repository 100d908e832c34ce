"""Whether a process can stand by for an app at all: its command, its interpreter, the memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from onsave.core import snapshots as policy
from onsave.session import commands

if TYPE_CHECKING:
    from onsave.core.model import Run
    from onsave.session.session import Session


def why_not(session: Session, executable: str) -> str | None:
    """Why nothing can stand by; None where something can. executable: the app's Python."""
    run = session.app.newest_run
    if run is None or not run.had_agent:
        return "there is no agent in the app"
    return _not_this_command(session, executable) or _not_enough_memory(run)


def _not_this_command(session: Session, executable: str) -> str | None:
    try:
        argv, env, _told = session.prepare_start(0, beside=False)
    except Exception as error:
        return str(error)
    if "ONSAVE_DEBUG" in env:
        return "the app is being debugged"
    if not executable:
        return f"{os.path.basename(argv[0])} is not Python itself"
    return commands.why_not_python(argv, env, session.cwd, executable)


def _not_enough_memory(run: Run) -> str | None:
    import psutil

    used = 0
    if run.pid is not None:
        try:
            used = psutil.Process(run.pid).memory_info().rss
        except psutil.Error:
            used = 0
    if not policy.is_enough_memory(psutil.virtual_memory().available, used):
        return "too little memory is free"
    return None
