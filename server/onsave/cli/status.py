"""``onsave status``: which apps run, and how they are."""

from __future__ import annotations

import argparse

from onsave.cli import talk
from onsave.control import ControlError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show the apps that run under onsave, and what a restart would start from."
    talk.add_name(parser)
    talk.add_json(parser)


def main(args: argparse.Namespace) -> int:
    try:
        entries = talk.sessions(args.name)
        statuses = [talk.request(entry, "status") for entry in entries]
    except ControlError as error:
        if args.json:
            talk.print_json([])
        return talk.fail(error)
    if args.json:
        talk.print_json(statuses)
    else:
        for status in statuses:
            print(talk.status_line(status))
            print(*talk.snapshot_lines(status), sep="\n")
    return 0
