"""Patched or fresh: nobody can tell. The test that can't be fooled.

Random programs are edited at random. After each save, the process that was patched and a fresh one
started on the same files are asked the same questions, and all that their modules are is compared,
down to the columns of the bytecode: they agree, or the verdict was a restart. How many edits were
patched is reported and has to be a fair share, as "restart always" would agree too.

ONSAVE_EXAMPLES=5000 for a long run; each example is a program with up to four edits.
"""

from __future__ import annotations

import ast
import difflib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from patchable import App, Zygote, name
from programs import AFTER_READY, QUESTIONS, Program, edited, programs

EXAMPLES = int(os.environ.get("ONSAVE_EXAMPLES", "60"))


@pytest.fixture(scope="module")
def tally(zygote: Zygote) -> Iterator[Counter[tuple[str, str]]]:
    counted: Counter[tuple[str, str]] = Counter()
    yield counted
    print(f"\n{name(zygote.python)}: " + summary(counted))


def summary(tally: Counter[tuple[str, str]]) -> str:
    patched = sum(n for (_, verdict), n in tally.items() if verdict in ("patched", "same"))
    lines = [f"{patched} of {sum(tally.values())} edits patched"]
    for edit in sorted({edit for edit, _ in tally}):
        verdicts = Counter({v: n for (e, v), n in tally.items() if e == edit})
        lines.append(f"  {edit}: " + ", ".join(f"{v} {n}" for v, n in verdicts.most_common(6)))
    return "\n".join(lines)


def fresh(zygote: Zygote, program: Program, keep: bool) -> tuple[App, tempfile.TemporaryDirectory]:
    folder = tempfile.TemporaryDirectory(prefix="onsave-differential-")
    sources = {**program.sources(), "helper2.py": "X = 1\n", "start.py": "import app\n"}
    app = App(zygote, Path(folder.name), sources, start=False)
    return app, folder


def begin(app: App, keep: bool) -> bool:
    """Start, and do what requests would do. False where the program fails at start-up."""
    try:
        app.start("start", asked="app")
    except AssertionError as error:
        assert "Traceback" in str(error), error
        return False
    app.run(f"KEEP = {keep}" + AFTER_READY)
    return True


def state(app: App) -> object:
    answers = [ast.literal_eval(answer) for answer in app.ask(*QUESTIONS)]
    return [answers, app.fingerprint("app", "helper")]


@pytest.mark.timeout(0)  # ONSAVE_EXAMPLES says how long
def test_a_patched_process_is_like_a_fresh_one(zygote, tally):
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )
    @given(programs(), st.booleans(), st.data())
    def agree(program: Program, keep: bool, data: st.DataObject) -> None:
        app, folder = fresh(zygote, program, keep)
        others = [(app, folder)]
        try:
            if not begin(app, keep):
                return
            state(app)  # requests, before the first edit
            history = [program]
            for _ in range(data.draw(st.integers(1, 4))):
                if len(history) > 1 and data.draw(st.integers(0, 5)) == 0:
                    what, program = "undo", history[-2]
                else:
                    what, program = edited(data.draw, program)
                history.append(program)
                reply = app.save_and_tell(program.sources())
                verdict = str(reply.get("reason", reply["type"]))
                if reply.get("live") and app.message("recheck")["live"]:
                    verdict = reply["type"] = "still live"
                if reply["type"] == "same" and what == "undo":
                    continue
                tally[what, generic(verdict)] += 1
                other, folder = fresh(zygote, program, keep)
                others.append((other, folder))
                starts = begin(other, keep)
                if reply["type"] in ("refused", "still live"):
                    if not starts:
                        return
                    app = other  # the restart
                    state(app)
                    continue
                assert starts, f"{what}: patched, but a fresh process fails"
                found = difference(state(app), state(other))
                # What a cache holds may be used up by asking: a coroutine, a generator.
                found = found and difference(state(app), state(other))
                assert not found, report(what, found, history)
        finally:
            for each, folder in others:
                each.close()
                folder.cleanup()

    agree()
    counted = Counter({edit: n for (edit, v), n in tally.items() if v in ("patched", "same")})
    bodies = sum(n for (edit, _), n in tally.items() if edit == "body")
    assert counted["body"] > bodies * 0.3
    assert sum(counted.values()) > sum(tally.values()) * 0.25


def difference(patched: object, fresh: object, where: str = "") -> list[str]:
    """Where two states differ, as lines for people."""
    if isinstance(patched, dict) and isinstance(fresh, dict):
        keys = sorted({*patched, *fresh})
        pairs = [(patched.get(key), fresh.get(key), f"{where}/{key}") for key in keys]
    elif isinstance(patched, list) and isinstance(fresh, list) and len(patched) == len(fresh):
        pairs = [(*pair, f"{where}/{n}") for n, pair in enumerate(zip(patched, fresh, strict=True))]
    else:
        return [] if patched == fresh else [f"{where}: patched {patched}\n    fresh {fresh}"]
    return [line for pair in pairs for line in difference(*pair)]


def report(what: str, found: list[str], history: list[Program]) -> str:
    old, new = (program.sources() for program in history[-2:])
    texts = []
    for file in old:
        lines = difflib.unified_diff(
            old[file].split("\n"), new[file].split("\n"), file, lineterm=""
        )
        texts += list(lines)
    return "\n".join([what, *texts, "", *found[:10], "", "app.py was", old["app.py"]])


def generic(verdict: str) -> str:
    """Verdicts without the names that they tell, so that they can be counted."""
    words = [w for w in verdict.split() if not any(c.isdigit() or c in ".(_" for c in w)]
    return " ".join(words)[:60]
