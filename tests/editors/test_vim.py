"""A real Vim with the very plugin that ``onsave editor vim`` prints: no LSP, ``onsave saved``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from harness import Session
from harness.processes import until
from harness.session import ONSAVE, environment

VIM = shutil.which("vim")


def has_jobs() -> bool:
    if VIM is None:
        return False
    told = subprocess.run([VIM, "--version"], capture_output=True, text=True, check=False).stdout
    return "+job" in told and "+channel" in told


pytestmark = [
    pytest.mark.editors,
    pytest.mark.skipif(not has_jobs(), reason="no vim with +job and +channel: make editors"),
]


class Vim:
    """Vim on a terminal of its own; what is typed is what a person types."""

    def __init__(self, home: Path, env: dict[str, str], cwd: Path) -> None:
        plugin = home / ".vim" / "plugin"
        plugin.mkdir(parents=True)
        printed = subprocess.run([ONSAVE, "editor", "vim"], capture_output=True, check=True)
        (plugin / "onsave.vim").write_bytes(printed.stdout)
        (home / ".vimrc").write_text("set nocompatible noswapfile nomore\n")
        self._answer = home / "answer"
        assert VIM is not None
        self.child = pexpect.spawn(
            VIM,
            env={**env, "HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8"},
            cwd=str(cwd),
            dimensions=(30, 100),
            timeout=60,
        )

    def command(self, command: str) -> None:
        self.child.send(f"\x1b:{command}\r")

    def value(self, expression: str) -> str:
        """The value of a Vim expression; what was typed before has been done by then."""
        self._answer.unlink(missing_ok=True)
        self.command(f"call writefile([string({expression})], '{self._answer}.new') | "
                     f"call rename('{self._answer}.new', '{self._answer}')")  # fmt: skip
        self._drain_until(self._answer.exists, f"vim answers {expression}")
        return self._answer.read_text().strip()

    def _drain_until(self, condition: Callable[[], object], what: str) -> None:
        def look() -> object:
            self.drain()
            return condition()

        until(look, what)

    def drain(self) -> None:
        """Vim stops when nobody reads its screen."""
        while True:
            try:
                self.child.read_nonblocking(65536, timeout=0)
            except (pexpect.TIMEOUT, pexpect.EOF):
                return

    def until_value(self, expression: str, wanted: Callable[[str], object]) -> None:
        until(lambda: wanted(self.value(expression)), f"{expression} is as expected")

    def close(self) -> None:
        self.command("qall!")
        self.child.close(force=True)


@pytest.fixture
def open_vim(run_directory: Path, mark: str) -> Iterator[Callable[[Path], Vim]]:
    made = []

    def begin(cwd: Path) -> Vim:
        home = run_directory.parent / "vim"
        made.append(Vim(home, environment(run_directory, mark), cwd))
        return made[-1]

    yield begin
    for vim in made:
        vim.close()


def test_edit_write_and_the_app_is_up_to_date(
    start: Callable[..., Session], open_vim: Callable[[Path], Vim]
) -> None:
    session = start("flask")
    project, sample = session.project, session.sample
    assert sample is not None
    token = sample.leaf
    pid = session.pid()
    vim = open_vim(project.path)

    # A file that the app has not loaded.
    vim.command(f"edit {sample.unused}")
    vim.command("normal! Gox = 1")
    vim.command("write")
    session.until(
        lambda s: any(v.path.endswith(sample.unused) for v in s.verdicts), "a verdict on it"
    )
    assert session.pid() == pid

    vim.command(f"edit {token.file}")
    vim.command(f"%s/{token.name}-0/{token.name}-7/")
    vim.command("write")
    session.eventually(token, f"{token.name}-7")
    session.settle()
    pid = session.pid()

    # Half a line: in the quickfix list, until it is mended.
    vim.command("normal! Goé = (")
    vim.command("write")
    vim.until_value("len(getqflist())", lambda count: int(count) > 0)
    assert token.file in vim.value("bufname(getqflist()[0].bufnr)")
    lines = project.read(token.file).count("\n")
    assert vim.value("getqflist()[0].lnum") == str(lines)
    assert session.pid() == pid
    vim.command("normal! Gdd")
    vim.command("write")
    vim.until_value("len(getqflist())", lambda count: count == "0")
    session.settle()
    assert session.pid() == pid

    assert "shop" in vim.value("execute('Onsave status')")
