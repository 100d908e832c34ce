"""From the save of a handler's body to the first new answer, in an app of some 1,500 modules.

Under Python 3.12, alternately, one save of each in turn: onsave (a patch), uvicorn-hmr, jurigged,
and a cold restart by hand. Then the throughput with and without the agent, patched and not.

What is compared with is installed into .cache/patch-bench; without it only onsave is measured.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import measure

from harness import Token

ROUNDS = int(os.environ.get("ONSAVE_BENCH_SAVES", "9"))
BATCHES = int(os.environ.get("ONSAVE_BENCH_BATCHES", "21"))
PYTHON = Path(__file__).parents[2] / ".cache" / "bench-tools" / "bin" / "python"
PACKAGES = [
    "uvicorn", "uvicorn-hmr", "jurigged", "fastapi", "sqlalchemy", "django", "granian[reload]",
    "watchfiles", "websockets",
]  # fmt: skip

MAIN = """
import importlib
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
import django.contrib.admin.options, django.views.generic, sqlalchemy.orm, unittest.mock
import wide, views

app = FastAPI(default_response_class=PlainTextResponse)
app.include_router(views.router)
"""
DJANGO = "from django.conf import settings\nsettings.configured or settings.configure()\n"

VIEWS = """
import os, sys
from fastapi import APIRouter

router = APIRouter()

@router.get("/word")
async def word():
    return "word-0"

@router.get("/modules")
async def modules():
    return str(len(sys.modules))

@router.get("/pid")
async def pid():
    return str(os.getpid())
"""
#: One more of the project's own files, 700 of them.
PART = """
RATE = {n}
class Part{n}:
    def total(self, x):
        return x * RATE + {n}
def helper{n}(x):
    return Part{n}().total(x)
"""

COMMANDS = {
    "cold": ("{python}", "-m", "uvicorn", "main:app", "--port", "{port}"),
    "uvicorn-hmr": ("{hmr}", "main:app", "--port", "{port}"),
    "jurigged": ("{python}", "-m", "jurigged", "-m", "uvicorn", "main:app", "--port", "{port}"),
    "onsave": ("{python}", "-m", "uvicorn", "main:app", "--port", "{port}"),
}
WORD = Token("views.py", "word", "/word")


def table() -> str:
    prepare()
    with measure.scratch() as folder, contextlib.ExitStack() as stack:
        projects, ports = {}, {}
        session = None
        for kind, command in COMMANDS.items():
            projects[kind] = project(folder / kind)
            ports[kind] = measure.free_port()
            filled = filled_in(command)
            if kind == "onsave":
                session = stack.enter_context(
                    measure.session_of(projects[kind], filled, ports[kind])
                )
            elif kind != "cold":
                stack.enter_context(measure.bare(projects[kind], filled, ports[kind]))
                measure.until_answer(ports[kind], "/word", bool, 60)
        assert session is not None
        times = rounds(projects, ports, session)
        modules = measure.ask(ports["onsave"], "/modules")
        verdict = session.last_verdict("views.py")
        rates = throughput(projects, ports)
    lines = [f"{modules} modules; the last verdict of onsave: {verdict}\n"]
    head = ("", "median: ms", "worst: ms", "onsave / it")
    own = measure.statistics.median(times["onsave"]) if times["onsave"] else 0
    body = []
    for kind, found in times.items():
        if found:
            median = measure.statistics.median(found)
            body.append((kind, f"{median * 1e3:.1f}", f"{max(found) * 1e3:.1f}",
                         f"{own / median:.3f}"))  # fmt: skip
        else:
            body.append((kind, "never served it", "", ""))
    lines.append(measure.markdown(head, body))
    head = ("requests", "per second", "µs of CPU each")
    lines.append("\n" + measure.markdown(head, rates))
    return "\n".join(lines)


def prepare() -> None:
    """The environment that the tools have in common; its name changes with what is in it."""
    if not PYTHON.exists():
        python = next(Path.home().glob(".pyenv/versions/3.12*/bin/python"), Path(sys.executable))
        folder = PYTHON.parents[1]
        subprocess.run([python, "-m", "venv", folder], check=True)
        subprocess.run([PYTHON, "-m", "pip", "install", "-q", *PACKAGES], check=True)


def filled_in(command: tuple[str, ...]) -> list[str]:
    hmr = str(PYTHON.with_name("uvicorn-hmr"))
    return [part.replace("{python}", str(PYTHON)).replace("{hmr}", hmr) for part in command]


def project(folder: Path) -> measure.Project:
    made = measure.Project(folder)
    made.write("main.py", DJANGO + MAIN)
    made.write("views.py", VIEWS)
    names = "".join(f"import wide.part{n}\n" for n in range(700))
    made.write("wide/__init__.py", names)
    for n in range(700):
        made.write(f"wide/part{n}.py", PART.format(n=n))
    return made


def rounds(
    projects: dict[str, measure.Project], ports: dict[str, int], session: measure.Session
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {kind: [] for kind in COMMANDS}
    for number in range(1, ROUNDS + 1):
        for kind, where in projects.items():
            word = f"word-{number}"
            text = where.read("views.py")
            began = time.perf_counter()
            where.write("views.py", re.sub(r"word-\d+", word, text))
            patience = 20.0
            if kind == "cold":
                command = filled_in(COMMANDS["cold"])
                with measure.bare(where, command, ports[kind]):
                    at = measure.until_answer(ports[kind], "/word", word.__eq__, patience)
            else:
                if kind == "onsave":
                    session.tell("views.py")
                at = measure.until_answer(ports[kind], "/word", word.__eq__, patience)
            if at is not None:
                times[kind].append(at - began)
        time.sleep(1.0)
    return times


def throughput(
    projects: dict[str, measure.Project], ports: dict[str, int]
) -> list[tuple[str, ...]]:
    """The same requests in turn: to the app alone, and to the one that has been patched."""
    command = filled_in(COMMANDS["cold"])
    with (
        fresh_session(projects["cold"]) as (unpatched, port),
        measure.bare(projects["cold"], command, ports["cold"]),
    ):
        assert unpatched
        measure.until_answer(ports["cold"], "/word", bool, 60)
        targets = {
            "without the agent": ports["cold"],
            "with the agent": port,
            f"with the agent, after {ROUNDS} patches": ports["onsave"],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in targets}
        for _ in range(BATCHES):
            for name, at in targets.items():
                found[name].append(costs(at))
    medians = {
        name: [measure.statistics.median(each) for each in zip(*batches, strict=True)]
        for name, batches in found.items()
    }
    rate, spent = medians["without the agent"]
    return [
        (name, f"{own_rate:.0f} (×{own_rate / rate:.3f})", f"{own:.1f} (×{own / spent:.3f})")
        for name, (own_rate, own) in medians.items()
    ]


@contextlib.contextmanager
def fresh_session(where: measure.Project) -> Iterator[tuple[measure.Session, int]]:
    port = measure.free_port()
    filled = filled_in(COMMANDS["onsave"])
    with measure.session_of(where, filled, port) as session:
        yield session, port


def costs(port: int, count: int = 1000) -> tuple[float, float]:
    """Requests a second over one connection that is kept open, and the app's µs of CPU for each."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def get(page: str) -> str:
        connection.request("GET", page)
        return connection.getresponse().read().decode()

    app = [measure.psutil.Process(int(get("/pid")))]
    spent, began = measure.cpu_seconds(app), time.perf_counter()
    for _ in range(count):
        get("/word")
    seconds = time.perf_counter() - began
    spent = measure.cpu_seconds(app) - spent
    connection.close()
    return count / seconds, spent / count * 1e6
