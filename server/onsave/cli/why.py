"""``onsave why``: what a save of a file would do, and why."""

from __future__ import annotations

import argparse
import os
from typing import Any

from onsave.cli import talk
from onsave.control import ControlError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Tell what a save of FILE would do and why: as which module it is loaded, who imported "
        "it, since which run, and what a change of each of its functions would mean."
    )
    parser.add_argument("file", metavar="FILE")
    talk.add_json(parser)


def main(args: argparse.Namespace) -> int:
    path = os.path.abspath(args.file)  # noqa: PTH100 - the session resolves symbolic links
    try:
        answers = [
            {"session": entry.name, **talk.request(entry, "why", path=path)}
            for entry in talk.sessions()
        ]
    except ControlError as error:
        if args.json:
            talk.print_json([])
        return talk.fail(error)
    if args.json:
        talk.print_json(answers)
    else:
        print("\n".join(line for answer in answers for line in _lines(answer)))
    return 0


def _lines(answer: dict[str, Any]) -> list[str]:
    lines = [f"{answer['session']}: {answer['path']}"]
    if answer["loaded"]:
        module = f" as {answer['module']}" if answer.get("module") else ""
        lines.append(f"  loaded{module} since run {answer['since']}")
        if answer.get("importer"):
            lines.append(f"  by {answer['importer']}")
        lines += [f"  … by {importer}" for importer in (answer.get("chain") or ())[1:]]
        if answer.get("saved") is False:
            lines.append("  it has changed since")
    would = answer.get("would")
    if would:
        lines.append(f"  a save would mean: {would['action']} ({would['reason']})")
    lines += [": ".join(["    " + name, *what]) for name, *what in answer.get("functions") or ()]
    return lines
