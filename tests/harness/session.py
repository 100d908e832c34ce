"""One ``onsave run`` under test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onsave.control import Client, ControlError, Entry, RunDirectory

from .editor import Editor
from .processes import DEADLINE, MARK, until
from .project import Project
from .samples import Sample, Token

ONSAVE = str(Path(sys.executable).with_name("onsave"))

#: States in which nothing more will happen by itself.
QUIET = ("ready", "running", "held", "broken", "ended")


@dataclass(frozen=True)
class Verdict:
    path: str
    action: str
    reason: str
    message: str
    run: int

    def __str__(self) -> str:
        return f"{self.action}: {self.message} ({self.reason})"


def environment(run_directory: Path, mark: str, **more: str) -> dict[str, str]:
    """What a session, a server or a client is started with: a person's environment, without what
    this machine sets about bytecode and buffering, and apart from every other session."""
    inherited = dict(os.environ)
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH", "NO_COLOR"):
        inherited.pop(name, None)
    return {**inherited, "ONSAVE_RUN_DIR": str(run_directory), MARK: mark, **more}


class Session:
    """A running ``onsave run COMMAND`` on a project, and what tests want to know of it.

    Verdicts, status and problems come over the control socket as they are sent to any client.
    """

    def __init__(
        self,
        project: Project,
        command: Iterable[str],
        *,
        run_directory: Path,
        mark: str,
        port: int | None = None,
        sample: Sample | None = None,
        options: Iterable[str] = (),
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        python: str = sys.executable,
        via: str = "client",
    ) -> None:
        """``via``: how saves are told of: "client", "command" (``onsave saved``) or "lsp"."""
        self.project, self.sample, self.via, self.mark = project, sample, via, mark
        self._port = port
        self.run_directory = run_directory
        self.environment = environment(run_directory, mark, **(env or {}))
        self.logs = run_directory.parent / f"logs-{time.monotonic_ns()}"
        self.logs.mkdir()
        command = [part.format(python=python, port=port) for part in command]
        self.command = [ONSAVE, "run", "--json-log", str(self.logs / "log.jsonl"), *options]
        if command:
            self.command += ["--", *command]
        self.verdicts: list[Verdict] = []
        self.messages: list[dict[str, Any]] = []
        self.status: dict[str, Any] = {"state": "starting", "run": 0}
        self.statuses: list[dict[str, Any]] = []
        self.problems: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._client: Client | None = None
        self._subscription: Client | None = None
        self._listener: threading.Thread | None = None
        self.editor: Editor | None = None
        self._out = (self.logs / "stdout").open("wb")
        self._err = (self.logs / "stderr").open("wb")
        self.process = subprocess.Popen(
            self.command,
            cwd=cwd or project.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    # --- its life ---------------------------------------------------------------------------------

    def connect(self) -> Session:
        """Find the session and listen to it. (That a session is there sends us no event.)"""
        entry = until(self._entry, "the session is in the run directory")
        self._client = Client(entry, timeout=DEADLINE)
        self._subscription = Client(entry, timeout=DEADLINE)
        self._subscription.subscribe()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._take_status(self._client.request("status", timeout=DEADLINE))
        if self.via == "lsp":
            self.editor = Editor(self.project.path, self.environment)
            self.editor.until(
                lambda editor: any(s.get("pid") == entry.pid or s["name"] == entry.name
                                   for s in editor.sessions),
                "the server knows the session",
            )  # fmt: skip
        return self

    def _entry(self) -> Entry | None:
        if self.process.poll() is not None:
            raise AssertionError(f"onsave run ended with {self.process.returncode}:\n{self.stderr}")
        for entry in RunDirectory(self.run_directory).entries("session"):
            if entry.pid == self.process.pid:
                return entry
        return None

    def stop(self, timeout: float = 30) -> int:
        """End the session as Ctrl-C would; its exit code."""
        if self.editor is not None:
            self.editor.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"onsave run did not end within {timeout} s") from None
        finally:
            self.close()

    def wait(self, timeout: float = DEADLINE) -> int:
        """The exit code, once the session has ended by itself."""
        return self.process.wait(timeout)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for client in (self._client, self._subscription):
            if client is not None:
                with contextlib.suppress(OSError):
                    client.close()
        self._out.close()
        self._err.close()

    # --- what it says -----------------------------------------------------------------------------

    def _listen(self) -> None:
        assert self._subscription is not None
        try:
            for message in self._subscription.events():
                with self._news:
                    self._take(message)
                    self._news.notify_all()
        except (ControlError, OSError, ValueError):
            pass
        with self._news:
            self._take({"type": "goodbye", "code": -1})
            self._news.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        match message["type"]:
            case "verdict":
                fields = ("path", "action", "reason", "message", "run")
                self.verdicts.append(Verdict(**{name: message[name] for name in fields}))
            case "status":
                self._take_status(message)
            case "problems":
                self.problems = message["problems"]

    def _take_status(self, status: dict[str, Any]) -> None:
        self.status = status
        self.statuses.append(status)

    def until(
        self, condition: Callable[[Session], Any], what: str, timeout: float = DEADLINE
    ) -> Any:
        """The first true value of ``condition``, looked at again with each message."""
        deadline = time.monotonic() + timeout
        with self._news:
            while not (value := condition(self)):
                left = deadline - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    why = "" if left <= 0 else f" (it ended with {self.process.returncode})"
                    raise AssertionError(f"not within {timeout:.0f} s: {what}{why}\n{self.story()}")
                self._news.wait(min(left, 1))
        return value

    def until_state(self, *states: str, after: int = 0, timeout: float = DEADLINE) -> str:
        """Wait until the state is one of ``states``, in a run later than ``after``."""
        wanted = lambda s: s.status["state"] in states and s.status["run"] > after
        self.until(wanted, f"state {' or '.join(states)}", timeout)
        return str(self.status["state"])

    def ready(self) -> Session:
        """Wait until it is up. A slow server counts as "running" before it first listens, and one
        of several workers as "ready" when the first of them serves: here it is when all do."""
        self.until_state("ready", *(() if self.sample else ("running",)))
        if self.sample and self.sample.workers > 1:
            all_serve = lambda s: len(s.status["serving"]) >= s.sample.workers
            self.until(all_serve, f"{self.sample.workers} workers serve")
        return self

    @property
    def run(self) -> int:
        """The number of the newest run."""
        return int(self.request("status")["run"])

    def request(self, what: str, **fields: Any) -> Any:
        assert self._client is not None
        return self._client.request(what, timeout=DEADLINE, **fields)

    @property
    def stderr(self) -> str:
        return (self.logs / "stderr").read_text(errors="replace")

    @property
    def stdout(self) -> str:
        return (self.logs / "stdout").read_text(errors="replace")

    @property
    def port(self) -> int:
        """The app's port: as given, else as the session saw it listen."""
        if not self._port:
            # Paths are Unix sockets: gunicorn's control socket, say.
            tcp = lambda s: [a for a in s.status.get("listening", ()) if not a.startswith("/")]
            self._port = int(self.until(tcp, "a listening address")[0].rpartition(":")[2])
        return self._port

    # --- saves ------------------------------------------------------------------------------------

    def path(self, name: str | Path) -> str:
        return str(self.project.path / name)

    def save(
        self,
        *names: str | Path,
        via: str | None = None,
        wait: bool = True,
        origin: str = "save",
    ) -> list[Verdict]:
        """Tell that these files were saved; their verdicts, in that order.

        With ``wait`` (not for "lsp", whose didSave has no answer) returns when nothing is in
        flight any more.
        """
        via = via or self.via
        with self._news:
            seen = len(self.verdicts)
        paths = [self.path(name) for name in names]
        if via == "client":
            assert self._client is not None
            self._client.saved(paths, origin=origin, wait=wait, timeout=DEADLINE)
        elif via == "command":
            self.command_saved(*names, wait=wait)
        else:
            self.tell(*names)
        real = [os.path.realpath(path) for path in paths]

        def told(session: Session) -> list[Verdict] | None:
            new = {os.path.realpath(v.path): v for v in session.verdicts[seen:]}
            return [new[path] for path in real] if all(path in new for path in real) else None

        return self.until(told, f"verdicts on {', '.join(map(str, names))}")

    def tell(self, *names: str | Path) -> None:
        """Tell of saves and go on: nothing is awaited. For "lsp" and "client"."""
        for name in names:
            if self.editor is not None:
                self.editor.save(self.path(name))
            else:
                assert self._client is not None
                message = {"type": "saved", "files": [self.path(name)], "origin": "save"}
                self._client.send(message)

    def save_one(self, name: str | Path, **options: Any) -> Verdict:
        return self.save(name, **options)[0]

    def command_saved(
        self, *names: str | Path, wait: bool = True
    ) -> tuple[int, dict[str, Any] | list[Any] | None, str]:
        """Run ``onsave saved``: its exit code, what it printed as JSON, and its stderr."""
        command = [ONSAVE, "saved", "--json", "--timeout", str(DEADLINE)]
        command += ["--wait"] if wait else []
        done = subprocess.run(
            [*command, *(self.path(name) for name in names)],
            env=self.environment,
            cwd=self.project.path,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE * 2,
            check=False,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    def bump(self, token: Token, **options: Any) -> Verdict:
        """Count a token up and save its file."""
        self.project.bump(token)
        return self.save_one(token.file, **options)

    def last_verdict(self, name: str | Path) -> Verdict:
        """The newest verdict on a file: a patch that the app refused has become a restart."""
        path = os.path.realpath(self.path(name))
        return next(v for v in reversed(self.verdicts) if os.path.realpath(v.path) == path)

    def identity(self) -> tuple[int, int]:
        """What stays the same while the app is not restarted: the run, and who answers (where
        several workers do: their parent)."""
        status = self.request("status")
        alone = self.sample is None or self.sample.workers == 1
        return int(status["run"]), self.pid() if alone else int(status["pid"])

    def knows(self, name: str | Path) -> None:
        """Wait until the app's report that it has loaded this file has arrived."""
        told = lambda: self.request("why", path=self.path(name))["loaded"]
        until(told, f"{name} is loaded")

    # --- the app itself ---------------------------------------------------------------------------

    def ask(self, page: str, timeout: float = DEADLINE) -> str:
        """What the app answers, over a connection of its own. Raises URLError, HTTPError."""
        url = f"http://127.0.0.1:{self.port}{page}"
        request = urllib.request.Request(url, headers={"Connection": "close"})
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return str(response.read().decode())

    def pid(self) -> int:
        return int(self.ask("/pid"))

    def answers(self, token: Token, word: str) -> bool:
        """Whether the page holds this very token now (``price-1`` is not in ``price-10``)."""
        with contextlib.suppress(urllib.error.URLError, OSError):
            return word in re.findall(r"[a-z]+-\d+", self.ask(token.page))
        return False

    def eventually(self, token: Token, word: str | None = None) -> str:
        """Ask until the app answers with the token that is in the file (or with ``word``).

        Over workers: until as many answers in a row as make a stale one unlikely to hide.
        """
        word = word or self.project.token(token)
        times = 1 if not self.sample or self.sample.workers == 1 else 6 * self.sample.workers
        deadline = time.monotonic() + DEADLINE
        while not all(self.answers(token, word) for _ in range(times)):
            if time.monotonic() > deadline:
                said = self._said(token.page)
                raise AssertionError(f"{token.page} says {said}, not {word}\n{self.story()}")
            time.sleep(0.02)
        return word

    def _said(self, page: str) -> str:
        try:
            return repr(self.ask(page, timeout=5))
        except OSError as error:
            return repr(error)

    def settle(self) -> None:
        """Wait until nothing is stale or in flight."""
        self.until(
            lambda s: s.status["state"] in QUIET and not s.status.get("stale"),
            "nothing is in flight",
        )

    # --- for reports ------------------------------------------------------------------------------

    def story(self) -> str:
        """What a person debugging a failed test wants to read."""
        log = self.logs / "log.jsonl"
        tail = log.read_text(errors="replace").splitlines() if log.exists() else []
        tail = [line for line in tail if '"FilesLoaded"' not in line][-30:]
        parts = {
            "command": shlex.join(self.command),
            "status": json.dumps(self.status, default=str)[:2000],
            "verdicts": "\n".join(f"{v.path}: {v}" for v in self.verdicts[-20:]),
            "problems": json.dumps(self.problems, default=str)[:2000],
            "stderr": self.stderr[-4000:],
            "stdout": self.stdout[-3000:],
            "log": "\n".join(line[:360] for line in tail),
            "server": self.editor.stderr[-3000:] if self.editor else "",
        }
        return "\n".join(f"--- {name}\n{text}" for name, text in parts.items() if text)
