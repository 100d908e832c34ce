"""``make bench``: every benchmark of this folder in turn, one Markdown table each.

``python -m tests.benchmarks [NAME …]`` runs only those named. A benchmark is a module here with a
function ``table() -> str``.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import measure  # noqa: E402


def names() -> list[str]:
    files = sorted(HERE.glob("*.py"))
    return [file.stem for file in files if "\ndef table(" in file.read_text(encoding="utf-8")]


def main(wanted: list[str]) -> int:
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(names())}")
        return 2
    print(measure.machine(), flush=True)
    for name in wanted or names():
        module = importlib.import_module(name)
        began = time.monotonic()
        title = (module.__doc__ or name).strip().splitlines()[0].rstrip(".")
        print(f"\n### {title}\n", flush=True)
        print(module.table(), flush=True)
        print(f"\n({name}, {time.monotonic() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
