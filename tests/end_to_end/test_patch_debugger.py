"""Patches under a real debugger: breakpoints hold, and who stands at one is not pulled away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from harness import Project, Session, free_port
from harness.dap import DebugClient

pytest.importorskip("debugpy", reason="debugpy is not installed")

Start = Callable[..., Session]


class Debugged:
    """tests/apps/service under debugpy, in a session, with a client attached."""

    def __init__(self, start: Start, project: Project) -> None:
        self.project = project
        port = free_port()
        command = ["{python}", "-Xfrozen_modules=off", "-m", "debugpy", "--listen",
                   f"127.0.0.1:{port}", "service.py", "--port", "{port}"]  # fmt: skip
        self.session = start(project, command)
        self.path = self.session.path("service.py")
        self.client = DebugClient(port)

    def line_of(self, text: str) -> int:
        lines = self.project.read("service.py").splitlines()
        return next(n for n, line in enumerate(lines, 1) if text in line)

    def ask(self) -> tuple[threading.Thread, list[str]]:
        """Ask for /greeting meanwhile."""
        answers: list[str] = []
        thread = threading.Thread(target=lambda: answers.append(self.session.ask("/greeting")))
        thread.start()
        return thread, answers

    def stop_there(self, line: int) -> str:
        """A request stops in greeting, at that line of service.py; what it answers in the end."""
        seen = self.client.stops()
        thread, answers = self.ask()
        where = self.client.stopped(after=seen)
        assert where[1:] == ("greeting", line, self.path)
        self.client.go_on(where[0])
        thread.join()
        return answers[0]

    def save(self, old: str, new: str) -> str:
        self.project.replace("service.py", old, new)
        return self.session.save_one("service.py").action


@pytest.fixture
def debugged(start: Start, project: Callable[[str], Project]) -> Iterator[Debugged]:
    made = Debugged(start, project("service"))
    yield made
    made.client.close()


def test_a_breakpoint_holds_in_a_patched_function(debugged: Debugged) -> None:
    """debugpy#2001: dead after an automatic reload."""
    session, client = debugged.session, debugged.client
    line = debugged.line_of('return "greeting-0"')
    assert [b["verified"] for b in client.begin(debugged.path, line)] == [True]
    assert debugged.stop_there(line) == "greeting-0"
    run = session.run

    # At the same line: nobody sets it anew.
    assert debugged.save("greeting-0", "greeting-1") == "patch"
    assert debugged.stop_there(line) == "greeting-1"

    # Moved: an editor moves the breakpoint along.
    assert debugged.save("import argparse\n", "# one\n# two\nimport argparse\n") == "patch"
    client.breakpoints(debugged.path, line + 2)
    assert debugged.stop_there(line + 2) == "greeting-1"

    # Another body, in which it stands at another line.
    body = '    words = ["greeting-1"]\n    word = words[0]\n    return word\n'
    assert debugged.save('    return "greeting-1"\n', body) == "patch"
    client.breakpoints(debugged.path, line + 3)
    assert debugged.stop_there(line + 3) == "greeting-1"

    # One that is set in new code for the first time, and one that is taken away.
    client.breakpoints(debugged.path, line + 4)
    assert debugged.stop_there(line + 4) == "greeting-1"
    client.breakpoints(debugged.path)
    assert session.ask("/greeting") == "greeting-1"
    assert session.run == run


def test_who_stands_at_a_breakpoint_goes_on_in_the_old_body(debugged: Debugged) -> None:
    session, client = debugged.session, debugged.client
    line = debugged.line_of('return "greeting-0"')
    client.begin(debugged.path, line)
    thread, answers = debugged.ask()
    held = client.stopped()
    pid = session.status["pid"]

    debugged.save("greeting-0", "greeting-1")
    session.until(lambda s: "waits" in s.status["message"], "the person is waited for")
    assert "debugpy" in session.status["message"]
    assert session.status["pid"] == pid
    # Who looks at it still sees what runs, and is not pulled away from it.
    client.ask("stackTrace", threadId=held[0])
    client.breakpoints(debugged.path)
    client.go_on(held[0])
    thread.join()
    assert answers == ["greeting-0"]
    session.settle()
    assert session.ask("/greeting") == "greeting-1"
