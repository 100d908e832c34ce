"""On a real terminal: the app keeps it, Ctrl-C works as ever, and it is given back as it was."""

from __future__ import annotations

import signal
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from harness import Project
from harness.processes import DEADLINE, assert_no_orphans, marked, until
from harness.session import ONSAVE, environment

Scripts = Callable[..., Project]
Spawn = Callable[..., Any]


@pytest.fixture
def terminal(run_directory: Path, mark: str) -> Iterator[Spawn]:
    """Runs a command on a terminal of its own, as its session leader's child: a shell's job."""
    made = []

    def spawn(project: Project, *words: str, shell: bool = False) -> Any:
        env = environment(run_directory, mark, TERM="xterm", PS1="$ ")
        command = ["/bin/sh", "-i"] if shell else [ONSAVE, "run", *words]
        child = pexpect.spawn(
            command[0], command[1:], cwd=str(project.path), env=env, timeout=DEADLINE,
            encoding="utf-8", echo=True,
        )  # fmt: skip
        made.append(child)
        return child

    yield spawn
    for child in made:
        child.close(force=True)
    assert_no_orphans(mark)


def echoes(child: Any) -> bool:
    return bool(termios.tcgetattr(child.child_fd)[3] & termios.ECHO)


def code(child: Any) -> int:
    child.expect(pexpect.EOF)
    child.wait()
    return int(child.exitstatus)


def test_stdin_and_colours_are_the_apps(scripts: Scripts, terminal: Spawn) -> None:
    project = scripts(
        main="import sys\nprint(sys.stdin.isatty(), sys.stdout.isatty())\n"
        "name = input('who? ')\nprint('hello', name)\n"
    )
    child = terminal(project, sys.executable, "main.py")
    child.expect("True True")
    child.expect("who\\? ")
    child.sendline("you")
    child.expect("hello you")
    assert code(child) == 0


def test_our_own_lines_have_colours_only_on_terminals(scripts: Scripts, terminal: Spawn) -> None:
    child = terminal(scripts(main="raise SystemExit(3)"), "--once", sys.executable, "main.py")
    child.expect("\x1b\\[31mfailed")
    assert code(child) == 3


@pytest.mark.parametrize(
    ("handler", "expected"),
    [("pass", 130), ("signal.signal(signal.SIGINT, lambda *_: sys.exit(7))", 7)],
)
def test_ctrl_c_ends_app_and_session(
    scripts: Scripts, terminal: Spawn, handler: str, expected: int
) -> None:
    project = scripts(
        main=f"import signal, sys, time\n{handler}\nprint('up', flush=True)\ntime.sleep(1000)\n"
    )
    child = terminal(project, sys.executable, "main.py")
    child.expect("up")
    child.sendintr()
    assert code(child) == expected


def test_ctrl_c_reaches_the_app_once(scripts: Scripts, terminal: Spawn) -> None:
    project = scripts(
        main="""
import signal, time
count = 0
def told(*_):
    global count
    count += 1
signal.signal(signal.SIGINT, told)
print('up', flush=True)
until = time.time() + 1000
while not count and time.time() < until:
    time.sleep(0.05)
time.sleep(0.5)
print('told', count, flush=True)
"""
    )
    child = terminal(project, sys.executable, "main.py")
    child.expect("up")
    child.sendintr()
    child.expect("told 1")
    assert code(child) == 0


def test_a_second_ctrl_c_kills(scripts: Scripts, terminal: Spawn) -> None:
    project = scripts(
        main="""
import os, signal, time
signal.signal(signal.SIGINT, lambda *_: os.write(1, b'no\\n'))
print('up', flush=True)
while True:
    time.sleep(1)
"""
    )
    project.write("onsave.toml", "stop-timeout = 3000\n")
    child = terminal(project, sys.executable, "main.py")
    child.expect("up")
    child.sendintr()
    child.expect("no")
    child.sendintr()
    assert code(child) == 128 + signal.SIGKILL


