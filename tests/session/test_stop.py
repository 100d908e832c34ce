"""Stop means stop: whatever the app's processes do about it, and only the run that is meant."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Callable

import psutil
import pytest

from harness import Project, Session
from harness.processes import DEADLINE, marked, until

Start = Callable[..., Session]
Scripts = Callable[..., Project]

COMMAND = [sys.executable, "main.py"]
SETTINGS = "[tool.onsave]\nstop-timeout = 2\n"

#: Each tells its pid in a file as soon as it is as it is meant to be.
STUBBORN = {
    "ignores SIGTERM": """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        tell()
        time.sleep(1000)
    """,
    "has a child that ignores SIGTERM": """
        import subprocess, sys, time
        code = ("import signal, time, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
                "print(1, flush=True); time.sleep(1000)")
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        child.stdout.readline()
        tell()
        time.sleep(1000)
    """,
    "has a child in a session of its own": """
        import subprocess, time
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        tell()
        time.sleep(1000)
    """,
    "has a daemon by double fork": """
        import os, time
        read, write = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(write, b"!")
                time.sleep(1000)
            os._exit(0)
        os.read(read, 1)
        os.wait()
        tell()
        time.sleep(1000)
    """,
    "has a daemon with a clean environment": """
        import subprocess, time
        subprocess.run("setsid sleep 1000 </dev/null >/dev/null 2>&1 &", shell=True,
                       env={"PATH": "/bin:/usr/bin", "ONSAVE_TEST_MARK": MARK})
        tell()
        time.sleep(1000)
    """,
    "is stopped": """
        import os, signal, time
        tell()
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(1000)
    """,
    "has a non-daemon thread and a pool of processes": """
        import threading, time
        from concurrent.futures import ProcessPoolExecutor
        if __name__ == "__main__":
            threading.Thread(target=time.sleep, args=(1000,)).start()
            pool = ProcessPoolExecutor(2)
            waiting = [pool.submit(time.sleep, 1000) for _ in range(2)]
            time.sleep(0.3)
            tell()
            time.sleep(1000)
    """,
    "is a shell around Python": """
        import os, sys
        if len(sys.argv) == 1:
            os.execlp("sh", "sh", "-c", sys.executable + " main.py again; true")
        import time
        tell()
        time.sleep(1000)
    """,
}

TELL = """
import os
MARK = os.environ["ONSAVE_TEST_MARK"]
def tell():
    with open("told", "a") as file:
        print(os.getpid(), file=file)
"""


def stubborn(scripts: Scripts, what: str) -> Project:
    project = scripts(main=TELL + textwrap.dedent(STUBBORN[what]), other="")
    project.write("pyproject.toml", SETTINGS)
    return project


def told(project: Project) -> list[int]:
    file = project / "told"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def of_the_app(mark: str, session: Session) -> set[int]:
    """The app's processes: what the session has started, but for its own helper."""
    me = psutil.Process(session.process.pid)
    ours = {p.pid for p in me.children() if p.name() == me.name() and p.cmdline() == me.cmdline()}
    return {p.pid for p in marked(mark)} - {me.pid} - ours


WAYS = [(what, how) for what in STUBBORN for how in ("stop", "restart", "SIGINT")]
# These two enter by the same event as stop.
WAYS += [("ignores SIGTERM", how) for how in ("SIGTERM", "SIGHUP")]


@pytest.mark.parametrize(("what", "how"), WAYS)
def test_the_whole_tree_is_gone(
    scripts: Scripts, start: Start, mark: str, what: str, how: str
) -> None:
    project = stubborn(scripts, what)
    session = start(project, COMMAND, wait=False)
    until(lambda: told(project), "the app is as it is meant to be")
    old = of_the_app(mark, session)
    assert old
    if how == "restart":
        session.ready()
        session.request("restart")
        until(lambda: len(told(project)) == 2, "the new run is as it is meant to be")
        until(lambda: not old & {p.pid for p in marked(mark)}, "nothing of the old run lives")
    else:
        if how == "stop":
            session.request("stop")
        else:
            session.process.send_signal(signal.Signals[how])
        session.wait()
        assert not marked(mark)


