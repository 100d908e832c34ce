"""Restarts from snapshots, by real sessions with real apps."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import ONSAVE, SAMPLES, Project, Session, Token, server, until

if not Path("/proc/self").exists():
    pytest.skip("snapshots are for Linux", allow_module_level=True)

Start = Callable[..., Session]
Wait = Callable[..., dict[str, Any]]

WORD = Token("app.py", "word", "/word")
COMMAND = ("{python}", "app.py", "{port}")


@pytest.fixture
def small(tmp_path: Path) -> Project:
    """A server with a library of its own, "lib", in a folder that counts as installed."""
    project = Project((tmp_path / "small app").resolve())
    imports = 'import lib, logging, asyncio\nWORD = "word-0"'
    project.write("app.py", server(imports, word="WORD", lib="lib.VALUE"))
    project.write("site-packages/lib.py", "import os\nVALUE = 'lib-0', os.environ.get('LEVEL')\n")
    return project


def with_library(project: Project) -> dict[str, str]:
    return {"PYTHONPATH": str(project / "site-packages")}


def change(session: Session, token: Token) -> str:
    """Edit at module level: there is no way but a restart. Returns the token that is to be live."""
    text = session.project.read(token.file)
    session.project.write(token.file, text.replace("\n", "\n# more\n", 1) + "\nMORE = 1\n")
    word = session.project.bump(token)
    session.save(token.file)
    return session.eventually(token, word)


@pytest.mark.parametrize("setting", ["true", '"libraries"', "3", '"spare"'])
@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample(
    start: Start, project: Callable[[str], Project], snapshots: Wait, name: str, setting: str
) -> None:
    sample = SAMPLES[name]
    where = project(name)
    where.write("onsave.toml", f"snapshots = {setting}\n")
    session = start(where, sample=sample)
    # Which one may not come from a snapshot: it stands before what was edited so far.
    for token, sure in (
        (sample.leaf, True), (sample.leaf, True), (sample.main, False), (sample.leaf, False),
        (sample.main, False),
    ):  # fmt: skip
        found = snapshots(session, lambda s: s["ready"])
        before = session.pid()
        change(session, token)
        session.settle()
        assert session.status["run"] > 1 and session.pid() != before
        if sample.workers == 1 and sure and setting != "3":  # then another may come to be ready
            assert session.pid() == found["processes"][0]["pid"], session.story()
    # Workers may still import something after the run was up: then a snapshot is made anew, and a
    # save that comes meanwhile is answered by a cold start.
    kind = "spare interpreter" if setting == '"spare"' else "snapshot"
    count = session.stderr.count(f"from a {kind}")
    if setting in ("true", "3") and name == "service":
        count += session.stderr.count("from a spare")  # where its script is to be read first
    assert count >= (3 if sample.workers == 1 else 1), session.story()
    # The server whose socket it is has not gone: nothing was ever refused.
    assert session.request("status")["held"]


def test_a_library_that_is_saved(start: Start, snapshots: Wait, small: Project) -> None:
    session = start(small, COMMAND, env=with_library(small))
    snapshots(session)
    small.replace("site-packages/lib.py", "lib-0", "lib-1")
    session.save("site-packages/lib.py")
    session.eventually(Token("site-packages/lib.py", "lib", "/lib"))
    assert "from a snapshot" not in session.stderr
    # It is edited now, and so digested by each run: what comes before it is from a snapshot.
    assert snapshots(session)["processes"][0]["before"] == str(small / "site-packages/lib.py")
    small.replace("site-packages/lib.py", "lib-1", "lib-2")
    session.save("site-packages/lib.py")
    session.eventually(Token("site-packages/lib.py", "lib", "/lib"))
    assert "from a snapshot" in session.stderr


def test_a_library_that_changes_without_a_word(
    start: Start, snapshots: Wait, small: Project
) -> None:
    session = start(small, COMMAND, env=with_library(small))
    snapshots(session)
    # Of another size: bytecode knows its source by that and by whole seconds.
    small.replace("site-packages/lib.py", "lib-0", "lib-1 now")
    change(session, WORD)
    assert "lib-1" in session.ask("/lib")
    assert "from a snapshot" not in session.stderr


def test_a_library_that_is_hidden_by_a_new_file(
    start: Start, snapshots: Wait, small: Project
) -> None:
    session = start(small, COMMAND, env=with_library(small))
    snapshots(session)
    small.write("lib.py", "VALUE = 'lib-9'")
    change(session, WORD)
    assert session.ask("/lib") == "lib-9"
    session.settle()
    assert "without snapshot: lib" in session.stderr


def test_a_variable_that_the_app_sets_now(start: Start, snapshots: Wait, small: Project) -> None:
    session = start(small, COMMAND, env=with_library(small))
    snapshots(session)
    text = small.read("app.py")
    small.write("app.py", "import os\nos.environ['LEVEL'] = 'high'\n" + text)
    change(session, WORD)
    assert "high" in session.ask("/lib")
    session.settle()
    assert "LEVEL" in session.stderr
    # From then on it is left to the app, and all else comes from the snapshot.
    found = snapshots(session)
    assert ["lib", "it reads LEVEL, which the app sets as it starts"] in found["skipped"]
    change(session, WORD)
    assert "high" in session.ask("/lib") and "from a snapshot" in session.stderr


def test_the_exit_code_is_the_app_s(start: Start, snapshots: Wait, small: Project) -> None:
    end = "    def do_GET(self):\n        if self.path == '/end': os._exit(7)\n"
    small.replace("app.py", "    def do_GET(self):\n", end)
    session = start(small, COMMAND, env=with_library(small), options=["--once"])
    snapshots(session)
    change(session, WORD)
    assert "from a snapshot" in session.stderr
    with pytest.raises(OSError):
        session.ask("/end")
    assert session.wait() == 7


def test_off_in_the_configuration(start: Start, snapshots: Wait, small: Project) -> None:
    small.write("onsave.toml", "snapshots = false\n")
    session = start(small, COMMAND, env=with_library(small))
    found = snapshots(session, lambda s: "off" in s["reason"])
    assert found["processes"] == []
    change(session, WORD)
    assert "from a snapshot" not in session.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("sh", "-c", "exec {python} app.py {port}"),
        ("./start", "{python}", "{port}"),
        ("env", "{python}", "app.py", "{port}"),
    ],
)
def test_commands_that_do_more_than_start_python(
    start: Start, snapshots: Wait, small: Project, command: tuple[str, ...]
) -> None:
    small.write("start", '#!/bin/sh\nexec "$1" app.py "$2"\n').chmod(0o755)
    session = start(small, command, env=with_library(small))
    found = snapshots(session, lambda s: "Python" in s["reason"])
    assert found["processes"] == []
    change(session, WORD)


def test_a_snapshot_that_is_killed(start: Start, snapshots: Wait, small: Project) -> None:
    session = start(small, COMMAND, env=with_library(small))
    pid = snapshots(session)["processes"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid), "the snapshot has gone, and is no zombie")
    change(session, WORD)
    snapshots(session)
    change(session, WORD)
    assert "from a snapshot" in session.stderr


def test_nothing_is_left_of_a_session_that_was_killed(
    start: Start, snapshots: Wait, small: Project
) -> None:
    session = start(small, COMMAND, env=with_library(small))
    pid = snapshots(session)["processes"][0]["pid"]
    session.process.kill()
    until(lambda: not psutil.pid_exists(pid), "the snapshot has gone")  # the rest: the fixture


def test_a_broken_start_and_its_mending(start: Start, snapshots: Wait, small: Project) -> None:
    session = start(small, COMMAND, env=with_library(small))
    snapshots(session)
    good = small.read("app.py")
    small.write("app.py", good.replace("http.server.Threading", "1 / 0\nhttp.server.Threading"))
    session.save("app.py")
    session.until(lambda s: s.status["state"] == "held", "the failed start was noticed")
    assert session.answers(WORD, "word-0")
    snapshots(session)  # there is a new one for the mending save
    small.write("app.py", good)
    small.bump(WORD)
    session.save("app.py")
    session.eventually(WORD)
    assert "ZeroDivisionError" in session.stderr


@pytest.mark.slow
def test_a_run_that_does_not_get_up(start: Start, snapshots: Wait, small: Project) -> None:
    session = start(small, COMMAND, env=with_library(small))
    snapshots(session)
    text = small.read("app.py")
    # Only what was resumed hangs: it has another run's number than the one that it began with.
    hang = (
        "import json, os\nhow = open('/proc/self/environ').read()\n"
        "if '\"snapshot\":' in how:\n    __import__('time').sleep(1000)\n"
    )
    small.write("app.py", hang + text)
    change(session, WORD)
    session.settle()
    assert "from now on restarts are cold" in session.stderr
    assert "was not up" in snapshots(session, lambda s: not s["ready"])["reason"]


@pytest.mark.parametrize("setting", ["true", '"libraries"'])
def test_tests_run_again(
    start: Start, snapshots: Wait, project: Callable[[str], Project], setting: str
) -> None:
    where = project("pytest_proj")
    where.write("onsave.toml", f"snapshots = {setting}\n")
    command = ("{python}", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    session = start(where, command, options=["--rerun"], wait=False, port=None)
    session.until_state("ended")
    snapshots(session)
    text = where.read("calc/operations.py")
    where.write("calc/operations.py", text + "\nMORE = 1\n")
    session.save("calc/operations.py")
    session.until_state("ended", after=1)
    assert session.stdout.count("1 passed") == 2, session.story()
    assert session.messages and session.status["run"] == 2
    more = "\ndef test_no():\n    a = 1\n    assert a == 2\n"
    where.write("tests/test_calc.py", where.read("tests/test_calc.py") + more)
    snapshots(session)
    session.save("tests/test_calc.py")
    session.until_state("ended", "broken", after=2)
    # Assertions are rewritten as ever.
    assert "assert 1 == 2" in session.stdout and "1 failed, 1 passed" in session.stdout
    assert session.stdout.count(" passed in ") == 3, session.story()  # nothing is printed twice


@pytest.fixture
def layered(small: Project) -> Project:
    """The small app with a module of its own, "words", which imports another, "base"."""
    small.replace("app.py", "import http.server", "import words, http.server")
    small.replace("app.py", '"/word": lambda: WORD', '"/word": lambda: words.word()')
    small.write("base.py", "def text():\n    return 'base-0'\n")
    text = "import base\nWORD = 'word-0'\ndef word():\n    return WORD + ' a ' + base.text()\n"
    small.write("words.py", text)
    return small


def test_after_patches_a_snapshot_has_them_all(
    start: Start, snapshots: Wait, layered: Project
) -> None:
    session = start(layered, COMMAND, env=with_library(layered))
    snapshots(session)
    pid = session.pid()
    # Before the module that will be restarted for, and in it.
    for name, old, new in (("base.py", "base-0", "base-1"), ("words.py", " a ", " b ")):
        layered.replace(name, old, new)
        assert session.save_one(name).action == "patch", session.story()
        session.until(lambda s, new=new: new in s.ask("/word"), "it is live")
    assert session.pid() == pid
    snapshot = snapshots(session)
    change(session, Token("words.py", "word", "/word"))
    session.settle()
    assert session.ask("/word") == "word-1 b base-1"
    assert session.pid() == snapshot["processes"][0]["pid"], session.story()


@pytest.mark.timeout(180 + 2 * int(os.environ.get("ONSAVE_TEST_RESTARTS", "20")))
@pytest.mark.parametrize("where", ["words.py", "app.py"])
def test_many_restarts_leave_nothing_behind(
    start: Start, snapshots: Wait, layered: Project, where: str
) -> None:
    """Memory, descriptors and processes stay flat. ONSAVE_TEST_RESTARTS: how many."""
    setting = '"libraries"' if where == "app.py" else "true"
    layered.write("onsave.toml", f"snapshots = {setting}\n")
    session = start(layered, COMMAND, env=with_library(layered))
    process = psutil.Process(session.process.pid)
    count = int(os.environ.get("ONSAVE_TEST_RESTARTS", "20"))
    text = layered.read(where)
    seen = []
    for number in range(count):
        snapshots(session)
        layered.write(where, f"A = {number}\n{text}")
        run = session.status["run"]
        session.save(where)
        session.until_state("ready", after=run)
        assert "word-0" in session.ask("/word")
        if number in (count // 4, count - 1):
            session.settle()
            snapshots(session)
            seen.append((process.memory_info().rss, process.num_fds(), len(process.children(True))))
    (memory, fds, processes), (more, more_fds, more_processes) = seen
    assert (more_fds, more_processes) == (fds, processes)
    assert more < memory * 1.2 + 2**20, f"{memory} → {more} bytes"
    assert session.stderr.count("from a snapshot") == count


def test_status_shows_it(start: Start, snapshots: Wait, small: Project) -> None:
    small.write("onsave.toml", "snapshots = true\n")
    small.write("other.py", "")
    small.replace("app.py", "import http.server", "import other, http.server")
    session = start(small, COMMAND, env=with_library(small))
    pid = snapshots(session)["processes"][0]["pid"]
    told = subprocess.run(
        [ONSAVE, "status"], env=session.environment, capture_output=True, text=True, check=True
    )
    line = told.stdout.splitlines()[1]
    assert f"a snapshot stands by before {small / 'other.py'} (pid {pid}, " in line
    change(session, WORD)
    told = subprocess.run(
        [ONSAVE, "status"], env=session.environment, capture_output=True, text=True, check=True
    )
    assert "restarts are cold: " in told.stdout
    # Then there is still the start of the interpreter that can be had ahead.
    snapshots(session, lambda s: s["ready"] and "app.py is read first" in s["reason"])
    told = subprocess.run(
        [ONSAVE, "status"], env=session.environment, capture_output=True, text=True, check=True
    )
    assert "a spare interpreter stands by (pid " in told.stdout
    change(session, WORD)
    assert "from a spare interpreter" in session.stderr


def test_a_second_snapshot_serves_any_edit(
    start: Start, snapshots: Wait, layered: Project
) -> None:
    """One stands before the file that is edited, one before all of the project's modules."""
    layered.write("onsave.toml", "snapshots = 2\n")
    layered.write("early.py", "MORE = 0\n")
    layered.replace("app.py", "import words", "import early, words")
    session = start(layered, COMMAND, env=with_library(layered))
    word = Token("words.py", "word", "/word")
    early, words = str(layered / "early.py"), str(layered / "words.py")
    snapshots(session)  # nothing was edited yet: there is only one place
    change(session, word)
    places = lambda s: {p["before"] for p in s["processes"] if p["state"] == "ready"}
    both = snapshots(session, lambda s: places(s) == {early, words})
    pids = {process["before"]: process["pid"] for process in both["processes"]}
    change(session, word)
    assert session.pid() == pids[words]
    snapshots(session, lambda s: places(s) == {early, words})
    run = session.run
    layered.write("early.py", "MORE = 1\n")
    session.save("early.py")
    session.until_state("ready", after=run)
    assert session.pid() == pids[early]
    snapshots(session, lambda s: places(s) == {early})


