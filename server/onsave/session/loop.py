"""The one loop of a session: descriptors, timers, signals. Nothing in it knows what they mean.

A plain synchronous loop on :mod:`selectors`, not asyncio: importing asyncio alone takes longer than
all that ``onsave run`` does before the app's interpreter starts, and one thread that handles one
thing after the other needs nothing more.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

#: What is called when a descriptor is ready, with READ, WRITE or both.
Callback = Callable[[int], None]


class Timer:
    """One callback at one moment. ``cancel()`` may be called at any time, also afterwards."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """``turn()`` waits for something to happen and calls back for all that has.

    on_error is called for an exception that a callback lets out (a bug): the loop goes on.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()  # of timers set for the same moment
        self._on_error = on_error
        self._wakeup: tuple[socket.socket, socket.socket] | None = None
        self._on_signal: Callable[[int], None] | None = None
        self._old_handlers: dict[int, Any] = {}

    # --- descriptors ------------------------------------------------------------------------

    def watch(self, file: Any, events: int, callback: Callback) -> None:
        """Call back whenever ``file`` is ready; watching it again changes what for."""
        if file.fileno() in self._selector.get_map():
            self._selector.modify(file, events, callback)
        else:
            self._selector.register(file, events, callback)

    def forget(self, file: Any) -> None:
        if file.fileno() in self._selector.get_map():
            self._selector.unregister(file)

    # --- timers -----------------------------------------------------------------------------

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, (timer.when, next(self._order), timer))
        return timer

    # --- signals ----------------------------------------------------------------------------

    def watch_signals(self, numbers: Iterable[int], callback: Callable[[int], None]) -> None:
        """Call back with the number of each signal that arrives, in the loop, not in a handler.

        A signal that was ignored when we were started (nohup, a shell's background job) stays so.
        """
        self._on_signal = callback
        ours, theirs = self._wakeup = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.watch(ours, READ, self._signals_arrived)
        # No warning when the pair is full: then there is enough to wake us up anyway.
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            old = signal.getsignal(number)
            if old is not signal.SIG_IGN:
                self._old_handlers[number] = old
                signal.signal(number, _ignore)

    def _signals_arrived(self, _events: int) -> None:
        assert self._wakeup is not None and self._on_signal is not None
        for number in sorted(self._wakeup[0].recv(4096)):
            if number in self._old_handlers:
                self._on_signal(number)

    # --- the loop itself --------------------------------------------------------------------

    def turn(self) -> None:
        """Wait until a timer is due or a descriptor is ready, then call back for each."""
        for key, events in self._selector.select(self._until_next_timer()):
            # One callback may have forgotten what the next would be for.
            if self._selector.get_map().get(key.fd) is key:
                self._guarded(functools.partial(key.data, events))
        now = time.monotonic()
        while self._timers and (self._timers[0][0] <= now or self._timers[0][2].callback is None):
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                self._guarded(callback)

    def _until_next_timer(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _guarded(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:
            self._on_error(error)

    def close(self) -> None:
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)
            for end in self._wakeup:
                self.forget(end)
                end.close()
        self._selector.close()


def _ignore(_number: int, _frame: object) -> None:
    """The wake-up descriptor has been told already; a handler is only there so that it is."""
