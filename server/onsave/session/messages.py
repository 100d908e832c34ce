"""What clients are told, in the protocol's form: values of the core become plain JSON."""

from __future__ import annotations

from typing import Any

from onsave.core.model import Action, Problem, Verdict

Message = dict[str, Any]

_VERBS = {
    Action.IGNORE: "nothing to do",
    Action.PATCH: "patch",
    Action.RESTART: "restart",
    Action.HOLD: "hold",
}


def verdict(session: str, made: Verdict, root: str) -> Message:
    return {
        "type": "verdict",
        "session": session,
        "run": made.run,
        "path": made.path,
        "action": made.action.value,
        "reason": made.reason,
        "message": f"{session}: {short(made.path, root)}: {_VERBS[made.action]} ({made.reason})",
        "evidence": [[e.path, e.line, e.message] for e in made.evidence],
        "functions": list(made.functions),
    }


def problem(found: Problem) -> Message:
    return {
        "path": found.path,
        "range": list(found.range),
        "message": found.message,
        "severity": found.severity,
        "kind": found.kind,
        "related": [[e.path, e.line, e.message] for e in found.related],
    }


def short(path: str, root: str) -> str:
    """A path as people call it: within ``root`` without it."""
    inside = root.rstrip("/\\") + ("\\" if "\\" in root else "/")
    return path[len(inside) :] if path.startswith(inside) else path
