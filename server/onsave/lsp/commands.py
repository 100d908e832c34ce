"""What the editor may ask for: ``onsave.server.start``, ``stop``, ``restart``, ``status``, ``why``.

The only place from which an app is started, and only because somebody asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from onsave.control import ControlError, SessionEnded
from onsave.lsp import ext, from_proto

if TYPE_CHECKING:
    from onsave.lsp.server import OnsaveServer


def register(server: OnsaveServer) -> None:
    """Offer the commands to the editor."""

    def offer(name: str, run: Callable[[OnsaveServer, Mapping[str, Any]], Any]) -> None:
        async def command(*arguments: Any) -> Any:
            try:
                return await run(server, _argument(arguments))
            except ControlError as error:
                raise JsonRpcException(str(error), code=-32803) from None  # RequestFailed

        server.command(name)(command)

    offer(ext.START, start)
    offer(ext.STOP, stop)
    offer(ext.RESTART, restart)
    offer(ext.STATUS_COMMAND, status)
    offer(ext.WHY_COMMAND, why)


def _argument(arguments: tuple[Any, ...]) -> Mapping[str, Any]:
    """The one argument, an object. A bare string is a name or, for ``why``, a URI."""
    if not arguments or arguments[0] is None:
        return {}
    if isinstance(arguments[0], str):
        return {"name": arguments[0], "uri": arguments[0]}
    if isinstance(arguments[0], Mapping):
        return arguments[0]
    raise JsonRpcInvalidParams(f"expected an object, got {arguments[0]!r:.60}")


async def start(server: OnsaveServer, arguments: Mapping[str, Any]) -> ext.Started:
    """Start a session: in a terminal of the editor's if it can open one, else headless."""
    command = _words(arguments.get("command"))
    cwd = _folder(server, arguments)
    name = _free_name(server, arguments.get("name"), cwd)
    options = [str(option) for option in arguments.get("options") or ()]
    argv = [*own_command(), "run", *options]
    if name is not None:
        argv += ["--name", name]
    if command:
        argv += ["--", *command]
    title = name or Path(cwd).name
    env = _environment(arguments.get("env"))
    if server.can.run_in_terminal:
        params = ext.RunInTerminal(name=title, cwd=cwd, argv=argv, env=env)
        await server.protocol.send_request_async(ext.RUN_IN_TERMINAL, params)
        return ext.Started(name=name)
    server.log("info", f"{title}: starting {shlex.join(command or ['the configured app'])}")
    try:
        await server.headless.start(title, argv, cwd, env)
    except OSError as error:
        raise ControlError(f"{title} can't be started: {error}") from None
    return ext.Started(name=name)


async def stop(server: OnsaveServer, arguments: Mapping[str, Any]) -> None:
    # A session that hangs up before it has answered has done what it was asked for.
    with contextlib.suppress(SessionEnded):
        await server.sessions.named(arguments.get("name")).request("stop")


async def restart(server: OnsaveServer, arguments: Mapping[str, Any]) -> None:
    link = server.sessions.named(arguments.get("name"))
    await link.request("restart", force=bool(arguments.get("force")))


async def status(server: OnsaveServer, arguments: Mapping[str, Any]) -> ext.Status:
    return server.report.status()


async def why(server: OnsaveServer, arguments: Mapping[str, Any]) -> ext.Why:
    """What each session knows of the file. One that does not answer is left out, and logged."""
    path = from_proto.path(arguments.get("uri"))
    if path is None:
        raise JsonRpcInvalidParams(f"not the URI of a file: {arguments.get('uri')!r:.200}")
    links = server.links
    answers = await asyncio.gather(
        *(link.request("why", path=path) for link in links), return_exceptions=True
    )
    told = []
    for link, answer in zip(links, answers, strict=True):
        if isinstance(answer, BaseException):
            level = "debug" if isinstance(answer, SessionEnded) else "warning"
            server.log(level, str(answer))
            continue
        told.append(
            ext.WhySession(
                name=link.name,
                loaded=bool(answer.get("loaded")),
                since=answer.get("since"),
                module=answer.get("module"),
                importer=answer.get("importer"),
                would=answer.get("would"),
                functions=answer.get("functions") or [],
            )
        )
    return ext.Why(sessions=told)


async def loaded(server: OnsaveServer, name: str | None) -> ext.Loaded:
    """The workspace files that the app of a session has loaded: none if the session ends while it
    is asked. Raises ControlError."""
    try:
        answer = await server.sessions.named(name).request("files")
    except SessionEnded:
        return ext.Loaded(files=[])
    return ext.Loaded(
        files=[
            ext.LoadedFile(uri=server.uri_of(path), kind=kind, module=module, importer=importer)
            for path, kind, module, importer in answer["files"]
        ]
    )


def own_command() -> list[str]:
    """How to call ``onsave`` again just as this server was called: by module, script or program."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return [sys.executable, "-m", "onsave"]
    if program.is_file() and program.suffix != ".exe":
        return [sys.executable, str(program.resolve())]
    return [str(program)] if program.is_file() else [sys.executable, "-m", "onsave"]


def _words(command: object) -> list[str]:
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command or ())  # type: ignore[call-overload]
    except (ValueError, TypeError) as error:
        raise ControlError(f"the command can't be understood: {error}") from None
    if not all(isinstance(word, str) for word in words):
        raise ControlError(f"the command is to be a list of strings, not {command!r:.100}")
    return words


def _environment(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(
        isinstance(each, str) for pair in value.items() for each in pair
    ):
        raise ControlError(f"env is to be an object of strings, not {value!r:.100}")
    return dict(value)


def _free_name(server: OnsaveServer, name: object, cwd: str) -> str | None:
    """The name to start under: another one where a session elsewhere has it already."""
    if name is None:
        return None
    wanted = free = str(name)
    taken = {link.name: link for link in server.links}
    if wanted in taken and Path(cwd).is_relative_to(taken[wanted].entry.root):
        raise ControlError(f"{wanted} runs already; restart or stop it")
    number = 1
    while free in taken:
        number += 1
        free = f"{wanted}-{number}"
    return free


def _folder(server: OnsaveServer, arguments: Mapping[str, Any]) -> str:
    folder = from_proto.path(arguments.get("folder"))
    cwd = Path(folder or server.root, str(arguments.get("cwd") or ""))
    if not cwd.is_dir():
        raise ControlError(f"there is no folder {cwd}")
    return str(cwd)
