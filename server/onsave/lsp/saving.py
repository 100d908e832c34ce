"""Which saves count, and which news is only the echo of one.

With auto-save on, an editor writes half-typed code a second after each pause. By default such a
save is not acted upon: the next save by hand is. ``didSave`` does not say why, ``willSave`` just
before does, in editors that have it (VS Code, Neovim, Emacs). Those announce all files of a *Save
All* before they have written the first: what was announced is told together, as one save.

An editor's file watcher reports what the editor itself has written once more. That is found by
content, not by time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lsprotocol.types import TextDocumentSaveReason

from onsave_agent.protocol import ABSENT, digest

#: Values of the setting ``onsave.autoSave``: act on every save, on those by hand, on none.
HABITS = ("all", "manual", "never")

_AUTOMATIC = (TextDocumentSaveReason.AfterDelay, TextDocumentSaveReason.FocusOut)


#: A save by hand of one of these is meant for the app; editors save their own settings as well.
SOURCES = (".py", ".pyw")


class Saving:
    """Tells meant saves from others, and news from echoes; by path."""

    def __init__(self) -> None:
        self.habit = "manual"
        #: Announced saves that have not come yet → whether they are the editor's own.
        self._coming: dict[str, bool] = {}
        self._early: set[str] = set()  # of those: reported by the file watcher meanwhile
        self._together: list[str] = []  # saves that count and wait for others of a Save All
        self._passed_over: dict[str, str] = {}  # what automatic saves left on disk, as digests
        self._told: dict[str, str] = {}  # what the editor has told of, as digests

    def will_save(self, path: str, reason: TextDocumentSaveReason) -> None:
        self._coming[path] = self.habit == "manual" and reason in _AUTOMATIC

    def did_save(self, path: str) -> list[str]:
        """The paths that count now: none where the save does not, or others are still to come
        (see ``waits``). What automatic saves left on disk is taken up with one by hand."""
        automatic = self._coming.pop(path, False)
        self._early.discard(path)
        if self.habit == "never":
            return []
        if automatic:
            self._passed_over[path] = _digest(path)
        else:
            self._together.append(path)
        return [] if self.waits else self.come()

    @property
    def waits(self) -> bool:
        """Whether saves are kept back until others, announced together with them, have come."""
        return bool(self._together) and not all(self._coming.values())

    def come(self) -> list[str]:
        """The paths that count, with nothing kept back any longer."""
        if not self._together:
            return []
        paths = dict.fromkeys(self._together)
        if any(path.endswith(SOURCES) for path in paths):
            paths.update(dict.fromkeys(self._passed_over))
        for path in paths:
            self._passed_over.pop(path, None)
        self._together.clear()
        self.told(paths)
        return list(paths)

    def told(self, paths: Iterable[str]) -> None:
        """The editor has told of these; its file watcher will do so again."""
        for path in paths:
            self._told[path] = _digest(path)

    def give_up(self) -> list[str]:
        """Saves that were announced have not come: those kept back for them count without. To be
        asked a moment after ``waits``."""
        self._coming = {path: automatic for path, automatic in self._coming.items() if automatic}
        return self.come()

    def watched(self, paths: Sequence[str]) -> tuple[list[str], list[str]]:
        """Those of ``paths`` whose change counts: the news, and the echoes of what was told."""
        if self.habit == "never":
            return [], []
        news: list[str] = []
        echoes: list[str] = []
        for path in paths:
            if path in self._coming:  # the watcher may be quicker than didSave: see never_came
                self._early.add(path)
            elif path in self._passed_over:
                if self._passed_over[path] != _digest(path):
                    del self._passed_over[path]  # somebody else wrote it since
                    news.append(path)
            elif path in self._told and self._told[path] == _digest(path):
                echoes.append(path)
            else:
                self._told.pop(path, None)
                news.append(path)
        return news, echoes

    @property
    def undecided(self) -> bool:
        """Whether the file watcher has reported files whose announced saves have not come yet."""
        return bool(self._early)

    def never_came(self) -> list[str]:
        """Those whose saves have not come after all (the disk was full, somebody else wrote the
        file): their change counts. To be asked a moment after they were reported."""
        late, self._early = self._early, set()
        for path in late:
            self._coming.pop(path, None)
        return sorted(late)


def _digest(path: str) -> str:
    try:
        return digest(Path(path).read_bytes())
    except (OSError, ValueError):
        return ABSENT
