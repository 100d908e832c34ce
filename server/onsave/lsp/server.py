"""``onsave lsp``: what the editor says goes to the sessions, what they say goes to the editor.

It translates and decides nothing: which saves matter is known to the sessions. ``handlers`` has
what the editor says, ``commands`` what it may ask for, ``report`` what it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, BinaryIO

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInternalError, JsonRpcMethodNotFound
from pygls.lsp.server import LanguageServer
from pygls.protocol import default_converter

from onsave import __version__
from onsave.control import ControlError, RunDirectory
from onsave.lsp import client, commands, from_proto, handlers, lenses, lifetime, to_proto, transport
from onsave.lsp.headless import Headless
from onsave.lsp.report import Report
from onsave.lsp.saving import Saving
from onsave.lsp.sessions import Link, Sessions

log = logging.getLogger(__name__)

#: What programs are made of, as far as a save of it can matter to one: sources, extension modules,
#: and the kinds of files that apps read when they start. Not ``**/*``: builds, caches, logs and
#: databases would be reported on and on, and never concern anybody.
WATCHED = (
    "**/*.{py,pyw,so,pyd,toml,yaml,yml,json,ini,cfg,conf,env,txt,sql,html,jinja,jinja2,j2,xml,csv}",
    "**/.env*",
)

#: Editors kill a server that takes longer than some two seconds to go.
STOP_SECONDS = 1.5


class OnsaveServer(LanguageServer):
    """The server of one editor."""

    protocol: transport.Protocol

    def __init__(self) -> None:
        super().__init__(
            "onsave",
            __version__,
            # What is in the editor's buffers is nobody's business but the editor's.
            text_document_sync_kind=types.TextDocumentSyncKind.None_,
            protocol_cls=transport.Protocol,
            converter_factory=default_converter,
        )
        self.can = client.Can()
        self.settings = client.Settings()
        self.saving = Saving()
        self.report = Report(self)
        self.headless = Headless(self.log)
        self.run_directory: RunDirectory | None = None
        self.traceback_files: set[Path] = set()
        self._sessions: Sessions | None = None
        self._opened: dict[str, str] = {}  # real path → URI, of the documents that are open
        self._said_that_nobody_hears = False
        self._lenses_stale = False
        self._refreshing: Future[Any] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        handlers.register(self)
        commands.register(self)

    # --- what the other modules need --------------------------------------------------------

    @property
    def sessions(self) -> Sessions:
        """Raises ControlError where the run directory could not be used."""
        if self._sessions is None:
            raise ControlError("onsave has no run directory, see the log")
        return self._sessions

    @property
    def links(self) -> list[Link]:
        return list(self._sessions.links.values()) if self._sessions is not None else []

    @property
    def root(self) -> str:
        """The first workspace folder, else where the server was started."""
        if self.folders:
            return self.folders[0]
        try:
            return str(Path.cwd())
        except OSError:  # it was deleted
            return "/"

    @property
    def folders(self) -> list[str]:
        uris = [*self.workspace.folders, self.workspace.root_uri]
        return from_proto.paths(uris)

    @property
    def encoding(self) -> str:
        """"utf-8", "utf-16" or "utf-32", as negotiated."""
        return types.PositionEncodingKind(self.workspace.position_encoding or "utf-16").value

    def uri_of(self, path: str) -> str:
        """The URI of ``path``: where the editor has it open, just as the editor calls it. It may
        know the file by a symbolic link, or quote other characters than we do."""
        return self._opened.get(path) or to_proto.uri(path)

    def log(self, level: str, text: str) -> None:
        outgoing = self.protocol.outgoing
        dropped = outgoing.take_dropped() if outgoing else 0
        if dropped:
            text = f"({dropped} messages were left out: the editor did not read)\n{text}"
        self.window_log_message(types.LogMessageParams(to_proto.level(level), text))

    def refresh_lenses(self) -> None:
        """One request at a time: a client that is slow to answer is asked once more, not often."""
        if not self.can.refresh_lenses:
            return
        self._lenses_stale = True
        if self._refreshing is None or self._refreshing.done():
            self._lenses_stale = False
            self._refreshing = self.protocol.send_request(types.WORKSPACE_CODE_LENS_REFRESH)
            self._refreshing.add_done_callback(self._refreshed)

    def _refreshed(self, answered: Future[Any]) -> None:
        # pygls cancels what is open while it shuts down, and must not be given more meanwhile.
        if self._lenses_stale and not answered.cancelled():
            self.refresh_lenses()

    def spawn(self, coroutine: Any) -> None:
        """Run a coroutine on its own; what it raises is logged."""

        def done(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self.report_server_error(error, JsonRpcException)

        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(done)

    def report_server_error(self, error: BaseException, source: Any) -> None:
        """To the log; pygls would pop up a window for each. What we decline with a clear answer is
        no error of ours, and needs no traceback."""
        expected = isinstance(error, JsonRpcException) and not isinstance(
            error, JsonRpcInternalError
        )
        if not isinstance(error, JsonRpcMethodNotFound):
            log.error("%s", error or type(error).__name__, exc_info=None if expected else error)
            self.log("error", f"error in the server: {error or type(error).__name__}")

    # --- what happens -----------------------------------------------------------------------

    def begin(self) -> None:
        """Find the sessions, and be found."""
        try:
            self.run_directory = RunDirectory()
            self._sessions = Sessions(self.run_directory, self.report)
        except ControlError as error:
            message = types.ShowMessageParams(types.MessageType.Error, f"onsave: {error}")
            # After the answer to `initialize`.
            asyncio.get_running_loop().call_soon(self.window_show_message, message)
        else:
            self.spawn(self._sessions.start(Path(self.root)))

    async def end(self) -> None:
        """Leave nothing behind."""
        await self.stop_headless()
        if self._sessions is not None:
            self._sessions.close()
        for file in self.traceback_files:
            file.unlink(missing_ok=True)

    async def stop_headless(self) -> None:
        await self.headless.stop(STOP_SECONDS)

    def saved(self, paths: list[str], origin: str) -> None:
        if not paths or self._sessions is None:
            return
        self._sessions.saved(paths, origin)
        if not self.links and origin == "save" and not self._said_that_nobody_hears:
            self._said_that_nobody_hears = True
            self.log("info", "no app runs under onsave yet; start one with `onsave run COMMAND`")

    def moved(self, paths: list[str]) -> None:
        """Files were created, deleted or renamed in the editor."""
        self.saving.told(paths)
        self.saved(paths, "rename")

    def opened(self, uri: str) -> None:
        if (path := from_proto.path(uri)) is not None:
            self._opened[os.path.realpath(path)] = uri

    def closed(self, uri: str) -> None:
        if (path := from_proto.path(uri)) is not None:
            self._opened.pop(os.path.realpath(path), None)

    def apply_settings(self, raw: object) -> None:
        self.settings, problems = client.settings(raw, self.settings)
        self.saving.habit = self.settings.auto_save
        for problem in problems:
            self.log("warning", problem)

    async def pull_settings(self) -> None:
        if self.can.configuration:
            item = types.ConfigurationItem(section="onsave")
            with contextlib.suppress(JsonRpcException):
                found = await self.workspace_configuration_async(types.ConfigurationParams([item]))
                self.apply_settings(found[0] if found else None)
                self.log("debug", f"onsave.autoSave is {self.settings.auto_save}")

    async def register_dynamically(self) -> None:
        """What pygls can't announce in ``initialize``, for clients that can be asked later."""
        registrations = []
        if self.can.watch:
            watchers = [types.FileSystemWatcher(glob_pattern=glob) for glob in WATCHED]
            options = types.DidChangeWatchedFilesRegistrationOptions(watchers)
            method = types.WORKSPACE_DID_CHANGE_WATCHED_FILES
            registrations.append(types.Registration("onsave-files", method, options))
        if self.can.configuration_changes:
            section = {"section": "onsave"}
            method = types.WORKSPACE_DID_CHANGE_CONFIGURATION
            registrations.append(types.Registration("onsave-settings", method, section))
        if registrations:
            with contextlib.suppress(JsonRpcException):  # then it just won't tell us
                await self.client_register_capability_async(types.RegistrationParams(registrations))

    def lenses(self, uri: str) -> list[types.CodeLens]:
        path = from_proto.path(uri)
        if path is None or not path.endswith((".py", ".pyw")):
            return []
        inside = [folder for folder in self.folders if Path(path).is_relative_to(folder)]
        root = max(inside, key=len) if inside else str(Path(path).parent)
        return lenses.lenses(path, root, client.interpreter(self.settings, root), self.links)


