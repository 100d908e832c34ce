"""``onsave stop``: end an app and its session."""

from __future__ import annotations

import argparse

from onsave.cli import talk
from onsave.control import Client, ControlError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "End an app with all its processes, and its session. Waits for it."
    talk.add_name(parser)
    talk.add_timeout(parser)
    talk.add_json(parser)


def main(args: argparse.Namespace) -> int:
    try:
        entry = talk.one_session(args.name)
        with Client(entry) as client:
            client.request("stop")
            # The session hangs up when everything has ended.
            for _ in client.events(args.timeout):
                pass
    except ControlError as error:
        return talk.fail(error)
    except TimeoutError:
        return talk.fail(f"{entry.name} (pid {entry.pid}) has not ended in {args.timeout:g} s")
    if args.json:
        talk.print_json({"name": entry.name, "pid": entry.pid})
    else:
        print(f"{entry.name} has ended")
    return 0
