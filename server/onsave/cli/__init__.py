"""The command line: one small module a subcommand, imported only when it is the one asked for."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

#: The subcommands, in the order of the help, and what each is for.
COMMANDS = {
    "run": "run an app, and keep it up to date as its files are saved",
    "lsp": "the language server, started by editors",
    "saved": "tell of saved files: for hooks, scripts, and editors without a language client",
    "status": "show the sessions that run",
    "restart": "restart an app",
    "stop": "end an app and its session",
    "why": "show what a save of a file would do, and why",
    "editor": "print the configuration for an editor",
    "demo": "a sample app, a scripted editor, and what each save did",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse ``argv`` (by default the process's own), run that command, return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="onsave",
        description="Save a file, and the running Python app is up to date.",
        epilog="onsave COMMAND --help tells more about each.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # Only the module of the subcommand in question is imported: `onsave run` is to be at the app's
    # start in no time, and `onsave saved` runs at each save.
    asked = next((word for word in words if not word.startswith("-")), None)
    for name, purpose in COMMANDS.items():
        sub = commands.add_parser(name, help=purpose, description=purpose.capitalize() + ".")
        if name == asked:
            importlib.import_module(f"onsave.cli.{name}").configure(sub)
    if asked not in COMMANDS:
        parser.parse_args(words)  # help, version, or what is wrong; does not return
        return 2
    arguments = parser.parse_args(words)
    try:
        return int(importlib.import_module(f"onsave.cli.{asked}").main(arguments))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough of it; without this, Python would complain at exit.
        sys.stdout = None
        return 141


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from onsave import __version__

        print(f"onsave {__version__}")
        parser.exit()
