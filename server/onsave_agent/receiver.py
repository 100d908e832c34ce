"""The one thread that we have: it receives, answers, and is the process's lifeline.

All signals are blocked in it, as they are the app's. It is gone during every fork: Python 3.12
warns when a process with threads forks, and what it is in the midst of must not be copied.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import os
import sys
from _thread import allocate_lock, get_ident, get_native_id, start_new_thread
from os import close, read, write
from select import POLLIN as POLLIN
from select import POLLOUT, poll
from select import epoll as epoll  # taken here, as gevent deletes it, for drain
from time import monotonic, sleep

from onsave_agent import lifeline, protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onsave_agent.client import Channel

#: Our descriptors stand here and above, out of the way of programs that expect 3, 4, 5.
_HIGH = 200
#: How long a fork waits for the thread to have gone; it takes a tenth of a millisecond.
_PATIENCE = 0.5
#: While an answer is not complete (draining), it is asked for again this often, in seconds.
_TICK = 0.0025
#: How long after the end of the stream it is tried whether the session is still there.
_SETTLE = 0.05
_ROOM = _socket.CMSG_SPACE(64 * 4)


class Receiver:
    """The thread of one channel."""

    def __init__(self, channel):
        # type: (Channel) -> None
        self._channel = channel
        self._received = b""
        self._descriptors = []  # type: list[int]
        self._unfinished = []  # type: list[Any]
        self._wake = (-1, -1, 0)  # both ends of a pipe, and its inode
        self._ident = 0  # of the thread; 0: there is none
        self._native = 0
        self._gone = allocate_lock()  # released by the thread as it ends
        self._generation = 0  # a thread of an older one ends
        self._paused = False

    # --- for the app's threads ----------------------------------------------------------------

    def start(self):
        # type: () -> None
        ends = os.pipe()
        os.set_blocking(ends[1], False)
        wake, waker = moved_high(ends[0]), moved_high(ends[1])
        self._wake = (wake, waker, inode_of(wake))
        self._generation += 1
        self._gone = allocate_lock()
        self._gone.acquire()
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        try:
            self._ident = start_new_thread(self._run, (self._generation, wake, self._gone))
        except RuntimeError:  # The process may have no more threads.
            self._ident = 0
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)

    def is_alive(self):
        # type: () -> bool
        return self._ident != 0

    def wake(self):
        # type: () -> None
        """Have the thread look around, if it is not the one who asks."""
        _wake, waker, inode = self._wake
        if self._ident != get_ident() and inode and inode_of(waker) == inode:
            try:
                write(waker, b"w")
            except OSError:
                pass  # It has been told often enough.

    def pause(self):
        # type: () -> None
        """End the thread, and see it gone. In the thread itself: do nothing."""
        if not self._ident or get_ident() == self._ident:
            return
        self._generation += 1
        self.wake()
        self._paused = True
        if self._gone.acquire(True, _PATIENCE):
            _await_end(self._native)

    def resume(self):
        # type: () -> None
        if self._paused:
            self._paused = False
            self.close()
            self.start()

    def close(self):
        # type: () -> None
        """Close the pipe, unless the app has done so."""
        *descriptors, inode = self._wake
        for descriptor in descriptors:
            if inode and inode_of(descriptor) == inode:
                close(descriptor)
        self._wake = (-1, -1, 0)

    # --- the thread ---------------------------------------------------------------------------

    def _run(self, generation, wake, gone):
        # type: (int, int, Any) -> None
        self._native = get_native_id()
        try:
            self._loop(generation, wake)
        except Exception:
            pass
        finally:
            if self._generation == generation:
                self._ident = 0
                for slot in list(self._channel.asked.values()):
                    slot[0].release()
            gone.release()

    def _loop(self, generation, wake):
        # type: (int, int) -> None
        channel = self._channel
        connection = channel.connection
        if connection is None:
            return
        poller = poll()
        poller.register(wake, POLLIN)
        descriptor = connection.fileno()
        while True:
            poller.register(descriptor, POLLIN | (POLLOUT if channel.backlog else 0))
            happened = dict(poller.poll(_TICK * 1000 if self._unfinished else None))
            if self._generation != generation or channel.connection is not connection:
                return
            if not channel.is_ours():
                # The descriptor is the app's now; poll() held the socket, and something happened.
                if descriptor in happened:
                    self._lost()
                    if channel.connection is not None:
                        self.start()
                return
            if wake in happened:
                read(wake, 512)
            if happened.get(descriptor, 0) & ~POLLOUT and not self._take(connection):
                self._lost()
                if channel.connection is None:
                    return
                poller.unregister(descriptor)
                connection = channel.connection
                descriptor = connection.fileno()
            channel.pump()
            self._finish()

    def _lost(self):
        # type: () -> None
        """The session's end is closed. Killed: end everything. Merely hung up: come again."""
        sleep(_SETTLE)  # A dying session may still hold its listening socket.
        self._received = b""
        try:
            with self._channel.sending:
                self._channel.reconnect()
        except (ConnectionRefusedError, FileNotFoundError):
            lifeline.cut()
        except OSError:
            pass  # Out of descriptors, say: no reason to end anything.

    def _take(self, connection):
        # type: (_socket.socket) -> bool
        """Receive and answer what has come. False at the end of the stream."""
        try:
            data, ancillary, _flags, _address = connection.recvmsg(
                1 << 20, _ROOM, _socket.MSG_CMSG_CLOEXEC
            )
        except OSError:
            return False
        for level, kind, payload in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                for at in range(0, len(payload) - 3, 4):
                    self._descriptors.append(int.from_bytes(payload[at:at + 4], sys.byteorder))
        if not data:
            return False
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            try:
                message = protocol.decode(line, protocol.SESSION_MESSAGES)
            except protocol.ProtocolError:
                continue
            self._channel.reconnects = 0
            self._handle(message)
        return True

    def _handle(self, message):
        # type: (dict[str, Any]) -> None
        if message["type"] in ("bound", "release"):
            self._arrived(message)
            return
        try:
            reply = self._channel.answer(message)
        except Exception as error:
            reply = None
            if "id" in message:
                reason = "%s: %s" % (type(error).__name__, error)
                reply = {"type": "refused", "id": message["id"], "reason": reason}
        self._reply(reply)

    def _arrived(self, message):
        # type: (dict[str, Any]) -> None
        """Hand an answer to the thread that waits for it."""
        if message.get("held") and self._descriptors:
            message["descriptor"] = self._descriptors.pop(0)
        slot = self._channel.asked.pop(message["id"], None)
        if slot is not None:
            slot[1] = message
            slot[0].release()
        elif "descriptor" in message:
            close(message["descriptor"])

    def _reply(self, reply):
        # type: (Any) -> None
        if callable(reply):
            self._unfinished.append(reply)
        elif reply is not None:
            self._channel.send(reply)

    def _finish(self):
        # type: () -> None
        for question in self._unfinished[:]:
            reply = question()
            if reply is not None:
                self._unfinished.remove(question)
                self._reply(reply)


def inode_of(descriptor):
    # type: (int) -> int
    """0 where there is no such descriptor."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0


def moved_high(descriptor):
    # type: (int) -> int
    """The same file under a high, close-on-exec descriptor, if the limits allow."""
    for number in range(_HIGH, _HIGH + 200):
        if not inode_of(number):
            try:
                os.dup2(descriptor, number, inheritable=False)
            except OSError:
                break
            close(descriptor)
            return number
    return descriptor


def _await_end(native):
    # type: (int) -> None
    """Wait until the system knows no more of a thread that has ended; it lingers a moment."""
    task = "/proc/self/task/%d" % native
    deadline = monotonic() + _PATIENCE
    pause = 0.00002
    while monotonic() < deadline and os.path.exists(task):
        sleep(pause)
        pause = min(pause * 2, 0.002)
