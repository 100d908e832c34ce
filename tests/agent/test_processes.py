"""Every Python process of the app reports for itself, and none outlives a killed session."""
# ruff: noqa: E501 (programs of the app's, on one line each)

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from .conftest import PATIENCE, Session, write

CHILD = "import child_only"

SPAWNS = {
    "subprocess, env=None": "subprocess.run([sys.executable, 'child.py'], check=True)",
    "subprocess, env=copy": "subprocess.run([sys.executable, 'child.py'], check=True, "
                            "env=os.environ.copy())",
    "subprocess, env=dict with more": "subprocess.run([sys.executable, 'child.py'], check=True, "
                                      "env={**os.environ, 'A': 'B'})",
    "subprocess, PYTHONPATH set": "os.environ['PYTHONPATH'] = 'lib'; "
                                  "subprocess.run([sys.executable, 'child.py'], check=True)",
    "subprocess, PYTHONPATH in env": "subprocess.run([sys.executable, 'child.py'], check=True, "
                                     "env=dict(os.environ, PYTHONPATH='lib'))",
    "subprocess, posix_spawn": "subprocess.run([sys.executable, 'child.py'], check=True, "
                               "close_fds=False)",
    "subprocess, bytes": "subprocess.run([sys.executable, 'child.py'], check=True, "
                         "env=dict(os.environb))",
    "subprocess, shell": "subprocess.run(sys.executable + ' child.py', shell=True, check=True)",
    "subprocess, preexec_fn": "subprocess.run([sys.executable, 'child.py'], check=True, "
                              "preexec_fn=lambda: None)",
    "os.system": "os.system(sys.executable + ' child.py')",
    "os.popen": "with os.popen(sys.executable + ' child.py') as pipe: pipe.read()",
    "os.posix_spawn": "pid = os.posix_spawn(sys.executable, [sys.executable, 'child.py'], "
                      "os.environ); os.waitpid(pid, 0)",
    "os.spawnv": "os.spawnv(os.P_WAIT, sys.executable, [sys.executable, 'child.py'])",
    "fork and execv": "pid = os.fork()\nif not pid: os.execv(sys.executable, "
                      "[sys.executable, 'child.py'])\nos.waitpid(pid, 0)",
    "fork and execve": "pid = os.fork()\nif not pid: os.execve(sys.executable, "
                       "[sys.executable, 'child.py'], dict(os.environ))\nos.waitpid(pid, 0)",
    "fork and execvp, PYTHONPATH set": "os.environ['PYTHONPATH'] = 'lib'\npid = os.fork()\n"
        "if not pid: os.execvp(sys.executable, [sys.executable, 'child.py'])\nos.waitpid(pid, 0)",
}


@pytest.mark.parametrize("how", list(SPAWNS))
def test_python_children_report(python: str, session: Session, how: str) -> None:
    see = "import os\nprint('sees', os.environ.get('PYTHONPATH'))\n"
    app = f"import os, subprocess, sys\nprint('start', flush=True)\n{SPAWNS[how]}\n"
    write(session.folder, app=app, child=see + CHILD, child_only="")
    without = session.run(python, "-W", "error", "app.py", observed=False)
    done = session.run(python, "-W", "error", "app.py")
    assert done.stderr == ""
    assert done.stdout == without.stdout
    # The child's own hello came from its own start, whoever was forked on the way.
    children = [m for m in session.of("hello") if m["argv"][-1] == "child.py"]
    assert "exec" in [m["spawned"] for m in children]
    assert str(session.folder / "child_only.py") in session.loaded(children[-1]["from"])


def test_a_clean_environment_stays_clean(python: str, session: Session) -> None:
    write(
        session.folder, child="import os; print(sorted(os.environ))",
        app="import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'], env={'A': 'B'})",
    )
    done = session.run(python, "app.py")
    assert "ONSAVE_AGENT" not in done.stdout
    assert "PYTHONPATH" not in done.stdout
    assert len(session.of("hello")) == 1


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(python: str, session: Session, method: str) -> None:
    write(
        session.folder, lazily="",
        app="import multiprocessing\ndef job():\n    import lazily\n    print('ran', flush=True)\n"
            f"if __name__ == '__main__':\n    c = multiprocessing.get_context('{method}')\n"
            "    p = c.Process(target=job)\n    p.start()\n    p.join()\n    print(p.exitcode)\n",
    )
    done = session.run(python, "-W", "error", "app.py")
    assert (done.stdout, done.stderr) == ("ran\n0\n", "")
    pid = next(
        m["from"] for m in session.of("loaded")
        if any(entry[0].endswith("/lazily.py") for entry in m["files"])
    )
    hello = next(m for m in session.of("hello") if m["from"] == pid)
    assert hello["spawned"] == ("exec" if method == "spawn" else "fork")
    if method == "fork":
        assert hello["ppid"] == session.processes[-1].pid
    else:
        entry = session.loaded(pid)[str(session.folder / "app.py")]
        assert entry[2] == "main"


