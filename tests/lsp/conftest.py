"""Editors in all their varieties, around real ``onsave lsp`` processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fake_session import DEADLINE, FakeSession
from lsprotocol import types
from pytest_lsp import LanguageClient, client_capabilities, make_test_lsp_client

from harness.session import environment
from onsave.lsp.scripted import plain

ONSAVE = str(Path(sys.executable).with_name("onsave"))

OpenClient = Callable[..., Awaitable["Client"]]


class Client:
    """One editor and its server: what a person does in it, and what it has been told."""

    def __init__(self, lsp: LanguageClient) -> None:
        self.lsp = lsp
        self.received: list[tuple[str, Any]] = []  # (method, params)
        self.registered: dict[str, types.Registration] = {}
        #: What is chosen when the server asks by window/showMessageRequest.
        self.choice: str | None = None
        self.result: types.InitializeResult
        #: The test has ended the server in some way of its own.
        self.abandoned = False
        self._news = asyncio.Event()
        for method in ("onsave/verdict", "onsave/status"):
            lsp.feature(method)(lambda params, method=method: self._take(method, plain(params)))
        self._replace(types.WINDOW_LOG_MESSAGE)
        self._replace(types.WINDOW_SHOW_MESSAGE)
        self._replace(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        self._replace(types.PROGRESS)
        self._replace(types.WORKSPACE_CODE_LENS_REFRESH)
        self._replace(types.WINDOW_SHOW_DOCUMENT, types.ShowDocumentResult(success=True))

        @lsp.feature("onsave/runInTerminal")
        def run_in_terminal(params: Any) -> None:
            self._take("onsave/runInTerminal", plain(params))

        @lsp.feature(types.CLIENT_REGISTER_CAPABILITY)
        def register(params: types.RegistrationParams) -> None:
            self.registered.update({each.method: each for each in params.registrations})
            self._take(types.CLIENT_REGISTER_CAPABILITY, params)

        @lsp.feature(types.WINDOW_SHOW_MESSAGE_REQUEST)
        def ask(params: types.ShowMessageRequestParams) -> types.MessageActionItem | None:
            self._take(types.WINDOW_SHOW_MESSAGE_REQUEST, params)
            return types.MessageActionItem(self.choice) if self.choice else None

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The server's."""
        process = self.lsp._server
        assert process is not None
        return process  # type: ignore[no-any-return]

    def _replace(self, method: str, result: Any = None) -> None:
        """Besides what pytest-lsp's client does with it."""
        before = self.lsp.protocol.fm.features.pop(method, None)

        def take(params: Any) -> Any:
            if before is not None:
                before(params)
            self._take(method, params)
            return result

        self.lsp.feature(method)(take)

    def _take(self, method: str, params: Any) -> None:
        self.received.append((method, params))
        self._news.set()

    def of(self, method: str) -> list[Any]:
        return [params for other, params in self.received if other == method]

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """The first true value of ``condition``, looked at with each message."""

        async def wait() -> Any:
            while not (value := condition()):
                self._news.clear()
                await self._news.wait()
            return value

        try:
            return await asyncio.wait_for(wait(), DEADLINE)
        except asyncio.TimeoutError:
            said = "\n".join(str(each)[:300] for each in self.received[-12:])
            raise AssertionError(f"not within {DEADLINE} s: {what}\n{said}") from None

    @property
    def sessions(self) -> list[dict[str, Any]]:
        told = self.of("onsave/status")
        return told[-1]["sessions"] if told else []

    async def knows(self, *names: str) -> None:
        await self.until(
            lambda: sorted(names) == sorted(s["name"] for s in self.sessions), f"knows {names}"
        )

    async def logged(self, text: str) -> str:
        def found() -> str | None:
            told = (each.message for each in self.of(types.WINDOW_LOG_MESSAGE))
            return next((message for message in told if text in message), None)

        return str(await self.until(found, f"logged {text!r}"))

    def will_save(self, path: Path, reason: types.TextDocumentSaveReason) -> None:
        self.lsp.text_document_will_save(
            types.WillSaveTextDocumentParams(types.TextDocumentIdentifier(path.as_uri()), reason)
        )

    def save(self, path: Path | str) -> None:
        """``path``: a path, or a URI."""
        uri = path.as_uri() if isinstance(path, Path) else path
        self.lsp.text_document_did_save(
            types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(uri))
        )

    def changed(self, *paths: Path) -> None:
        events = [types.FileEvent(path.as_uri(), types.FileChangeType.Changed) for path in paths]
        self.lsp.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams(events))

    def open(self, uri: str, text: str = "") -> None:
        item = types.TextDocumentItem(uri, "python", 1, text)
        self.lsp.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def diagnostics(self, path: Path | str) -> list[types.Diagnostic]:
        uri = path.as_uri() if isinstance(path, Path) else path
        return list(self.lsp.diagnostics.get(uri, []))

    async def execute(self, command: str, *arguments: Any) -> Any:
        return plain(
            await self.lsp.workspace_execute_command_async(
                types.ExecuteCommandParams(command, list(arguments))
            )
        )

    async def lenses(self, path: Path) -> list[types.CodeLens]:
        return list(
            await self.lsp.text_document_code_lens_async(
                types.CodeLensParams(types.TextDocumentIdentifier(path.as_uri()))
            )
            or ()
        )


@pytest_asyncio.fixture
async def open_client(
    run_directory: Path, mark: str, tmp_path: Path
) -> AsyncIterator[OpenClient]:
    """Starts editors. ``capabilities`` may change what the client says that it can do."""
    made: list[Client] = []

    async def begin(
        folder: Path | None = None,
        speaks: str = "visual-studio-code",
        capabilities: Callable[[types.ClientCapabilities], None] | None = None,
        options: Any = None,
        configuration: dict[str, Any] | None = None,
        folders: list[Path] | None = None,
        env: dict[str, str] | None = None,
        program: str = ONSAVE,
    ) -> Client:
        lsp = make_test_lsp_client()
        if configuration is not None:
            lsp.set_configuration(configuration, section="onsave")
        client = Client(lsp)
        can = client_capabilities(speaks)
        if capabilities is not None:
            capabilities(can)
        await lsp.start_io(
            program, "lsp", env=environment(run_directory, mark, **(env or {})), limit=2**24
        )
        made.append(client)
        roots = folders or [folder or tmp_path]
        client.result = await lsp.initialize_session(
            types.InitializeParams(
                capabilities=can,
                process_id=os.getpid(),
                root_uri=roots[0].as_uri(),
                workspace_folders=[types.WorkspaceFolder(r.as_uri(), r.name) for r in roots],
                initialization_options=options,
            )
        )
        return client

    yield begin
    for client in made:
        if client.abandoned:
            client.lsp.capabilities = None  # there is nobody to shut down
            with contextlib.suppress(ProcessLookupError):
                client.process.kill()
        await asyncio.wait_for(client.lsp.shutdown_session(), DEADLINE)
        await client.lsp.stop()


@pytest.fixture
def fake(run_directory: Path, tmp_path: Path) -> Iterator[Callable[..., FakeSession]]:
    """Starts fake sessions."""
    made: list[FakeSession] = []

    def begin(name: str = "shop") -> FakeSession:
        made.append(FakeSession(run_directory, name, tmp_path))
        return made[-1]

    yield begin
    for session in made:
        session.close()
