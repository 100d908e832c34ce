"""Uncaught exceptions, as data: see "failed" in the protocol.

What Python and the app's own hooks print stays as it is; we come after them.
"""

import os
import sys

from onsave_agent import agent, reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, TracebackType
    from typing import Any

#: Bounds of what is sent of one failure.
_MOST_EXCEPTIONS = 20
_MOST_FRAMES = 60
_MOST_MESSAGE = 4000
_MOST_TEXT = 60000

_OURS = os.path.dirname(__file__) + os.sep

#: The failed import of a project's module that somebody caught: it may explain the end to come.
_remembered = None  # type: dict[str, Any] | None
_told_fatal = False


def uncaught(error, where, fatal):
    # type: (BaseException, str, bool) -> None
    """Tell of ``error``. Never raises."""
    global _told_fatal
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        return
    try:
        if fatal:
            _told_fatal = True
        _send(_failure(error, where, fatal))
    except Exception:
        pass


def remember(error):
    # type: (BaseException) -> None
    """The execution of a project's module failed with ``error``; it is told if the end comes."""
    global _remembered
    _remembered = _failure(error, "import", True)


def at_exit():
    # type: () -> None
    """Tell of what ended the main thread where the app's own sys.excepthook kept it from us, or of
    a failed import that a framework caught, printed, and made its exit of."""
    if _told_fatal:
        return
    last = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    if isinstance(last, BaseException):
        uncaught(last, "main", True)
    elif _remembered is not None:
        _send(_remembered)


def _send(failure):
    # type: (dict[str, Any]) -> None
    reports.flush()
    if agent.channel is not None:
        agent.channel.send(failure)


def _forked():
    # type: () -> None
    global _remembered, _told_fatal
    _remembered, _told_fatal = None, False


os.register_at_fork(after_in_child=_forked)


# --- where exceptions end -----------------------------------------------------------------------


def after_threading(module):
    # type: (Any) -> None
    """A thread calls what this function makes with its uncaught exception, whatever
    threading.excepthook is."""
    real = module._make_invoke_excepthook

    def make_invoke_excepthook():
        # type: () -> Any
        invoke = real()

        def invoke_excepthook(thread):
            # type: (Any) -> None
            error = sys.exc_info()[1]
            try:
                invoke(thread)
            finally:
                if error is not None:
                    uncaught(error, "thread", False)
                del error

        return invoke_excepthook

    module._make_invoke_excepthook = make_invoke_excepthook


def after_asyncio(module):
    # type: (Any) -> None
    watch_loop(module.BaseEventLoop)


def watch_loop(kind):
    # type: (Any) -> None
    """An event loop calls this for tasks whose exception nobody retrieved, and failed callbacks."""
    real = kind.call_exception_handler

    def call_exception_handler(self, context):
        # type: (Any, dict[str, Any]) -> None
        real(self, context)
        error = context.get("exception")
        of_task = not {"task", "future", "handle"}.isdisjoint(context)
        if of_task and isinstance(error, BaseException):
            uncaught(error, "task", False)

    call_exception_handler.__doc__ = real.__doc__
    kind.call_exception_handler = call_exception_handler


# --- exceptions as data -------------------------------------------------------------------------


def _failure(error, where, fatal):
    # type: (BaseException, str, bool) -> dict[str, Any]
    chain = []  # type: list[dict[str, Any]]
    _describe(error, None, chain, set())
    return {
        "type": "failed",
        "where": where,
        "fatal": fatal,
        "exceptions": chain,
        "text": _text(error)[-_MOST_TEXT:],
    }


def _describe(error, relation, chain, seen):
    # type: (BaseException, str | None, list[dict[str, Any]], set[int]) -> None
    """Append ``error`` and what stands behind it: the last one raised first."""
    if id(error) in seen or len(chain) >= _MOST_EXCEPTIONS:
        return
    seen.add(id(error))
    chain.append(
        {
            "type": type(error).__name__,
            "message": _message(error)[:_MOST_MESSAGE],
            "relation": relation,
            "frames": _frames(error.__traceback__),
            "syntax": _syntax(error) if isinstance(error, SyntaxError) else None,
        }
    )
    # Groups of Python 3.11 and of the package that brings them to older ones.
    members = getattr(error, "exceptions", ()) if type(error).__name__.endswith("Group") else ()
    for member in members:
        if isinstance(member, BaseException):
            _describe(member, "group", chain, seen)
    if error.__cause__ is not None:
        _describe(error.__cause__, "cause", chain, seen)
    elif error.__context__ is not None and not error.__suppress_context__:
        _describe(error.__context__, "context", chain, seen)


def _message(error):
    # type: (BaseException) -> str
    try:
        return str(error.msg) if isinstance(error, SyntaxError) else str(error)
    except Exception:
        return "<its message could not be made>"


def _text(error):
    # type: (BaseException) -> str
    try:
        import traceback

        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:
        return "%s: %s" % (type(error).__name__, _message(error))


def _frames(trace):
    # type: (TracebackType | None) -> list[list[object]]
    """[path, line, function, end_line, column, end_column] each, the deepest last."""
    frames = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith(_OURS):
            line = trace.tb_lineno or code.co_firstlineno
            path = _path(code.co_filename)
            end = _positions(code, trace.tb_lasti, path, line)
            frames.append([path, line, code.co_name] + end)
        trace = trace.tb_next
    if len(frames) > _MOST_FRAMES:
        frames[_MOST_FRAMES // 2:-_MOST_FRAMES // 2] = []
    return frames


def _path(name):
    # type: (str) -> str
    return name if name.startswith("<") else os.path.realpath(name)


def _positions(code, instruction, path, line):
    # type: (CodeType, int, str, int) -> list[object]
    """[end_line, column, end_column]: characters, 1-based, the end exclusive; null before 3.11."""
    nothing = [None, None, None]  # type: list[object]
    if not hasattr(code, "co_positions") or instruction < 0:
        return nothing
    for number, (_, end_line, column, end_column) in enumerate(code.co_positions()):
        if number == instruction // 2:
            if end_line is None or column is None or end_column is None:
                return nothing
            return [
                end_line,
                _characters(path, line, column) + 1,
                _characters(path, end_line, end_column) + 1,
            ]
    return nothing


def _characters(path, line, column):
    # type: (str, int, int) -> int
    """How many characters the first ``column`` bytes (of UTF-8, as code objects count) are."""
    import linecache

    text = linecache.getline(path, line).encode("utf-8", "surrogatepass")
    return len(text[:column].decode("utf-8", "replace")) if len(text) >= column else column


def _syntax(error):
    # type: (SyntaxError) -> list[object] | None
    """[path, line, column, end_line, end_column], characters, 1-based."""
    if not error.filename or not error.lineno:
        return None
    line, column = error.lineno, max(error.offset or 1, 1)
    end_line = getattr(error, "end_lineno", None) or line
    end_column = getattr(error, "end_offset", None) or 0
    if end_line < line or (end_line == line and end_column <= column):
        end_line, end_column = line, column + 1
    return [_path(error.filename), line, column, end_line, end_column]
