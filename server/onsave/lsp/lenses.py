"""Code lenses: ``▶ Run with onsave`` above what can be started, its state once it runs.

Their commands are executed by the server: lenses with commands of a client's own do nothing in
editors whose extensions can't define any.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import os
from collections.abc import Iterable
from pathlib import Path

from lsprotocol import types

from onsave.lsp import ext
from onsave.lsp.entrypoints import EntryPoint, find
from onsave.lsp.sessions import Link
from onsave.lsp.to_proto import read_lines


def lenses(path: str, root: str, python: str, links: Iterable[Link]) -> list[types.CodeLens]:
    """The lenses of the Python file ``path``, as saved, in the workspace folder ``root``."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return []
    placed = _find(path, root, python, found.st_mtime_ns, found.st_size)
    return [_lens(entry, line, links) for entry, line in placed]


#: What was found last in files that have entry points, while they could be parsed.
_found: dict[str, list[tuple[EntryPoint, str]]] = {}


@functools.lru_cache(maxsize=100)
def _find(path: str, root: str, python: str, *_stat: int) -> list[tuple[EntryPoint, str]]:
    """The entry points and their lines. Editors ask anew with each change of a buffer, and parsing
    takes a while; the file is another one only when it was saved."""
    lines = read_lines(path)
    source = "\n".join(lines)
    found = [
        (entry, lines[entry.line])
        for entry in find(path, source, root, python)
        if entry.line < len(lines)
    ]
    if found:
        _found[path] = found
    elif path in _found and not _parses(source):
        # Half a line elsewhere in the file takes no lens away: least of all that of an app that
        # goes on, and is held.
        return [
            (dataclasses.replace(entry, line=lines.index(line)), line)
            for entry, line in _found[path]
            if line in lines
        ]
    return found


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _lens(entry: EntryPoint, line: str, links: Iterable[Link]) -> types.CodeLens:
    place = types.Range(
        types.Position(entry.line, 0),
        types.Position(entry.line, len(line.encode("utf-16-le")) // 2),
    )
    for link in links:
        if is_running(entry, link):
            state = link.status.get("state", "starting")
            command = types.Command(
                f"⚡ {state} · restart", ext.RESTART, arguments=[{"name": link.name}]
            )
            return types.CodeLens(place, command)
    arguments = {
        "command": list(entry.command),
        "name": entry.name,
        "cwd": entry.cwd,
        "options": list(entry.options),
    }
    title = f"▶ Run with onsave · {entry.kind}"
    return types.CodeLens(place, types.Command(title, ext.START, arguments=[arguments]))


def is_running(entry: EntryPoint, link: Link) -> bool:
    """Whether the session runs this entry point: the same words after the interpreter."""
    command = [str(word) for word in link.status.get("command") or ()]
    if not command:
        return False
    same_place = os.path.realpath(str(link.status.get("cwd") or link.entry.root)) in (
        os.path.realpath(entry.cwd),
        os.path.realpath(Path(entry.cwd).parent),
    )
    return same_place and _words(command) == _words(list(entry.command))


def _words(command: list[str]) -> list[str]:
    """``python -m flask --app shop run`` and ``flask --app shop run`` are the same."""
    program = Path(command[0]).name
    if program.startswith("python"):
        return command[2:] if command[1:2] == ["-m"] else command[1:]
    return [program, *command[1:]]
