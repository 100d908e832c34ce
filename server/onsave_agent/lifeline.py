"""What a process does whose session was killed: it ends its own subtree and itself.

So nothing is left of a session, whatever ended it.
"""

import os
from io import open  # before the app, or we, put something else in its place

_SIGKILL = 9


def cut():
    # type: () -> None
    """End all descendants of this process, then this process. Does not return."""
    # Descendants may fork while we look: look again until no new one is seen.
    for _ in range(5):
        found = [pid for pid in _descendants(os.getpid()) if _kill(pid)]
        if not found:
            break
    os.kill(os.getpid(), _SIGKILL)


def _kill(pid):
    # type: (int) -> bool
    """False where the process has gone, or had gone and was merely not waited for."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            if file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X"):
                return False
        os.kill(pid, _SIGKILL)
    except OSError:
        return False
    return True


def _descendants(root):
    # type: (int) -> list[int]
    found = []  # type: list[int]
    queue = [root]
    while queue:
        pid = queue.pop()
        try:
            tasks = os.listdir("/proc/%d/task" % pid)
        except OSError:
            continue
        for task in tasks:
            try:
                with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                    children = [int(word) for word in file.read().split()]
            except (OSError, ValueError):
                continue
            found += children
            queue += children
    return found
