"""The messages of ours that LSP does not have: what they are called and what stands in them.

They only enrich: whatever they tell is told by standard messages as well. ``lsp_ext.ts`` of the
VS Code extension mirrors this file. The fields are named as they go over the wire; paths are URIs
there, lines and characters are 0-based and in the negotiated position encoding.
"""

from __future__ import annotations

from typing import Any, TypedDict

#: Server → client, notification: what one save meant. Params: :class:`Verdict`.
VERDICT = "onsave/verdict"

#: Server → client, notification: all sessions, whenever something about one is new.
#: Params: :class:`Status`.
STATUS = "onsave/status"

#: A client may say in the experimental capability (or initialization option) ``onsave``:
#: runInTerminal: true — it answers onsave/runInTerminal
#: tellsFailures: true — it tells of failures itself, so that no window/showMessage is to be sent

#: Server → client, request: open a terminal and run the command in it. Sent only to clients that
#: can, and only when the user asked for it. Params: :class:`RunInTerminal`; result: null.
RUN_IN_TERMINAL = "onsave/runInTerminal"

#: Client → server, request: what a save of a file would do, and why. Params: :class:`WhyParams`;
#: result: :class:`Why`.
WHY = "onsave/why"

#: Client → server, request: the files of its workspace that a session's app has loaded.
#: Params: :class:`LoadedParams`; result: :class:`Loaded`.
LOADED = "onsave/loaded"

#: The commands for ``workspace/executeCommand``. Arguments: at most one, an object.
#: start:   :class:`StartArguments`; → :class:`Started`
#: stop:    {name?}; → null
#: restart: {name?, force?}; → null
#: status:  → :class:`Status`
#: why:     {uri}; → :class:`Why`
#: name may be left out where one session runs.
START = "onsave.server.start"
STOP = "onsave.server.stop"
RESTART = "onsave.server.restart"
STATUS_COMMAND = "onsave.server.status"
WHY_COMMAND = "onsave.server.why"


class Evidence(TypedDict):
    """A place that shows why."""

    uri: str
    line: int
    message: str


class Verdict(TypedDict, total=False):
    """What one save means. ``action``: "ignore" | "patch" | "restart" | "hold"."""

    session: str
    run: int
    uri: str
    action: str
    reason: str  # a short phrase: "not loaded", "module-level code changed"
    message: str  # a line for people
    evidence: list[Evidence]
    functions: list[str]  # the qualified names that a patch swaps


class Session(TypedDict):
    """One ``onsave run``."""

    name: str
    #: "starting" | "ready" | "running" | "restarting" | "held" | "broken" | "ended"
    state: str
    run: int
    pid: int | None  # of the app
    listening: list[str]  # "127.0.0.1:8000", or the path of a Unix socket
    stale: list[str]  # URIs
    lastVerdict: Verdict | None
    readyMs: float | None  # how long the last start took
    root: str  # URI
    command: list[str]
    message: str  # what came of the last action, a line for people
    processes: list[int]  # pids of the app's processes that have an agent
    loaded: int  # how many paths the app was built from


class Status(TypedDict):
    sessions: list[Session]


class RunInTerminal(TypedDict):
    name: str  # of the session, for the terminal's title
    cwd: str  # a path
    argv: list[str]
    env: dict[str, str]  # to be added to the terminal's own


class StartArguments(TypedDict, total=False):
    """What to run. Without a command: the app that the configuration in ``cwd`` tells of."""

    command: list[str] | str
    name: str
    cwd: str  # a path; the folder, or the first workspace folder, where left out
    folder: str  # URI of a workspace folder
    options: list[str]  # more for `onsave run`: ["--rerun"]
    env: dict[str, str]  # to be added to the app's environment


class Started(TypedDict):
    name: str | None  # of the session, another one than asked for where that was taken; null where
    # the configuration says it


class WhyParams(TypedDict):
    uri: str


class WhySession(TypedDict):
    """What one session knows of a file. What it does not know is null."""

    name: str
    loaded: bool
    since: int | None  # the run that loaded it
    module: str | None
    importer: str | None  # "path:line"
    would: dict[str, Any] | None  # {action, reason}: what a save would do
    functions: list[list[str]]  # [name, what a change of its body would do]


class Why(TypedDict):
    sessions: list[WhySession]


class LoadedParams(TypedDict):
    name: str  # of the session


class LoadedFile(TypedDict):
    """One file that the app's newest run was built from."""

    uri: str
    kind: str  # "module" | "main" | "extension" | "data" | "missing" | "extra"
    module: str | None
    importer: str | None  # "path:line"


class Loaded(TypedDict):
    files: list[LoadedFile]
