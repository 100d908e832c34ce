"""``onsave editor``: the configuration for an editor."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from onsave import editors


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print the configuration for an editor; the text says where it belongs. VS Code has an "
        "extension instead."
    )
    names = ", ".join(editors.FILES)
    parser.add_argument("name", metavar="NAME", choices=editors.FILES, help=names)


def main(args: argparse.Namespace) -> int:
    print(editors.text(args.name, _command()), end="")
    return 0


def _command() -> str:
    """How an editor is to call us: by name if that means this very program, else by its path:
    an editor is seldom started in the virtual environment that we are installed in."""
    here = Path(sys.argv[0])
    found = shutil.which("onsave")
    if found and here.exists() and Path(found).samefile(here):
        return "onsave"
    return str(here.absolute()) if here.name.startswith("onsave") else "onsave"