@pytest.mark.parametrize("pool", ["multiprocessing.Pool(2)", "concurrent.futures.ProcessPoolExecutor(2)"])
def test_pools(python: str, session: Session, pool: str) -> None:
    write(
        session.folder,
        app="import concurrent.futures, multiprocessing\ndef f(x): return x * x\n"
            f"if __name__ == '__main__':\n    with {pool} as p:\n        print(list(p.map(f, range(9))))\n",
    )
    assert session.run(python, "app.py").stdout == "[0, 1, 4, 9, 16, 25, 36, 49, 64]\n"


def test_forking_with_threads_and_many_forks(python: str, session: Session) -> None:
    """No warning of 3.12's without threads of the app's own, and no thread of ours lost."""
    write(
        session.folder,
        app="import os\nfor n in range(30):\n    pid = os.fork()\n    if not pid: os._exit(n)\n"
            "    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == n\n"
            "import late\n",
        late="",
    )
    done = session.run(python, "-W", "error", "app.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert str(session.folder / "late.py") in session.loaded(session.processes[-1].pid)


def test_the_thread_answers_after_a_fork(python: str, session: Session) -> None:
    write(
        session.folder,
        app="import os, time\npid = os.fork()\nprint(os.getpid(), flush=True)\ntime.sleep(60)",
    )
    process = session.start(python, "app.py")
    assert process.stdout is not None
    pids = {int(process.stdout.readline()) for _ in range(2)}
    session.wait(lambda: {m["from"] for m in session.of("hello")} == pids)
    for peer in list(session.peers):
        assert session.ask({"type": "sync"}, peer)["type"] == "synced"


def test_gone_with_a_killed_session(python: str, session: Session, tmp_path: Path) -> None:
    """The session's end is closed without a word: nothing of the app is left."""
    write(
        session.folder,
        app="import os, signal, subprocess, sys, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "subprocess.Popen(['sleep', '600'])\n"
            "subprocess.Popen([sys.executable, '-I', '-c', 'import os, time; os.setsid(); "
            "os.fork(); time.sleep(600)'])\n"
            "if os.fork() == 0: os.setsid()\n"
            "print('up', flush=True)\ntime.sleep(600)\n",
    )
    process = session.start(python, "app.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    root = psutil.Process(process.pid)
    deadline = time.monotonic() + PATIENCE
    while len(family := root.children(recursive=True)) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(family) >= 4
    session.wait(lambda: len(session.of("hello")) >= 2)
    session.listener.close()
    os.unlink(session.path)
    for peer in session.peers:
        peer.connection.shutdown(2)
    _, alive = psutil.wait_procs([root, *family], timeout=PATIENCE)
    assert not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_a_session_that_merely_hangs_up_is_met_again(python: str, session: Session) -> None:
    write(session.folder, app="import sys\nfor line in sys.stdin: __import__(line.strip())", one="")
    process = session.start(python, "-c", "import time; print('up', flush=True); time.sleep(600)")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    session.wait(lambda: session.of("hello"))
    session.peers[0].connection.shutdown(2)
    session.wait(lambda: [m for m in session.of("hello") if m["spawned"] == "again"])
    assert session.ask({"type": "sync"}, session.peers[1])["type"] == "synced"
    assert process.poll() is None


DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
out = os.dup2(1, 150)
os.closerange(3, 150); os.closerange(151, 4096)
import late
os.write(150, b'alive %d\\n' % os.getpid())
time.sleep(600)
"""


def test_a_daemon_that_closes_everything_lives_on(python: str, session: Session) -> None:
    write(session.folder, app=DAEMON, late="")
    process = session.start(python, "app.py")
    assert process.stdout is not None
    word, number = process.stdout.readline().split()
    pid = int(number)
    try:
        assert word == "alive"
        session.wait(lambda: str(session.folder / "late.py") in session.loaded(pid))
        again = [m for m in session.of("hello", pid) if m["spawned"] == "again"]
        assert again
        peer = next(p for p in session.peers if p.hello is again[-1])
        assert session.ask({"type": "sync"}, peer)["type"] == "synced"
        assert psutil.pid_exists(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_signal_handlers_in_the_midst_of_reports(python: str, session: Session) -> None:
    names = [f"m{n}" for n in range(150)]
    data = {f"d{n}.txt": "" for n in range(150)}
    write(
        session.folder, data, **dict.fromkeys(names, ""),
        app="import signal\nleft = list(range(150))\n"
            "def tick(*a):\n    n = left.pop() if left else 0\n    open('d%d.txt' % n).close()\n"
            "signal.signal(signal.SIGALRM, tick)\n"
            "signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)\n"
            "for n in range(150): __import__('m%d' % n)\nimport time\n"
            "while len(left) > 0: time.sleep(0.001)\n"
            "signal.setitimer(signal.ITIMER_REAL, 0)\n",
    )
    done = session.run(python, "app.py")
    assert done.returncode == 0, done.stderr
    loaded = set(session.loaded())
    assert {f"{session.folder}/m{n}.py" for n in range(150)} <= loaded
    assert {f"{session.folder}/d{n}.txt" for n in range(150)} <= loaded


def test_a_session_that_does_not_read_never_blocks_the_app(
    python: str, session: Session
) -> None:
    import socket

    listener = socket.socket(socket.AF_UNIX)
    path = str(session.folder / "deaf.sock")
    listener.bind(path)
    listener.listen(5)
    names = [f"module_with_a_name_{n}_" + "x" * 60 for n in range(3000)]
    write(
        session.folder, **dict.fromkeys(names[:50], ""),
        app="import sys, types\nfor n in range(20000):\n    m = types.ModuleType('a%d' % n)\n"
            "    m.__file__ = '/nowhere/%d' % n\n    sys.modules['a%d' % n] = m\n"
            + "".join(f"import {name}\n" for name in names[:50]) + "print('done')",
    )
    done = session.run(python, "app.py", socket=path)
    assert done.stdout == "done\n"


PATCHED = {
    "gevent": "from gevent import monkey; monkey.patch_all()\nimport gevent\n",
    "eventlet": "import eventlet; eventlet.monkey_patch()\n",
}


@pytest.mark.parametrize("library", list(PATCHED))
def test_monkey_patches(session: Session, library: str) -> None:
    write(
        session.folder, late="",
        app=PATCHED[library]
            + "import threading, socket, time, subprocess, sys, os\n"
            "def work():\n    time.sleep(0.01)\n    import late\n"
            "t = threading.Thread(target=work); t.start(); t.join()\n"
            "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
            "subprocess.run([sys.executable, '-c', 'pass'], check=True)\n"
            "pid = os.fork()\nif not pid: os._exit(0)\nos.waitpid(pid, 0)\n"
            "print('up', flush=True)\ntime.sleep(60)",
    )
    process = session.start(sys.executable, "app.py")
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != "up\n":
        process.kill()
        raise AssertionError(process.communicate())
    assert session.ask({"type": "sync"})["type"] == "synced"
    session.wait(lambda: str(session.folder / "late.py") in session.loaded(process.pid))
    (listening,) = session.of("listening")
    assert listening["requested"] == ["127.0.0.1", 0]


def test_under_coverage(session: Session) -> None:
    write(session.folder, app="import other", other="x = 1")
    done = session.run(sys.executable, "-m", "coverage", "run", "app.py")
    assert done.returncode == 0, done.stderr
    assert {f"{session.folder}/app.py", f"{session.folder}/other.py"} <= set(session.loaded())


def test_under_debugpy(session: Session) -> None:
    write(session.folder, app="import other; print('up', flush=True)", other="x = 1")
    done = session.run(
        sys.executable, "-Xfrozen_modules=off", "-m", "debugpy", "--listen", "127.0.0.1:0", "app.py"
    )
    assert "up\n" in done.stdout, done.stderr
    assert {f"{session.folder}/app.py", f"{session.folder}/other.py"} <= set(session.loaded())
