"""``onsave why FILE``: what a save of it would do, and why. A look at the core, no decision."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from onsave.core import verdict as verdicts
from onsave.core.model import App, Loaded

_LINE = re.compile(r":\d+$")


@dataclass(frozen=True)
class Ran:
    """The functions that had run before the app was ready, as the protocol's "ran" has them.

    ready: whether it is ready; else they are those that have run so far
    """

    functions: frozenset[tuple[str, int]]
    ready: bool = True


def why(
    app: App, path: str, digest: str | None, source: bytes | None = None, ran: Ran | None = None
) -> dict[str, Any]:
    """See the protocol's "why".

    digest: of the file as it is now, None where it is not read
    source: what runs, None where that is not known
    ran:    None where nobody knows
    """
    run = app.newest_run
    entry = run.loaded.get(path) if run else None
    functions: list[list[str]] = []
    if entry is not None and source is not None and app.options.patch:
        functions = _functions(app, entry, source, ran)
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


def _functions(app: App, entry: Loaded, source: bytes, ran: Ran | None) -> list[list[str]]:
    """[qualified name, "patch" | "restart", reason] of each function, by line."""
    # Not at the top: the syntax is only needed by who asks.
    from onsave.core.outlook import outlook

    functions, ready = (ran.functions, ran.ready) if ran else (None, True)
    try:
        found = outlook(source, functions, ready=ready, module=entry.module, hot=app.options.hot)
    except SyntaxError:
        return []
    return [[prospect.qualname, prospect.action.value, prospect.reason] for prospect in found]


def _chain(app: App, path: str) -> list[str]:
    """Who imported it, who imported that, … up to the app's own start: "path:line" each.

    Where one library imports another, "path" alone.
    """
    run = app.newest_run
    chain: list[str] = []
    seen = {path}
    while run is not None:
        entry = run.loaded.get(path)
        if entry is None or entry.importer is None:
            break
        path = _LINE.sub("", entry.importer)
        if path in seen:
            break
        seen.add(path)
        chain.append(entry.importer)
    return chain
