"""The channel to the session: connect, send, ask, and one thread that receives.

It lives in a process that may do anything: close all descriptors, fork, patch ``socket`` and
``threading``, run signal handlers in the midst of a send. Hence the raw modules, taken before
anything can patch them, and a reentrant lock.
"""

import _signal
import _socket
import os
import sys
from _thread import RLock, allocate_lock, get_ident, get_native_id, start_new_thread
from os import close, read, write
from select import POLLIN, POLLOUT, poll
from time import monotonic, sleep

from onsave_agent import lifeline, protocol, ran, reports
from onsave_agent.paths import command_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

#: Our descriptors stand here and above, out of the way of programs that expect 3, 4, 5.
_HIGH = 200
#: How long a fork waits for our thread to have gone; it takes a tenth of a millisecond.
_FORK_PATIENCE = 0.5
#: While an answer is not complete (draining), it is asked for again this often, in seconds.
_TICK = 0.01
#: How long after the end of the stream it is tried whether the session is still there.
_SETTLE = 0.05
#: How often it is asked whether there is a reason to go on waiting, in seconds.
_ALIVE = 0.1
#: How long the end of a process may be held up for a session that does not read, in seconds.
_LAST_MOMENT = 0.3
_FLAGS = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
#: A session that hangs up on us this often is left alone.
_RECONNECTS = 3