def test_a_second_interrupt_kills_at_once(scripts: Scripts, start: Start) -> None:
    project = stubborn(scripts, "ignores SIGTERM")
    project.write("pyproject.toml", "[tool.onsave]\nstop-timeout = 3000\n")
    session = start(project, COMMAND, wait=False)
    until(lambda: told(project), "the app ignores signals")
    session.process.send_signal(signal.SIGINT)
    session.until(lambda s: s.status["state"] == "ended", "the session is ending")
    session.process.send_signal(signal.SIGINT)
    assert session.wait() == 128 + signal.SIGKILL


def test_a_root_that_ends_well_may_leave_the_app_running(scripts: Scripts, start: Start) -> None:
    """A program that goes into the background is not over."""
    daemon = """
        import os, time
        if os.fork() == 0:
            tell()
            time.sleep(1000)
    """
    project = scripts(main=TELL + textwrap.dedent(daemon))
    session = start(project, COMMAND, wait=False)
    until(lambda: told(project), "the daemon is there")
    session.ready()
    (pid,) = told(project)
    assert psutil.pid_exists(pid)
    os.kill(pid, signal.SIGKILL)
    assert session.wait() == 0, "the exit code is that of the root process"


def test_a_root_that_fails_takes_the_rest_with_it(
    scripts: Scripts, start: Start, mark: str
) -> None:
    failing = """
        import subprocess, sys
        subprocess.Popen(["sleep", "1000"])
        tell()
        sys.exit(5)
    """
    project = scripts(main=TELL + textwrap.dedent(failing))
    session = start(project, COMMAND, wait=False)
    session.until_state("broken")
    assert not of_the_app(mark, session)
    assert "exited with 5" in session.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGUSR1"])
def test_the_stop_signal_is_the_configured_one(scripts: Scripts, start: Start, name: str) -> None:
    listening = f"""
        import signal, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.{name}, lambda *_: sys.exit(9))
        tell()
        time.sleep(1000)
    """
    project = scripts(main=TELL + textwrap.dedent(listening))
    project.write("pyproject.toml", f'[tool.onsave]\nstop-signal = "{name}"\nstop-timeout = 3000\n')
    session = start(project, COMMAND, wait=False)
    until(lambda: told(project), "the app listens to its signal")
    session.request("stop")
    assert session.wait() == 9


def test_a_killed_session_leaves_nothing(scripts: Scripts, start: Start, mark: str) -> None:
    """Agents end their processes by themselves; the guard ends those without one."""
    without_agent = """
        import subprocess, sys, time
        subprocess.Popen([sys.executable, "-I", "-c", "import time; time.sleep(1000)"])
        subprocess.Popen(["setsid", "sleep", "1000"])
        tell()
        time.sleep(1000)
    """
    project = scripts(main=TELL + textwrap.dedent(without_agent))
    session = start(project, COMMAND)
    until(lambda: told(project), "all of the app is there")
    assert len(of_the_app(mark, session)) == 3
    session.process.kill()
    session.process.wait(DEADLINE)
    until(lambda: not marked(mark), "nothing lives on")


def test_a_killed_session_leaves_nothing_of_an_app_without_an_agent(
    scripts: Scripts, start: Start, mark: str
) -> None:
    project = scripts(main=TELL + "import time\ntell()\ntime.sleep(1000)\n")
    session = start(project, [sys.executable, "-I", "main.py"], wait=False)
    until(lambda: told(project), "the app is there")
    session.process.kill()
    session.process.wait(DEADLINE)
    until(lambda: not marked(mark), "nothing lives on")


def test_a_new_session_works_after_a_killed_one(scripts: Scripts, start: Start) -> None:
    project = scripts(main=TELL + "import time\ntell()\ntime.sleep(1000)\n")
    first = start(project, COMMAND)
    first.process.kill()
    first.process.wait(DEADLINE)
    second = start(project, COMMAND)
    assert second.status["name"] == first.status["name"], "the name is free again"
