"""Editor and session hear each other through the server, whoever comes first."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_session import FakeSession
from lsprotocol import types

from conftest import OpenClient

Fake = Callable[..., FakeSession]
EDITORS = ("visual-studio-code", "neovim", "emacs")


@pytest.mark.parametrize("speaks", EDITORS)
async def test_a_save_goes_there_and_a_verdict_comes_back(
    open_client: OpenClient, fake: Fake, tmp_path: Path, speaks: str
) -> None:
    session = fake()
    client = await open_client(speaks=speaks)
    await client.knows("shop")
    path = tmp_path / "käse views.py"
    client.save(path)
    await session.until_saved(path)
    session.say(type="verdict", session="shop", run=3, path=str(path), action="patch",
                reason="bodies", message="shop: views.py: patch (bodies)",
                evidence=[[str(path), 7, "here"]], functions=["home"])  # fmt: skip
    verdict = (await client.until(lambda: client.of("onsave/verdict"), "a verdict"))[0]
    assert verdict == {
        "session": "shop", "run": 3, "uri": path.as_uri(), "action": "patch", "reason": "bodies",
        "message": "shop: views.py: patch (bodies)", "functions": ["home"],
        "evidence": [{"uri": path.as_uri(), "line": 6, "message": "here"}],
    }  # fmt: skip
    await client.logged("shop: views.py: patch (bodies)")


async def test_a_session_that_comes_later_is_found(open_client: OpenClient, fake: Fake) -> None:
    client = await open_client()
    first = fake("first")
    await client.knows("first")
    fake("second")
    await client.knows("first", "second")
    first.kill()
    await client.knows("second")


async def test_a_save_just_before_the_session_was_met_is_told(
    open_client: OpenClient, fake: Fake, tmp_path: Path
) -> None:
    client = await open_client()
    client.save(tmp_path / "early.py")
    client.save(tmp_path / "last.py")
    await client.logged("no app runs under onsave yet")
    await fake().until_saved(tmp_path / "early.py", tmp_path / "last.py")


async def test_a_session_that_was_stopped_when_the_server_came(
    open_client: OpenClient, fake: Fake, tmp_path: Path
) -> None:
    session = fake()
    session.process.send_signal(19)  # SIGSTOP
    client = await open_client()
    client.save(tmp_path / "meanwhile.py")
    await client.execute("onsave.server.status")
    session.process.send_signal(18)  # SIGCONT
    await session.until_saved(tmp_path / "meanwhile.py")
    await client.knows("shop")


async def test_all_sessions_and_all_editors(
    open_client: OpenClient, fake: Fake, tmp_path: Path
) -> None:
    sessions = [fake("a"), fake("b")]
    clients = [await open_client(), await open_client(speaks="neovim")]
    for client in clients:
        await client.knows("a", "b")
    for number, client in enumerate(clients):
        client.save(tmp_path / f"{number}.py")
    for session in sessions:
        await session.until_saved(tmp_path / "0.py", tmp_path / "1.py")
        assert [m["role"] for m in session.of_type("hello")] == ["editor", "editor"]


async def test_watched_files_are_registered_for_and_told(
    open_client: OpenClient, fake: Fake, tmp_path: Path
) -> None:
    session = fake()
    client = await open_client()
    method = types.WORKSPACE_DID_CHANGE_WATCHED_FILES
    await client.until(lambda: method in client.registered, "watchers are registered")
    globs = [w["globPattern"] for w in client.registered[method].register_options["watchers"]]
    assert any("py," in glob for glob in globs)
    await client.knows("shop")
    client.changed(tmp_path / "shop.yaml")
    await session.until_saved(tmp_path / "shop.yaml")
    assert session.of_type("saved")[0]["origin"] == "watched"


async def test_watchers_are_not_forced_upon_a_client_that_has_none(
    open_client: OpenClient,
) -> None:
    def without(capabilities: types.ClientCapabilities) -> None:
        assert capabilities.workspace is not None
        capabilities.workspace.did_change_watched_files = None

    client = await open_client(capabilities=without)
    await client.execute("onsave.server.status")
    assert types.WORKSPACE_DID_CHANGE_WATCHED_FILES not in client.registered


async def test_created_renamed_deleted(
    open_client: OpenClient, fake: Fake, tmp_path: Path
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    uri = tmp_path.as_uri()
    client.lsp.workspace_did_create_files(types.CreateFilesParams([types.FileCreate(f"{uri}/a")]))
    client.lsp.workspace_did_delete_files(types.DeleteFilesParams([types.FileDelete(f"{uri}/b")]))
    client.lsp.workspace_did_rename_files(
        types.RenameFilesParams([types.FileRename(f"{uri}/c", f"{uri}/d")])
    )
    await session.until_saved(*(tmp_path / name for name in "abcd"))
    assert {message["origin"] for message in session.of_type("saved")} == {"rename"}


async def test_what_is_no_file_is_left_out(
    open_client: OpenClient, fake: Fake, tmp_path: Path
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    for uri in ("untitled:Untitled-1", "vscode-notebook-cell:/a.ipynb#W0", "http://x/a.py"):
        client.open(uri)
        client.save(uri)
    client.save(tmp_path / "real.py")
    await session.until_saved(tmp_path / "real.py")
    assert session.saved() == [str(tmp_path / "real.py")]


async def test_a_hundred_thousand_events_in_one_notification(
    open_client: OpenClient, fake: Fake, tmp_path: Path
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    paths = [tmp_path / f"{number}.py" for number in range(100_000)]
    client.changed(*paths)
    began = time.monotonic()
    client.save(tmp_path / "after.py")
    await session.until_saved(tmp_path / "after.py", paths[0], paths[-1])
    print(f"100,000 events and a save: {time.monotonic() - began:.2f} s")
    sizes = [len(message["files"]) for message in session.of_type("saved")]
    assert max(sizes) <= 1000
    assert sum(sizes) == 100_001


async def test_a_session_that_does_not_read_blocks_nobody(
    open_client: OpenClient, fake: Fake, tmp_path: Path
) -> None:
    stopped, other = fake("stopped"), fake("other")
    client = await open_client()
    await client.knows("stopped", "other")
    stopped.process.send_signal(19)  # SIGSTOP
    client.changed(*(tmp_path / f"{number}-{'x' * 100}.py" for number in range(20_000)))
    client.save(tmp_path / "after.py")
    await other.until_saved(tmp_path / "after.py")
    stopped.process.send_signal(18)  # SIGCONT
    await stopped.until_saved(tmp_path / "after.py")
    assert len(set(stopped.saved())) == 20_001


async def test_a_session_that_talks_nonsense_costs_nothing_but_itself(
    open_client: OpenClient, fake: Fake
) -> None:
    good, bad = fake("good"), fake("bad")
    client = await open_client()
    await client.knows("good", "bad")
    bad.say(type="problems", problems=[{"path": 3}])  # of the right type, with a wrong content
    bad.say(type="log", level="info", text="still here")
    await client.logged("still here")
    bad.say(type="what?")
    await client.knows("good")
    good.say(type="log", level="info", text="and here")
    await client.logged("and here")
