"""A snapshot: the app's own command, started ahead of its turn, that waits to become the app.

The session starts the command once more while the app runs, as it would for a restart. In
the bootstrap it stops here, and is told how far to go: up to just before a certain module
(:mod:`onsave_agent.ahead`), or nowhere. There it may import ahead what the last run had imported
of libraries (:mod:`onsave_agent.warm`), and waits. When a restart is due, the session says which
run this process is to be, and it goes on as any start would, with a process, terminal, parent and
exit code of its own. Nothing is forked, so nothing that does not survive a fork can be in the way.

A process started with "snapshot" in its settings is such a snapshot, or, if it is sent "try" or
"scout", one that finds something out, and ends when it has answered.
"""

import _socket
import os
import sys
from select import POLLIN, poll, select  # taken here, as gevent replaces them

from onsave_agent import lifeline, modules, paths, protocol, reports, served, warm
from onsave_agent.paths import command_line
from onsave_agent.receiver import moved_high

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable

    from onsave_agent.ahead import Ahead, Scout
    from onsave_agent.client import Channel

_store = {}  # type: dict[str, warm.Entry]


class _Later:
    """Stands in for the channel: what a snapshot has to report is told when it is the app."""

    def __init__(self):
        # type: () -> None
        self._messages = []  # type: list[dict[str, Any]]

    def send(self, message, descriptor=None):
        # type: (dict[str, Any], int | None) -> None
        self._messages.append(message)

    def paths(self):
        # type: () -> list[str]
        """All that was loaded, or looked for in vain."""
        return [entry[0] for entry in self._entries()]

    def take(self, names):
        # type: (Iterable[str]) -> dict[str, list[Any]]
        """What was reported of these modules: it is not to be told with the rest."""
        found = {}  # type: dict[str, list[Any]]
        for entry in self._entries():
            if entry[2] == "module" and entry[3] in names:
                found.setdefault(entry[3], entry)
        for message in self._messages:
            if message["type"] == "loaded":
                message["files"] = [
                    entry for entry in message["files"] if entry is not found.get(entry[3])
                ]
        return found

    def failed(self):
        # type: () -> list[list[Any]]
        """What was reported of modules that are not there: their execution ended in an exception,
        which whoever asked for them has caught."""
        there = {*sys.modules, *_store}
        return [e for e in self._entries() if e[2] == "module" and e[3] not in there]

    def tell(self, channel):
        # type: (Channel) -> None
        """In as few messages as can be: each project module was worth one of its own, then."""
        files = self._entries()
        for begin in range(0, len(files), reports.MANY):
            channel.send({"type": "loaded", "files": files[begin:begin + reports.MANY]})
        for message in self._messages:
            if message["type"] != "loaded":
                channel.send(message)

    def _entries(self):
        # type: () -> list[list[Any]]
        return [
            entry for message in self._messages if message["type"] == "loaded"
            for entry in message["files"]
        ]  # fmt: skip


class _Connection:
    """To the session, blocking: there is nothing else to do."""

    def __init__(self, settings):
        # type: (dict[str, object]) -> None
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.connect(str(settings["socket"]))
        high = moved_high(connection.fileno())
        if high != connection.fileno():
            connection.detach()
            connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fileno=high)
        self._socket = connection
        self._received = b""

    def send(self, message):
        # type: (dict[str, object]) -> None
        self._socket.sendall(protocol.encode(message))

    def receive(self):
        # type: () -> dict[str, object]
        """The next message. Ends the process where the session is gone."""
        while b"\n" not in self._received:
            data = self._socket.recv(1 << 20)
            if not data:
                os._exit(0)
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return protocol.decode(line, protocol.SESSION_MESSAGES)

    def has_news(self):
        # type: () -> bool
        if b"\n" in self._received:
            return True
        poller = poll()
        poller.register(self._socket.fileno(), POLLIN)
        return bool(poller.poll(0))

    def close(self):
        # type: () -> None
        self._socket.close()


