"""The channel to the session: connect, send, ask; ``receiver`` has the thread that receives.

It lives in a process that may do anything: close all descriptors, fork, patch ``socket`` and
``threading``, run signal handlers in the midst of a send. Hence the raw modules, whose functions
are taken before anything can patch them; and no reentrant lock, as eventlet replaces all of
those: whoever finds the sending lock taken leaves its message to the one who has it.
"""

import _socket
import os
import sys
from _thread import allocate_lock, get_ident
from os import close
from time import monotonic, sleep

from onsave_agent import protocol, ran, reports
from onsave_agent.paths import command_line
from onsave_agent.receiver import Receiver, inode_of, moved_high

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

#: A session that hangs up on us this often, without a word between, is left alone.
_RECONNECTS = 3
#: How long the end of a process may be held up for a session that does not read, in seconds.
_LAST_MOMENT = 0.3
#: How often it is asked whether there is a reason to go on waiting, in seconds.
_ALIVE = 0.1
_FLAGS = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL


class Channel:
    """The connection of this process, made anew in each forked child."""

    def __init__(self, settings, answer):
        # type: (dict[str, Any], Callable[[dict[str, Any]], Any]) -> None
        self.settings = settings
        self.answer = answer
        self._count = 0
        self._hooked = False
        self._clear()

    def _clear(self):
        # type: () -> None
        self.connection = None  # type: _socket.socket | None
        self._inode = 0
        self.sending = allocate_lock()
        #: [bytes, descriptor or None] each; the first may be the rest of a message
        self.backlog = []  # type: list[list[Any]]
        #: id of a question → [a lock that is released when the answer has come, the answer]
        self.asked = {}  # type: dict[int, list[Any]]
        self.reconnects = 0
        self._receiver = Receiver(self)

    # --- connecting ---------------------------------------------------------------------------

    def open(self, spawned):
        # type: (str) -> bool
        """Connect and say hello; ``spawned``: "exec" or "fork". False where nobody answers."""
        try:
            self._connect(spawned)
        except OSError:
            self.connection = None
            return False
        self._receiver.start()
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
        connection.connect(self.settings["socket"])
        number = moved_high(connection.detach())
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, number)
        connection.settimeout(None)
        self._inode = inode_of(number)
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
        self.backlog.insert(0, [protocol.encode(hello), None])
        self.connection = connection
        self._drain_backlog()

    def is_ours(self):
        # type: () -> bool
        """Whether the descriptor is still our socket: an app may close all that it has."""
        connection = self.connection
        return connection is not None and inode_of(connection.fileno()) == self._inode

    def _drop(self):
        # type: () -> None
        if self.connection is not None:
            if self.is_ours():
                self.connection.close()
            else:
                self.connection.detach()
            self.connection = None

    def reconnect(self):
        # type: () -> None
        """Connect once more, or be silent from now on. Raises OSError where it failed."""
        self._drop()
        self.reconnects += 1
        try:
            if self.reconnects <= _RECONNECTS:
                self._connect("again")
        except OSError:
            self.connection = None
            raise

    # --- sending ------------------------------------------------------------------------------

    def send(self, message, descriptor=None):
        # type: (dict[str, Any], int | None) -> None
        """Send ``message``, with a duplicate of ``descriptor`` if there is one. Never blocks:
        what the session does not take now waits, and our thread sends it."""
        if self.connection is not None:
            line = protocol.encode(message)
            self.backlog.append([line, None if descriptor is None else os.dup(descriptor)])
            self.pump()

    def pump(self):
        # type: () -> None
        """Send what waits, unless somebody is at it, who then sends it all."""
        while self.backlog and self.connection is not None and self.sending.acquire(False):
            try:
                if not self.is_ours():  # The app closed it, as those do that become daemons.
                    self.reconnect()
                    if self.connection is not None:
                        self._receiver.start()
                blocked = not self._drain_backlog()
            except OSError:
                blocked = True
            finally:
                self.sending.release()
            if blocked:
                self._receiver.wake()
                return

    def _drain_backlog(self):
        # type: () -> bool
        """False where the session does not take more now."""
        while self.backlog and self.connection is not None:
            line, descriptor = first = self.backlog[0]
            ancillary = []
            if descriptor is not None:
                payload = descriptor.to_bytes(4, sys.byteorder)
                ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, payload)]
            try:
                sent = self.connection.sendmsg([line], ancillary, _FLAGS)
            except OSError:
                return False  # Or it has gone: the thread sees that, and what it means.
            if descriptor is not None:
                first[1] = None
                close(descriptor)
            if sent == len(line):
                del self.backlog[0]
            else:
                first[0] = line[sent:]
        return True

    def finish(self):
        # type: () -> None
        """Before the end: give the session a moment to take what it has not yet taken."""
        deadline = monotonic() + _LAST_MOMENT
        while self.backlog and self.connection is not None and monotonic() < deadline:
            self.pump()
            if self.backlog:
                sleep(0.002)

    def ask(self, message, timeout=None, alive=None):
        # type: (dict[str, Any], float | None, Callable[[], bool] | None) -> dict[str, Any] | None
        """Send a question and wait for the answer with its id. Signal handlers run meanwhile;
        where they only set a flag, ``alive`` says whether there is a reason to go on waiting.

        None where nobody answers. An answer's descriptor stands in it as "descriptor".
        """
        if self.connection is None or not self._receiver.is_alive():
            return None
        self._count += 1
        # Unique among all processes of the run, and all threads of this one.
        number = (os.getpid() << 32) + ((get_ident() >> 4 & 0xFFFF) << 16) + (self._count & 0xFFFF)
        arrived = allocate_lock()
        arrived.acquire()
        slot = self.asked[number] = [arrived, None]
        try:
            self.send(dict(message, id=number))
            if alive is None:
                arrived.acquire(True, -1 if timeout is None else timeout)
            else:
                while not arrived.acquire(True, _ALIVE) and alive():
                    pass
            return slot[1]  # type: ignore[no-any-return]
        finally:
            self.asked.pop(number, None)

    # --- forking ------------------------------------------------------------------------------

    def _before_fork(self):
        # type: () -> None
        try:
            reports.flush()  # The child has what the parent had: it is told by the parent.
        finally:
            self._receiver.pause()

    def _after_fork(self):
        # type: () -> None
        self._receiver.resume()

    def _in_child(self):
        # type: () -> None
        self._receiver.close()
        connected = self.connection is not None
        self._drop()
        for _, descriptor in self.backlog:
            if descriptor is not None:
                close(descriptor)
        self._clear()
        reports.forked()
        ran.forked()
        if connected:
            self.open("fork")
