"""bind, listen, and the wait before the first accept.

``socket.socket`` gets a ``bind`` and a ``listen`` of its own. A run that was started beside another
takes over that one's sockets, which the session holds, and waits in ``listen`` until the other has
gone: a run that fails before it could serve never costs the old one.
"""

import os

from onsave_agent import files, modules, ran, reports

#: How long the session may take to say whether it holds a socket for an address, in seconds.
_PATIENCE = 10.0

#: inode of a bound socket → the address as the app asked for it
_requested = {}  # type: dict[int, object]
#: inodes of the sockets that came from the session
_taken = set()  # type: set[int]
_listening = set()  # type: set[int]


def after_socket(module):
    # type: (object) -> None
    """``socket`` was imported (or a second copy of it: eventlet makes one)."""
    _wrap(module.socket)  # type: ignore[attr-defined]


def after_gevent(module):
    # type: (object) -> None
    """gevent's sockets hand everything to instances of a class of their own."""
    kind = module.socket._gevent_sock_class  # type: ignore[attr-defined]
    _wrap(kind)


def _wrap(kind):
    # type: (type) -> None
    if "bind" in vars(kind) and hasattr(kind.bind, "__wrapped__"):  # type: ignore[attr-defined]
        return
    real_bind, real_listen = kind.bind, kind.listen  # type: ignore[attr-defined]

    def bind(self, address):
        # type: (object, object) -> object
        if taken_over(self, address):
            return None
        result = real_bind(self, address)
        _bound(self, address)
        return result

    def listen(self, *backlog):
        # type: (object, *object) -> object
        result = real_listen(self, *backlog)
        listens(self)
        return result

    for function, original in ((bind, real_bind), (listen, real_listen)):
        function.__doc__ = original.__doc__
        function.__qualname__ = "socket." + function.__name__
        function.__wrapped__ = original  # type: ignore[attr-defined]
        setattr(kind, function.__name__, function)


def _channel():
    # type: () -> object
    from onsave_agent import agent

    return agent.channel


def taken_over(sock, address):
    # type: (object, object) -> bool
    """Whether a socket of the session's now stands in the place of ``sock``."""
    try:
        channel = _channel()
        question = _question(sock, address)
        if question is None or not channel.settings["held"]:  # type: ignore[attr-defined]
            return False
        reply = channel.ask(dict(question, type="bind"), _PATIENCE)  # type: ignore[attr-defined]
        if reply is None or "descriptor" not in reply:
            return False
        held = reply["descriptor"]
        number = sock.fileno()  # type: ignore[attr-defined]
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


def _bound(sock, address):
    # type: (object, object) -> None
    try:
        question = _question(sock, address)
        if question is not None:
            _requested[os.fstat(sock.fileno()).st_ino] = question["address"]  # type: ignore
    except Exception:
        pass


def _question(sock, address):
    # type: (object, object) -> dict[str, object] | None
    """The fields of "bind"; None for sockets that are none of ours to care about."""
    import _socket

    family, kind = int(sock.family), int(sock.type)  # type: ignore[attr-defined]
    if kind & 0xF != _socket.SOCK_STREAM:
        return None
    if family in (_socket.AF_INET, _socket.AF_INET6):
        where = list(address[:2])  # type: ignore[index]
        if isinstance(where[0], (bytes, bytearray)):
            where[0] = bytes(where[0]).decode()
    elif family == _socket.AF_UNIX:
        where = os.fsdecode(address)  # type: ignore[assignment, type-var]
        if where and not where.startswith("\0"):  # type: ignore[attr-defined]
            where = os.path.abspath(where)  # type: ignore[assignment, type-var]
    else:
        return None
    return {"family": family, "kind": _socket.SOCK_STREAM, "address": where}


def listens(sock):
    # type: (object) -> None
    """``sock`` listens. Wait, if this run has to, then tell."""
    try:
        number = sock.fileno()  # type: ignore[attr-defined]
        inode = os.fstat(number).st_ino
        question = _question(sock, sock.getsockname())  # type: ignore[attr-defined]
        if question is None or inode in _listening:
            return
        _listening.add(inode)
    except Exception:
        return
    if inode in _taken:
        wait(question)
    tell(sock, question, inode)


def wait(question):
    # type: (dict[str, object]) -> None
    """Before the first accept: until the older run has gone. Signal handlers run meanwhile."""
    channel = _channel()
    if channel.settings["beside"]:  # type: ignore[attr-defined]
        modules.reconcile()
        reports.flush()
        channel.ask({"type": "waiting", "address": question["address"]})  # type: ignore


def tell(sock, question, inode):
    # type: (object, dict[str, object], int) -> None
    try:
        # Python keeps the mode by the timeout; the descriptor's may be another process's doing.
        number = sock.fileno()  # type: ignore[attr-defined]
        if inode in _taken:
            os.set_blocking(number, sock.gettimeout() is None)  # type: ignore[attr-defined]
        modules.reconcile()
        reports.flush()
        message = dict(question, type="listening", held=True)
        message["requested"] = _requested.get(inode, question["address"])
        _channel().send(message, number)  # type: ignore[attr-defined]
        files.ready()
        ran.ready()
    except Exception:
        pass
