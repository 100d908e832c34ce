"""Which process a pid means: pids are used again, a pid with its start time is not."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def process_started(pid: int) -> str | None:
    """What tells a process from a later one with the same pid; None where it does not live.

    On Linux the boot and the clock tick of its start, by ``/proc``; a zombie does not live.
    """
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        # proc(5): field 3 is the state, 22 the start time; the name before may hold anything.
        return None if fields[0] in b"ZX" else f"{_boot_id()}:{fields[19].decode()}"
    if sys.platform == "win32":
        return _process_started_windows(pid)
    return _process_started_ps(pid)


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    return "boot"


def _process_started_ps(pid: int) -> str | None:
    """macOS and the BSDs; not run by us so far."""
    import subprocess

    environment = {**os.environ, "LC_ALL": "C"}
    command = ["ps", "-o", "state=,lstart=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def _process_started_windows(pid: int) -> str | None:
    """Not run by us so far."""
    import ctypes

    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return None
    times = [ctypes.c_uint64() for _ in range(4)]  # creation, exit, kernel, user
    try:
        known = kernel.GetProcessTimes(handle, *(ctypes.byref(value) for value in times))
    finally:
        kernel.CloseHandle(handle)
    return str(times[0].value) if known and not times[1].value else None
