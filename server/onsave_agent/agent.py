"""Everything put in place, in the order in which it must be: called once, by ``sitecustomize``."""

import atexit
import sys

from onsave_agent import environment, files, hooks, imports, modules, paths, protocol, ran, reports
from onsave_agent.client import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onsave_agent.ahead import Ahead, Scout

#: Answers to the session's messages: type → (module, function), imported when first asked for.
#: A function takes the message and returns the reply, or None, or a callable that is asked again
#: every few milliseconds until it returns the reply.
_ANSWERS = {
    "check": ("check", "check"),
    "drain": ("drain", "drain"),
    "patch": ("patch", "handle"),
    "ran": ("patch", "which_ran"),
}

channel = None  # type: Channel | None
#: What watches over a start that runs ahead of its turn, see snapshot.py.
ahead = None  # type: Ahead | Scout | None


def start(text):
    # type: (str) -> None
    """Begin to observe this process; ``text`` is the value of ONSAVE_AGENT.

    Raises where that is malformed or the session cannot be reached; nothing is in place then.
    """
    settings = protocol.decode_environment(text)
    environment.restore(settings)
    paths.configure(settings)
    snapshot = "snapshot" in settings
    if snapshot:
        _install(settings)
        settings = hooks.load("snapshot").stand_by(settings)
    if settings is not None:
        paths.configure(settings)
        if connect(settings) is None:
            return
        if not snapshot:
            _install(settings)
    imports.begin()
    atexit.register(_at_exit)


def connect(settings):
    # type: (dict[str, Any]) -> Channel | None
    """Open the channel to the session; None where nobody answers."""
    global channel
    connection = Channel(settings, answer)
    if not connection.open("exec"):
        return None
    channel = connection
    reports.begin(connection)
    return connection


def _install(settings):
    # type: (dict[str, Any]) -> None
    """Put in place all that observes; a snapshot does so long before it has a channel."""
    imports.install()
    files.install(settings)
    environment.install()
    hooks.install()


def answer(message):
    # type: (dict[str, Any]) -> Any
    """What the session's ``message`` is answered with; runs on the agent's own thread."""
    kind = str(message["type"])
    if kind == "sync":
        modules.reconcile()
        reports.flush()
        if message.get("settled") is True and not ran.is_ready():
            files.ready()
            ran.ready()
        return {"type": "synced", "id": message["id"]}
    where = _ANSWERS.get(kind)
    if where is None:
        return None
    reply = getattr(hooks.load(where[0]), where[1])(message)
    if kind == "check" and channel is not None:
        # While the session compares the sources: what it takes to patch, which may follow.
        channel.send(reply)
        hooks.load("patch")
        return None
    return reply


def _at_exit():
    # type: () -> None
    if ahead is not None:
        ahead.leave()
    try:
        crash = sys.modules.get("onsave_agent.crash")
        if crash is None and _died():
            crash = hooks.load("crash")
        if crash is not None:
            crash.at_exit()
        modules.reconcile()
        reports.flush()
        if channel is not None:
            channel.finish()
    except Exception:
        pass


def _died():
    # type: () -> bool
    """Whether an uncaught exception ended the main thread."""
    return getattr(sys, "last_value", None) is not None
