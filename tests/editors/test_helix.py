"""A real Helix on a real screen (tmux), with the configuration that ``onsave editor helix``
prints."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Session
from harness.processes import until
from harness.session import ONSAVE, environment

OWN = Path(__file__).parents[2] / ".cache" / "helix" / "hx"
HELIX = shutil.which("hx") or (str(OWN) if OWN.exists() else None)
TMUX = shutil.which("tmux")

pytestmark = [
    pytest.mark.editors,
    pytest.mark.skipif(not (HELIX and TMUX), reason="no helix, or no tmux: make editors"),
]


class Helix:
    """Keys go in, the screen comes out."""

    def __init__(self, home: Path, env: dict[str, str], cwd: Path, file: str) -> None:
        config = home / ".config" / "helix"
        config.mkdir(parents=True)
        printed = subprocess.run([ONSAVE, "editor", "helix"], capture_output=True, check=True)
        (config / "languages.toml").write_bytes(printed.stdout)
        self._server = f"onsave-{uuid.uuid4().hex[:8]}"
        given = {**env, "HOME": str(home), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        for name in ("XDG_CONFIG_HOME", "TMUX"):
            given.pop(name, None)
        subprocess.run(
            [str(TMUX), "-L", self._server, "-f", "/dev/null", "new-session", "-d",
             "-x", "120", "-y", "30", "-c", str(cwd), str(HELIX), file],
            env=given, check=True,
        )  # fmt: skip

    def _tmux(self, *arguments: str) -> str:
        command = [str(TMUX), "-L", self._server, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def keys(self, *keys: str) -> None:
        for key in keys:
            self._tmux("send-keys", key)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def until_screen(self, text: str) -> None:
        until(lambda: text in self.screen(), f"{text!r} is on the screen:\n{self.screen()}")

    def write(self) -> None:
        """Write what was typed."""
        self.keys("Escape")
        self.until_screen("[+]")
        self.keys(":w", "Enter")
        until(lambda: "[+]" not in self.screen(), "it is written")

    def close(self) -> None:
        self.keys("Escape", ":q!", "Enter")
        self._tmux("kill-server")


@pytest.fixture
def open_helix(run_directory: Path, mark: str) -> Iterator[Callable[[Path, str], Helix]]:
    made = []

    def begin(cwd: Path, file: str) -> Helix:
        home = run_directory.parent / f"helix{len(made)}"
        made.append(Helix(home, environment(run_directory, mark), cwd, file))
        return made[-1]

    yield begin
    for helix in made:
        helix.close()


def test_edit_write_and_the_app_is_up_to_date(
    start: Callable[..., Session], open_helix: Callable[[Path, str], Helix], run_directory: Path
) -> None:
    session = start("flask")
    project, sample = session.project, session.sample
    assert sample is not None
    token = sample.leaf
    pid = session.pid()

    # A file that the app has not loaded.
    helix = open_helix(project.path, sample.unused)
    until(lambda: list(run_directory.glob("lsp-*.json")), "helix has started onsave")
    helix.until_screen("unused.py")
    helix.keys("g", "e", "o", "x = 1")
    helix.write()
    session.until(
        lambda s: any(v.path.endswith(sample.unused) for v in s.verdicts), "a verdict on it"
    )
    assert session.pid() == pid

    helix.keys(f":o {token.file}", "Enter")
    helix.until_screen(f"{token.name}-0")
    helix.keys("%", "s", f"{token.name}-0", "Enter", "c", f"{token.name}-7")
    helix.write()
    session.eventually(token, f"{token.name}-7")
    session.settle()
    pid = session.pid()

    # Half a line: on the screen, until it is mended.
    helix.keys("g", "e", "o", "oops = )")
    helix.write()
    helix.until_screen("unmatched")
    assert session.pid() == pid
    helix.keys("u")
    helix.write()
    session.settle()
    until(lambda: "unmatched" not in helix.screen(), "the diagnostic is gone")
    assert session.pid() == pid
