"""Patches of programs that never listen: what had run when they settled, and what ran later."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness import Project, Session, until

Start = Callable[..., Session]


class Worker:
    """tests/apps/worker in a session."""

    def __init__(self, start: Start, project: Project, *options: str) -> None:
        self.project = project
        self.file = project / "state.json"
        command = ["{python}", "worker.py", str(self.file)]
        self.session = start(project, command, options=options)

    def ask(self, question: str) -> None:
        draft = self.project / "draft"
        draft.write_text(question)
        draft.rename(self.file.with_suffix(".question"))

    def end(self) -> None:
        self.file.with_suffix(".end").touch()

    def state(self, **wanted: Any) -> dict[str, Any]:
        """What it wrote down, once it is as wanted."""

        def read() -> dict[str, Any] | None:
            found = json.loads(self.file.read_text()) if self.file.exists() else {}
            return found if found and all(found[k] == wanted[k] for k in wanted) else None

        return until(read, f"the worker says {wanted}\n{self.session.story()}")

    def prospect(self, function: str) -> tuple[str, str]:
        """What an edit of the function would do, and why."""
        functions = self.session.request("why", path=self.session.path("jobs.py"))["functions"]
        return next(((what, why) for name, what, why in functions if name == function), ("", ""))

    def settled(self) -> None:
        """Wait until its agent knows that its start-up is over."""
        over = lambda _: self.prospect("counted") == ("restart", "ran at start-up")
        self.session.until(over, "the start-up is over")

    def save(self, old: str, new: str) -> Any:
        self.project.replace("jobs.py", old, new)
        self.session.save_one("jobs.py")
        self.session.settle()
        return self.session.last_verdict("jobs.py")


@pytest.fixture
def worker(start: Start, project: Callable[[str], Project]) -> Worker:
    return Worker(start, project("worker"))


def test_what_ran_at_start_up_restarts_and_what_ran_later_is_patched(worker: Worker) -> None:
    session = worker.session
    worker.state(answer="")
    before = session.run
    worker.settled()
    worker.ask("one")
    first = worker.state(answer="answer-0 to one")
    assert worker.prospect("answer")[0] == "patch", session.story()

    verdict = worker.save("answer-0", "answer-1")
    assert verdict.action == "patch", session.story()
    second = worker.state(answer="answer-1 to one")
    assert (second["pid"], session.run) == (first["pid"], before)

    verdict = worker.save("done + 1", "done + 1 + 0")
    assert verdict.action == "restart"
    line = worker.project.read("jobs.py").splitlines().index("def counted(done):") + 1
    assert verdict.reason == f"counted ran at start-up (jobs.py:{line})"
    told = [m for m in session.messages if m["type"] == "verdict"][-1]
    assert told["evidence"] == [[session.path("jobs.py"), line, "counted"]]
    third = worker.state(answer="answer-1 to one")
    assert third["pid"] != first["pid"]


def test_a_program_that_ends_after_a_patch_is_run_again(worker: Worker) -> None:
    """Some of what it did is the old code's doing: the end of it would not be what was saved."""
    session = worker.session
    worker.settled()
    worker.ask("one")
    first = worker.state(answer="answer-0 to one")
    assert worker.save("answer-0", "answer-1").action == "patch"
    assert "what answer did before stays" in session.status["message"]
    worker.state(answer="answer-1 to one")
    worker.end()
    again = session.until(lambda s: s.run > 1 and s.run, "it is run again")
    assert again == 2
    assert session.wait() == 0  # where it finds that it is to end
    assert worker.state()["pid"] == first["pid"], "the second run did nothing"


def test_a_program_that_is_there_to_end_is_never_patched_in_what_ran(
    start: Start, project: Callable[[str], Project]
) -> None:
    worker = Worker(start, project("worker"), "--rerun")
    worker.ask("one")
    first = worker.state(answer="answer-0 to one")
    verdict = worker.save("answer-0", "answer-1")
    assert (verdict.action, verdict.reason) == ("restart", "answer has run already (jobs.py:9)")
    second = worker.state(answer="answer-1 to one")
    assert second["pid"] != first["pid"]


POOL = """
import multiprocessing, os, sys, time
from pathlib import Path
import jobs

def serve(folder):
    while True:
        for question in folder.glob("*.question"):
            answer = f"{os.getpid()} {jobs.answer(question.name)}"
            draft = folder / f"{os.getpid()}.draft"
            draft.write_text(answer)
            draft.replace(folder / f"{os.getpid()}.answer")
        time.sleep(0.02)

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    folder = Path(sys.argv[2])
    workers = [multiprocessing.Process(target=serve, args=(folder,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_all_processes_of_a_pool_are_patched(
    method: str, start: Start, project: Callable[[str], Project]
) -> None:
    copy = project("worker")
    copy.write("pool.py", POOL)
    folder = copy / "answers"
    folder.mkdir()
    session = start(copy, ["{python}", "pool.py", method, str(folder)])

    def is_over(session: Session) -> bool:
        found = session.request("why", path=session.path("jobs.py"))["functions"]
        return ["answer", "patch", "had not run when the app was ready"] in found

    def answers(word: str) -> set[int]:
        """The processes that answer so, once two do and none answers otherwise."""

        def read() -> set[int] | None:
            said = [file.read_text().split() for file in folder.glob("*.answer")]
            good = {int(pid) for pid, answer, *_ in said if answer == word}
            return good if len(good) == len(said) == 2 else None

        return until(read, f"two processes say {word}\n{session.story()}")

    session.until(
        lambda s: len(s.status["processes"]) >= 3 and is_over(s),
        "the start-up of all processes is over",
    )
    (folder / "one.question").touch()
    before = answers("answer-0")
    copy.replace("jobs.py", "answer-0", "answer-1")
    assert session.save_one("jobs.py").action == "patch"
    session.settle()
    assert session.last_verdict("jobs.py").action == "patch", session.story()
    assert answers("answer-1") == before
