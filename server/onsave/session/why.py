"""``onsave why FILE``: what a save of it would do, and why. A look at the core, no decision."""

from __future__ import annotations

from typing import Any

from onsave.core import verdict as verdicts
from onsave.core.model import App


def why(app: App, path: str, digest: str | None) -> dict[str, Any]:
    """See the protocol's "why". ``digest``: of the file as it is now, None where it is not read."""
    run = app.newest_run
    entry = run.loaded.get(path) if run else None
    answer: dict[str, Any] = {
        "path": path,
        "loaded": entry is not None,
        "kind": entry.kind if entry else None,
        "module": entry.module if entry else None,
        "importer": entry.importer if entry else None,
        "chain": _chain(app, path),
        "since": run.number if run and entry else None,
        "saved": bool(run and entry and digest is not None and not run.is_stale(path, digest)),
        "functions": [],
    }
    if entry is None:
        would = {"action": "ignore", "reason": verdicts.of_unloaded(app, path).reason}
    elif entry.reread:
        would = {"action": "ignore", "reason": verdicts.of_unchanged(app, path).reason}
    else:
        what = "code" if entry.kind in verdicts.CODE else f"{entry.kind} file"
        would = {"action": "restart", "reason": f"it is loaded: changed {what} needs a restart"}
    return {**answer, "would": would}


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
