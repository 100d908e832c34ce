"""The sessions that the server is connected to: all of this user's that live.

Nobody polls. A server first listens on its own socket and has an entry, then connects to all
sessions that it finds; a session first listens and has an entry, then announces itself to all
servers that it finds. Whichever came first, they meet. At a session's end of file it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import os
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from onsave.control import ControlError, Entry, Message, RunDirectory, SessionEnded
from onsave_agent import protocol

log = logging.getLogger(__name__)

#: So many paths go into one message: a branch switch of 100,000 files must not be one long line
#: that keeps everybody busy at once.
PATHS_PER_MESSAGE = 1000

#: A server and a session that live meet in far less time than this.
RECENT_SECONDS = 60.0


class Listener(Protocol):
    """Who wants to hear of sessions. Called on the event loop."""

    def joined(self, link: Link) -> None: ...

    def heard(self, link: Link, message: Message) -> None: ...

    def left(self, link: Link) -> None: ...


class Link:
    """The connection to one session."""

    def __init__(
        self, entry: Entry, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.entry = entry
        self.name = entry.name
        self.status: Message = {}
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._saved: dict[str, str] = {}  # path → origin, not sent yet
        self._to_send = asyncio.Event()

    def saved(self, paths: Iterable[str], origin: str) -> None:
        """Tell of saved files. Never blocks: a session that is slow to read gets them later, each
        path once, so what waits for it is bounded by the number of files there are."""
        for path in paths:
            if origin != "echo" or path not in self._saved:
                self._saved[path] = origin
        self._to_send.set()

    async def request(self, what: str, timeout: float = 10.0, **fields: Any) -> Any:
        """Ask the session for ``what`` and return the result. Raises ControlError."""
        number = next(self._ids)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"type": "request", "id": number, "request": what, **fields})
            return await asyncio.wait_for(future, timeout)
        except (asyncio.TimeoutError, TimeoutError):
            raise ControlError(f"session {self.name!r} does not answer") from None
        finally:
            del self._asked[number]

    async def run(self, listener: Listener) -> None:
        """Converse until the session hangs up."""
        try:
            self._send({"type": "hello", "role": "editor", "version": protocol.VERSION,
                        "token": self.entry.token})  # fmt: skip
            # However long it takes: a session that is stopped now (Ctrl-Z) goes on some day, and
            # is told then of what was saved meanwhile.
            message = await self._receive()
            if message is None or message["type"] != "welcome":
                told = message.get("message") if message else "it hung up"
                raise ControlError(f"session {self.name!r} declined: {told}")
            self._send({"type": "subscribe"})
            listener.joined(self)
            sender = asyncio.create_task(self._send_saved())
            try:
                while (message := await self._receive()) is not None:
                    self._heard(message, listener)
            finally:
                sender.cancel()
                listener.left(self)
        except (OSError, ControlError, protocol.ProtocolError) as error:
            log.warning("session %r (pid %d): %s", self.name, self.entry.pid, error)
        finally:
            for future in self._asked.values():
                if not future.done():
                    future.set_exception(SessionEnded(f"session {self.name!r} has ended"))
            self._writer.close()

    def _heard(self, message: Message, listener: Listener) -> None:
        if message["type"] == "reply":
            future = self._asked.get(message["id"])
            if future is None or future.done():
                return
            if message.get("error"):
                future.set_exception(ControlError(f"session {self.name!r}: {message['error']}"))
            else:
                future.set_result(message["result"])
            return
        if message["type"] == "status":
            if message == self.status:
                return
            self.status = message
        try:
            listener.heard(self, message)
        except Exception:  # a field of an unforeseen form must not cost us the session
            log.exception("session %r said what we don't understand: %.200r", self.name, message)

    async def _receive(self) -> Message | None:
        try:
            line = await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None  # it has ended, maybe without having read all that was sent
        except asyncio.LimitOverrunError:
            raise ControlError(f"a line of more than {protocol.MAX_LINE} bytes") from None
        return protocol.decode(line, protocol.EVENT_MESSAGES)

    async def _send_saved(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._to_send.wait()
                while self._saved:
                    self._send(self._next_saved())
                    await self._writer.drain()
                self._to_send.clear()

    def _next_saved(self) -> Message:
        """As many waiting paths as fit, of the oldest one's origin."""
        origin = next(iter(self._saved.values()))
        same = (path for path, other in self._saved.items() if other == origin)
        files = list(itertools.islice(same, PATHS_PER_MESSAGE))
        for path in files:
            del self._saved[path]
        return {"type": "saved", "files": files, "origin": origin}

    def _send(self, message: Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(protocol.encode(message))


class Sessions:
    """All links, and the server's own entry."""

    def __init__(self, directory: RunDirectory, listener: Listener) -> None:
        self.directory = directory
        self.links: dict[int, Link] = {}  # by pid; those that have said welcome
        self._listener = listener
        self._connected: set[Link] = set()  # also those that have not said welcome yet
        self._recent: deque[tuple[float, list[str]]] = deque(maxlen=1000)
        self._tasks: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._entry: Entry | None = None
        self._server: asyncio.Server | None = None

    async def start(self, root: Path) -> None:
        """Be found by sessions to come, and find those that are there."""
        if os.name == "nt":  # not run by us so far: announcements carry nothing, so no token
            self._server = await asyncio.start_server(self._announced, "127.0.0.1", 0)
            host, port = self._server.sockets[0].getsockname()[:2]
            address = f"{host}:{port}"
        else:
            address = self.directory.socket_path("lsp")
            self._server = await asyncio.start_unix_server(self._announced, address)
        token = "loopback" if os.name == "nt" else ""
        self._entry = self.directory.register("server", "lsp", root, address, token)
        self.look()

    def look(self) -> None:
        """Connect to those sessions in the run directory that we are not connected to."""
        for entry in self.directory.entries("session"):
            key = (entry.pid, entry.started)
            if key not in self._tasks:
                task = asyncio.create_task(self._converse(entry))
                self._tasks[key] = task
                task.add_done_callback(functools.partial(self._finished, key))

    def _finished(self, key: tuple[int, str], _: asyncio.Task[None]) -> None:
        del self._tasks[key]

    def saved(self, paths: list[str], origin: str) -> None:
        """Tell every session: each knows by itself whether a path concerns it."""
        self._recent.append((time.monotonic(), paths))
        for link in self._connected:
            link.saved(paths, origin)

    def close(self) -> None:
        """Hang up, and take the server's entry away."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks.values()):
            task.cancel()
        if self._entry is not None:
            self.directory.remove(self._entry)

    def named(self, name: str | None) -> Link:
        """The session of that name, or the only one. Raises ControlError."""
        links = [link for link in self.links.values() if name in (None, link.name)]
        if len(links) == 1:
            return links[0]
        if not self.links:
            raise ControlError("no app runs under onsave; start one with `onsave run COMMAND`")
        running = ", ".join(sorted(link.name for link in self.links.values()))
        if links:
            raise ControlError(f"several apps run under onsave: say which of {running}")
        raise ControlError(f"no session is named {name!r}; running: {running}")

    async def _converse(self, entry: Entry) -> None:
        limit = protocol.MAX_LINE
        try:
            if entry.token:
                host, _, port = entry.socket.rpartition(":")
                streams = await asyncio.open_connection(host, int(port), limit=limit)
            else:
                streams = await asyncio.open_unix_connection(entry.socket, limit=limit)
        except (OSError, ValueError) as error:
            log.warning("session %r (pid %d): %s", entry.name, entry.pid, error)
            return
        link = Link(entry, *streams)
        # What was saved while we were about to meet. Most of it was before its time: it compares
        # contents, and says nothing of what it has already.
        for when, paths in self._recent:
            if time.monotonic() - when < RECENT_SECONDS:
                link.saved(paths, "echo")
        self._connected.add(link)
        try:
            await link.run(self)
        finally:
            self._connected.discard(link)

    def joined(self, link: Link) -> None:
        self.links[link.entry.pid] = link
        self._listener.joined(link)

    def heard(self, link: Link, message: Message) -> None:
        self._listener.heard(link, message)

    def left(self, link: Link) -> None:
        if self.links.get(link.entry.pid) is link:
            del self.links[link.entry.pid]
        self._listener.left(link)

    async def _announced(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A session says that it is there: whoever it is, the run directory tells the truth."""
        with contextlib.suppress(OSError, asyncio.TimeoutError, ValueError):
            await asyncio.wait_for(reader.readline(), 5.0)
        writer.close()
        with contextlib.suppress(ControlError, OSError):
            self.look()
