"""Idle: an app of 1,000 modules in a folder of 3,000 more files, nobody saving.

CPU, wake-ups (voluntary context switches), memory (proportional set size) and inotify watches of
all processes of each command, over the same seconds, all at once; the bare app is the floor.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import measure

from apps.wide import generate
from onsave.control import RunDirectory

SECONDS = float(os.environ.get("ONSAVE_BENCH_IDLE", "20"))

#: The same wide package, served by each framework.
FLASK = """
import importlib
from flask import Flask
for number in range(1000):
    importlib.import_module(f"wide.part{number // 100}.m{number}")
app = Flask(__name__)
@app.get("/pid")
def pid():
    return "0"
"""
ASGI = """
import importlib
for number in range(1000):
    importlib.import_module(f"wide.part{number // 100}.m{number}")
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"0"})
"""
DJANGO = """
import importlib
import sys
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path
for number in range(1000):
    importlib.import_module(f"wide.part{number // 100}.m{number}")
settings.configure(DEBUG=True, ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"])
urlpatterns = [path("pid", lambda request: HttpResponse("0"))]
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""

_FLASK = ("{python}", "-m", "flask", "--app", "flask_app", "run", "--port", "{port}")
_UVICORN = ("{python}", "-m", "uvicorn", "asgi_app:app", "--port", "{port}")
PEERS = {
    "Flask alone": _FLASK,
    "Flask, Werkzeug's stat reloader": (
        "{python}", "-c",
        "from flask_app import app; app.run(port={port}, use_reloader=True, reloader_type='stat')",
    ),
    "uvicorn alone": _UVICORN,
    "uvicorn --reload (watchfiles)": (*_UVICORN, "--reload"),
    "Django's runserver": ("{python}", "django_app.py", "runserver", "127.0.0.1:{port}"),
}  # fmt: skip


def table() -> str:
    head = ("what", "CPU %", "wake-ups a second", "memory, MiB", "inotify watches")
    with measure.scratch() as folder, contextlib.ExitStack() as stack:
        generate(folder / "wide", 1000, 3000)
        project = measure.Project(folder / "wide")
        for name, text in (("flask_app", FLASK), ("asgi_app", ASGI), ("django_app", DJANGO)):
            project.write(f"{name}.py", text)
        marks = {}
        for what, command in PEERS.items():
            port = measure.free_port()
            _, marks[what] = stack.enter_context(measure.bare(project, command, port))
            measure.until_answer(port, "/pid", bool)
        flask = stack.enter_context(measure.session_of(project, _FLASK, measure.free_port()))
        uvicorn = stack.enter_context(
            measure.session_of(project, _UVICORN, measure.free_port(), via="lsp")
        )
        marks["`onsave run flask`, no editor"] = flask.mark
        marks["`onsave run uvicorn` and `onsave lsp`"] = uvicorn.mark
        return measure.markdown(head, rows(marks, uvicorn.run_directory))


def rows(marks: dict[str, str], run_directory: Path) -> list[tuple[object, ...]]:
    groups = {what: measure.marked(mark) for what, mark in marks.items()}
    last = list(groups)[-1]
    own = [p for p in groups[last] if "onsave" in " ".join(p.cmdline()[:3])]
    servers = [entry.pid for entry in RunDirectory(run_directory).entries("server")]
    groups["of that: the session"] = [p for p in own if p.pid not in servers]
    groups["of that: the server"] = [p for p in own if p.pid in servers]
    time.sleep(2)  # what starting has left to do
    before = {what: (measure.cpu_seconds(g), measure.wakeups(g)) for what, g in groups.items()}
    began = time.monotonic()
    time.sleep(SECONDS)  # idle is what is measured
    took = time.monotonic() - began
    found = []
    for what, group in groups.items():
        cpu = (measure.cpu_seconds(group) - before[what][0]) / took * 100
        woken = (measure.wakeups(group) - before[what][1]) / took
        found.append(
            (what, f"{cpu:.2f}", f"{woken:.1f}", f"{measure.memory(group):.0f}",
             measure.watches(group))
        )  # fmt: skip
    return found
