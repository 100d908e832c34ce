"""What is told of exceptions that nobody catches."""
# ruff: noqa: E501 (programs of the app's, on one line each)

from __future__ import annotations

import sys
from typing import Any

import pytest

from .conftest import Session, write


def failed(session: Session) -> dict[str, Any]:
    (message,) = session.of("failed")
    return message


def run(python: str, session: Session, **modules: str) -> dict[str, Any]:
    write(session.folder, **modules)
    session.run(python, "app.py")
    return failed(session)


def places(message: dict[str, Any], at: int = 0) -> list[tuple[str, int, str]]:
    return [
        (frame[0].rpartition("/")[2], frame[1], frame[2])
        for frame in message["exceptions"][at]["frames"] if not frame[0].startswith("<")
    ]


def test_an_exception_ends_the_program(python: str, session: Session) -> None:
    message = run(python, session, app="import bad", bad="def f():\n    return 1 / 0\nf()")
    assert (message["where"], message["fatal"]) == ("main", True)
    (error,) = message["exceptions"]
    assert (error["type"], error["message"]) == ("ZeroDivisionError", "division by zero")
    assert places(message) == [("app.py", 1, "<module>"), ("bad.py", 3, "<module>"), ("bad.py", 2, "f")]
    assert "ZeroDivisionError: division by zero" in message["text"]
    columns = error["frames"][-1][3:]
    version = tuple(session.of("hello")[0]["python"])
    assert columns == ([2, 12, 17] if version >= (3, 11) else [None, None, None])


def test_columns_are_characters(session: Session) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("this Python knows no columns")
    message = run(sys.executable, session, app="x = 'äöü中'; x.nothing")
    assert message["exceptions"][0]["frames"][-1][3:] == [1, 13, 22]


def test_a_syntax_error_has_its_place(python: str, session: Session) -> None:
    message = run(python, session, app="import bad", bad="x = 1\ndef f(a b): pass\n")
    (error,) = message["exceptions"]
    assert error["type"] == "SyntaxError"
    path, line, column, end_line, end_column = error["syntax"]
    assert (path, line, end_line) == (f"{session.folder}/bad.py", 2, 2)
    assert end_column > column >= 1
    assert places(message) == [("app.py", 1, "<module>")]


def test_chains(python: str, session: Session) -> None:
    message = run(
        python, session,
        app="try:\n    try:\n        {}['a']\n    except KeyError as e:\n        raise ValueError('v') from e\n"
            "except ValueError:\n    raise TypeError('t')\n",
    )
    found = [(e["type"], e["relation"]) for e in message["exceptions"]]
    assert found == [("TypeError", None), ("ValueError", "context"), ("KeyError", "cause")]


def test_groups(python: str, session: Session) -> None:
    message = run(
        python, session,
        app="try: ExceptionGroup\n"
            "except NameError:\n    class ExceptionGroup(Exception):\n"
            "        def __init__(self, text, errors): self.exceptions = tuple(errors)\n"
            "errors = []\nfor n in range(2):\n    try: 1 / 0\n    except Exception as e: errors.append(e)\n"
            "raise ExceptionGroup('several', errors)\n",
    )
    found = [(e["type"], e["relation"]) for e in message["exceptions"]]
    assert found[:3] == [
        ("ExceptionGroup", None), ("ZeroDivisionError", "group"), ("ZeroDivisionError", "group")
    ]
    assert places(message, 1) == [("app.py", 7, "<module>")]


def test_a_hook_of_the_apps_own(python: str, session: Session) -> None:
    message = run(python, session, app="import sys\nsys.excepthook = lambda *a: None\n1 / 0")
    assert (message["where"], message["fatal"]) == ("main", True)


def test_the_default_hook_looks_like_the_default(python: str, session: Session) -> None:
    write(
        session.folder,
        app="import sys\nassert sys.excepthook is sys.__excepthook__\nprint(repr(sys.excepthook))\n"
            "print(sys.excepthook.__name__)",
    )
    assert session.run(python, "app.py").stdout == "<built-in function excepthook>\nexcepthook\n"


def test_a_thread(python: str, session: Session) -> None:
    message = run(
        python, session,
        app="import threading\nthreading.excepthook = lambda args: None\ndef f(): 1 / 0\n"
            "t = threading.Thread(target=f); t.start(); t.join()",
    )
    assert (message["where"], message["fatal"]) == ("thread", False)
    assert places(message)[-1] == ("app.py", 3, "f")


def test_a_task(python: str, session: Session) -> None:
    message = run(
        python, session,
        app="import asyncio\nasync def f(): 1 / 0\nasync def main():\n    t = asyncio.ensure_future(f())\n"
            "    await asyncio.sleep(0)\n    await asyncio.sleep(0)\n    del t\nasyncio.run(main())",
    )
    assert (message["where"], message["fatal"]) == ("task", False)
    assert places(message)[-1] == ("app.py", 2, "f")


def test_a_task_under_uvloop(session: Session) -> None:
    message = run(
        sys.executable, session,
        app="import asyncio, uvloop\nasync def f(): 1 / 0\nasync def main():\n"
            "    t = asyncio.ensure_future(f())\n"
            "    await asyncio.sleep(0)\n    await asyncio.sleep(0)\n    del t\nuvloop.run(main())",
    )
    assert (message["where"], message["fatal"]) == ("task", False)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker(python: str, session: Session, method: str) -> None:
    app = (
        "import multiprocessing\ndef f(): 1 / 0\nif __name__ == '__main__':\n"
        f"    p = multiprocessing.get_context('{method}').Process(target=f); p.start(); p.join()\n"
    )
    write(session.folder, app=app)
    without = session.run(python, "app.py", observed=False)
    done = session.run(python, "app.py")
    assert done.stderr == without.stderr
    message = failed(session)
    assert (message["where"], message["fatal"]) == ("worker", False)
    assert places(message)[-1] == ("app.py", 2, "f")


def test_an_import_failure_that_a_framework_caught(python: str, session: Session) -> None:
    message = run(
        python, session, bad="import nothing_like_it",
        app="import importlib, sys\ntry: importlib.import_module('bad')\n"
            "except ImportError as e: print(e); sys.exit(1)",
    )
    assert message["where"] == "import"
    assert places(message)[-1] == ("bad.py", 1, "<module>")


@pytest.mark.parametrize("app", ["import sys; sys.exit(3)", "raise KeyboardInterrupt", "", "import os; os._exit(3)"])
def test_ends_that_are_no_failures(python: str, session: Session, app: str) -> None:
    write(session.folder, app=app)
    session.run(python, "app.py")
    assert not session.of("failed")


def test_monsters_are_bounded(python: str, session: Session) -> None:
    message = run(
        python, session,
        app="import sys\nsys.setrecursionlimit(900)\nclass E(Exception):\n"
            "    def __str__(self): raise ValueError\n"
            "def f(n):\n    try:\n        if n: f(n - 1)\n        raise KeyError('x' * 100000)\n"
            "    except KeyError as e: raise E() from e\nf(100)\n",
    )
    assert message["exceptions"][0]["type"] == "E"
    assert len(str(message)) < 400_000
