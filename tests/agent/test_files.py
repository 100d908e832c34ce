"""Data files: which count, and which are read anew."""
# ruff: noqa: E501 (programs of the app's, on one line each)

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from onsave_agent.protocol import ABSENT

from .conftest import Session, digest, write

#: The run is ready when it listens.
READY = "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"


def data(session: Session) -> dict[str, list[Any]]:
    return {
        path[len(str(session.folder)) + 1:]: entry
        for path, entry in session.loaded().items()
        if entry[2] in ("data", "missing") and path.startswith(f"{session.folder}/")
    }


def reread(session: Session) -> list[str]:
    return [Path(path).name for m in session.of("reread") for path in m["paths"]]


READERS = {
    "open": "open('d.txt').read()",
    "open, binary": "open('d.txt', 'rb').read()",
    "open, keywords": "open(file='d.txt', mode='r', encoding='utf-8').read()",
    "io.open": "import io; io.open('d.txt').read()",
    "Path": "import pathlib; pathlib.Path('d.txt').read_text()",
    "PathLike": "import pathlib; open(pathlib.Path('d.txt').absolute()).read()",
    "bytes": "open(b'd.txt').read()",
    "codecs": "import codecs; codecs.open('d.txt').read()",
    "pkgutil": "import pkgutil, pkg; pkgutil.get_data('pkg', '../d.txt')",
    "fileinput": "import fileinput; list(fileinput.input(['d.txt']))",
    "configparser": "import configparser; configparser.ConfigParser().read('d.txt')",
}


@pytest.mark.parametrize("how", list(READERS))
def test_readers(python: str, session: Session, how: str) -> None:
    write(session.folder, {"d.txt": "[a]\n", "pkg/__init__.py": ""}, app=READERS[how])
    done = session.run(python, "app.py")
    assert done.returncode == 0, done.stderr
    _, known, kind, module, importer = data(session)["d.txt"]
    assert (known, kind, module) == (digest(session.folder / "d.txt"), "data", None)
    if how not in ("pkgutil", "fileinput", "configparser"):
        assert importer == f"{session.folder}/app.py:1"


