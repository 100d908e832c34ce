"""The run directory with real processes, and the blocking client with a session that misbehaves."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onsave import control
from onsave.control import Client, ControlError, Entry, RunDirectory
from onsave.identity import process_started
from onsave_agent import protocol


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


def test_made_for_us_alone(directory: RunDirectory) -> None:
    assert directory.path.stat().st_mode & 0o777 == 0o700


def test_accessible_by_others_is_refused(directory: RunDirectory) -> None:
    directory.path.chmod(0o750)
    with pytest.raises(ControlError, match="chmod 700"):
        RunDirectory(directory.path)


def test_symbolic_link_is_refused(directory: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(directory.path)
    with pytest.raises(ControlError, match="symbolic link"):
        RunDirectory(tmp_path / "link")


def test_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ControlError, match="not a directory"):
        RunDirectory(tmp_path / "run")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_of_another_user_is_refused(directory: RunDirectory) -> None:
    os.chown(directory.path, 12345, -1)
    with pytest.raises(ControlError, match="belongs to user 12345"):
        RunDirectory(directory.path)


def test_runtime_directory_of_another_user_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert control.default_run_directory() == tmp_path / "onsave"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert control.default_run_directory() != tmp_path / "onsave"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert control.default_run_directory() == tmp_path / "cache" / "onsave" / "run"


def test_register_list_remove(directory: RunDirectory, tmp_path: Path) -> None:
    entry = directory.register("session", "shop", tmp_path, directory.socket_path("shop"))
    directory.register("server", "lsp", tmp_path, directory.socket_path("lsp"))
    assert directory.entries("session") == [entry]
    directory.remove(entry)
    assert directory.entries("session") == []
    assert [path.name for path in directory.path.glob("*.json")] == [f"lsp-{os.getpid()}.json"]


def test_name_of_any_characters(directory: RunDirectory, tmp_path: Path) -> None:
    name = "../läden/" + "x" * 300
    entry = directory.register("session", name, tmp_path, directory.socket_path(name))
    assert directory.entries("session") == [entry]
    assert all(path.parent == directory.path for path in directory.path.glob("**/*"))


OTHER = """
import socket, sys
from onsave.control import RunDirectory
directory = RunDirectory(sys.argv[1])
path = directory.socket_path("shop")
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
if sys.argv[2] == "register":
    directory.register("session", "shop", "/somewhere", path)
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(directory: RunDirectory) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts another process with a socket, and an entry if told to ``register``."""
    started = []

    def start(what: str = "register") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(directory.path), what],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_name_taken(
    directory: RunDirectory, other: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = other("register")
    with pytest.raises(ControlError, match=f"runs already .pid {process.pid}, in /somewhere"):
        directory.register("session", "shop", tmp_path, directory.socket_path("shop"))


@pytest.mark.parametrize("what", ["register", "leave it"])
def test_what_a_killed_process_left_is_swept(
    directory: RunDirectory, other: Callable[[str], subprocess.Popen[str]], what: str
) -> None:
    process = other(what)
    directory.entries("session")
    assert list(directory.path.glob("*.sock")), "swept although it lives"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie is dead already
    assert directory.entries("session") == []
    assert [p.name for p in directory.path.glob("*") if p.name != ".lock"] == []


def test_pid_that_was_used_again(directory: RunDirectory, tmp_path: Path) -> None:
    entry = directory.register("session", "shop", tmp_path, directory.socket_path("shop"))
    file = directory.path / f"shop-{os.getpid()}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "started": "long ago"}))
    assert directory.entries("session") == []
    assert not file.exists()
    assert entry.started == process_started(os.getpid())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "1"}', "\x00", '{"kind": null}'])
def test_malformed_entry_is_passed_over(directory: RunDirectory, text: str) -> None:
    (directory.path / "shop-1.json").write_text(text)
    assert directory.entries("session") == []


def test_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / ("long" * 40))
    path = directory.socket_path("shop")
    assert len(path) < control.MAX_SOCKET_PATH
    assert Path(path).parent.stat().st_mode & 0o777 == 0o700
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        entry = directory.register("session", "shop", tmp_path, path)
        directory.remove(entry)
    assert not Path(path).parent.exists()


class Session:
    """Answers one connection with the lines it is given, one after each line that it hears."""

    def __init__(self, directory: RunDirectory, answers: list[bytes]) -> None:
        self.heard: list[bytes] = []
        path = directory.socket_path("shop")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self.entry = directory.register("session", "shop", "/", path)
        self._answers = answers
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        # The client may hang up first.
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            for answer in self._answers:
                self.heard.append(lines.readline())
                connection.sendall(answer)


def lines(*messages: dict[str, object]) -> bytes:
    return b"".join(map(protocol.encode, messages))


WELCOME = lines({"type": "welcome", "version": 1, "name": "shop", "pid": 1, "root": "/"})


def test_a_conversation(directory: RunDirectory) -> None:
    log = {"type": "log", "level": "info", "text": "hi"}
    reply = {"type": "reply", "id": 1, "result": {"name": "shop"}}
    session = Session(directory, [WELCOME, lines(log, reply)])
    with Client(session.entry) as client:
        assert client.welcome["name"] == "shop"
        assert client.request("status") == {"name": "shop"}
        assert list(client.events(5)) == [log]


@pytest.mark.parametrize(
    ("answers", "match"),
    [
        ([b""], "has ended"),
        ([b"nonsense\n"], "not a line of JSON"),
        ([lines({"type": "error", "message": "version 1 is spoken here"})], "version 1 is spoken"),
        ([WELCOME, lines({"type": "reply", "id": 1, "result": None, "error": "no"})], "shop.: no"),
        ([WELCOME, b'{"type": "rep'], "has ended"),
    ],
)
def test_a_session_that_fails_is_a_clear_error(
    directory: RunDirectory, answers: list[bytes], match: str
) -> None:
    session = Session(directory, answers)
    with pytest.raises(ControlError, match=match), Client(session.entry) as client:
        client.request("status")


def test_no_answer_in_time(directory: RunDirectory) -> None:
    session = Session(directory, [WELCOME, b"", b""])
    with Client(session.entry) as client, pytest.raises(TimeoutError):
        client.request("status", timeout=0.05)


def test_nobody_listens(directory: RunDirectory) -> None:
    entry = Entry("session", "shop", 1, "", "/", str(directory.path / "none.sock"))
    with pytest.raises(ControlError, match=r"session 'shop' .pid 1.: .*No such file"):
        Client(entry)


def test_announce_reaches_servers_and_passes_over_dead_ones(directory: RunDirectory) -> None:
    path = directory.socket_path("lsp")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        directory.register("server", "lsp", "/", path)
        directory.register("server", "gone", "/", str(directory.path / "gone.sock"))
        session = directory.register("session", "shop", "/", directory.socket_path("shop"))
        control.announce(directory, session)
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as heard:
            message = protocol.decode(heard.read(), protocol.SERVER_MESSAGES)
        assert message == {"type": "announce", "name": "shop", "pid": os.getpid()}


@pytest.mark.parametrize("name", ["saved", "status", "restart", "stop", "why", "editor"])
def test_commands_for_hooks_import_little(name: str) -> None:
    """``onsave saved`` runs at each save in some editors: half a second would be felt."""
    code = (
        f"import sys, onsave.cli, onsave.cli.{name}\n"
        "for each in 'asyncio pygls lsprotocol attrs psutil ssl multiprocessing'.split():\n"
        "    if each in sys.modules: print(each)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
