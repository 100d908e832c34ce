"""Which saves count: the ones that were meant.

With auto-save on, an editor writes half-typed code a second after each pause. By default such a
save is not acted upon: the next save by hand is. ``didSave`` does not say why, ``willSave`` just
before does, in editors that have it (VS Code, Neovim, Emacs).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lsprotocol.types import TextDocumentSaveReason

from onsave_agent.protocol import ABSENT, digest

#: Values of the setting ``onsave.autoSave``: act on every save, on those by hand, on none.
HABITS = ("all", "manual", "never")

_AUTOMATIC = (TextDocumentSaveReason.AfterDelay, TextDocumentSaveReason.FocusOut)


class Saving:
    """Tells meant saves from others, by path."""

    def __init__(self) -> None:
        self.habit = "manual"
        self._coming: set[str] = set()  # an automatic save was announced and has not come yet
        self._early: set[str] = set()  # of those: reported by the file watcher meanwhile
        # What automatic saves left on disk, by content rather than by time: the editor's file
        # watcher reports it again, at once or a second later.
        self._passed_over: dict[str, str] = {}

    def will_save(self, path: str, reason: TextDocumentSaveReason) -> None:
        if self.habit == "manual" and reason in _AUTOMATIC:
            self._coming.add(path)
        else:
            self._coming.discard(path)

    def did_save(self, path: str) -> bool:
        """Whether this save counts."""
        self._early.discard(path)
        if self.habit == "never":
            return False
        if path in self._coming:
            self._coming.discard(path)
            self._passed_over[path] = _digest(path)
            return False
        self._passed_over.pop(path, None)
        return True

    def watched(self, paths: Sequence[str]) -> list[str]:
        """Those of ``paths`` whose change counts."""
        if self.habit == "never":
            return []
        if not self._coming and not self._passed_over:
            return list(paths)
        return [path for path in paths if self._counts(path)]

    @property
    def undecided(self) -> bool:
        """Whether the file watcher has reported files whose announced saves have not come yet."""
        return bool(self._early)

    def never_came(self) -> list[str]:
        """Those whose saves have not come after all (the disk was full, somebody else wrote the
        file): their change counts. To be asked a moment after they were reported."""
        late, self._early = self._early, set()
        self._coming -= late
        return sorted(late)

    def _counts(self, path: str) -> bool:
        if path in self._coming:  # the watcher may be quicker than didSave: see never_came
            self._early.add(path)
            return False
        known = self._passed_over.get(path)
        if known is None:
            return True
        if known == _digest(path):
            return False
        del self._passed_over[path]  # somebody else wrote it since
        return True


def _digest(path: str) -> str:
    try:
        return digest(Path(path).read_bytes())
    except (OSError, ValueError):
        return ABSENT