def test_what_does_not_count(python: str, session: Session, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("")
    names = [".git/a", "node_modules/a", ".venv/a", "__pycache__/a", "x/site-packages/a", "no.log"]
    code = "".join(f"open({name!r}).close()\n" for name in names)
    code += f"open({str(tmp_path / 'outside.txt')!r}).close()\nimport os\nopen(os.dup(0)).close()\n"
    write(session.folder, dict.fromkeys(names, ""), app=code)
    done = session.run(python, "app.py", ignore=["*.log"])
    assert done.returncode == 0, done.stderr
    assert data(session) == {}


@pytest.mark.parametrize(
    ("option", "found"), [(True, {"a.txt", "a.yaml"}), (False, set()), (["*.yaml"], {"a.yaml"})]
)
def test_the_option(python: str, session: Session, option: object, found: set[str]) -> None:
    write(
        session.folder, {"a.txt": "", "a.yaml": ""},
        app="open('a.txt').close(); open('a.yaml').close()",
    )
    session.run(python, "app.py", data=option)
    assert set(data(session)) == found


def test_a_file_that_is_not_there(python: str, session: Session) -> None:
    write(session.folder, app="try: open('settings.toml')\nexcept FileNotFoundError: pass")
    session.run(python, "app.py")
    assert data(session)["settings.toml"][1:3] == [ABSENT, "missing"]


@pytest.mark.parametrize("mode", ["w", "a", "r+", "wb", "x"])
def test_a_file_that_the_app_writes(python: str, session: Session, mode: str) -> None:
    write(
        session.folder, {} if mode == "x" else {"d.txt": ""},
        app=f"import os\nif os.path.exists('d.txt'): open('d.txt').close()\n"
            f"open('d.txt', {mode!r}).close()\nopen('d.txt').close()",
    )
    session.run(python, "app.py")
    assert session.of("wrote")[0]["paths"] == [str(session.folder / "d.txt")]
    later = session.messages[session.messages.index(session.of("wrote")[0]):]
    assert not [m for m in later if m["type"] == "loaded" and "d.txt" in str(m["files"])]


def test_a_log_is_no_data(python: str, session: Session) -> None:
    write(
        session.folder,
        app="import logging\nlogging.basicConfig(filename='app.log')\nlogging.warning('x')",
    )
    session.run(python, "app.py")
    assert data(session) == {}


def test_code_that_is_executed_as_data(python: str, session: Session) -> None:
    write(session.folder, app="exec(compile(open('settings.py').read(), 'settings.py', 'exec'))",
          settings="DEBUG = True")
    session.run(python, "app.py")
    assert data(session)["settings.py"][1:3] == [digest(session.folder / "settings.py"), "data"]


def test_tools_reading_sources_do_not_count(python: str, session: Session) -> None:
    write(
        session.folder, other="def f(): pass", unloaded="",
        app="import other, inspect, linecache, traceback\ninspect.getsource(other.f)\n"
            "linecache.getline('unloaded.py', 1)\ntry: 1/0\nexcept Exception: traceback.format_exc()",
    )
    session.run(python, "app.py")
    assert data(session) == {}


def test_the_digest_is_taken_before_the_read(python: str, session: Session) -> None:
    write(
        session.folder, {"d.txt": "old"},
        app="f = open('d.txt')\nimport os\nos.rename('d.txt', 'e.txt')\n"
            "import subprocess\nsubprocess.run(['sh', '-c', 'echo new > d.txt'])\nassert f.read() == 'old'",
    )
    old = digest(session.folder / "d.txt")
    assert session.run(python, "app.py").returncode == 0
    assert data(session)["d.txt"][1] == old


def test_huge_files_are_not_hashed(python: str, session: Session) -> None:
    with (session.folder / "big.bin").open("wb") as file:
        file.truncate(5 * 1024 * 1024)
    write(session.folder, app="open('big.bin', 'rb').close()")
    session.run(python, "app.py")
    stat = (session.folder / "big.bin").stat()
    assert data(session)["big.bin"][1] == f"stat:{stat.st_mtime_ns}:{stat.st_size}"


def test_read_anew_by_the_same_place(python: str, session: Session) -> None:
    write(
        session.folder, {"each.txt": "", "once.txt": "", "both.txt": ""},
        app=READY + "def read(name):\n    with open(name) as f: return f.read()\n"
            "def request():\n    read('each.txt')\n    read('both.txt')\n"
            "CONSTANT = read('both.txt')\nread('once.txt')\n"
            "for _ in range(3):\n    request()\n",
    )
    session.run(python, "app.py")
    assert {"each.txt", "once.txt", "both.txt"} <= set(data(session))
    # both.txt was also read by a place that never read it again: what that made of it is stale.
    assert reread(session) == ["each.txt"]


def test_read_again_before_ready_means_nothing(python: str, session: Session) -> None:
    write(
        session.folder, {"d.txt": ""},
        app="for _ in range(3):\n    open('d.txt').close()\n" + READY,
    )
    session.run(python, "app.py")
    assert reread(session) == []


@pytest.mark.parametrize("auto_reload", [True, False])
def test_jinja(session: Session, auto_reload: bool) -> None:
    write(
        session.folder, {"templates/page.html": "{{ 1 }}"},
        app="import jinja2\nenv = jinja2.Environment(loader=jinja2.FileSystemLoader('templates'), "
            f"auto_reload={auto_reload})\nenv.get_template('page.html').render()",
    )
    session.run(sys.executable, "app.py")
    assert "templates/page.html" in data(session)
    assert reread(session) == (["page.html"] if auto_reload else [])


def test_yaml_and_dotenv(session: Session) -> None:
    write(
        session.folder, {"c.yaml": "a: 1", ".env": "A=1"},
        app="import yaml, dotenv\nyaml.safe_load(open('c.yaml'))\ndotenv.load_dotenv('.env')",
    )
    session.run(sys.executable, "app.py")
    assert {"c.yaml", ".env"} <= set(data(session))


LOOKS = """
import builtins, copy, inspect, io, pickle
class A:
    opener = open
assert A().opener('d.txt').read() == 'text'
assert pickle.loads(pickle.dumps(open)) is open
assert copy.deepcopy(open) is open is io.open is builtins.open
print(open, open.__name__, open.__qualname__, open.__doc__, inspect.signature(open), callable(open))
try: open()
except TypeError as e: print(e)
try: open('d.txt', 'nonsense')
except ValueError as e: print(e)
try: open('d.txt', 'rb', encoding='x')
except ValueError as e: print(e)
try: open(None)
except TypeError as e: print(e)
try: open('a\\0b')
except ValueError as e: print(e)
"""


def test_open_looks_like_open(python: str, session: Session) -> None:
    write(session.folder, {"d.txt": "text"}, app=LOOKS)
    without = session.run(python, "app.py", observed=False)
    observed = session.run(python, "app.py")
    assert observed.stdout == without.stdout
    assert observed.stderr == without.stderr == ""


def test_encoding_warnings_name_the_caller(python: str, session: Session) -> None:
    write(
        session.folder, {"d.txt": "text"},
        app="open('d.txt').close()\nopen('d.txt', encoding='utf-8').close()\n"
            "open('d.txt', 'rb').close()\n",
    )
    options = ["-X", "warn_default_encoding"]
    without = session.run(python, *options, "app.py", observed=False)
    observed = session.run(python, *options, "app.py")
    assert observed.stderr == without.stderr
