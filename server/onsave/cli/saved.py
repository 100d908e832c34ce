"""``onsave saved``: for hooks, editors without LSP, and programs that write code."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from onsave.cli import talk
from onsave.control import Client, ControlError, Entry

#: What has nothing more to wait for and runs what was saved.
_FINE = ("ready", "running", "ended")

#: Exit codes; 2 is argparse's.
UP_TO_DATE, NOT_UP_TO_DATE, NOBODY_CONCERNED = 0, 1, 3


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Tell running apps that files were saved (or created, renamed, deleted). With --wait, exit "
        "with 0 when the apps run what was saved, with 1 when they don't (it is printed why), and "
        "with 3 when no app has loaded any of the files or none runs."
    )
    parser.add_argument("files", metavar="FILE", nargs="+")
    parser.add_argument(
        "--wait", action="store_true", help="until the apps are up to date, or can't be"
    )
    talk.add_timeout(parser)
    talk.add_json(parser)


def main(args: argparse.Namespace) -> int:
    files = [os.path.abspath(file) for file in args.files]  # noqa: PTH100 - symlinks stay
    try:
        entries = talk.sessions()
    except ControlError as error:
        if args.json:
            talk.print_json([])
        talk.fail(error)
        return NOBODY_CONCERNED
    results = _tell(entries, files, args.wait, args.timeout)
    if args.json:
        talk.print_json(results)
    concerned = [result for result in results if result.get("concerned") or "error" in result]
    if not concerned:
        print("onsave: no running app has loaded " + ", ".join(args.files), file=sys.stderr)
        return NOBODY_CONCERNED
    for result in concerned:
        _show(result, quiet=args.json)
    return UP_TO_DATE if all(_fine(result, args.wait) for result in concerned) else NOT_UP_TO_DATE


def _tell(
    entries: list[Entry], files: list[str], wait: bool, timeout: float
) -> list[dict[str, Any]]:
    """What each session answered, with its name; ``error`` where it did not.

    All are told before the first answer is awaited: apps restart side by side.
    """
    deadline = time.monotonic() + timeout
    message = {"type": "saved", "files": files, "origin": "command", "wait": wait}
    with contextlib.ExitStack() as open_clients:

        def ask(entry: Entry) -> tuple[Client, int]:
            client = open_clients.enter_context(Client(entry, timeout=max(timeout, 0.1)))
            return client, client.ask(message)

        def answer(asked: tuple[Client, int]) -> dict[str, Any]:
            client, number = asked
            result = client.answer(number, max(deadline - time.monotonic(), 0.01))
            return {"session": client.entry.name, **result}

        asked = [(entry, _attempt(entry, timeout, ask, entry)) for entry in entries]
        return [
            said if isinstance(said, dict) else _attempt(entry, timeout, answer, said)
            for entry, said in asked
        ]


def _attempt(entry: Entry, timeout: float, action: Callable[[Any], Any], argument: Any) -> Any:
    """What ``action`` returns; what it raises, as a result with an ``error``."""
    try:
        return action(argument)
    except TimeoutError:
        error = f"{entry.name}: not done after {timeout:g} s"
    except ControlError as problem:
        error = str(problem)
    return {"session": entry.name, "error": error}


def _fine(result: dict[str, Any], wait: bool) -> bool:
    if "error" in result:
        return False
    if not wait:
        return True
    status = result["status"]
    return status["state"] in _FINE and not status.get("stale")


def _show(result: dict[str, Any], quiet: bool) -> None:
    if "error" in result:
        talk.fail(result["error"])
        return
    if not quiet:
        for verdict in result["verdicts"]:
            if verdict["action"] != "ignore" or len(result["verdicts"]) == 1:
                print(verdict["message"])
    status = result["status"]
    if status["state"] not in _FINE:
        lines = talk.problem_lines(result["problems"])
        if not lines and status.get("message"):
            lines = [status["message"]]
        print("\n".join([talk.status_line(status), *lines]), file=sys.stderr)
