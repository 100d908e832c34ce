"""Stop accepting, in any server, and see the requests under way to their end.

Each listening descriptor of the process gets a socket in its place that nobody can connect to;
the kernel goes on queueing connections in the real one, which the session holds for the next run.
"""

import _socket
import os
from fcntl import ioctl
from time import monotonic

from onsave_agent import agent
from onsave_agent.receiver import POLLIN, epoll, inode_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

_FIONREAD = 0x541B
_TCP_INFO = 11
_ESTABLISHED, _CLOSE_WAIT = 1, 8

#: A connection that was just made may bring its request within this many seconds.
_GRACE = 0.3
#: The kernel's clock for "last sent" ticks in up to 10 ms: what seems to have happened at once,
#: sent and received, counts as answered after this many milliseconds, if no byte tells it before.
_TIE = 200
#: An answer's head may be sent before its body: only after this many milliseconds is it all of it.
_PAUSE = 5
#: So often in a row must everything be found idle.
_TWICE = 2


def drain(message):
    # type: (dict[str, Any]) -> object
    """Begin; returns what is to be asked until it answers "drained"."""
    begun = monotonic()
    addresses = _stop_accepting()
    deadline = begun + float(message["timeout"])
    seen_idle = 0
    seen = {}  # type: dict[int, tuple[int, int, bool]]

    def answer():
        # type: () -> dict[str, Any] | None
        nonlocal seen_idle
        busy = _open(addresses) if message["closed"] else _busy(addresses, begun, seen)
        seen_idle = 0 if busy else seen_idle + 1
        enough = 1 if message["closed"] else _TWICE  # nothing comes of no connection
        if seen_idle < enough and monotonic() < deadline:
            return None
        return {"type": "drained", "id": message["id"], "busy": busy}

    return answer


def _sockets():
    # type: () -> list[tuple[int, _socket.socket]]
    """(descriptor, duplicate) of each stream socket of this process; close the duplicates."""
    found = []
    # First the names, then the duplicates, which are descriptors too.
    numbers = [n for n in map(int, os.listdir("/proc/self/fd")) if inode_of(n) not in _dummies]
    kinds = [(number, _link(number)) for number in numbers]
    for number, kind in kinds:
        if kind.startswith("socket:"):
            try:
                sock = _socket.socket(fileno=os.dup(number))
            except OSError:
                continue
            if sock.type & 0xF == _socket.SOCK_STREAM:
                found.append((number, sock))
            else:
                sock.close()
    return found


def _link(number):
    # type: (int) -> str
    try:
        return os.readlink("/proc/self/fd/%d" % number)
    except OSError:
        return ""


_dummies = set()  # type: set[int]
_addresses = set()  # type: set[tuple[int, object]]


def _address(sock):
    # type: (_socket.socket) -> tuple[int, object]
    """What a listening socket and those accepted from it have in common."""
    name = sock.getsockname()
    return (0, name[1]) if sock.family != _socket.AF_UNIX else (1, name)


def _stop_accepting():
    # type: () -> set[tuple[int, object]]
    """The addresses that this process listened on."""
    for number, sock in _sockets():
        try:
            if sock.family not in (_socket.AF_INET, _socket.AF_INET6, _socket.AF_UNIX):
                continue
            if not sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
                continue
            _addresses.add(_address(sock))
            dummy = _dummy(sock, number)
            watching = _unwatch(number)
            os.dup2(dummy.fileno(), number, inheritable=os.get_inheritable(number))
            dummy.close()
            for number_of_epoll in watching:
                # Whoever changes or ends its watch must find one.
                _watch(number_of_epoll, number)
        except OSError:
            pass
        finally:
            sock.close()
    return _addresses


def _dummy(real, number):
    # type: (_socket.socket, int) -> _socket.socket
    """A listening socket that nobody connects to: never readable, an accept finds nothing.

    Of the family of the real one, under a name that may be removed: gunicorn asks its sockets for
    their names as it ends, and unlinks what is a path. What is left is swept as other sockets in
    the run directory are, once this process has gone.
    """
    dummy = _socket.socket(real.family, _socket.SOCK_STREAM)
    if real.family == _socket.AF_UNIX:
        folder = os.path.dirname(str(agent.channel.settings["socket"]))  # type: ignore[union-attr]
        dummy.bind(os.path.join(folder, "drained.%d-%d.sock" % (number, os.getpid())))
    else:
        dummy.bind(("127.0.0.1" if real.family == _socket.AF_INET else "::1", 0))
    dummy.listen(0)
    dummy.setblocking(os.get_blocking(number))
    _dummies.add(os.fstat(dummy.fileno()).st_ino)
    return dummy


