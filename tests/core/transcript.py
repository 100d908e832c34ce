"""A small language for what happens (>) and what is done about it (<).

    [case an unloaded file]
    > saved notes.py
    < tell ignore notes.py: not loaded

Paths are relative to /app; ``path@x`` is a path with the content x, ``path@-`` a path that is not
there. Sources for patches are looked up by content in the case's ``| x: source`` lines. What only
concerns clocks and lights (timers, status repeats) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from onsave.core import effects as do
from onsave.core import events as ev
from onsave.core.model import ABSENT, App, FailedException, Failure, Frame, Options, Problem
from onsave.core.step import state, step

ROOT = "/app/"


@dataclass
class Case:
    name: str
    file: Path
    line: int
    steps: list[tuple[str, list[str]]] = field(default_factory=list)
    sources: dict[str, bytes] = field(default_factory=dict)


def cases(file: Path) -> Iterator[Case]:
    case: Case | None = None
    for number, raw in enumerate(file.read_text().splitlines(), 1):
        line = raw.strip()
        if match := re.fullmatch(r"\[case (.+)\]", line):
            if case:
                yield case
            case = Case(match[1], file, number)
        elif not line or line.startswith("#"):
            continue
        elif case is None:
            raise ValueError(f"{file}:{number}: outside of any case")
        elif line.startswith("|"):
            name, _, source = line[1:].partition(":")
            case.sources[name.strip()] = source.strip().replace("\\n", "\n").encode() + b"\n"
        elif line.startswith(">"):
            case.steps.append((line[1:].strip(), []))
        elif line.startswith("<"):
            case.steps[-1][1].append(line[1:].strip())
        else:
            raise ValueError(f"{file}:{number}: {raw!r}")
    if case:
        yield case


def play(case: Case) -> list[tuple[str, list[str]]]:
    """Each event of the case with what is done about it."""
    app = App()
    played = []
    for line, _ in case.steps:
        before = state(app)
        done = [said for effect in step(app, event(line, app, case)) if (said := say(effect))]
        if state(app) is not before:
            done.append(f"state {state(app).value}")
        played.append((line, done))
    return played


def event(line: str, app: App, case: Case) -> ev.Event:
    verb, *words = line.split()
    return VERBS[verb](words, app, case)


def path(word: str) -> str:
    return word if word.startswith("/") else ROOT + word


def content(word: str) -> tuple[str, str | None]:
    name, _, digest = word.partition("@")
    return path(name), {"": None, "-": ABSENT}.get(digest, digest)


def known(word: str) -> tuple[str, str]:
    name, digest = content(word)
    assert digest is not None, f"{word}: say with which content"
    return name, digest


def loaded(words: list[str], app: App, case: Case) -> ev.Event:
    run, pid, kind = int(words[0]), 10 * int(words[0]), "module"
    files = []
    for word in words[1:]:
        if word.endswith(":"):
            kind = word[:-1]
        elif word.startswith("pid="):
            pid = int(word[4:])
        else:
            name, digest = content(word)
            files.append(ev.LoadedFile(name, digest, kind, name.rsplit("/", 1)[-1].split(".")[0]))
    return ev.FilesLoaded(run, pid, tuple(files))


def saved(words: list[str], app: App, case: Case) -> ev.Event:
    files = []
    for word in words:
        name, digest = content(word)
        files.append((name, digest if app.concerns(name) else None))
    return ev.Saved(tuple(files), batch=1)


def checked(words: list[str], app: App, case: Case) -> ev.Event:
    """``views.py@b!3`` does not compile, at line 3; ``paused=…`` last."""
    assert app.checking is not None, "nothing is being checked"
    run = app.newest_run
    assert run is not None
    results, paused = [], None
    for word in words:
        if word.startswith("paused="):
            paused = word[7:]
            continue
        word, _, line = word.partition("!")
        name, digest = known(word)
        problem = None
        if line:
            row = int(line) - 1
            problem = Problem(name, (row, 0, row, 1), "invalid syntax", "syntax")
        entry = run.loaded.get(name)
        old = next(iter(entry.digests.values()), None) if entry else None
        results.append(
            ev.CheckResult(
                name, digest, problem, case.sources.get(old or ""), case.sources.get(digest)
            )
        )
    return ev.Checked(app.checking.id, tuple(results), paused)


def failed(words: list[str], app: App, case: Case) -> ev.Event:
    """``failed 2 views.py:3 NameError``, with ``alive`` where the run lives on."""
    run, place, error, *rest = words
    name, _, line = place.rpartition(":")
    frame = Frame(path(name), int(line), "<module>")
    return ev.Failed(
        int(run),
        10 * int(run),
        Failure(
            f"{error} ({place})",
            text=" ".join(rest),
            fatal="alive" not in rest,
            exceptions=(FailedException(error, "", None, (frame,)),),
        ),
    )


def gone(words: list[str], app: App, case: Case) -> ev.Event:
    signal = next((word for word in words[2:] if word.startswith("SIG")), None)
    return ev.Gone(int(words[0]), int(words[1]), signal, "oom" in words)


def options(words: list[str], app: App, case: Case) -> ev.Event:
    given: dict[str, object] = {}
    for word in words:
        name, _, value = word.partition("=")
        given[name] = {"": True, "no": False}.get(value, value)
    restart = bool(given.pop("restart", False))
    return ev.ConfigRead(Options(**given), restart=restart)  # type: ignore[arg-type]


VERBS: dict[str, Callable[[list[str], App, Case], ev.Event]] = {
    "begin": lambda w, a, c: ev.Begin(),
    "options": options,
    "started": lambda w, a, c: ev.Started(int(w[0]), 10 * int(w[0]), tuple(map(known, w[1:]))),
    "cannot-start": lambda w, a, c: ev.CannotStart(
        int(w[0]), "no such command", extra=tuple(map(known, w[1:]))
    ),
    "process": lambda w, a, c: ev.ProcessUp(int(w[0]), int((w[1:] or [10 * int(w[0])])[0])),
    "process-down": lambda w, a, c: ev.ProcessDown(int(w[0]), int(w[1])),
    "loaded": loaded,
    "reread": lambda w, a, c: ev.FilesReread(int(w[0]), tuple(map(path, w[1:]))),
    "wrote": lambda w, a, c: ev.FilesWritten(int(w[0]), tuple(map(path, w[1:]))),
    "listening": lambda w, a, c: ev.Listening(int(w[0]), 10 * int(w[0]), w[1], "ours" not in w),
    "waiting": lambda w, a, c: ev.Waiting(
        int(w[0]), 10 * int(w[0]), int(w[1]), ":80", int(w[3]) if "of" in w else 1
    ),
    "settled": lambda w, a, c: ev.Settled(int(w[0])),
    "failed": failed,
    "drained": lambda w, a, c: ev.Drained(int(w[0])),
    "gone": gone,
    "saved": saved,
    "read": lambda w, a, c: ev.FilesRead(tuple(map(known, w))),
    "checked": checked,
    "synced": lambda w, a, c: ev.Synced(a.syncing.id if a.syncing else 0),
    "patched": lambda w, a, c: ev.Patched(
        a.patching.id if a.patching else next(iter(a.lingering), 0),
        tuple(word for word in w if not word.startswith("ran=")),
        tuple(word[4:] for word in w if word.startswith("ran=")),
    ),
    "refused": lambda w, a, c: ev.Refused(a.patching.id if a.patching else 0, " ".join(w)),
    "resumed": lambda w, a, c: ev.Resumed(int(w[0])),
    "quiet": lambda w, a, c: ev.TimerFired("quiet"),
    "timer": lambda w, a, c: ev.TimerFired(w[0]),
    "restart": lambda w, a, c: ev.RestartAsked("force" in w),
    "stop": lambda w, a, c: ev.StopAsked(0),
    "interrupt": lambda w, a, c: ev.Interrupted(),
}


def short(paths: tuple[str, ...]) -> str:
    return " ".join(name.removeprefix(ROOT) for name in paths)


def say(effect: do.Effect) -> str | None:
    match effect:
        case do.Start(run, cause, beside, _):
            return f"start {run}" + (f" beside {beside}" if beside else "") + f" ({cause})"
        case do.Stop(run, drain, why):
            return f"stop {run}" + (" drained" if drain else "") + f" ({why})"
        case do.Kill(run):
            return f"kill {run}"
        case do.Forward(run):
            return f"forward {run}"
        case do.Release(run, ids):
            return f"release {run} {' '.join(map(str, ids))}"
        case do.CloseSockets():
            return "close sockets"
        case do.AwaitResumed(run):
            return f"await resumed {run}"
        case do.Sync(_, run):
            return f"sync {run}"
        case do.Check(_, run, paths):
            return f"check {run} {short(paths)}"
        case do.Patch(_, run, files):
            return f"patch {run} {short(tuple(file.path for file in files))}"
        case do.Recheck(_, run):
            return f"recheck {run}"
        case do.Read(paths):
            return f"read {short(paths)}"
        case do.Tell(verdict, _):
            return f"tell {verdict.action.value} {short((verdict.path,))}: {verdict.reason}"
        case do.Outcome(what, run, reason):
            return f"{what} {run}: {reason}"
        case do.SetTimer(name, seconds) if name != "quiet" or seconds > 0.02:
            return f"timer {name} {seconds:g}"
        case do.EndSession(code):
            return f"end {code}"
        case _:
            return None
