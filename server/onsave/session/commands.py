"""Whether a command is the app's Python itself, or something that starts it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence

#: How pip writes the first lines of a script whose interpreter has a long path, or spaces in it.
_LONG = re.compile(rb"#!/bin/sh\n'''exec' (?:\"([^\"]+)\"|(\S+)) \"\$0\" \"\$@\"")


def program(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> str | None:
    """The file that is executed for ``argv``, None where there is none."""
    if os.sep in argv[0]:
        path = os.path.join(cwd, argv[0])
        return path if os.path.isfile(path) else None
    found = shutil.which(argv[0], path=env.get("PATH"))
    return os.path.join(cwd, found) if found else None


def why_not_python(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, executable: str
) -> str | None:
    """Why the command does more than start ``executable``, the app's Python; None if it does not.

    What a shell, ``make`` or ``uv run`` does first would be done too early in a snapshot.
    """
    path = program(argv, env, cwd)
    if path is None:
        return f"{argv[0]} can't be found"
    try:
        with open(path, "rb") as file:
            head = file.read(2048)
    except OSError as error:
        return f"{argv[0]} can't be read: {error.strerror}"
    name = os.path.basename(argv[0])
    interpreter = path
    if head.startswith(b"#!"):
        found = _interpreter(head, env)
        if found is None:
            return f"{name} is a script that starts Python, not Python itself"
        interpreter = found
    if os.path.realpath(interpreter) != os.path.realpath(executable):
        return f"{name} is not Python itself, but starts it"
    return None


def _interpreter(head: bytes, env: Mapping[str, str]) -> str | None:
    long = _LONG.match(head)
    if long:
        return os.fsdecode(long[1] or long[2])
    try:
        words = shlex.split(os.fsdecode(head[2:].split(b"\n", 1)[0]))
    except ValueError:
        return None
    if words and os.path.basename(words[0]) == "env":
        words = words[1:]
        if len(words) != 1:
            return None
        return shutil.which(words[0], path=env.get("PATH"))
    return words[0] if words else None
