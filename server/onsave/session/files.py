"""What is on disk: paths made absolute and real, and digests of contents.

Nothing here raises for what a file may be: not there, not readable, a pipe, a folder, too large.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from onsave.core.model import App
from onsave_agent import protocol
from onsave_agent.protocol import ABSENT


def digest_of(path: str, by_stat: bool = False) -> str:
    """The digest of the file as it is now; ABSENT where there is none that could be read.

    by_stat: by size and time alone, as the agent does for files that are too large
    """
    return read(path, by_stat)[0]


def read(path: str, by_stat: bool = False) -> tuple[str, bytes | None]:
    """(digest, content); the content is None where only the digest is known."""
    try:
        # Without O_NONBLOCK opening a named pipe would wait for its other end.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):
        return ABSENT, None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return ABSENT, None
        if by_stat:
            return protocol.digest_of_stat(found.st_mtime_ns, found.st_size), None
        with open(fd, "rb", closefd=False) as file:
            content = file.read()
        return protocol.digest(content), content
    except OSError:
        return ABSENT, None
    finally:
        os.close(fd)


def known_by_stat(app: App, path: str) -> bool:
    """Whether a run knows this file by size and time, so that only the like can be compared."""
    for number in sorted(app.runs, reverse=True):
        entry = app.runs[number].loaded.get(path)
        if entry is not None:
            return any((known or "").startswith("stat:") for known in entry.digests.values())
    return app.saved.get(path, "").startswith("stat:")


class RealPaths:
    """Absolute real paths, the way that agents report them.

    A folder is resolved once for all its files: a branch switch may name a hundred thousand.
    """

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: str) -> str:
        folder, name = os.path.split(os.path.abspath(path))
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = os.path.realpath(folder)
        whole = os.path.join(real, name)
        return os.path.realpath(whole) if os.path.islink(whole) else whole


def resolve(paths: Iterable[str], app: App) -> list[str]:
    """The real paths of what was saved, each once; a folder stands for what is loaded in it.

    Editors tell of a folder that was renamed or deleted by the folder's name alone.
    """
    real = RealPaths()
    loaded: set[str] | None = None
    found: dict[str, None] = {}
    for path in paths:
        resolved = real.of(path)
        if not app.concerns(resolved) and not os.path.isfile(resolved):
            if loaded is None:
                loaded = {known for run in app.runs.values() for known in run.loaded}
                folders = _folders_of(loaded)
            if resolved in folders:
                inside = resolved + os.sep
                found.update(dict.fromkeys(p for p in sorted(loaded) if p.startswith(inside)))
                continue
        found[resolved] = None
    return list(found)


def _folders_of(paths: Iterable[str]) -> set[str]:
    folders: set[str] = set()
    for path in paths:
        folder = os.path.dirname(path)
        while folder not in folders:
            folders.add(folder)
            folder = os.path.dirname(folder)
    return folders
