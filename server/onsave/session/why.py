"""``onsave why FILE``: what a save of it would do, and why. A look at the core, no decision."""

from __future__ import annotations

from typing import Any

from onsave.core import verdict as verdicts
from onsave.core.model import App

#: The functions that had run before the app was ready, as the protocol's "ran" has them; None
#: where nobody knows.
Ran = set[tuple[str, int]] | None


def why(
    app: App, path: str, digest: str | None, source: bytes | None = None, ran: Ran = None
) -> dict[str, Any]:
    """See the protocol's "why".

    digest: of the file as it is now, None where it is not read
    source: what runs, None where that is not known
    """
    run = app.newest_run
    entry = run.loaded.get(path) if run else None
    functions = _functions(source, ran) if entry and source and app.options.patch else []
    return {
        "path": path,
        "loaded": entry is not None,
        "kind": entry.kind if entry else None,
        "module": entry.module if entry else None,
        "importer": entry.importer if entry else None,
        "chain": _chain(app, path),
        "since": run.number if run and entry else None,
        "saved": bool(run and entry and digest is not None and not run.is_stale(path, digest)),
        "would": _would(app, path, functions),
        "functions": functions,
    }


def _would(app: App, path: str, functions: list[list[str]]) -> dict[str, str]:
    run = app.newest_run
    entry = run.loaded.get(path) if run else None
    if entry is None:
        return {"action": "ignore", "reason": verdicts.of_unloaded(app, path).reason}
    if entry.reread:
        return {"action": "ignore", "reason": verdicts.of_unchanged(app, path).reason}
    if entry.kind not in verdicts.CODE:
        return {"action": "restart", "reason": f"a change of a loaded {entry.kind} file"}
    if any(what == "patch" for _name, what, *_ in functions):
        return {"action": "patch", "reason": "if only bodies change of functions that allow it"}
    return {"action": "restart", "reason": "a change of loaded code"}


def _functions(source: bytes, ran: Ran) -> list[list[str]]:
    """[qualified name, "patch" | "restart", reason] of each function, by line."""
    import ast

    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    found: list[list[str]] = []

    def look(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                if ran is None:
                    verdict = ["restart", "whether it ran before the app was ready is not known"]
                elif (child.name, first) in ran:
                    verdict = ["restart", "it ran before the app was ready"]
                else:
                    verdict = ["patch", "it did not run before the app was ready"]
                found.append([prefix + child.name, *verdict])
                look(child, f"{prefix}{child.name}.<locals>.")
            elif isinstance(child, ast.ClassDef):
                look(child, f"{prefix}{child.name}.")
            else:
                look(child, prefix)

    look(tree, "")
    return found


def _chain(app: App, path: str) -> list[str]:
    """Who imported it, who imported that, … up to the app's own start: "path:line" each."""
    run = app.newest_run
    chain: list[str] = []
    seen = {path}
    while run is not None:
        entry = run.loaded.get(path)
        if entry is None or entry.importer is None:
            break
        path = entry.importer.rpartition(":")[0]
        if path in seen:
            break
        seen.add(path)
        chain.append(entry.importer)
    return chain
