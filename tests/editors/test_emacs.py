"""A real Emacs with the very configuration that ``onsave editor emacs`` prints: eglot, and the
minor mode for those who have another server."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Session
from harness.processes import until
from harness.session import ONSAVE, environment

EMACS, CLIENT = shutil.which("emacs"), shutil.which("emacsclient")


def has_eglot() -> bool:
    if EMACS is None or CLIENT is None:
        return False
    tried = subprocess.run(
        [EMACS, "--batch", "--eval", "(progn (package-initialize) (require 'eglot))"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


pytestmark = [
    pytest.mark.editors,
    pytest.mark.skipif(not has_eglot(), reason="no emacs with eglot: make editors"),
]

SETUP = """
(setq native-comp-deferred-compilation nil native-comp-jit-compilation nil)
(package-initialize)
(require 'eglot)
(require 'json)
(setq make-backup-files nil create-lockfiles nil auto-save-default nil vc-handled-backends nil
      eglot-sync-connect 30 eglot-autoshutdown t confirm-kill-processes nil)
"""


class Emacs:
    """An Emacs daemon, told what to do by emacsclient."""

    def __init__(self, home: Path, env: dict[str, str], cwd: Path) -> None:
        home.mkdir()
        printed = subprocess.run([ONSAVE, "editor", "emacs"], capture_output=True, check=True)
        init = home / "init.el"
        init.write_bytes(SETUP.encode() + printed.stdout)
        self._socket = str(home / "socket")
        assert EMACS is not None
        self.process = subprocess.Popen(
            # -q and not -Q, which hides Debian's packages.
            [EMACS, "-q", f"--fg-daemon={self._socket}", "-l", str(init)],
            env={**env, "HOME": str(home), "LC_ALL": "C.UTF-8"},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ready(self) -> Emacs:
        until(lambda: self._client("t").returncode == 0, "emacs listens")
        return self

    def _client(self, lisp: str) -> subprocess.CompletedProcess[str]:
        assert CLIENT is not None
        return subprocess.run(
            [CLIENT, "--socket-name", self._socket, "--eval", lisp],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def eval(self, lisp: str) -> Any:
        """The value of a Lisp form."""
        done = self._client(f"(json-encode (progn {lisp}))")
        assert done.returncode == 0, done.stderr
        return json.loads(json.loads(done.stdout))

    def edit(self, path: Path, *forms: str) -> Any:
        """Visit a file and do something there."""
        return self.eval(
            f"(with-current-buffer (find-file-noselect {json.dumps(str(path))}) {' '.join(forms)})"
        )

    def close(self) -> None:
        try:
            self._client("(let ((kill-emacs-hook nil)) (kill-emacs))")
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def open_emacs(run_directory: Path, mark: str) -> Iterator[Callable[[Path], Emacs]]:
    made = []

    def begin(cwd: Path) -> Emacs:
        made.append(Emacs(run_directory.parent / "emacs", environment(run_directory, mark), cwd))
        return made[-1].ready()

    yield begin
    for emacs in made:
        emacs.close()


def replace(old: str, new: str) -> str:
    return f'(goto-char (point-min)) (search-forward "{old}") (replace-match "{new}" t t)'


SAVE = "(save-buffer)"
HALF = '(goto-char (point-max)) (insert "é = (\\n")'
MENDED = '(goto-char (point-min)) (search-forward "é = (\\n") (replace-match "")'


def test_eglot(start: Callable[..., Session], open_emacs: Callable[[Path], Emacs]) -> None:
    session = start("flask")
    project, sample = session.project, session.sample
    assert sample is not None
    subprocess.run(["git", "init", "-q"], cwd=project.path, check=True)
    token, file = sample.leaf, project / sample.leaf.file
    pid = session.pid()
    emacs = open_emacs(project.path)
    emacs.edit(file, "(call-interactively 'eglot)", "t")
    until(lambda: emacs.edit(file, "(and (eglot-managed-p) t)"), "eglot manages the buffer")

    # A file that the app has not loaded. The server may be still on its way to the session: then it
    # tells of the save as of something past, and nothing is said of it; the next one counts.
    def judged() -> bool:
        emacs.edit(project / sample.unused, "(goto-char (point-max))", '(insert "x = 1\\n")', SAVE)
        return any(v.path.endswith(sample.unused) for v in session.verdicts)

    until(judged, "a verdict on it")
    assert session.pid() == pid

    emacs.edit(file, replace(f"{token.name}-0", f"{token.name}-7"), SAVE)
    session.eventually(token, f"{token.name}-7")
    session.settle()
    pid = session.pid()

    # Half a line, and back.
    emacs.edit(file, HALF, SAVE)
    session.until_state("held")
    shown = "(flymake-start) (mapcar #'flymake-diagnostic-text (flymake-diagnostics))"
    told = until(lambda: emacs.edit(file, shown), "a diagnostic")
    assert "was never closed" in told[0] or "SyntaxError" in told[0]
    emacs.edit(file, MENDED, SAVE)
    until(lambda: not emacs.edit(file, shown), "the diagnostic is gone")
    session.settle()
    assert session.pid() == pid


def test_without_eglot(start: Callable[..., Session], open_emacs: Callable[[Path], Emacs]) -> None:
    session = start("flask")
    project, sample = session.project, session.sample
    assert sample is not None
    token, file = sample.leaf, project / sample.leaf.file
    emacs = open_emacs(project.path)
    emacs.eval("(onsave-mode 1)")
    emacs.edit(file, replace(f"{token.name}-0", f"{token.name}-7"), SAVE)
    session.eventually(token, f"{token.name}-7")
    session.settle()
    pid = session.pid()
    emacs.edit(file, HALF, SAVE)
    text = "(with-current-buffer (get-buffer-create \"*onsave*\") (buffer-string))"
    until(lambda: f"{token.file}:" in emacs.eval(text), "it is shown what is wrong")
    assert session.pid() == pid
