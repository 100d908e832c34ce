"""``onsave saved``: what a hook or a code-writing agent is told, by its exit code."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from harness import DEADLINE, ONSAVE, Project, Session
from harness.session import environment

Start = Callable[..., Session]
Copy = Callable[[str], Project]


def test_0_when_it_is_live_1_when_it_is_not_3_when_nobody_loaded_it(start: Start) -> None:
    session = start("service")
    leaf = session.sample.leaf
    good = session.project.read(leaf.file)

    session.project.bump(leaf)
    code, _, _ = session.command_saved(leaf.file)
    assert code == 0
    assert session.answers(leaf, "token-1"), "told that it is live, and it is not"

    session.project.write(leaf.file, good + "def half(\n")
    code, _, said = session.command_saved(leaf.file)
    assert code == 1
    assert "tokens.py" in said or "never closed" in said, said

    session.project.write(leaf.file, good + "nonsense_name\n")
    code, _, said = session.command_saved(leaf.file)
    assert code == 1
    assert "nonsense_name" in said, said
    assert session.answers(leaf, "token-1")

    session.project.write(leaf.file, good)
    code, _, _ = session.command_saved(leaf.file)
    assert code == 0
    assert session.answers(leaf, "token-0")

    code, _, said = session.command_saved(session.sample.unused)
    assert code == 3
    assert "unused.py" in said


def test_3_when_no_session_runs(run_directory: Path, mark: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [ONSAVE, "saved", "--wait", str(tmp_path / "a.py")],
        env=environment(run_directory, mark),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr


def test_relative_paths_and_several_files(start: Start) -> None:
    session = start("service")
    sample = session.sample
    for token in (sample.leaf, sample.main):
        session.project.bump(token)
    done = subprocess.run(
        [ONSAVE, "saved", "--wait", "tokens.py", os.path.join("..", sample.main.file)],
        cwd=session.project / "helpers",
        env=session.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert session.answers(sample.leaf, "token-1")
    assert session.answers(sample.main, "service-1")