def stand_by(settings):
    # type: (dict[str, Any]) -> dict[str, Any] | None
    """Wait to be resumed; return the settings of the run that this process has become.

    None where the app's code is to run ahead: then that happens later, in the midst of it. Called
    with everything of the agent in place but the channel. Does not return where the process is not
    needed any more.
    """
    try:
        return _stand_by(settings)
    except BaseException:
        # Ctrl-C is told to the whole terminal; a snapshot that failed is started anew, or not.
        os._exit(1)


def _stand_by(settings):
    # type: (dict[str, Any]) -> dict[str, Any] | None
    later = _Later()
    reports.begin(later)
    connection = _Connection(settings)
    connection.send(
        {
            "type": "hello",
            "role": "snapshot",
            "version": protocol.VERSION,
            "token": settings["token"],
            "snapshot": settings["snapshot"],
            "pid": os.getpid(),
            "executable": sys.executable or "",
            "argv": command_line(),
            "refused": _unsuitable(),
        }
    )
    message = connection.receive()
    kind = message["type"]
    if kind == "scout":
        _go_ahead(_scout(connection, message))
        return None
    if kind == "ahead":
        _go_ahead(_ahead(connection, message, later, settings))
        return None
    installed = warm.installed()
    # Here it is still as the agent's own bytecode needs it, see sitecustomize.
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
    if kind == "try":
        _try(connection, message)
    _warm(connection, message, later)
    text = _wait(connection)
    # What was told so far is told anew, when the app asks for it; for these it won't.
    failed = later.failed()
    reports.restart()
    modules.restart()
    for entry in failed:
        reports.loaded(*entry)
    return _resume(text, installed)


def _wait(connection):
    # type: (_Connection) -> str
    """Until this process is to be a run: the value of ONSAVE_AGENT in it."""
    while True:
        message = connection.receive()
        if message["type"] == "resume":
            connection.close()
            return str(message["settings"])
        if message["type"] == "discard":
            os._exit(0)


# --- running ahead ------------------------------------------------------------------------------


def _go_ahead(ahead):
    # type: (Ahead | Scout) -> None
    """The app's code is about to run, watched by ``ahead``."""
    from onsave_agent import agent, imports

    agent.ahead, imports.before = ahead, ahead.before
    # An exception ends what runs ahead without a word: nothing is to be printed.
    hook = sys.excepthook  # type: Any
    hook._real = ahead.leave


def _scout(connection, message):
    # type: (_Connection, dict[str, Any]) -> Scout
    from onsave_agent.ahead import Scout

    scout = Scout(set(message["until"]), connection.send)
    scout.begin()
    script = paths.script()
    if script is not None and paths.real(os.path.abspath(script)) in message["until"]:
        scout.finish("%s is read first" % os.path.basename(script))
    return scout


def _ahead(connection, message, later, settings):
    # type: (_Connection, dict[str, Any], _Later, dict[str, Any]) -> Ahead
    from onsave_agent import agent, imports
    from onsave_agent.ahead import Ahead, holds, quiet

    hook = sys.excepthook  # type: Any  # ours; the app may put its own in front of it
    real = hook._real

    def arrive():
        # type: () -> None
        agent.ahead = imports.before = None
        hook._real = real
        try:
            restore = quiet(ahead.leave)
            modules.reconcile()
            reports.flush()
            failed = _call(settings, "before-snapshot")
            installed = warm.installed()
            _warm(connection, message, later, failed or holds())
            text = _wait(connection)
            restore()
            resumed = _resume(text, installed)
            paths.configure(resumed)
            channel = agent.connect(resumed)
            assert channel is not None
            later.tell(channel)
            failed = _call(resumed, "after-resume")
            if failed:
                _unlike([["", failed]])
        except BaseException:
            os._exit(1)

    ahead = Ahead(message["before"], set(message["project"]), arrive)
    return ahead


def _call(settings, which):
    # type: (dict[str, Any], str) -> str | None
    """Call the functions of the app's that are configured; what went wrong, if something did.

    One whose module has not been imported by now has nothing to do: nothing of it has run ahead.
    """
    for name in settings.get(which, ()):
        module, _, function = name.partition(":")
        found = sys.modules.get(module)  # type: Any
        try:
            # It is entered before it is executed (importlib._bootstrap._load_unlocked).
            spec = getattr(found, "__spec__", None)
            if found is not None and not getattr(spec, "_initializing", False):
                for part in function.split("."):
                    found = getattr(found, part)
                found()
        except BaseException as error:
            return "%s: %s: %s: %s" % (which, name, type(error).__name__, error)
    return None


