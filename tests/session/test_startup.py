"""``onsave run`` until the app's interpreter starts: what it imports decides how long that is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_the_apps_start_is_prompt(tmp_path: Path) -> None:
    """Well under 100 ms on an idle machine (65 here); measured against an interpreter's own start,
    so that a busy machine does not matter."""

    def seconds(command: list[str]) -> float:
        began = time.time()
        out = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60,
            env={**os.environ, "ONSAVE_RUN_DIR": str(tmp_path / "run")}, cwd=tmp_path,
        ).stdout  # fmt: skip
        return float(out) - began

    plain = [sys.executable, "-c", "import time; print(time.time())"]
    onsave = [sys.executable, "-m", "onsave", "run", "--once", "--", "date", "+%s.%N"]
    run(tmp_path, "true")
    ratio = min(seconds(onsave) for _ in range(15)) / min(seconds(plain) for _ in range(15))
    assert ratio < 15
