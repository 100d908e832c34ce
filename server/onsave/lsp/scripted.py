"""An editor that follows a script: a real LSP client around a real ``onsave lsp`` process.

For ``onsave demo`` and the benchmarks. It speaks what any editor speaks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.client import LanguageClient

from onsave.lsp import ext


class ScriptedEditor:
    """Saves files and hears what came of it. All methods belong on one event loop.

    ``diagnostics`` maps URIs to what is published for them now; ``sessions`` is what the last
    ``onsave/status`` said.
    """

    def __init__(self) -> None:
        self.diagnostics: dict[str, Sequence[types.Diagnostic]] = {}
        self.sessions: list[dict[str, Any]] = []
        self._verdicts: list[tuple[float, dict[str, Any]]] = []
        self._news = asyncio.Event()
        self._client = LanguageClient("onsave demo", "1")
        # pygls marks handlers by attributes, which bound methods refuse.
        for method, handler in (
            (ext.VERDICT, self._on_verdict),
            (ext.STATUS, self._on_status),
            (types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS, self._on_diagnostics),
            (types.WINDOW_LOG_MESSAGE, lambda params: None),
            (types.WINDOW_SHOW_MESSAGE, lambda params: None),
        ):
            self._client.feature(method)(lambda params, handler=handler: handler(params))

    async def start(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        """Start the server ``command`` and open ``folder`` in it. Raises OSError."""
        await self._client.start_io(*command, env=dict(environment))
        await self._client.initialize_async(
            types.InitializeParams(
                capabilities=types.ClientCapabilities(),
                process_id=os.getpid(),
                root_uri=folder.as_uri(),
                workspace_folders=[types.WorkspaceFolder(folder.as_uri(), folder.name)],
            )
        )
        self._client.initialized(types.InitializedParams())

    async def save(self, path: Path, timeout: float) -> tuple[dict[str, Any], float]:
        """Tell that ``path`` was saved; the verdict, and after how many seconds it came.

        Raises TimeoutError.
        """
        uri = path.as_uri()
        document = types.TextDocumentIdentifier(uri)
        seen = len(self._verdicts)
        began = time.perf_counter()
        self._client.text_document_did_save(types.DidSaveTextDocumentParams(document))

        def told() -> tuple[float, dict[str, Any]] | None:
            of_it = (item for item in self._verdicts[seen:] if item[1].get("uri") == uri)
            return next(of_it, None)

        at, verdict = await self.until(told, timeout)
        return verdict, at - began

    def last_verdict(self, path: Path) -> dict[str, Any]:
        """The newest one on this file: a patch that the app refused has become a restart."""
        uri = path.as_uri()
        return next(v for _, v in reversed(self._verdicts) if v.get("uri") == uri)

    async def until(self, condition: Callable[[], Any], timeout: float) -> Any:
        """The first true value of ``condition``, asked anew whenever the server has said something.

        Raises TimeoutError.
        """

        async def wait() -> Any:
            while not (value := condition()):
                self._news.clear()
                await self._news.wait()
            return value

        try:
            return await asyncio.wait_for(wait(), timeout)
        except asyncio.TimeoutError:  # another class than the built-in one before Python 3.11
            raise TimeoutError from None

    async def stop(self) -> None:
        """Leave as an editor does: shutdown, exit."""
        await self._client.shutdown_async(None)
        self._client.exit(None)
        await self._client.stop()  # type: ignore[no-untyped-call]

    def _on_verdict(self, params: Any) -> None:
        self._verdicts.append((time.perf_counter(), plain(params)))
        self._news.set()

    def _on_status(self, params: Any) -> None:
        self.sessions = plain(params)["sessions"]
        self._news.set()

    def _on_diagnostics(self, params: types.PublishDiagnosticsParams) -> None:
        self.diagnostics[params.uri] = params.diagnostics
        self._news.set()


def plain(value: Any) -> Any:
    """pygls hands out messages it does not know as nested named tuples: back to what they were."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
