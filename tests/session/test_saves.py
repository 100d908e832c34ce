"""Saves of all kinds of files, told to a real session."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Project, Session
from harness.processes import until

Start = Callable[..., Session]
Scripts = Callable[..., Project]

COMMAND = [sys.executable, "main.py"]
READS = """
import os, time
with open("data.txt") as file:
    print("read", len(file.read()), flush=True)
time.sleep(1000)
"""


def test_data_too_large_to_be_hashed(scripts: Scripts, start: Start) -> None:
    """It is known by size and time; growing and shrinking past the limit is like any change."""
    project = scripts(main=READS)
    sizes = [5_000_000, 5_000_001, 10, 5_000_000]
    project.write("data.txt", "x" * sizes[0])
    session = start(project, COMMAND)
    session.knows("data.txt")
    for run, size in enumerate(sizes[1:], 2):
        project.write("data.txt", "x" * size)
        assert session.save_one("data.txt").reason == "data file changed"
        until(lambda size=size: f"read {size}\n" in session.stdout, "it was read anew")
        assert session.run == run
        session.knows("data.txt")
        assert session.save_one("data.txt").action == "ignore"
    assert session.run == len(sizes), "and each change restarted it once"


def test_a_module_imported_late_can_be_patched(scripts: Scripts, start: Start) -> None:
    project = scripts(
        main="""
import time
time.sleep(2)
import late
while True:
    print(late.value(), flush=True)
    time.sleep(0.05)
""",
        late="def value():\n    return 'one'\n",
    )
    session = start(project, COMMAND)
    session.knows("late.py")
    until(lambda: "one" in session.stdout, "it has been called")
    project.write("late.py", "def value():\n    return 'two'\n")
    verdict = session.save_one("late.py")
    until(lambda: "two" in session.stdout, "the new code runs")
    assert "is not known" not in verdict.reason


def test_deleted_renamed_and_created(scripts: Scripts, start: Start) -> None:
    project = scripts(
        main="""
import time
try:
    import part
    print("part", part.X, flush=True)
except ImportError:
    print("no part", flush=True)
