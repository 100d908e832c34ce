"""What session, agents and clients say to each other: the only module that both sides import.

One JSON object a line over the session's control socket. The first line of a peer is its
``hello``; its ``role`` says which messages it may send from then on. A line that is too long, is
not JSON, or is not of the form listed here raises :class:`ProtocolError`: the session answers with
an ``error`` and hangs up, the agent drops it; neither ever dies of one.

The agent imports this before anything of the app, so it pulls in next to nothing: ``_json`` is the
C half of :mod:`json` and costs 0.2 ms where the package costs 2 to 6.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1

#: A path that does not exist has this digest: a missing module is a fact that a run was built
#: from, like any file's content, and creating the file makes that fact stale.
ABSENT = "absent"

#: Longer lines are refused. The largest honest message is a patch carrying the sources of a branch
#: switch; reports of loaded files are sent in chunks far below this.
MAX_LINE = 16 * 1024 * 1024

#: Files larger than this are not hashed when the app opens them: their digest is ``stat:…``.
MAX_HASHED = 4 * 1024 * 1024

#: The one environment variable that an agent is told everything by: a JSON object, see
#: ``AGENT_ENVIRONMENT``. Its presence in a child's environment is what makes the child ours.
ENVIRONMENT_KEY = "ONSAVE_AGENT"

#: Names, in a session's environment, a descriptor that it inherited: the reading end of a pipe held
#: by the server that started it without a terminal. At its end of file the session stops its app
#: and ends, so that a server that was killed leaves nothing behind. Not for the app's eyes.
LIFELINE_KEY = "ONSAVE_LIFELINE"

#: What stands in ``ONSAVE_AGENT``.
#: socket:     path of the session's control socket (on Windows ``host:port``)
#: token:      what to show there ("" on Unix sockets, where peer credentials are checked)
#: run:        number of the run
#: roots:      the workspace folders; data files count only inside them
#: ignore:     glob patterns (fnmatch on the absolute path) of files never to report
#: data:       whether opened data files count: true, false, or a list of globs
#: edited:     files outside the workspace that were saved during this session: hash these too
#: pythonpath: PYTHONPATH as the app is to see it, null where it was unset
#: bootstrap:  the folder that was put in front of PYTHONPATH
#: held:       whether the session holds sockets, so that a bind must ask first
#: beside:     whether this run was started beside another: it waits before it accepts
#: and, only in a process that is to stand by as a snapshot, see snapshot.py:
#: snapshot:   its number
#: and, where configured, "module:function" each:
#: before-snapshot: what is to be called where a snapshot stands by
#: after-resume:    what is to be called once it has become the app
AGENT_ENVIRONMENT = {
    "socket": str,
    "token": str,
    "run": int,
    "roots": list,
    "ignore": list,
    "data": object,
    "edited": list,
    "pythonpath": object,
    "bootstrap": str,
    "held": bool,
    "beside": bool,
}


_ENVIRONMENT = {"agent": AGENT_ENVIRONMENT}


class ProtocolError(Exception):
    """A peer sent something that is not of this protocol. ``str()`` says what."""


# --- agent → session -------------------------------------------------------------------------
# Required fields and their types; ``object`` where null or several types are allowed. Fields that
# are not listed are kept, so that newer peers can say more.
AGENT_MESSAGES = {
    # Sent first. executable and python: of this process. ppid: who forked or spawned it.
    # spawned: "exec" (its own start), "fork" (of the process ppid, whose loaded files it has) or
    # "again": the same process once more, as its descriptor was closed by the app; what it has
    # reported stands, and the session closes the older connection.
    "hello": {
        "role": str, "version": int, "token": str, "run": int, "pid": int, "ppid": int,
        "python": list, "executable": str, "argv": list, "spawned": str,
    },
    # files: [path, digest, kind, module, importer] each.
    #   path:     absolute, real; an archive for a module inside one
    #   digest:   of the bytes that were compiled or read; null where not known (a library file);
    #             ABSENT where the app looked for it in vain
    #   kind:     "module" | "main" | "extension" | "data" | "missing"
    #   module:   its name, null for data
    #   importer: "path:line" of the import or open, "path" where that is a library's, null where
    #             not known
    "loaded": {"files": list},
    # Data files seen to be read anew on each use: a save of them needs nothing. [path, …]
    "reread": {"paths": list},
    # A file that the app itself wrote is not part of what it was built from. [path, …]
    "wrote": {"paths": list},
    # A socket is about to be bound. address: as the app gave it, [host, port] or a path.
    # Answered by "bound".
    "bind": {"id": int, "family": int, "kind": int, "address": object},
    # A socket was bound or listens; its descriptor rides along (SCM_RIGHTS) where "held".
    # requested: as given to bind (port 0, say); address: as it came to be.
    "listening": {
        "family": int, "kind": int, "requested": object, "address": object, "held": bool,
    },
    # A socket listens whose accepting processes have not loaded the app yet (gunicorn's master):
    # the run is not up, but its socket, whose descriptor rides along, can be held from now on.
    "holding": {
        "family": int, "kind": int, "requested": object, "address": object, "held": bool,
    },
    # The process stands at the point where it would begin to accept (listen, or a prefork worker
    # after it has loaded the app) and waits for "release". Each worker asks for itself, and one
    # that comes when the run is up already is to be released at once. id is unique in the run.
    # workers: how many processes of the run will come to it, this one included.
    "waiting": {"id": int, "address": object, "workers": int},
    # An uncaught exception. where: "main" | "thread" | "task" | "worker" | "import".
    # exceptions: the chain, the last one first, each
    #   {"type", "message", "relation": null|"cause"|"context"|"group",
    #    "frames": [[path, line, function, end_line, column, end_column], …],
    #    "syntax": null | [path, line, column, end_line, end_column] (characters, 1-based)}
    # text: the traceback as Python prints it.
    "failed": {"where": str, "fatal": bool, "exceptions": list, "text": str},
    # Something that the user should be told once, e.g. that Flask's own reloader is off.
    "note": {"text": str},
    # Answers, by the id of the question.
    "synced": {"id": int},
    "checked": {"id": int, "results": list},   # see "check"; paused: null | "pdb at app.py:12"
    "drained": {"id": int, "busy": int},
    # Answers to every phase of "patch", see there. live: [path, line, qualname] each: calls,
    # generators and coroutines that go on with the body that they began with. May have "ran", of
    # the same form: functions with another body now that had run already, since the app was ready.
    "patched": {"id": int, "phase": str, "live": list},
    # May have evidence: [path, line, message] each: the places that show why.
    "refused": {"id": int, "reason": str},
    # Answer to "ran": [name, line] each, as co_name and co_firstlineno of the source that runs now
    # have them, of the functions of that file that had run before the process was ready; null
    # where that can't be known, which means all of them. ready (bool): whether it is ready; else
    # they are those that have run so far.
    "ran": {"id": int, "functions": object},
    # A run that was resumed from a snapshot asks for a module that was imported ahead, and
    # something that its execution had depended on is different now. modules: [name, reason] each,
    # the name "" where it concerns them all. The process stands still until it is ended, or, if it
    # had been ready already, goes on; the session starts the app without snapshot.
    "unlike": {"modules": list},
}

# --- snapshot → session -----------------------------------------------------------------------
# A snapshot is the app's own command, which has run ahead to some point and stands there. When it
# is resumed, this connection ends, and the process says hello as an agent.
SNAPSHOT_MESSAGES = {
    # Sent first. snapshot: its number. refused: why this interpreter can't be a snapshot, or null.
    "hello": {
        "role": str, "version": int, "token": str, "snapshot": int, "pid": int,
        "executable": str, "argv": list, "refused": object,
    },
    # Answer to "try". modules: names that can be imported ahead; skipped: [name, reason] each;
    # looks: [name, what] each, of those that look at the working directory, the locale or the
    # time zone; files: what was opened meanwhile outside the workspace and the libraries.
    "tried": {"modules": list, "skipped": list, "looks": list, "files": list},
    # Answer to "scout". before: the module that it came to, its real path, or null where there was
    # none; library: whether it is a library's. reason: why it can't go further, null where that is
    # one of those asked for; where: "path:line" of that, or null. project: the modules of the
    # project that were executed; opened, listed, missing: files that were opened, folders that were
    # listed, files that were looked for in vain, none of libraries.
    "scouted": {
        "before": object, "library": bool, "reason": object, "where": object, "project": list,
        "opened": list, "listed": list, "missing": list,
    },
    # Answer to "warm", and of one sent "ahead" when it has arrived. modules: how many are
    # imported; files: those that they came from, and what else was loaded. refused: why this
    # snapshot is no good after all, or null.
    "warmed": {"modules": int, "files": list, "refused": object},
}

# --- session → agent -------------------------------------------------------------------------
SESSION_MESSAGES = {
    # Compare sys.modules with what was reported, report the rest, then answer "synced". May have
    # settled: true, once the run is up, loads nothing and computes nothing: in a process that has
    # not begun to listen, what has run so far is its start-up.
    "sync": {"id": int},
    # Compile these: files: [path, …]. Answer "checked" with
    # results: [path, digest, error] each, error null or
    #   {"message", "line", "column", "end_line", "end_column"} (characters, 1-based).
    "check": {"id": int, "files": list},
    # Stop accepting, answer "drained" when no request is under way or after timeout seconds.
    # closed: only when no client has a connection left on which one could come.
    "drain": {"id": int, "timeout": object, "closed": bool},
    # Answer to "bind". held: true where a descriptor rides along that is to take the place of the
    # app's own; false: bind as usual.
    "bound": {"id": int, "held": bool},
    # Answer to "waiting": go on and accept.
    "release": {"id": int},
    # Swap code in place, all files or none; see onsave_agent/patch.py. phase:
    #   "now":     prepare and commit in one go, for an app of one process
    #   "prepare": prove that it can be done, change nothing. "patched" or "refused"
    #   "commit":  do what was prepared (files: []). "patched", or "refused" if the app has moved on
    #   "abort":   forget what was prepared (files: []), another process refused. "patched"
    #   "recheck": the id of a patch done: is anything still alive in an old body? "patched"
    # A patch over several processes: "prepare" to all; if all say "patched", "commit" to all, else
    # "abort" to all and restart. A process that does not answer counts as refusing. If "live" was
    # not empty, "recheck" after a moment; if it is not empty then, restart.
    # files: what onsave.core.diff.order() makes of two sources, see there for its fields.
    "patch": {"id": int, "phase": str, "files": list},
    # Which functions of a module had run before this process was ready? Answered by "ran".
    "ran": {"id": int, "path": str},
    # To a snapshot: import these in order, see what each does beside, say "tried", and end.
    # without: [name, reason] each, of what is known to be left to the app. forks: whether the app
    # forks processes, so that they would share what is drawn by lot.
    "try": {"names": list, "without": list, "forks": bool},
    # To a snapshot: import these ahead, which is not to bring along those, and say "warmed".
    # looks: as in "tried".
    "warm": {"names": list, "without": list, "looks": list},
    # To a snapshot: run the app ahead until one of these modules (real paths), or, of none, the
    # project's first, or until it would do what others could notice. Say "scouted", and end.
    "scout": {"until": list},
    # To a snapshot: run the app ahead until just before this module (real path), executing no other
    # modules of the project than these; then as "warm".
    "ahead": {"before": str, "project": list, "names": list, "without": list, "looks": list},
    # To a snapshot: go on, as that run. settings: ONSAVE_AGENT of that run.
    "resume": {"run": int, "settings": str},
    # To a snapshot: end.
    "discard": {},
    "error": {"message": str},
}

# --- client (onsave lsp, onsave saved …) → session ----------------------------------------------
CLIENT_MESSAGES = {
    # role: "editor" (an onsave lsp: from now on saves reach the session) | "client" (all others).
    # Answered by "welcome", or by "error" and the end.
    "hello": {"role": str, "version": int, "token": str},
    # files: absolute paths. origin: "save" | "watched" | "command" | "rename" (which deletions and
    # creations are as well) | "echo" (told once more, by a file watcher or to a new session:
    # there is a verdict only if something comes of it). The session reads the files itself.
    # Where an id (int) is given it is answered by one "reply" once all verdicts are known; with
    # "wait": true, once nothing is in flight. Its result:
    #   {"verdicts": [as in "verdict", …],
    #    "ignored": int (of more than a thousand files, those ignored are only counted),
    #    "concerned": bool (whether any of the files is part of the app),
    #    "status": as in "status", "problems": as in "problems"}
    "saved": {"files": list, "origin": str},
    # Answered by "reply". request and further fields → result:
    #   "status"                → as in "status"
    #   "restart" {force: bool} → as in "status"; with "wait": true, once nothing is in flight
    #   "stop"                  → as in "status"; "goodbye" follows when all has ended
    #   "why" {path}            → {"path", "loaded": bool, "kind", "module", "importer", "since":
    #                              run, "saved": bool (the newest bytes run),
    #                              "would": {"action", "reason"}, "functions": [[name, what, …]]};
    #                              null for what is not known
    #   "files"                 → {"files": [[path, kind, module, importer], …]} in the workspace
    #   "traceback"             → {"text": str} of the last failure, "" where there was none
    "request": {"id": int, "request": str},
    # From now on send "verdict", "status", "problems", "log" as they come, the latest "status" and
    # "problems" at once.
    "subscribe": {},
}

# --- session → client -------------------------------------------------------------------------
EVENT_MESSAGES = {
    "welcome": {"version": int, "name": str, "pid": int, "root": str},
    # action, reason: as in the core; message: the line for people. May have "evidence":
    # [[path, line, message], …] and "functions": [name, …].
    "verdict": {"session": str, "run": int, "path": str, "action": str, "reason": str,
                "message": str},
    # state: see core.model.State. More, named as onsave/status names them: "pid", "listening":
    # [address, …], "stale": [path, …], "lastVerdict": as in "verdict" or null, "readyMs": of the
    # last start or null, "root", "cwd", "command": [arg, …], "message": what came of the last
    # action, "processes": [pid, …], "serving": those that have begun to accept, "loaded": how many
    # paths.
    "status": {"name": str, "state": str, "run": int},
    # The whole set of problems of this session, which replaces the last one:
    # [{path, range: [line, column, end_line, end_column] (0-based, characters),
    #   message, severity, kind: "syntax"|"failure"|"config"|"note",
    #   related: [[path, line, message], …]}, …]
    "problems": {"problems": list},
    # level: "error" | "warning" | "info" | "debug"
    "log": {"level": str, "text": str},
    # Where the request can't be fulfilled, result is null and "error" says why.
    "reply": {"id": int, "result": object},
    "error": {"message": str},
    "goodbye": {"code": int},
}

# --- session → server (onsave lsp), on the server's own socket ----------------------------------
# "I am there": the server looks into the run directory and believes nothing but what it finds.
SERVER_MESSAGES = {
    "announce": {"name": str, "pid": int},
}


def encode(message):
    # type: (dict[str, Any]) -> bytes
    """One message as a line of bytes, newline included. Raises TypeError for what JSON lacks."""
    return _encode(message).encode("ascii") + b"\n"


def decode(line, messages):
    # type: (bytes, dict[str, Any]) -> dict[str, Any]
    """The message in ``line``, checked against one of the tables above.

    Raises ProtocolError, and nothing else, whatever the bytes are.
    """
    if len(line) > MAX_LINE:
        raise ProtocolError("a message of %d bytes; at most %d are taken" % (len(line), MAX_LINE))
    try:
        message = _decode(line.decode("utf-8"))
    except (ValueError, RecursionError, StopIteration) as error:
        raise ProtocolError("not a line of JSON: %s" % error) from None
    if not isinstance(message, dict):
        raise ProtocolError("not a JSON object: %.60r" % (message,))
    kind = message.get("type")
    fields = messages.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise ProtocolError("unknown message type %.60r" % (kind,))
    for name, wanted in fields.items():
        if name not in message:
            raise ProtocolError("%s lacks %r" % (kind, name))
        value = message[name]
        # bool is an int to isinstance, but not on the wire.
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise ProtocolError("%s: %r is %.60r" % (kind, name, value))
    return message


def decode_environment(text):
    # type: (str) -> dict[str, Any]
    """The value of ONSAVE_AGENT, checked against AGENT_ENVIRONMENT. Raises ProtocolError."""
    return decode(b'{"type":"agent",' + text.encode("utf-8").lstrip()[1:], _ENVIRONMENT)


def digest(data):
    # type: (bytes) -> str
    """The digest of a file's bytes: BLAKE2b, 16 bytes, as hexadecimal digits."""
    return _blake2b(data, digest_size=16).hexdigest()


