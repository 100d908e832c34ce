"""VS Code for real: its extension host, and its workbench in a headless browser.

What they need is installed by ``tests/editors/vscode/setup.sh`` (``make editors``); see there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "vscode-extension"
INSTALLED = Path(os.environ.get("ONSAVE_VSCODE") or ROOT / ".cache" / "vscode")
ARTEFACTS = ROOT / "tests" / "artefacts" / "vscode"

pytestmark = [
    pytest.mark.editors,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not (INSTALLED / "ready").exists(),
        reason=f"no VS Code in {INSTALLED}: `make editors` installs it",
    ),
    pytest.mark.skipif(
        not (EXTENSION / "node_modules").exists(),
        reason="no node_modules in vscode-extension: `npm ci` there installs them",
    ),
]


def run(*command: str | Path, cwd: Path = EXTENSION, timeout: float = 600) -> None:
    """Run to a good end; what it printed is the failure's text."""
    environment = {**os.environ, "PYTHON": sys.executable, "ONSAVE_VSCODE": str(INSTALLED)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}"


@pytest.fixture(scope="module")
def vsix() -> Path:
    """The extension as users get it, of the code as it is now."""
    run("npm", "run", "--silent", "package")
    return EXTENSION / "onsave.vsix"


def test_in_the_extension_host(vsix: Path) -> None:
    run("npm", "run", "--silent", "test:host")


@pytest.mark.parametrize(
    "scene",
    [
        "workbench",  # click the lens, edit, save, break, mend, ask why, stop
        "features",  # write to pyproject.toml, marks in the explorer, the page, the debugger
        "trust",  # nothing in a folder that is not trusted
    ],
)
def test_in_the_workbench(vsix: Path, scene: str) -> None:
    node = INSTALLED / "node" / "bin" / "node"
    run(node, ROOT / f"tests/editors/vscode/{scene}.mjs", vsix, sys.executable, ARTEFACTS)
