"""What agents' messages say, checked and typed: the protocol's lists become values of the core.

A message that is not of the form that the protocol gives it raises ProtocolError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onsave.core import events as ev
from onsave.core.model import Evidence, FailedException, Failure, Frame, Problem
from onsave.session.why import Ran
from onsave_agent.protocol import ProtocolError

Message = dict[str, Any]

#: Files of these kinds hold code, but no source.
_ARCHIVES = (".pyc", ".pyo", ".zip", ".egg", ".whl", ".pyz", ".so", ".pyd")


def is_source(path: str, kind: str) -> bool:
    if kind == "main":
        return not path.endswith(_ARCHIVES)
    return kind in ("module", "missing", "extra") and path.endswith((".py", ".pyw"))


#: One file that was compiled: path, digest of what was compiled, what is wrong with it.
Compiled = tuple[str, str, Problem | None]


def compiled(results: Any, paths: Sequence[str]) -> list[Compiled] | None:
    """The results of a "checked", None where they are malformed or do not cover ``paths``."""
    try:
        made = [(str(path), str(digest), _problem(path, wrong)) for path, digest, wrong in results]
    except (KeyError, TypeError, ValueError):
        return None
    return made if {path for path, _digest, _problem in made} >= set(paths) else None


def _problem(path: str, wrong: Message | None) -> Problem | None:
    if wrong is None:
        return None
    names = ("line", "column", "end_line", "end_column")
    line, column, end_line, end_column = (max(int(wrong[name]) - 1, 0) for name in names)
    return Problem(path, (line, column, end_line, end_column), str(wrong["message"]), "syntax")


def paths(message: Message) -> tuple[str, ...]:
    if not all(isinstance(path, str) for path in message["paths"]):
        raise ProtocolError(f"{message['type']}: paths are to be text")
    return tuple(message["paths"])


def loaded_file(entry: Any) -> ev.LoadedFile:
    match entry:
        case [str(path), str() | None as digest, str(kind), str() | None as module,
              str() | None as importer]:  # fmt: skip
            return ev.LoadedFile(path, digest, kind, module, importer)
    raise ProtocolError(f"loaded: not a file: {entry!r:.80}")


def refusal(answers: list[Message]) -> tuple[str, tuple[Evidence, ...]] | None:
    """(reason, evidence) of the first process that refuses."""
    for answer in answers:
        if answer["type"] == "refused":
            listed = answer.get("evidence") or ()
            try:
                evidence = tuple(Evidence(str(p), int(line), str(m)) for p, line, m in listed)
            except (TypeError, ValueError):
                evidence = ()
            return answer["reason"], evidence
    return None


def live(answers: list[Message]) -> tuple[str, ...]:
    """What goes on with an old body, as people read it."""
    found = {
        f"{entry[2]} ({entry[0]}:{entry[1]})"
        for answer in answers
        for entry in answer["live"]
        if isinstance(entry, list) and len(entry) == 3
    }
    return tuple(sorted(found))


def ran_already(answers: list[Message]) -> tuple[str, ...]:
    """Names of the patched functions that had run before, in any of the processes."""
    return tuple(
        dict.fromkeys(
            str(entry[2])
            for answer in answers
            for entry in answer.get("ran") or ()
            if isinstance(entry, list) and len(entry) == 3
        )
    )


def ran(answers: list[Message]) -> Ran | None:
    """What had run in any of the processes; None where one does not know."""
    try:
        found = frozenset(
            (str(name), int(line)) for answer in answers for name, line in answer["functions"]
        )
    except (TypeError, ValueError):
        return None
    ready = all(answer.get("ready") is not False for answer in answers)
    return Ran(found, ready) if answers else None


def failure(message: Message) -> Failure:
    try:
        chain = tuple(_exception(raised) for raised in message["exceptions"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolError(f"failed: {type(error).__name__}: {error}") from None
    return Failure(
        summary=_summary(chain) or message["text"].strip().rpartition("\n")[2] or "it failed",
        where=message["where"],
        text=message["text"],
        fatal=message["fatal"],
        exceptions=chain,
    )


def _summary(chain: tuple[FailedException, ...]) -> str:
    if not chain:
        return ""
    raised = chain[0]
    # A message of many lines belongs into the traceback, which the app has printed.
    said = raised.message.strip().partition("\n")[0]
    name = raised.type.rpartition(".")[2]
    return f"{name}: {said}" if said else name


def _exception(raised: Message) -> FailedException:
    syntax = raised.get("syntax")
    return FailedException(
        type=str(raised["type"]),
        message=str(raised["message"]),
        relation=raised.get("relation"),
        frames=tuple(_frame(*frame[:6]) for frame in raised["frames"]),
        syntax=None if syntax is None else _syntax(*syntax),
    )


def _frame(
    path: str,
    line: int,
    function: str,
    end_line: int | None = None,
    column: int | None = None,
    end_column: int | None = None,
) -> Frame:
    return Frame(str(path), int(line), str(function), end_line, column, end_column)


def _syntax(
    path: str, line: int, column: int, end_line: int | None = None, end_column: int | None = None
) -> tuple[str, int, int, int, int]:
    end_line = end_line or line
    if end_column is None or (end_line, end_column) <= (line, column):
        end_column = column + 1
    return str(path), int(line), max(int(column), 1), int(end_line), int(end_column)
