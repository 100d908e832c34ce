"""Linux, and as far as it can be said without having run there, macOS and the BSDs.

:mod:`onsave.session.platform.windows` has the same functions. What a system lacks is an empty
answer here (no kernel evidence, no subreaper), never an exception that a caller must know of.
"""

from __future__ import annotations

import array
import contextlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Descriptors taken from one message at most; the kernel closes what is beyond.
MAX_FDS = 4

CHILD_SIGNAL: int | None = signal.SIGCHLD

#: Those the session handles itself. Left as they are: SIGTSTP, SIGCONT, SIGWINCH and the like; the
#: app is in our process group, so the terminal and the shell treat both alike.
WATCHED_SIGNALS: tuple[int, ...] = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGCHLD,
)

#: Whether a start may run ahead of its turn: what it must not do before is looked for in /proc.
RUNS_AHEAD = sys.platform == "linux"

KILL = int(signal.SIGKILL)
CONTINUE = int(signal.SIGCONT)
INTERRUPT = int(signal.SIGINT)
DEFAULT_STOP_SIGNAL = int(signal.SIGTERM)


class SpawnError(Exception):
    """The command can't be started. ``status`` is what a shell would exit with: 126 or 127."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


# --- the control socket -----------------------------------------------------------------------


def listen(path: str) -> tuple[socket.socket, str, str]:
    """A listening control socket at ``path``: (socket, its address as text, token)."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        control.bind(path)
    except OSError:
        control.close()
        raise
    finally:
        os.umask(old)
    control.listen(1024)
    control.setblocking(False)
    return control, path, ""


def peer_is_ours(peer: socket.socket) -> bool:
    """Whether the process at the other end runs as the same user: the kernel says so."""
    try:
        if sys.platform == "linux":
            size = struct.calcsize("3i")
            _pid, uid, _gid = struct.unpack(
                "3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            )
        else:  # struct xucred of macOS and FreeBSD: version, uid, …; not run by us so far
            _version, uid = struct.unpack_from("=Ii", peer.getsockopt(0, 1, 128))
    except OSError:
        return False
    return bool(uid == os.geteuid())


def receive(peer: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """Bytes and descriptors from a non-blocking socket. Raises BlockingIOError and OSError."""
    room = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    data, ancillary, _flags, _address = peer.recvmsg(size, room, flags)
    fds: list[int] = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(content) - len(content) % array.array("i").itemsize
            fds.extend(array.array("i", content[:whole]))
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, fds


def send(peer: socket.socket, data: bytes | memoryview, fds: Sequence[int] = ()) -> int:
    """Send what goes without blocking; descriptors ride with the first byte."""
    if not fds:
        return peer.send(data)
    return peer.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


# --- starting and ending processes ---------------------------------------------------------------


def spawn(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> int:
    """Start ``argv`` in ``cwd`` with exactly ``env``, on our own stdio, in our own process group.

    Returns its pid; raises SpawnError. By fork and exec, so that the app is our direct child on
    the same terminal and all descriptors that we were given for it stay open in it.
    """
    ignored = {number for number in _HANDED_ON if signal.getsignal(number) is signal.SIG_IGN}
    told, tell = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with _signals_held_back() as before:
        pid = os.fork()
        if pid == 0:
            _exec(argv, env, cwd, ignored, before, tell)
    os.close(tell)
    with open(told, "rb") as report:  # closed by a successful exec
        said = report.read()
    if not said:
        return pid
    os.waitpid(pid, 0)
    what, _, number = said.decode().partition(" ")
    raise _cannot_spawn(what, int(number), argv, env, cwd)


#: Python ignores these for itself; a program expects them as a shell would leave them.
_PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)
_HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextlib.contextmanager
def _signals_held_back() -> Iterator[set[int]]:
    """Around a fork: what arrives in the child before it has its own handlers must not be taken for
    ours. It shares the descriptor that wakes our loop, and one Ctrl-C would count as two.

    Yields the mask to set once they are in place.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)
    try:
        yield set(before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exec(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    ignored: set[signal.Signals],
    mask: set[int],
    tell: int,
) -> None:
    """The child's side of :func:`spawn`: never returns."""
    what = "cwd"
    try:
        signal.set_wakeup_fd(-1)
        for number in _PYTHONS_OWN:
            signal.signal(number, signal.SIG_DFL)
        for number in _HANDED_ON:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.chdir(cwd)
        what = "exec"
        os.execvpe(argv[0], list(argv), dict(env))
    except OSError as error:
        os.write(tell, f"{what} {error.errno or 0}".encode())
    except BaseException:
        os.write(tell, f"{what} 0".encode())
    finally:
        os._exit(127)


def _cannot_spawn(
    what: str, number: int, argv: Sequence[str], env: Mapping[str, str], cwd: str
) -> SpawnError:
    why = os.strerror(number) if number else "it can't be started"
    if what == "cwd":
        return SpawnError(f"the working directory {cwd} can't be entered: {why}", 127)
    if number == 2 and "/" in argv[0]:
        there = os.path.exists(os.path.join(cwd, argv[0]))
        reason = "the interpreter that its first line names is missing" if there else "no such file"
        return SpawnError(f"{argv[0]} can't be started: {reason}", 127)
    if number == 2:
        return SpawnError(f"{argv[0]}: command not found (PATH is {env.get('PATH', '')!r})", 127)
    return SpawnError(f"{argv[0]} can't be started: {why}", 126)


def reap() -> list[tuple[int, int]]:
    """(pid, status) of each child that has ended: as a shell says it, 128 + n for a signal."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        code = os.waitstatus_to_exitcode(status)
        ended.append((pid, code if code >= 0 else 128 - code))


def signal_name(status: int) -> str | None:
    """The name of the signal that an exit status of 128 + n tells of."""
    with contextlib.suppress(ValueError):
        return signal.Signals(status - 128).name if 128 < status < 192 else None
    return None


def send_signal(pid: int, number: int) -> bool:
    """False where there is no such process any more, or it is not ours to signal."""
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def children(pid: int | None = None) -> list[int] | None:
    """Pids of the direct children of a process (ours), adopted ones and zombies included; None
    where only psutil can tell, which looks at every process of the system each time.

    While one of them ends, the kernel may leave out another (proc(5)): it is asked until it says
    the same twice.
    """
    tasks = f"/proc/{pid or os.getpid()}/task"
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return None
    found = _children(tasks)
    for _ in range(10):  # it may have new ones all the time
        found, before = _children(tasks), found
        if found == before:
            break
    return found


def _children(tasks: str) -> list[int]:
    """Each thread has those that it has started."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(tasks):
            with (
                contextlib.suppress(FileNotFoundError, ProcessLookupError),
                open(f"{tasks}/{task}/children", encoding="ascii") as file,
            ):
                found += map(int, file.read().split())
    return found


def become_subreaper() -> bool:
    """Have orphans of our descendants given to us: then nobody escapes by a double fork."""
    if sys.platform != "linux":
        return False
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(36, 1, 0, 0, 0) == 0)  # PR_SET_CHILD_SUBREAPER


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with, {} where that can't be seen."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            content = file.read()
    except OSError:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in content.split(b"\0"))
    return {key: value for key, _, value in pairs if key}


