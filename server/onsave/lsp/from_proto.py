"""From what LSP says to what we mean: URIs become paths, notifications lists of paths.

Pure, and platform by argument, so that Windows' forms are tested everywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

_WINDOWS = os.name == "nt"
_DRIVE = re.compile(r"/[A-Za-z]:(?=/|$)")


def path(uri: object, windows: bool = _WINDOWS) -> str | None:
    """The absolute path that ``uri`` names; None for what is not a file on this machine.

    Notebook cells, unsaved buffers, virtual and remote documents are no files. Some clients leave
    ``#`` and ``?`` unquoted; a ``file:`` URI has neither query nor fragment, so they belong to the
    path. Bytes that are not UTF-8 come back as Python's file system functions take them.
    """
    if not isinstance(uri, str) or uri[:5].lower() != "file:":
        return None
    rest = uri[5:]
    host = ""
    if rest.startswith("//"):
        host, slash, tail = rest[2:].partition("/")
        rest = slash + tail
    try:
        raw = unquote_to_bytes(rest)
        # Where our own file system is meant, its encoding; else (in tests) what Windows uses.
        found = raw.decode("utf-8", "surrogateescape") if windows else os.fsdecode(raw)
    except UnicodeError:
        return None
    if not found.startswith("/") or "\0" in found:
        return None
    remote = host not in ("", "localhost")
    if not windows:
        return None if remote else found
    if remote:
        return f"//{host}{found}".replace("/", "\\")
    if _DRIVE.match(found):
        # As Windows itself writes it; VS Code sends lower case and %3A.
        return (found[1].upper() + found[2:]).replace("/", "\\")
    return None  # a path without a drive is not absolute there


def paths(uris: Iterable[object]) -> list[str]:
    """The paths of ``uris``, each once, in order; what is no file is left out."""
    return list(dict.fromkeys(found for uri in uris if (found := path(uri)) is not None))


def watched(params: Any) -> list[str]:
    """The paths in the params of ``workspace/didChangeWatchedFiles``, as they came off the wire.

    Not structured by pygls: 100,000 events (a branch switch with a build in it) took it seconds.
    """
    changes = params.get("changes") if isinstance(params, dict) else None
    if not isinstance(changes, list):
        return []
    return paths(change.get("uri") for change in changes if isinstance(change, dict))
