"""``onsave run`` until the app's interpreter starts: what it imports decides how long that is."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

#: Each of these takes longer to import than there is need for.
LATER = {
    "asyncio", "concurrent.futures", "difflib", "hashlib", "hmac", "logging", "lsprotocol",
    "onsave.core.diff", "onsave.lsp", "psutil", "pygls", "random", "subprocess",
    "tempfile", "tomllib", "traceback", "unittest", "http", "email",
}  # fmt: skip


def run(folder: Path, *words: str, python: tuple[str, ...] = ()) -> str:
    """What it says."""
    env = {**os.environ, "ONSAVE_RUN_DIR": str(folder / "run")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, *python, "-m", "onsave", "run", "--once", "--cwd", str(folder)]
    return subprocess.run(
        [*command, "--", *words], env=env, capture_output=True, text=True, timeout=60, check=True
    ).stderr


def test_nothing_slow_is_imported_before_the_app_starts(tmp_path: Path) -> None:
    said = run(tmp_path, "true", python=("-X", "importtime"))
    before, started, _after = said.partition("onsave  running")
    assert started
    imported = set(re.findall(r"\| +([\w.]+)$", before, re.MULTILINE))
    assert "onsave.session.session" in imported
    assert imported & LATER == set()


def test_a_session_costs_little(tmp_path: Path) -> None:
    """Its whole life, app apart, in processor time: some ten starts of an interpreter, less than
    any framework's own start. (From `onsave run` to the app's interpreter it takes 65 ms here.)"""

    def seconds(*words: str) -> float:
        env = {**os.environ, "ONSAVE_RUN_DIR": str(tmp_path / "run")}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *words], env=env, cwd=tmp_path, stderr=subprocess.DEVNULL,
            check=True, timeout=60,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    session = ("-m", "onsave", "run", "--once", "--", "true")
    seconds(*session)
    assert min(seconds(*session) for _ in range(5)) < 25 * min(
        seconds("-c", "pass") for _ in range(5)
    )
