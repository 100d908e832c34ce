"""What the subcommands that talk to sessions share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from onsave.control import Client, ControlError, Entry, RunDirectory


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print what is known as JSON")


def add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="the session; may be left out where one runs"
    )


def add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", default=60.0, help="give up then (60)"
    )


def sessions(name: str | None = None) -> list[Entry]:
    """The live sessions, or the one of that name. Raises ControlError where there is none."""
    entries = RunDirectory().entries("session")
    if not entries:
        raise ControlError("no app runs under onsave; start one with: onsave run COMMAND")
    named = [entry for entry in entries if name in (None, entry.name)]
    if not named:
        raise ControlError(f"no session is named {name!r}; running: {_names(entries)}")
    return named


def one_session(name: str | None) -> Entry:
    """The session of that name, or the only one. Raises ControlError."""
    entries = sessions(name)
    if len(entries) > 1:
        raise ControlError(f"several apps run under onsave; say which: {_names(entries)}")
    return entries[0]


def request(entry: Entry, what: str, **fields: Any) -> Any:
    """Ask one session. Raises ControlError."""
    try:
        with Client(entry) as client:
            return client.request(what, **fields)
    except TimeoutError:
        raise ControlError(f"session {entry.name!r} (pid {entry.pid}) does not answer") from None


def fail(error: object) -> int:
    print(f"onsave: {error}", file=sys.stderr)
    return 1


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def status_line(status: dict[str, Any]) -> str:
    """``shop  ready  run 3  pid 4711  127.0.0.1:8000``."""
    parts = [status["name"], status["state"], f"run {status['run']}"]
    if status.get("pid"):
        parts.append(f"pid {status['pid']}")
    parts += status.get("listening") or ()
    stale = status.get("stale") or ()
    if stale:
        parts.append(f"stale: {', '.join(stale)}")
    return "  ".join(parts)


def snapshot_lines(status: dict[str, Any]) -> list[str]:
    """What the next restart may start from: what stands by, or why nothing does."""
    snapshots = status["snapshots"]
    if not snapshots["ready"]:
        return [f"  restarts are cold: {snapshots['reason']}"]
    lines = []
    for found in snapshots["processes"]:
        if found["state"] == "ready":
            what = "spare interpreter" if found["spare"] else "snapshot"
            where = f" before {found['before']}" if found["before"] else ""
            memory = f", {found['bytes'] / 2**20:.0f} MiB" if found["bytes"] else ""
            lines.append(f"  a {what} stands by{where} (pid {found['pid']}{memory})")
    if snapshots["reason"]:
        lines[-1] += f": {snapshots['reason']}"
    return lines


def problem_lines(problems: Sequence[dict[str, Any]]) -> list[str]:
    """``/app/shop.py:12: SyntaxError: …``, and what belongs to each, as tools print them."""
    lines = []
    for problem in problems:
        if problem.get("kind") != "note":
            lines.append(f"{problem['path']}:{problem['range'][0] + 1}: {problem['message']}")
            lines += [f"  {path}:{line}: {text}" for path, line, text in problem["related"]]
    return lines


def _names(entries: Sequence[Entry]) -> str:
    return ", ".join(entry.name for entry in entries)
