"""The base snapshot: the app's own command, standing before the first line of its code.

The session starts the command once more while the app runs, as it would for a restart. In
the bootstrap it stops here, imports ahead what the last run had imported of libraries, and waits.
When a restart is due, the session says which run this process is to be, and it goes on from here as
any start would: the script is read then, ``-m`` is looked up then, with a process, terminal,
parent and exit code of its own. Nothing is forked, so nothing that does not survive a fork can be
in the way.

A process started with "snapshot" in its settings is such a snapshot, or, if it is sent "try", a
trial of what can be imported ahead, which ends when it has answered.
"""

import _socket
import os
import select
import sys

from onsave_agent import lifeline, modules, paths, protocol, reports, served, warm
from onsave_agent.paths import command_line
from onsave_agent.receiver import moved_high

_select = select.select  # gevent's would let others run
_store = {}  # type: dict[str, warm.Entry]


class _Later:
    """Stands in for the channel: what a snapshot imports is told when the app asks for it."""

    def __init__(self):
        # type: () -> None
        self.files = {}  # type: dict[object, list[object]]

    def send(self, message, descriptor=None):
        # type: (dict[str, object], int | None) -> None
        if message["type"] == "loaded":
            for entry in message["files"]:  # type: ignore[attr-defined]
                if entry[2] == "module":
                    self.files.setdefault(entry[3], entry)


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
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self):
        # type: () -> None
        self._socket.close()


def stand_by(settings):
    # type: (dict[str, object]) -> dict[str, object]
    """Wait to be resumed; return the settings of the run that this process has become.

    Called with everything of the agent in place but the channel. Does not return where the process
    is not needed any more.
    """
    try:
        return _stand_by(settings)
    except BaseException:
        # Ctrl-C is told to the whole terminal; a snapshot that failed is started anew, or not.
        os._exit(1)


def _stand_by(settings):
    # type: (dict[str, object]) -> dict[str, object]
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
    installed = warm.installed()
    writes_bytecode = not sys.flags.dont_write_bytecode
    while True:
        message = connection.receive()
        kind = message["type"]
        if kind in ("try", "warm"):
            sys.dont_write_bytecode = not writes_bytecode
            if kind == "try":
                _try(connection, message)
            connection.send(_warm(connection, message))
            reports.flush()
            for name, entry in _store.items():
                entry.report = later.files.get(name)
            installed = warm.installed()
        elif kind == "resume":
            connection.close()
            return _resume(str(message["settings"]), installed)
        elif kind == "discard":
            os._exit(0)


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


def _warm(connection, message):
    # type: (_Connection, dict[str, object]) -> dict[str, object]
    """Import ahead; the answer "warmed"."""
    global _store
    recorder = warm.Recorder()
    recorder.begin()
    error = None
    try:
        for name in message["names"]:  # type: ignore[attr-defined]
            if connection.has_news():
                break
            if name not in sys.modules:
                __import__(name)
    except BaseException as raised:
        error = "%s can't be imported ahead: %s: %s" % (name, type(raised).__name__, raised)
    recorder.end()
    files = warm.files_of(recorder.entries)
    for name, what in message["looks"]:  # type: ignore[attr-defined]
        if name in recorder.entries:
            recorder.entries[name].looks.add(what)
    _store = recorder.hide()
    more = [name for name in message["without"] if name in _store]  # type: ignore[attr-defined]
    if more and error is None:
        error = "%s was imported ahead, which was not to be" % more[0]
    own = [name for name, path in files if not paths.is_library(path) and _is_apps(name)]
    if own and error is None:
        error = "%s was imported ahead, which is no library" % own[0]
    return {
        "type": "warmed",
        "modules": len(_store),
        # Folders as well: what is installed now may be found before what was found then.
        "files": [path for _name, path in files]
        + [os.path.realpath(sys.executable)]
        + [folder for folder in map(os.path.abspath, sys.path) if paths.is_library(folder + "/")],
        "refused": error,
    }


def _resume(text, installed):
    # type: (str, list[str]) -> dict[str, object]
    settings = protocol.decode_environment(text)
    os.environ[protocol.ENVIRONMENT_KEY] = text
    reports.restart()
    modules.restart()
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
        _select([], [], [], 10)  # It is about to be ended.
