"""Whether files compile, as this very interpreter compiles, and whether a debugger holds it."""

import sys

from onsave_agent import reports
from onsave_agent.protocol import ABSENT, digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Compiled under this name, so that a filter for it silences its warnings and nobody else's.
_NAME = "<onsave>"


def check(message):
    # type: (dict[str, Any]) -> dict[str, Any]
    """The answer to "check"."""
    results = [_check_file(str(path)) for path in message["files"]]
    from onsave_agent import debuggers

    return {
        "type": "checked",
        "id": message["id"],
        "results": results,
        "paused": debuggers.paused(),
    }


def _check_file(path):
    # type: (str) -> list[object]
    """[path, digest, error]; a file that does not exist has nothing to compile."""
    try:
        with reports.FileIO(path) as file:
            data = file.readall()
    except FileNotFoundError:
        return [path, ABSENT, None]
    except OSError as error:
        return [path, reports.digest_of_file(path), _error(str(error.strerror or error))]
    if not (path.endswith((".py", ".pyw")) or reports.is_code(path)):
        return [path, digest(data), None]
    return [path, digest(data), compile_error(data)]


def compile_error(data):
    # type: (bytes) -> dict[str, Any] | None
    """What is wrong with the source ``data``: message, line, column, end_line, end_column."""
    filters = _silence()
    try:
        compile(data, _NAME, "exec", dont_inherit=True, optimize=-1)
        return None
    except (SyntaxError, ValueError) as error:  # The latter for NUL bytes, before Python 3.12.
        if b"\0" in data:
            return _error(str(error), data.count(b"\n", 0, data.find(b"\0")) + 1)
        return _syntax_error(error) if isinstance(error, SyntaxError) else _error(str(error))
    except (RecursionError, MemoryError, OverflowError) as error:
        return _error("%s: too deeply nested to be compiled" % type(error).__name__)
    finally:
        if filters is not None:
            filters.remove(_FILTER)


_FILTER = ("ignore", None, Warning, _NAME, 0)


def _silence():
    # type: () -> list[object] | None
    """Let warnings of what we compile vanish: ``warnings.filters`` is looked at first to last."""
    warnings = sys.modules.get("warnings") or sys.modules.get("_warnings")
    filters = getattr(warnings, "filters", None)
    if not isinstance(filters, list):
        return None
    filters.insert(0, _FILTER)
    return filters


def _syntax_error(error):
    # type: (SyntaxError) -> dict[str, Any]
    message = "%s: %s" % (type(error).__name__, error.msg)
    return _error(
        message,
        error.lineno or 1,
        error.offset or 1,
        getattr(error, "end_lineno", None),
        getattr(error, "end_offset", None),
    )


def _error(message, line=1, column=1, end_line=None, end_column=None):
    # type: (str, int, int, int | None, int | None) -> dict[str, Any]
    """Columns are 1-based characters; the end, exclusive, is at least one behind the start."""
    line, column = max(line, 1), max(column, 1)
    if not end_line or end_line < line or not end_column or end_column < 1:
        end_line, end_column = line, column + 1
    if end_line == line and end_column <= column:
        end_column = column + 1
    return {
        "message": message,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }
