"""The configuration: raw settings → (Config, problems). Never raises for what a user wrote.

It stands in ``onsave.toml``, or in ``[tool.onsave]`` of ``pyproject.toml``, in the working
directory or a folder above it. Settings of an app are in ``[apps.NAME]``
(``[tool.onsave.apps.NAME]``); the same keys above all apps are the defaults of each.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from onsave.core.model import Options, Problem
from onsave.core.snapshots import MOST

FILE_NAMES = ("onsave.toml", "pyproject.toml")


@dataclass(frozen=True)
class AppConfig:
    """The settings of one app. Paths are absolute, relative ones being meant from the file."""

    name: str = ""
    command: tuple[str, ...] = ()
    cwd: str | None = None  # None: where the file is
    env: Mapping[str, str] = field(default_factory=dict)
    env_file: tuple[str, ...] = ()
    python: str | None = None  # stands in for a leading "python" of the command
    extra_files: tuple[str, ...] = ()  # glob patterns; a change of any of them restarts
    ignore: tuple[str, ...] = ()  # glob patterns of files that never count as loaded
    data_files: bool | tuple[str, ...] = True  # whether opened data files count, or which
    patch: bool = True
    hot: tuple[str, ...] = ()
    linger: float = 1.0  # seconds that a call may go on with an old body after a patch
    snapshots: bool | int | Literal["libraries", "spare"] = True  # or how many
    before_snapshot: tuple[str, ...] = ()  # "module:function" each, called where it stands by
    after_resume: tuple[str, ...] = ()  # the same, when it has become the app
    overlap: bool = True
    on_exit: str = "wait"
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 5.0  # seconds

    def options(self, *, once: bool = False, rerun: bool = False) -> Options:
        return Options(
            overlap=self.overlap,
            patch=self.patch,
            on_exit=self.on_exit,
            once=once,
            rerun=rerun,
            hot=self.hot,
            linger=self.linger,
            stop_timeout=self.stop_timeout,
        )


@dataclass(frozen=True)
class Config:
    """path: of the file, None where there is none; root: its folder, else the one asked from."""

    path: str | None
    root: str
    defaults: AppConfig = field(default_factory=AppConfig)
    apps: Mapping[str, AppConfig] = field(default_factory=dict)


def find(start: str) -> str | None:
    """The configuration's file: in ``start`` or the nearest folder above that has one."""
    folder = os.path.abspath(start)
    while True:
        for name in FILE_NAMES:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and (name != "pyproject.toml" or _mentions_us(path)):
                return path
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def read(start: str) -> tuple[Config, tuple[Problem, ...]]:
    """The configuration that holds in folder ``start``, and what is wrong with it.

    What is wrong is left out: the rest holds.
    """
    path = find(start)
    if path is None:
        return Config(None, os.path.abspath(start)), ()
    return read_file(path)


def read_file(path: str) -> tuple[Config, tuple[Problem, ...]]:
    """The configuration in that very file, and what is wrong with it."""
    root = os.path.dirname(path)
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8")
    except OSError as error:
        return Config(path, root), (_problem(path, 1, f"can't be read: {error.strerror}"),)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return Config(path, root), (_problem(path, line, "not UTF-8, which TOML has to be"),)
    if not text.strip():
        return Config(path, root), ()
    tomllib = _tomllib()
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Config(path, root), (_problem(path, _line_of_error(error, text), str(error)),)
    prefix: tuple[str, ...] = ()
    if os.path.basename(path) == "pyproject.toml":
        prefix = ("tool", "onsave")
        tool = raw.get("tool")
        raw = tool.get("onsave", {}) if isinstance(tool, dict) else {}
    return _Reader(path, root, text, prefix).config(raw)


