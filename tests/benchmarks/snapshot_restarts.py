"""Restarts from a snapshot, and cold: the same edits to the same app, alternately.

From the save to the first right answer, of an edit at module level. The two sessions differ in
one setting; the one with snapshots is asked again only when its snapshot is ready, as it is when a
person edits. Memory: all of the session's processes but itself, PSS.
"""

from __future__ import annotations

import contextlib
import os
import time

import measure
import psutil

from harness import SAMPLES, Session, Token, until

ROUNDS = int(os.environ.get("ONSAVE_BENCH_RESTARTS", "7"))


def table() -> str:
    rows = []
    for name in SAMPLES:
        rows += of_sample(name)
    head = ("app", "edit", "cold, ms", "snapshot, ms", "ratio", "memory, MiB: cold, snapshot")
    return measure.markdown(head, rows)


def of_sample(name: str) -> list[tuple[str, ...]]:
    sample = SAMPLES[name]
    seconds: dict[tuple[str, bool], list[float]] = {}
    used: dict[bool, float] = {}
    with contextlib.ExitStack() as stack:
        sessions = {}
        for on in (False, True):
            folder = stack.enter_context(measure.scratch())
            project = measure.Project.of_sample(sample, folder / "app")
            setting = "snapshots = true\n" if on else "snapshots = false\n"
            project.write("onsave.toml", setting)
            sessions[on] = stack.enter_context(
                measure.session_of(project, sample.command, measure.free_port(), sample)
            )
        for number in range(ROUNDS):
            for edit, token in (("leaf", sample.leaf), ("main", sample.main)):
                until(lambda: is_ready(sessions[True]), "the snapshot is ready")
                for on in (False, True) if number % 2 else (True, False):
                    seconds.setdefault((edit, on), []).append(restart(sessions[on], token))
        until(lambda: is_ready(sessions[True]), "the snapshot is ready")
        for on, session in sessions.items():
            assert (session.stderr.count("from a snapshot") > 0) is on, session.stderr
            used[on] = measure.memory(psutil.Process(session.process.pid).children(True))
    memory = f"{used[False]:.0f}, {used[True]:.0f}"
    return [
        (name, edit, measure.milliseconds(seconds[edit, False]),
         measure.milliseconds(seconds[edit, True]),
         measure.ratio(seconds[edit, True], seconds[edit, False]), memory)
        for edit in ("leaf", "main")
    ]  # fmt: skip


def is_ready(session: Session) -> bool:
    found = session.request("status")["snapshots"]
    return bool(found["ready"] and len(found["processes"]) == 1)


def restart(session: Session, token: Token) -> float:
    """Seconds from the save to the answer with the new token."""
    text = session.project.read(token.file)
    session.project.write(token.file, text + "\nMORE = 1\n")
    word = session.project.bump(token)
    began = time.perf_counter()
    session.tell(token.file)
    answered = measure.until_answer(session.port, token.page, lambda said: word in said)
    assert answered is not None
    session.settle()
    return answered - began
