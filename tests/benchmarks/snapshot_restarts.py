"""Restarts from a snapshot, cold, and by the frameworks' own reloaders.

From the save to the first right answer, of an edit at module level that no patch can make: the
same edits, alternately. A file is edited several times in a row, as people do; whoever has
snapshots is asked again when that is ready. Memory: all of the session's processes but itself, PSS.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from pathlib import Path

import measure
import psutil
from save_to_response import PEERS

from harness import SAMPLES, Project, Sample, Session, Token, server, until

ROUNDS = int(os.environ.get("ONSAVE_BENCH_RESTARTS", "5"))
#: The settings of ``snapshots``; "peer": the framework's own reloader, without us.
KINDS = ("false", "true", '"libraries"', "peer")

#: An app with a start of some weight: 300 modules of its own, and libraries that are not small.
SERVER = server(
    "import numpy, sqlalchemy.orm, django.db.models\n"
    "for number in range(300):\n"
    "    __import__('own.m%d' % number)\n"
    "from own import middle, leaf",
    leaf="leaf.WORD", middle="middle.WORD",
)  # fmt: skip
BIG = Sample(
    name="big", folder="", command=("{python}", "app.py", "{port}"),
    leaf=Token("own/leaf.py", "leaf", "/leaf"), main=Token("own/middle.py", "middle", "/middle"),
    unused="", lazy=Token("", "", ""),
)  # fmt: skip


def big(folder: Path) -> Project:
    folder.mkdir(parents=True)
    project = Project(folder)
    project.write("app.py", SERVER)
    project.write("own/__init__.py", "")
    project.write("own/leaf.py", "import own.middle\nWORD = 'leaf-0'\n")
    project.write("own/middle.py", "import own.m0, fastapi\nWORD = 'middle-0'\n")
    for number in range(300):
        text = "".join(f"def f{n}(x):\n    return x + {n}\n" for n in range(20))
        project.write(f"own/m{number}.py", f"import json, re\n{text}")
    return project


def table() -> str:
    rows = []
    for sample in (*SAMPLES.values(), BIG):
        rows += of_sample(sample)
    head = ("app", "edit", "cold: ms", "snapshot: ms", "with libraries: ms", "its own reloader: ms",
            "snapshot / cold", "libraries / cold", "snapshot / reloader",
            "memory: MiB, cold / snapshot / libraries")  # fmt: skip
    return measure.markdown(head, rows)


def of_sample(sample: Sample) -> list[tuple[str, ...]]:
    seconds: dict[tuple[str, str], list[float]] = {}
    used: dict[str, float] = {}
    sessions: dict[str, Session] = {}
    projects: dict[str, Project] = {}
    ports: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        for kind in KINDS:
            if kind == "peer" and sample.name not in PEERS:
                continue
            folder = stack.enter_context(measure.scratch()) / "app"
            project = big(folder) if sample is BIG else Project.of_sample(sample, folder)
            projects[kind], ports[kind] = project, measure.free_port()
            if kind == "peer":
                stack.enter_context(measure.bare(project, PEERS[sample.name][1], ports[kind]))
                measure.until_answer(ports[kind], sample.leaf.page, bool)
                continue
            project.write("onsave.toml", f"snapshots = {kind}\n")
            sessions[kind] = stack.enter_context(
                measure.session_of(project, sample.command, ports[kind], sample)
            )
        for edit, token in (("leaf", sample.leaf), ("main", sample.main)):
            for number in range(ROUNDS):
                for kind in list(projects)[:: 1 if number % 2 else -1]:
                    for session in sessions.values():  # none works while another is measured
                        until(lambda session=session: is_known(session), "a snapshot")
                    took = restart(projects[kind], sessions.get(kind), ports[kind], token)
                    if took is not None:
                        seconds.setdefault((edit, kind), []).append(took)
                time.sleep(1.2)  # the reloaders that miss saves within a second get their chance
        for kind, session in sessions.items():
            until(lambda session=session: is_known(session), "a snapshot")
            used[kind] = measure.memory(psutil.Process(session.process.pid).children(True))
    memory = " / ".join(f"{used[kind]:.0f}" for kind in KINDS if kind in used)
    return [
        (sample.name, edit, *(middle(seconds.get((edit, kind), [])) for kind in KINDS),
         *(measure.ratio(seconds.get((edit, one), []), seconds.get((edit, other), []))
           for one, other in (("true", "false"), ('"libraries"', "false"), ("true", "peer"))),
         memory)
        for edit in ("leaf", "main")
    ]  # fmt: skip


def middle(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f}" if seconds else "–"


def is_known(session: Session) -> bool:
    """Whether nothing is under way in the background."""
    found = session.request("status")["snapshots"]
    if "off in the configuration" in found["reason"] and not found["ready"]:
        return True
    states = [process["state"] for process in found["processes"]]
    return found["ready"] and set(states) == {"ready"}


def restart(project: Project, session: Session | None, port: int, token: Token) -> float | None:
    """Seconds from the save to the answer with the new token."""
    project.write(token.file, project.read(token.file) + "\nMORE = 1\n")
    word = project.bump(token)
    began = time.perf_counter()
    if session is not None:
        session.tell(token.file)
    answered = measure.until_answer(port, token.page, lambda said: word in said, 30)
    if session is not None:
        session.settle()
    return answered - began if answered is not None else None