async def serve(source: BinaryIO, write: Callable[[bytes], object]) -> int:
    """Talk to one editor until it or somebody else ends it; the exit code."""
    loop = asyncio.get_running_loop()
    server = OnsaveServer()
    protocol = server.protocol
    protocol.done = asyncio.Event()

    def gone() -> None:  # from other threads
        # An end that `shutdown` has not announced is an accident.
        loop.call_soon_threadsafe(lambda: protocol.end(0 if protocol._shutdown else 1))

    protocol.outgoing = transport.Outgoing(write, broken=gone)
    lifetime.end_on_signals(protocol.end)
    reading = asyncio.create_task(transport.read_messages(protocol, source))
    reading.add_done_callback(lambda _: gone())
    try:
        await protocol.done.wait()
    finally:
        await server.end()
        protocol.outgoing.flush(1.0)
    return protocol.exit_code or 0


def main(source: BinaryIO, write: Callable[[bytes], object]) -> int:
    """:func:`serve`, with its own event loop, and with errors going to stderr.

    The caller is to leave by ``os._exit``: a thread waits in a read that may never return.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="onsave: %(message)s")
    # pygls logs a traceback for each request that it declines; ours are logged where they happen.
    logging.getLogger("pygls").setLevel(logging.CRITICAL)
    return asyncio.new_event_loop().run_until_complete(serve(source, write))
