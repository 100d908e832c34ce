"""Real histories: neighbouring releases of real packages, as edits file by file.

Downloaded once by pip into .cache/histories, if ONSAVE_HISTORIES=1 says so (it takes minutes);
nothing of them is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "histories"

#: Releases in order; each step to the next is a commit for every file that it changes.
RELEASES = {
    "click": "8.1.0 8.1.1 8.1.2 8.1.3 8.1.4 8.1.5 8.1.6 8.1.7 8.1.8 8.2.0 8.2.1",
    "werkzeug": "2.2.0 2.2.1 2.2.2 2.2.3 2.3.0 2.3.1 2.3.2 2.3.3 2.3.4 2.3.5 2.3.6 2.3.7 2.3.8 "
    "3.0.0 3.0.1 3.0.2 3.0.3 3.0.4 3.0.5 3.0.6 3.1.0 3.1.1 3.1.2 3.1.3",
    "jinja2": "3.0.0 3.0.1 3.0.2 3.0.3 3.1.0 3.1.1 3.1.2 3.1.3 3.1.4 3.1.5 3.1.6",
    "starlette": "0.35.0 0.36.0 0.36.1 0.36.2 0.36.3 0.37.0 0.37.1 0.37.2 0.38.0 0.38.1 0.38.2 "
    "0.38.3 0.38.4 0.38.5 0.38.6 0.39.0 0.39.1 0.39.2 0.40.0 0.41.0 0.41.1 0.41.2 0.41.3 0.42.0 "
    "0.43.0 0.44.0 0.45.0 0.45.1 0.45.2 0.45.3 0.46.0 0.46.1 0.46.2",
    "flask": "2.2.0 2.2.1 2.2.2 2.2.3 2.2.4 2.2.5 2.3.0 2.3.1 2.3.2 2.3.3 3.0.0 3.0.1 3.0.2 3.0.3 "
    "3.1.0 3.1.1",
}

Release = dict[str, bytes]  # path of a Python file → its source


def releases(package: str) -> list[tuple[str, Release]]:
    """(version, files) each, the oldest first. Raises OSError where pip can't get them."""
    return [(v, _files(package, _wheel(package, v))) for v in RELEASES[package].split()]


def _wheel(package: str, version: str) -> Path:
    folder = CACHE / f"{package}-{version}"
    found = list(folder.glob("*.whl"))
    if not found and not os.environ.get("ONSAVE_HISTORIES"):
        raise OSError("not downloaded yet: ONSAVE_HISTORIES=1 does it")
    if not found:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                   "--only-binary=:all:", "--no-cache-dir", "--dest", str(folder),
                   f"{package}=={version}"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = list(folder.glob("*.whl"))
        if not found:
            raise OSError(done.stderr.strip() or f"pip gave no wheel of {package} {version}")
    return found[0]


def _files(package: str, wheel: Path) -> Release:
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: archive.read(name)
            for name in sorted(archive.namelist())
            if name.startswith(f"{package}/") and name.endswith(".py")
        }
