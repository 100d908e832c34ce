"""What agents' messages become, and what is asked of them.

An agent is a peer in one of the app's processes. It speaks for one process of one run; a run has
as many as it has Python processes. What comes in becomes an event; what the core wants to know is
asked of all processes of a run, and joined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from onsave.core import events as ev
from onsave.core.model import ABSENT, Problem
from onsave.session import compiling, files, reports
from onsave.session.listeners import Listeners, readable
from onsave.session.peers import Peer
from onsave.session.questions import Questions, first_of
from onsave.session.why import Ran
from onsave_agent.protocol import ProtocolError

if TYPE_CHECKING:
    from onsave.session.session import Session

Message = dict[str, Any]

#: An app that does not answer by then, in seconds, is busy, and its silence is no answer: for a
#: check a fresh interpreter is asked instead.
PROMPTLY = 0.3
#: Compiling takes a while: so many seconds more for each file to be checked.
PER_FILE = 0.01
#: A patch that not every process has made by then is refused.
PATCH_WITHIN = 2.0
#: How often a debugger that holds the app is asked whether it has let it go.
ASK_DEBUGGER = 0.5


class Agents:
    def __init__(self, session: Session, listeners: Listeners) -> None:
        self.questions = Questions(session.loop)
        self._session = session
        self._post: Callable[[ev.Event], None] = session.post
        self._listeners = listeners
        self._peers: dict[int, dict[int, Peer]] = {}  # run → pid → its agent
        self._waiting: dict[int, tuple[int, int, int]] = {}  # our id → run, pid, its id there
        self._last_waiting = 0
        self._executables: dict[int, str] = {}  # run → its interpreter
        self._told_run: dict[int, int] = {}  # pid → run
        self.notes: set[str] = set()

    # --- who is there -----------------------------------------------------------------------

    def peers(self, run: int) -> list[Peer]:
        return list(self._peers.get(run, {}).values())

    def run_of(self, pid: int) -> int | None:
        """The run that the agent of that process named."""
        return self._told_run.get(pid)

    def hello(self, peer: Peer, message: Message) -> None:
        """Raises ProtocolError for a process of a run that is over: hung up on, it ends itself."""
        peer.pid, peer.run = message["pid"], message["run"]
        if not self._session.processes.alive(peer.run):
            raise ProtocolError(f"run {peer.run} is over")
        processes = self._peers.setdefault(peer.run, {})
        older = processes.get(peer.pid)
        processes[peer.pid] = peer
        if older is not None:
            older.close()
            if message["spawned"] == "again":
                return  # the app had closed the channel; the agent is the one that it was
            # The process has executed another program in its place.
            self._post(ev.ProcessDown(peer.run, peer.pid))
        self._told_run[peer.pid] = peer.run
        self._executables.setdefault(peer.run, message["executable"])
        forked = message["spawned"] == "fork"
        self._post(ev.ProcessUp(peer.run, peer.pid, message["ppid"] if forked else None))
        self._session.settling.up(peer.run)

    def gone(self, peer: Peer) -> None:
        self.questions.gone(peer)
        if self._peers.get(peer.run, {}).get(peer.pid) is peer:
            del self._peers[peer.run][peer.pid]
            self._told_run.pop(peer.pid, None)
            self._post(ev.ProcessDown(peer.run, peer.pid))

    def run_gone(self, run: int) -> None:
        """No process of the run lives: whoever still holds its connections has no say."""
        for peer in self.peers(run):
            peer.close()
        self._peers.pop(run, None)
        self._waiting = {n: waits for n, waits in self._waiting.items() if waits[0] != run}
        while len(self._executables) > 3:  # the last ones serve to check saves while no run lives
            del self._executables[next(iter(self._executables))]

    # --- what they say ----------------------------------------------------------------------

    def message(self, peer: Peer, message: Message) -> None:
        """One message of an agent. Raises ProtocolError."""
        handler = _HANDLERS.get(message["type"])
        if handler is None:
            raise ProtocolError(f"{message['type']} is not expected here")
        handler(self, peer, message)

    def _loaded(self, peer: Peer, message: Message) -> None:
        loaded = tuple(reports.loaded_file(entry) for entry in message["files"])
        self._session.before_loaded(peer.run, loaded)
        self._post(ev.FilesLoaded(peer.run, peer.pid, loaded))

    def _reread(self, peer: Peer, message: Message) -> None:
        self._post(ev.FilesReread(peer.run, reports.paths(message)))

    def _wrote(self, peer: Peer, message: Message) -> None:
        self._post(ev.FilesWritten(peer.run, reports.paths(message)))

    def _bind(self, peer: Peer, message: Message) -> None:
        fd = self._listeners.take(
            peer.run, message["family"], message["kind"], message["address"]
        )
        answer = {"type": "bound", "id": message["id"], "held": fd is not None}
        peer.send(answer, () if fd is None else (fd,))

    def _holding(self, peer: Peer, message: Message) -> bool:
        fd = peer.take_fd() if message["held"] else None
        return fd is not None and self._listeners.hold(
            peer.run, message["family"], message["kind"], message["requested"], fd
        )

    def _listening(self, peer: Peer, message: Message) -> None:
        held = self._holding(peer, message)
        address = readable(message["family"], message["address"])
        self._post(ev.Listening(peer.run, peer.pid, address, held))

    def _wait(self, peer: Peer, message: Message) -> None:
        self._last_waiting += 1
        self._waiting[self._last_waiting] = (peer.run, peer.pid, message["id"])
        address = readable(0, message["address"])
        workers = max(1, message["workers"])
        self._post(ev.Waiting(peer.run, peer.pid, self._last_waiting, address, workers))

    def _failed(self, peer: Peer, message: Message) -> None:
        self._post(ev.Failed(peer.run, peer.pid, reports.failure(message)))

    def _note(self, peer: Peer, message: Message) -> None:
        if message["text"] not in self.notes:
            self.notes.add(message["text"])
            self._session.log("info", message["text"])

    def _unlike(self, peer: Peer, message: Message) -> None:
        modules = message["modules"]
        if not all(isinstance(m, list) and len(m) == 2 for m in modules) or not modules:
            raise ProtocolError("unlike: modules are to be [name, reason] each")
        self._session.snapshots.unlike(peer.run, modules)

    def _answer(self, peer: Peer, message: Message) -> None:
        self.questions.answered(peer, message)

    # --- what they are asked ----------------------------------------------------------------

    def _ask(self, run: int, message: Message, seconds: float, done: Any) -> None:
        self.questions.ask(dict.fromkeys(self.peers(run), message), seconds, done)

    def ran(self, run: int, path: str, done: Callable[[Ran | None], None]) -> None:
        """Which functions of a module had run before the app was ready, in any process of it?"""

        def answered(answers: dict[Peer, Message], silent: list[Peer]) -> None:
            done(None if silent else reports.ran(list(answers.values())))

        self._ask(run, {"type": "ran", "path": path}, PROMPTLY, answered)

    def release(self, ids: Sequence[int]) -> None:
        for number in ids:
            run, pid, theirs = self._waiting.pop(number, (0, 0, 0))
            peer = self._peers.get(run, {}).get(pid)
            if peer is not None:
                peer.send({"type": "release", "id": theirs})

    def sync(self, number: int, run: int) -> None:
        self.reconcile(run, lambda: self._post(ev.Synced(number)))

    def reconcile(
        self, run: int, done: Callable[[], None] = lambda: None, *, settled: bool = False
    ) -> None:
        """Have all that is loaded reported, then call ``done``; or when an app is too busy to.

        settled: let those processes that do not listen know that their start-up is over
        """
        message = {"type": "sync", "settled": True} if settled else {"type": "sync"}
        self._ask(run, message, PROMPTLY, lambda *_: done())

    def drain(
        self, run: int, seconds: float, done: Callable[[set[int]], None], *, closed: bool = False
    ) -> None:
        """Have the run accept no more and answer what it has accepted, then call ``done`` with the
        pids where this is so.

        closed: and wait until no client has a connection left, or the process has ended
        """

        def answered(answers: dict[Peer, Message], silent: list[Peer]) -> None:
            idle = {peer.pid for peer, answer in answers.items() if not answer["busy"]}
            done(idle | {peer.pid for peer in silent if closed and peer.closed})

        message = {"type": "drain", "timeout": seconds, "closed": closed}
        self._ask(run, message, seconds + PROMPTLY, answered)

    def await_resumed(self, run: int) -> None:
        """Post Resumed when no debugger holds the run any more; asks now and then until then."""

        def answered(answers: dict[Peer, Message], _silent: list[Peer]) -> None:
            if self.peers(run) and any(answer.get("paused") for answer in answers.values()):
                self._session.loop.after(ASK_DEBUGGER, ask)
            else:
                self._post(ev.Resumed(run))

        def ask() -> None:
            self._ask(run, {"type": "check", "files": []}, PROMPTLY, answered)

        self._session.loop.after(ASK_DEBUGGER, ask)

    def check(self, number: int, run: int, paths: Sequence[str]) -> None:
        """Compile the sources among ``paths``; digest the others. → Checked."""
        app = self._session.app
        loaded = app.runs[run].loaded if run in app.runs else {}
        sources = [
            path for path in paths if path in loaded and reports.is_source(path, loaded[path].kind)
        ]
        others: list[reports.Compiled] = [
            (path, files.digest_of(path, files.known_by_stat(app, path)), None)
            for path in paths
            if path not in sources
        ]

        serving = app.serving if app.serving is not None else run
        askers = {peer: peer.run for r in {run, serving} for peer in self.peers(r)}
        first = first_of(self.peers(run) or self.peers(serving))
        messages = {
            peer: {"type": "check", "files": sources if peer is first else []} for peer in askers
        }

        def answered(answers: dict[Peer, Message], _silent: list[Peer]) -> None:
            paused: dict[int, str] = {}
            for peer, told in answers.items():
                if told.get("paused"):
                    paused.setdefault(askers[peer], str(told["paused"]))

            def finish(results: list[reports.Compiled]) -> None:
                made = tuple(self._check_result(run, *entry) for entry in [*results, *others])
                self._post(ev.Checked(number, made, paused.get(run), paused.get(serving)))

            answer = answers.get(first) if first is not None else None
            results = reports.compiled(answer["results"], sources) if answer is not None else None
            if results is not None:
                finish(results)
            elif not sources:
                finish([])
            else:
                self._compile_elsewhere(run, sources, finish)

        self.questions.ask(messages, PROMPTLY + PER_FILE * len(sources), answered)

    def _compile_elsewhere(
        self, run: int, sources: Sequence[str], done: Callable[[list[reports.Compiled]], None]
    ) -> None:
        known = self._executables.get(run) or next(iter(self._executables.values()), None)
        executable = known or self._session.fallback_python()

        def compiled(told: list[Any] | None) -> None:
            results = reports.compiled(told, sources)
            if results is None:
                # Nobody can compile them; then the new run itself will tell what is wrong.
                self._session.log("warning", f"{executable} can't be asked to compile")
                results = [(path, files.digest_of(path), None) for path in sources]
            done(results)

        compiling.compile_elsewhere(
            self._session.loop, executable, sources, self._session.processes.helpers, compiled
        )

    def _check_result(
        self, run: int, path: str, digest: str, problem: Problem | None
    ) -> ev.CheckResult:
        """With the sources before and after, as far as they are known."""
        app = self._session.app
        loaded = app.runs[run].loaded.get(path) if run in app.runs else None
        known = next(iter(loaded.digests.values()), None) if loaded and loaded.digests else None
        old = self._session.sources.of(known)
        new = self._session.sources.of(digest) if digest != ABSENT else None
        if old is not None and new is None:
            found, content = files.read(path)
            self._session.sources.keep(found, content)
            new = self._session.sources.of(digest)
        return ev.CheckResult(path, digest, problem, old, new)

    def patch(self, number: int, run: int, checked: Sequence[ev.CheckResult]) -> None:
        """Have every process of the run swap the code of these files. → Patched | Refused.

        An app of one process does it in one go. Of several, all prove first that they can, so that
        none is patched where another refuses.
        """
        # Not at the top: they are all of the syntax that there is, and no start needs them.
        from onsave.core.change import order
        from onsave.core.diff import diff

        app = self._session.app
        loaded = app.runs[run].loaded
        orders = [
            order(
                c.path, c.old, c.new, diff(c.old, c.new, path=c.path),
                module=loaded[c.path].module, hot=app.options.hot,
            )
            for c in checked
            if c.old is not None and c.new is not None
        ]  # fmt: skip
        if len(self.peers(run)) == 1:
            self._patch_phase(number, run, "now", orders, lambda a: self._patched(number, a))
            return

        def prepared(answers: list[Message]) -> None:
            refusal = reports.refusal(answers)
            if refusal is None:
                self._patch_phase(number, run, "commit", [], lambda a: self._patched(number, a))
            else:
                self._patch_phase(number, run, "abort", [], lambda _: None)
                self._post(ev.Refused(number, *refusal))

        self._patch_phase(number, run, "prepare", orders, prepared)

    def recheck(self, number: int, run: int) -> None:
        """Does anything still run an old body after patch ``number``? → Patched | Refused."""
        self._patch_phase(number, run, "recheck", [], lambda a: self._patched(number, a))

    def _patch_phase(
        self,
        number: int,
        run: int,
        phase: str,
        orders: list[Any],
        done: Callable[[list[Message]], None],
    ) -> None:
        message = {"type": "patch", "phase": phase, "files": orders}

        def answered(answers: dict[Peer, Message], silent: list[Peer]) -> None:
            nothing = {"type": "refused", "reason": "a process of the app did not answer in time"}
            done([*answers.values(), *([nothing] if silent or not answers else [])])

        messages = dict.fromkeys(self.peers(run), message)
        self.questions.ask(messages, PATCH_WITHIN, answered, number)

    def _patched(self, number: int, answers: list[Message]) -> None:
        refusal = reports.refusal(answers)
        if refusal is not None:
            self._post(ev.Refused(number, *refusal))
            return
        self._post(ev.Patched(number, reports.live(answers), reports.ran_already(answers)))


_HANDLERS: dict[str, Callable[[Agents, Peer, Message], object]] = {
    "loaded": Agents._loaded,
    "reread": Agents._reread,
    "wrote": Agents._wrote,
    "bind": Agents._bind,
    "holding": Agents._holding,
    "listening": Agents._listening,
    "waiting": Agents._wait,
    "failed": Agents._failed,
    "note": Agents._note,
    "unlike": Agents._unlike,
    **dict.fromkeys(
        ("synced", "checked", "drained", "patched", "refused", "ran"), Agents._answer
    ),
}
