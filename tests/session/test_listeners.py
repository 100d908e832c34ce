"""Held sockets, by themselves: what is held is what is given back, to whom, how often."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from onsave.session.listeners import Listeners, readable

TCP = (int(socket.AF_INET), int(socket.SOCK_STREAM))
ANY_PORT = ["127.0.0.1", 0]


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    held = Listeners()
    yield held
    held.close()


def listening(*, reuse: bool = False, port: int = 0) -> socket.socket:
    made = socket.socket()
    if reuse:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    made.listen(1)
    return made


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def test_a_later_run_gets_the_same_socket(listeners: Listeners) -> None:
    with listening() as app:
        assert listeners.hold(1, *TCP, ANY_PORT, os.dup(app.fileno()))
        kept = inode(app.fileno())
        port = app.getsockname()[1]
    listeners.run_gone(1)
    taken = listeners.take(2, *TCP, ANY_PORT)
    assert taken is not None and inode(taken) == kept
    # The kernel queues connections all the while.
    socket.create_connection(("127.0.0.1", port), 5).close()
    assert listeners.take(2, *TCP, ANY_PORT) is None, "once a run"


@pytest.mark.parametrize(
    "other",
    [
        (int(socket.AF_INET6), TCP[1], ANY_PORT),
        (TCP[0], int(socket.SOCK_DGRAM), ANY_PORT),
        (*TCP, ["127.0.0.1", 5000]),
        (*TCP, ["", 0]),
    ],
)
def test_another_address_gets_nothing(listeners: Listeners, other: tuple[int, int, list]) -> None:  # type: ignore[type-arg]
    with listening() as app:
        listeners.hold(1, *TCP, ANY_PORT, os.dup(app.fileno()))
    assert listeners.take(2, *other) is None


def test_flags_in_the_kind_do_not_matter(listeners: Listeners) -> None:
    with listening() as app:
        listeners.hold(1, TCP[0], TCP[1] | socket.SOCK_CLOEXEC, ANY_PORT, os.dup(app.fileno()))
    assert listeners.take(2, TCP[0], TCP[1] | socket.SOCK_NONBLOCK, ANY_PORT) is not None


def test_several_sockets_of_one_address(listeners: Listeners) -> None:
    """SO_REUSEPORT: each bind of a run gets another one."""
    with listening(reuse=True) as first:
        port = first.getsockname()[1]
        with listening(reuse=True, port=port) as second:
            address = ["127.0.0.1", port]
            inodes = {inode(first.fileno()), inode(second.fileno())}
            for app in (first, second):
                listeners.hold(1, *TCP, address, os.dup(app.fileno()))
    taken = [listeners.take(2, *TCP, address) for _ in range(3)]
    assert taken[2] is None
    assert {inode(fd) for fd in taken if fd is not None} == inodes


def test_the_same_socket_is_held_once(listeners: Listeners) -> None:
    """However often a run tells of it: at bind, at listen, by each worker."""
    with listening() as app:
        before = len(os.listdir("/proc/self/fd"))
        for run in (1, 1, 2):
            assert listeners.hold(run, *TCP, ANY_PORT, os.dup(app.fileno()))
        assert len(listeners) == 1
        assert len(os.listdir("/proc/self/fd")) == before + 1


def test_leftovers_are_closed(listeners: Listeners) -> None:
    with listening() as kept, listening() as left:
        listeners.hold(1, *TCP, ["127.0.0.1", 1], os.dup(kept.fileno()))
        listeners.hold(1, *TCP, ["127.0.0.1", 2], os.dup(left.fileno()))
        port = left.getsockname()[1]
    listeners.take(2, *TCP, ["127.0.0.1", 1])
    listeners.run_gone(1)
    listeners.keep_only({2})
    assert len(listeners) == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


@pytest.mark.parametrize("kind", ["pipe", "datagram", "closed"])
def test_what_cannot_listen_is_not_held(listeners: Listeners, kind: str) -> None:
    read, write = os.pipe()
    if kind == "pipe":
        fd = os.dup(read)
    elif kind == "datagram":
        with socket.socket(type=socket.SOCK_DGRAM) as datagram:
            fd = os.dup(datagram.fileno())
    else:
        fd = os.dup(read)
        os.close(fd)
    os.close(read)
    os.close(write)
    assert not listeners.hold(1, *TCP, ANY_PORT, fd)
    assert len(listeners) == 0


def test_the_file_of_a_unix_socket_outlives_its_runs(listeners: Listeners, tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    with socket.socket(socket.AF_UNIX) as app:
        app.bind(path)
        app.listen(1)
        unix = (int(socket.AF_UNIX), int(socket.SOCK_STREAM))
        assert listeners.hold(1, *unix, path, os.dup(app.fileno()))
    os.unlink(path)  # the run does so at its end
    listeners.run_gone(1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    os.unlink(path)  # the next one before it binds
    assert listeners.take(2, *unix, path) is not None
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    listeners.close()
    assert os.listdir(tmp_path) == ["app.sock"], "the second name is gone"


def test_readable_addresses() -> None:
    assert readable(int(socket.AF_INET), ["127.0.0.1", 80]) == "127.0.0.1:80"
    assert readable(int(socket.AF_INET6), ["::1", 80, 0, 0]) == "[::1]:80"
    assert readable(int(socket.AF_UNIX), "/run/x.sock") == "/run/x.sock"


def test_a_socket_that_the_old_run_shut_down_listens_again(listeners: Listeners) -> None:
    """A shutdown goes through every descriptor of a socket; seen once in a hundred restarts."""
    with listening() as app:
        assert listeners.hold(1, *TCP, ANY_PORT, os.dup(app.fileno()))
        app.shutdown(socket.SHUT_RD)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(app.getsockname(), timeout=5)
        listeners.revive()
        with socket.create_connection(app.getsockname(), timeout=5) as client:
            accepted, _ = app.accept()
            accepted.close()
            assert client.recv(1) == b""
