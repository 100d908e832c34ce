"""Requests while the app is restarted: not one may fail.

``ONSAVE_LOAD_SAVES=200`` is the full measure; the default keeps the suite short.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from harness import SAMPLES, Load, Session

Start = Callable[..., Session]

SAVES = int(os.environ.get("ONSAVE_LOAD_SAVES", "20"))


@pytest.mark.slow
@pytest.mark.timeout(120 + 12 * SAVES)
@pytest.mark.parametrize("keep_alive", [False, True], ids=["a connection a request", "keep-alive"])
@pytest.mark.parametrize("app", SAMPLES)
def test_no_request_fails_while_files_are_saved(
    start: Start, app: str, keep_alive: bool, record_property: Callable[[str, object], None]
) -> None:
    """Good, broken and mended saves in random order, under four clients."""
    session = start(app)
    leaf = session.sample.leaf
    good = session.project.read(leaf.file)
    chance = random.Random(7)
    session.eventually(leaf)
    with Load(session.port, keep_alive=keep_alive) as load:
        for _ in range(SAVES):
            kind = chance.choice(["good", "good", "def half(\n", "nonsense_name\n"])
            if kind == "good":
                number = int(session.project.token(leaf).rpartition("-")[2]) + 1
                session.project.write(leaf.file, good.replace("-0", f"-{number}"))
            else:
                session.project.write(leaf.file, session.project.read(leaf.file) + kind)
            session.save(leaf.file)
            if kind == "good":
                session.eventually(leaf)
    print(f"{app}: {load}")
    record_property("load", str(load))
    assert load.failures == [], f"{load}\n" + "\n".join(load.failures[:10]) + session.story()
    assert load.requests > 20


@pytest.mark.parametrize("app", ["service", "gunicorn"])
def test_a_slow_start_beside_the_old_run_costs_nothing(start: Start, app: str) -> None:
    """Seconds of silence, as heavy imports have them, are no sign that the new run is up."""
    session = start(app)
    leaf = session.sample.leaf
    session.eventually(leaf)
    with Load(session.port, rate=40) as load:
        session.project.bump(leaf)
        text = session.project.read(leaf.file)
        session.project.write(leaf.file, f"import time\n\ntime.sleep(4)\n{text}")
        session.save(leaf.file)
        session.eventually(leaf)
    assert load.failures == [], f"{load}\n" + "\n".join(load.failures[:10])
    assert load.longest < 3, str(load)
