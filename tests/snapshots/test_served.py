"""A start from a snapshot against a cold start: the same in all that can be seen, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import until

from .standing import DESCRIBE, Stand

if not Path("/proc/self").exists():
    pytest.skip("snapshots are for Linux", allow_module_level=True)

STANDARD = (
    "logging, argparse, asyncio, sqlite3, email.message, xml.dom.minidom, concurrent.futures, "
    "unittest.mock, urllib.request, decimal, dataclasses, http.server, multiprocessing, ctypes, "
    "importlib.metadata, zipfile, csv, random, tempfile, pathlib, ssl, uuid, typing"
)


def same(cold: dict[str, Any], resumed: dict[str, Any]) -> None:
    """All that can be seen is the same, but for the finder that serves."""
    cold, resumed = dict(cold), dict(resumed)
    cold["meta"] = [name for name in cold["meta"] if name != "Served"]
    resumed["meta"] = [name for name in resumed["meta"] if name != "Served"]
    assert resumed == cold


# --- equivalence --------------------------------------------------------------------------------


def test_a_script(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py", "--answer", "42")
    app.write(
        app=f"import {STANDARD}\nimport helper\n{DESCRIBE}\n"
        "import atexit; atexit.register(print, 'at exit')\n"
        "describe(helper=helper.WORD); raise SystemExit(3)",
        helper="WORD = 'one'",
    )
    cold = app.cold()
    resumed = app.resumed()
    assert (cold.code, resumed.code) == (3, 3)
    assert cold.out.count("at exit") == resumed.out.count("at exit") == 1
    assert cold.err == resumed.err == ""
    first, second = (text.out.splitlines()[0] for text in (cold, resumed))
    same(__import__("json").loads(first), __import__("json").loads(second))
    assert set(cold.loaded) == set(resumed.loaded)
    own = str(app.project)
    assert {k: v for k, v in cold.loaded.items() if k.startswith(own)} == {
        k: v for k, v in resumed.loaded.items() if k.startswith(own)
    }


def test_a_module_run_with_m(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "-m", "pkg", "x")
    app.write(
        pkg____init__="",
        pkg____main__=f"import {STANDARD}\nfrom . import part\n{DESCRIBE}\ndescribe(part=part.X)",
        pkg__part="import json.tool\nX = 1",
    )
    same(app.cold().said, app.resumed().said)


def test_what_was_saved_meanwhile_runs(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(app="import json, helper; print(json.dumps([1, helper.X]))", helper="X = 1")
    names = app.attempt(app.names(app.cold()))["modules"]

    def edit() -> None:
        app.write(app="import json, helper; print(json.dumps([2, helper.X]))", helper="X = 2")

    assert app.resumed(names, edit).out == "[2, 2]\n"


def test_each_start_has_randomness_of_its_own(stand: Callable[..., Stand], one_python: str) -> None:
    app = stand(one_python, "app.py")
    app.write(
        app="import random, uuid, secrets, tempfile, os\n"
        "print(random.random(), uuid.uuid4(), secrets.token_hex(), tempfile.mktemp(), hash('x'))"
    )
    names = app.attempt(app.names(app.cold()))["modules"]
    first, second = (app.resumed(names).out.split() for _ in range(2))
    assert not set(first) & set(second)


def test_a_traceback_shows_nothing_of_us(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(
        app="import json, argparse\nimport helper",
        helper="import logging, does_not_exist",
    )
    cold, resumed = app.cold(), app.resumed()
    assert cold.code == resumed.code == 1
    assert resumed.err == cold.err and "ModuleNotFoundError" in cold.err


def test_warnings_of_a_library_and_its_filters(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(
        lib__filters="import warnings\nwarnings.filterwarnings('ignore', 'front')\n"
        "warnings.simplefilter('always', FutureWarning, append=True)",
        app=f"import warnings\nwarnings.filterwarnings('error', 'mine')\n"
        f"import json, filters\n{DESCRIBE}\ndescribe()",
    )
    same(app.cold().said, app.resumed().said)


def test_a_function_that_a_library_replaces(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(
        lib__patcher="import json, typing\ndef dumps(x): return 'patched'\njson.dumps = dumps",
        app="import json\nfirst = json.dumps(1)\nimport patcher\nprint(first, json.dumps(1))",
    )
    assert app.cold().out == app.resumed().out == "1 patched\n"


def test_modules_that_are_put_there_by_hand(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(
        lib__odd="import sys, types\nm = types.ModuleType('odd.moves'); m.x = 1\n"
        "sys.modules['odd.moves'] = m\n"
        "class Me(types.ModuleType):\n    y = 2\n"
        "sys.modules[__name__] = Me('odd')",
        lib__user="import odd\nfrom odd.moves import x\nz = odd.y + x",
        app=f"import user\nfrom odd.moves import x\nimport odd\n{DESCRIBE}\n"
        "describe(sum=user.z + x + odd.y, kind=type(odd).__name__)",
    )
    same(app.cold().said, app.resumed().said)


def test_packages_that_import_each_other(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(
        lib__a____init__="from . import b, c\nfrom .c import name as d",
        lib__a__b="import a\nfrom . import c\nimport a.e",
        lib__a__c="from . import b\nname = 1",
        lib__a__e="",
        lib__a__f="",
        app=f"import a.f\nimport a.b as b\n{DESCRIBE}\ndescribe(same=b is a.b, d=a.d)",
    )
    same(app.cold().said, app.resumed().said)


def test_who_looks_for_a_module_finds_the_real_one(
    stand: Callable[..., Stand], one_python: str
) -> None:
    app = stand(one_python, "app.py")
    app.write(
        app="import json\nimport importlib.util as u\ns = u.find_spec('argparse')\n"
        "print(type(s.loader).__name__, s.origin == __import__('argparse').__file__)\n"
        "import argparse\ns = argparse.__spec__\n"
        "print(s.loader is argparse.__loader__, s.origin, s.name, s.cached, type(s.loader))"
    )
    assert app.cold().out == app.resumed().out


def test_a_module_that_is_not_asked_for_is_not_there(
    stand: Callable[..., Stand], one_python: str
) -> None:
    app = stand(one_python, "app.py")
    app.write(app="import xml.dom.minidom, json, sys; print('ok')")
    names = app.attempt(app.names(app.cold()))["modules"]
    edited = "import xml, json, sys\nprint('xml.dom' in sys.modules, hasattr(xml, 'dom'))"
    assert app.resumed(names, lambda: app.write(app=edited)).out == "False False\n"


# --- what is different, and found to be -------------------------------------------------------


def started_differently(app: Stand, names: list[str], before: Callable[[], None]) -> dict[str, str]:
    ended = app.resumed(names, before)
    assert ended.out == "", "it went on although the start is another one"
    return ended.unlike


def test_a_variable_that_a_library_reads(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(
        lib__reader="import os\nLEVEL = os.environ.get('LEVEL', 'none')",
        lib__user="import reader",
        app="import json, user, reader; print(reader.LEVEL)",
    )
    names = app.attempt(app.names(app.cold()))["modules"]
    assert {"reader", "user", "json"} <= set(names)
    set_first = (
        "import os; os.environ['LEVEL'] = 'high'\nimport json, user, reader; print(reader.LEVEL)"
    )
    unlike = started_differently(app, names, lambda: app.write(app=set_first))
    assert "LEVEL" in unlike["reader"] and "json" not in unlike


def test_a_variable_that_is_read_in_c(stand: Callable[..., Stand], one_python: str) -> None:
    app = stand(one_python, "app.py")
    app.write(app="import json; print(1)")
    names = app.attempt(app.names(app.cold()))["modules"]
    edited = "import os; os.environ['OMP_NUM_THREADS'] = '1'\nimport json; print(1)"
    assert "OMP_NUM_THREADS" in started_differently(app, names, lambda: app.write(app=edited))[""]


@pytest.mark.parametrize(
    ("look", "change", "what"),
    [
        ("import os; X = os.getcwd()", "import os; os.chdir('/')", "working directory"),
        ("import locale; X = locale.getlocale()",
         "import locale; locale.setlocale(locale.LC_ALL, 'C.UTF-8')", "locale"),
        ("import time; X = time.timezone",
         "import os, time; os.environ['TZ'] = 'XXX-5'; time.tzset()", "time zone"),
        ("import time; X = time.localtime()",
         "import os, time; os.environ['TZ'] = 'XXX-5'; time.tzset()", "time zone"),
    ],
)  # fmt: skip
def test_the_state_of_the_process(
    stand: Callable[..., Stand], one_python: str, look: str, change: str, what: str
) -> None:
    app = stand(one_python, "app.py")
    app.write(lib__looker=look, app="import json, looker; print(looker.X)")
    cold = app.cold()
    names = app.attempt(app.names(cold))["modules"]
    assert "looker" in names
    if "localtime" not in look:
        assert app.resumed(names).out == cold.out
    unlike = started_differently(
        app, names, lambda: app.write(app=f"{change}\nimport json, looker; print(1)")
    )
    assert what in unlike["looker"]


def test_what_a_dependent_took_over(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(
        lib__tool="RETRIES = 3\ndef send(): return 'sent'",
        lib__user="from tool import send, RETRIES\ndef use(): return send(), RETRIES",
        app="import tool, user; print(user.use())",
    )
    names = app.attempt(app.names(app.cold()))["modules"]
    edited = "import tool\ntool.RETRIES = 5\nimport user; print(user.use())"
    unlike = started_differently(app, names, lambda: app.write(app=edited))
    assert "tool.RETRIES" in unlike["user"]


def test_lazy_objects_are_left_asleep(stand: Callable[..., Stand], one_python: str) -> None:
    app = stand(one_python, "app.py")
    app.write(
        lib__lazy="AWAKE = []\nclass Lazy:\n"
        "    @property\n    def __class__(self):\n        AWAKE.append(1)\n        return int\n"
        "    def __getattr__(self, name):\n        AWAKE.append(2)\n        raise AttributeError\n"
        "    def __eq__(self, other):\n        AWAKE.append(3)\n        return False\n"
        "lazy = Lazy()",
        lib__user="import lazy",
        app="import lazy, user; print(lazy.AWAKE)",
    )
    assert app.cold().out == app.resumed().out == "[]\n"


def test_a_function_that_the_app_replaces(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(
        lib__user="from socket import socket as kept",
        app="import socket, user; print(1)",
    )
    names = app.attempt(app.names(app.cold()))["modules"]
    edited = (
        "import socket\nclass Mine(socket.socket): pass\n"
        "socket.socket = Mine\nimport user; print(1)"
    )
    unlike = started_differently(app, names, lambda: app.write(app=edited))
    assert "socket.socket" in unlike[""]


def test_a_module_that_hides_a_library(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(lib__tool="X = 1", lib__user="import tool", app="import user, tool; print(tool.X)")
    names = app.attempt(app.names(app.cold()))["modules"]
    unlike = started_differently(app, names, lambda: app.write(tool="X = 'mine'"))
    assert str(app.project / "tool.py") in unlike["tool"]


def test_a_module_that_was_missing(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(
        lib__user="try:\n    import optional as found\nexcept ImportError:\n    found = None",
        app="import user; print(user.found)",
    )
    names = app.attempt(app.names(app.cold()))["modules"]
    missing = str(app.project / "optional.py")
    # Creating it is news for the session, as it was after a cold start …
    assert app.cold().loaded[missing][2] == app.resumed(names).loaded[missing][2] == "missing"
    # … and the snapshot is no good for it.
    unlike = started_differently(app, names, lambda: app.write(optional=""))
    assert "optional" in unlike["user"]


HOOK = """
import sys, importlib.machinery as m
class Loader(m.SourceFileLoader): pass
class Finder:
    def find_spec(self, name, path, target=None):
        spec = m.PathFinder.find_spec(name, path)
        if name != "pkg.part": return None
        spec.loader = Loader(name, spec.origin)
        return spec
