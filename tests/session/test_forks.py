"""What arrives in a forked child before it has its own handlers is not taken for the session's."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator

import pytest

from onsave.session.platform import here


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A process like the session's, whose forked children are interrupted at once."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    real = os.fork

    def fork() -> int:
        told, tell = os.pipe()
        pid = real()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGINT)
            os.write(tell, b"!")
        else:
            os.read(told, 1)
        os.close(told)
        os.close(tell)
        return pid

    monkeypatch.setattr(os, "fork", fork)
    handler = signal.signal(signal.SIGINT, lambda *_: None)
    wakeup = signal.set_wakeup_fd(theirs.fileno())
    yield ours
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGINT, handler)
    ours.close()
    theirs.close()


def interrupted(woken: socket.socket) -> bool:
    try:
        return bool(woken.recv(10))
    except BlockingIOError:
        return False


def test_the_guard(woken: socket.socket) -> None:
    guard = here.guard("no process carries this")
    assert guard is not None
    assert not interrupted(woken)
    here.dismiss(guard)


def test_the_app(woken: socket.socket) -> None:
    # It dies of it, before or after it has become Python: as it would in a shell.
    pid = 0
    with contextlib.suppress(Exception):  # it may go before it could say that it was started
        pid = here.spawn([sys.executable, "-c", "while True: pass"], dict(os.environ), "/")
    try:
        assert not interrupted(woken)
    finally:
        if pid:
            here.send_signal(pid, here.KILL)
            os.waitpid(pid, 0)
