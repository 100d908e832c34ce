"""From the save of a leaf module to the first new answer, beside the frameworks' reloaders.

Alternately, one save of each in turn. "cold" is the framework's own server, killed and started by
hand: what a restart costs at least.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable

import measure

ROUNDS = int(os.environ.get("ONSAVE_BENCH_SAVES", "7"))

#: For each sample: the command of its framework's own reloader.
PEERS = {
    "flask": ("flask run --debug", ("{python}", "-m", "flask", "--app", "shop", "run", "--debug",
                                    "--port", "{port}")),
    "django": ("manage.py runserver", measure.SAMPLES["django"].command),
    "fastapi": ("uvicorn --reload", (*measure.SAMPLES["fastapi"].command, "--reload")),
    "gunicorn": ("gunicorn --reload", (*measure.SAMPLES["gunicorn"].command, "--reload")),
}  # fmt: skip


def table() -> str:
    head = ("app", "cold restart: s", "its own reloader: s", "onsave: s", "onsave / cold",
            "onsave / reloader")  # fmt: skip
    return measure.markdown(head, [row(app) for app in PEERS])


def row(app: str) -> tuple[object, ...]:
    sample = measure.SAMPLES[app]
    name, command = PEERS[app]
    times: dict[str, list[float]] = {"cold": [], "peer": [], "onsave": []}
    with measure.scratch() as folder, contextlib.ExitStack() as stack:
        projects = {k: measure.Project.of_sample(sample, folder / k / "app") for k in times}
        ports = {k: measure.free_port() for k in times}
        stack.enter_context(measure.bare(projects["peer"], command, ports["peer"]))
        measure.until_answer(ports["peer"], sample.leaf.page, bool)
        session = stack.enter_context(
            measure.session_of(projects["onsave"], sample.command, ports["onsave"], sample)
        )
        for _ in range(ROUNDS):
            for kind in times:
                word = projects[kind].bump(sample.leaf)
                began = time.perf_counter()
                if kind == "cold":
                    seconds = cold(projects[kind], sample, ports[kind], word)
                else:
                    if kind == "onsave":
                        session.tell(sample.leaf.file)
                    at = measure.until_answer(ports[kind], sample.leaf.page, has(word), 30)
                    seconds = at - began if at else None
                if seconds is not None:
                    times[kind].append(seconds)
            time.sleep(1.2)  # the reloaders that miss saves within a second get their chance
    shown = [f"{statistics.median(t):.2f}" if t else "never" for t in times.values()]
    lost = ROUNDS - len(times["peer"])
    return (
        app,
        shown[0],
        f"{shown[1]} ({name}{f', {lost} of {ROUNDS} never served' if lost else ''})",
        shown[2],
        measure.ratio(times["onsave"], times["cold"]),
        measure.ratio(times["onsave"], times["peer"]),
    )


def has(word: str) -> Callable[[str], bool]:
    return lambda said: word in said


def cold(
    project: measure.Project, sample: measure.Sample, port: int, word: str
) -> float | None:
    command = (*sample.command, "--noreload") if sample.name == "django" else sample.command
    began = time.perf_counter()
    with measure.bare(project, command, port):
        at = measure.until_answer(port, sample.leaf.page, has(word))
    return at - began if at else None
