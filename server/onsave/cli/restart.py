"""``onsave restart``: start an app anew, whatever is stale."""

from __future__ import annotations

import argparse

from onsave.cli import talk
from onsave.control import ControlError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Restart an app and wait until the new run is up. Exits with 1 when it is not."
    )
    talk.add_name(parser)
    parser.add_argument(
        "--force", action="store_true", help="even while a debugger holds the app"
    )
    talk.add_timeout(parser)
    talk.add_json(parser)


def main(args: argparse.Namespace) -> int:
    try:
        entry = talk.one_session(args.name)
        status = talk.request(
            entry, "restart", timeout=args.timeout, force=args.force, wait=True
        )
    except ControlError as error:
        return talk.fail(error)
    if args.json:
        talk.print_json(status)
    else:
        print(talk.status_line(status))
    if status["state"] in ("ready", "running", "ended"):
        return 0
    return talk.fail(status.get("message") or f"{entry.name} is {status['state']}")