def _unsuitable():
    # type: () -> str | None
    """Why this interpreter can't stand by, if it can't."""
    if sys.flags.verbose or "importtime" in sys._xoptions:
        return "the interpreter prints what it imports"
    if sys.flags.interactive:
        return "the interpreter is interactive"
    own = [name for name, path in warm.files_of(sys.modules) if not paths.is_library(path)]
    own = [name for name in own if _is_apps(name) and name != "__main__"]
    return "%s runs before the app does" % own[0] if own else None


def _is_apps(name):
    # type: (str) -> bool
    return not name.startswith("onsave_agent") and name != "sitecustomize"


def _try(connection, message):
    # type: (_Connection, dict[str, object]) -> None
    from onsave_agent.trial import Trial

    trial = Trial(dict(message["without"]), bool(message["forks"]))  # type: ignore[call-overload]
    result = trial.run(list(message["names"]))  # type: ignore[call-overload]
    connection.send(dict(result, type="tried"))
    lifeline.cut()  # and whatever it has started


def _warm(connection, message, later, refused=None):
    # type: (_Connection, dict[str, Any], _Later, str | None) -> None
    """Import ahead what ``message`` names, and say "warmed". refused: why this is no good."""
    global _store
    names = [] if refused else [name for name in message["names"] if name not in sys.modules]
    if names:
        refused = _import(connection, message, names)
        reports.flush()
        for name, entry in later.take(_store).items():
            _store[name].report = entry
            reports.forget(entry[0])
    folders = list(map(os.path.abspath, sys.path))
    loaded = [entry.report[0] for entry in _store.values() if entry.report]
    connection.send(
        {
            "type": "warmed",
            "modules": len(_store) + len(sys.modules),
            # Folders as well: what is installed now may be found before what was found then.
            "files": later.paths() + loaded + [os.path.realpath(sys.executable)]
            + [folder for folder in folders if paths.is_library(folder + "/")],
            "refused": refused,
        }
    )


def _import(connection, message, names):
    # type: (_Connection, dict[str, Any], list[str]) -> str | None
    """Fill the store; why this process is no good for a snapshot after all, if so."""
    global _store
    recorder = warm.Recorder()
    recorder.begin()
    error = None
    try:
        for name in names:
            if connection.has_news():
                break
            if name not in sys.modules:
                __import__(name)
    except BaseException as raised:
        error = "%s can't be imported ahead: %s: %s" % (name, type(raised).__name__, raised)
    recorder.end()
    files = warm.files_of(recorder.entries)
    for name, what in message["looks"]:
        if name in recorder.entries:
            recorder.entries[name].looks.add(what)
    _store = recorder.hide()
    more = [name for name in message["without"] if name in _store]
    if more and error is None:
        error = "%s was imported ahead, which was not to be" % more[0]
    own = [name for name, path in files if not paths.is_library(path) and _is_apps(name)]
    if own and error is None:
        error = "%s was imported ahead, which is no library" % own[0]
    return error


def _resume(text, installed):
    # type: (str, list[str]) -> dict[str, Any]
    """Be the app from now on; the settings of its run."""
    settings = protocol.decode_environment(text)
    os.environ[protocol.ENVIRONMENT_KEY] = text
    for finder in list(sys.path_importer_cache.values()):
        forget = getattr(finder, "invalidate_caches", None)
        if forget is not None:
            forget()
    served.Served(_store, _unlike).install(installed)
    return settings


def _unlike(found):
    # type: (list[list[str]]) -> None
    """The app is not what was prepared for: the session starts it without snapshot."""
    from onsave_agent import agent, files

    agent.channel.send({"type": "unlike", "modules": found})  # type: ignore[union-attr]
    while not files.is_ready():
        select([], [], [], 10)  # It is about to be ended.