def oom_kills() -> int:
    """How often the kernel has killed for want of memory so far, in our cgroup or at all."""
    with contextlib.suppress(OSError, ValueError):
        for name, key in ((_cgroup_events(), "oom_kill"), ("/proc/vmstat", "oom_kill")):
            if name is None:
                continue
            with contextlib.suppress(FileNotFoundError), open(name, encoding="ascii") as file:
                for line in file:
                    word, _, count = line.partition(" ")
                    if word == key:
                        return int(count)
    return 0


def _cgroup_events() -> str | None:
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            _number, controllers, path = line.rstrip("\n").split(":", 2)
            events = f"/sys/fs/cgroup{path}/memory.events"
            if controllers == "" and os.path.exists(events):
                return events
    return None


# --- the guard --------------------------------------------------------------------------------


def guard(mark: str) -> tuple[int, int] | None:
    """Fork a watcher that ends, should we be killed, every process that carries our mark.

    mark: text that stands in the environment variable ONSAVE_AGENT of the app's processes only.

    Agents end their processes themselves when the session is gone; this is for those that have no
    agent, and for those that were killed or just starting when it happened. The watcher sleeps in
    a read of a pipe that closes with us. Returns (its pid, our end of the pipe) for
    :func:`dismiss`; None where there is no /proc to find processes by.
    """
    if not os.path.isdir("/proc/self"):
        return None
    read, write = os.pipe()
    with _signals_held_back() as before:
        pid = os.fork()
        if pid == 0:
            _watch_over(read, mark, before)
    os.close(read)
    return pid, write


def dismiss(guard: tuple[int, int]) -> None:
    """The session ends in good order: the watcher has nothing to do."""
    pid, write = guard
    send_signal(pid, KILL)  # it may be stopped, and could not read a message then
    with contextlib.suppress(OSError):
        os.waitpid(pid, 0)
    os.close(write)


def _watch_over(read: int, mark: str, mask: set[int]) -> None:
    """The watcher's life: never returns."""
    import time

    try:
        signal.set_wakeup_fd(-1)
        for number in _HANDED_ON:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.chdir("/")
        # Nothing may stay open by us: not the app's sockets, not a pipe that somebody reads to
        # its end. The stdio is replaced rather than closed.
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.dup2(read, 3)
        os.closerange(4, 65536)
        os.read(3, 1)
        time.sleep(0.3)  # what has an agent goes by itself
        wanted = mark.encode()
        clean = 0
        while clean < 3:
            found = [pid for pid in _all_pids() if _carries(pid, wanted)]
            for pid in found:
                send_signal(pid, KILL)
            clean = 0 if found else clean + 1
            time.sleep(0.05)
    finally:
        os._exit(0)


def _all_pids() -> list[int]:
    numbers = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in numbers if pid != os.getpid()]


def _carries(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            if file.read().rpartition(b")")[2].split()[0] in b"ZX":
                return False
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read()
    except OSError:
        return False


# --- the terminal -----------------------------------------------------------------------------


def terminal_modes() -> Any:
    """The terminal's modes as they are now, None without a terminal on stdin."""
    import termios

    try:
        return termios.tcgetattr(0)
    except (termios.error, OSError):
        return None


def in_foreground() -> bool:
    """Whether our process group is the one that a terminal sends Ctrl-C to."""
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(fd) == os.getpgrp()
    return False


def restore_terminal(modes: Any) -> None:
    """Put modes from :func:`terminal_modes` back: a killed debugger leaves echo off."""
    import termios

    if modes is None or not in_foreground():
        return
    old = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with contextlib.suppress(termios.error, OSError):
            if termios.tcgetattr(0) != modes:
                termios.tcsetattr(0, termios.TCSADRAIN, modes)
    finally:
        signal.signal(signal.SIGTTOU, old)


def in_our_group(pid: int) -> bool:
    """Whether the terminal treats that process as it treats us."""
    try:
        return os.getpgid(pid) == os.getpgrp()
    except OSError:
        return False
