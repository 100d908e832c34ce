"""Apps made of a few source files, in a real interpreter of any version, that are edited and asked.

An :class:`App` is the running process; saving goes through ``onsave.core.diff`` and then through
the agent's own ``patch.handle`` in that process, as it does in a session.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onsave.core.diff import Change, diff, order

HOST = Path(__file__).with_name("host.py")


def interpreters() -> list[str]:
    """All Pythons that the agent is for, found on this machine; at least the one that runs us."""
    found = {sys.version_info[:2]: sys.executable}
    for binary in sorted(Path.home().glob(".pyenv/versions/3.*/bin/python")):
        version = tuple(int(part) for part in binary.parts[-3].split(".")[:2])
        if version >= (3, 9):
            found.setdefault(version, str(binary))
    return [found[version] for version in sorted(found)]


def name(python: str) -> str:
    return python if "versions" not in python else python.split("versions/")[1].split("/")[0]


def python_text(text: str) -> bytes:
    return textwrap.dedent(text).lstrip("\n").encode()


class Zygote:
    """One interpreter, from which apps are forked: a fresh process in milliseconds."""

    def __init__(self, python: str) -> None:
        self.python = python
        self._folder = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self._folder.name, "host")
        self._process = subprocess.Popen(
            [python, str(HOST), self.socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == b"listening\n"

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()


class Restart(Exception):
    def __init__(self, change: Change) -> None:
        super().__init__(change.reason)
        self.change = change


class App:
    """A process that has loaded ``app`` from a folder and is ready."""

    def __init__(
        self,
        zygote: Zygote,
        folder: Path,
        files: Mapping[str, str | bytes],
        *,
        hot: Sequence[str] = (),
        start: bool = True,
    ) -> None:
        self.folder = folder
        self.hot = hot
        self.sources: dict[str, bytes] = {}
        self._number = 0
        self.write(files)
        self.running = dict(self.sources)
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(zygote.socket)
        self._stream = self._connection.makefile("rw", encoding="utf-8")
        self.tell({"do": "begin", "folder": str(folder)})
        if start:
            self.start()

    def __enter__(self) -> App:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self._connection.close()

    def start(self, module: str = "app", asked: str | None = None) -> None:
        """Import a module and be ready. asked: in whose namespace questions are asked, if another
        one's."""
        self.tell({"do": "start", "import": module, "asked": asked})

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for file, text in files.items():
            path = self.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            self.sources[file] = text if isinstance(text, bytes) else python_text(text)
            path.write_bytes(self.sources[file])

    def tell(self, command: dict[str, Any]) -> Any:
        self._stream.write(json.dumps(command) + "\n")
        self._stream.flush()
        line = self._stream.readline()
        assert line, "the app died"
        reply = json.loads(line)
        assert "reply" in reply, reply.get("error")
        return reply["reply"]

    def ask(self, *questions: str) -> Any:
        """The repr of what each expression gives in the app; one question, one answer."""
        answers = self.tell({"do": "ask", "questions": list(questions)})
        return answers if len(questions) > 1 else answers[0]

    def run(self, code: str) -> None:
        self.tell({"do": "run", "code": textwrap.dedent(code)})

    def fingerprint(self, *modules: str) -> Any:
        """All that these modules are, see fingerprint.py."""
        return self.tell({"do": "fingerprint", "modules": list(modules)})

    def save(self, files: Mapping[str, str | bytes]) -> str:
        """Save, and patch if that can be. "same", "patched", or why it needs a restart."""
        reply = self.save_and_tell(files)
        return str(reply["reason"]) if reply["type"] == "refused" else str(reply["type"])

    def changes(self) -> dict[str, Change]:
        """What the files' last contents mean to the process as it runs."""
        return {
            file: diff(self.running[file], source, path=str(self.folder / file))
            for file, source in self.sources.items()
            if file in self.running and self.running[file] != source
        }

    def orders(self) -> list[dict[str, Any]]:
        """What the agent is to be told. Raises Restart where the syntax says so already."""
        orders = []
        for file, change in self.changes().items():
            if change.kind == "restart":
                raise Restart(change)
            module, path = file[:-3].replace("/", "."), os.path.realpath(self.folder / file)
            old, new = self.running[file], self.sources[file]
            orders.append(order(path, old, new, change, module=module, hot=self.hot))
        return orders

    def save_and_tell(self, files: Mapping[str, str | bytes], phase: str = "now") -> dict[str, Any]:
        self.write(files)
        try:
            orders = self.orders()
        except Restart as restart:
            return {"type": "refused", "reason": restart.change.reason, "line": restart.change.line}
        if not orders:
            return {"type": "same"}
        self._number += 1
        reply = self.message(phase, orders)
        if reply["type"] == "patched" and phase == "now":
            self.running.update(self.sources)
        return reply

    def message(self, phase: str, orders: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
        message = {"type": "patch", "id": self._number, "phase": phase, "files": list(orders)}
        reply = self.tell({"do": "patch", "message": message})
        assert reply is not None, "patch.handle raised: see stderr"
        return dict(reply)