def digest_of_stat(mtime_ns, size):
    # type: (int, int) -> str
    """Stands in for the digest of a file that is too large to be read."""
    return "stat:%d:%d" % (mtime_ns, size)


try:
    # The C accelerators alone, so that the app's own import of json stays the app's.
    from _json import encode_basestring_ascii as _quote
    from _json import make_encoder as _make_encoder
    from _json import make_scanner as _make_scanner

    class _Strict:
        """What the C scanner wants to know; the defaults of json.JSONDecoder."""

        strict = True
        object_hook = None
        object_pairs_hook = None
        parse_float = float
        parse_int = int
        parse_constant = None  # type: Any
        memo = {}  # type: dict[str, str]  # noqa: RUF012
        array_hook = None

    def _refuse(value):
        # type: (object) -> object
        raise TypeError("%r has no JSON form" % (value,))

    def _no_constant(name):
        # type: (str) -> object
        raise ValueError("%s is not JSON" % name)

    _Strict.parse_constant = staticmethod(_no_constant)
    _scan = _make_scanner(_Strict)  # type: ignore[arg-type]
    _chunks = _make_encoder(None, _refuse, _quote, None, ":", ",", False, False, True)

    def _encode(message):
        # type: (dict[str, Any]) -> str
        return "".join(_chunks(message, 0))

    def _decode(text):
        # type: (str) -> object
        value, end = _scan(text, len(text) - len(text.lstrip(" \t\r\n")))
        if text[end:].strip(" \t\r\n"):
            raise ValueError("something follows the object")
        return value

    # A self-test, as these are private to CPython: any surprise, and the package is used instead.
    if _decode(_encode({"a": [1, None, "é\n", True]})) != {"a": [1, None, "é\n", True]}:
        raise ImportError("the C accelerators of json behave in a new way")
except Exception:
    import json as _json

    def _encode(message):
        # type: (dict[str, Any]) -> str
        return _json.dumps(message, separators=(",", ":"))

    def _decode(text):
        # type: (str) -> object
        return _json.loads(text)


try:
    from _blake2 import blake2b as _blake2b
except ImportError:
    from hashlib import blake2b as _blake2b