time.sleep(1000)
""",
        part="X = 1\n",
    )
    session = start(project, COMMAND)
    os.rename(project / "part.py", project / "other.py")
    verdicts = session.save("part.py", "other.py", origin="rename")
    assert [v.action for v in verdicts] == ["restart", "ignore"]
    assert verdicts[0].reason == "deleted"
    until(lambda: "no part" in session.stdout, "it starts without the module")
    project.write("part/__init__.py", "X = 2\n")
    session.save("part/__init__.py")
    until(lambda: "part 2" in session.stdout, "it starts with the package")


def test_a_folder_is_renamed(scripts: Scripts, start: Start) -> None:
    """Editors tell of the folder alone."""
    project = scripts(
        main="import time\ntry:\n    import deep.part\n    print('deep', flush=True)\n"
        "except ImportError:\n    print('shallow', flush=True)\ntime.sleep(1000)\n"
    )
    project.write("deep/__init__.py", "")
    project.write("deep/part.py", "X = 1\n")
    session = start(project, COMMAND)
    until(lambda: "deep" in session.stdout, "the package was imported")
    session.knows("deep/part.py")
    os.rename(project / "deep", project / "gone")
    assert session._client is not None
    session._client.saved([str(project / "deep")], origin="rename", wait=True, timeout=60)
    until(lambda: "shallow" in session.stdout, "it starts without the package")


def test_symbolic_links(scripts: Scripts, start: Start, tmp_path: Path) -> None:
    """A file is the same file under whatever name it is saved."""
    project = scripts(
        main="import time, part\nprint('X', part.X, flush=True)\ntime.sleep(1000)\n",
        **{"real/part": "X = 1\n"},
    )
    (project / "part.py").symlink_to(project / "real/part.py")
    (project / "alias").symlink_to(project / "real")
    session = start(project, COMMAND)
    for number, name in enumerate(["part.py", "real/part.py", "alias/part.py"], 2):
        project.write("real/part.py", f"X = {number}\n")
        assert session._client is not None
        result = session._client.saved([str(project / name)], wait=True, timeout=60)
        assert [v["action"] for v in result["verdicts"]] == ["restart"]
        until(lambda number=number: f"X {number}" in session.stdout, "the new code runs")


@pytest.mark.parametrize("what", ["fifo", "unreadable"])
def test_what_is_no_readable_file(scripts: Scripts, start: Start, what: str) -> None:
    """Saved all the same, it blocks nobody, and counts as not there."""
    if what == "unreadable" and os.geteuid() == 0:
        pytest.skip("root can read everything")
    project = scripts(main="import time, part\ntime.sleep(1000)\n", part="X = 1\n")
    session = start(project, COMMAND)
    path = project / "part.py"
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("X = 2\n")
        path.chmod(0)
    assert session.save_one("part.py", wait=False).reason == "deleted"
    assert session.request("status")["session"] == session.process.pid


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"X = 1\0", "null byte"),
        (b"# coding: nonsense\nX = 1\n", "unknown encoding"),
        (b"X = '\xff'\n", "utf-8"),
        ("# coding: latin-1\nX = 'ü'\n".encode("latin-1"), None),
        ("\ufeffX = 1\n".encode(), None),
        (b"X = 1\r\n", None),
    ],
)
def test_odd_sources(
    scripts: Scripts, start: Start, source: bytes, error: str | None
) -> None:
    project = scripts(main="import time, part\ntime.sleep(1000)\n", part="X = 0\n")
    session = start(project, COMMAND)
    (project / "part.py").write_bytes(source)
    verdict = session.save_one("part.py")
    if error is None:
        assert verdict.action != "hold"
        assert session.run <= 2
    else:
        assert verdict.action == "hold"
        assert error in verdict.reason
        assert session.request("status")["state"] == "held"


def test_a_busy_app_is_not_waited_for(scripts: Scripts, start: Start) -> None:
    """What is saved is checked by a fresh interpreter where the app's own can't answer."""
    project = scripts(
        main="import part, time\nprint('up', flush=True)\ntime.sleep(1000)\n", part="X = 1\n"
    )
    session = start(project, COMMAND)
    import psutil

    app = psutil.Process(session.status["pid"])
    app.suspend()
    project.write("part.py", "X = (\n")
    assert session.save_one("part.py").action == "hold"
    (problem,) = session.request("status")["stale"]
    assert problem == str(project / "part.py")
    project.write("part.py", "X = 2\n")
    assert session.save_one("part.py").action == "restart"
    until(lambda: session.stdout.count("up") == 2, "the stopped app was replaced")


def test_an_app_without_an_agent(scripts: Scripts, start: Start) -> None:
    project = scripts(main="print('up', flush=True)\nimport time\ntime.sleep(1000)\n")
    session = start(project, [sys.executable, "-I", "main.py"])
    assert "no agent in the app" in session.stderr
    verdict = session.save_one("main.py")
    assert verdict.action == "ignore"
    assert "restart by hand" in verdict.reason
    session.request("restart", wait=True)
    until(lambda: session.stdout.count("up") == 2, "it was restarted")


def test_idle_is_idle(scripts: Scripts, start: Start) -> None:
    """No timer runs and nobody is woken up while nothing happens."""
    import time

    project = scripts(main="import time, part\ntime.sleep(1000)\n", part="X = 1\n")
    session = start(project, COMMAND)
    session.request("status")

    def switches() -> int:
        text = Path(f"/proc/{session.process.pid}/status").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line)

    until(lambda: (old := switches(), time.sleep(1), switches() == old)[2], "it has come to rest")
    before = switches()
    time.sleep(3)
    assert switches() - before <= 1
