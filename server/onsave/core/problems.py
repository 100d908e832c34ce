"""What is to be mended, and where: the source of all diagnostics."""

from __future__ import annotations

from onsave.core.model import App, Evidence, FailedException, Failure, Frame, Problem

Problems = tuple[Problem, ...]


def problems(app: App, workspace: tuple[str, ...] = ()) -> Problems:
    """All problems that stand now: what does not compile, the newest run's failure, the settings.

    A failure stands at its deepest frame in ``workspace`` (by default: outside of installed
    packages and the standard library); the other frames are told as related places.
    """
    run = app.newest_run
    found = list(app.held.values())
    if run is not None and run.failure is not None:
        found += [p for p in _of_failure(run.failure, workspace) if p.path not in app.held]
    return (*found, *app.config_problems)


def has_place(failure: Failure) -> bool:
    """Whether it tells of a place in code that is the user's own."""
    return bool(_of_failure(failure, ()))


def _of_failure(failure: Failure, workspace: tuple[str, ...]) -> list[Problem]:
    ours = [
        (raised, [frame for frame in raised.frames if _is_ours(frame.path, workspace)])
        for raised in failure.exceptions
    ]
    related = tuple(
        Evidence(frame.path, frame.line, f"{_told(raised)} in {frame.function}")
        for raised, frames in ours
        for frame in reversed(frames)
    )
    for raised, frames in ours:
        severity = "error" if failure.fatal else "warning"
        message = failure.summary if failure.where == "end" else _told(raised)
        if raised.syntax is not None and _is_ours(raised.syntax[0], workspace):
            path, line, column, end_line, end_column = raised.syntax
            where = (line - 1, max(column - 1, 0), end_line - 1, max(end_column - 1, 0))
            return [Problem(path, where, message, "failure", severity, related)]
        if frames:
            deepest = frames[-1]
            others = tuple(e for e in related if (e.path, e.line) != (deepest.path, deepest.line))
            return [Problem(deepest.path, _range(deepest), message, "failure", severity, others)]
    return []


def _told(raised: FailedException) -> str:
    return f"{raised.type}: {raised.message}" if raised.message else raised.type


def _range(frame: Frame) -> tuple[int, int, int, int]:
    line = frame.line - 1
    if frame.column is None or frame.end_column is None or frame.end_line is None:
        return line, 0, line + 1, 0
    return line, frame.column - 1, frame.end_line - 1, frame.end_column - 1


def _is_ours(path: str, workspace: tuple[str, ...]) -> bool:
    path = path.replace("\\", "/")
    if path.startswith("<"):
        return False
    if workspace:
        inside = any(path.startswith(root.rstrip("/") + "/") for root in workspace)
        return inside and "/site-packages/" not in path
    return not any(
        part in path for part in ("/site-packages/", "/dist-packages/", "/lib/python3.")
    )
