"""Many saves at once, at bad moments, faster than a clock's second: the last one is always live."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.wide import generate
from harness import SAMPLES, Project, Session, Token

Start = Callable[..., Session]

everywhere = pytest.mark.parametrize("app", SAMPLES)


@everywhere
def test_of_ten_saves_the_last_is_served_after_few_restarts(start: Start, app: str) -> None:
    session = start(app)
    leaf = session.sample.leaf
    before = session.run
    for _ in range(10):
        session.project.bump(leaf)
        session.tell(leaf.file)
        time.sleep(0.03)  # a person's or a formatter's pace: the pause is the scenario
    session.eventually(leaf)
    session.settle()
    assert session.run - before <= 6
    session.eventually(leaf)


@everywhere
def test_saves_while_the_app_starts(start: Start, app: str) -> None:
    session = start(app, wait=False)
    sample = session.sample
    for _ in range(20):
        for token in (sample.leaf, sample.main):
            session.project.bump(token)
            session.tell(token.file)
        if session.request("status")["state"] in ("ready", "running"):
            break
        time.sleep(random.uniform(0.01, 0.2))
    session.ready()
    session.eventually(sample.leaf)
    session.eventually(sample.main)


def test_a_save_just_before_the_session_can_hear_it(start: Start) -> None:
    """Saved after the app's process read the file, told before it said so: it must not be lost."""
    session = start("service", wait=False)
    session.until(lambda s: s.status["run"] >= 1, "the first run")
    for _ in range(5):
        session.project.bump(session.sample.leaf)
        session.save(session.sample.leaf.file, wait=False)
        time.sleep(0.04)
    session.ready()
    session.eventually(session.sample.leaf)


@pytest.mark.parametrize("app", ["service", "flask", "fastapi"])
def test_saves_of_one_size_within_one_second(start: Start, app: str) -> None:
    """A .pyc file is valid by whole seconds and size: each restart must see through that."""
    session = start(app)
    leaf = session.sample.leaf
    session.project.write(leaf.file, session.project.read(leaf.file).replace("-0", "-10"))
    for _ in range(12):
        session.bump(leaf)
        session.eventually(leaf)
    caches = list(session.project.path.rglob("__pycache__/*.pyc"))
    assert caches, "the app wrote no bytecode: this test would not see the race"


def test_three_hundred_files_on_disk_are_one_action(start: Start, tmp_path: Path) -> None:
    """A branch switch, as a client that watches files tells it."""
    generate(tmp_path / "wide", modules=400)
    project = Project(tmp_path / "wide")
    session = start(project, ["{python}", "main.py", "--port", "{port}"], via="lsp")
    before = session.run
    names = [f"wide/part{number // 100}/m{number}.py" for number in range(300)]
    for name in names:
        project.write(name, project.read(name) + "\nMORE = 1\n")
    project.replace("leaf.py", "token-0", "token-1")
    assert session.editor is not None
    session.editor.changed_on_disk(*(project / name for name in [*names, "leaf.py"]))
    session.eventually(Token("leaf.py", "token", "/token"))
    session.settle()
    assert session.run - before <= 2
    assert sum(verdict.action == "restart" for verdict in session.verdicts) >= 301
