"""Where programs can be started: a table of files and the commands that they propose."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path

import pytest

from onsave.lsp.entrypoints import MAX_SOURCE, find

#: name of the file, its text, and (line, kind, name, command, folder) of each entry point
TABLE = {
    "flask": (
        "app.py",
        "from flask import Flask\n\napp = Flask(__name__)\n",
        [(2, "flask", "work", "python -m flask --app app run", ".")],
    ),
    "flask with a name of its own": (
        "shop.py",
        "import flask\nsite: flask.Flask = flask.Flask('x')\n",
        [(1, "flask", "shop", "python -m flask --app shop:site run", ".")],
    ),
    "flask factory in a package": (
        "src/shop/__init__.py",
        "from flask import Flask\ndef create_app(config=None):\n    app = Flask(__name__)\n"
        "    return app\n",
        [(1, "flask", "shop", "python -m flask --app shop run", "src")],
    ),
    "a class that is only called Flask": ("app.py", "app = Flask(__name__)\n", []),
    "fastapi": (
        "shop/main.py",
        "from fastapi import FastAPI\napi = FastAPI()\n",
        [(1, "uvicorn", "shop", "python -m uvicorn shop.main:api", ".")],
    ),
    "starlette factory": (
        "main.py",
        "from starlette.applications import Starlette\ndef create_app():\n"
        "    return Starlette(routes=[])\n",
        [(1, "uvicorn", "work", "python -m uvicorn --factory main:create_app", ".")],
    ),
    "django": (
        "site/manage.py",
        "import os\ndef main():\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'x')\n"
        "if __name__ == '__main__':\n    main()\n",
        [(3, "django", "work", "python manage.py runserver", "site")],
    ),
    "django's asgi": (
        "shop/asgi.py",
        "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
        [(1, "uvicorn", "shop", "python -m uvicorn shop.asgi:application", ".")],
    ),
    "django's wsgi": (
        "shop/wsgi.py",
        "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
        [(1, "gunicorn", "shop", "python -m gunicorn shop.wsgi:application", ".")],
    ),
    "gunicorn's configuration": (
        "gunicorn.conf.py",
        "workers = 2\nwsgi_app = 'shop:app'\n",
        [(1, "gunicorn", "work", "python -m gunicorn -c gunicorn.conf.py", ".")],
    ),
    "gunicorn's configuration without an app": ("gunicorn.conf.py", "workers = 2\n", []),
    "streamlit": (
        "dash.py",
        "'''Dash.'''\nimport streamlit as st\nst.write(1)\n",
        [(1, "streamlit", "dash", "python -m streamlit run dash.py", ".")],
    ),
    "script": (
        "tools/report.py",
        "def main(): ...\nif '__main__' == __name__:\n    main()\n",
        [(1, "script", "report", "python tools/report.py", ".")],
    ),
    "a program without a guard": (
        "bot.py",
        "import asyncio\nasync def main(): ...\nasyncio.run(main())\n",
        [(2, "script", "bot", "python bot.py", ".")],
    ),
    "module of a package": (
        "shop/tool.py",
        "if __name__ == '__main__':\n    print(1)\n",
        [(0, "module", "shop", "python -m shop.tool", ".")],
    ),
    "package": (
        "shop/__main__.py",
        "print(1)\n",
        [(0, "module", "shop", "python -m shop", ".")],
    ),
    "app and script": (
        "app.py",
        "from flask import Flask\napp = Flask(__name__)\nif __name__ == '__main__':\n"
        "    app.run()\n",
        [
            (1, "flask", "work", "python -m flask --app app run", "."),
            (2, "script", "work", "python app.py", "."),
        ],
    ),
    "tests": (
        "tests/test_shop.py",
        "import pytest\n\n@pytest.mark.slow\ndef test_it(): ...\n",
        [(2, "pytest", "test_shop", "python -m pytest tests/test_shop.py", ".")],
    ),
    "tests in a class": (
        "shop_test.py",
        "class TestIt:\n    def test(self): ...\n",
        [(0, "pytest", "shop_test", "python -m pytest shop_test.py", ".")],
    ),
    "a test file without tests": ("test_shop.py", "x = 1\n", []),
    "a library": ("shop.py", "def create_app(): return 1\nx = dict()\n", []),
    "half a line": ("app.py", "from flask import Flask\napp = Flask(\n", []),
    "NUL bytes": ("app.py", "app = 1\0", []),
    "deeper than the parser goes": ("app.py", "(" * 10_000, []),
    "generated": ("app.py", "if __name__ == '__main__': ...\n" + " " * MAX_SOURCE, []),
    "empty": ("app.py", "", []),
}


@pytest.mark.parametrize("name", TABLE)
def test_table(name: str, tmp_path: Path) -> None:
    file, source, expected = TABLE[name]
    root = tmp_path / "work"
    path = root / file
    path.parent.mkdir(parents=True)
    for folder in path.relative_to(root).parents:
        if folder.name == "shop":
            (root / folder / "__init__.py").touch()
    path.write_text(source)
    found = [
        (e.line, e.kind, e.name, shlex.join(e.command), str(Path(e.cwd).relative_to(root)))
        for e in find(str(path), source, str(root))
    ]
    assert found == expected


def test_tests_run_again(tmp_path: Path) -> None:
    (entry,) = find(str(tmp_path / "test_a.py"), "def test_a(): ...\n", str(tmp_path))
    assert entry.options == ("--rerun",)


def test_a_file_outside_of_the_workspace(tmp_path: Path) -> None:
    source = "if __name__ == '__main__': ...\n"
    (entry,) = find("/elsewhere/tool.py", source, str(tmp_path))
    assert (entry.command, entry.cwd) == (("python", "tool.py"), "/elsewhere")


def test_nothing_is_run(tmp_path: Path) -> None:
    source = textwrap.dedent(
        """
        from flask import Flask
        open("ran", "w")
        app = Flask(__name__)
        """
    )
    assert find(str(tmp_path / "app.py"), source, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
