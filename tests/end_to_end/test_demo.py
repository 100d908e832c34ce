"""``onsave demo`` does what it says, in a world of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness import DEADLINE, ONSAVE
from harness.processes import assert_no_orphans
from harness.session import environment


def test_the_demo(run_directory: Path, mark: str) -> None:
    done = subprocess.run(
        [ONSAVE, "demo"],
        env=environment(run_directory, mark),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE * 2,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 of 11 saves did what they should." in done.stdout
    assert_no_orphans(mark)
