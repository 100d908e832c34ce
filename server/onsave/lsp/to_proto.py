"""From what sessions say to what LSP says: paths become URIs, problems diagnostics.

Columns are characters in a session's messages and units of the negotiated encoding in LSP, so the
text of the lines is needed. It is read from the file, not taken from the editor's buffer: the
session speaks of what was saved.
"""

from __future__ import annotations

import io
import os
import re
import tokenize
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from lsprotocol import types

from onsave.lsp import ext

SOURCE = "onsave"

#: Columns in larger files are passed on as they are: no source that a person edits is that large.
MAX_READ = 8 * 1024 * 1024

_WINDOWS = os.name == "nt"
_SEVERITY = {
    "error": types.DiagnosticSeverity.Error,
    "warning": types.DiagnosticSeverity.Warning,
    "information": types.DiagnosticSeverity.Information,
}
_LEVEL = {
    "error": types.MessageType.Error,
    "warning": types.MessageType.Warning,
    "info": types.MessageType.Info,
    "debug": types.MessageType.Log,
}
_UNITS = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
_UNIT_SIZE = {"utf-8": 1, "utf-16": 2, "utf-32": 4}

#: A path → the URI that the editor knows it by.
UriOf = Callable[[str], str]
#: A path → its lines, without their ends.
LinesOf = Callable[[str], Sequence[str]]


def uri(path: str, windows: bool = _WINDOWS) -> str:
    """The ``file:`` URI of an absolute path."""
    if windows:
        path = path.replace("\\", "/")
        if path.startswith("//"):  # \\server\share
            return "file:" + quote_from_bytes(path.encode("utf-8", "surrogateescape"))
        return "file:///" + path[:2] + quote_from_bytes(path[2:].encode("utf-8", "surrogateescape"))
    return "file://" + quote_from_bytes(os.fsencode(path))


def read_lines(path: str) -> list[str]:
    """The lines of a source file in the encoding that it declares; [] where it can't be read.

    Split as LSP splits them: ``str.splitlines`` knows many more ends than editors do.
    """
    try:
        if not Path(path).is_file():  # opening a named pipe would wait for its other end
            return []
        with Path(path).open("rb") as file:
            data = file.read(MAX_READ + 1)
    except (OSError, ValueError):
        return []
    if len(data) > MAX_READ:
        return []
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError:  # an unknown encoding, or not text
        encoding = "utf-8"
    return re.split("\r\n|\r|\n", data.decode(encoding, "replace"))


def units(line: str, column: int, encoding: str) -> int:
    """Where the character ``column`` of ``line`` is, in units of ``encoding``."""
    before = line[: max(column, 0)]
    return len(before.encode(_UNITS[encoding], "surrogatepass")) // _UNIT_SIZE[encoding]


def range_(place: Sequence[int], lines: Sequence[str], encoding: str) -> types.Range:
    """``(line, column, end line, end column)``, 0-based characters, as an LSP range.

    Clamped to the text: it may have been saved again since the session looked at it.
    """

    def position(line: int, column: int) -> types.Position:
        line = max(line, 0)
        if not lines:
            return types.Position(line, max(column, 0))
        if line >= len(lines):
            line, column = len(lines) - 1, len(lines[-1])
        return types.Position(line, units(lines[line], column, encoding))

    line, column, end_line, end_column = place
    start, end = position(line, column), position(end_line, end_column)
    return types.Range(start, max(start, end))


def diagnostic(
    problem: dict[str, Any],
    encoding: str,
    uri_of: UriOf,
    lines_of: LinesOf,
    related: bool,
) -> types.Diagnostic:
    """A problem of a session. ``related``: whether the client shows related information."""
    message = str(problem["message"])
    places = [
        types.DiagnosticRelatedInformation(
            types.Location(uri_of(path), _whole_line(lines_of(path), line - 1, encoding)), text
        )
        for path, line, text in problem.get("related", ())
    ]
    if places and not related:
        told = (f"{Path(path).name}:{line}: {text}" for path, line, text in problem["related"])
        message = "\n".join([message, *told])
    return types.Diagnostic(
        range=range_(problem["range"], lines_of(problem["path"]), encoding),
        message=message,
        severity=_SEVERITY.get(problem.get("severity", ""), types.DiagnosticSeverity.Error),
        code=problem.get("kind"),
        source=SOURCE,
        related_information=places if places and related else None,
    )


def _whole_line(lines: Sequence[str], line: int, encoding: str) -> types.Range:
    text = lines[line] if 0 <= line < len(lines) else ""
    indent = len(text) - len(text.lstrip())
    return range_((line, indent, line, len(text.rstrip())), lines, encoding)


def verdict(message: dict[str, Any], uri_of: UriOf) -> ext.Verdict:
    told = ext.Verdict(
        session=message["session"],
        run=message["run"],
        uri=uri_of(message["path"]),
        action=message["action"],
        reason=message["reason"],
        message=message["message"],
    )
    if message.get("evidence"):
        told["evidence"] = [
            ext.Evidence(uri=uri_of(path), line=max(line - 1, 0), message=text)
            for path, line, text in message["evidence"]
        ]
    if message.get("functions"):
        told["functions"] = list(message["functions"])
    return told


def session(name: str, root: str, status: dict[str, Any], uri_of: UriOf) -> ext.Session:
    """What ``onsave/status`` tells of a session, having said ``status`` last (or {} yet)."""
    last = status.get("lastVerdict")
    return ext.Session(
        name=name,
        state=status.get("state", "starting"),
        run=status.get("run", 0),
        pid=status.get("pid"),
        listening=list(status.get("listening") or ()),
        stale=[uri_of(path) for path in status.get("stale") or ()],
        lastVerdict=verdict(last, uri_of) if last else None,
        readyMs=status.get("readyMs"),
        root=uri_of(status.get("root") or root),
        command=list(status.get("command") or ()),
        message=status.get("message") or "",
        processes=list(status.get("processes") or ()),
        loaded=status.get("loaded") or 0,
    )


def level(name: str) -> types.MessageType:
    """The LSP message type of a session's log level."""
    return _LEVEL.get(name, types.MessageType.Log)
