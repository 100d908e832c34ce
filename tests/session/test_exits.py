"""How apps end, and what that makes of the session."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import Project

Run = Callable[..., Any]
Scripts = Callable[..., Project]


def app(*words: str) -> list[str]:
    """A command that runs a script with the tests' interpreter."""
    return [sys.executable, *words]


EXITS = "import sys\nsys.exit(int(sys.argv[1]))\n"


@pytest.mark.parametrize("code", [0, 1, 3, 42, 255])
def test_once_ends_with_the_apps_exit_code(scripts: Scripts, onsave: Run, code: int) -> None:
    project = scripts(main=EXITS)
    assert onsave(project, "run", "--once", *app("main.py", str(code))).returncode == code


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV", "SIGUSR1"])
def test_a_signal_is_128_and_its_number(scripts: Scripts, onsave: Run, name: str) -> None:
    project = scripts(main=f"import os, signal\nos.kill(os.getpid(), signal.{name})\n")
    done = onsave(project, "run", "--once", *app("main.py"))
    assert done.returncode == 128 + signal.Signals[name]
    assert name in done.stderr


def test_ending_well_ends_the_session_with_0(scripts: Scripts, onsave: Run) -> None:
    assert onsave(scripts(main=EXITS), "run", *app("main.py", "0")).returncode == 0


SHOWS = """
import json, os, sys
json.dump({"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ), "path": sys.path,
           "group": os.getpgrp() == os.getpgid(os.getppid()),
           "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd"))}, sys.stdout)
"""


def test_the_app_sees_what_it_would_see_without_us(scripts: Scripts, onsave: Run) -> None:
    import subprocess

    project = scripts(main=SHOWS)
    words = app("main.py", "--", "a b", "", "ü", "--once", "*")
    env = {"PYTHONPATH": "/nowhere", "EMPTY": "", "WITH_NEWLINE": "a\nb"}
    shown = json.loads(onsave(project, "run", "--once", *words, **env).stdout)
    without = subprocess.run(
        words, cwd=project.path, env={**os.environ, **env}, capture_output=True, check=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    expected = json.loads(without.stdout)
    assert shown["argv"] == expected["argv"]
    assert shown["cwd"] == expected["cwd"]
    assert shown["path"] == expected["path"]
    assert shown["group"], "the app is in the session's process group"
    ours = {"ONSAVE_AGENT", "ONSAVE_RUN_DIR", "ONSAVE_TEST_MARK"}
    apart = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "NO_COLOR", "LC_CTYPE"}
    seen = {k: v for k, v in shown["env"].items() if k not in ours | apart}
    assert seen == {k: v for k, v in expected["env"].items() if k not in ours | apart}


def test_the_app_inherits_no_descriptor_of_ours(scripts: Scripts, onsave: Run) -> None:
    project = scripts(main=SHOWS)
    fds = json.loads(onsave(project, "run", "--once", *app("-S", "-E", "main.py")).stdout)["fds"]
    assert fds[:3] == [0, 1, 2]
    assert len(fds) == 4, "and the folder that was being listed"


def test_cwd(scripts: Scripts, onsave: Run) -> None:
    project = scripts(**{"deep/main": SHOWS})
    done = onsave(project, "run", "--once", "--cwd", "deep", *app("main.py"))
    assert json.loads(done.stdout)["cwd"] == str(project.path / "deep")


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["no-such-command-here"], 127, "no-such-command-here: command not found"),
        (["./no-such-file"], 127, "./no-such-file can't be started: no such file"),
        (["./main.py"], 126, "./main.py can't be started: Permission denied"),
        (["./script"], 127, "the interpreter that its first line names is missing"),
    ],
)
def test_a_command_that_cannot_be_started(
    scripts: Scripts, onsave: Run, command: list[str], code: int, said: str
) -> None:
    project = scripts(main="")
    project.write("script", "#!/no/such/interpreter\n")
    (project / "script").chmod(0o755)
    done = onsave(project, "run", "--once", *command)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_not_there(scripts: Scripts, onsave: Run) -> None:
    done = onsave(scripts(), "run", "--cwd", "nowhere", "true")
    assert done.returncode == 2
    assert "--cwd nowhere: no such folder" in done.stderr


def test_nothing_to_run(scripts: Scripts, onsave: Run) -> None:
    done = onsave(scripts(), "run")
    assert done.returncode == 2
    assert "nothing to run" in done.stderr


def test_a_log_that_cannot_be_written(scripts: Scripts, onsave: Run) -> None:
    done = onsave(scripts(), "run", "--json-log", "/no/where/log", "true")
    assert done.returncode == 2
    assert "/no/where/log No such file or directory" in done.stderr


def test_a_run_directory_that_others_can_read(
    scripts: Scripts, onsave: Run, run_directory: Path
) -> None:
    run_directory.mkdir(mode=0o755)
    done = onsave(scripts(), "run", "true")
    assert done.returncode == 2
    assert f"run: chmod 700 {run_directory}" in done.stderr


def test_a_failing_app_waits_for_what_mends_it(scripts: Scripts, start: Callable[..., Any]) -> None:
    project = scripts(main="import part\n", part="raise SystemExit(3)\n")
    session = start(project, app("main.py"), wait=False)
    session.until_state("broken")
    project.write("other.py", "")
    assert session.save_one("other.py").action == "ignore"
    assert session.status["state"] == "broken"
    project.write("part.py", "import time\ntime.sleep(1000)\n")
    session.tell("part.py")
    session.until_state("running", after=1)


def test_rerun_stays_after_any_end(scripts: Scripts, start: Callable[..., Any]) -> None:
    project = scripts(main="import part\nprint('ran', part.X, flush=True)\n", part="X = 1\n")
    session = start(project, app("main.py"), wait=False, options=["--rerun"])
    session.until_state("ended")
    for number in (2, 3):
        project.write("part.py", f"X = {number}\n")
        session.tell("part.py")
        session.until(lambda s, n=number: f"ran {n}" in s.stdout, f"it ran {number} times")
        session.until_state("ended", after=number - 1)
    assert session.stop() == 0


def test_a_bug_of_ours_is_told_and_survived(scripts: Scripts, onsave: Run) -> None:
    """The loop lives on when handling one event fails, and the app with it."""
    import subprocess

    project = scripts(
        main="print('the app ran')\n",
        broken="""
import sys
from onsave.cli import main
from onsave.core import effects as do
from onsave.session.perform import PERFORM
PERFORM[do.StatusChanged] = lambda session, effect: 1 / 0
sys.exit(main(["run", "--once", sys.executable, "main.py"]))
""",
    )
    done = subprocess.run(
        app("broken.py"), cwd=project.path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "ONSAVE_RUN_DIR": str(project / "run")}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0
    assert "the app ran" in done.stdout
    assert "a bug in onsave at StatusChanged, please report it" in done.stderr
    assert "ZeroDivisionError" in done.stderr


