"""What sessions say, told to the editor: log, status, diagnostics, progress, one message a failure.

Everything is told by standard messages, so that a bare client misses nothing; ours come on top.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from onsave.control import ControlError, Message
from onsave.lsp import ext, to_proto
from onsave.lsp.sessions import Link

if TYPE_CHECKING:
    from onsave.lsp.server import OnsaveServer

_WORKING = {"starting": "starting", "restarting": "restarting"}
_LEVEL_OF_ACTION = {"ignore": "debug", "hold": "warning"}

SHOW_TRACEBACK = "Show traceback"
RESTART = "Restart"


class Report:
    """Listens to the sessions and speaks to one editor."""

    def __init__(self, server: OnsaveServer) -> None:
        self._server = server
        self._problems: dict[Link, list[tuple[str, types.Diagnostic]]] = {}  # (URI, …)
        self._published: dict[str, list[types.Diagnostic]] = {}
        self._progress: dict[Link, _Progress] = {}
        self._told_failure: set[Link] = set()
        self._outcomes: dict[Link, tuple[int, str | None]] = {}  # as logged last
        self._tasks: set[asyncio.Task[None]] = set()

    # --- from sessions.Listener -------------------------------------------------------------

    def joined(self, link: Link) -> None:
        self._server.log("info", f"{link.name}: found (pid {link.entry.pid}, {link.entry.root})")
        self._send_status()

    def heard(self, link: Link, message: Message) -> None:
        kind = message["type"]
        if kind == "verdict":
            told = to_proto.verdict(message, self._server.uri_of)
            self._server.protocol.notify(ext.VERDICT, told)
            level = _LEVEL_OF_ACTION.get(message["action"], "info")
            self._server.log(level, message["message"])
        elif kind == "status":
            self._send_status()
            self._show_progress(link, message)
            self._log_outcome(link, message)
            if message["state"] in _WORKING:
                self._told_failure.discard(link)  # a new attempt may fail anew
            elif message["state"] == "broken":
                self._tell_failure(link, f"{link.name}: {message.get('message') or 'failed'}")
        elif kind == "problems":
            self._problems[link] = self._translate(message["problems"])
            self._publish()
            failures = [each for each in message["problems"] if each.get("kind") == "failure"]
            if failures:
                self._tell_failure(link, f"{link.name}: {failures[0]['message']}")
        elif kind == "log":
            self._server.log(message["level"], f"{link.name}: {message['text']}")
        elif kind == "goodbye":
            self._server.log("info", f"{link.name}: ended with {message['code']}")

    def left(self, link: Link) -> None:
        self._problems.pop(link, None)
        self._told_failure.discard(link)
        self._outcomes.pop(link, None)
        self._end_progress(link)
        self._publish()
        self._send_status()

    def _log_outcome(self, link: Link, status: Message) -> None:
        """``shop: restarted in 0.41 s``, once."""
        outcome = (status["run"], status.get("message"))
        wrong = status["state"] in ("held", "broken")
        # What was said before we came is of interest only where it still has to be mended.
        before = self._outcomes.setdefault(link, (0, None) if wrong else outcome)
        # On its way up, a run still has the message of the one before it.
        still = status["state"] in _WORKING and before[1] == outcome[1]
        if outcome[1] and outcome != before and not still:
            self._server.log("warning" if wrong else "info", f"{link.name}: {outcome[1]}")
            self._outcomes[link] = outcome

    # --- status and progress ----------------------------------------------------------------

    def status(self) -> ext.Status:
        links = sorted(self._server.links, key=lambda link: link.name)
        return ext.Status(
            sessions=[
                to_proto.session(link.name, link.entry.root, link.status, self._server.uri_of)
                for link in links
            ]
        )

    def _send_status(self) -> None:
        self._server.protocol.notify(ext.STATUS, self.status())
        self._server.refresh_lenses()

    def _show_progress(self, link: Link, status: Message) -> None:
        what = _WORKING.get(status["state"])
        if what is None:
            self._end_progress(link)
        elif link not in self._progress and self._server.can.progress:
            self._progress[link] = _Progress(self._server, f"{what} {link.name}")

    def _end_progress(self, link: Link) -> None:
        progress = self._progress.pop(link, None)
        if progress is not None:
            progress.end()

    # --- diagnostics ------------------------------------------------------------------------

    def _translate(self, problems: list[dict[str, Any]]) -> list[tuple[str, types.Diagnostic]]:
        lines_of = functools.cache(to_proto.read_lines)
        server = self._server
        return [
            (
                server.uri_of(problem["path"]),
                to_proto.diagnostic(
                    problem,
                    server.encoding,
                    server.uri_of,
                    lines_of,
                    server.can.related_information,
                ),
            )
            for problem in problems
        ]

    def _publish(self) -> None:
        """Publish what differs from what was published: of all sessions together, as one set of
        diagnostics for a document replaces the last."""
        current: dict[str, list[types.Diagnostic]] = {}
        for uri, diagnostic in itertools.chain.from_iterable(self._problems.values()):
            of_document = current.setdefault(uri, [])
            if diagnostic not in of_document:  # two apps may stumble over one line
                of_document.append(diagnostic)
        for uri in self._published.keys() | current.keys():
            diagnostics = current.get(uri, [])
            if diagnostics != self._published.get(uri, []):
                self._server.text_document_publish_diagnostics(
                    types.PublishDiagnosticsParams(uri, diagnostics)
                )
        self._published = current

    # --- failures ---------------------------------------------------------------------------

    def _tell_failure(self, link: Link, message: str) -> None:
        if link in self._told_failure or self._server.can.tells_failures:
            return
        self._told_failure.add(link)
        task = asyncio.create_task(self._show_failure(link, message.splitlines()[0]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show_failure(self, link: Link, message: str) -> None:
        server, error = self._server, types.MessageType.Error
        if not server.can.message_actions:
            server.window_show_message(types.ShowMessageParams(error, message))
            return
        actions = [types.MessageActionItem(title) for title in (SHOW_TRACEBACK, RESTART)]
        try:
            chosen = await server.window_show_message_request_async(
                types.ShowMessageRequestParams(error, message, actions)
            )
            if chosen is not None and chosen.title == RESTART:
                await link.request("restart", force=False)
            elif chosen is not None and chosen.title == SHOW_TRACEBACK:
                result = await link.request("traceback")
                await self._show_text(link, result["text"])
        except ControlError as problem:
            server.log("error", str(problem))
        except JsonRpcException:
            pass  # the editor has no answer to give

    async def _show_text(self, link: Link, text: str) -> None:
        server = self._server
        directory = server.run_directory
        if not server.can.show_document or directory is None:
            server.log("error", f"{link.name}:\n{text}")
            return
        file = Path(directory.path) / f"traceback-{link.entry.pid}.txt"
        file.write_text(text, encoding="utf-8")
        server.traceback_files.add(file)
        await server.window_show_document_async(
            types.ShowDocumentParams(server.uri_of(str(file)), take_focus=True)
        )


class _Progress:
    """One work-done progress, from now until :meth:`end`. The editor is asked for it first, and
    may answer late, or not at all: it is begun only if it has not ended meanwhile."""

    def __init__(self, server: OnsaveServer, title: str) -> None:
        self._server = server
        self._token = str(uuid.uuid4())
        self._begun = False
        self._ended = False
        self._task = asyncio.create_task(self._begin(title))

    async def _begin(self, title: str) -> None:
        create = types.WorkDoneProgressCreateParams(self._token)
        try:
            # Not pygls' own create_async: it keeps every token for ever, and one that is
            # cancelled while it waits makes the editor show an error.
            await self._server.protocol.send_request_async(
                types.WINDOW_WORK_DONE_PROGRESS_CREATE, create
            )
        except JsonRpcException:
            return
        if not self._ended:
            self._begun = True
            self._send(types.WorkDoneProgressBegin(title=f"onsave: {title}"))

    def end(self) -> None:
        self._ended = True
        if self._begun:
            self._send(types.WorkDoneProgressEnd())

    def _send(self, value: types.WorkDoneProgressBegin | types.WorkDoneProgressEnd) -> None:
        self._server.protocol.notify(
            types.PROGRESS, types.ProgressParams(token=self._token, value=value)
        )