sys.meta_path.insert(0, Finder())
"""


def test_an_import_hook_is_asked_first(stand: Callable[..., Stand], one_python: str) -> None:
    app = stand(one_python, "app.py")
    app.write(lib__pkg____init__="", lib__pkg__part="X = 1", app="import json, pkg.part; print(1)")
    names = app.attempt(app.names(app.cold()))["modules"]
    edited = HOOK + "import json, pkg.part; print(type(pkg.part.__loader__).__name__)"
    assert app.resumed(names, lambda: app.write(app=edited)).out == "Loader\n"


def test_an_import_hook_for_what_is_needed(stand: Callable[..., Stand], one_python: str) -> None:
    app = stand(one_python, "app.py")
    app.write(
        lib__pkg____init__="", lib__pkg__part="X = 1", lib__user="import pkg.part",
        app="import json, user; print(1)",
    )  # fmt: skip
    names = app.attempt(app.names(app.cold()))["modules"]
    edited = HOOK + "import json, user; print(1)"
    assert "pkg.part" in started_differently(app, names, lambda: app.write(app=edited))


def test_a_module_that_is_executed_once_more(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(lib__tool="X = []", lib__user="import tool", app="import user, tool; print(1)")
    names = app.attempt(app.names(app.cold()))["modules"]
    again = "import sys, tool\ntool.X.append(1)\ndel sys.modules['tool']\nimport tool\n"
    assert app.resumed(names, lambda: app.write(app=again + "print(tool.X)")).out == "[]\n"
    then = again + "import user\nprint(1)"
    assert "tool" in started_differently(app, names, lambda: app.write(app=then))[""]


# --- the end of a snapshot ------------------------------------------------------------------------


def test_it_ends_with_the_session(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(app="print('it must not run')")
    process, peer, _warmed = app.snapshot(["json"])
    peer._file.close()
    peer._connection.close()
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("", "")


def test_ctrl_c_leaves_no_word(stand: Callable[..., Stand], python: str) -> None:
    app = stand(python, "app.py")
    app.write(app="print('it must not run')")
    process, _peer, _warmed = app.snapshot(["json"])

    def interrupted() -> bool:
        # Once more: Python may drop one that arrives in a destructor.
        process.send_signal(2)
        return process.poll() is not None

    until(interrupted, "it has ended")
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("", "")
