"""Apps that are no servers: a worker that runs for ever, a program that ends, a test run."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import DEADLINE, ONSAVE, Project, Session, until
from harness.session import environment

Start = Callable[..., Session]
Copy = Callable[[str], Project]


def state_of(path: Path, **wanted: Any) -> dict[str, Any]:
    """What the worker wrote down, once it is as wanted."""

    def read() -> dict[str, Any] | None:
        state = json.loads(path.read_text()) if path.exists() else {}
        return state if state and all(state[key] == wanted[key] for key in wanted) else None

    return until(read, f"the worker says {wanted}; it says {path.exists() and path.read_text()}")


def test_a_worker_is_restarted_though_it_never_listens(
    start: Start, project: Copy, tmp_path: Path
) -> None:
    copy = project("worker")
    state = copy / "state.json"  # inside the workspace: written by the app, so never loaded
    session = start(copy, ["{python}", "worker.py", str(state)])
    assert session.status["state"] == "running"
    first = state_of(state, job="job-0")
    assert session.save_one("state.json").action == "ignore"
    copy.replace("jobs.py", "job-0", "job-1")
    verdict = session.save_one("jobs.py")
    second = state_of(state, job="job-1")
    assert (verdict.action == "restart") == (second["pid"] != first["pid"]), str(verdict)
    copy.replace("jobs.py", "job-1", "job-2\n")
    assert session.save_one("jobs.py").action == "hold"
    assert state_of(state)["pid"] == second["pid"]


def run_to_the_end(
    project: Project, run_directory: Path, mark: str, *options: str, code: int
) -> subprocess.CompletedProcess[str]:
    import sys

    return subprocess.run(
        [ONSAVE, "run", *options, "--", sys.executable, "report.py", str(code)],
        cwd=project.path,
        env=environment(run_directory, mark),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def test_a_program_that_ends_well_ends_the_session(
    project: Copy, run_directory: Path, mark: str
) -> None:
    done = run_to_the_end(project("report"), run_directory, mark, code=0)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "report-0 7\n"


@pytest.mark.parametrize("code", [0, 1, 3, 42, 255])
def test_once_passes_any_exit_code_on(
    project: Copy, run_directory: Path, mark: str, code: int
) -> None:
    done = run_to_the_end(project("report"), run_directory, mark, "--once", code=code)
    assert done.returncode == code, done.stderr
    assert done.stdout == "report-0 7\n"


def test_rerun_runs_again_at_each_save_of_what_was_loaded(start: Start, project: Copy) -> None:
    copy = project("report")
    session = start(copy, ["{python}", "report.py", "0"], options=["--rerun"], wait=False)
    session.until_state("ended")
    runs = session.run
    assert session.save_one("layout.py").action == "ignore"
    copy.replace("layout.py", "report-0", "report-1")
    session.save_one("layout.py")
    session.until_state("ended", after=runs)
    until(lambda: "report-1 7\n" in session.stdout, "the new report")
    runs = session.run
    copy.replace("sales.csv", "pears,4", "pears,5")
    session.save_one("sales.csv")
    session.until_state("ended", after=runs)
    until(lambda: "report-1 8\n" in session.stdout, "the report over the new data")
    assert session.stdout.count("report-") == 3


def test_pytest_as_the_app(start: Start, project: Copy) -> None:
    copy = project("pytest_proj")
    command = ["{python}", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_calc.py"]
    session = start(copy, command, options=["--rerun"], wait=False)
    until(lambda: "1 passed" in session.stdout, f"the first result\n{session.story()}")
    session.until_state("ended")
    assert session.save_one("calc/unused.py").action == "ignore"
    for name, old, new, result in (
        ("calc/operations.py", "left + right", "left - right", "1 failed"),
        ("calc/operations.py", "left - right", "left + right", "2 x"),
        ("tests/test_calc.py", "calc.add(2, 3) == 5", "calc.add(2, 3) == 6", "1 failed"),
    ):
        runs, seen = session.run, session.stdout.count("1 passed" if "x" in result else result)
        copy.replace(name, old, new)
        assert session.save_one(name).action == "restart"
        session.until_state("ended", "broken", after=runs)
        wanted = "1 passed" if "x" in result else result
        until(lambda w=wanted, n=seen: session.stdout.count(w) == n + 1, f"{name}: {wanted}")


def test_ctrl_c_is_quick_quiet_and_leaves_nothing(start: Start) -> None:
    """The fixture looks for what is left; here: how it ends."""
    session = start("service")
    session.process.send_signal(signal.SIGINT)
    assert session.wait(20) in (0, 130)
    assert "Traceback" not in session.stderr, session.stderr
