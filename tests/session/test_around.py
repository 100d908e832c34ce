"""What is around a session: editors, the server that started it, sessions inside sessions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import Project, Session
from harness.processes import DEADLINE, until
from harness.session import ONSAVE, environment
from onsave.control import Client, RunDirectory
from onsave_agent import protocol

Start = Callable[..., Session]
Scripts = Callable[..., Project]

COMMAND = [sys.executable, "main.py"]
SLEEPS = "import time\nprint('up', flush=True)\ntime.sleep(1000)\n"


def test_how_saves_reach_it_is_said_once_and_only_without_an_editor(
    scripts: Scripts, start: Start, run_directory: Path
) -> None:
    alone = start(scripts(main=SLEEPS), COMMAND)
    alone.request("restart", wait=True)
    assert alone.stderr.count("no editor is attached") == 1
    quiet = start(scripts(main="import time\ntime.sleep(1)\n" + SLEEPS), COMMAND, wait=False)
    entry = next(e for e in RunDirectory(run_directory).entries("session") if e.name.endswith("-2"))
    with Client(entry, role="editor"):
        quiet.ready()
    assert "no editor is attached" not in quiet.stderr


def test_the_session_ends_with_the_server_that_started_it(
    scripts: Scripts, run_directory: Path, mark: str
) -> None:
    from harness.processes import assert_no_orphans

    project = scripts(main="import os\nprint(os.environ.get('ONSAVE_LIFELINE'))\n" + SLEEPS)
    read, write = os.pipe()
    env = environment(run_directory, mark, **{protocol.LIFELINE_KEY: str(read)})
    session = subprocess.Popen(
        [ONSAVE, "run", *COMMAND], cwd=project.path, env=env, pass_fds=[read],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    os.close(read)
    assert session.stdout is not None
    assert session.stdout.readline() == "None\n", "which is no affair of the app's"
    assert session.stdout.readline() == "up\n"
    assert session.poll() is None
    os.close(write)
    session.wait(DEADLINE)
    session.stdout.close()
    assert_no_orphans(mark)


def test_a_session_inside_a_session(scripts: Scripts, start: Start, run_directory: Path) -> None:
    """A test suite that runs onsave, say: the inner app is the inner session's alone."""
    shows = "import os\nprint('PYTHONPATH', os.environ.get('PYTHONPATH'), flush=True)\n"
    project = scripts(main=shows + SLEEPS, part="")
    session = start(project, [ONSAVE, "run", "--name", "inner", *COMMAND], env={"PYTHONPATH": "/x"})
    inner = until(
        lambda: [e for e in RunDirectory(run_directory).entries("session") if e.name == "inner"],
        "the inner session is there",
    )[0]
    until(lambda: "up" in session.stdout, "the inner app is up")
    assert "PYTHONPATH /x\n" in session.stdout
    project.replace("main.py", "1000", "2000")
    with Client(inner) as client:
        result = client.saved([str(project / "main.py")], wait=True, timeout=DEADLINE)
        assert result["status"]["run"] == 2, result
    assert session.run == 1


def test_verbose_tells_what_is_ignored(scripts: Scripts, start: Start) -> None:
    project = scripts(main=SLEEPS, other="")
    quiet = start(project, COMMAND)
    verbose = start(project, COMMAND, options=["-v"])
    for session in (quiet, verbose):
        session.save_one("other.py")
    assert "other.py" not in quiet.stderr
    assert "other.py  ignored  (not loaded)" in verbose.stderr


@pytest.mark.parametrize(
    ("env", "coloured"), [({}, False), ({"FORCE_COLOR": "1"}, True),
                          ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)  # fmt: skip
def test_colours(scripts: Scripts, start: Start, env: dict[str, str], coloured: bool) -> None:
    session = start(scripts(main=SLEEPS), COMMAND, env=env)
    assert ("\033[" in session.stderr) == coloured


def test_lines_of_an_app_that_says_much_are_not_torn(scripts: Scripts, start: Start) -> None:
    """What we say goes out in one piece, whole lines only."""
    project = scripts(
        main="import part, sys, time\nprint('up', flush=True)\nwhile True:\n"
        "    sys.stderr.write('a line of the app\\n')\n    sys.stderr.flush()\n"
        "    time.sleep(0.0005)\n",
        part="X = 0\n",
    )
    session = start(project, COMMAND)
    for number in range(1, 4):
        project.write("part.py", f"X = {number}\n")
        session.save("part.py")
    session.stop()
    ours = [line for line in session.stderr.splitlines() if "onsave" in line]
    assert all(line.startswith("onsave  ") for line in ours)
    theirs = set(session.stderr.splitlines()) - set(ours)
    assert {line for line in theirs if "a line" in line} == {"a line of the app"}


def test_out_of_memory_is_told_as_such(scripts: Scripts, start: Start, tmp_path: Path) -> None:
    """The kernel's own evidence: a killed app alone could have been killed by anybody."""
    group = memory_group(60)
    if group is None:
        pytest.skip("no memory cgroup can be made here")
    try:
        eats = (
            f"import os\nopen({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
            "hoard = []\nwhile True:\n    hoard.append(bytearray(os.urandom(1000)) * 5000)\n"
        )
        session = start(scripts(main=eats), COMMAND, wait=False)
        session.until_state("broken")
        assert "killed by the kernel for want of memory" in session.stderr
        session.stop()
    finally:
        until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
        group.rmdir()


def memory_group(megabytes: int) -> Path | None:
    name = f"onsave-test-{os.getpid()}"
    limits: list[tuple[Path, dict[str, Any]]] = [
        (Path("/sys/fs/cgroup/memory"), {"memory.limit_in_bytes": megabytes << 20}),
        (Path("/sys/fs/cgroup"), {"memory.max": megabytes << 20, "memory.swap.max": 0}),
    ]
    for parent, settings in limits:
        group = parent / name
        try:
            group.mkdir()
            for setting, value in settings.items():
                (group / setting).write_text(str(value))
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        return group
    return None
