"""A debugger's client: enough of the Debug Adapter Protocol to stop at breakpoints."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from .session import DEADLINE


class DebugClient:
    """Attached to ``python -m debugpy --listen PORT``. Raises OSError where nobody listens."""

    def __init__(self, port: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._news = threading.Condition()
        self._last = 0
        self._socket = self._connect(port)
        threading.Thread(target=self._read, daemon=True).start()
        self.ask("initialize", adapterID="test", linesStartAt1=True, columnsStartAt1=True)
        attach = self._send("attach", justMyCode=True)
        self.event("initialized")
        self._attach = attach

    def begin(self, path: str, *lines: int) -> list[dict[str, Any]]:
        """Set the first breakpoints and let the program go on."""
        found = self.breakpoints(path, *lines)
        self.ask("configurationDone")
        self._answer(self._attach)
        return found

    def breakpoints(self, path: str, *lines: int) -> list[dict[str, Any]]:
        """All breakpoints of a file, in place of those that were set before."""
        places = [{"line": line} for line in lines]
        answer = self.ask("setBreakpoints", source={"path": path}, breakpoints=places)
        return list(answer["body"]["breakpoints"])

    def stopped(self, after: int = 0) -> tuple[int, str, int, str]:
        """(thread, function, line, path) of the next stop after that many of them."""
        stop = self.event("stopped", after=after)["body"]
        frames = self.ask("stackTrace", threadId=stop["threadId"])["body"]["stackFrames"]
        top = frames[0]
        return stop["threadId"], top["name"], top["line"], top["source"]["path"]

    def stops(self) -> int:
        return sum(event["event"] == "stopped" for event in self.events)

    def go_on(self, thread: int) -> None:
        self.ask("continue", threadId=thread)

    def event(self, name: str, after: int = 0) -> dict[str, Any]:
        found = lambda: [e for e in self.events if e["event"] == name][after:]
        return self._await(found, f"the event {name}")[0]  # type: ignore[no-any-return]

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        return self._answer(self._send(command, **arguments))

    def close(self) -> None:
        self._socket.close()

    def _answer(self, number: int) -> dict[str, Any]:
        self._await(lambda: number in self._answers, "an answer")
        answer = self._answers[number]
        assert answer["success"], answer
        return answer

    def _send(self, command: str, **arguments: Any) -> int:
        self._last += 1
        message = {"seq": self._last, "type": "request", "command": command}
        text = json.dumps({**message, "arguments": arguments}).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(text), text))
        return self._last

    def _read(self) -> None:
        stream = self._socket.makefile("rb")
        while line := stream.readline():
            stream.readline()
            message = json.loads(stream.read(int(line.partition(b":")[2])))
            with self._news:
                if message["type"] == "event":
                    self.events.append(message)
                elif message["type"] == "response":
                    self._answers[message["request_seq"]] = message
                self._news.notify_all()

    def _await(self, found: Callable[[], Any], what: str) -> Any:
        with self._news:
            assert self._news.wait_for(found, DEADLINE), f"not in time: {what}"
        return found()

    @staticmethod
    def _connect(port: int) -> socket.socket:
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port))
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
