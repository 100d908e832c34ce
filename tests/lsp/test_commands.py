"""What the editor may ask for; and that nothing is started unless it is asked."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_session import FakeSession
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from conftest import Client, OpenClient, plain
from harness.processes import marked, until
from onsave.lsp.headless import Headless

Fake = Callable[..., FakeSession]

START = "onsave.server.start"


@pytest.mark.parametrize("command", ["stop", "restart"])
async def test_without_a_session(open_client: OpenClient, command: str) -> None:
    client = await open_client()
    with pytest.raises(JsonRpcException, match="no app runs under onsave; start one with"):
        await client.execute(f"onsave.server.{command}")


async def test_with_several_sessions(open_client: OpenClient, fake: Fake) -> None:
    a, b = fake("a"), fake("b")
    client = await open_client()
    await client.knows("a", "b")
    with pytest.raises(JsonRpcException, match="say which of a, b"):
        await client.execute("onsave.server.restart")
    with pytest.raises(JsonRpcException, match="no session is named 'c'; running: a, b"):
        await client.execute("onsave.server.restart", {"name": "c"})
    await client.execute("onsave.server.restart", {"name": "b", "force": True})
    await client.execute("onsave.server.stop", "a")
    for session in (a, b):  # it answers a moment before it says what it has heard
        session.until(lambda _, session=session: session.of_type("request"), "it was asked")
    assert [(m["request"], m["force"]) for m in b.of_type("request")] == [("restart", True)]
    assert [m["request"] for m in a.of_type("request")] == ["stop"]


async def test_why(open_client: OpenClient, fake: Fake, tmp_path: Path) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    uri = (tmp_path / "views.py").as_uri()
    expected = {"sessions": [{
        "name": "shop", "loaded": True, "since": 2, "module": "shop.views",
        "importer": "/app.py:3", "would": {"action": "patch", "reason": "only bodies"},
        "functions": [],
    }]}  # fmt: skip
    assert await client.execute("onsave.server.why", {"uri": uri}) == expected
    answer = await client.lsp.protocol.send_request_async("onsave/why", {"uri": uri})
    assert plain(answer) == expected
    assert session.of_type("request")[0]["path"] == str(tmp_path / "views.py")
    with pytest.raises(JsonRpcException, match="not the URI of a file"):
        await client.execute("onsave.server.why", {"uri": "untitled:1"})


async def test_loaded(open_client: OpenClient, fake: Fake) -> None:
    fake()
    client = await open_client()
    await client.knows("shop")
    ask = client.lsp.protocol.send_request_async
    assert plain(await ask("onsave/loaded", {"name": "shop"})) == {"files": [
        {"uri": "file:///w/a%20b.py", "kind": "module", "module": "shop",
         "importer": "/w/app.py:3"},
        {"uri": "file:///w/app.py", "kind": "main", "module": None, "importer": None},
    ]}  # fmt: skip
    with pytest.raises(JsonRpcException, match="no session is named 'other'; running: shop"):
        await ask("onsave/loaded", {"name": "other"})


# --- start -------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["initializationOptions", "experimental"])
async def test_in_a_terminal_of_the_editor(
    open_client: OpenClient, tmp_path: Path, where: str
) -> None:
    ours = {"onsave": {"runInTerminal": True}}

    def experimental(capabilities: types.ClientCapabilities) -> None:
        if where == "experimental":
            capabilities.experimental = ours

    client = await open_client(
        options=ours if where == "initializationOptions" else None, capabilities=experimental
    )
    (tmp_path / "site").mkdir()
    start = {"command": "flask --app 'a b' run", "name": "shop", "cwd": "site", "env": {"A": "b"}}
    assert await client.execute(START, start) == {"name": "shop"}
    (asked,) = client.of("onsave/runInTerminal")
    assert asked["argv"][-7:] == ["--name", "shop", "--", "flask", "--app", "a b", "run"]
    assert (asked["name"], asked["cwd"], asked["env"]) == (
        "shop",
        str(tmp_path / "site"),
        {"A": "b"},
    )
    help_ = subprocess.run([*asked["argv"][:-7], "--help"], capture_output=True, check=True)
    assert b"COMMAND" in help_.stdout


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"command": 3}, "the command can't be understood"),
        ({"command": ["a", 3]}, "the command is to be a list of strings"),
        ({"command": "a", "env": {"A": 3}}, "env is to be an object of strings"),
        ({"command": "a 'b"}, "No closing quotation"),
        ({"cwd": "nowhere"}, "there is no folder .*nowhere"),
        (3, "expected an object, got 3"),
    ],
)
async def test_bad_arguments(open_client: OpenClient, arguments: Any, match: str) -> None:
    client = await open_client()
    with pytest.raises(JsonRpcException, match=match):
        await client.execute(START, arguments)


async def test_a_name_that_is_taken(open_client: OpenClient, fake: Fake, tmp_path: Path) -> None:
    fake("shop")  # in tmp_path
    client = await open_client(options={"onsave": {"runInTerminal": True}})
    await client.knows("shop")
    with pytest.raises(JsonRpcException, match="shop runs already; restart or stop it"):
        await client.execute(START, {"name": "shop", "cwd": str(tmp_path)})
    assert await client.execute(START, {"name": "shop", "cwd": "/"}) == {"name": "shop-2"}
    assert [asked["name"] for asked in client.of("onsave/runInTerminal")] == ["shop-2"]


async def test_nothing_is_started_unasked(
    open_client: OpenClient, tmp_path: Path, mark: str
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.onsave]\ncommand = ['sleep', '1000']\n")
    app = tmp_path / "app.py"
    app.write_text("if __name__ == '__main__': ...\n")
    client = await open_client()
    client.open(app.as_uri(), app.read_text())
    client.save(app)
    client.changed(app, tmp_path / "pyproject.toml")
    assert await client.lenses(app)
    await client.execute("onsave.server.status")
    names = [process.cmdline() for process in marked(mark)]
    assert [name for name in names if "lsp" not in name] == []


# --- headless ----------------------------------------------------------------------------------

#: Stands in for ``onsave run``: prints, and ends at the end of its lifeline as a session does.
SESSION = """
import json, os, select, signal, sys, time
print(json.dumps({{"argv": sys.argv[1:], "cwd": os.getcwd(), "pid": os.getpid(),
                  "group": os.getpgid(0), "stdin": sys.stdin.read()}}), flush=True)
{more}
fd = int(os.environ["ONSAVE_LIFELINE"])
os.read(fd, 1)
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Makes an ``onsave`` whose ``lsp`` is the real one, and whose ``run`` is not."""

    def make(more: str = "") -> str:
        path = tmp_path / "bin" / "onsave"
        path.parent.mkdir()
        path.write_text(
            f"#!{sys.executable}\nimport sys\nif sys.argv[1] == 'lsp':\n"
            "    from onsave.cli import main\n    main()\n" + SESSION.format(more=more)
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


async def started(client: Client) -> dict[str, Any]:
    line = await client.logged('shop | {"argv')
    told: dict[str, Any] = json.loads(line.partition("| ")[2])
    return told


async def test_headless(
    open_client: OpenClient, program: Callable[[str], str], tmp_path: Path
) -> None:
    client = await open_client(program=program("print('é' * 5000, flush=True)"))
    await client.execute(
        START, {"command": ["flask", "run"], "name": "shop", "options": ["--rerun"]}
    )
    told = await started(client)
    assert told["argv"] == ["run", "--rerun", "--name", "shop", "--", "flask", "run"]
    assert told["cwd"] == os.path.realpath(tmp_path)
    assert told["group"] == told["pid"] != os.getpgid(0)
    assert told["stdin"] == ""
    line = await client.logged("shop | éé")
    assert len(line) < 2100


@pytest.mark.parametrize("how", ["shutdown", "exit", "SIGTERM", "SIGKILL", "end of stdin"])
async def test_a_headless_session_dies_with_the_server(
    open_client: OpenClient, program: Callable[[str], str], how: str
) -> None:
    client = await open_client(program=program(""))
    await client.execute(START, {"name": "shop"})
    told = await started(client)
    session = psutil.Process(told["pid"])
    server = client.process
    if how == "shutdown":
        await client.lsp.shutdown_async(None)
    elif how == "exit":
        client.lsp.exit(None)
    elif how == "end of stdin":
        assert server.stdin is not None
        server.stdin.close()
    else:
        server.send_signal(getattr(__import__("signal"), how))
    await asyncio.to_thread(until, lambda: not session.is_running(), "the session is gone")
    client.abandoned = True


async def test_output_without_end_is_bounded(
    open_client: OpenClient, program: Callable[[str], str]
) -> None:
    more = "for n in range(100_000): print('line', n)\nsys.stdout.write('x' * 10_000_000)"
    client = await open_client(program=program(more))
    await client.execute(START, {"name": "shop"})
    await client.logged("lines left out")
    assert len(client.of(types.WINDOW_LOG_MESSAGE)) < 5000
    assert client.process.returncode is None
    assert psutil.Process(client.process.pid).memory_info().rss < 200e6


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    headless = Headless(lambda level, text: None)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError):
        await headless.start("shop", ["/nowhere/onsave"], str(tmp_path), {})
    assert os.listdir("/proc/self/fd") == before
    await headless.stop(1)


# --- lenses ------------------------------------------------------------------------------------


async def test_a_lens_starts_what_it_is_above(
    open_client: OpenClient, fake: Fake, tmp_path: Path
) -> None:
    app = tmp_path / "app.py"
    app.write_text("# é\nfrom flask import Flask\n\napp = Flask('é')\n", encoding="utf-8")
    client = await open_client()
    (lens,) = await client.lenses(app)
    assert lens.range == types.Range(types.Position(3, 0), types.Position(3, 16))
    assert lens.command is not None
    assert lens.command.title.startswith("▶ Run with onsave")
    assert lens.command.command == START
    (arguments,) = lens.command.arguments or ()
    assert arguments["command"] == ["python", "-m", "flask", "--app", "app", "run"]
    assert arguments["cwd"] == str(tmp_path)

    session = fake("shop")
    refreshed = len(client.of(types.WORKSPACE_CODE_LENS_REFRESH))
    await client.knows("shop")
    session.status("ready", command=["/usr/bin/flask", "--app", "app", "run"], root=str(tmp_path))
    await client.until(lambda: client.sessions[0]["state"] == "ready", "ready")
    (lens,) = await client.lenses(app)
    assert lens.command is not None
    assert (lens.command.title, lens.command.command) == (
        "⚡ ready · restart", "onsave.server.restart",
    )  # fmt: skip
    assert lens.command.arguments == ({"name": "shop"},) or lens.command.arguments == [
        {"name": "shop"}
    ]
    assert len(client.of(types.WORKSPACE_CODE_LENS_REFRESH)) > refreshed


async def test_half_a_line_elsewhere_takes_no_lens_away(
    open_client: OpenClient, fake: Fake, tmp_path: Path
) -> None:
    session = fake("shop")
    app = tmp_path / "app.py"
    app.write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    client = await open_client()
    await client.knows("shop")
    session.status("ready", command=["flask", "--app", "app", "run"], root=str(tmp_path))
    await client.until(lambda: client.sessions[0]["state"] == "ready", "ready")
    assert len(await client.lenses(app)) == 1
    app.write_text("from flask import Flask\nimport (\n\napp = Flask(__name__)\n")
    session.status("held", command=["flask", "--app", "app", "run"], root=str(tmp_path))
    await client.until(lambda: client.sessions[0]["state"] == "held", "held")
    (lens,) = await client.lenses(app)
    assert lens.range.start.line == 3
    assert lens.command is not None
    assert lens.command.title == "⚡ held · restart"
    app.write_text("nothing = 'to be run'\n")
    assert await client.lenses(app) == []


async def test_lenses_use_the_interpreter_of_the_project(
    open_client: OpenClient, tmp_path: Path
) -> None:
    app = tmp_path / "tool.py"
    app.write_text("if __name__ == '__main__': ...\n")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)

    async def interpreter(**options: Any) -> str:
        (lens,) = await (await open_client(**options)).lenses(app)
        assert lens.command is not None
        return str((lens.command.arguments or ())[0]["command"][0])

    assert await interpreter() == str(python)
    assert await interpreter(options={"python": "/other/python"}) == "/other/python"
    particular = {tmp_path.as_uri(): "/its/python", "untitled:": "/x", "file:///y": 3}
    assert await interpreter(options={"python": "/o", "interpreters": particular}) == "/its/python"


async def test_lenses_are_asked_for_anew_with_other_settings(
    open_client: OpenClient, tmp_path: Path
) -> None:
    client = await open_client()
    refreshed = len(client.of(types.WORKSPACE_CODE_LENS_REFRESH))
    client.lsp.workspace_did_change_configuration(
        types.DidChangeConfigurationParams({"onsave": {"python": "/other/python"}})
    )
    await client.until(
        lambda: len(client.of(types.WORKSPACE_CODE_LENS_REFRESH)) > refreshed, "a refresh"
    )


async def test_no_lenses_where_there_is_nothing_to_run(
    open_client: OpenClient, tmp_path: Path
) -> None:
    client = await open_client()
    (tmp_path / "page.html").write_text("if __name__ == '__main__': ...")
    assert await client.lenses(tmp_path / "page.html") == []
    os.mkfifo(tmp_path / "pipe.py")
    assert await client.lenses(tmp_path / "pipe.py") == []
    assert await client.lenses(tmp_path / "gone.py") == []


async def test_several_workspace_folders(open_client: OpenClient, tmp_path: Path) -> None:
    outer, inner, other = tmp_path / "outer", tmp_path / "outer" / "inner", tmp_path / "other"
    inner.mkdir(parents=True)
    other.mkdir()
    (inner / "tool.py").write_text("if __name__ == '__main__': ...\n")
    client = await open_client(
        folders=[outer, other, inner], options={"onsave": {"runInTerminal": True}}
    )
    (lens,) = await client.lenses(inner / "tool.py")
    assert lens.command is not None
    (arguments,) = lens.command.arguments or ()
    assert (arguments["command"][1], arguments["cwd"]) == ("tool.py", str(inner))
    await client.execute(START, {"folder": other.as_uri()})
    await client.execute(START)
    cwds = [(each["name"], each["cwd"]) for each in client.of("onsave/runInTerminal")]
    assert cwds == [("other", str(other)), ("outer", str(outer))]