IDS = """
import os
CALLED = []
def stands_by():
    CALLED.append("stood by")
def is_app():
    CALLED.append("is the app %s" % (os.environ["ONSAVE_AGENT"] and os.getpid()))
def fails():
    raise SystemExit("not now")
"""


def with_hooks(project: Project, before: str, after: str) -> Token:
    project.write(
        "onsave.toml", f"snapshots = true\nbefore-snapshot = {before}\nafter-resume = {after}\n"
    )
    project.write("ids.py", IDS)
    project.replace("app.py", "import words", "import ids, words")
    project.replace("app.py", "words.word()", "words.word() + str(ids.CALLED)")
    return Token("words.py", "word", "/word")


def test_functions_of_the_app_s_around_a_snapshot(
    start: Start, snapshots: Wait, layered: Project
) -> None:
    word = with_hooks(layered, '["ids:stands_by", "words:later"]', '"ids:is_app"')
    session = start(layered, COMMAND, env=with_library(layered))
    snapshots(session)
    change(session, word)  # from before ids: nothing of it had run
    assert session.ask("/word").endswith("[]")
    snapshots(session, lambda s: s["ready"] and not s["reason"])
    change(session, word)
    assert session.ask("/word").endswith(f"['stood by', 'is the app {session.pid()}']")
    session.request("restart", wait=True)  # cold
    session.until_state("ready", after=3)
    assert session.ask("/word").endswith("[]")


