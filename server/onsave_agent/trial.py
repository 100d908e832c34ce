"""Which modules can be imported ahead: found out in a process that is thrown away afterwards.

Importing a module earlier than the app would is only the same where its execution does nothing
but define things. Here the modules that the last run had imported are imported under observation:
whoever opens a socket, starts a thread or a process, writes, logs, reads the app's own files,
changes the process, or fails, is left to the app, with the reason, and so is whoever needs it.
"""

import _locale
import _signal  # type: ignore[import-not-found]
import os
import sys
import time

from onsave_agent import paths, warm
from onsave_agent.ahead import capture_output, has_printed, is_cache, unaudited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What a module does as it is executed, by audit event: then it is left to the app.
_DEEDS = {
    "socket.__new__": "opens a socket",
    "socket.getaddrinfo": "looks up a host",
    "subprocess.Popen": "starts a process",
    "os.system": "starts a process",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.exec": "starts a process",
    "_thread.start_new_thread": "starts a thread",
    "_thread.start_joinable_thread": "starts a thread",
    "sqlite3.connect": "opens a database",
    "os.putenv": "sets an environment variable",
    "os.unsetenv": "deletes an environment variable",
    "os.chdir": "changes the working directory",
    "os.mkdir": "changes files",
    "os.rename": "changes files",
    "os.remove": "changes files",
    "os.rmdir": "changes files",
    "os.truncate": "changes files",
    "os.kill": "sends a signal",
    "sys.addaudithook": "adds an audit hook",
    "sys.settrace": "sets a trace function",
    "sys.setprofile": "sets a trace function",
    "tempfile.mkstemp": "makes a temporary file",
    "tempfile.mkdtemp": "makes a temporary file",
    "fcntl.flock": "locks a file",
    "fcntl.lockf": "locks a file",
    "signal.pthread_kill": "sends a signal",
    "syslog.openlog": "logs",
}
#: These look at the whole program, which is not there yet.
_NEVER = {
    "pkg_resources": "looks at sys.path",
    "__main__": "looks at the main module",
    "coverage": "is a tracer",
    "debugpy": "is a debugger",
    "pydevd": "is a debugger",
    "gevent.monkey": "is there to patch others",
    "eventlet.patcher": "is there to patch others",
}
#: What depends on the time zone, in ``time``.
_LOCAL = frozenset(
    ["timezone", "altzone", "daylight", "tzname", "localtime", "mktime", "strftime", "ctime",
     "asctime", "tzset"]
)  # fmt: skip
_getcwd = os.getcwd
_setlocale = _locale.setlocale
_WRITING = os.O_WRONLY | os.O_RDWR
_IGNORED = ("/proc/", "/sys/", "/dev/")


