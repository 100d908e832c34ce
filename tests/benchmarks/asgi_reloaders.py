"""FastAPI under every reloader there is: from the save to the first right answer.

A constant of a module is changed, which no patch can make; in turn in a leaf and in the module that
has the app. Python 3.12, alternately. Everything but onsave watches the folder. uvicorn-hmr starts
nothing anew: it executes the module, and what imports it, once more in the process that runs.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time

import measure
from patch_in_place import filled_in, prepare
from snapshot_restarts import is_known

from harness import SAMPLES, Project, Session, until

ROUNDS = int(os.environ.get("ONSAVE_BENCH_RESTARTS", "7"))
APP = SAMPLES["fastapi"]
PLAIN = ("{python}", "-m", "uvicorn", "shop.main:app", "--port", "{port}")
COMMANDS = {
    "onsave": PLAIN,
    "onsave, two snapshots": PLAIN,
    "onsave, libraries": PLAIN,
    "onsave, cold": PLAIN,
    "uvicorn --reload": (*PLAIN, "--reload"),
    "granian --reload": ("{python}", "-m", "granian", "--interface", "asgi", "shop.main:app",
                         "--port", "{port}", "--reload"),
    "uvicorn-hmr": ("{hmr}", "shop.main:app", "--port", "{port}"),
}  # fmt: skip
SETTINGS = {
    "onsave": "true", "onsave, two snapshots": "2", "onsave, libraries": '"libraries"',
    "onsave, cold": "false",
}  # fmt: skip


def table() -> str:
    prepare()
    times: dict[tuple[str, str], list[float]] = {}
    sessions: dict[str, Session] = {}
    projects, ports = {}, {}
    with measure.scratch() as folder, contextlib.ExitStack() as stack:
        for number, (kind, command) in enumerate(COMMANDS.items()):
            projects[kind] = Project.of_sample(APP, folder / str(number) / "app")
            ports[kind] = measure.free_port()
            filled = filled_in(command)
            if kind in SETTINGS:
                projects[kind].write("onsave.toml", f"snapshots = {SETTINGS[kind]}\n")
                sessions[kind] = stack.enter_context(
                    measure.session_of(projects[kind], filled, ports[kind], APP)
                )
            else:
                stack.enter_context(measure.bare(projects[kind], filled, ports[kind]))
                measure.until_answer(ports[kind], APP.leaf.page, bool, 60)
        for edit, token in (("leaf", APP.leaf), ("app", APP.main)):
            for _ in range(ROUNDS):
                for kind, project in projects.items():
                    session = sessions.get(kind)
                    for other in sessions.values():  # so that none works while another is measured
                        until(lambda s=other: is_known(s), "a snapshot")
                    word = project.bump(token)
                    began = time.perf_counter()
                    if session is not None:
                        session.tell(token.file)
                    at = measure.until_answer(
                        ports[kind], token.page, lambda said, word=word: word in said, 20
                    )
                    if at is not None:
                        times.setdefault((kind, edit), []).append(at - began)
                    if session is not None:
                        session.settle()
                time.sleep(1.2)  # those that look at whole seconds get their chance
    head = ("", "leaf: ms", "app: ms", "onsave / it, leaf", "onsave / it, app")
    rows = []
    for kind in COMMANDS:
        found = [times.get((kind, edit), []) for edit in ("leaf", "app")]
        ratios = [
            measure.ratio(times.get(("onsave", edit), []), times.get((kind, edit), []))
            for edit in ("leaf", "app")
        ]
        shown = [
            f"{statistics.median(s) * 1000:.0f} ({len(s)} of {ROUNDS})" if s else "never"
            for s in found
        ]
        rows.append((kind, *shown, *ratios))
    return measure.markdown(head, rows)