def _epolls():
    # type: () -> list[int]
    numbers = map(int, os.listdir("/proc/self/fd"))
    return [number for number in numbers if _link(number) == "anon_inode:[eventpoll]"]


def _unwatch(number):
    # type: (int) -> list[int]
    """Take a descriptor out of the epoll sets; the old file would stay in them for ever."""
    watching = []
    for number_of_epoll in _epolls():
        watched = epoll.fromfd(os.dup(number_of_epoll))
        try:
            watched.unregister(number)
            watching.append(number_of_epoll)
        except OSError:
            pass
        finally:
            watched.close()
    return watching


def _watch(number_of_epoll, number):
    # type: (int, int) -> None
    watched = epoll.fromfd(os.dup(number_of_epoll))
    try:
        watched.register(number, POLLIN)
    except OSError:
        pass
    finally:
        watched.close()


def _connections(addresses):
    # type: (set[tuple[int, object]]) -> Iterator[tuple[int, _socket.socket]]
    """(descriptor, duplicate, to be used at once) of each connection that was accepted there."""
    late = False
    for number, sock in _sockets():
        try:
            if sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
                # It came to light only now, and is the very socket that the next run listens on:
                # it must never be shut down.
                late = True
            elif _address(sock) in addresses:
                yield number, sock
        except (OSError, IndexError):
            pass
        finally:
            sock.close()
    if late:
        _stop_accepting()


def _busy(addresses, begun, seen):
    # type: (set[tuple[int, object]], float, dict[int, tuple[int, int, bool]]) -> int
    """How many accepted connections have a request under way. ``seen``: see ``_is_answered``."""
    busy = 0
    fresh = monotonic() - begun < _GRACE
    for number, sock in _connections(addresses):
        try:
            if _is_busy(sock, inode_of(number), fresh, seen):
                busy += 1
            elif os.get_blocking(number):
                # A thread waits here for the next request, and would be ended in the midst of
                # it. Now it is told that there is none; the client comes again, elsewhere.
                sock.shutdown(_socket.SHUT_RD)
        except (OSError, IndexError):
            pass
    return busy


def _open(addresses):
    # type: (set[tuple[int, object]]) -> int
    """How many connections there are on which a client may still ask, and would get an answer."""
    return sum(_is_open(sock) for _number, sock in _connections(addresses))


def _is_open(sock):
    # type: (_socket.socket) -> bool
    try:
        if sock.family != _socket.AF_UNIX:
            state = sock.getsockopt(_socket.IPPROTO_TCP, _TCP_INFO, 256)[0]
            return state == _ESTABLISHED
        return bool(sock.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except (OSError, IndexError):
        return False


def _is_busy(sock, inode, fresh, seen):
    # type: (_socket.socket, int, bool, dict[int, tuple[int, int, bool]]) -> bool
    if int.from_bytes(ioctl(sock.fileno(), _FIONREAD, b"\0" * 4), "little"):
        return True
    if sock.family == _socket.AF_UNIX:
        return fresh  # The kernel tells no more of these.
    info = sock.getsockopt(_socket.IPPROTO_TCP, _TCP_INFO, 256)
    if info[0] not in (_ESTABLISHED, _CLOSE_WAIT):
        return False
    if not _number(info, 128, 8):  # bytes_received
        return fresh
    return not _is_answered(info, inode, seen) or _number(info, 44, 4) < _PAUSE  # last_data_sent


def _is_answered(info, inode, seen):
    # type: (bytes, int, dict[int, tuple[int, int, bool]]) -> bool
    """Whether something was sent since a request last came.

    ``seen`` has what each connection had received and sent when it was looked at last: bytes tell
    it for sure. The first look has only the kernel's clock to go by.
    """
    received, sent = _number(info, 128, 8), _number(info, 200, 8)  # bytes_received, bytes_sent
    before = seen.get(inode)
    if before is not None and (received, sent) != before[:2]:
        answered = sent > before[1]
    elif before is not None and before[2]:
        answered = True
    else:
        since_sent, since_received = _number(info, 44, 4), _number(info, 52, 4)  # last_data_*
        tie = since_sent == since_received
        answered = bool(sent) and (since_received >= _TIE if tie else since_sent < since_received)
    seen[inode] = (received, sent, answered)
    return answered


def _number(info, at, size):
    # type: (bytes, int, int) -> int
    """A field of struct tcp_info (linux/tcp.h); 1 where this kernel has none so far back."""
    field = info[at:at + size]
    return int.from_bytes(field, "little") if len(field) == size else 1