class Trial:
    """without: modules that are known to be left to the app, with the reasons
    forks: whether the app forks workers, so that they would share random numbers drawn here
    """

    def __init__(self, without, forks):
        # type: (dict[str, str], bool) -> None
        self.reasons = dict(_NEVER, **without)
        self.opened = {}  # type: dict[str, None]
        self.recorder = warm.Recorder(self._look, lambda: self.blame("looks at sys.path"))
        self._output = 0
        self._state = {}  # type: dict[str, object]
        self._active = False
        self._forks = forks

    def run(self, names):
        # type: (list[str]) -> dict[str, object]
        """Import ``names``; return the fields of "tried"."""
        os.nice(10)  # It is in no hurry, and the app may be.
        self._output = capture_output()
        self._watch_functions()
        unaudited(self._asked)
        self._state = self._take_state()
        there = set(sys.modules)
        sys.addaudithook(self._audit)
        self.recorder.begin()
        self._active = True
        for name in names:
            if name in self.reasons or name in sys.modules:
                continue
            try:
                __import__(name)
            except BaseException as error:
                said = "%s: %s" % (type(error).__name__, str(error).partition("\n")[0])
                self.reasons[name] = "fails before the app's own code has run: %s" % said[:200]
        self._active = False
        self.recorder.end()
        skipped = self._skipped()
        return {
            "modules": [
                name
                for name in names
                if (name in there or name in self.recorder.entries) and name not in skipped
            ],
            "skipped": [
                [name, reason]
                for name, reason in skipped.items()
                if name not in _NEVER or name in self.recorder.entries
            ],
            "looks": [
                [name, what]
                for name, entry in self.recorder.entries.items()
                if name not in skipped
                for what in sorted(entry.looks)
            ],
            "files": list(self.opened),
        }

    def blame(self, reason):
        # type: (str) -> None
        """The module that is being executed does something of its own."""
        name = self.recorder.stack[-1].name
        if name:
            self.reasons.setdefault(name, reason)

    def _skipped(self):
        # type: () -> dict[str, str]
        """Those with a reason, and all that need one of those."""
        entries = self.recorder.entries
        reasons = dict(self.reasons)
        for name, path in warm.files_of(entries):
            if not paths.is_library(path):
                reasons.setdefault(name, "is no library")
        for entry in entries.values():
            if "*" in entry.reads:
                reasons.setdefault(entry.name, "reads the whole environment")
            if entry.trouble:
                reasons.setdefault(entry.name, "goes on without %s" % entry.trouble[:200])
        needed_by = {}  # type: dict[str, list[str]]
        for entry in entries.values():
            for need in entry.needs:
                needed_by.setdefault(need, []).append(entry.name)
            package = entry.name.rpartition(".")[0]
            needed_by.setdefault(package, []).append(entry.name)
        queue = list(reasons)
        while queue:
            culprit = queue.pop()
            for name in needed_by.get(culprit, ()):
                if name not in reasons:
                    reasons[name] = "needs %s" % culprit
                    queue.append(name)
        return reasons

    # --- observing ------------------------------------------------------------------------------

    def _asked(self, deed):
        # type: (str) -> None
        if self._active:
            self.blame(deed)

    def _audit(self, event, arguments):
        # type: (str, tuple[object, ...]) -> None
        if not self._active:
            return
        self._active = False
        try:
            self._judge(event, arguments)
        finally:
            self._active = True

    def _judge(self, event, arguments):
        # type: (str, tuple[object, ...]) -> None
        deed = _DEEDS.get(event)
        if deed is not None:
            if event == "os.putenv" and arguments[0] == b"ONSAVE_AGENT":
                return
            if event in ("os.mkdir", "os.rename", "os.remove") and is_cache(arguments[0]):
                return
            self.blame(deed)
        elif event == "open":
            self._opens(arguments[0], arguments[1], arguments[2])
        elif event in ("os.listdir", "os.scandir"):
            frame = sys._getframe(2)
            if not warm.passes_by(frame) and not warm.asks_what_is_installed(frame):
                self._looks_at(arguments[0], "looks into")

    def _opens(self, path, mode, flags):
        # type: (Any, object, object) -> None
        if isinstance(path, int) or path is None:
            return
        writes = isinstance(flags, int) and bool(flags & _WRITING)
        if writes or (isinstance(mode, str) and not set(mode).isdisjoint("wax+")):
            if not is_cache(path) and os.fsdecode(path) != os.devnull:
                self.blame("writes a file")
            return
        self._looks_at(path, "reads")

    def _looks_at(self, path, verb):
        # type: (Any, str) -> None
        whole = os.path.abspath(os.fsdecode(path) if path else ".")
        whole = os.path.realpath(whole)
        if paths.in_roots(whole + "/") and not paths.is_library(whole + "/"):
            self.blame("%s %s" % (verb, whole))
        elif not paths.is_library(whole + "/") and not whole.startswith(_IGNORED):
            self.opened[whole] = None

    def _watch_functions(self):
        # type: () -> None
        """Of these there is no audit event. What they tell, the app may change as it starts."""
        for name in ("getcwd", "getcwdb"):
            setattr(os, name, self._watched(os, name, "working directory"))
        for name in ("setlocale", "localeconv", "nl_langinfo"):
            setattr(_locale, name, self._watched(_locale, name, "locale"))
        if self._forks:
            os.urandom = self._watched(os, "urandom", "")
        sys.modules["time"] = _Time(self)

    def _watched(self, module, name, what):
        # type: (object, str, str) -> Any
        """A function in the place of this one, which tells that somebody looks at ``what``."""
        real = getattr(module, name)

        def watched(*arguments, **options):
            # type: (*object, **object) -> object
            self.looks(what)
            return real(*arguments, **options)

        watched.__name__ = watched.__qualname__ = name
        return watched

    def looks(self, what):
        # type: (str) -> None
        if not self._active:
            return
        if what:
            self.recorder.stack[-1].looks.add(what)
        else:
            self.blame("draws random numbers, which workers would share")

    def _take_state(self):
        # type: () -> dict[str, object]
        return {
            "changes sys.path": list(sys.path),
            "changes sys.meta_path": list(sys.meta_path),
            "changes sys.path_hooks": list(sys.path_hooks),
            "sets a signal handler": [_handler(number) for number in range(1, 65)],
            "changes the working directory": _getcwd(),
            "replaces a standard stream": [sys.stdin, sys.stdout, sys.stderr],
            "sets a hook in sys": [sys.excepthook, sys.displayhook, sys.unraisablehook],
            "sets the recursion limit": sys.getrecursionlimit(),
            "sets the locale": _setlocale(_locale.LC_ALL, None),
            "sets the time zone": time.tzname,
            "sets the umask": _umask(),
        }

    def _look(self, entry):
        # type: (warm.Entry) -> None
        """At each beginning and end of a module's execution: what has it changed?"""
        if not self._active:
            return
        self._active = False
        try:
            if has_printed(self._output):
                self.blame("prints something")
                os.ftruncate(self._output, 0)
            now = self._take_state()
            for reason, before in self._state.items():
                if now[reason] != before and not (
                    # Appended, it is asked last: it can't be in anybody's way.
                    reason == "changes sys.meta_path"
                    and now[reason][:len(before)] == before  # type: ignore[index, arg-type]
                ):
                    self.blame(reason)
            self._state = now
            self._watch_logging()
        finally:
            self._active = True

    def _watch_logging(self):
        # type: () -> None
        logging = sys.modules.get("logging")
        kind = getattr(logging, "Logger", None)
        if kind is None or hasattr(kind.isEnabledFor, "trial"):
            return
        real = kind.isEnabledFor

        def isEnabledFor(logger, level):
            # type: (object, int) -> bool
            self.blame("logs something")
            return real(logger, level)  # type: ignore[no-any-return]

        isEnabledFor.trial = True  # type: ignore[attr-defined]
        kind.isEnabledFor = isEnabledFor


class _Time(type(sys)):  # type: ignore[misc]
    """The module ``time``, which tells who asks for local time."""

    def __init__(self, trial):
        # type: (Trial) -> None
        super().__init__("time")
        self.__dict__.update(vars(time))
        self._trial = trial

    def __getattribute__(self, name):
        # type: (str) -> object
        if name in _LOCAL:
            trial = super().__getattribute__("_trial")
            if callable(getattr(time, name)):
                return trial._watched(time, name, "time zone")
            trial.looks("time zone")
        return super().__getattribute__(name)


def _handler(number):
    # type: (int) -> object
    try:
        return _signal.getsignal(number)
    except ValueError:
        return None


def _umask():
    # type: () -> int
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
