"""What can't be imported ahead, and why: each library does one thing that is more than defining."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.conftest import INTERPRETERS

from .standing import Stand

if not Path("/proc/self").exists():
    pytest.skip("snapshots are for Linux", allow_module_level=True)

#: What a library does as it is imported → a word of the reason.
DEEDS = {
    "import socket; S = socket.socket()": "socket",
    "import threading; threading.Thread(target=int, daemon=True).start()": "thread",
    "import subprocess; subprocess.run(['true'])": "process",
    "import os; os.environ['X'] = '1'": "environment variable",
    "import os; os.environ.setdefault('Y', '1')": "environment variable",
    "import os; ALL = dict(os.environ)": "whole environment",
    "print('hello')": "prints",
    "import sys; sys.stderr.write('hello')": "prints",
    "import logging; logging.getLogger('x').info('hello')": "logs",
    "import sys; sys.path.append('/x')": "sys.path",
    "import sys; ALL = list(sys.path)": "sys.path",
    "import sys; sys.meta_path.insert(0, sys.meta_path[0])": "meta_path",
    "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)": "signal",
    "import sys; sys.setrecursionlimit(12345)": "recursion",
    "import sys; sys.excepthook = print": "hook",
    "import sys; sys.settrace(None)": "trace",
    "import sqlite3; C = sqlite3.connect(':memory:')": "database",
    "import tempfile; T = tempfile.mkdtemp()": "file",
    "open('/tmp/onsave-written', 'w').close()": "writes",
    "open('settings.ini').read()": "settings.ini",
    "import os; os.listdir('.')": "looks into",
    "import __main__": "main",
    "raise RuntimeError('not configured')": "not configured",
    "import os, locale; locale.setlocale(locale.LC_ALL, 'C')": "locale",
    "import os; os.umask(0o777)": "umask",
    "import os; os.chdir('/')": "working directory",
    "try:\n    import fails\nexcept RuntimeError:\n    pass": "goes on without",
}


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand(next(reversed(INTERPRETERS.values())), "app.py")
    made.write(app="")
    yield made
    made.close()


def test_each_deed_has_its_reason(stand: Stand) -> None:
    stand.library.mkdir()
    (stand.project / "settings.ini").write_text("")
    names = []
    for number, source in enumerate(DEEDS):
        stand.write(**{f"lib__deed{number}": source, f"lib__user{number}": f"import deed{number}"})
        names += [f"user{number}"]
    stand.write(lib__fails="raise RuntimeError", lib__plain="import json, re\nX = 1")
    tried = stand.attempt([*names, "plain"])
    reasons = dict(tried["skipped"])
    wrong = []
    for number, (source, word) in enumerate(DEEDS.items()):
        user = reasons.get(f"user{number}", "none")
        if source.startswith("raise"):
            reason = user
        else:
            reason = reasons.get(f"deed{number}", "none")
            if user != f"needs deed{number}":
                wrong.append(f"user{number}: {user}")
        if word not in reason:
            wrong.append(f"{source!r}: {reason}")
    assert not wrong, "\n".join(wrong)
    assert tried["modules"] == ["plain"]


def test_what_libraries_may_do(stand: Stand) -> None:
    """Definitions, one's own files, filters of warnings, replaced functions, what is installed."""
    stand.write(
        lib__harmless="import warnings, sys, os, json, importlib.metadata as m\n"
        "warnings.simplefilter('ignore', UserWarning)\n"
        "with open(__file__) as f: TEXT = f.read()\n"
        "def dumps(*a): pass\njson.dumps = dumps\n"
        "POINTS = list(m.distributions())\nHOME = os.environ.get('HOME')\n"
        "class F:\n    def find_spec(self, *a): return None\nsys.meta_path.append(F())\n",
    )
    assert "harmless" in stand.attempt(["harmless"])["modules"]


def test_workers_do_not_share_random_numbers(stand: Stand) -> None:
    stand.write(lib__lot="import os\nKEY = os.urandom(8)", lib__plain="")
    assert stand.attempt(["lot", "plain"], forks=False)["modules"] == ["lot", "plain"]
    assert stand.attempt(["lot", "plain"], forks=True)["modules"] == ["plain"]


@pytest.mark.parametrize("wanted", [True, False])
def test_bytecode_is_written_where_the_app_would(stand: Stand, wanted: bool) -> None:
    stand.write(lib__plain="A = 1")
    stand.env = {} if wanted else {"PYTHONDONTWRITEBYTECODE": "1"}
    assert stand.attempt(["plain"])["modules"] == ["plain"]
    assert (stand.library / "__pycache__").exists() is wanted


def in_order(modules: str) -> list[str]:
    """A function of sysconfig's imports one module when it is first called, which for pandas is
    earlier where other libraries have been imported already: its place is the only difference."""
    return sorted(json.loads(modules), key=lambda name: name.startswith("_sysconfigdata"))


@pytest.mark.parametrize(
    "library", ["numpy", "pandas", "sqlalchemy", "grpc", "polars", "gevent.monkey", "uvloop"]
)
def test_real_libraries(library: str) -> None:
    """The right answer, whatever they do: the same modules and code, or a reason."""
    found = subprocess.run(
        [sys.executable, "-c", f"import importlib.util as u; assert u.find_spec({library!r})"],
        capture_output=True, check=False,
    )  # fmt: skip
    if found.returncode:
        pytest.skip(f"{library} is not installed")
    stand = Stand(sys.executable, "app.py")
    stand.env["PYTHONHASHSEED"] = "0"  # sqlalchemy imports in the order of a set
    try:
        stand.write(
            app=f"import {library}, sys, json\n"
            "print(json.dumps([n for n in sys.modules if not n.startswith('onsave')]))"
        )
        cold = stand.cold()
        resumed = stand.resumed()
        assert (resumed.code, resumed.unlike) == (cold.code, {}), resumed.err
        assert in_order(resumed.out) == in_order(cold.out)
        assert set(resumed.loaded) == set(cold.loaded)
    finally:
        stand.close()
