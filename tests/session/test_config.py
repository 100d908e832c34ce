"""The configuration, as tables: what is written → what is meant, or what is said about it."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onsave.cli.run import UsageError, choose, name_of, project_root, unique
from onsave.config import AppConfig, Config, differs_at_start, read, read_file
from onsave.session.environment import EnvironmentProblem, command, parse_env_file

ONSAVE_TOML = """
    patch = false
    stop-timeout = 3

    [apps.shop]
    command = "flask --app shop run"
    cwd = "site"
    env = { DEBUG = "1", PORT = 5000 }
    env-file = ".env"
    python = ".venv/bin/python"
    extra-files = ["settings/*.yaml"]
    ignore = "*/generated/*"
    data-files = ["*.html"]
    overlap = false
    on-exit = "restart"
    stop-signal = "INT"
    hot = ["shop.pricing:*"]

    [apps."tools.py"]
    command = ["python", "tools.py", "a b"]
    patch = true
"""


def written(folder: Path, text: str, name: str = "onsave.toml") -> str:
    path = folder / name
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return str(path)


def said(problems: Any) -> list[tuple[int, str]]:
    return [(problem.range[0] + 1, problem.message) for problem in problems]


def test_every_setting(tmp_path: Path) -> None:
    written(tmp_path, ONSAVE_TOML)
    config, problems = read(str(tmp_path))
    assert not problems
    assert config.root == str(tmp_path)
    assert config.defaults == AppConfig(patch=False, stop_timeout=3.0)
    assert config.apps["shop"] == AppConfig(
        name="shop",
        command=("flask", "--app", "shop", "run"),
        cwd=str(tmp_path / "site"),
        env={"DEBUG": "1", "PORT": "5000"},
        env_file=(str(tmp_path / ".env"),),
        python=str(tmp_path / ".venv/bin/python"),
        extra_files=(str(tmp_path / "settings/*.yaml"),),
        ignore=("*/generated/*",),
        data_files=("*.html",),
        patch=False,
        overlap=False,
        on_exit="restart",
        stop_signal="SIGINT",
        stop_timeout=3.0,
        hot=("shop.pricing:*",),
    )
    tools = config.apps["tools.py"]
    assert tools.command == ("python", "tools.py", "a b")
    assert tools.patch


def test_pyproject_and_folders_above(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    written(tmp_path, '[tool.onsave.apps.x]\ncommand = "python x.py"', "pyproject.toml")
    (deep / "pyproject.toml").write_text("[project]\nname = 'not about us'\n")
    config, problems = read(str(deep))
    assert not problems
    assert config.path == str(tmp_path / "pyproject.toml")
    assert config.apps["x"].command == ("python", "x.py")
    written(deep, "patch = false")
    assert read(str(deep))[0].path == str(deep / "onsave.toml"), "the nearest one counts"


def test_no_file(tmp_path: Path) -> None:
    config, problems = read(str(tmp_path))
    assert config.path is None or not config.path.startswith(str(tmp_path))
    assert not problems


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[apps.x", 1, "Expected ']'"),
        ('a = 1\n[apps.x]\ncommand = "x"\ncommand = "y"', 4, "Cannot overwrite"),
        ("patch = 1", 1, "patch is to be true or false"),
        ("# c\n\npach = true", 3, "unknown setting pach; did you mean patch?"),
        ("stop_timeout = 2", 1, "did you mean stop-timeout?"),
        ("xyz = 2", 1, "unknown setting xyz; known are"),
        ('command = "x"', 1, "command belongs to one app: put it under [apps.NAME]"),
        ("[apps.x]\ncommand = 3", 2, "command is to be a command: text, or a list of its words"),
        ("[apps.x]\ncommand = \"a 'b\"", 2, "command is to be a command as a shell would read it"),
        ('[apps.x]\ncommand = "x"\n[apps.y]\non-exit = "no"', 4,
         'on-exit is to be "wait" or "restart" or "end"'),
        ("[apps.x]\nenv = 3", 2, "env is to be a table of texts"),
        ("[apps.x.env]\nA = true", 1, "env is to be a table of texts"),
        ('stop-signal = "SIGNOPE"', 1, "stop-signal is to be the name of a signal"),
        ("snapshots = 4", 1, 'snapshots is to be true, false, a number up to 3, "libraries" or'),
        ("snapshots = 1.5", 1, "snapshots is to be true, false, a number"),
        ('after-resume = "shop.ids"', 1, 'after-resume is to be "module:function", or a list'),
        ('before-snapshot = ["shop:"]', 1, 'before-snapshot is to be "module:function"'),
        ("stop-timeout = 0", 1, "stop-timeout is to be a number of seconds above 0"),
        ("stop-timeout = true", 1, "stop-timeout is to be a number of seconds above 0"),
        ("ignore = [1]", 1, "ignore is to be text, or a list of texts"),
        ("data-files = 3", 1, "data-files is to be true, false, or a list of glob patterns"),
        ("apps = 3", 1, "apps is to be a table of apps"),
        ("[apps]\nx = 3", 2, "apps.x is to be a table"),
        ('[apps."a.b"]\npach = 1', 2, "unknown setting pach"),
        ('apps.x.pach = 1', 1, "unknown setting pach"),
    ],
)  # fmt: skip
def test_mistakes_have_a_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    _config, problems = read_file(written(tmp_path, text))
    assert [where for where, _message in said(problems)] == [line]
    assert message in problems[0].message
    assert problems[0].kind == "config"


def test_mistakes_leave_the_rest_as_it_is(tmp_path: Path) -> None:
    text = 'patch = false\nnonsense = 1\n[apps.x]\ncommand = "run it"\noverlap = "no"\n'
    config, problems = read_file(written(tmp_path, text))
    assert len(problems) == 2
    assert config.apps["x"].command == ("run", "it")
    assert not config.apps["x"].patch


def test_lines_in_pyproject(tmp_path: Path) -> None:
    text = '[project]\npatch = 3\n[tool.onsave]\npatch = 3\n[tool.onsave.apps.x]\nnope = 1\n'
    _config, problems = read_file(written(tmp_path, text, "pyproject.toml"))
    assert [line for line, _message in said(problems)] == [4, 6]


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "onsave.toml"
    path.write_bytes(b"patch = true\n# caf\xe9\n")
    assert said(read_file(str(path))[1]) == [(2, "not UTF-8, which TOML has to be")]


@given(st.text(alphabet="[]=.\"'\n #aptx1{}", max_size=60))
def test_never_raises_for_what_a_user_wrote(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "onsave.toml"
        path.write_text(text, encoding="utf-8")
        config, problems = read_file(str(path))
        assert isinstance(config, Config)
        assert all(p.range[0] >= 0 for p in problems)


# --- which app is meant -----------------------------------------------------------------------

TWO = {"a": AppConfig(name="a", command=("run-a",)), "b": AppConfig(name="b", command=("run-b",))}


@pytest.mark.parametrize(
    ("apps", "words", "name", "expected"),
    [
        ({"a": TWO["a"]}, [], None, ["run-a"]),
        (TWO, [], "b", ["run-b"]),
        (TWO, ["b"], None, ["run-b"]),
        (TWO, ["other", "b"], None, ["other", "b"]),
        (TWO, ["other"], "a", ["other"]),
    ],
)
def test_choosing(
    apps: dict[str, AppConfig], words: list[str], name: str | None, expected: list[str]
) -> None:
    assert choose(Config("/x/onsave.toml", "/x", AppConfig(), apps), words, name)[1] == expected


@pytest.mark.parametrize(
    ("apps", "name", "message"),
    [
        (TWO, None, "which app? it has a, b: choose with `onsave run NAME`"),
        (TWO, "c", "has no app 'c' with a command; it has a, b"),
        ({}, None, "which app? it has none: add [apps.NAME] with a command"),
        ({"x": AppConfig(name="x")}, None, "it has none"),
    ],
)
def test_choosing_needs_more(apps: dict[str, AppConfig], name: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=None) as raised:
        choose(Config("/x/onsave.toml", "/x", AppConfig(), apps), [], name)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("flask --app shop run", "shop"),
        ("flask --app=shop.wsgi:app run", "shop"),
        ("flask run", "folder"),
        ("python manage.py runserver", "folder"),
        ("uvicorn shop:app --port 8000", "shop"),
        ("uvicorn --host 0.0.0.0 shop.main:app", "shop"),
        ("gunicorn -b 127.0.0.1:8000 shop:app", "shop"),
        ("python -m shop", "shop"),
        ("python -m uvicorn shop:app", "shop"),
        ("python -m flask --app shop run", "shop"),
        ("python service.py --port 8000", "service"),
        ("python app.py", "folder"),
        ("pytest tests/test_x.py", "test_x"),
        ("./serve", "serve"),
        ("make serve", "folder"),
    ],
)
def test_names(command: str, expected: str) -> None:
    assert name_of(command.split(), "/some/folder") == expected


def test_unique_names() -> None:
    assert unique("a", set()) == "a"
    assert unique("a", {"a", "a-2"}) == "a-3"


def test_project_root(tmp_path: Path) -> None:
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "project" / "setup.py").touch()
    assert project_root(str(deep)) == str(tmp_path / "project")


def test_what_needs_a_restart() -> None:
    assert differs_at_start(AppConfig(), AppConfig(env={"A": "1"}))
    assert not differs_at_start(AppConfig(), AppConfig(stop_timeout=9, patch=False))


# --- env-files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A = 1 # why", {"A": "1"}),
        ("A=", {"A": ""}),
        ("A=#", {"A": ""}),
        ("A=a#b", {"A": "a#b"}),
        ("# c\n\n  A=1\n", {"A": "1"}),
        ("A='x # y' # z", {"A": "x # y"}),
        (r'A="a\nb\"c\\d"', {"A": 'a\nb"c\\d'}),
        (r"A='a\nb'", {"A": r"a\nb"}),
        ("A='one\ntwo'\nB=2", {"A": "one\ntwo", "B": "2"}),
        ("A=$B", {"A": "$B"}),
        ("A=x=y", {"A": "x=y"}),
    ],
)
def test_env_files(text: str, expected: dict[str, str]) -> None:
    assert parse_env_file(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nnonsense", ".env:2: not KEY=VALUE: nonsense"),
        ("A=1\nB='x", ".env:2: a ' that is never closed"),
        ("A='x' y", ".env:1: something follows the closing '"),
        ("1A=2", ".env:1: not KEY=VALUE"),
    ],
)
def test_mistakes_in_env_files(text: str, message: str) -> None:
    with pytest.raises(EnvironmentProblem) as raised:
        parse_env_file(text)
    assert message in str(raised.value)


@given(st.text(alphabet="A=1'\"\\n# \n", max_size=40))
def test_env_files_never_surprise(text: str) -> None:
    with contextlib.suppress(EnvironmentProblem):
        parse_env_file(text)


def test_the_configured_interpreter() -> None:
    config = AppConfig(python="/v/bin/python")
    assert command(config, ["python", "x.py"]) == ["/v/bin/python", "x.py"]
    assert command(config, ["python3", "x.py"]) == ["/v/bin/python", "x.py"]
    assert command(config, ["flask", "run"]) == ["flask", "run"]


# --- in a real session ------------------------------------------------------------------------

PRINTS = "import os\nprint(os.environ['WHAT'], flush=True)\nimport time\ntime.sleep(1000)\n"


def project_with(scripts: Callable[..., Any], **settings: str) -> Any:
    project = scripts(main=PRINTS)
    lines = ["[apps.web]", 'command = ["python", "main.py"]', f'python = "{_python()}"']
    lines += [f"{key.replace('_', '-')} = {value}" for key, value in settings.items()]
    project.write("onsave.toml", "\n".join(lines) + "\n")
    return project


def _python() -> str:
    import sys

    return sys.executable


def test_the_app_from_the_configuration(
    scripts: Callable[..., Any], start: Callable[..., Any]
) -> None:
    project = project_with(scripts, env_file='".env"')
    project.write(".env", "WHAT=one\n")
    session = start(project, ())
    assert session.status["name"] == "web"
    assert session.stdout.split() == ["one"]
    project.write(".env", "WHAT=two\n")
    assert session.save_one(".env").reason == "extra file changed"
    session.until_state("running", after=1)
    assert session.stdout.split() == ["one", "two"]


def test_a_missing_env_file_is_told_and_its_creation_mends(
    scripts: Callable[..., Any], start: Callable[..., Any]
) -> None:
    project = project_with(scripts, env_file='".env"')
    session = start(project, (), wait=False)
    session.until_state("broken")
    assert f"the env-file {project / '.env'} can't be read" in session.stderr
    project.write(".env", "WHAT=now\n")
    session.tell(".env")
    session.until_state("running")
    assert session.stdout.split() == ["now"]


def test_changed_settings_are_taken_over(
    scripts: Callable[..., Any], start: Callable[..., Any]
) -> None:
    project = project_with(scripts, env='{ WHAT = "one" }')
    session = start(project, ())
    project.replace("onsave.toml", "[apps.web]", "# nothing but a comment\n[apps.web]")
    session.save("onsave.toml")
    project.replace("onsave.toml", "# nothing", "nothing")
    session.save("onsave.toml")
    session.until(lambda s: s.problems, "the mistake is a problem")
    assert session.problems[0]["kind"] == "config"
    assert session.run == 1, "neither needs a restart"
    project.replace("onsave.toml", "nothing but a comment", "stop-timeout = 1")
    project.replace("onsave.toml", 'WHAT = "one"', 'WHAT = "two"')
    session.save("onsave.toml")
    session.until_state("running", after=1)
    assert session.stdout.split() == ["one", "two"]
    assert not session.problems


def test_two_sessions_of_one_name(
    scripts: Callable[..., Any], start: Callable[..., Any], onsave: Callable[..., Any]
) -> None:
    import subprocess

    from harness.session import ONSAVE

    project = project_with(scripts, env='{ WHAT = "one" }')
    first = start(project, ())
    refused = subprocess.run(
        [ONSAVE, "run", "--name", "web", "true"],
        cwd=project.path, env=first.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert f"a session named 'web' runs already (pid {first.process.pid}" in refused.stderr
    assert start(project, ()).status["name"] == "web-2", "a name of our choice gives way"
