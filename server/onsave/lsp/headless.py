"""Sessions that the server starts itself, for editors that can't open a terminal.

Their output goes to the editor's log. They die with the server, whatever becomes of it: each holds
the reading end of a pipe (see ``LIFELINE_KEY``), and the kernel closes our end when we are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from onsave_agent.protocol import LIFELINE_KEY

#: What an app prints goes to a log that people read. More than this in a second is not read.
LINES_PER_SECOND = 200
MAX_LINE = 2000

Log = Callable[[str, str], None]


class Headless:
    """The sessions that were started here and still run."""

    def __init__(self, log: Log) -> None:
        """``log(level, text)`` takes what they print."""
        self._log = log
        self._running: dict[asyncio.subprocess.Process, int] = {}  # → our end of its lifeline
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(
        self, name: str, argv: Sequence[str], cwd: str, environment: Mapping[str, str]
    ) -> None:
        """Start ``argv``. Raises OSError."""
        if sys.platform == "win32":  # a lifeline can't be inherited there
            raise OSError("on Windows, run `onsave run` in a terminal")
        theirs, ours = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=cwd,
                env={**os.environ, **environment, LIFELINE_KEY: str(theirs)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                # Editors end their server's process group; the app is to be ended by its session.
                start_new_session=True,
                pass_fds=(theirs,),
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._running[process] = ours
        task = asyncio.create_task(self._follow(name, process))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, timeout: float) -> None:
        """End them all, at most ``timeout`` seconds: editors kill what takes longer. What is left
        ends by itself when its lifeline closes with us."""
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=timeout)

    async def _follow(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        throttle = _Throttle(lambda text: self._log("info", f"{name} | {text}"))
        rest = b""
        try:
            # In chunks, not lines: an app may print megabytes without an end of line.
            while data := await process.stdout.read(65536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    throttle.put(line)
                rest = rest[:MAX_LINE]
            if rest:
                throttle.put(rest)
            code = await process.wait()
            throttle.flush()
            self._log("info", f"{name}: the session ended with {code}")
        finally:
            os.close(self._running.pop(process))


class _Throttle:
    """Passes on lines, but so many in a second at most; of the others it tells the number."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._lines = 0
        self._left_out = 0
        self._second: asyncio.TimerHandle | None = None  # the one that is under way

    def put(self, line: bytes) -> None:
        if self._second is None:
            self._second = asyncio.get_running_loop().call_later(1.0, self.flush)
        self._lines += 1
        if self._lines > LINES_PER_SECOND:
            self._left_out += 1
            return
        self._emit(line[:MAX_LINE].decode("utf-8", "replace").rstrip("\r"))

    def flush(self) -> None:
        """The second is over."""
        if self._second is not None:
            self._second.cancel()
            self._second = None
        if self._left_out:
            self._emit(f"… {self._left_out} lines left out")
        self._lines = self._left_out = 0
