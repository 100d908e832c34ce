"""What the agent costs: start-up, imports, open().

    .venv/bin/python tests/benchmarks/agent_overhead.py [ROUNDS] [PYTHON …]

With and without the agent, alternately; medians, and the quotient of the medians, of the processor
time that the program took (other programs run here too, which wall-clock time would measure). On a
busy machine even that is worth little: where there is valgrind, the last column is the quotient of
the instructions, which are always the same. The session at the other end is one that merely reads.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "server"))

from onsave_agent import protocol

VALGRIND = shutil.which("valgrind")
BOOTSTRAP = Path(protocol.__file__).parent / "bootstrap"

MODULE = "".join(
    f"def f{n}(a, b=1):\n    '''Adds.'''\n    return a + b + {n}\n\n\nclass C{n}:\n    x = {n}\n\n"
    "    def method(self):\n        return self.x\n\n\n"
    for n in range(20)
)

OPEN = """
import sys, timeit
path = sys.argv[1]
if sys.argv[2:] == ["audit"]:
    sys.addaudithook(lambda event, arguments: event == "open" and None)
n = 3000
print(min(timeit.repeat(lambda: open(path, "rb").close(), number=n, repeat=7)) / n * 1e6)
print(min(timeit.repeat(lambda: id(n), number=100000, repeat=7)) / 100000 * 1e9)
"""


def listen(folder: Path) -> tuple[str, int]:
    """A session that reads and says nothing, in a process of its own."""
    path = str(folder / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(100)
    pid = os.fork()
    if not pid:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=swallow, args=(connection,), daemon=True).start()
    listener.close()
    return path, pid


def swallow(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        pass
    connection.close()


def environments(folder: Path, session: str) -> tuple[dict[str, str], dict[str, str]]:
    """Without and with the agent."""
    plain = {
        key: value for key, value in os.environ.items()
        if key not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED")
    }
    settings = {
        "socket": session, "token": "", "run": 1, "roots": [str(folder)], "ignore": [],
        "data": True, "edited": [], "pythonpath": None, "bootstrap": str(BOOTSTRAP),
        "held": False, "beside": False,
    }
    observed = {
        **plain, "PYTHONPATH": str(BOOTSTRAP), protocol.ENVIRONMENT_KEY: json.dumps(settings)
    }
    return plain, observed


def compare(name: str, command: list[str], folder: Path, both: tuple[dict[str, str], ...],
            rounds: int) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for environment, taken in zip(both, times, strict=True):
            begun = processor_ms()
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
            taken.append(processor_ms() - begun)
    # The first round writes bytecode.
    without, observed = (statistics.median(taken[1:]) for taken in times)
    counted = "–"
    if VALGRIND:
        bare, more = (instructions(command, folder, environment) for environment in both)
        counted = f"{more / bare:.3f}"
    print(f"| {name} | {without:.1f} | {observed:.1f} | {observed - without:+.1f} "
          f"| {observed / without:.3f} | {counted} |", flush=True)


def instructions(command: list[str], folder: Path, environment: dict[str, str]) -> int:
    """How many the program takes outside the kernel."""
    assert VALGRIND
    done = subprocess.run(
        [VALGRIND, "--tool=callgrind", f"--callgrind-out-file={os.devnull}", *command],
        cwd=folder, env={**environment, "PYTHONHASHSEED": "0"}, check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr[-2000:]
    return int(found[1])


def processor_ms() -> float:
    """Of the children that have ended, the only ones being those that are measured."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1000


def openings(python: str, folder: Path, both: tuple[dict[str, str], ...]) -> None:
    (folder / "inside.txt").write_text("")
    outside = Path(tempfile.mkstemp()[1])
    (folder / "opens.py").write_text(OPEN)
    cases = [
        ("plain", both[0], outside, []), ("audit hook", both[0], outside, ["audit"]),
        ("agent, outside the workspace", both[1], outside, []),
        ("agent, inside", both[1], folder / "inside.txt", []),
    ]
    for name, environment, path, more in cases:
        done = subprocess.run([python, "opens.py", str(path), *more], cwd=folder, env=environment,
                              check=True, capture_output=True, text=True)
        one, other = map(float, done.stdout.split())
        print(f"| {name} | {one:.2f} µs | {other:.0f} ns |", flush=True)
    outside.unlink()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    folder = Path(tempfile.mkdtemp()).resolve()
    package = folder / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for n in range(300):
        (package / f"module_{n}.py").write_text(MODULE)
    (folder / "wide.py").write_text("".join(f"import package.module_{n}\n" for n in range(300)))
    for path in folder.rglob("*.py"):
        os.utime(path, (time.time() - 1000,) * 2)
    session, pid = listen(folder)
    both = environments(folder, session)
    for python in map(os.path.abspath, sys.argv[2:] or [sys.executable]):
        done = subprocess.run([python, "-VV"], capture_output=True, text=True)
        version = re.sub(r" \(.*", "", done.stdout.strip(), flags=re.S)
        print(f"\n{version}\n\n| start of | without ms | with ms | more ms | × | instructions × |"
              "\n|-|-|-|-|-|-|")
        compare("python -c pass", [python, "-c", "pass"], folder, both, rounds)
        compare("300 own modules", [python, "wide.py"], folder, both, rounds)
        standard = "import asyncio, json, logging, http.server, sqlite3, unittest.mock, email.mime"
        compare("standard library", [python, "-c", standard], folder, both, rounds)
        if python == sys.executable:
            compare("flask", [python, "-c", "import flask"], folder, both, rounds)
            compare("django, fastapi", [python, "-c", "import fastapi, django.db.models"], folder,
                    both, rounds)
        print("\n| open() and id() | open | id |\n|-|-|-|")
        openings(python, folder, both)
    shutil.rmtree(folder)
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
