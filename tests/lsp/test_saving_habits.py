"""Auto-saves are not acted upon unless the user wants that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_session import FakeSession
from lsprotocol.types import TextDocumentSaveReason as Reason

from conftest import Client, OpenClient
from onsave.lsp.saving import Saving

Fake = Callable[..., FakeSession]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "views.py"
    path.write_text("x = 1\n")
    return path


async def told(client: Client, session: FakeSession, end: Path) -> list[str]:
    """What the session was told of, up to a change of ``end`` on disk."""
    client.changed(end)
    await session.until_saved(end)
    return [path for path in session.saved() if path != str(end)]


async def test_an_automatic_save_is_passed_over_and_one_by_hand_is_not(
    open_client: OpenClient, fake: Fake, file: Path, tmp_path: Path
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    client.will_save(file, Reason.AfterDelay)
    client.save(file)
    client.changed(file)  # the file watcher, a moment later
    assert await told(client, session, tmp_path / "end1") == []
    client.will_save(file, Reason.Manual)
    client.save(file)
    assert await told(client, session, tmp_path / "end2") == [str(tmp_path / "end1"), str(file)]


async def test_the_watcher_may_be_quicker_than_the_save(
    open_client: OpenClient, fake: Fake, file: Path, tmp_path: Path
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    client.will_save(file, Reason.FocusOut)
    client.changed(file)
    client.save(file)
    client.changed(file)
    assert await told(client, session, tmp_path / "end") == []


async def test_an_automatic_save_that_never_came(
    open_client: OpenClient, fake: Fake, file: Path
) -> None:
    """What changed the file was something else, and counts."""
    session = fake()
    client = await open_client()
    await client.knows("shop")
    client.will_save(file, Reason.AfterDelay)
    client.changed(file)
    await session.until_saved(file)


async def test_what_somebody_else_wrote_after_an_automatic_save_counts(
    open_client: OpenClient, fake: Fake, file: Path, tmp_path: Path
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    client.will_save(file, Reason.AfterDelay)
    client.save(file)
    assert await told(client, session, tmp_path / "end1") == []
    file.write_text("x = 2  # git checkout\n")
    client.changed(file)
    await session.until_saved(file)


@pytest.mark.parametrize(
    ("settings", "counts"),
    [({"autoSave": "all"}, True), ({"autoSave": "manual"}, False), ({"autoSave": 3}, False)],
)
@pytest.mark.parametrize("how", ["options", "configuration"])
async def test_the_setting(
    open_client: OpenClient, fake: Fake, file: Path, tmp_path: Path,
    settings: dict[str, Any], counts: bool, how: str,
) -> None:  # fmt: skip
    session = fake()
    given = settings if how == "configuration" else {"onsave": settings}
    client = await open_client(**{how: given})
    await client.knows("shop")
    if settings["autoSave"] == 3:
        await client.logged("onsave.autoSave is 3; it can be all, manual, never")
    if how == "configuration":  # which the server asks for
        await client.logged(f"onsave.autoSave is {'all' if counts else 'manual'}")
    client.will_save(file, Reason.AfterDelay)
    client.save(file)
    assert await told(client, session, tmp_path / "end") == ([str(file)] if counts else [])


async def test_never(open_client: OpenClient, fake: Fake, file: Path) -> None:
    session = fake()
    client = await open_client(options={"autoSave": "never"})
    await client.knows("shop")
    client.will_save(file, Reason.Manual)
    client.save(file)
    client.changed(file)
    client.lsp.workspace_did_change_configuration(_settings({"onsave": {"autoSave": "all"}}))
    other = file.with_name("other.py")
    client.save(other)
    await session.until_saved(other)
    assert session.saved() == [str(other)]


def _settings(value: Any) -> Any:
    from lsprotocol import types

    return types.DidChangeConfigurationParams(value)


def test_an_editor_without_will_save_always_saves_by_hand(file: Path) -> None:
    assert Saving().did_save(str(file)) == [str(file)]


def test_one_file_s_automatic_save_says_nothing_of_another(file: Path) -> None:
    saving = Saving()
    saving.will_save(str(file), Reason.AfterDelay)
    assert saving.did_save("/other.py") == ["/other.py"]
    assert saving.watched(["/third.py", str(file)]) == (["/third.py"], [])
    assert saving.did_save(str(file)) == []
    assert saving.did_save(str(file)) == [str(file)]


def test_what_automatic_saves_left_is_taken_up_with_the_next_save_by_hand(file: Path) -> None:
    saving = Saving()
    saving.will_save(str(file), Reason.AfterDelay)
    assert saving.did_save(str(file)) == []
    assert saving.did_save("/settings.json") == ["/settings.json"], "the editor's own business"
    saving.will_save("/other.py", Reason.Manual)
    assert saving.did_save("/other.py") == ["/other.py", str(file)]
    saving.will_save("/other.py", Reason.Manual)
    assert saving.did_save("/other.py") == ["/other.py"], "once"


async def test_save_all_is_one_save(
    open_client: OpenClient, fake: Fake, file: Path, tmp_path: Path
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    files = [file, *(tmp_path / f"{number}.py" for number in range(9))]
    for each in files:
        client.will_save(each, Reason.Manual)
    for each in files:
        client.save(each)
    await session.until_saved(*files)
    assert [message["files"] for message in session.of_type("saved")] == [list(map(str, files))]


async def test_a_save_that_was_announced_and_never_came_keeps_no_other_back(
    open_client: OpenClient, fake: Fake, file: Path, tmp_path: Path
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    client.will_save(tmp_path / "read_only.py", Reason.Manual)
    client.save(file)
    await session.until_saved(file)


async def test_the_watcher_s_echo_of_a_save_is_told_as_one(
    open_client: OpenClient, fake: Fake, file: Path, tmp_path: Path
) -> None:
    session = fake()
    client = await open_client()
    await client.knows("shop")
    client.will_save(file, Reason.Manual)
    client.changed(file)  # the watcher may be quicker
    client.save(file)
    await session.until_saved(file)
    client.changed(file)
    # What is on disk when the server looks is what counts: it has to have looked by now.
    await told(client, session, tmp_path / "looked")
    file.write_text("x = 2  # git checkout\n")
    client.changed(file)
    await told(client, session, tmp_path / "end")
    origins = [
        message["origin"] for message in session.of_type("saved") if str(file) in message["files"]
    ]
    assert origins == ["save", "echo", "watched"]


def test_a_file_that_was_written_by_others_after_a_save_is_news(file: Path) -> None:
    saving = Saving()
    path = str(file)
    assert saving.did_save(path) == [path]
    assert saving.watched([path, path]) == ([], [path, path])
    file.write_text("x = 2\n")
    assert saving.watched([path]) == ([path], [])
    file.write_text("x = 1\n")
    assert saving.watched([path]) == ([path], []), "back again: the last word is not the editor's"
