"""The app finds what it would have found without us."""
# ruff: noqa: E501 (programs of the app's, on one line each)

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Session, normal, write

OBSERVE = """
import builtins, json, os, signal, sys, threading
print(json.dumps({
    "argv": sys.argv, "path": sys.path, "flags": str(sys.flags),
    "cache": sorted(k for k in sys.path_importer_cache if "onsave" in k.replace(sys.argv[0], "")),
    "PYTHONPATH": os.environ.get("PYTHONPATH"), "bytes": ascii(os.environb.get(b"PYTHONPATH")),
    "sitecustomize": "sitecustomize" in sys.modules,
    "usercustomize": "usercustomize" in sys.modules,
    "signals": [str(signal.getsignal(n)) for n in signal.valid_signals()],
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "threads": [t.name for t in threading.enumerate()],
    "main": sorted(vars(sys.modules["__main__"])),
    "hook": sys.excepthook is sys.__excepthook__, "open": repr(open),
    "low": [n for n in range(3, 100) if os.path.exists("/proc/self/fd/%d" % n)],
    "dont": sys.dont_write_bytecode,
}))
"""


@pytest.mark.parametrize(
    "options",
    [[], ["-O"], ["-OO"], ["-B"], ["-W", "error"], ["-X", "dev"], ["-u"], ["-s"], ["-bb"]],
    ids=lambda options: "".join(options) or "plain",
)
@pytest.mark.parametrize("pythonpath", [None, "lib"])
def test_state_is_as_without_us(
    python: str, session: Session, options: list[str], pythonpath: str | None
) -> None:
    write(session.folder, app=OBSERVE)
    env = {"PYTHONPATH": pythonpath} if pythonpath else {}
    command = [python, *options, "app.py", "-x", "a b"]
    without = session.run(*command, env=env, observed=False)
    observed = session.run(*command, env=env)
    assert json.loads(observed.stdout) == json.loads(without.stdout)
    assert (observed.returncode, observed.stderr) == (without.returncode, without.stderr)
    assert session.of("hello"), "the agent was there"


@pytest.mark.parametrize("option", ["-I", "-S", "-E"])
def test_no_agent_is_a_normal_state(python: str, session: Session, option: str) -> None:
    write(session.folder, app="print('runs')")
    done = session.run(python, option, "app.py")
    assert (done.stdout, done.stderr, done.returncode) == ("runs\n", "", 0)
    assert not session.of("hello")


def test_safe_path(python: str, session: Session) -> None:
    write(session.folder, app=OBSERVE)
    without = session.run(python, "app.py", env={"PYTHONSAFEPATH": "1"}, observed=False)
    observed = session.run(python, "app.py", env={"PYTHONSAFEPATH": "1"})
    assert json.loads(observed.stdout) == json.loads(without.stdout)
    assert session.of("hello")


def test_importtime_is_only_longer(python: str, session: Session) -> None:
    write(session.folder, app="import other", other="")
    done = session.run(python, "-X", "importtime", "app.py")
    assert done.returncode == 0
    assert all(line.startswith("import time:") for line in done.stderr.splitlines())


def test_once_it_has_bytecode_the_agent_is_searched_for_no_more(
    python: str, session: Session
) -> None:
    write(session.folder, app="")
    session.run(python, "app.py")
    done = session.run(python, "-X", "importtime", "app.py")
    assert "site" in done.stderr
    searched = [line for line in done.stderr.splitlines() if "onsave_agent" in line]
    assert not searched, "_PARTS in the bootstrap's sitecustomize lack these, or their order is wrong"


