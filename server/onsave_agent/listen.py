"""bind, listen, and the wait before the first accept.

``socket.socket`` gets a ``bind`` and a ``listen`` of its own. A run that was started beside another
takes over that one's sockets, which the session holds, and waits in ``listen`` until the other has
gone: a run that fails before it could serve never costs the old one.
"""

import _socket
import os
import sys

from onsave_agent import agent, files, modules, ran, reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket
    from types import FrameType
    from typing import Any, Callable

#: How long the session may take to say whether it holds a socket for an address, in seconds.
_PATIENCE = 10.0

_TOOLS = frozenset(
    ["multiprocessing", "debugpy", "pydevd", "_pydevd_bundle", "_pydev_bundle", "joblib"]
)

#: inode of a bound socket → the address as the app asked for it
_requested = {}  # type: dict[int, Any]
#: inodes of the sockets that came from the session
_taken = set()  # type: set[int]
#: (process, inode) of what was told
_told = set()  # type: set[tuple[int, int]]
#: paths of Unix sockets that serve nobody's requests
_left_alone = set()  # type: set[str]


def leave_alone(path):
    # type: (str) -> None
    """A Unix socket at ``path`` is none of ours: not to be held, told or waited for."""
    _left_alone.add(os.path.abspath(path))


def after_socket(module):
    # type: (Any) -> None
    """``socket`` was imported (or a second copy of it: eventlet makes one)."""
    _wrap(module.socket)


def after_gevent(module):
    # type: (Any) -> None
    """gevent's sockets hand everything to instances of a class of their own."""
    _wrap(module.socket._gevent_sock_class)


def _wrap(kind):
    # type: (type[socket]) -> None
    real_bind, real_listen = kind.bind, kind.listen
    if hasattr(real_bind, "__wrapped__"):
        return  # Derived from a class that is wrapped already.

    def bind(self, address, /):
        # type: (socket, Any) -> None
        if _is_tool(sys._getframe(1)) or not _take_over(self, address):
            real_bind(self, address)
            _remember(self, address)

    def listen(self, *backlog):
        # type: (socket, int) -> None
        if agent.ahead is not None:
            agent.ahead.leave()
        real_listen(self, *backlog)
        if not _is_tool(sys._getframe(1)):
            _listens(self, sys._getframe(1).f_globals.get("__name__") == "gunicorn.sock")

    wrappers = [(bind, real_bind), (listen, real_listen)]  # type: list[Any]
    for function, original in wrappers:
        function.__doc__ = original.__doc__
        function.__qualname__ = "socket." + function.__name__
        function.__wrapped__ = original
        setattr(kind, function.__name__, function)


def _is_tool(frame):
    # type: (FrameType) -> bool
    """Who listens for something else than the app's clients."""
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _TOOLS


def _take_over(sock, address):
    # type: (socket, Any) -> bool
    """Whether a socket of the session's stands in the place of ``sock`` now."""
    channel = agent.channel
    try:
        if channel is None or not channel.settings["held"]:
            return False
        question = _describe(sock, address)
        if question is None:
            return False
        reply = channel.ask(dict(question, type="bind"), _PATIENCE)
        if reply is None or "descriptor" not in reply:
            return False
        held = int(reply["descriptor"])
        number = sock.fileno()
        try:
            os.dup2(held, number, inheritable=os.get_inheritable(number))
        finally:
            os.close(held)
        inode = os.fstat(number).st_ino
        _requested[inode] = question["address"]
        _taken.add(inode)
        return True
    except Exception:
        return False


def _remember(sock, address):
    # type: (socket, Any) -> None
    try:
        question = _describe(sock, address)
        if question is not None:
            _requested[os.fstat(sock.fileno()).st_ino] = question["address"]
    except Exception:
        pass


def _describe(sock, address):
    # type: (socket, Any) -> dict[str, Any] | None
    """The fields of "bind"; None for sockets that we leave alone."""
    family = int(sock.family)
    if int(sock.type) & 0xF != _socket.SOCK_STREAM:
        return None
    where = None  # type: Any
    if family in (_socket.AF_INET, _socket.AF_INET6):
        host, port = address[:2]
        where = [os.fsdecode(host), int(port)]
    elif family == _socket.AF_UNIX:
        path = os.fsdecode(address)
        where = path if path[:1] in ("", "\0") else os.path.abspath(path)
        if where in _left_alone:
            return None
    else:
        return None
    return {"family": family, "kind": int(_socket.SOCK_STREAM), "address": where}


def _listens(sock, only_held):
    # type: (socket, bool) -> None
    """``sock`` listens. ``only_held``: gunicorn's master, whose workers accept, and say so."""
    try:
        inode = os.fstat(sock.fileno()).st_ino
        if _describe(sock, sock.getsockname()) is None:
            return
        if only_held:
            _tell(sock, "holding")
            return
        if (os.getpid(), inode) in _told:
            return
    except Exception:
        return
    serves([sock], sock.gettimeout() is None)


def serves(socks, blocking, alive=None, workers=1):
    # type: (list[socket], bool, Callable[[], bool] | None, int) -> None
    """The process would begin to accept on ``socks`` now: wait, if it has to, then tell.

    blocking: the mode that it has set, and relies on, for their descriptors
    alive:    the wait ends early where this says no; signal handlers run meanwhile, and may raise
    workers:  how many processes of the app are to accept there
    """
    if agent.ahead is not None:
        agent.ahead.leave()
    channel = agent.channel
    if channel is None:
        return
    if channel.settings["beside"]:
        for sock in socks:
            inode = os.fstat(sock.fileno()).st_ino
            # What this process did not bind itself, it has from one that did.
            if inode in _taken or inode not in _requested:
                _reconcile()
                description = _describe(sock, sock.getsockname()) or {}
                address = description.get("address")
                question = {"type": "waiting", "address": address, "workers": workers}
                channel.ask(question, alive=alive)
                break
    try:
        _reconcile()
        for sock in socks:
            inode = os.fstat(sock.fileno()).st_ino
            if inode in _taken:
                # The older run had the same description, in its own mode.
                os.set_blocking(sock.fileno(), blocking)
            _told.add((os.getpid(), inode))
            _tell(sock, "listening")
        files.ready()
        ran.ready()
    except Exception:
        pass


def _reconcile():
    # type: () -> None
    try:
        modules.reconcile()
        reports.flush()
    except Exception:
        pass


def _tell(sock, kind):
    # type: (socket, str) -> None
    description = _describe(sock, sock.getsockname())
    if description is not None and agent.channel is not None:
        inode = os.fstat(sock.fileno()).st_ino
        requested = _requested.get(inode, description["address"])
        message = dict(description, type=kind, held=True, requested=requested)
        agent.channel.send(message, sock.fileno())