def _tomllib() -> Any:
    import importlib

    return importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def _mentions_us(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return b"onsave" in file.read()
    except OSError:
        return False


def _line_of_error(error: Exception, text: str) -> int:
    said = re.search(r"at line (\d+)", str(error))
    return int(said[1]) if said else text.rstrip("\n").count("\n") + 1


def _problem(path: str, line: int, message: str, severity: str = "error") -> Problem:
    return Problem(path, (line - 1, 0, line, 0), message, "config", severity)


# --- values -----------------------------------------------------------------------------------
# Each takes a raw value and returns it in its final form, or raises ValueError saying what it
# ought to be.


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def _snapshots(value: Any) -> bool | int | str:
    numbered = isinstance(value, int) and 0 <= value <= MOST
    if numbered or value in ("libraries", "spare"):
        return value  # type: ignore[no-any-return]
    raise ValueError(f'true, false, a number up to {MOST}, "libraries" or "spare"')


def _functions(value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if isinstance(listed, list) and all(isinstance(v, str) and _is_function(v) for v in listed):
        return tuple(listed)
    raise ValueError('"module:function", or a list of such')


def _is_function(name: str) -> bool:
    module, colon, function = name.partition(":")
    return bool(colon) and all(
        part.isidentifier() for part in (*module.split("."), *function.split("."))
    )


def _text(value: Any) -> str:
    if isinstance(value, str) and value and "\0" not in value:
        return value
    raise ValueError("text")


def _texts(value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if isinstance(listed, list) and all(isinstance(v, str) and "\0" not in v for v in listed):
        return tuple(listed)
    raise ValueError("text, or a list of texts")


def _command(value: Any) -> tuple[str, ...]:
    import shlex

    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"a command as a shell would read it ({error})") from None
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError("a command: text, or a list of its words")


def _environment(value: Any) -> dict[str, str]:
    if isinstance(value, dict) and all(
        isinstance(v, (str, int, float)) and not isinstance(v, bool) for v in value.values()
    ):
        return {key: str(v) for key, v in value.items()}
    raise ValueError('a table of texts, as in { DEBUG = "1" }')


def _data_files(value: Any) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    try:
        return _texts(value)
    except ValueError:
        raise ValueError("true, false, or a list of glob patterns") from None


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if value in allowed:
            return str(value)
        raise ValueError(" or ".join(f'"{word}"' for word in allowed))

    return convert


def _signal(value: Any) -> str:
    import signal

    if isinstance(value, str):
        name = value if value.startswith("SIG") else f"SIG{value}"
        if name in signal.Signals.__members__:
            return name
    raise ValueError('the name of a signal, such as "SIGINT"')


def _timeout(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 3600:
        return float(value)
    raise ValueError("a number of seconds above 0, at most 3600")


_VALUES: dict[str, Callable[[Any], Any]] = {
    "command": _command,
    "cwd": _text,
    "env": _environment,
    "env-file": _texts,
    "python": _text,
    "extra-files": _texts,
    "ignore": _texts,
    "data-files": _data_files,
    "patch": _flag,
    "hot": _texts,
    "linger": _timeout,
    "snapshots": _snapshots,
    "before-snapshot": _functions,
    "after-resume": _functions,
    "overlap": _flag,
    "on-exit": _one_of("wait", "restart", "end"),
    "stop-signal": _signal,
    "stop-timeout": _timeout,
}
#: These make no sense for all apps at once.
_OF_ONE_APP = frozenset({"command", "cwd"})


class _Reader:
    """Reads one file's settings, collecting problems."""

    def __init__(self, path: str, root: str, text: str, prefix: tuple[str, ...]) -> None:
        self._path = path
        self._root = root
        self._lines = text.splitlines()
        self._prefix = prefix
        self._problems: list[Problem] = []

    def config(self, raw: Any) -> tuple[Config, tuple[Problem, ...]]:
        apps: dict[str, AppConfig] = {}
        defaults: dict[str, Any] = {}
        if not isinstance(raw, dict):
            self._wrong((), "is to be a table")
            raw = {}
        raw_apps = raw.get("apps", {})
        top = {key: value for key, value in raw.items() if key != "apps"}
        defaults = self._settings(top, (), set(_VALUES) - _OF_ONE_APP)
        if not isinstance(raw_apps, dict):
            self._wrong(("apps",), "apps is to be a table of apps, each [apps.NAME]")
            raw_apps = {}
        for name, settings in raw_apps.items():
            if not isinstance(settings, dict):
                self._wrong(("apps", name), f"apps.{name} is to be a table")
                continue
            own = self._settings(settings, ("apps", name), set(_VALUES))
            apps[name] = AppConfig(**{**defaults, **own, "name": name})
        config = Config(self._path, self._root, AppConfig(**defaults), apps)
        return config, tuple(self._problems)

    def _settings(
        self, raw: dict[str, Any], table: tuple[str, ...], allowed: set[str]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in raw.items():
            where = (*table, key)
            if key not in allowed:
                self._wrong(where, self._unknown(key, table, allowed))
                continue
            try:
                found[key.replace("-", "_")] = self._placed(key, _VALUES[key](value))
            except ValueError as error:
                self._wrong(where, f"{key} is to be {error}")
        return found

    def _placed(self, key: str, value: Any) -> Any:
        """Paths are meant from where the file is."""
        if key == "cwd":
            return os.path.normpath(os.path.join(self._root, os.path.expanduser(value)))
        if key in ("env-file", "extra-files"):
            return tuple(os.path.normpath(os.path.join(self._root, path)) for path in value)
        if key == "python" and (os.sep in value or value.startswith("~")):
            return os.path.normpath(os.path.join(self._root, os.path.expanduser(value)))
        return value

    def _unknown(self, key: str, table: tuple[str, ...], allowed: set[str]) -> str:
        import difflib

        if key in _OF_ONE_APP and not table:
            apps = ".".join((*self._prefix, "apps"))
            return f"{key} belongs to one app: put it under [{apps}.NAME]"
        near = difflib.get_close_matches(key.replace("_", "-"), sorted(allowed), 1)
        known = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(allowed))}"
        return f"unknown setting {key}; {known}"

    def _wrong(self, where: tuple[str, ...], message: str) -> None:
        self._problems.append(_problem(self._path, self._line(where), message))

    def _line(self, where: tuple[str, ...]) -> int:
        """The line of a key, found by looking: tomllib keeps no positions."""
        wanted = (*self._prefix, *where)
        table: tuple[str, ...] = ()
        best = (0, 1)
        for number, line in enumerate(self._lines, 1):
            header = re.match(r"\s*\[\[?\s*(.+?)\s*\]\]?\s*(#.*)?$", line)
            assigned = re.match(r"""\s*((?:[\w.-]|\s*\.\s*|"[^"]*"|'[^']*')+?)\s*=""", line)
            if header:
                table = found = _dotted(header[1])
            elif assigned:
                found = (*table, *_dotted(assigned[1]))
            else:
                continue
            if wanted[: len(found)] == found and len(found) > best[0]:
                best = (len(found), number)
        return best[1]


def _dotted(text: str) -> tuple[str, ...]:
    parts = re.findall(r'"([^"]*)"|\'([^\']*)\'|([\w-]+)', text)
    return tuple(next(filter(None, part), "") for part in parts)


def differs_at_start(old: AppConfig, new: AppConfig) -> bool:
    """Whether something differs that a start of the app depends on."""
    return any(
        getattr(old, name) != getattr(new, name)
        for name in (
            "command", "cwd", "env", "env_file", "python", "extra_files", "ignore", "data_files",
        )
    )  # fmt: skip
