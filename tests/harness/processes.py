"""Ports, processes and patience."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

#: Seconds that anything may take on a slow, noisy machine. Nothing is slow enough to need them.
DEADLINE = float(os.environ.get("ONSAVE_TEST_DEADLINE", "60"))

#: In the environment of everything that one test starts, so that what it left can be found.
MARK = "ONSAVE_TEST_MARK"

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, timeout: float = DEADLINE) -> T:
    """The first true value of ``condition``. For what sends no event; else await the event."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:.0f} s: {what}")
        time.sleep(0.02)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, from below the range out of which the kernel gives ports to
    clients: so that none of those takes it before the app does."""
    for _ in range(200):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port found")


def marked(mark: str) -> list[psutil.Process]:
    """Every live process that a test with this mark has started, directly or not."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def describe(processes: list[psutil.Process]) -> str:
    lines = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            lines.append(f"{process.pid} (parent {process.ppid()}) {' '.join(process.cmdline())}")
    return "\n".join(lines)


def assert_no_orphans(mark: str, timeout: float = 10) -> None:
    """Nothing that the test started lives on. What does is ended, after it was written down."""
    deadline = time.monotonic() + timeout
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if left:
        text = describe(left)
        end(left)
        raise AssertionError(f"left behind:\n{text}")


def end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
