"""The lines that a person reads in the terminal of ``onsave run``.

One line for each save that did something, in the manner of tools that people like::

    onsave  views.py  restarted in 0.41 s  (module-level code changed)

They go to stderr, each in one write, so that they never mix with half a line of the app's.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import TextIO

from onsave.core.effects import Outcome
from onsave.core.model import Action, Failure, Verdict
from onsave.session import messages

_GREEN, _YELLOW, _RED, _DIM, _BOLD, _OFF = "32", "33", "31", "2", "1", "0"

_COLOURS = {
    "patched": _GREEN,
    "restarted": _GREEN,
    "ready": _GREEN,
    "holds": _YELLOW,
    "waits": _YELLOW,
    "failed": _RED,
}


class Terminal:
    """``write`` takes one line. verbose: also what was ignored."""

    def __init__(self, stream: TextIO | None = None, *, root: str, verbose: bool) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._root = root
        self._verbose = verbose
        self._colour = _wants_colour(self._stream)
        self._told: set[str] = set()

    # --- lines ------------------------------------------------------------------------------

    def running(self, command: Iterable[str]) -> None:
        import shlex

        self._line("", "running", shlex.join(command))

    def ready(self, listening: Iterable[str], seconds: float, can_hear: bool) -> None:
        """The first run is up."""
        places = " and ".join(_link(address) for address in listening)
        text = f"ready at {places}" if places else "running"
        self._line(_GREEN, text, f"in {_seconds(seconds)}" if places else "")
        if not can_hear:
            self.once(
                "no editor is attached: start `onsave lsp` in your editor, "
                "or tell of saves with `onsave saved FILE`"
            )

    def outcome(self, outcome: Outcome, seconds: float, serving: bool = False) -> None:
        """serving: a run is up nevertheless."""
        names = self._names(outcome.verdicts)
        reason = f"({outcome.reason})" if outcome.reason else ""
        match outcome.what:
            case "patched" | "restarted":
                how = "in " + _seconds(seconds)
                self._line(_GREEN, names, f"{outcome.what} {how}", reason)
            case "held":
                self._line(_YELLOW, names, "holds: the app keeps running as it is", reason)
            case "waits":
                self._line(_YELLOW, names, outcome.reason)
            case "alone":
                self._line(_YELLOW, "starts one run after the other from now on", reason)
            case "ended":
                self._line(_DIM, "ended", "waits for a save" if outcome.verdicts else "")
            case "failed":
                self._failed(names, outcome, serving)

    def _failed(self, names: str, outcome: Outcome, serving: bool) -> None:
        assert outcome.failure is not None
        place = self._place(outcome.failure)
        rest = "the run before goes on" if serving and outcome.failure.fatal else ""
        self._line(_RED, names, "failed", outcome.failure.summary, place and f"({place})", rest)

    def verdict(self, verdict: Verdict) -> None:
        """What was decided about one save; told as it is decided only to those who ask for it."""
        if self._verbose and verdict.action is Action.IGNORE:
            self._line(_DIM, self._short(verdict.path), "ignored", f"({verdict.reason})")

    def once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._line(_DIM, text)

    def error(self, text: str) -> None:
        self._line(_RED, text)

    def problem(self, path: str, line: int, message: str) -> None:
        self._line(_YELLOW, f"{self._short(path)}:{line}", message)

    # --- how they look ----------------------------------------------------------------------

    def _line(self, colour: str, *parts: str) -> None:
        words = [_printable(part) for part in parts if part]
        if colour and words:
            # The last word in brackets is the reason: there for whoever wants to know.
            words = [
                self._paint(_DIM if word.startswith("(") else colour, word) for word in words
            ]
        text = "  ".join([self._paint(_BOLD, "onsave"), *words])
        # The terminal may have gone, or be a pipe that nobody reads; the app matters more.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text + "\n")
            self._stream.flush()

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[{_OFF}m" if self._colour else text

    def _names(self, verdicts: tuple[Verdict, ...]) -> str:
        paths = list(dict.fromkeys(self._short(verdict.path) for verdict in verdicts))
        if len(paths) > 3:
            return f"{paths[0]}, {paths[1]} and {len(paths) - 2} more"
        return ", ".join(paths)

    def _place(self, failure: Failure) -> str:
        """``views.py:12``: where it is to be mended, the deepest frame that is the user's own."""
        for raised in failure.exceptions:
            if raised.syntax is not None:
                return f"{self._short(raised.syntax[0])}:{raised.syntax[1]}"
            own = [f for f in raised.frames if messages.short(f.path, self._root) != f.path]
            if own:
                return f"{self._short(own[-1].path)}:{own[-1].line}"
        return ""

    def _short(self, path: str) -> str:
        return messages.short(path, self._root)


def _printable(text: str) -> str:
    """Without what would move the cursor or change colours: some of it comes from the app."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds:.2f} s"


def _link(address: str) -> str:
    """An address that terminals make clickable, where it is one of a TCP socket."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return address
    here = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}
    return f"http://{here.get(host, host)}:{port}"


def _wants_colour(stream: TextIO) -> bool:
    """As https://no-color.org and https://force-color.org have it."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
