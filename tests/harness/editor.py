"""An editor for tests: pytest-lsp's client around a real ``onsave lsp`` process.

Runs its own event loop in a thread, so that tests which also start processes and ask apps stay
plain, straight functions.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from lsprotocol import types
from pytest_lsp import LanguageClient, client_capabilities, make_test_lsp_client

from onsave.lsp.scripted import plain

from .processes import DEADLINE

ONSAVE = str(Path(sys.executable).with_name("onsave"))


class Editor:
    """Speaks LSP as ``speaks`` does: "visual-studio-code", "neovim" or "emacs"."""

    def __init__(
        self, folder: Path, environment: dict[str, str], speaks: str = "visual-studio-code"
    ) -> None:
        self.folder = folder
        self.verdicts: list[dict[str, Any]] = []
        self.sessions: list[dict[str, Any]] = []
        self.received: list[tuple[float, str, Any]] = []  # (monotonic time, method, params)
        self._news = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._closed = False
        self.client: LanguageClient = self.call(self._start(environment, speaks))

    async def _start(self, environment: dict[str, str], speaks: str) -> LanguageClient:
        client = make_test_lsp_client()
        for method in ("onsave/verdict", "onsave/status"):
            client.feature(method)(lambda params, method=method: self._took(method, params))
        for request in (types.CLIENT_REGISTER_CAPABILITY, types.WORKSPACE_CODE_LENS_REFRESH):
            client.feature(request)(lambda params: None)
        await client.start_io(ONSAVE, "lsp", env=environment, limit=2**24)
        await client.initialize_session(
            types.InitializeParams(
                capabilities=client_capabilities(speaks),
                process_id=os.getpid(),
                root_uri=self.folder.as_uri(),
                workspace_folders=[
                    types.WorkspaceFolder(uri=self.folder.as_uri(), name=self.folder.name)
                ],
            )
        )
        return client

    def _took(self, method: str, params: Any) -> None:
        taken = plain(params)
        with self._news:
            self.received.append((time.monotonic(), method, taken))
            if method == "onsave/verdict":
                self.verdicts.append(taken)
            else:
                self.sessions = taken.get("sessions", [])
            self._news.notify_all()

    def call(self, work: Coroutine[Any, Any, Any], timeout: float = DEADLINE) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def do(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """Call something of the client's on its own thread."""

        async def work() -> Any:
            return action(*arguments)

        return self.call(work())

    def until(
        self, condition: Callable[[Editor], Any], what: str, timeout: float = DEADLINE
    ) -> Any:
        """The first true value of ``condition``, looked at again with each onsave message."""
        deadline = time.monotonic() + timeout
        with self._news:
            while not (value := condition(self)):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(
                        f"not within {timeout:.0f} s: {what}\n{self.received[-5:]}\n{self.stderr}"
                    )
                self._news.wait(min(left, 0.5))
        return value

    # --- what a person does ---------------------------------------------------------------------

    def open(self, path: str | Path) -> None:
        path = Path(path)
        language = {".py": "python", ".html": "html", ".yaml": "yaml"}.get(path.suffix, "plaintext")
        item = types.TextDocumentItem(path.as_uri(), language, 1, path.read_text(encoding="utf-8"))
        self.do(self.client.text_document_did_open, types.DidOpenTextDocumentParams(item))

    def save(self, path: str | Path) -> None:
        """Tell of a save; whoever calls has written the file."""
        document = types.TextDocumentIdentifier(Path(path).as_uri())
        self.do(self.client.text_document_did_save, types.DidSaveTextDocumentParams(document))

    def changed_on_disk(self, *paths: str | Path, kind: types.FileChangeType | None = None) -> None:
        kind = kind or types.FileChangeType.Changed
        events = [types.FileEvent(Path(path).as_uri(), kind) for path in paths]
        self.do(
            self.client.workspace_did_change_watched_files,
            types.DidChangeWatchedFilesParams(events),
        )

    def diagnostics(self, path: str | Path) -> list[types.Diagnostic]:
        return list(self.client.diagnostics.get(Path(path).as_uri(), []))

    def execute(self, command: str, *arguments: Any) -> Any:
        return self.call(
            self.client.workspace_execute_command_async(
                types.ExecuteCommandParams(command, list(arguments))
            )
        )

    @property
    def stderr(self) -> str:
        """What the server said beside the protocol: its log messages."""
        return "\n".join(message.message for message in self.client.log_messages[-40:])

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self.call(self.client.shutdown_session(), timeout=20)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
