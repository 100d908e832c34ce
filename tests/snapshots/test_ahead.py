"""A start that ran ahead of its turn against a cold one, and how far it may go."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .standing import DESCRIBE, Ended, Stand

if not Path("/proc/self").exists():
    pytest.skip("snapshots are for Linux", allow_module_level=True)

Begin = Callable[..., Stand]

#: An app of several modules, with most of what a start can do to its process.
APP = f"""
import atexit, logging, os, signal, sys, warnings
os.environ["FROM_APP"] = "set"
os.umask(0o027)
sys.setrecursionlimit(3000)
sys.path.append("/somewhere")
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
warnings.simplefilter("error", ResourceWarning)
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
atexit.register(print, "at exit")
import shop, shop.prices
from shop import views
{DESCRIBE}
describe(word=views.WORD, price=shop.prices.PRICE, secret=len(shop.SECRET))
print(shop.SECRET)
raise SystemExit(3)
"""
MODULES = {
    "app": APP,
    "shop____init__": "import os, json\nSECRET = os.urandom(8).hex()\nfrom . import settings\n",
    "shop__settings": "with open('data.txt') as file:\n    DATA = file.read()\n"
    "try:\n    import local\nexcept ImportError:\n    local = None\n",
    "shop__prices": "import decimal\nPRICE = 1\n",
    "shop__views": "import lib\nfrom . import prices\nWORD = lib.VALUE, prices.PRICE\n",
    "lib__lib": "import csv\nVALUE = 'lib'\n",
}
FILES = ("shop/__init__.py", "shop/settings.py", "shop/prices.py", "shop/views.py")


def begin(stand: Begin, python: str) -> Stand:
    app = stand(python, "app.py", "--answer", "42")
    app.write(**MODULES)
    (app.project / "data.txt").write_text("data")
    for path in app.folder.rglob("*.py"):
        os.utime(path, (1e9, 1e9))  # old enough for bytecode to be written
    return app


def assert_all_is_known(resumed: Ended, cold: Ended) -> None:
    """What it was built from is the newest there is, and was told."""
    for path, entry in cold.loaded.items():
        told = resumed.loaded[path]
        is_own = entry[1] is not None
        assert told == entry if is_own else told[:4] == entry[:4]  # libraries: or by whom
    more = [entry for path, entry in resumed.loaded.items() if path not in cold.loaded]
    assert all(entry[1] is None for entry in more), more


@pytest.mark.parametrize("libraries", [False, True])
@pytest.mark.parametrize("edited", FILES)
def test_each_module_in_turn(stand: Begin, python: str, edited: str, libraries: bool) -> None:
    app = begin(stand, python)
    cold = app.cold()
    names = app.attempt(app.names(cold))["modules"] if libraries else None
    scouted = app.scout(edited)
    assert (scouted["before"], scouted["reason"]) == (str(app.project / edited), None), scouted
    path = app.project / edited
    resumed = app.resumed_ahead(
        edited, names=names, before=lambda: path.write_text(path.read_text() + "\nMORE = 1\n")
    )
    cold = app.cold()
    assert (cold.code, resumed.code) == (3, 3)
    assert cold.err == resumed.err == "", resumed.err
    first, second = cold.out.splitlines(), resumed.out.splitlines()
    assert len(first) == len(second) == 3 and first[2] == second[2] == "at exit"
    assert first[1] != second[1]  # what is drawn by lot differs
    told, retold = json.loads(first[0]), json.loads(second[0])
    for one in (told, retold):
        one["meta"] = [name for name in one["meta"] if name != "Served"]
    assert retold == told
    assert_all_is_known(resumed, cold)


DEEDS = {
    "open('written.txt', 'w').close()": "writes a file",
    "import os; os.makedirs('made')": "changes files",
    "import os; os.remove('data.txt')": "changes files",
    "import os; os.rename('data.txt', 'other.txt')": "changes files",
    "import pathlib; pathlib.Path('data.txt').unlink()": "changes files",
    "import shutil; shutil.rmtree('folder')": "changes files",
    "import tempfile; tempfile.mkdtemp()": "writes a file",
    "import sqlite3; sqlite3.connect('data.db')": "opens a database",
    "import subprocess; subprocess.run(['touch', 'touched'])": "starts a process",
    "import os; os.system('touch touched')": "starts a process",
    "import os; os.fork() or os._exit(0)": "starts a process",
    "import threading; threading.Thread(target=print).start()": "starts a thread",
    "import _thread; _thread.start_new_thread(print, ())": "starts a thread",
    "import multiprocessing as m; m.get_context('spawn').Process(target=print).start()":
        "starts a process",
    "import socket; socket.create_connection(('127.0.0.1', 9))": "opens a connection",
    "import socket; s = socket.socket(); s.bind(('127.0.0.1', 54321))": "binds a socket",
    "import socket; s = socket.socket(); s.listen()": "is up",
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')": "opens a connection",
    "import os, signal; os.kill(os.getppid(), 0)": "sends a signal",
    "import fcntl; fcntl.flock(open('data.txt'), fcntl.LOCK_EX)": "locks a file",
    "print('hello')": "prints something",
    "import sys; sys.stderr.write('hello')": "prints something",
    "input()": "asks for input",
    "1 / 0": "is up",
    "raise SystemExit(5)": "is up",
    "import os; open(os.open('x', os.O_CREAT | os.O_WRONLY), 'w')": "writes a file",
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_scout_ends_before_the_first_deed(stand: Begin, python: str, deed: str) -> None:
    app = stand(python, "app.py")
    app.write(
        app="import first, second, third\n",
        first="import json",
        second=f"{deed}\n",
        third="open('too far', 'w')",
    )
    (app.project / "folder").mkdir()
    (app.project / "folder/file.txt").write_text("")
    (app.project / "data.txt").write_text("data")
    there = sorted(app.project.rglob("*"))
    scouted = app.scout("third.py")
    ours = lambda path: "__pycache__" in str(path)
    assert [p for p in sorted(app.project.rglob("*")) if not ours(p)] == there
    assert DEEDS[deed] in scouted["reason"], scouted
    # Before the last module that was about to be read: "second", or what it had imported.
    assert scouted["project"] == [str(app.project / n) for n in ("first.py", "second.py")]
    assert scouted["before"] not in scouted["project"][:1]
    # A process that runs ahead goes as far as that, and has done nothing either.
    process, _peer, _warmed = app.ahead(scouted)
    process.kill()
    out, err = process.communicate()
    assert (out, err) == ("", "")
    assert [p for p in sorted(app.project.rglob("*")) if not ours(p)] == there


def test_what_is_no_deed(stand: Begin, one_python: str) -> None:
    app = stand(one_python, "app.py")
    app.write(
        app="import first, second\n",
        first="import asyncio, os, socket\n"
        "open('data.txt').read(); os.listdir('.'); os.path.exists('not there')\n"
        "os.makedirs('folder', exist_ok=True); os.environ['A'] = 'b'\n"
        "socket.socket().bind(('127.0.0.1', 0)); asyncio.new_event_loop().close()\n"
        "open(os.devnull, 'w').write('x')\n",
        second="",
    )
    (app.project / "folder").mkdir()
    (app.project / "data.txt").write_text("data")
    scouted = app.scout("second.py")
    assert scouted["reason"] is None, scouted
    assert scouted["before"] == str(app.project / "second.py")
    assert str(app.project / "data.txt") in scouted["opened"]
    assert str(app.project) in scouted["listed"]
    assert str(app.project / "not there") in scouted["missing"]


def test_a_data_file_that_was_edited(stand: Begin, one_python: str) -> None:
    app = begin(stand, one_python)
    scouted = app.scout("data.txt")
    assert scouted["before"] == str(app.project / "shop/settings.py")
    assert "data.txt, which was edited" in scouted["reason"]


def test_nothing_edited_yet(stand: Begin, one_python: str) -> None:
    app = begin(stand, one_python)
    scouted = app.scout()
    assert (scouted["before"], scouted["reason"]) == (str(app.project / "shop/__init__.py"), None)


def test_a_script_that_was_edited_is_read_first(stand: Begin, one_python: str) -> None:
    app = begin(stand, one_python)
    scouted = app.scout("app.py", "shop/views.py")
    assert scouted["before"] is None and "read first" in scouted["reason"]


def test_a_module_that_is_run(stand: Begin, python: str) -> None:
    app = stand(python, "-m", "shop")
    app.write(shop____init__="import json\n", shop____main__=f"{DESCRIBE}\ndescribe()\n")
    resumed = app.resumed_ahead("shop/__main__.py")
    cold = app.cold()
    assert resumed.said == cold.said
    assert_all_is_known(resumed, cold)


def test_its_handlers_are_the_app_s_again(stand: Begin, one_python: str) -> None:
    app = stand(one_python, "app.py")
    app.write(
        app="import signal\n"
        "signal.signal(signal.SIGINT, lambda *_: print('told', flush=True))\n"
        "import other\nsignal.raise_signal(signal.SIGINT)\n",
        other="",
    )
    assert app.resumed_ahead("other.py").out == "told\n"
    # While it stands, Ctrl-C ends it without a word: it is not the app.
    process, _peer, _warmed = app.ahead(app.scout("other.py"))
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("", "") and process.returncode == 1


def test_tracebacks_are_as_ever(stand: Begin, python: str) -> None:
    app = stand(python, "app.py")
    app.write(app="import first, second\n", first="import json\n", second="1 / 0\n")
    app.write(app="import first\nimport second\n")
    process, peer, _warmed = app.ahead(app.scout("second.py"))
    peer.send(type="resume", run=2, settings=app.settings(run=2))
    resumed = app.finish(process, app.peer())
    cold = app.cold()
    assert resumed.err == cold.err and "ZeroDivisionError" in cold.err
    assert (resumed.code, cold.code) == (1, 1)


def test_its_own_excepthook(stand: Begin, python: str) -> None:
    app = stand(python, "app.py")
    app.write(
        app="import sys\nbefore = sys.excepthook\n"
        "def hook(*what):\n    print('told', flush=True)\n    before(*what)\n"
        "sys.excepthook = hook\nimport second\nprint(vars(hook))\n1 / 0\n",
        second="",
    )
    resumed, cold = app.resumed_ahead("second.py"), app.cold()
    assert (resumed.out, resumed.err, resumed.code) == (cold.out, cold.err, cold.code)
    assert cold.out == "{}\ntold\n" and "ZeroDivisionError" in cold.err


@pytest.mark.parametrize("meanwhile", ["import other\n", "", "1 / 0\n", "raise SystemExit\n"])
def test_a_start_that_goes_another_way(stand: Begin, one_python: str, meanwhile: str) -> None:
    """It was to come to "second", and does not: it ends without a trace."""
    app = stand(one_python, "app.py")
    app.write(
        app="import first\n", first="import second\n", second="", other="print('too far')"
    )
    scouted = app.scout("second.py")
    app.write(first=meanwhile)
    process, peer = app.spawn(snapshot=2)
    peer.send(
        type="ahead", before=scouted["before"], project=scouted["project"],
        names=[], without=[], looks=[],
    )  # fmt: skip
    assert peer.receive() is None
    out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("", "", 1)


# --- libraries that don't survive a fork ----------------------------------------------------------

HOSTILE = {
    "numpy": "import numpy\nM = numpy.random.default_rng(1).random((300, 300))\n"
    "WORD = round(float((M @ M).sum()))  # BLAS's threads are in use\n",
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()\nimport gevent\n"
    "g = gevent.spawn(lambda: 5); g.join(); WORD = g.value\n",
    "uvloop": "import asyncio, uvloop\nloop = uvloop.new_event_loop()\n"
    "WORD = loop.run_until_complete(asyncio.sleep(0, 6))\n",
    "sqlalchemy": "import sqlalchemy\nengine = sqlalchemy.create_engine('sqlite://')\n"
    "WORD = engine.connect().execute(sqlalchemy.text('select 7')).scalar()\n",
    "pandas": "import pandas\nWORD = int(pandas.Series(range(1000)).sum())\n",
    "polars": "import polars  # its threads are Rust's, and nobody tells of them\n"
    "WORD = polars.DataFrame({'a': range(100_000)}).select(polars.col('a').sum()).item()\n",
    "grpc": "import grpc\nchannel = grpc.insecure_channel('127.0.0.1:9')\n"
    "WORD = str(channel.subscribe)[:6]\n",
    "random": "import random; random.seed(5); WORD = random.random()\n",
    "loop": "import asyncio\nasync def main():\n    import other\n    await asyncio.sleep(0)\n"
    "    return other.VALUE\nWORD = asyncio.run(main())\n",
    "threads": "from concurrent.futures import ThreadPoolExecutor\n"
    "POOL = ThreadPoolExecutor(2)\nWORD = POOL.submit(lambda: 8).result()\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_libraries(stand: Begin, name: str) -> None:
    """The right answer, from wherever the start could run ahead to."""
    library = HOSTILE[name].split()[1].partition(".")[0].rstrip(";,")
    pytest.importorskip(library)
    app = stand(sys.executable, "app.py")
    app.env["PYTHONHASHSEED"] = "0"  # else sqlalchemy imports in the order of a set
    app.write(
        app="import first, second, other\nprint(first.WORD, second.WORD, other.VALUE)\n"
        f"{DESCRIBE}\ndescribe()\n",
        first=HOSTILE[name],
        second="import first\nWORD = first.WORD\n",
        other="VALUE = 3\n",
    )
    scouted = app.scout("second.py")
    resumed, cold = app.resumed_ahead("second.py"), app.cold()
    assert resumed.out.splitlines()[0] == cold.out.splitlines()[0]
    told, retold = cold.said, resumed.said
    assert retold == told
    assert (resumed.code, resumed.err) == (cold.code, cold.err)
    if name in ("sqlalchemy", "threads"):
        assert scouted["reason"] is not None  # a database is opened, a thread started: not so far
    elif name != "loop":  # there the file that it was to stop before comes after
        assert scouted["before"] == str(app.project / "second.py"), scouted
