"""``onsave lsp``: the language server."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "The language server: tells running apps what the editor saves, and the editor what came "
        "of it. Editors start it themselves; `onsave editor NAME` prints how to tell them to."
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stdio", action="store_true", help="speak on stdin and stdout (the default)")
    how.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        type=_address,
        help="wait for one editor on a loopback address; port 0 chooses one and tells it",
    )


def main(args: argparse.Namespace) -> int:
    # Half a second of imports, which `onsave saved` need not pay.
    from onsave.lsp import server, transport

    if args.tcp is None:
        if sys.stdin.isatty():
            print("onsave: this speaks LSP; editors start it (onsave editor NAME)", file=sys.stderr)
        source, write = transport.take_stdio()
    else:
        try:
            source, write = transport.listen_tcp(*args.tcp)
        except OSError as error:
            host, port = args.tcp
            print(f"onsave: can't listen on {host}:{port}: {error.strerror}", file=sys.stderr)
            return 1
    code = server.main(source, write)
    sys.stderr.flush()
    os._exit(code)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        if not colon or not ipaddress.ip_address(host).is_loopback:
            raise ValueError
        number = int(port)
        if not 0 <= number <= 65535:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a loopback address and a port, such as 127.0.0.1:2087"
        ) from None
    return host, number
