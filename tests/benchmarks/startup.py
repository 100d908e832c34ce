"""Start-up: with and without the agent, and how long ``onsave run`` takes to get to the app.

Alternately. CPU is what the app's own process has used until it answered its first request; the
last columns are from the shell's exec of ``onsave run`` to the first line of the app's interpreter.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import measure

from harness.session import environment

ROUNDS = int(os.environ.get("ONSAVE_BENCH_STARTS", "9"))
APPS = ("service", "flask", "django", "fastapi")


def table() -> str:
    head = ("app", "alone: s of CPU", "with the agent: s of CPU", "ratio", "of minima")
    rows = []
    for app in APPS:
        alone, beneath = compared(app)
        rows.append(
            (app, f"{statistics.median(alone):.3f}", f"{statistics.median(beneath):.3f}",
             measure.ratio(beneath, alone), measure.ratio([min(beneath)], [min(alone)]))
        )  # fmt: skip
    own = measure.markdown(
        ("", "median (worst), ms"),
        [
            ("`onsave run` until the app's interpreter runs its first line", first_line(True)),
            ("the same interpreter, started by itself", first_line(False)),
        ],
    )
    return measure.markdown(head, rows) + "\n\n" + own


def compared(app: str) -> tuple[list[float], list[float]]:
    """Seconds of CPU of the app's process at its first answer: alone, and with the agent."""
    sample = measure.SAMPLES[app]
    alone: list[float] = []
    beneath: list[float] = []
    with measure.scratch() as folder:
        project = measure.Project.of_sample(sample, folder / "app")
        for number in range(ROUNDS + 1):
            port = measure.free_port()
            with measure.bare(project, (*sample.command, *no_reloader(app)), port) as (process, _):
                measure.until_answer(port, "/pid", bool)
                spent = measure.cpu_seconds([measure.psutil.Process(process.pid)])
            if number:  # the first round writes the bytecode
                alone.append(spent)
            port = measure.free_port()
            with measure.session_of(project, sample.command, port, sample) as session:
                pid = int(session.ask("/pid"))
                spent = measure.cpu_seconds([measure.psutil.Process(pid)])
            if number:
                beneath.append(spent)
    return alone, beneath


def no_reloader(app: str) -> tuple[str, ...]:
    return ("--noreload",) if app == "django" else ()


def first_line(under_us: bool) -> str:
    """Milliseconds until a script's first line runs."""
    times = []
    with measure.scratch() as folder:
        script = folder / "first.py"
        script.write_text("import time\nprint(time.time(), flush=True)\n")
        command = [sys.executable, str(script)]
        if under_us:
            command = [measure.ONSAVE, "run", "--once", "--", *command]
        for _ in range(ROUNDS + 1):
            began = time.time()
            done = subprocess.run(
                command, cwd=folder, env=environment(folder / "run", "bench"),
                capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            times.append(float(done.stdout.split()[0]) - began)
    return measure.milliseconds(times[1:])
