"""Random saves, many: never a needless restart, never stale code.

``ONSAVE_RANDOM_SAVES=1000`` is the full measure; the default keeps the suite short.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from harness import SAMPLES, Session, Token

Start = Callable[..., Session]

SAVES = int(os.environ.get("ONSAVE_RANDOM_SAVES", "100"))


@pytest.mark.slow
@pytest.mark.timeout(120 + SAVES)
def test_saves_that_change_nothing_loaded_restart_nothing(start: Start) -> None:
    session = start("django", via="lsp")
    project, sample = session.project, session.sample
    session.eventually(sample.template)
    before = session.identity()
    chance = random.Random(1)
    python = sorted(p.relative_to(project.path) for p in project.path.rglob("*.py"))
    loaded = [sample.leaf.file, sample.main.file, sample.template.file, sample.data.file]
    loaded += [str(p) for p in python if p.name in ("urls.py", "apps.py", "manage.py", "models.py")]
    unloaded = [sample.unused, sample.test, sample.lazy.file]
    for number in range(SAVES):
        kind = chance.choice(["same", "touch", "unloaded", "new", "test", "text"])
        if kind in ("same", "touch"):
            name = chance.choice(loaded)
            if kind == "same":
                project.write(name, project.read(name), rename=chance.random() < 0.5)
            else:
                os.utime(project / name)
        elif kind in ("unloaded", "test"):
            name = chance.choice(unloaded)
            project.write(name, f"VALUE = {number}\n")
        elif kind == "new":
            name = f"catalog/new_{number}.py"
            project.write(name, "broken on purpose (\n")
        else:
            name = f"notes_{number % 7}.md"
            project.write(name, f"# {number}\n")
        verdict = session.save_one(name)
        assert verdict.action == "ignore", f"save {number}, {kind} {name}: {verdict}"
    assert session.identity() == before


@pytest.mark.slow
@pytest.mark.timeout(120 + 4 * SAVES)
@pytest.mark.parametrize("app", ["flask", "service"])
def test_after_each_save_the_new_code_answers(start: Start, app: str) -> None:
    """One after the other, in bursts, and while the app starts: old code never answers for long."""
    session = start(app)
    sample = session.sample
    chance = random.Random(2)
    tokens = [token for token in (sample.leaf, sample.main, sample.data) if token]
    saves = 0
    while saves < SAVES:
        burst = chance.choice([1, 1, 1, 2, 5])
        touched = set()
        for _ in range(burst):
            token: Token = chance.choice(tokens)
            touched.add(token)
            session.project.bump(token, rename=chance.random() < 0.3)
            session.tell(token.file)
            saves += 1
        if chance.random() < 0.3:
            continue  # the next burst falls into whatever goes on now
        for token in touched:
            session.eventually(token)
    for token in tokens:
        session.eventually(token)
    assert SAMPLES[app] is sample


@pytest.mark.slow
@pytest.mark.timeout(120 + 4 * SAVES)
@pytest.mark.parametrize("app", SAMPLES)
def test_good_broken_and_mended_saves_without_load(start: Start, app: str) -> None:
    """After every save the app answers, with the newest code that compiles and starts."""
    session = start(app)
    leaf = session.sample.leaf
    clean = session.project.read(leaf.file)
    live = session.project.token(leaf)
    chance = random.Random(3)
    for number in range(1, SAVES // 5 + 1):
        word = f"{leaf.name}-{number}"
        kind = chance.choice(["good", "good", "syntax", "name", "import"])
        line = {"syntax": "def half(\n", "name": "nonsense\n", "import": "import nonsense\n"}
        text = clean.replace(f"{leaf.name}-0", word) + line.get(kind, "")
        session.project.write(leaf.file, text)
        session.save(leaf.file)
        if kind == "good":
            live = word
        session.eventually(leaf, live)