@pytest.mark.parametrize("which", ["before-snapshot", "after-resume"])
def test_such_a_function_that_fails(
    start: Start, snapshots: Wait, layered: Project, which: str
) -> None:
    names = ('"ids:fails"', "[]") if which == "before-snapshot" else ("[]", '"ids:fails"')
    word = with_hooks(layered, *names)
    session = start(layered, COMMAND, env=with_library(layered))
    snapshots(session)
    change(session, word)
    if which == "before-snapshot":
        found = snapshots(session, lambda s: s["ready"] and which in s["reason"])
        assert [process["spare"] for process in found["processes"]] == [True]
        assert f"{which}: ids:fails: SystemExit: not now" in found["reason"]
        change(session, word)
    else:
        snapshots(session, lambda s: s["ready"] and not s["reason"])
        change(session, word)
        session.settle()
        told = "from now on restarts are cold: after-resume: ids:fails: SystemExit: not now"
        assert told in session.stderr
    assert session.ask("/word").endswith("[]")


def test_a_restart_that_was_asked_for_is_whole(
    start: Start, snapshots: Wait, layered: Project
) -> None:
    session = start(layered, COMMAND, env=with_library(layered))
    snapshot = snapshots(session)["processes"][0]["pid"]
    session.request("restart", wait=True)
    session.until_state("ready", after=1)
    assert session.pid() != snapshot and "from a snapshot" not in session.stderr
    assert snapshots(session)["processes"][0]["pid"] == snapshot  # it is as good as before


