"""Fills ``bundled/`` with the server and all that it stands on: one .vsix that fits everywhere.

One .vsix with every platform's psutil, and not one .vsix a platform: everything else is pure
Python, the eight wheels come to 4 MB unpacked (0.8 MB of the .vsix), and one file can be handed
around, installed on any remote, and tested as it is shipped. ``server/onsave.py`` picks the folder
that fits.

Run by ``npm run bundle``; needs any Python ≥ 3.10 with pip, and a package index the first time:
wheels are kept in ``.cache/wheels`` of the repository.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

EXTENSION = Path(__file__).resolve().parent.parent
REPOSITORY = EXTENSION.parent
BUNDLED = EXTENSION / "bundled"
WHEELS = REPOSITORY / ".cache" / "wheels"

PSUTIL = "7.2.1"
#: The folder's name, as ``platform_tag()`` in server/onsave.py makes it → the wheel's tag.
PLATFORMS = {
    "linux-x86_64": "manylinux2014_x86_64",
    "linux-aarch64": "manylinux2014_aarch64",
    "musl-x86_64": "musllinux_1_2_x86_64",
    "musl-aarch64": "musllinux_1_2_aarch64",
    "darwin-x86_64": "macosx_10_9_x86_64",
    "darwin-aarch64": "macosx_11_0_arm64",
    "win32-x86_64": "win_amd64",
    "win32-aarch64": "win_arm64",
}


def download(folder: Path, *arguments: str) -> list[Path]:
    """The wheels that ``pip download`` puts into ``folder``; what is there is not asked for."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), *arguments]
    kept = [*command, "--no-index", "--find-links", str(folder)]
    if subprocess.run(kept, capture_output=True, check=False).returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(command, check=True)
    return sorted(folder.glob("*.whl"))


def unpack(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)


def main() -> None:
    shutil.rmtree(BUNDLED, ignore_errors=True)
    libs = BUNDLED / "libs"
    libs.mkdir(parents=True)
    requirements = EXTENSION / "server" / "requirements.txt"
    pure = ("--python-version", "3.10", "--implementation", "py", "--require-hashes")
    for wheel in download(WHEELS / "pure", *pure, "-r", str(requirements)):
        unpack(wheel, libs)
    for folder, tag in PLATFORMS.items():
        compiled = ("--python-version", "3.10", "--implementation", "cp", "--abi", "abi3")
        (wheel,) = download(WHEELS / folder, *compiled, "--platform", tag, f"psutil=={PSUTIL}")
        unpack(wheel, BUNDLED / "psutil" / folder)

    for package in ("onsave", "onsave_agent"):
        shutil.copytree(
            REPOSITORY / "server" / package,
            libs / package,
            ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
        )
    # For importlib.metadata: the server tells its version.
    project = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    (version,) = re.findall(r'^version = "(.+)"$', project, re.MULTILINE)
    described = libs / f"onsave-{version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: onsave\nVersion: {version}\n", "utf-8"
    )
    shutil.copy(EXTENSION / "server" / "onsave.py", BUNDLED / "onsave.py")
    shutil.copytree(EXTENSION / "server" / "debug", BUNDLED / "debug")
    size = sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file())
    print(f"bundled: {len(PLATFORMS)} platforms, {size / 1e6:.1f} MB unpacked")


if __name__ == "__main__":
    main()