@pytest.mark.parametrize("value", ["", "{", "[]", "{}", '{"socket": 3}', "null", "\udcff"])
def test_malformed_settings_are_silent(python: str, session: Session, value: str) -> None:
    write(session.folder, app="import sys, os; print(sys.path[1:], ascii(os.environ.get('ONSAVE_AGENT')))")
    without = session.run(python, "app.py", observed=False, env={"ONSAVE_AGENT": value})
    env = session.environment()
    env["ONSAVE_AGENT"] = value
    done = subprocess.run(
        [python, "app.py"], cwd=session.folder, env=env, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.split("]")[0] == without.stdout.split("]")[0]


def test_nobody_listens(python: str, session: Session) -> None:
    write(session.folder, app="import sys; print(sorted(sys.path), len(sys.meta_path))")
    without = session.run(python, "app.py", observed=False)
    done = session.run(python, "app.py", socket=str(session.folder / "nothing"))
    assert (done.stdout, done.stderr) == (without.stdout, "")


@pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
def test_the_users_own_customisation(python: str, session: Session, name: str) -> None:
    if name == "usercustomize" and python == sys.executable:
        pytest.skip("a virtual environment has no user site, and so no usercustomize")
    code = f"import sys; print('own {name}', __name__, __spec__.name)"
    (session.folder / "lib").mkdir()
    write(session.folder, app=f"import sys; print(sys.modules['{name}'].__file__)")
    (session.folder / "lib" / f"{name}.py").write_text(code)
    env = {"PYTHONPATH": str(session.folder / "lib")}
    without = session.run(python, "app.py", env=env, observed=False)
    observed = session.run(python, "app.py", env=env)
    assert observed.stdout == without.stdout
    assert "own" in observed.stdout
    assert str(session.folder / "lib" / f"{name}.py") in session.loaded()


def test_a_broken_sitecustomize_fails_as_it_would(python: str, session: Session) -> None:
    (session.folder / "lib").mkdir()
    (session.folder / "lib" / "sitecustomize.py").write_text("import nothing_like_it")
    write(session.folder, app="print('on')")
    env = {"PYTHONPATH": str(session.folder / "lib")}
    without = session.run(python, "app.py", env=env, observed=False)
    observed = session.run(python, "app.py", env=env)
    assert (observed.stdout, observed.stderr) == (without.stdout, without.stderr)


FAILURES = {
    "syntax": {"app": "import bad", "bad": "def f(:\n    pass\n"},
    "name": {"app": "import bad", "bad": "x = 1\nundefined\n"},
    "missing": {"app": "import bad", "bad": "import nothing_like_it"},
    "from": {"app": "import bad", "bad": "from os import nothing_like_it"},
    "import_module": {
        "app": "import importlib\nimportlib.import_module('bad')", "bad": "undefined"
    },
    "import_module_syntax": {
        "app": "import importlib\nimportlib.import_module('bad')", "bad": "x ="
    },
    "chained": {
        "app": "try:\n    import bad\nexcept Exception as e:\n    raise KeyError(1) from e",
        "bad": "1/0",
    },
    "nul": {"app": "import bad", "bad": "x = '\0'"},
    "encoding": {"app": "import bad", "bad": "# coding: nothing-like-it\n"},
    "thread": {
        "app": "import threading\nt = threading.Thread(target=lambda: 1/0, name='t')\n"
               "t.start()\nt.join()",
    },
    "exit": {"app": "import sys\nsys.exit(3)"},
    "exit_text": {"app": "import sys\nsys.exit('goodbye')"},
    "interrupt": {"app": "raise KeyboardInterrupt"},
    "reload": {
        "app": "import good, importlib\nopen('good.py', 'w').write('1/0')\n"
               "importlib.reload(good)", "good": "x = 1",
    },
    "recursion": {"app": "import bad", "bad": "def f(): f()\nf()"},
    "hook": {
        "app": "import sys\nsys.excepthook = lambda *a: print('mine', a[0].__name__)\n1/0",
    },
}


@pytest.mark.parametrize("name", list(FAILURES))
def test_tracebacks_are_byte_for_byte_the_same(
    python: str, session: Session, name: str
) -> None:
    write(session.folder, **FAILURES[name])
    without = session.run(python, "app.py", observed=False)
    write(session.folder, **FAILURES[name])
    observed = session.run(python, "app.py")
    assert observed.stdout == without.stdout
    assert normal(observed.stderr) == normal(without.stderr)
    assert observed.returncode == without.returncode


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_source(python: str, session: Session) -> None:
    write(session.folder, app="import secret", secret="x = 1")
    (session.folder / "secret.py").chmod(0)
    without = session.run(python, "app.py", observed=False)
    observed = session.run(python, "app.py")
    assert observed.stderr == without.stderr


def test_a_source_that_cannot_be_read(python: str, session: Session) -> None:
    """As above, also for root: the import finds a file, and reading it fails."""
    write(session.folder, app="import dangling")
    code = (
        "import sys, importlib.util\n"
        "spec = importlib.util.spec_from_file_location('gone', '/nowhere/gone.py')\n"
        "module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\n"
    )
    (session.folder / "app.py").write_text(code)
    without = session.run(python, "app.py", observed=False)
    observed = session.run(python, "app.py")
    assert observed.stderr == without.stderr
    assert "gone.py" in observed.stderr


def test_bytecode_is_written_where_it_would_be(python: str, session: Session) -> None:
    write(session.folder, app="import other", other="x = 1")
    cache = session.folder / "__pycache__"
    assert session.run(python, "-B", "app.py").returncode == 0
    assert not cache.exists()
    assert session.run(python, "app.py").returncode == 0
    assert [path.name.split(".")[0] for path in Path(cache).iterdir()] == ["other"]
