"""The sources that the app runs, by digest: what ran before an edit, to compare the edit with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from onsave.core.events import LoadedFile
from onsave.session import files
from onsave.session.loop import Loop

#: So many bytes of sources are kept.
KEPT = 32 * 1024 * 1024
#: So many are read before the loop looks at what else there is to do: a millisecond's worth.
AT_ONCE = 20


class Sources:
    """Contents by digest, the newest ones.

    A source is read as soon as it is reported, so that even the first save after a start finds what
    it is to be compared with. One that had changed by then is not kept.
    """

    def __init__(self, loop: Loop, workspace: tuple[str, ...]) -> None:
        self._loop = loop
        self._workspace = workspace
        self._contents: dict[str, bytes | None] = {}
        self._size = 0
        self._to_read: deque[tuple[str, str]] = deque()  # path and digest

    def keep(self, digest: str, content: bytes | None) -> None:
        """content: None where it can't be had any more, so that nobody looks for it again."""
        self._size += len(content or b"") - len(self._contents.pop(digest, None) or b"")
        self._contents[digest] = content
        while self._size > KEPT:
            self._size -= len(self._contents.pop(next(iter(self._contents))) or b"")

    def of(self, digest: str | None) -> bytes | None:
        return None if digest is None else self._contents.get(digest)

    def loaded(self, reported: Iterable[LoadedFile]) -> None:
        """Read what the app says that it has loaded, as soon as nothing else is to be done."""
        idle = not self._to_read
        for file in reported:
            if file.digest is None or file.digest in self._contents:
                continue
            if file.kind in ("module", "main") and file.path.startswith(self._workspace):
                self._to_read.append((file.path, file.digest))
        if idle and self._to_read:
            self._loop.after(0, self._read)

    def _read(self) -> None:
        for _ in range(min(AT_ONCE, len(self._to_read))):
            path, digest = self._to_read.popleft()
            if digest not in self._contents:
                found, content = files.read(path)
                self.keep(digest, content if found == digest else None)
        if self._to_read:
            self._loop.after(0, self._read)
