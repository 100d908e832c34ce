"""``--json-log``: every event and effect, a JSON line each, for tests and for bug reports."""

from __future__ import annotations

import dataclasses
import enum
import json
import time
from typing import Any


class Record:
    """Writes to ``path``, which is made anew. Raises OSError where it can't be."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115

    def event(self, event: object) -> None:
        self._write("event", event)

    def effect(self, effect: object) -> None:
        self._write("effect", effect)

    def bug(self, text: str) -> None:
        self._file.write(json.dumps({"time": time.time(), "bug": text}) + "\n")

    def _write(self, what: str, value: object) -> None:
        line = {"time": time.time(), what: type(value).__name__, "values": _plain(value)}
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        self._file.close()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return value
