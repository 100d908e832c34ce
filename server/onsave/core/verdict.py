"""What one save means, and why: made here, once, and shown everywhere.

A verdict is a value with a reason. None of these functions changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onsave.core.events import CheckResult
from onsave.core.model import ABSENT, Action, App, Evidence, Options, Run, Verdict

if TYPE_CHECKING:
    from onsave.core.change import Change

#: Kinds of loaded paths that hold Python source that the run's own compiler has seen.
CODE = frozenset({"module", "main"})


def of_unloaded(app: App, path: str) -> Verdict:
    """The verdict on a path that no process of the newest run has loaded."""
    run = app.newest_run
    if run is None:
        reason = "the app has not been started yet"
    elif not run.alive and not run.loaded:
        reason = "no app is running, and what it would load is not known"
    elif not run.alive:
        reason = "no app is running, and this could not mend it"
    elif not run.up:
        reason = "not loaded so far; the run on its way takes what is saved"
    elif not run.had_agent:
        reason = "not known: no agent in the app (python -I, -E or -S?); restart by hand"
    else:
        reason = "not loaded"
    return Verdict(Action.IGNORE, path, reason, app.newest)


def of_unchanged(app: App, path: str) -> Verdict:
    """The verdict on a loaded path that is not stale."""
    run = app.newest_run
    entry = run.loaded.get(path) if run else None
    reason = "read anew on each use" if entry and entry.reread else "same bytes"
    return Verdict(Action.IGNORE, path, reason, app.newest)


def of_repeated(app: App, path: str) -> Verdict:
    """The verdict on a stale path whose very content has been judged already."""
    if app.held:
        return _held(app, path, app.newest)
    if app.busy:
        return Verdict(Action.IGNORE, path, "already being acted upon", app.newest)
    return Verdict(Action.IGNORE, path, "same bytes", app.newest)


def of_stale(app: App, run: Run, results: Sequence[CheckResult]) -> tuple[Verdict, ...]:
    """The verdicts on all stale paths together: one transaction, in which the gravest word wins.

    A file that does not compile holds all; else one that needs a restart restarts for all; else
    all are patched. The verdict that decided comes first. ``app.held`` must be up to date.
    """
    if app.held:
        return tuple(_held(app, result.path, run.number) for result in results)
    verdicts = [_of_result(app.options, run, result) for result in results]
    gravest = next((v for v in verdicts if v.action is Action.RESTART), None)
    if gravest is None:
        return tuple(verdicts)
    others = (
        v
        if v.action is not Action.PATCH
        else Verdict(
            Action.RESTART,
            v.path,
            f"saved together with {_name(gravest.path)}: {gravest.reason}",
            run.number,
            gravest.evidence,
        )
        for v in verdicts
        if v is not gravest
    )
    return (gravest, *others)


def of_refused(verdict: Verdict, reason: str, evidence: tuple[Evidence, ...]) -> Verdict:
    """The verdict that takes the place of a patch which the app refused."""
    if evidence:
        reason += f" ({_name(evidence[0].path)}:{evidence[0].line})"
    return Verdict(Action.RESTART, verdict.path, reason, verdict.run, evidence or verdict.evidence)


def _of_result(options: Options, run: Run, result: CheckResult) -> Verdict:
    path = result.path
    entry = run.loaded[path]
    digests = set(entry.digests.values())

    def restart(reason: str, *evidence: Evidence) -> Verdict:
        return Verdict(Action.RESTART, path, reason, run.number, evidence)

    if result.digest == ABSENT:
        return restart("deleted")
    if ABSENT in digests:
        return restart("was looked for in vain, and is there now")
    if entry.kind == "extra":
        return restart("extra file changed")
    if entry.kind == "data":
        return restart("data file changed")
    if entry.kind not in CODE:
        return restart(f"{entry.kind} changed")
    if None in digests:
        return restart("changed; which version was loaded is not known")
    if not run.alive:
        return restart("changed")
    if not options.patch:
        return restart("changed; patching is switched off")
    if not run.up:
        return restart("changed while the app was starting")
    if len(digests) > 1:
        return restart("processes of the app run different versions of it")
    if result.old is None or result.new is None:
        return restart("changed; the source that runs is not known")
    # Not at the top: it knows all of the language's syntax, and no start of an app needs it.
    from onsave.core.diff import diff

    return _of_change(run, path, diff(result.old, result.new, path=path))


def _of_change(run: Run, path: str, change: Change) -> Verdict:
    if change.kind == "same":
        return Verdict(Action.IGNORE, path, "same code and same positions", run.number)
    if change.kind == "restart":
        evidence = (Evidence(path, change.line, change.reason),) if change.line else ()
        return Verdict(Action.RESTART, path, change.reason, run.number, evidence)
    if change.kind == "positions":
        return Verdict(Action.PATCH, path, "same code at other lines", run.number)
    return Verdict(
        Action.PATCH,
        path,
        change.in_words(),
        run.number,
        functions=change.functions,
    )


def _held(app: App, path: str, run: int) -> Verdict:
    problem = app.held.get(path)
    if problem is not None:
        line = problem.range[0] + 1
        reason = f"does not compile: {problem.message} (line {line})"
        evidence = (Evidence(path, line, problem.message),)
        return Verdict(Action.HOLD, path, reason, run, evidence)
    culprit = min(app.held)
    reason = f"waits for {_name(culprit)}, which does not compile"
    evidence = (Evidence(culprit, app.held[culprit].range[0] + 1, app.held[culprit].message),)
    return Verdict(Action.HOLD, path, reason, run, evidence)


def _name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]
