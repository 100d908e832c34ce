"""Generates an app of many modules in a workspace of many more files.

``python wide.py FOLDER --modules N --files M``
"""

from __future__ import annotations

import argparse
from pathlib import Path

MAIN = '''\
"""Imports every module of the package ``wide``, then answers."""

import argparse
import importlib
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import leaf

for number in range({modules}):
    importlib.import_module(f"wide.part{{number // 100}}.m{{number}}")

PAGES = {{"/pid": lambda: str(os.getpid()), "/token": lambda: leaf.token()}}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = PAGES[self.path]().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
'''

LEAF = '''\
TOKEN = "token-0"


def token():
    return TOKEN
'''

MODULE = '''\
"""Module {number} of many."""

NUMBER = {number}


class Thing{number}:
    def method(self, value):
        return value + NUMBER


def function(first, second={number}):
    return [first, second, NUMBER]
'''


def generate(folder: Path, modules: int, files: int = 0) -> None:
    """Write ``main.py``, ``leaf.py``, so many modules, and so many files that nobody loads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(MAIN.format(modules=modules))
    (folder / "leaf.py").write_text(LEAF)
    (folder / "unused.py").write_text("UNUSED = 0\n")
    for number in range(modules):
        package = folder / "wide" / f"part{number // 100}"
        if number % 100 == 0:
            package.mkdir(parents=True, exist_ok=True)
            (package / "__init__.py").touch()
        (package / f"m{number}.py").write_text(MODULE.format(number=number))
    (folder / "wide").mkdir(exist_ok=True)
    (folder / "wide" / "__init__.py").touch()
    for number in range(files):
        other = folder / "other" / f"d{number // 1000}" / f"e{number % 1000 // 50}"
        if number % 50 == 0:
            other.mkdir(parents=True, exist_ok=True)
        (other / f"f{number}.py").write_text("NOTHING = 0\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--modules", type=int, default=1000)
    parser.add_argument("--files", type=int, default=0)
    options = parser.parse_args()
    generate(options.folder, options.modules, options.files)