def test_pdb_works(scripts: Scripts, terminal: Spawn) -> None:
    project = scripts(main="x = 41\nbreakpoint()\nprint('x is', x)\n")
    child = terminal(project, sys.executable, "main.py")
    child.expect("\\(Pdb\\) ")
    child.sendline("x += 1")
    child.expect("\\(Pdb\\) ")
    child.sendline("c")
    child.expect("x is 42")
    assert code(child) == 0


def test_echo_is_restored_after_the_app_was_killed(scripts: Scripts, terminal: Spawn) -> None:
    """As readline leaves it when a process dies at its prompt."""
    project = scripts(
        main="""
import sys, termios, time
modes = termios.tcgetattr(0)
modes[3] &= ~(termios.ECHO | termios.ICANON)
termios.tcsetattr(0, termios.TCSANOW, modes)
print('silent', flush=True)
time.sleep(1000)
"""
    )
    child = terminal(project, sys.executable, "main.py")
    child.expect("silent")
    assert not echoes(child)
    app = next(p for p in _children(child.pid) if "main.py" in p.cmdline())
    app.kill()
    child.expect("ended by SIGKILL")
    until(lambda: echoes(child), "the terminal echoes again")
    child.sendintr()
    assert code(child) == 137


def _children(pid: int) -> list[Any]:
    import psutil

    return psutil.Process(pid).children()


def test_a_closed_terminal_ends_all(scripts: Scripts, terminal: Spawn, mark: str) -> None:
    project = scripts(
        main="import signal, time\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "print('up', flush=True)\ntime.sleep(1000)\n"
    )
    project.write("onsave.toml", "stop-timeout = 1\n")
    child = terminal(project, sys.executable, "main.py")
    child.expect("up")
    child.ptyproc.fileobj.close()
    child.ptyproc.closed = child.closed = True
    until(lambda: not marked(mark), "nothing lives on")


def test_ctrl_z_and_fg(scripts: Scripts, terminal: Spawn) -> None:
    project = scripts(
        main="print('up', flush=True)\nline = input()\nprint('got', line, flush=True)\n"
    )
    child = terminal(project, shell=True)
    child.expect_exact("$ ")
    child.sendline(f"{ONSAVE} run {sys.executable} main.py")
    child.expect("\r\nup")
    child.sendcontrol("z")
    child.expect("(?i)stopped")
    child.sendline("echo shell is here")
    child.expect("\r\nshell is here")
    child.sendline("fg")
    child.expect("main.py")
    child.sendline("a line")
    child.expect("got a line")
    child.expect_exact("$ ")
    child.sendline("exit 0")
    assert code(child) == 0


def test_a_restart_waits_for_pdb(scripts: Scripts, terminal: Spawn, run_directory: Path) -> None:
    """It says that it waits, and goes on when the debugger lets go; or is forced."""
    from onsave.control import Client, RunDirectory

    project = scripts(
        main="import part, time\nprint('X', part.X, flush=True)\nbreakpoint()\n"
        "print('on', flush=True)\ntime.sleep(1000)\n",
        part="X = 1\n",
    )
    child = terminal(project, sys.executable, "main.py")
    child.expect("X 1")
    child.expect("\\(Pdb\\) ")
    (entry,) = RunDirectory(run_directory).entries("session")

    def save(number: int) -> None:
        project.write("part.py", f"X = {number}\n")
        with Client(entry) as client:
            client.saved([str(project / "part.py")])

    save(2)
    child.expect("waits: pdb at .*main.py:[34]")
    child.sendline("part.X")
    child.expect("\r\n1\r\n")
    child.sendline("c")
    child.expect("on")
    child.expect("X 2")
    child.expect("\\(Pdb\\) ")
    save(3)
    child.expect("waits: pdb at .*main.py:[34]")
    with Client(entry) as client:
        client.request("restart", force=True)
    child.expect("X 3")
    child.expect("\\(Pdb\\) ")
    child.sendline("import os; os._exit(0)")
    assert code(child) == 0
