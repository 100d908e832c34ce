"""Compiling files where no agent can: in a fresh interpreter of the app's version.

The answer has the form of an agent's ``checked``: [path, digest, error] each.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from onsave.session.loop import READ, Loop

Results = list[list[Any]]

#: A fresh interpreter that has not answered by then, in seconds, is given up.
WITHIN = 20.0

# What the fresh interpreter runs: Python 3.9 or newer, no site, hence no agent. It reads a list of
# paths and writes the results, both as JSON.
_PROGRAM = r"""
import sys, json, hashlib
def error(e):
    if not isinstance(e, SyntaxError):
        return {"message": str(e) or type(e).__name__, "line": 1, "column": 1,
                "end_line": 1, "end_column": 1}
    line, column = e.lineno or 1, max(e.offset or 1, 1)
    end_line = getattr(e, "end_lineno", None) or line
    end_column = getattr(e, "end_offset", None) or 0
    if (end_line, end_column) <= (line, column):
        end_line, end_column = line, column + 1
    return {"message": e.msg or "invalid syntax", "line": line, "column": column,
            "end_line": end_line, "end_column": end_column}
results = []
for path in json.load(sys.stdin):
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        results.append([path, "absent", None])
        continue
    found = None
    try:
        compile(data, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as e:
        found = error(e)
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    results.append([path, digest, found])
json.dump(results, sys.stdout)
"""


def compile_elsewhere(
    loop: Loop,
    executable: str,
    paths: Sequence[str],
    helpers: set[int],
    done: Callable[[Results | None], None],
) -> None:
    """Compile with ``executable``; ``done(None)`` where that can't be. Does not wait.

    helpers: gets the pid of the child, which is no part of the app
    """
    import subprocess
    import tempfile

    with tempfile.TemporaryFile() as question:
        question.write(json.dumps(list(paths)).encode())
        question.seek(0)
        try:
            child = subprocess.Popen(
                [executable, "-I", "-S", "-W", "ignore", "-c", _PROGRAM],
                stdin=question,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is not for it
            )
        except OSError:
            loop.after(0, lambda: done(None))
            return
    helpers.add(child.pid)
    assert child.stdout is not None
    output = child.stdout
    os.set_blocking(output.fileno(), False)
    said = bytearray()
    timer = loop.after(WITHIN, lambda: finish())

    def take(_events: int) -> None:
        data = os.read(output.fileno(), 1 << 20)
        said.extend(data)
        if not data:
            finish()

    def finish() -> None:
        timer.cancel()
        loop.forget(output)
        output.close()
        child.kill()
        child.returncode = 0  # the session reaps all its children itself
        try:
            results = json.loads(said)
        except ValueError:
            results = None
        done(results)

    loop.watch(output, READ, take)
