"""Stop accepting, in any server, and see the requests under way to their end.

Each listening descriptor of the process gets a socket in its place that nobody can connect to;
the kernel goes on queueing connections in the real one, which the session holds for the next run.
"""

import _socket
import os
import select
from fcntl import ioctl
from time import monotonic

from onsave_agent.client import inode_of

_FIONREAD = 0x541B
_TCP_INFO = 11
_ESTABLISHED, _CLOSE_WAIT = 1, 8

#: A connection that was just made may bring its request within this many seconds.
_GRACE = 0.3
#: The kernel's clock for "last sent" ticks in up to 10 ms: what seems to have happened at once, sent
#: and received, counts as answered after this many milliseconds.
_TIE = 200
#: So often in a row must everything be found idle.
_TWICE = 2


def drain(message):
    # type: (dict[str, object]) -> object
    """Begin; returns what is to be asked until it answers "drained"."""
    begun = monotonic()
    addresses = _stop_accepting()
    deadline = begun + float(message["timeout"])  # type: ignore[arg-type]
    seen_idle = 0

    def answer():
        # type: () -> dict[str, object] | None
        nonlocal seen_idle
        busy = _busy(addresses, begun)
        seen_idle = 0 if busy else seen_idle + 1
        if seen_idle < _TWICE and monotonic() < deadline:
            return None
        return {"type": "drained", "id": message["id"], "busy": busy}

    return answer


def _sockets():
    # type: () -> list[tuple[int, _socket.socket]]
    """(descriptor, duplicate) of each stream socket of this process; close the duplicates."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            number = int(name)
            if os.readlink("/proc/self/fd/" + name).startswith("socket:"):
                sock = _socket.socket(fileno=os.dup(number))
                if sock.type & 0xF == _socket.SOCK_STREAM and inode_of(number) not in _dummies:
                    found.append((number, sock))
                else:
                    sock.close()
        except OSError:
            continue
    return found


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
    dummies = {}  # type: dict[bool, int]
    for number, sock in _sockets():
        try:
            if sock.family not in (_socket.AF_INET, _socket.AF_INET6, _socket.AF_UNIX):
                continue
            if not sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
                continue
            _addresses.add(_address(sock))
            blocking = os.get_blocking(number)
            if blocking not in dummies:
                dummies[blocking] = _dummy(blocking)
            watching = _unwatch(number)
            os.dup2(dummies[blocking], number, inheritable=os.get_inheritable(number))
            for epoll in watching:
                # Whoever changes or ends its watch must find one.
                _watch(epoll, number)
        except OSError:
            pass
        finally:
            sock.close()
    for dummy in dummies.values():
        os.close(dummy)
    return _addresses


def _dummy(blocking):
    # type: (bool) -> int
    """A listening socket under a random name: never readable, an accept finds nothing."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    sock.bind("")
    sock.listen(0)
    sock.setblocking(blocking)
    _dummies.add(os.fstat(sock.fileno()).st_ino)
    return sock.detach()


def _epolls():
    # type: () -> list[int]
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink("/proc/self/fd/" + name) == "anon_inode:[eventpoll]":
                found.append(int(name))
        except OSError:
            continue
    return found


def _unwatch(number):
    # type: (int) -> list[int]
    """Take a descriptor out of the epoll sets; the old file would stay in them for ever."""
    watching = []
    for number_of_epoll in _epolls():
        epoll = select.epoll.fromfd(os.dup(number_of_epoll))
        try:
            epoll.unregister(number)
            watching.append(number_of_epoll)
        except OSError:
            pass
        finally:
            epoll.close()
    return watching


def _watch(number_of_epoll, number):
    # type: (int, int) -> None
    epoll = select.epoll.fromfd(os.dup(number_of_epoll))
    try:
        epoll.register(number, select.EPOLLIN)
    except OSError:
        pass
    finally:
        epoll.close()


def _busy(addresses, begun):
    # type: (set[tuple[int, object]], float) -> int
    """How many accepted connections have a request under way."""
    busy = 0
    fresh = monotonic() - begun < _GRACE
    for _number, sock in _sockets():
        try:
            if _address(sock) in addresses and _is_busy(sock, fresh):
                busy += 1
        except (OSError, IndexError):
            pass
        finally:
            sock.close()
    return busy


def _is_busy(sock, fresh):
    # type: (_socket.socket, bool) -> bool
    if sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
        return False
    if int.from_bytes(ioctl(sock.fileno(), _FIONREAD, b"\0" * 4), "little"):
        return True
    if sock.family == _socket.AF_UNIX:
        return fresh  # The kernel tells no more of these.
    info = sock.getsockopt(_socket.IPPROTO_TCP, _TCP_INFO, 256)
    if info[0] not in (_ESTABLISHED, _CLOSE_WAIT):
        return False
    received = _number(info, 128, 8)  # bytes_received
    if not received:
        return fresh
    since_sent, since_received = _number(info, 44, 4), _number(info, 52, 4)  # last_data_*
    if not _number(info, 200, 8):  # bytes_sent
        return True
    if since_sent == since_received:
        return since_received < _TIE
    return since_sent > since_received


def _number(info, at, size):
    # type: (bytes, int, int) -> int
    """A field of struct tcp_info (linux/tcp.h); 1 where this kernel has none so far back."""
    field = info[at:at + size]
    return int.from_bytes(field, "little") if len(field) == size else 1
