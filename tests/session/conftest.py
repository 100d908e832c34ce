"""For tests of the session itself: small scripts as apps, in a folder of the test's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Project
from harness.processes import DEADLINE
from harness.session import ONSAVE, environment


@pytest.fixture
def scripts(tmp_path: Path) -> Callable[..., Project]:
    """Writes files, given by name without the ``.py``, and returns the project that they are."""

    def write(**sources: str) -> Project:
        project = Project(tmp_path.resolve())
        for name, source in sources.items():
            project.write(f"{name}.py", source)
        return project

    return write


@pytest.fixture
def onsave(run_directory: Path, mark: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``onsave …`` in a folder to its end; nothing of it may be left then."""
    from harness.processes import assert_no_orphans

    def run(project: Project, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [ONSAVE, *(word.format(python=sys.executable) for word in words)],
            cwd=project.path,
            env=environment(run_directory, mark, **env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert_no_orphans(mark)
        assert "a bug in onsave" not in done.stderr, done.stderr
        return done

    return run

