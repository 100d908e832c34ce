"""Patches in place, end to end: a real session, real frameworks, and the app says what it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness import SAMPLES, Project, Session, Token

Start = Callable[..., Session]

#: A word in the body of a function that runs in requests only.
BODIES = {
    "flask": Token("shop/views.py", "greeting", "/greeting"),
    "gunicorn": Token("shop/views.py", "greeting", "/greeting"),
    "django": Token("catalog/views.py", "greeting", "/greeting"),
    "fastapi": Token("shop/main.py", "greeting", "/greeting"),
    "service": Token("service.py", "greeting", "/greeting"),
}


@pytest.fixture(params=BODIES)
def session(request: pytest.FixtureRequest, start: Start) -> Session:
    session: Session = start(request.param)
    assert session.sample
    session.eventually(BODIES[session.sample.name])
    # A worker that is still starting would load what is saved, and run another version.
    pids: set[int] = set()
    session.until(
        lambda s: pids.add(s.pid()) or len(pids) == session.sample.workers, "all workers serve"
    )
    return session


def body(session: Session) -> Token:
    assert session.sample
    return BODIES[session.sample.name]


def test_a_functions_body_is_live_in_the_same_process(session: Session) -> None:
    token = body(session)
    session.eventually(token)
    before = session.identity()
    for _ in range(5):
        verdict = session.bump(token)
        assert verdict.action == "patch", f"{verdict}\n{session.story()}"
        assert "greeting" in verdict.reason
        assert session.eventually(token)
        session.settle()
    assert session.last_verdict(token.file).action == "patch", session.story()
    assert session.identity() == before


def test_a_comment_restarts_nothing(session: Session) -> None:
    token = body(session)
    session.eventually(token)
    before = session.identity()
    text = session.project.read(token.file)
    session.project.write(token.file, "# A comment.\n\n" + text)
    verdict = session.save_one(token.file)
    assert (verdict.action, verdict.reason) == ("patch", "same code at other lines")
    session.settle()
    assert session.last_verdict(token.file).action == "patch", session.story()
    assert session.identity() == before
    session.bump(token)
    session.eventually(token)
    session.project.write(token.file, text)  # back to the very first
    session.save_one(token.file)
    session.eventually(token)
    assert session.identity() == before


def test_a_constant_restarts_and_the_next_body_is_patched(session: Session) -> None:
    token = body(session)
    assert session.sample
    session.eventually(token)
    before = session.identity()
    session.bump(session.sample.main)
    session.eventually(session.sample.main)
    session.settle()
    between = session.identity()
    # Not "+ 1": a run that was resumed from a snapshot may be given up for a cold one.
    assert between[0] > before[0], session.story()
    session.bump(token)
    session.eventually(token)
    session.settle()
    assert session.last_verdict(token.file).action == "patch", session.story()
    assert session.identity() == between


def test_an_afternoon_of_edits_without_a_restart(start: Start) -> None:
    """Helpers come, get other names and go, with what they import."""
    session = start("flask")
    token = BODIES["flask"]
    session.eventually(token)
    before = session.identity()
    first = session.project.read(token.file)
    edits = [
        ("import os\n", '"""The pages."""\n\nimport json\nimport os\n'),
        ("def greeting():", "def shouted(word):\n    return json.dumps(word)\n\n\ndef greeting():"),
        ('return "greeting-0"', 'return shouted("greeting-1")'),
        ("shouted", "louder"),
        ("def louder(word):", "def louder(word: str, times: int = 1) -> str:"),
        ("return json.dumps(word)", "return os.path.join(word) * times"),
        ("import json\nimport os\n", "import os\n"),
        ("import os\n", "from typing import TYPE_CHECKING\nimport os\n"),
        ("blueprint = ", "if TYPE_CHECKING:\n    from nothing import Word\n\nblueprint = "),
        ("greeting-1", "greeting-2"),
    ]
    for old, new in edits:
        text = session.project.read(token.file)
        assert old in text
        session.project.write(token.file, text.replace(old, new))
        session.save_one(token.file)
        session.settle()
        verdict = session.last_verdict(token.file)
        assert verdict.action == "patch", f"{old} → {new}: {verdict}\n{session.story()}"
    assert session.eventually(token, "greeting-2")
    assert session.identity() == before
    session.project.write(token.file, first)
    session.save_one(token.file)
    session.settle()
    assert session.last_verdict(token.file).action == "patch", session.story()
    assert session.eventually(token, "greeting-0")
    assert session.identity() == before


def test_a_restart_after_patches_has_all_of_them(session: Session) -> None:
    """From a snapshot too: one that was made before the patch has the old body."""
    token = body(session)
    assert session.sample
    for _ in range(2):
        session.bump(token)
        session.eventually(token)
        session.settle()
        session.bump(session.sample.leaf)
        session.eventually(session.sample.leaf)
        session.settle()
        assert session.eventually(token), session.story()
        assert session.eventually(session.sample.leaf)


def test_what_ran_at_start_up_restarts(start: Start) -> None:
    session = start("flask")
    before = session.identity()
    session.project.replace("shop/__init__.py", "app = Flask(__name__)", "app = Flask('shop')")
    session.save_one("shop/__init__.py")
    session.until(lambda s: s.identity()[0] > before[0], "a restart")
    session.settle()
    verdict = session.last_verdict("shop/__init__.py")
    assert verdict.action == "restart"
    lines = session.project.read("shop/__init__.py").splitlines()
    line = 1 + next(n for n, text in enumerate(lines) if text.startswith("def create_app"))
    assert verdict.reason == f"create_app ran at start-up (__init__.py:{line})"


def test_a_function_that_is_declared_hot_is_patched_although_it_ran(
    start: Start, project: Callable[[str], Project]
) -> None:
    copy = project("flask")
    copy.write("onsave.toml", 'hot = ["shop:create_*"]\n')
    session = start(copy, SAMPLES["flask"].command, sample=SAMPLES["flask"])
    before = session.identity()
    path = session.path("shop/__init__.py")
    functions = session.request("why", path=path)["functions"]
    assert ["create_app", "patch", "declared hot"] in functions
    copy.replace("shop/__init__.py", "app = Flask(__name__)", "app = Flask('shop')")
    assert session.save_one("shop/__init__.py").action == "patch"
    session.settle()
    assert session.last_verdict("shop/__init__.py").action == "patch", session.story()
    assert session.identity() == before


def test_the_very_first_save_is_compared_with_what_runs(start: Start) -> None:
    """What was loaded is read while the app starts: nothing has to be awaited after it."""
    session = start("fastapi", wait=False)
    session.until_state("ready")
    verdict = session.bump(BODIES["fastapi"])
    assert verdict.action == "patch", session.story()


def test_the_samples_all_have_a_body() -> None:
    assert set(BODIES) == set(SAMPLES)
    assert Project
