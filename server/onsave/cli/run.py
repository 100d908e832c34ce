"""``onsave run``: which app, where, with what settings; then a session."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence

from onsave import config as configuration
from onsave.config import AppConfig, Config
from onsave.control import ControlError, RunDirectory

#: What marks the folder of a project, for sessions without a configuration.
MARKERS = (".git", ".hg", "pyproject.toml", "setup.py", "setup.cfg", "manage.py")

#: Words of a command that say nothing about which app it is.
_GENERIC = ("run", "app", "main", "server", "wsgi", "asgi", "__main__", "manage", "index")


class UsageError(Exception):
    """The command line or the configuration leaves open what to run. ``str()`` says what to do."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "onsave run [--name N] [--cwd D] [--once | --rerun] [--json-log F] [-v] [--] [COMMAND…]"
    )
    parser.epilog = (
        "With no COMMAND, the app from the configuration ([tool.onsave] in pyproject.toml, or "
        "onsave.toml). When the app ends by itself with 0, so does the session; otherwise it waits "
        "for the save that mends it. Ctrl-C ends the app, then the session with the app's exit "
        "code; a second Ctrl-C kills."
    )
    parser.add_argument("--name", help="the session's name, or which app of the configuration")
    parser.add_argument("--cwd", metavar="D", help="run COMMAND in this folder")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="end with the app, with its exit code")
    how.add_argument(
        "--rerun",
        action="store_true",
        help="stay after any end, and run again when a loaded file is saved: for scripts and tests",
    )
    parser.add_argument("--json-log", metavar="F", help="write every event and effect to this file")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell also what is ignored")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")


def main(arguments: argparse.Namespace) -> int:
    words = list(arguments.words)
    if words[:1] == ["--"]:
        words = words[1:]
    try:
        return _run(arguments, words)
    except (UsageError, ControlError) as error:
        print(f"onsave: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace, words: list[str]) -> int:
    start = os.path.abspath(arguments.cwd or ".")
    if not os.path.isdir(start):
        raise UsageError(f"--cwd {arguments.cwd}: no such folder")
    config, problems = configuration.read(start)
    settings, command = choose(config, words, arguments.name)
    cwd = start if arguments.cwd or words or not config.path else config.root
    if settings.cwd and not arguments.cwd:
        cwd = settings.cwd
    directory = RunDirectory()
    taken = {entry.name for entry in directory.entries("session")}
    name = arguments.name or unique(settings.name or name_of(command, cwd), taken)

    from onsave.session.session import Session

    try:
        session = Session(
            name=name,
            settings=settings,
            command=command,
            cwd=cwd,
            root=os.path.realpath(config.root if config.path else project_root(cwd)),
            directory=directory,
            config_path=config.path,
            problems=problems,
            once=arguments.once,
            rerun=arguments.rerun,
            json_log=arguments.json_log,
            verbose=arguments.verbose,
        )
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise UsageError(f"can't begin:{where} {error.strerror}") from None
    return session.run()


def choose(config: Config, words: Sequence[str], name: str | None) -> tuple[AppConfig, list[str]]:
    """The settings and the command of the app that is meant. Raises UsageError."""
    apps = config.apps
    if len(words) == 1 and words[0] in apps:
        name, words = words[0], ()
    if words:
        return apps.get(name or "", config.defaults), list(words)
    if config.path is None:
        raise UsageError(
            "nothing to run: give a COMMAND, as in `onsave run flask --app shop run`, or write one "
            "into onsave.toml or pyproject.toml"
        )
    where = os.path.relpath(config.path)
    runnable = {known: app for known, app in apps.items() if app.command}
    if name is not None:
        if name not in runnable:
            raise UsageError(f"{where} has no app {name!r} with a command; {_listed(runnable)}")
        return runnable[name], list(runnable[name].command)
    if len(runnable) != 1:
        raise UsageError(f"{where}: which app? {_listed(runnable)}")
    (settings,) = runnable.values()
    return settings, list(settings.command)


def _listed(apps: Iterable[str]) -> str:
    names = sorted(apps)
    if not names:
        return "it has none: add [apps.NAME] with a command ([tool.onsave.apps.NAME] in pyproject)"
    return f"it has {', '.join(names)}: choose with `onsave run NAME`"


def name_of(command: Sequence[str], cwd: str) -> str:
    """A short name for what ``command`` runs: ``flask --app shop run`` is *shop*."""
    folder = os.path.basename(cwd.rstrip(os.sep)) or "app"
    words = [word for word in command[1:] if word]
    for number, word in enumerate(words):
        if word in ("--app", "-A", "-m") and number + 1 < len(words):
            if word == "-m" and words[number + 1] in ("flask", "uvicorn", "gunicorn", "hypercorn"):
                continue
            return _plain(words[number + 1], folder)
        if word.startswith("--app="):
            return _plain(word[6:], folder)
    for word in words:
        if word.startswith("-"):
            continue
        if word.endswith(".py") or (":" in word and "/" not in word and not word[0].isdigit()):
            return _plain(word, folder)
    return _plain(os.path.basename(command[0]), folder) if len(command) == 1 else folder


def _plain(word: str, folder: str) -> str:
    """``shop.wsgi:app`` and ``./shop.py`` are *shop*; a name that says nothing is the folder's."""
    stem = os.path.basename(word.partition(":")[0])
    stem = stem.removesuffix(".py").partition(".")[0]
    return folder if not stem or stem in _GENERIC else stem


def unique(name: str, taken: set[str]) -> str:
    """``name``, or the first of ``name-2``, ``name-3`` … that no session has."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def project_root(cwd: str) -> str:
    """The nearest folder from ``cwd`` upwards that looks like a project's, else ``cwd``.

    Data files count only inside it, so it is never the home folder or the root of everything.
    """
    folder, home = os.path.abspath(cwd), os.path.expanduser("~")
    while True:
        above = os.path.dirname(folder)
        if folder in (home, above):
            return cwd
        if any(os.path.exists(os.path.join(folder, marker)) for marker in MARKERS):
            return folder
        folder = above
