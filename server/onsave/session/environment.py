"""What an app is started with: its command, environment and folder, exactly as the user would.

Two variables are added for the agent's sake, ``PYTHONPATH`` with the bootstrap in front and
``ONSAVE_AGENT``; the agent shows the app its own.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from onsave.config import AppConfig
from onsave.session import files
from onsave_agent import protocol
from onsave_agent.protocol import ABSENT

#: Digests of what the session itself builds a run from: (path, digest) each.
Extra = tuple[tuple[str, str], ...]


class EnvironmentProblem(Exception):
    """An env-file is missing or can't be understood. ``str()`` says which, where and why."""


def bootstrap_folder() -> str:
    import onsave_agent

    return os.path.join(os.path.dirname(os.path.abspath(onsave_agent.__file__)), "bootstrap")


def inherited() -> dict[str, str]:
    """Our own environment as the user meant it: without what another session put into it."""
    env = dict(os.environ)
    env.pop(protocol.LIFELINE_KEY, None)
    outer = env.pop(protocol.ENVIRONMENT_KEY, None)
    if outer is not None:
        # We run inside an app of another session. Its agent has put PYTHONPATH right in
        # os.environ where it could; else the bootstrap stands in front of it.
        parts = env.get("PYTHONPATH", "").split(os.pathsep)
        ours = os.path.join("onsave_agent", "bootstrap")
        parts = [part for part in parts if not part.endswith(ours)]
        env["PYTHONPATH"] = os.pathsep.join(parts)
        if not env["PYTHONPATH"]:
            del env["PYTHONPATH"]
    return env


def lifeline() -> BinaryIO | None:
    """The pipe that closes when the server that started us ends, where one is named."""
    named = os.environ.get(protocol.LIFELINE_KEY, "")
    try:
        fd = int(named)
        os.set_inheritable(fd, False)
        return os.fdopen(fd, "rb", buffering=0)
    except (ValueError, OSError):
        return None


def digests(config: AppConfig) -> Extra:
    """The digests of env-files and extra-files, to be taken *before* they are used."""
    paths = dict.fromkeys(config.env_file)
    for pattern in config.extra_files:
        found = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]
        paths.update(dict.fromkeys(path for path in found if not os.path.isdir(path)))
    real = files.RealPaths()
    return tuple((real.of(path), files.digest_of(path)) for path in paths)


def for_app(
    config: AppConfig, extra: Extra, agent: Mapping[str, Any], base: Mapping[str, str]
) -> dict[str, str]:
    """The environment of the app. Raises EnvironmentProblem.

    agent: what the agent is told, see protocol.AGENT_ENVIRONMENT, but for what stands here
    base:  :func:`inherited`
    """
    env = dict(base)
    known = dict(extra)
    for path in config.env_file:
        if known.get(files.RealPaths().of(path)) == ABSENT:
            raise EnvironmentProblem(f"the env-file {path} can't be read; create it to go on")
        env.update(_read_env_file(path))
    env.update(config.env)
    pythonpath = env.get("PYTHONPATH")
    bootstrap = bootstrap_folder()
    env["PYTHONPATH"] = os.pathsep.join([bootstrap, pythonpath] if pythonpath else [bootstrap])
    told = {**agent, "pythonpath": pythonpath, "bootstrap": bootstrap}
    env[protocol.ENVIRONMENT_KEY] = protocol.encode(told).decode("ascii").rstrip("\n")
    return env


_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`"}


def _read_env_file(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentProblem(f"the env-file {path} can't be read: {error}") from None
    return parse_env_file(text, path)


def parse_env_file(text: str, path: str = ".env") -> dict[str, str]:
    """``KEY=VALUE`` a line, as shells and python-dotenv read it, without expansion of variables.

    ``export`` may stand in front, values may be quoted ('as is', or "with \\n escapes", both over
    several lines), ``#`` begins a comment at the line's start or after a space. Raises
    EnvironmentProblem with the line.
    """
    found: dict[str, str] = {}
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        first, line = number + 1, lines[number]
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(line)
        if match is None:
            raise EnvironmentProblem(f"{path}:{first}: not KEY=VALUE: {line.strip():.60}")
        key, value = match[1], match[2]
        if value[:1] in ("'", '"'):
            quote = value[0]
            while _closing(value, quote) < 0:
                if number == len(lines):
                    raise EnvironmentProblem(f"{path}:{first}: a {quote} that is never closed")
                value += "\n" + lines[number]
                number += 1
            end = _closing(value, quote)
            rest = value[end + 1 :].strip()
            if rest and not rest.startswith("#"):
                raise EnvironmentProblem(f"{path}:{first}: something follows the closing {quote}")
            value = value[1:end]
            if quote == '"':
                value = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), value)
        else:
            value = re.split(r"(?:^|\s)#", value, maxsplit=1)[0].strip()
        if "\0" in value:
            raise EnvironmentProblem(f"{path}:{first}: a NUL character can't be in a variable")
        found[key] = value
    return found


def _closing(value: str, quote: str) -> int:
    """Where the quoted value that begins ``value`` ends, -1 where it does not."""
    position = 1
    while position < len(value):
        if value[position] == "\\" and quote == '"':
            position += 1
        elif value[position] == quote:
            return position
        position += 1
    return -1


def command(config: AppConfig, given: Sequence[str]) -> list[str]:
    """The command to run, with the configured interpreter in place of a leading ``python``."""
    words = list(given)
    if config.python and words and re.fullmatch(r"python(3(\.\d+)?)?(\.exe)?", words[0]):
        words[0] = config.python
    return words