def test_nothing_runs_ahead_where_two_runs_must_not_be(
    start: Start, snapshots: Wait, small: Project
) -> None:
    small.write("onsave.toml", "overlap = false\n")
    session = start(small, COMMAND, env=with_library(small))
    found = snapshots(session)
    assert found["reason"] == "nothing can be run ahead: overlap is off"
    assert [process["spare"] for process in found["processes"]] == [True]
    change(session, WORD)
    assert "from a spare interpreter" in session.stderr


@pytest.mark.parametrize("setting", ["true", '"libraries"', "3", '"spare"'])
@pytest.mark.parametrize("name", ["flask", "django", "fastapi"])
def test_random_edits_never_leave_stale_code(
    start: Start, snapshots: Wait, tmp_path: Path, name: str, setting: str
) -> None:
    """Of all kinds of files, one or several at once, mostly when a snapshot is ready.

    The pages tell which code and data run. ONSAVE_RANDOM_SAVES: ten times how many.
    """
    sample = SAMPLES[name]
    where = Project.of_sample(sample, tmp_path / "app")
    where.write("onsave.toml", f"snapshots = {setting}\n")
    session = start(where, sample=sample)
    chance = random.Random(name + setting)
    tokens = [t for t in (sample.leaf, sample.main, sample.data, sample.lazy, sample.template) if t]
    for number in range(int(os.environ.get("ONSAVE_RANDOM_SAVES", "100")) // 10):
        if chance.random() < 0.8:
            snapshots(session, lambda s: s["ready"])
        edited = chance.sample(tokens, chance.choice([1, 1, 1, 2, 3]))
        for token in edited:
            if token.file.endswith(".py") and chance.random() < 0.7:
                where.write(token.file, where.read(token.file) + f"\nA{number} = {number}\n")
            where.bump(token, rename=chance.random() < 0.5)
        if chance.random() < 0.2:
            where.write(f"shop/new_{number}.py", "")
        for token in edited:
            session.tell(token.file)
        for token in tokens:
            session.eventually(token)
    assert ("from a spare" if setting == '"spare"' else "from a snapshot") in session.stderr
