"""Which files count, and under which name."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Folders whose files are nobody's source or data.
_SKIPPED = frozenset(
    [".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", "site-packages",
     ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".nox"]
)

_roots = ()  # type: tuple[str, ...]
_patterns = ()  # type: tuple[str, ...]
_data = True  # type: Any
_edited = frozenset()  # type: frozenset[str]
_library = ()  # type: tuple[str, ...]
_folders = {}  # type: dict[str, str]
_library_folders = {}  # type: dict[str, str | None]


def configure(settings):
    # type: (dict[str, Any]) -> None
    """Take over what the session says; see AGENT_ENVIRONMENT."""
    global _roots, _patterns, _data, _edited, _library
    _roots = tuple(os.path.realpath(str(root)) + "/" for root in settings["roots"])
    _patterns = tuple(settings["ignore"])
    _data = settings["data"]
    _edited = frozenset(settings["edited"])
    _library_folders.clear()
    standard = os.path.dirname(os.__file__)
    ours = os.path.dirname(os.path.abspath(__file__))
    _library = (standard + "/", os.path.realpath(standard) + "/", ours + "/")


def real(path):
    # type: (str) -> str
    """The real path of an absolute path, as os.path.realpath."""
    cut = path.rfind("/")
    if cut < 0:
        return os.path.realpath(path)
    whole = real_folder(path[:cut] or "/") + path[cut + 1:]
    try:
        os.readlink(whole)
    except (OSError, ValueError):
        return whole
    return os.path.realpath(whole)


def real_folder(folder):
    # type: (str) -> str
    """The real path of a folder, remembered, with a slash at its end."""
    known = _folders.get(folder)
    if known is None:
        # A folder may well begin with a dot (.venv): only "." and ".." themselves are in the way.
        if not folder.startswith("/") or "/./" in folder or "/../" in folder or folder.endswith(
            ("/", "/.", "/..")
        ):
            return os.path.realpath(folder).rstrip("/") + "/"
        parent, name = os.path.split(folder)
        known = real_folder(parent) + name if parent != "/" else "/" + name
        try:
            os.readlink(known)
            known = os.path.realpath(known)
        except (OSError, ValueError):
            pass
        known += "/"
        if len(_folders) < 10000:
            _folders[folder] = known
    return known


def standard(path):
    # type: (str) -> str | None
    """The real path of a file of the standard library, None for others: no look at the disk."""
    if path.startswith(_library[0]) and "/site-packages/" not in path and path not in _edited:
        return _library[1] + path[len(_library[0]):]
    return None


def is_library(path):
    # type: (str) -> bool
    """Whether ``path`` is installed, of the standard library, or ours, and was not edited."""
    return (
        path.startswith(_library) or "/site-packages/" in path or "/dist-packages/" in path
    ) and path not in _edited


def library_folder(folder):
    # type: (str) -> str | None
    """The real path of a folder, if all that is loaded from there is of a library and counts.

    Both with a slash at the end. None: files of this folder are to be looked at one by one.
    """
    try:
        return _library_folders[folder]
    except KeyError:
        pass
    real = real_folder(folder[:-1])  # type: str | None
    if (
        not is_library(str(real)) or is_ours(str(real)) or _patterns
        or any(path.startswith(str(real)) for path in _edited)
    ):
        real = None
    if len(_library_folders) < 10000:
        _library_folders[folder] = real
    return real


def is_ours(path):
    # type: (str) -> bool
    """The agent itself is not part of the app."""
    return path.startswith(_library[2])


def is_ignored(path):
    # type: (str) -> bool
    """Whether the user wants nothing reported of ``path`` (real)."""
    return bool(_patterns) and _matches(path, _patterns)


def is_data(path):
    # type: (str) -> bool
    """Whether ``path`` (real) counts as a data file of the app once it is opened."""
    if not path.startswith(_roots) or _data is False:
        return False
    if not _SKIPPED.isdisjoint(path.split("/")):
        # The workspace itself may lie in such a folder: only what is below it counts.
        below = next(path[len(root):] for root in _roots if path.startswith(root))
        if not _SKIPPED.isdisjoint(below.split("/")):
            return False
    if is_ignored(path):
        return False
    return _data is True or _matches(path, tuple(_data))


def in_roots(path):
    # type: (str) -> bool
    return path.startswith(_roots)


def _matches(path, patterns):
    # type: (str, tuple[str, ...]) -> bool
    # fnmatch pulls in re: most apps have it anyway, and most users have no patterns.
    from fnmatch import fnmatchcase

    return any(fnmatchcase(path, pattern) for pattern in patterns)


def script():
    # type: () -> str | None
    """The path of the script that this interpreter is about to run, from its own arguments.

    ``sitecustomize`` runs before ``sys.argv`` and ``__main__`` are set. None for ``-c``, ``-m``,
    an interactive start, and where the arguments are not Python's (an embedding program).
    """
    arguments = iter(command_line()[1:])
    for argument in arguments:
        if argument == "--":
            return next(arguments, None)
        if argument == "-" or argument == "":
            return None
        if not argument.startswith("-"):
            return argument
        if argument.startswith("--"):
            if argument == "--check-hash-based-pycs":
                next(arguments, None)
            elif not argument.startswith("--check-hash-based-pycs="):
                return None
            continue
        for position, letter in enumerate(argument):
            if letter in "cm":
                return None
            if letter in "WX":
                if position == len(argument) - 1:
                    next(arguments, None)
                break
    return None


def command_line():
    # type: () -> list[str]
    """The arguments of this process, the interpreter's own included."""
    known = getattr(sys, "orig_argv", None)
    if known is not None:
        return list(known)
    try:  # Python 3.9
        with open("/proc/self/cmdline", "rb") as file:
            return [os.fsdecode(part) for part in file.read().split(b"\0")[:-1]]
    except OSError:
        return []
