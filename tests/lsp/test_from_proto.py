"""URIs and paths, on all platforms' forms; what LSP says in forms of its own."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from onsave.lsp import client, from_proto, to_proto

POSIX = [
    ("file:///home/me/app.py", "/home/me/app.py"),
    ("file://localhost/app.py", "/app.py"),
    ("FILE:///app.py", "/app.py"),
    ("file:/app.py", "/app.py"),
    ("file:///a%20b/%C3%BC.py", "/a b/ü.py"),
    ("file:///a b/ü.py", "/a b/ü.py"),  # not quoted at all
    ("file:///c%23/a%3Fb.py", "/c#/a?b.py"),
    ("file:///c#/a?b.py", "/c#/a?b.py"),
    ("file:///100%25.py", "/100%.py"),
    ("file:///%E9.py", "/\udce9.py"),  # a Latin-1 name
    ("file:///c%3A/x.py", "/c:/x.py"),
    ("file:///a;b/c,d.py", "/a;b/c,d.py"),
    ("file:///a\\b.py", "/a\\b.py"),
]
WINDOWS = [
    ("file:///c%3A/Users/me/app.py", "C:\\Users\\me\\app.py"),
    ("file:///C:/Users/me/app.py", "C:\\Users\\me\\app.py"),
    ("file:///d:/", "D:\\"),
    ("file:///c:/a%20b/%C3%BC.py", "C:\\a b\\ü.py"),
    ("file://server/share/app.py", "\\\\server\\share\\app.py"),
    ("file://localhost/c:/app.py", "C:\\app.py"),
]
NO_FILE = [
    "untitled:Untitled-1",
    "vscode-notebook-cell:/home/me/a.ipynb#W0sZmlsZQ%3D%3D",
    "vscode-remote://ssh/home/me/app.py",
    "git:/app.py?ref",
    "jar:file:///a.jar!/b.py",
    "file:relative.py",
    "file:",
    "file://",
    "file:///a%00b.py",
    "",
    "/home/me/app.py",
    None,
    3,
    "file:///\ud800.py",
]


@pytest.mark.parametrize(("uri", "path"), POSIX)
def test_posix(uri: str, path: str) -> None:
    assert from_proto.path(uri, windows=False) == path


@pytest.mark.parametrize(("uri", "path"), WINDOWS)
def test_windows(uri: str, path: str) -> None:
    assert from_proto.path(uri, windows=True) == path


@pytest.mark.parametrize("uri", NO_FILE)
@pytest.mark.parametrize("windows", [False, True])
def test_no_file(uri: object, windows: bool) -> None:
    assert from_proto.path(uri, windows) is None


def test_of_another_machine() -> None:
    assert from_proto.path("file://server/share/app.py", windows=False) is None


def test_without_a_drive() -> None:
    assert from_proto.path("file:///home/me/app.py", windows=True) is None


@given(st.binary(max_size=40).filter(lambda name: b"\0" not in name))
def test_every_posix_path_comes_back(name: bytes) -> None:
    path = os.fsdecode(b"/" + name)
    assert from_proto.path(to_proto.uri(path, windows=False), windows=False) == path


@pytest.mark.parametrize("path", ["C:\\Users\\me\\a b\\ü#?.py", "\\\\server\\share\\x.py"])
def test_windows_paths_come_back(path: str) -> None:
    assert from_proto.path(to_proto.uri(path, windows=True), windows=True) == path


@given(st.text())
def test_any_text_is_a_path_or_none(text: str) -> None:
    for windows in (False, True):
        from_proto.path("file:" + text, windows)


@pytest.mark.parametrize(
    "params", [None, [], {}, {"changes": None}, {"changes": [None, 3, {}, {"uri": 3}]}]
)
def test_watched_files_of_a_wrong_form(params: object) -> None:
    assert from_proto.watched(params) == []


def test_watched_files_each_once() -> None:
    changes = [{"uri": f"file:///{name}.py", "type": 2} for name in "abab"]
    assert from_proto.watched({"changes": changes}) == ["/a.py", "/b.py"]


# --- positions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@given(line=st.text(st.characters(exclude_characters="\r\n")), column=st.integers(-1, 50))
def test_units_agree_with_the_encoding(encoding: str, line: str, column: int) -> None:
    codec, size = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}[
        encoding
    ]
    before = line[: max(column, 0)].encode(codec, "surrogatepass")
    assert to_proto.units(line, column, encoding) == len(before) // size


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((0, 1, 0, 2), (0, 1, 0, 2)),
        ((0, 1, 9, 9), (0, 1, 1, 2)),  # beyond the last line
        ((0, 1, 0, 99), (0, 1, 0, 3)),  # beyond the end of the line
        ((1, 2, 0, 0), (1, 2, 1, 2)),  # backwards
        ((-1, -1, 0, 1), (0, 0, 0, 1)),
    ],
)
def test_ranges_stay_inside_of_the_text(
    place: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    found = to_proto.range_(place, ["abc", "de"], "utf-16")
    assert (found.start.line, found.start.character, found.end.line, found.end.character) == (
        expected
    )


def test_lines_are_split_as_editors_do(tmp_path: object) -> None:
    path = os.path.join(str(tmp_path), "a.py")
    with open(path, "wb") as file:
        file.write(b"\xef\xbb\xbfa\x0cb\r\nc\rd\ne\xe2\x80\xa8f")
    assert to_proto.read_lines(path) == ["a\x0cb", "c", "d", "e\u2028f"]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"# coding: latin-1\n# \xe9", ["# coding: latin-1", "# é"]),
        (b"# coding: klingon\n", ["# coding: klingon", ""]),
        (b"\xff\xfe\0", ["��\0"]),
    ],
)
def test_odd_encodings(tmp_path: object, data: bytes, lines: list[str]) -> None:
    path = os.path.join(str(tmp_path), "a.py")
    with open(path, "wb") as file:
        file.write(data)
    assert to_proto.read_lines(path) == lines


def test_a_file_that_is_gone_has_no_lines() -> None:
    assert to_proto.read_lines("/nowhere/a.py") == []
    assert to_proto.range_((3, 4, 3, 5), [], "utf-8").start == types.Position(3, 4)


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "settings", "problems"),
    [
        ({"autoSave": "all"}, client.Settings("all"), 0),
        ({"onsave": {"autoSave": "never", "python": "/py"}}, client.Settings("never", "/py"), 0),
        ({"autoSave": "sometimes"}, client.Settings(), 1),
        ({"python": 3, "autoSave": []}, client.Settings(), 1),
        (None, client.Settings(), 0),
        ([], client.Settings(), 0),
        ("all", client.Settings(), 0),
        ({"onsave": None}, client.Settings(), 0),
    ],
)
def test_settings(raw: object, settings: client.Settings, problems: int) -> None:
    found, told = client.settings(raw, client.Settings())
    assert (found, len(told)) == (settings, problems)
