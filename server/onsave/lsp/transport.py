"""Bytes in, bytes out, and when to end: what stands between pygls and the editor.

pygls would do all of this itself, but a server that supervises processes needs more: its protocol
must not be garbled by a stray ``print``, an editor that doesn't read must not stop it, and however
the editor goes (``exit``, end of file, a signal, a crash that leaves the pipe open) the server has
to come to its own end. ``tests/lsp/test_lifetime.py`` has what was seen to go wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInternalError
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol
from pygls.protocol.language_server import lsp_method

from onsave.lsp import ext

#: An editor that is busy for a while reads late; one that has not read so much reads no more, and
#: then messages that nobody will miss are dropped.
MAX_WAITING = 4 * 1024 * 1024

#: May be dropped when too much waits: they inform, and the state is told by others.
_DROPPABLE = frozenset({types.WINDOW_LOG_MESSAGE, types.LOG_TRACE, ext.VERDICT})


class Outgoing:
    """What is to be written, in order, by a thread of its own: writing blocks, the loop must not.

    A message with a ``key`` replaces one with the same key that still waits.
    """

    def __init__(self, write: Callable[[bytes], object], broken: Callable[[], None]) -> None:
        """``broken`` is called, from the thread, when the other side has gone."""
        self._write = write
        self._broken = broken
        self._lock = threading.Condition()
        self._queue: dict[object, bytes] = {}  # in order of insertion
        self._size = 0
        self._dropped = 0
        self._writing = False
        self._closed = False
        threading.Thread(target=self._run, name="outgoing", daemon=True).start()

    def put(self, data: bytes, key: str | None = None, droppable: bool = False) -> None:
        with self._lock:
            if self._closed:
                return
            if droppable and self._size + len(data) > MAX_WAITING:
                self._dropped += 1
                return
            if key is not None:
                self._size -= len(self._queue.pop(key, b""))
            self._queue[object() if key is None else key] = data
            self._size += len(data)
            self._lock.notify_all()

    def take_dropped(self) -> int:
        """How many messages were dropped since this was last asked, once there is room again."""
        with self._lock:
            if self._size > MAX_WAITING // 2:
                return 0
            dropped, self._dropped = self._dropped, 0
            return dropped

    def flush(self, timeout: float) -> None:
        """Wait until all is written, at most ``timeout`` seconds."""
        with self._lock:
            self._lock.wait_for(
                lambda: self._closed or not (self._queue or self._writing), timeout
            )

    def _run(self) -> None:
        while True:
            with self._lock:
                self._writing = False
                self._lock.notify_all()
                self._lock.wait_for(lambda: self._queue)
                data = self._queue.pop(next(iter(self._queue)))
                self._size -= len(data)
                self._writing = True
            try:
                self._write(data)
            except (OSError, ValueError):
                with self._lock:
                    self._closed = True
                    self._queue.clear()
                    self._lock.notify_all()
                self._broken()
                return


class Protocol(LanguageServerProtocol):
    """pygls' protocol with our way out, and without its way to end the process."""

    def __init__(self, server: LanguageServer, converter: Any) -> None:
        super().__init__(server, converter)
        self.outgoing: Outgoing | None = None
        self.done: asyncio.Event | None = None
        self.exit_code: int | None = None

    def structure_message(self, data: dict[str, Any]) -> Any:
        # 100,000 events take pygls seconds to structure; as plain data they take a tenth of one.
        if data.get("method") == types.WORKSPACE_DID_CHANGE_WATCHED_FILES and "jsonrpc" in data:
            return _WatchedFiles(data)
        return super().structure_message(data)

    @lsp_method(types.EXIT)
    def lsp_exit(self, *_: object) -> None:  # type: ignore[override]
        """The editor wants us to go: with 1 if it has not said so by ``shutdown`` before."""
        self.end(0 if self._shutdown else 1)

    def end(self, code: int) -> None:
        """Have the server end with that exit code; the first one counts."""
        if self.exit_code is None:
            self.exit_code = code
        if self.done is not None:
            self.done.set()

    def _send_data(self, data: Any) -> None:
        if not data or self.outgoing is None:
            return
        try:
            body = json.dumps(data, default=self._serialize_message).encode("ascii")
        except (TypeError, ValueError, AttributeError) as error:
            self._server._report_server_error(error, JsonRpcInternalError)
            return
        method = getattr(data, "method", None)
        key = None
        if method == types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS:
            key = f"{method} {data.params.uri}"
        elif method == ext.STATUS:
            key = method
        head = b"Content-Length: %d\r\n\r\n" % len(body)
        self.outgoing.put(head + body, key, droppable=method in _DROPPABLE)


