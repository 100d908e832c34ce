"""The app sees its own environment, and its Python children get the agent nevertheless.

The C environment keeps our PYTHONPATH, which ``os.environ`` does not show: a child that is started
with the environment as it is has the agent. A child that is given a copy of ``os.environ`` still
has ONSAVE_AGENT in it, and here our folder is put back. One that is given an environment without
ONSAVE_AGENT stays without us.
"""

import os

from onsave_agent.protocol import ENVIRONMENT_KEY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEY = ENVIRONMENT_KEY.encode() + b"="
_PATH = b"PYTHONPATH="

_environ = os.environ  # type: Any
_bootstrap = b""
_original = None  # type: str | None


def restore(settings):
    # type: (dict[str, Any]) -> None
    """Show the app its own PYTHONPATH, and leave the C environment as it is."""
    global _bootstrap, _original
    _bootstrap = os.fsencode(str(settings["bootstrap"]))
    # sitecustomize has taken our folder away; what a child was given besides is its own.
    if settings["pythonpath"] == "" and "PYTHONPATH" not in os.environ:
        _environ._data[b"PYTHONPATH"] = b""
    _original = os.environ.get("PYTHONPATH")


def install():
    # type: () -> None
    """Put our folder back into what os.exec* and os.posix_spawn* are given."""
    for name in ("execve", "posix_spawn", "posix_spawnp"):
        original = getattr(os, name, None)
        if original is not None:
            setattr(os, name, _with_mapping(original))
    os.execv = _execv(os.execv, os.execve)


def after_subprocess(module):
    # type: (Any) -> None
    """``fork_exec`` as subprocess sees it; its sixth argument: a list of b"KEY=value", or None."""
    if hasattr(module, "_fork_exec"):  # 3.11 and newer
        module._fork_exec = _with_list(module._fork_exec)
    else:
        module._posixsubprocess = _Posixsubprocess(
            module._posixsubprocess
        )


class _Posixsubprocess:
    """What subprocess sees as the module ``_posixsubprocess`` before Python 3.11."""

    def __init__(self, module):
        # type: (Any) -> None
        self.fork_exec = _with_list(module.fork_exec)


def _is_hidden():
    # type: () -> bool
    """Whether the C environment has our folder no more: the app has set PYTHONPATH itself."""
    return os.environ.get("PYTHONPATH") != _original


def _with_list(fork_exec):
    # type: (Any) -> Any
    def wrapper(*arguments):
        # type: (*Any) -> Any
        try:
            variables = arguments[5]
            if variables is None and _is_hidden():
                variables = [
                    key + b"=" + value
                    for key, value in _environ._data.items()
                ]
            if variables is not None:
                mended = _mended(variables)
                arguments = arguments[:5] + (mended,) + arguments[6:]
        except Exception:
            pass
        return fork_exec(*arguments)

    return wrapper


def _mended(variables):
    # type: (list[bytes]) -> list[bytes]
    if not any(variable.startswith(_KEY) for variable in variables):
        return variables
    for at, variable in enumerate(variables):
        if variable.startswith(_PATH):
            value = _prefixed(variable[len(_PATH):])
            return variables[:at] + [_PATH + value] + variables[at + 1:]
    return list(variables) + [_PATH + _bootstrap]


def _prefixed(value):
    # type: (bytes) -> bytes
    if _bootstrap in value.split(b":"):
        return value
    return _bootstrap + b":" + value if value else _bootstrap


def _mended_mapping(environ):
    # type: (Any) -> Any
    """The same for a mapping of str or bytes, as os.execve and os.posix_spawn take it."""
    if environ is None:  # posix_spawn of Python 3.13: the C environment as it is
        if not _is_hidden():
            return None
        environ = os.environ
    values = dict(environ)
    if ENVIRONMENT_KEY in values or ENVIRONMENT_KEY.encode() in values:
        key = b"PYTHONPATH" if b"PYTHONPATH" in values else "PYTHONPATH"
        value = _prefixed(os.fsencode(values.get(key, b"")))
        values[key] = os.fsdecode(value) if isinstance(key, str) else value
    return values


def _with_mapping(original):
    # type: (Any) -> Any
    def wrapper(path, arguments, environ, *rest, **options):
        # type: (Any, Any, Any, *Any, **Any) -> Any
        try:
            environ = _mended_mapping(environ)
        except Exception:
            pass
        return original(path, arguments, environ, *rest, **options)

    _resemble(wrapper, original)
    return wrapper


def _execv(execv, execve):
    # type: (Any, Any) -> Any
    def wrapper(path, arguments):
        # type: (Any, Any) -> Any
        if _is_hidden():
            return execve(path, arguments, os.environ)
        return execv(path, arguments)

    _resemble(wrapper, execv)
    return wrapper


def _resemble(wrapper, original):
    # type: (Any, Any) -> None
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__text_signature__"):
        try:
            setattr(wrapper, name, getattr(original, name))
        except (AttributeError, TypeError):
            pass
    wrapper.__wrapped__ = original
