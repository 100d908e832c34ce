"""What the editor says, a few lines each.

Synchronous, as far as it goes: what takes time becomes a task, so that nothing is heard out of
order, and pygls' thread pool is used by nobody. pygls hands the server to a handler whose first
parameter is called ``ls``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from onsave.control import ControlError
from onsave.lsp import client, commands, ext, from_proto, lifetime

if TYPE_CHECKING:
    from onsave.lsp.server import OnsaveServer

#: A save that was announced so long ago has failed.
SAVE_SECONDS = 2.0
#: So long the saves of a Save All wait for those that were announced with them: an organiser of
#: imports or a formatter may be at work on one of them.
TOGETHER_SECONDS = 0.5


def register(server: OnsaveServer) -> None:
    """Have the server hear the editor."""
    feature = server.feature
    every_file = types.FileOperationRegistrationOptions(
        [types.FileOperationFilter(types.FileOperationPattern("**/*"), scheme="file")]
    )

    @feature(types.INITIALIZE)
    def initialize(ls: OnsaveServer, params: types.InitializeParams) -> None:
        # Synchronous: a didOpen or didSave that follows at once finds everything in place.
        ls.can = client.can(params)
        ls.apply_settings(params.initialization_options)
        if params.process_id is not None:
            lifetime.watch_process(params.process_id, lambda: ls.protocol.end(1))
        ls.begin()

    @feature(types.INITIALIZED)
    def initialized(ls: OnsaveServer, params: types.InitializedParams) -> None:
        ls.spawn(ls.register_dynamically())
        ls.spawn(ls.pull_settings())

    @feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    def did_change_configuration(
        ls: OnsaveServer, params: types.DidChangeConfigurationParams
    ) -> None:
        ls.apply_settings(params.settings)
        ls.spawn(ls.pull_settings())
        ls.refresh_lenses()  # another interpreter, or none wanted any more

    @feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(ls: OnsaveServer, params: types.DidOpenTextDocumentParams) -> None:
        ls.opened(params.text_document.uri)

    @feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(ls: OnsaveServer, params: types.DidCloseTextDocumentParams) -> None:
        ls.closed(params.text_document.uri)

    @feature(types.TEXT_DOCUMENT_WILL_SAVE)
    def will_save(ls: OnsaveServer, params: types.WillSaveTextDocumentParams) -> None:
        for path in from_proto.paths([params.text_document.uri]):
            ls.saving.will_save(path, params.reason)

    @feature(types.TEXT_DOCUMENT_DID_SAVE, types.SaveOptions(include_text=False))
    def did_save(ls: OnsaveServer, params: types.DidSaveTextDocumentParams) -> None:
        for path in from_proto.paths([params.text_document.uri]):
            ls.saved(ls.saving.did_save(path), "save")
        if ls.saving.waits:
            asyncio.get_running_loop().call_later(
                TOGETHER_SECONDS, lambda: ls.saved(ls.saving.give_up(), "save")
            )

    @feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def did_change_watched_files(ls: OnsaveServer, params: Any) -> None:
        news, echoes = ls.saving.watched(from_proto.watched(params))
        ls.saved(news, "watched")
        ls.saved(echoes, "echo")
        if ls.saving.undecided:
            asyncio.get_running_loop().call_later(
                SAVE_SECONDS, lambda: ls.saved(ls.saving.never_came(), "watched")
            )

    @feature(types.WORKSPACE_DID_CREATE_FILES, every_file)
    def did_create_files(ls: OnsaveServer, params: types.CreateFilesParams) -> None:
        ls.moved(from_proto.paths(file.uri for file in params.files))

    @feature(types.WORKSPACE_DID_DELETE_FILES, every_file)
    def did_delete_files(ls: OnsaveServer, params: types.DeleteFilesParams) -> None:
        ls.moved(from_proto.paths(file.uri for file in params.files))

    @feature(types.WORKSPACE_DID_RENAME_FILES, every_file)
    def did_rename_files(ls: OnsaveServer, params: types.RenameFilesParams) -> None:
        uris = [uri for file in params.files for uri in (file.old_uri, file.new_uri)]
        ls.moved(from_proto.paths(uris))

    @feature(types.TEXT_DOCUMENT_CODE_LENS)
    def code_lens(ls: OnsaveServer, params: types.CodeLensParams) -> list[types.CodeLens]:
        return ls.lenses(params.text_document.uri)

    @feature(ext.WHY)
    async def why(ls: OnsaveServer, params: Any) -> ext.Why:
        uri = params.get("uri") if isinstance(params, dict) else getattr(params, "uri", None)
        return await commands.why(ls, {"uri": uri})

    @feature(ext.LOADED)
    async def loaded(ls: OnsaveServer, params: Any) -> ext.Loaded:
        name = params.get("name") if isinstance(params, dict) else getattr(params, "name", None)
        try:
            return await commands.loaded(ls, name)
        except ControlError as error:
            raise JsonRpcException(str(error), code=-32803) from None  # RequestFailed

    @feature(types.SHUTDOWN)
    def shutdown(ls: OnsaveServer, params: None) -> None:
        # Begin now: after `exit` there is little time.
        ls.spawn(ls.stop_headless())
