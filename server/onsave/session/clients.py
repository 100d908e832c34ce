"""What clients' messages become, and what clients are told: editors' servers, scripts, hooks.

Saved files are read and digested here, once, and only those that the app is concerned with.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onsave.core import events as ev
from onsave.core.effects import Tell
from onsave.core.model import Action
from onsave.core.problems import problems
from onsave.core.step import state
from onsave.session import files, messages
from onsave.session.peers import Peer
from onsave.session.why import Ran, why
from onsave_agent import protocol
from onsave_agent.protocol import ProtocolError

if TYPE_CHECKING:
    from onsave.session.session import Session

Message = dict[str, Any]

#: Where more files than that were saved at once (a branch switch), those that the app has nothing
#: to do with are counted, not told one by one: nobody reads a hundred thousand lines.
MANY = 1000

ORIGINS = ("save", "watched", "command", "rename", "echo")


@dataclass
class _Batch:
    """One "saved" message, until all its verdicts are known."""

    peer: Peer
    id: int | None  # of the answer, where one is wanted
    open: set[str]  # paths without a verdict so far
    wait: bool
    concerned: bool
    many: bool  # so many files that what is ignored is only counted
    verdicts: list[Message] = field(default_factory=list)
    ignored: int = 0


class Clients:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._clients: set[Peer] = set()
        self._subscribed: set[Peer] = set()
        self._batches: dict[int, _Batch] = {}
        self._numbers = itertools.count(1)
        self._waiting: list[tuple[Peer, int]] = []  # requests to be answered once all is quiet
        #: When each file was last told of, for the time that the line on the terminal says.
        self.told_at: dict[str, float] = {}
        #: Something reaches us that tells of saves by itself.
        self.editors = 0

    # --- peers ------------------------------------------------------------------------------

    def hello(self, peer: Peer, _message: Message) -> None:
        self._clients.add(peer)
        self.editors += peer.role == "editor"
        session = self._session
        peer.send(
            {
                "type": "welcome",
                "version": protocol.VERSION,
                "name": session.name,
                "pid": session.pid,
                "root": session.root,
            }
        )

    def gone(self, peer: Peer) -> None:
        self._clients.discard(peer)
        self._subscribed.discard(peer)
        self.editors -= peer.role == "editor"

    def message(self, peer: Peer, message: Message) -> None:
        """One message of a client. Raises ProtocolError."""
        match message["type"]:
            case "saved":
                self._saved(peer, message)
            case "request":
                self._request(peer, message)
            case "subscribe":
                self._subscribed.add(peer)
                peer.send(self._status())
                peer.send(self._problems())
            case other:
                raise ProtocolError(f"{other} is not expected here")

    # --- saves ------------------------------------------------------------------------------

    def _saved(self, peer: Peer, message: Message) -> None:
        if not all(isinstance(path, str) and "\0" not in path for path in message["files"]):
            raise ProtocolError("saved: files are to be paths")
        if message["origin"] not in ORIGINS:
            raise ProtocolError(f"saved: unknown origin {message['origin']!r:.40}")
        reply = message.get("id")
        if reply is not None and type(reply) is not int:
            raise ProtocolError("saved: id is to be a number")
        session = self._session
        now = time.monotonic()
        number = next(self._numbers)
        digests: list[tuple[str, str | None]] = []
        for path in files.resolve(message["files"], session.app):
            digests.append((path, self._digest(path)))
            if session.app.concerns(path):
                self.told_at[path] = now
        paths = {path for path, _digest in digests}
        self._batches[number] = _Batch(
            peer,
            reply,
            set() if message["origin"] == "echo" else paths,
            wait=message.get("wait") is True,
            concerned=any(session.app.concerns(path) for path in paths),
            many=len(paths) > MANY,
        )
        session.post(ev.Saved(tuple(digests), message["origin"], number))
        session.config_saved({path for path, _digest in digests})

    def _digest(self, path: str) -> str | None:
        app = self._session.app
        if not app.concerns(path):
            return None
        digest, content = files.read(path, files.known_by_stat(app, path))
        if path.endswith(".py"):
            self._session.sources.keep(digest, content)
        return digest

    def tell(self, tell: Tell) -> None:
        """A verdict was made: all subscribers hear it, and whoever asked about that save."""
        session = self._session
        verdict = tell.verdict
        batches = [self._batches[number] for number in tell.batches if number in self._batches]
        for batch in batches:
            batch.open.discard(verdict.path)
            # A file that turned out to be loaded after all, once the app was asked.
            batch.concerned = batch.concerned or session.app.concerns(verdict.path)
        if verdict.action is Action.IGNORE and batches and all(batch.many for batch in batches):
            for batch in batches:
                batch.ignored += 1
            return
        message = messages.verdict(session.name, verdict, session.root)
        self.broadcast(message)
        for batch in batches:
            batch.verdicts.append(message)

    def answer_what_is_ready(self) -> None:
        """Answer those whose verdicts are all known, and, once nothing is under way, those who
        wanted to wait for that. Called when the inbox is empty."""
        quiet = not self._session.app.busy
        for number, batch in list(self._batches.items()):
            if batch.peer.closed:
                del self._batches[number]
            elif not batch.open and (quiet or not batch.wait):
                del self._batches[number]
                self._answer(batch)
        if quiet:
            waiting, self._waiting = self._waiting, []
            for peer, number in waiting:
                self._reply(peer, number, self._status())

    def _answer(self, batch: _Batch) -> None:
        if batch.ignored:
            text = f"{batch.ignored} of the files just saved change nothing"
            self.broadcast({"type": "log", "level": "info", "text": text})
        if batch.id is not None:
            result = {
                "verdicts": batch.verdicts,
                "ignored": batch.ignored,
                "concerned": batch.concerned,
                "status": self._status(),
                "problems": self._problems()["problems"],
            }
            self._reply(batch.peer, batch.id, result)

    # --- requests ---------------------------------------------------------------------------

    def _request(self, peer: Peer, message: Message) -> None:
        handler = _REQUESTS.get(message["request"])
        if handler is None:
            error = f"unknown request {message['request']!r:.60}"
            peer.send({"type": "reply", "id": message["id"], "result": None, "error": error})
        else:
            handler(self, peer, message)

    def _reply(self, peer: Peer, number: int, result: Any) -> None:
        peer.send({"type": "reply", "id": number, "result": result})

    def _asked_status(self, peer: Peer, message: Message) -> None:
        snapshots = self._session.snapshots.full_status()
        self._reply(peer, message["id"], {**self._status(), "snapshots": snapshots})

    def _asked_restart(self, peer: Peer, message: Message) -> None:
        self._session.post(ev.RestartAsked(force=message.get("force") is True))
        if message.get("wait") is True:
            self._waiting.append((peer, message["id"]))
        else:
            self._reply(peer, message["id"], self._status())

    def _asked_stop(self, peer: Peer, message: Message) -> None:
        self._session.post(ev.StopAsked())
        self._reply(peer, message["id"], self._status())

    def _asked_why(self, peer: Peer, message: Message) -> None:
        path = message.get("path")
        if not isinstance(path, str) or "\0" in path:
            raise ProtocolError("why: path is to be a path")
        session = self._session
        real = files.RealPaths().of(path)
        digest = self._digest(real)
        run = session.app.newest_run
        entry = run.loaded.get(real) if run else None
        known = next(iter(entry.digests.values()), None) if entry else None
        source = session.sources.of(known)

        def answer(ran: Ran | None) -> None:
            self._reply(peer, message["id"], why(session.app, real, digest, source, ran))

        if run is not None and source is not None:
            session.agents.ran(run.number, real, answer)
        else:
            answer(None)

    def _asked_files(self, peer: Peer, message: Message) -> None:
        run = self._session.app.newest_run
        inside = self._session.root + "/"
        listed = [
            [path, entry.kind, entry.module, entry.importer]
            for path, entry in (run.loaded.items() if run else ())
            if path.startswith(inside) and "/site-packages/" not in path
        ]
        self._reply(peer, message["id"], {"files": sorted(listed)})

    def _asked_traceback(self, peer: Peer, message: Message) -> None:
        run = self._session.app.newest_run
        text = run.failure.text or run.failure.summary if run and run.failure else ""
        self._reply(peer, message["id"], {"text": text})

    # --- telling all ------------------------------------------------------------------------

    def _status(self) -> Message:
        return status(self._session)

    def _problems(self) -> Message:
        session = self._session
        found = problems(session.app, session.workspace)
        return {"type": "problems", "problems": [messages.problem(p) for p in found]}

    def broadcast(self, message: Message) -> None:
        for peer in list(self._subscribed):
            peer.send(message)

    def status_changed(self) -> None:
        self.broadcast(self._status())

    def problems_changed(self) -> None:
        self.broadcast(self._problems())

    def goodbye(self, code: int) -> None:
        # Whoever still waits for an answer gets one, rather than a closed connection.
        for batch in self._batches.values():
            batch.open.clear()
            batch.wait = False
        self.answer_what_is_ready()
        for peer in list(self._clients):
            peer.send({"type": "goodbye", "code": code})


def status(session: Session) -> Message:
    """The whole status of the session, see the protocol."""
    app = session.app
    run = app.newest_run
    shown = app.serving_run or run
    listening = dict(shown.listening) if shown else {}
    last = app.last_verdicts[-1] if app.last_verdicts else None
    return {
        "type": "status",
        "name": session.name,
        "state": state(app).value,
        "run": shown.number if shown else 0,
        "pid": shown.pid if shown and shown.alive else None,
        "listening": list(listening),
        "held": [address for address, held in listening.items() if held],
        "stale": list(run.stale(app.saved)) if run else [],
        "lastVerdict": messages.verdict(session.name, last, session.root) if last else None,
        "readyMs": session.outcomes.ready_ms,
        "root": session.root,
        "cwd": session.cwd,
        "command": list(session.command),
        "message": session.outcomes.last_message,
        "processes": sorted(shown.processes) if shown else [],
        "serving": sorted(shown.serving) if shown else [],
        "loaded": len(run.loaded) if run else 0,
        "problems": len(problems(app, session.workspace)),
        "session": session.pid,
        "busy": app.busy,
        "snapshots": session.snapshots.status(),
    }


_REQUESTS: dict[str, Callable[[Clients, Peer, Message], None]] = {
    "status": Clients._asked_status,
    "restart": Clients._asked_restart,
    "stop": Clients._asked_stop,
    "why": Clients._asked_why,
    "files": Clients._asked_files,
    "traceback": Clients._asked_traceback,
}