class _WatchedFiles:
    """A ``workspace/didChangeWatchedFiles`` notification with its params as plain data."""

    method = types.WORKSPACE_DID_CHANGE_WATCHED_FILES

    def __init__(self, data: dict[str, Any]) -> None:
        self.jsonrpc = data["jsonrpc"]
        self.params = data.get("params")


def take_stdio() -> tuple[BinaryIO, Callable[[bytes], object]]:
    """Our own stdin and stdout, out of everybody else's reach: whatever is printed by mistake, by
    us or by a child, lands on stderr instead of between the protocol's messages."""
    source = os.dup(0)
    target = os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    if sys.platform == "win32":  # not run by us so far
        import msvcrt

        msvcrt.setmode(source, os.O_BINARY)
        msvcrt.setmode(target, os.O_BINARY)

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]

    return os.fdopen(source, "rb"), write


async def read_messages(protocol: Protocol, source: BinaryIO) -> None:
    """Hand the editor's messages to ``protocol``, each as it comes, until the end of file.

    A thread reads and nothing else does on it; pygls reads on the pool that runs handlers too.
    """
    loop = asyncio.get_running_loop()

    def read_all() -> None:
        try:
            while (body := read_body(source)) is not None:
                loop.call_soon_threadsafe(_handle, protocol, body)
        except (OSError, ValueError):
            pass  # a pipe that breaks has ended
        finally:
            loop.call_soon_threadsafe(ended.set)

    ended = asyncio.Event()
    threading.Thread(target=read_all, name="incoming", daemon=True).start()
    await ended.wait()


def read_body(source: BinaryIO) -> bytes | None:
    """The body of the next message, None at the end. Raises ValueError where no length is told."""
    length = None
    while (line := source.readline()).strip():
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    if not line:
        return None
    if length is None:
        raise ValueError("a message without Content-Length")
    body = source.read(length)
    return body if len(body) == length else None


def _handle(protocol: Protocol, body: bytes) -> None:
    """One message. Whatever is wrong with it, the next one is heard as well."""
    try:
        protocol.handle_message(json.loads(body, object_hook=protocol.structure_message))
    except Exception as error:
        _answer_invalid(protocol, body, error)
        protocol._server._report_server_error(error, JsonRpcException)


def _answer_invalid(protocol: Protocol, body: bytes, error: Exception) -> None:
    """A request that can't be understood is answered all the same: editors wait for answers."""
    try:
        data = json.loads(body)
        number, method = data["id"], data["method"]
    except (ValueError, TypeError, LookupError):
        return
    text = f"{method}: {error or type(error).__name__}"
    failure = types.ResponseError(types.ErrorCodes.InvalidParams, text)
    protocol._send_response(number, error=failure)


def listen_tcp(host: str, port: int) -> tuple[BinaryIO, Callable[[bytes], object]]:
    """Wait for one editor on a loopback address, and talk to that one. Raises OSError."""
    import socket

    with socket.create_server((host, port)) as server:
        address, bound = server.getsockname()[:2]
        print(f"onsave: waiting for an editor on {address}:{bound}", file=sys.stderr, flush=True)
        connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection.makefile("rb"), connection.sendall
