"""``onsave status``, ``restart``, ``stop``, ``why`` on real sessions, and where there is none."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Project, Session
from harness.session import ONSAVE, environment

Start = Callable[..., Session]
Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def call(run_directory: Path, mark: str, tmp_path: Path) -> Call:
    def run(*arguments: str, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ONSAVE, *arguments],
            env=environment(run_directory, mark),
            cwd=cwd,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )

    return run


@pytest.mark.parametrize("command", ["status", "restart", "stop", "why"])
def test_where_no_app_runs(call: Call, command: str) -> None:
    done = call(command, *(["x.py"] if command == "why" else []))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "onsave: no app runs under onsave; start one with: onsave run COMMAND\n"


def test_a_run_directory_that_others_can_read(call: Call, run_directory: Path) -> None:
    run_directory.mkdir(mode=0o755)
    done = call("status")
    assert done.returncode == 1
    assert "accessible by others" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_app(call: Call, start: Start) -> None:
    session = start("flask")
    project, sample = session.project, session.sample
    assert sample is not None
    told = call("status")
    pid = session.pid()
    first, second = told.stdout.splitlines()
    assert first == f"shop  ready  run 1  pid {pid}  127.0.0.1:{session.port}"
    assert "a snapshot stands by before" in second or "restarts are cold: " in second
    (status,) = json.loads(call("status", "--json").stdout)
    assert (status["name"], status["state"], status["pid"]) == ("shop", "ready", pid)

    told = call("why", sample.leaf.file, cwd=project.path)
    assert told.returncode == 0
    assert "loaded as shop.prices since run 1" in told.stdout
    assert "a save would mean: " in told.stdout
    told = call("why", sample.unused, cwd=project.path)
    assert "loaded as" not in told.stdout
    assert "ignore" in told.stdout
    (answer,) = json.loads(call("why", "--json", sample.leaf.file, cwd=project.path).stdout)
    assert (answer["session"], answer["module"]) == ("shop", "shop.prices")

    told = call("restart")
    assert told.returncode == 0
    assert session.pid() != pid
    assert told.stdout.startswith("shop  ready  run 2")

    told = call("stop", "shop")
    assert (told.returncode, told.stdout) == (0, "shop has ended\n")
    session.process.wait(30)
    assert call("status").returncode == 1


def test_a_restart_that_fails(call: Call, start: Start, project: Callable[[str], Project]) -> None:
    session = start("service")
    where, sample = session.project, session.sample
    assert sample is not None
    where.write(sample.leaf.file, "unknown_name\n")  # nobody is told of that
    told = call("restart")
    assert told.returncode == 1
    assert told.stdout.startswith("service  held  run 1")
    assert "Traceback" not in told.stderr
    assert told.stderr.startswith("onsave: ")


def test_several_apps(call: Call, start: Start) -> None:
    start("flask")
    start("service")
    lines = call("status").stdout.splitlines()
    assert [line.split()[0] for line in lines[::2]] == ["service", "shop"]
    assert all(line.startswith("  ") for line in lines[1::2])
    for command in ("restart", "stop"):
        told = call(command)
        assert told.returncode == 1
        assert told.stderr == "onsave: several apps run under onsave; say which: service, shop\n"
    told = call("stop", "nobody")
    assert told.stderr == "onsave: no session is named 'nobody'; running: service, shop\n"
    assert call("status", "shop").stdout.startswith("shop  ready")


def test_editors(call: Call) -> None:
    from onsave.editors import FILES

    for name in FILES:
        printed = call("editor", name)
        assert printed.returncode == 0
        assert "@ONSAVE" not in printed.stdout
    told = call("editor", "ed")
    assert told.returncode == 2
    assert "choose from" in told.stderr
