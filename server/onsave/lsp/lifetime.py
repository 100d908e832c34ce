"""When the server has to end although nobody told it to: its editor died, or somebody ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from onsave.identity import process_started

#: Where the kernel can't tell us. An editor that has died is in no hurry.
POLL_SECONDS = 5.0


def watch_process(pid: int, gone: Callable[[], None]) -> None:
    """Call ``gone`` when the process ends. One that can't be seen from here (an editor outside of
    our container) is not watched: there the end of stdin has to do."""
    loop = asyncio.get_running_loop()
    if pid <= 0 or process_started(pid) is None:
        return
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # a kernel before 5.3, or a sandbox
            descriptor = os.pidfd_open(pid)

            def ended() -> None:
                loop.remove_reader(descriptor)
                os.close(descriptor)
                gone()

            loop.add_reader(descriptor, ended)
            return
    _poll(loop, pid, process_started(pid), gone)


def _poll(
    loop: asyncio.AbstractEventLoop, pid: int, started: str | None, gone: Callable[[], None]
) -> None:
    if process_started(pid) != started:
        gone()
    else:
        loop.call_later(POLL_SECONDS, _poll, loop, pid, started, gone)


def end_on_signals(end: Callable[[int], None]) -> None:
    """Have the signals that ask for an end call ``end`` with the exit code they stand for.

    Without this, SIGTERM would take the server away before it has told the apps that it started.
    """
    loop = asyncio.get_running_loop()
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None:
            continue
        code = 128 + number
        try:
            loop.add_signal_handler(number, end, code)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_, code=code: loop.call_soon_threadsafe(end, code))
