"""The control socket: bytes to messages and back, for every peer, without ever blocking.

A peer is anything that connects: an agent in one of the app's processes, an editor's server, a
script. It is known by nothing but its first line, ``hello``. Whoever sends what is not of the
protocol gets an ``error`` and is hung up on; whoever does not read what is sent to it is dropped.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from onsave.session.loop import READ, WRITE, Loop, Timer
from onsave.session.platform import here
from onsave_agent import protocol

Message = dict[str, Any]

#: Enough for hundreds of worker processes and every editor that one can open.
MAX_PEERS = 1000
#: A peer that has not said hello by then is hung up on, in seconds.
HELLO_WITHIN = 5.0
#: What may wait to be read by an agent: the largest message, and more. Dropping one costs the app.
MAX_QUEUED_AGENT = 2 * protocol.MAX_LINE
#: What may wait to be read by a client: a stuck editor is not to cost us memory.
MAX_QUEUED_CLIENT = 4 * 1024 * 1024
#: So much is read from one peer before the others have their turn.
CHUNK = 256 * 1024

_ANY_HELLO = {"hello": {"role": str, "version": int, "token": str}}
_TABLES = {
    "agent": protocol.AGENT_MESSAGES,
    "snapshot": protocol.SNAPSHOT_MESSAGES,
    "editor": protocol.CLIENT_MESSAGES,
    "client": protocol.CLIENT_MESSAGES,
}


def _same(token: str, ours: str) -> bool:
    """Compared in a time that does not tell how much of it is right."""
    if not ours:
        return not token  # a Unix socket, where the kernel has told who it is
    import hmac

    return hmac.compare_digest(token.encode(), ours.encode())


class Peer:
    """One connection. ``role`` is "" until hello; ``pid`` and ``run`` are set for agents."""

    def __init__(self, control: Control, connection: socket.socket) -> None:
        self.role = ""
        self.pid = 0
        self.run = 0
        self._control = control
        self._socket = connection
        self._input = bytearray()
        self._scanned = 0  # of the input, without a newline in it
        self._fds: deque[int] = deque()
        self._output: deque[tuple[memoryview, list[int]]] = deque()
        self._queued = 0
        self.closed = False
        self._ending = False
        self._deadline: Timer | None = control.loop.after(HELLO_WITHIN, self._too_late)

    # --- sending ----------------------------------------------------------------------------

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send, or queue what does not go at once. The descriptors stay the caller's."""
        if self.closed or self._ending:
            return
        line = protocol.encode(message)
        self._output.append((memoryview(line), [os.dup(fd) for fd in fds]))
        self._queued += len(line)
        self._flush()
        if self._queued > (MAX_QUEUED_AGENT if self.role == "agent" else MAX_QUEUED_CLIENT):
            self.close()

    def fail(self, text: str) -> None:
        """Say what is wrong and hang up, as soon as that has been sent or within a second."""
        self.send({"type": "error", "message": text})
        self.finish()

    def finish(self) -> None:
        """Hang up once everything was sent, or within a second."""
        self._ending = True
        if not self._output:
            self.close()
        elif not self.closed:
            self._cancel_deadline()
            self._deadline = self._control.loop.after(1.0, self.close)
            self._watch()

    def _flush(self) -> None:
        try:
            while self._output:
                data, fds = self._output[0]
                sent = here.send(self._socket, data, fds)
                for fd in fds:
                    os.close(fd)
                self._queued -= sent
                if sent < len(data):
                    self._output[0] = (data[sent:], [])
                else:
                    self._output.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._ending and not self._output:
            self.close()
        self._watch()

    def _watch(self) -> None:
        if not self.closed:
            events = WRITE if self._ending else READ | (WRITE if self._output else 0)
            self._control.loop.watch(self._socket, events, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ and not self.closed and not self._ending:
            self.read()

    # --- receiving --------------------------------------------------------------------------

    def take_fd(self) -> int | None:
        """The descriptor that came with the message being handled; the caller owns it."""
        return self._fds.popleft() if self._fds else None

    def read(self) -> bool:
        """Take in what is there, up to a bound. True where there may be more."""
        try:
            data, fds = here.receive(self._socket, CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data, fds = b"", []
        self._fds.extend(fds)
        if not data:
            self.close()
            return False
        self._input += data
        self._handle_lines()
        return not self.closed and not self._ending

    def _handle_lines(self) -> None:
        while not self.closed and not self._ending:
            end = self._input.find(b"\n", self._scanned)
            if end < 0:
                self._scanned = len(self._input)
                if self._scanned > protocol.MAX_LINE:
                    self.fail(f"a line of more than {protocol.MAX_LINE} bytes")
                break
            line = bytes(self._input[:end])
            del self._input[: end + 1]
            self._scanned = 0
            try:
                self._handle(line)
            except protocol.ProtocolError as error:
                self.fail(str(error))
            except Exception as error:
                self._control.on_error(error)
        if not self._input:
            self._close_fds()  # nothing is left that could claim them

    def _handle(self, line: bytes) -> None:
        if self.role:
            self._control.on_message(self, protocol.decode(line, _TABLES[self.role]))
            return
        hello = protocol.decode(line, _ANY_HELLO)
        if hello["version"] != protocol.VERSION:
            raise protocol.ProtocolError(
                f"this session speaks version {protocol.VERSION} of the protocol, and you speak "
                f"{hello['version']}: use one version of onsave for both"
            )
        if not _same(hello["token"], self._control.token):
            raise protocol.ProtocolError("the token is not this session's")
        if hello["role"] not in _TABLES:
            raise protocol.ProtocolError(f"unknown role {hello['role']:.60}")
        hello = protocol.decode(line, _TABLES[hello["role"]])
        self._cancel_deadline()
        self.role = hello["role"]
        self._control.on_hello(self, hello)

    def _too_late(self) -> None:
        self.fail(f"no hello within {HELLO_WITHIN:g} seconds")

    # --- the end ----------------------------------------------------------------------------

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_fds(self) -> None:
        while self._fds:
            os.close(self._fds.popleft())

    def close(self) -> None:
        """Hang up now."""
        if self.closed:
            return
        self.closed = True
        self._cancel_deadline()
        self._close_fds()
        for _data, fds in self._output:
            for fd in fds:
                os.close(fd)
        self._output.clear()
        self._control.loop.forget(self._socket)
        self._socket.close()
        self._control.gone(self)


class Control:
    """The listening control socket and its peers.

    on_hello, on_message: a peer said that; either may raise ProtocolError
    on_gone:              a peer that had said hello has hung up, or was hung up on
    on_error:             an exception that was a bug of ours
    """

    def __init__(
        self,
        loop: Loop,
        path: str,
        on_hello: Callable[[Peer, Message], None],
        on_message: Callable[[Peer, Message], None],
        on_gone: Callable[[Peer], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self.loop = loop
        self.on_hello = on_hello
        self.on_message = on_message
        self.on_error = on_error
        self._on_gone = on_gone
        self.peers: set[Peer] = set()
        self._socket, self.address, self.token = here.listen(path)
        self._watch()

    def _watch(self) -> None:
        if self._socket.fileno() >= 0:
            self.loop.watch(self._socket, READ, self._accept)

    def _accept(self, _events: int = 0) -> None:
        while True:
            try:
                connection, _address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError:  # descriptors are short: wait, rather than be called again at once
                self.loop.forget(self._socket)
                self.loop.after(1.0, self._watch)
                return
            connection.setblocking(False)
            if len(self.peers) >= MAX_PEERS or not here.peer_is_ours(connection):
                connection.close()
                continue
            peer = Peer(self, connection)
            self.peers.add(peer)
            self.loop.watch(connection, READ, peer._ready)

    def catch_up(self) -> None:
        """Take in all that agents have sent so far.

        A process that has ended may have said why just before: its last words are in the socket,
        and they are to be heard before the news of its end.
        """
        self._accept()
        for peer in list(self.peers):
            if peer.role != "agent" and peer.role:
                continue
            for _ in range(1000):  # a peer that never stops talking does not stop us
                if peer.closed or not peer.read():
                    break

    def gone(self, peer: Peer) -> None:
        self.peers.discard(peer)
        if peer.role:
            self._on_gone(peer)

    def close(self) -> None:
        """Hang up on all, as soon as they have what was sent to them; the file stays."""
        self.loop.forget(self._socket)
        self._socket.close()
        for peer in list(self.peers):
            with contextlib.suppress(OSError):
                peer.close()
