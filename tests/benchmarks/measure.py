"""What the benchmarks share: things to start, things to measure, tables."""

from __future__ import annotations

import contextlib
import http.client
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from harness import ONSAVE, SAMPLES, Project, Sample, Session, free_port
from harness.processes import MARK, end, marked
from harness.session import environment

#: Seconds that anything may take.
PATIENCE = 120


def machine() -> str:
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, load {load:.1f}, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def milliseconds(seconds: Sequence[float]) -> str:
    """The median, and the worst."""
    if not seconds:
        return "–"
    return f"{statistics.median(seconds) * 1000:.1f} (at most {max(seconds) * 1000:.1f})"


def ratio(these: Sequence[float], those: Sequence[float]) -> str:
    """Of medians; the two were measured alternately."""
    if not these or not those:
        return "–"
    return f"×{statistics.median(these) / statistics.median(those):.2f}"


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="onsave-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


@contextlib.contextmanager
def bare(
    project: Project, command: Sequence[str], port: int, **env: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The command without us, in a process group of its own, with the mark of what it starts."""
    mark = uuid.uuid4().hex
    inherited = environment(project.path, mark, **env)
    filled = [part.format(python=sys.executable, port=port) for part in command]
    process = subprocess.Popen(
        filled, cwd=project.path, env=inherited, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process, mark
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        end(marked(mark))


@contextlib.contextmanager
def session_of(
    project: Project, command: Sequence[str], port: int, sample: Sample | None = None, **more: str
) -> Iterator[Session]:
    """The command under ``onsave run``, ready."""
    with scratch() as folder:
        session = Session(
            project, command, run_directory=folder / "run", mark=uuid.uuid4().hex,
            port=port, sample=sample, **more,
        )  # fmt: skip
        try:
            yield session.connect().ready()
        finally:
            with contextlib.suppress(AssertionError):
                session.stop()
            end(marked(session.mark))


def ask(port: int, page: str, timeout: float = 5) -> str | None:
    """The answer; None where there is none or a bad one."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=timeout) as response:
            return str(response.read().decode())
    except (OSError, ValueError, http.client.HTTPException):
        return None


def until_answer(
    port: int, page: str, right: Callable[[str], bool], patience: float = PATIENCE
) -> float | None:
    """Ask every two milliseconds until the answer is right: the time of that, None if never."""
    deadline = time.perf_counter() + patience
    while time.perf_counter() < deadline:
        said = ask(port, page)
        if said is not None and right(said):
            return time.perf_counter()
        time.sleep(0.002)
    return None


def memory(processes: Sequence[psutil.Process]) -> float:
    """Proportional set size of them all, in MiB."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time of all their threads, those that have ended included (Django has one a request)."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(OSError):
            # The clock of another process: clock_getcpuclockid(3), which Python lacks.
            total += time.clock_gettime((~process.pid << 3) | 2)
    return total


def wakeups(processes: Sequence[psutil.Process]) -> int:
    """Voluntary context switches of all their threads so far."""
    total = 0
    for process in processes:
        for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
            with contextlib.suppress(OSError):
                for line in status.read_text().splitlines():
                    if line.startswith("voluntary_ctxt_switches"):
                        total += int(line.split()[1])
    return total


def watches(processes: Sequence[psutil.Process]) -> int:
    """inotify watches that they hold."""
    total = 0
    for process in processes:
        for info in Path(f"/proc/{process.pid}/fdinfo").glob("*"):
            with contextlib.suppress(OSError):
                total += info.read_text().count("inotify wd:")
    return total


__all__ = ["MARK", "ONSAVE", "SAMPLES", "Project", "Session", "free_port", "marked"]
