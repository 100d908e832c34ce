"""A state machine plays random saves, imports, exits, late reports and failures against the core.

The world is simulated faithfully: a run reads a file's content from the disk when it loads it, its
report arrives some time later, saves are heard some time after they were written. Checked always:
at most one action in flight, no restart without a stale loaded path, a bounded number of starts.
Checked whenever everything has come to rest: nothing is stale, unless it is held or failed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from onsave.core import effects as do
from onsave.core import events as ev
from onsave.core.model import ABSENT, App, Failure, Options, Phase, Problem
from onsave.core.step import state, step

FILES = [f"/app/{name}.py" for name in "ab"]
BROKEN = "broken"  # a content that does not compile
FATAL = "fatal"  # a content that compiles, and fails when it is imported
CONTENTS = ["1", "2", "1", "2", BROKEN, FATAL, ABSENT]


@dataclass
class Process:
    """A run as it really is, whatever the core believes."""

    number: int
    beside: int | None
    has: dict[str, str] = field(default_factory=dict)
    reports: deque[ev.Event] = field(default_factory=deque)
    state: str = "starting"  # starting, waiting, up, stopping
    drained: bool = False
    late: bool = False  # a second worker is on its way


class Sessions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.app = App(options=Options(patch=False))
        self.disk = dict.fromkeys(FILES, "1")
        self.news: deque[str] = deque()  # saves that were written and not heard of yet
        self.runs: dict[int, Process] = {}
        self.asked: deque[do.Effect] = deque()  # questions to be answered
        self.timers: dict[str, float] = {}
        self.starts = 0
        self.changes = 1  # what may lead to a start: begin, saves, deaths, wishes
        self.ended = False
        self.feed(ev.Begin())

    # --- the world's side of effects ----------------------------------------------------------

    def feed(self, event: ev.Event) -> None:
        for effect in step(self.app, event):
            self.perform(effect)

    def perform(self, effect: do.Effect) -> None:
        match effect:
            case do.Start(run, _, beside, stale):
                alive = [p for p in self.runs.values() if p.state != "stopping"]
                assert len(alive) <= 1, "two actions in flight"
                assert beside is None or beside in self.runs
                self.starts += 1
                assert self.starts <= self.changes, "a restart that nothing asked for"
                self.runs[run] = Process(run, beside)
                del stale
            case do.Stop(run) | do.Kill(run):
                self.runs[run].state = "stopping"
            case do.Release(run):
                process = self.runs[run]
                others = [p for p in self.runs.values() if p is not process]
                assert all(p.drained for p in others), "released while an older run could accept"
                assert not process.late, "released before all of its workers could accept"
                process.state = "up"
                process.reports.append(ev.Listening(run, run, ":80", held=True))
            case do.Check() | do.Sync() | do.Read():
                self.asked.append(effect)
            case do.SetTimer(name, seconds):
                self.timers[name] = seconds
            case do.CancelTimer(name):
                self.timers.pop(name, None)
            case do.EndSession():
                self.ended = True
            case do.Patch():
                raise AssertionError("patching is off")
            case _:
                pass

    # --- what may happen at any time ----------------------------------------------------------

    @rule(path=st.sampled_from(FILES), content=st.sampled_from(CONTENTS))
    def save(self, path: str, content: str) -> None:
        self.disk[path] = content
        self.news.append(path)

    @precondition(lambda self: self.news)
    @rule(many=st.booleans())
    def hear(self, many: bool) -> None:
        paths = list(self.news) if many else [self.news[0]]
        for path in paths:
            self.news.remove(path)
        self.changes += 1
        self.feed(
            ev.Saved(
                tuple((p, self.disk[p] if self.app.concerns(p) else None) for p in paths)
            )
        )

    @rule(path=st.sampled_from(FILES), content=st.sampled_from(CONTENTS))
    def save_and_judge(self, path: str, content: str) -> None:
        """The usual case, at once: what a user does while nothing is under way."""
        self.save(path, content)
        self.hear(many=False)
        while self.asked:
            self.answer()

    @rule(path=st.sampled_from(FILES))
    def undo(self, path: str) -> None:
        newest = self.runs.get(self.app.newest)
        if newest and path in newest.has:
            self.save_and_judge(path, newest.has[path])

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), path=st.sampled_from(FILES))
    def load(self, data: st.DataObject, path: str) -> None:
        """A run imports a file, if it has not yet: the content is that of this very moment."""
        process = self.runs[data.draw(st.sampled_from(sorted(self.runs)))]
        if path not in process.has:
            self.import_file(process, path)

    def import_file(self, process: Process, path: str) -> None:
        content = process.has[path] = self.disk[path]
        kind = "missing" if content == ABSENT else "module"
        process.reports.append(
            ev.FilesLoaded(
                process.number, process.number, (ev.LoadedFile(path, content, kind),)
            )
        )
        if content in (BROKEN, FATAL) and process.state in ("starting", "waiting"):
            self.die(process, 1)

    @precondition(lambda self: any(p.reports for p in self.runs.values()))
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([n for n, p in self.runs.items() if p.reports]))
        event = self.runs[number].reports.popleft()
        if isinstance(event, ev.Gone):
            del self.runs[number]
        self.feed(event)

    @precondition(lambda self: any(p.state == "starting" for p in self.runs.values()))
    @rule(late=st.booleans())
    def come_up(self, late: bool) -> None:
        process = next(p for p in self.runs.values() if p.state == "starting")
        process.reports.append(ev.Started(process.number, process.number))
        process.reports.append(ev.ProcessUp(process.number, process.number))
        if process.beside is not None:
            process.state = "waiting"
            process.late = late
            workers = 2 if late else 1
            process.reports.append(ev.Waiting(process.number, process.number, 1, ":80", workers))
        else:
            process.state = "up"
            process.reports.append(ev.Listening(process.number, process.number, ":80", held=True))

    @precondition(lambda self: any(p.late and p.state == "waiting" for p in self.runs.values()))
    @rule()
    def second_worker(self) -> None:
        process = next(p for p in self.runs.values() if p.late and p.state == "waiting")
        process.late = False
        process.reports.append(ev.Waiting(process.number, process.number + 1, 2, ":80", 2))

    @precondition(lambda self: any(p.state == "stopping" for p in self.runs.values()))
    @rule()
    def drain(self) -> None:
        process = next(p for p in self.runs.values() if p.state == "stopping")
        if not process.drained:
            process.drained = True
            self.feed(ev.Drained(process.number))

    @precondition(lambda self: any(p.state == "stopping" for p in self.runs.values()))
    @rule()
    def end(self) -> None:
        self.die(next(p for p in self.runs.values() if p.state == "stopping"), 143)

    @precondition(lambda self: any(p.state != "dead" for p in self.runs.values()))
    @rule(data=st.data(), status=st.sampled_from([1, 137]))
    def crash(self, data: st.DataObject, status: int) -> None:
        alive = sorted(n for n, p in self.runs.items() if p.state != "dead")
        self.changes += 1
        self.die(self.runs[data.draw(st.sampled_from(alive))], status)

    def die(self, process: Process, status: int) -> None:
        if process.state == "dead":
            return
        if process.state != "stopping":
            process.reports.append(ev.Failed(process.number, process.number, Failure("died")))
        process.state = "dead"
        process.reports.append(ev.Gone(process.number, status))

    @precondition(lambda self: self.asked)
    @rule()
    def answer(self) -> None:
        match self.asked.popleft():
            case do.Check(id, _, paths):
                self.feed(ev.Checked(id, tuple(map(self.compile, paths))))
            case do.Sync(id, _):
                self.feed(ev.Synced(id))
            case do.Read(paths):
                self.feed(ev.FilesRead(tuple((path, self.disk[path]) for path in paths)))

    def compile(self, path: str) -> ev.CheckResult:
        content = self.disk[path]
        problem = Problem(path, (0, 0, 0, 1), "no", "syntax") if content == BROKEN else None
        return ev.CheckResult(path, content, problem)

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def fire(self, data: st.DataObject) -> None:
        self.ring(data.draw(st.sampled_from(sorted(self.timers))))

    def ring(self, name: str) -> None:
        del self.timers[name]
        if name.startswith("workers-") and int(name[8:]) in self.runs:
            self.runs[int(name[8:])].late = False  # it is waited for no more
        self.feed(ev.TimerFired(name))

    @rule()
    def wish(self) -> None:
        self.changes += 1
        self.feed(ev.RestartAsked())

    # --- what must hold -----------------------------------------------------------------------

    @invariant()
    def one_action_at_a_time(self) -> None:
        alive = [r for r in self.app.runs.values() if r.alive and r.phase is not Phase.STOPPING]
        assert len(alive) <= 2

    @rule()
    def rest(self) -> None:
        """Let everything that is under way come to its end, then look."""
        for _ in range(2000):
            if self.news:
                self.hear(many=True)
            elif any(p.reports for p in self.runs.values()):
                number = next(n for n, p in self.runs.items() if p.reports)
                event = self.runs[number].reports.popleft()
                if isinstance(event, ev.Gone):
                    del self.runs[number]
                self.feed(event)
            elif any(p.state == "starting" for p in self.runs.values()):
                process = next(p for p in self.runs.values() if p.state == "starting")
                for path in FILES:
                    if path not in process.has and process.state == "starting":
                        self.import_file(process, path)
                if process.state == "starting":
                    self.come_up(late=False)
            elif any(p.state == "stopping" for p in self.runs.values()):
                self.end()
            elif self.asked:
                self.answer()
            elif self.timers:
                self.ring(min(self.timers))
            else:
                break
        else:
            raise AssertionError("it never comes to rest")
        self.check_rest()

    def check_rest(self) -> None:
        app = self.app
        assert not app.busy, "at rest, yet busy"
        assert not app.unjudged and not app.unknown, "a save without a verdict"
        newest = app.newest_run
        assert newest is not None
        stale = {
            path
            for process in self.runs.values()
            for path, content in process.has.items()
            if content != self.disk[path]
        }
        if state(app).value == "ready":
            assert not stale, "what runs is not what was saved, and nobody says so"
            assert len(self.runs) == 1
        elif state(app).value == "held":
            mended = self.disk.values()
            assert BROKEN in mended or newest.failure, "held, and nothing to mend"
        elif state(app).value == "broken":
            assert not self.runs
            assert newest.failure or app.held
        else:
            raise AssertionError(f"at rest, yet {state(app).value}")


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
