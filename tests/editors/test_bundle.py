"""What the .vsix carries, started by every Python that is here: the launcher and what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXTENSION = Path(__file__).resolve().parents[2] / "vscode-extension"
PYENV = Path.home() / ".pyenv" / "versions"


def pythons(wanted: Callable[[tuple[int, ...]], bool]) -> list[str]:
    """The interpreters of pyenv, else those on the PATH, whose version is ``wanted``."""
    found = {}
    names = [shutil.which(f"python3.{minor}") for minor in range(9, 15)]
    for path in [*PYENV.glob("3.*/bin/python"), *filter(None, names)]:
        asked = subprocess.run(
            [path, "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if asked.returncode == 0:
            found.setdefault(tuple(map(int, asked.stdout.split())), str(path))
    return [path for version, path in sorted(found.items()) if wanted(version)]


NONE = pytest.param("", marks=pytest.mark.skip(reason="no such Python here"))
NEW = pythons(lambda version: version >= (3, 10))
OLD = pythons(lambda version: version < (3, 10))


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of ``bundled/``, made of the code as it is now."""
    subprocess.run([sys.executable, EXTENSION / "scripts" / "bundle.py"], check=True)
    return Path(shutil.copytree(EXTENSION / "bundled", tmp_path_factory.mktemp("vsix") / "b"))


def launch(python: str, bundled: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["XDG_RUNTIME_DIR"] = str(bundled.parent)
    return subprocess.run(
        [python, bundled / "onsave.py", *arguments],
        cwd=bundled.parent, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_each_platform_has_its_psutil(bundled: Path) -> None:
    found = {path.name for path in (bundled / "psutil").iterdir()}
    assert found >= {"linux-x86_64", "linux-aarch64", "musl-x86_64", "darwin-aarch64",
                     "win32-x86_64"}  # fmt: skip
    for platform in found:
        compiled = list((bundled / "psutil" / platform / "psutil").glob("_psutil_*.abi3.so"))
        compiled += (bundled / "psutil" / platform / "psutil").glob("_psutil_*.pyd")
        assert len(compiled) == 1, platform


@pytest.mark.parametrize("python", NEW or [NONE])
def test_starts_on_each_python(bundled: Path, python: str) -> None:
    checked = launch(python, bundled, "--check")
    assert "problem" not in json.loads(checked.stdout), checked
    helped = launch(python, bundled, "--help")
    assert helped.returncode == 0 and "usage: onsave" in helped.stdout


@pytest.mark.parametrize("python", NEW or [NONE])
def test_the_app_sees_nothing_of_it(bundled: Path, python: str) -> None:
    script = bundled.parent / "app.py"
    script.write_text("import os, sys\nprint([*sys.path, *map(str, os.environ.items())])\n")
    ran = launch(python, bundled, "run", "--once", "--", python, str(script))
    assert ran.returncode == 0, ran
    seen = next(line for line in ran.stdout.splitlines() if line.startswith("["))
    own = [str(bundled / "libs"), str(bundled / "psutil")]
    assert not [entry for entry in own if f"'{entry}" in seen], seen
    assert "('PYTHONPATH'" not in seen


@pytest.mark.parametrize("python", OLD or [NONE])
def test_a_python_that_is_too_old_is_told(bundled: Path, python: str) -> None:
    assert json.loads(launch(python, bundled, "--check").stdout)["problem"] == "old"
    started = launch(python, bundled, "lsp")
    assert started.returncode == 90
    assert "onsave needs Python 3.10 or newer for itself" in started.stderr
    assert "Traceback" not in started.stderr


def test_a_platform_without_its_psutil_is_told(bundled: Path, tmp_path: Path) -> None:
    bare = [path for path in NEW if launch(path, bundled, "--check").returncode == 0
            and subprocess.run([path, "-c", "import psutil"], stderr=subprocess.DEVNULL,
                               check=False).returncode != 0]  # fmt: skip
    if not bare:
        pytest.skip("every Python here has a psutil of its own")
    other = Path(shutil.copytree(bundled, tmp_path / "b"))
    shutil.rmtree(other / "psutil")
    assert json.loads(launch(bare[0], other, "--check").stdout)["problem"] == "psutil"
    ran = launch(bare[0], other, "run", "--", bare[0], "-c", "pass")
    assert ran.returncode == 92
    assert ran.stderr.startswith("onsave carries no psutil for ")
    assert "Traceback" not in ran.stderr


def test_a_broken_installation_is_told(bundled: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(bundled, tmp_path / "b"))
    shutil.rmtree(other / "libs" / "onsave")
    # Not the project's own interpreter, which has onsave installed.
    python = (NEW or [sys.executable])[-1]
    checked = json.loads(launch(python, other, "--check").stdout)
    assert checked["problem"] == "broken" and "onsave" in checked["detail"]
    started = launch(python, other, "lsp")
    assert started.returncode == 91 and "Traceback" not in started.stderr
