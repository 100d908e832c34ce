"""A session that does what a test says, in a process of its own: for what real ones rarely do.

As a program (``fake_session.py RUN_DIRECTORY NAME ROOT``) it registers, listens and announces
itself as ``onsave run`` does. Each line on its stdin is sent to all clients as it stands; each
message of a client is printed on its stdout. Requests are answered with ``ANSWERS``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEADLINE = float(os.environ.get("ONSAVE_TEST_DEADLINE", "60"))

ANSWERS = {
    "why": {"path": "?", "loaded": True, "module": "shop.views", "importer": "/app.py:3",
            "since": 2, "would": {"action": "patch", "reason": "only bodies"}, "functions": []},
    "files": {"files": [["/w/a b.py", "module", "shop", "/w/app.py:3"],
                        ["/w/app.py", "main", None, None]]},
    "traceback": {"text": "Traceback (most recent call last):\n  boom\n"},
}  # fmt: skip


class FakeSession:
    """Drives one from a test."""

    def __init__(self, run_directory: Path, name: str = "shop", root: Path = Path("/")) -> None:
        self.heard: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(run_directory), name, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.name = name
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.until(lambda heard: heard, "it is there")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.heard.append(json.loads(line))
                self._news.notify_all()

    def say(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def status(self, state: str, run: int = 1, **more: Any) -> None:
        self.say(type="status", name=self.name, state=state, run=run, **more)

    def until(self, condition: Callable[[list[dict[str, Any]]], Any], what: str) -> Any:
        with self._news:
            value = self._news.wait_for(lambda: condition(self.heard), DEADLINE)
        assert value, f"not within {DEADLINE} s: {what}; heard {self.heard[-10:]}"
        return value

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["type"] == kind]

    def saved(self) -> list[str]:
        """All paths that it was told of."""
        return [path for message in self.of_type("saved") for path in message["files"]]

    async def until_saved(self, *paths: Path | str) -> None:
        """In a thread: the event loop has the editor's messages to write."""
        wanted = {str(path) for path in paths}
        await asyncio.to_thread(
            self.until, lambda _: wanted <= set(self.saved()), f"told of {wanted}"
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def main(run_directory: str, name: str, root: str) -> None:
    import socket

    from onsave.control import RunDirectory, announce

    clients: list[socket.socket] = []
    greeted: list[socket.socket] = []  # editors: they will subscribe, and then are clients
    news = threading.Condition()
    lock = threading.Lock()

    def tell(message: dict[str, Any]) -> None:
        with lock:
            print(json.dumps(message), flush=True)

    def converse(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                answer: dict[str, Any] | None = None
                if message["type"] == "hello":
                    if message["role"] == "editor":
                        greeted.append(connection)
                    answer = {"type": "welcome", "version": 1, "name": name, "pid": 1, "root": root}
                elif message["type"] == "request":
                    answer = {"type": "reply", "id": message["id"],
                              "result": ANSWERS.get(message["request"], {})}  # fmt: skip
                if answer:
                    connection.sendall(json.dumps(answer).encode() + b"\n")
                if message["type"] == "subscribe":
                    with news:
                        clients.append(connection)
                        news.notify_all()
                tell(message)

    directory = RunDirectory(run_directory)
    path = directory.socket_path(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    entry = directory.register("session", name, root, path)

    def speak() -> None:
        for line in sys.stdin:
            with news:
                news.wait_for(lambda: len(clients) >= len(greeted))
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sendall(line.encode())

    threading.Thread(target=speak, daemon=True).start()
    tell({"type": "there"})
    announce(directory, entry)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=converse, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