class Channel:
    """The connection of this process, made anew in each forked child."""

    def __init__(self, settings, answer):
        # type: (dict[str, object], object) -> None
        self.settings = settings
        self._answer = answer
        self._count = 0
        self._reconnects = 0
        self._hooked = False
        self._clear()

    def _clear(self):
        # type: () -> None
        self._lock = RLock()
        self._socket = None  # type: object
        self._inode = 0
        self._backlog = []  # type: list[list[object]]
        self._sending = False
        self._asked = {}  # type: dict[int, list[object]]
        self._received = b""
        self._descriptors = []  # type: list[int]
        self._unfinished = []  # type: list[object]
        self._wake = (-1, -1, 0)
        self._thread = 0  # its identifier; 0: there is none, or it has been told to end
        self._native = 0
        self._gone = None  # type: object
        self._generation = 0  # a thread of an older one ends
        self._restart = False

    # --- connecting ---------------------------------------------------------------------------

    def open(self, spawned):
        # type: (str) -> bool
        """Connect and say hello; ``spawned``: "exec" or "fork". False where nobody answers."""
        try:
            self._connect(spawned)
        except OSError:
            self._socket = None
            return False
        self._start_thread()
        if not self._hooked:
            self._hooked = True
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork,
                after_in_child=self._in_child,
            )
        return True

    def _connect(self, spawned):
        # type: (str) -> None
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.settimeout(None)  # Whatever socket.setdefaulttimeout() said.
        connection.connect(str(self.settings["socket"]))
        high = _moved_high(connection.fileno())
        if high != connection.fileno():
            connection.detach()
            connection = _socket.socket(
                _socket.AF_UNIX, _socket.SOCK_STREAM, 0, fileno=high
            )
            connection.settimeout(None)
        self._socket = connection
        self._inode = os.fstat(high).st_ino
        self._received = b""
        hello = {
            "type": "hello",
            "role": "agent",
            "version": protocol.VERSION,
            "token": self.settings["token"],
            "run": self.settings["run"],
            "pid": os.getpid(),
            "ppid": os.getppid(),
            "python": list(sys.version_info[:3]),
            "executable": sys.executable or "",
            "argv": command_line(),
            "spawned": spawned,
        }
        self._backlog.insert(0, [protocol.encode(hello), None])
        self._drain_backlog()

    def _ours(self):
        # type: () -> bool
        """Whether the descriptor is still our socket: an app may close all that it has."""
        return (
            self._socket is not None
            and inode_of(self._socket.fileno()) == self._inode  # type: ignore[attr-defined]
        )

    def _reconnect(self):
        # type: () -> None
        """Connect once more; without a socket we are silent. Raises OSError where it failed."""
        if self._socket is not None:
            if self._ours():
                self._socket.close()  # type: ignore[attr-defined]
            else:
                self._socket.detach()  # type: ignore[attr-defined]
            self._socket = None
        self._reconnects += 1
        try:
            if self._reconnects <= _RECONNECTS:
                self._connect("again")
        except OSError:
            self._socket = None
            raise

    # --- sending ------------------------------------------------------------------------------

    def send(self, message, descriptor=None):
        # type: (dict[str, object], int | None) -> None
        """Send ``message``, with a duplicate of ``descriptor`` if there is one. Never blocks:
        what the session does not take now waits, and our thread sends it."""
        line = protocol.encode(message)
        with self._lock:
            if self._socket is None:
                return
            if descriptor is not None:
                descriptor = os.dup(descriptor)
            self._backlog.append([line, descriptor])
            if self._sending:
                return  # A signal handler, in the midst of a send, which takes this along.
            if not self._ours():  # The app closed it, as those do that become daemons.
                try:
                    self._reconnect()
                except OSError:
                    pass
                if self._socket is None:
                    return
                self._start_thread()
            self._drain_backlog()
            if self._backlog and get_ident() != self._thread:
                self._wake_thread()

    def _drain_backlog(self):
        # type: () -> None
        self._sending = True
        try:
            while self._backlog:
                line, descriptor = first = self._backlog[0]
                ancillary = []
                if descriptor is not None:
                    ancillary = [
                        (
                            _socket.SOL_SOCKET,
                            _socket.SCM_RIGHTS,
                            descriptor.to_bytes(4, sys.byteorder),  # type: ignore[attr-defined]
                        )
                    ]
                sent = self._socket.sendmsg(  # type: ignore[attr-defined]
                    [line], ancillary, _FLAGS
                )
                if descriptor is not None:
                    close(descriptor)  # type: ignore[arg-type]
                    first[1] = None
                if sent == len(line):  # type: ignore[arg-type]
                    del self._backlog[0]
                else:
                    first[0] = line[sent:]  # type: ignore[index]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            pass  # The session has gone: the thread sees that, and what it means.
        finally:
            self._sending = False

    def finish(self):
        # type: () -> None
        """Before the end: give the session a moment to take what it has not yet taken."""
        deadline = monotonic() + _LAST_MOMENT
        while self._backlog and self._socket is not None and monotonic() < deadline:
            with self._lock:
                if not self._sending:
                    self._drain_backlog()
            sleep(0.002)

    def ask(self, message, timeout=None, alive=None):
        # type: (dict[str, object], float | None, Callable[[], bool] | None) -> dict[str, object] | None
        """Send a question and wait for the answer with its id. Signal handlers run meanwhile;
        where they only set a flag, ``alive`` says whether there is a reason to go on waiting.

        None where nobody answers. An answer's descriptor stands in it as "descriptor".
        """
        if self._socket is None or not self._thread:
            return None
        with self._lock:
            self._count += 1
            # Unique among all processes of the run.
            number = (os.getpid() << 24) + self._count
            arrived = allocate_lock()
            arrived.acquire()
            slot = self._asked[number] = [arrived, None]  # type: list[object]
        try:
            self.send(dict(message, id=number))
            if alive is None:
                arrived.acquire(True, -1 if timeout is None else timeout)
            else:
                while not arrived.acquire(True, _ALIVE) and alive():
                    pass
            return slot[1]  # type: ignore[return-value]
        finally:
            self._asked.pop(number, None)

    # --- receiving ----------------------------------------------------------------------------

    def _start_thread(self):
        # type: () -> None
        ends = os.pipe()
        os.set_blocking(ends[1], False)
        wake, waker = _moved_high(ends[0]), _moved_high(ends[1])
        self._wake = (wake, waker, inode_of(wake))
        self._generation += 1
        self._gone = allocate_lock()
        # The thread inherits a mask with all signals blocked: they are the app's.
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        try:
            self._gone.acquire()  # type: ignore[attr-defined]
            self._thread = start_new_thread(
                self._receive, (self._socket, self._generation, wake, self._gone)
            )
        except RuntimeError:
            self._thread = 0
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)

    def _wake_thread(self):
        # type: () -> None
        _wake, waker, inode = self._wake
        try:
            if inode and inode_of(waker) == inode:
                write(waker, b"w")
        except OSError:
            pass

    def _receive(self, connection, generation, wake, gone):
        # type: (object, int, int, object) -> None
        self._native = get_native_id()
        try:
            poller = poll()
            descriptor = connection.fileno()  # type: ignore[attr-defined]
            poller.register(wake, POLLIN)
            while self._generation == generation:
                poller.register(
                    descriptor, POLLIN | (POLLOUT if self._backlog else 0)
                )
                happened = dict(poller.poll(_TICK * 1000 if self._unfinished else None))
                if self._generation != generation:
                    return
                if self._socket is not connection or not self._ours():
                    # Our descriptor is the app's now. A newer connection has its own thread;
                    # without one, something happened to the socket that poll() still held.
                    if self._socket is connection and descriptor in happened:
                        self._lost()
                        if self._socket is not None:
                            self._start_thread()
                    return
                if wake in happened:
                    read(wake, 512)
                if happened.get(descriptor, 0) & ~POLLOUT and not self._take():
                    self._lost()
                    if self._socket is None:
                        return
                    poller.unregister(descriptor)
                    connection = self._socket
                    descriptor = connection.fileno()  # type: ignore[attr-defined]
                    continue
                if self._backlog:
                    with self._lock:
                        if not self._sending:
                            self._drain_backlog()
                self._finish()
        except Exception:
            pass
        finally:
            if self._generation == generation:
                self._thread = 0
                for slot in list(self._asked.values()):
                    slot[0].release()  # type: ignore[attr-defined]
            gone.release()  # type: ignore[attr-defined]

    def _lost(self):
        # type: () -> None
        """The session's end is closed. Killed: end everything. Merely hung up: come again."""
        sleep(_SETTLE)  # A dying session may still hold its listening socket.
        try:
            with self._lock:
                self._reconnect()
        except (ConnectionRefusedError, FileNotFoundError):
            lifeline.cut()
        except OSError:
            pass  # Out of descriptors, say: no reason to end anything.

    def _take(self):
        # type: () -> bool
        """Receive and answer what has come. False at the end of the stream."""
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(  # type: ignore
                1 << 20, _socket.CMSG_SPACE(64 * 4), _socket.MSG_CMSG_CLOEXEC
            )
        except InterruptedError:
            return True
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
            self._reconnects = 0
            self._handle(message)
        return True

    def _handle(self, message):
        # type: (dict[str, object]) -> None
        kind = message["type"]
        if kind in ("bound", "release"):
            if kind == "bound" and message["held"] and self._descriptors:
                message["descriptor"] = self._descriptors.pop(0)
            slot = self._asked.pop(message["id"], None)  # type: ignore[arg-type]
            if slot is not None:
                slot[1] = message
                slot[0].release()  # type: ignore[attr-defined]
            elif "descriptor" in message:
                close(message["descriptor"])  # type: ignore[arg-type]
            return
        try:
            reply = self._answer(message)  # type: ignore[operator]
        except Exception as error:
            reply = None
            if "id" in message:
                reason = "%s: %s" % (type(error).__name__, error)
                reply = {"type": "refused", "id": message["id"], "reason": reason}
        self._reply(reply)

    def _reply(self, reply):
        # type: (object) -> None
        if callable(reply):
            self._unfinished.append(reply)
        elif reply is not None:
            self.send(reply)  # type: ignore[arg-type]

    def _finish(self):
        # type: () -> None
        for question in self._unfinished[:]:
            reply = question()  # type: ignore[operator]
            if reply is not None:
                self._unfinished.remove(question)
                self._reply(reply)

    # --- forking ------------------------------------------------------------------------------

    def _before_fork(self):
        # type: () -> None
        """Stop our thread: Python 3.12 warns when a process with threads forks."""
        try:
            reports.flush()  # The child has what the parent had: it is told by the parent.
        finally:
            self._lock.acquire()
        if not self._thread or get_ident() == self._thread:
            return
        self._generation += 1
        self._wake_thread()
        # The thread may want the lock that we hold in order to end.
        self._lock.release()
        ended = self._gone.acquire(True, _FORK_PATIENCE)  # type: ignore[attr-defined]
        self._lock.acquire()
        if ended:
            _await_end(self._native)
        self._restart = True

    def _after_fork(self):
        # type: () -> None
        try:
            if self._restart:
                self._restart = False
                self._close_wake()
                self._start_thread()
        finally:
            self._lock.release()

    def _in_child(self):
        # type: () -> None
        self._close_wake()
        if self._socket is not None:
            if self._ours():
                self._socket.close()  # type: ignore[attr-defined]
            else:
                self._socket.detach()  # type: ignore[attr-defined]
        connected = self._socket is not None
        self._clear()
        reports.forked()
        ran.forked()
        if connected:
            self.open("fork")

    def _close_wake(self):
        # type: () -> None
        *descriptors, inode = self._wake
        for descriptor in descriptors:
            if inode and inode_of(descriptor) == inode:
                close(descriptor)
        self._wake = (-1, -1, 0)


def inode_of(descriptor):
    # type: (int) -> int
    """0 where there is no such descriptor."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0


def _moved_high(descriptor):
    # type: (int) -> int
    """The same file under a high, close-on-exec descriptor, if the limits allow."""
    for number in range(_HIGH, _HIGH + 200):
        try:
            os.fstat(number)
        except OSError:
            try:
                os.dup2(descriptor, number, inheritable=False)
            except OSError:
                return descriptor
            close(descriptor)
            return number
    return descriptor


def _await_end(native):
    # type: (int) -> None
    """Wait until the system knows no more of our thread; joined threads linger a moment."""
    task = "/proc/self/task/%d" % native
    deadline = monotonic() + _FORK_PATIENCE
    pause = 0.00002
    while monotonic() < deadline:
        try:
            os.stat(task)
        except OSError:
            return
        sleep(pause)
        pause = min(pause * 2, 0.002)
