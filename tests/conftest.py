"""What every test may use: a run directory of its own, sessions, editors; and their logs, when a
test fails."""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import SAMPLES, Editor, Project, Session, free_port
from harness.processes import assert_no_orphans, end, marked
from harness.session import environment

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell starts what it runs in the background; whatever we start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Sample apps have tests of their own, which are part of the samples.
collect_ignore = ["apps", "harness"]


@pytest.fixture
def run_directory() -> Iterator[Path]:
    """A run directory that no other session shares, with a path short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="onsave-test-") as folder:
        yield Path(folder) / "run"


@pytest.fixture
def mark() -> str:
    """In the environment of whatever this test starts."""
    return uuid.uuid4().hex


@pytest.fixture
def sessions(mark: str) -> Iterator[list[Session]]:
    """All sessions of this test: ended after it, when nothing of them may be left."""
    made: list[Session] = []
    yield made
    problems = []
    for session in made:
        try:
            session.stop()
        except Exception as error:
            problems.append(f"{error}\n{session.story()}")
    try:
        assert_no_orphans(mark)
    except AssertionError as error:
        problems.append(str(error))
    if problems:
        pytest.fail("\n".join(problems))


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Project]:
    """Copies a sample app, by its name or by its folder's."""

    def copy(name: str) -> Project:
        # A space and a non-ASCII letter, as people's folders have them.
        to = tmp_path / f"köpie of {name}"
        if name in SAMPLES:
            return Project.of_sample(SAMPLES[name], to)
        return Project.copy(name, to)

    return copy


@pytest.fixture
def start(
    project: Callable[[str], Project], sessions: list[Session], run_directory: Path, mark: str
) -> Callable[..., Session]:
    """Starts ``onsave run`` on a sample app (its name) or on a Project with a command.

    Waits until the app is ready unless ``wait=False``. More keywords: see ``Session``.
    """

    def begin(
        what: str | Project,
        command: tuple[str, ...] | list[str] | None = None,
        *,
        wait: bool = True,
        port: int | None = -1,
        **options: Any,
    ) -> Session:
        sample = SAMPLES[what] if isinstance(what, str) else options.pop("sample", None)
        where = project(what) if isinstance(what, str) else what
        if command is None:
            assert sample is not None
            command = sample.command
        session = Session(
            where,
            command,
            run_directory=run_directory,
            mark=mark,
            port=free_port() if port == -1 else port,
            sample=sample,
            **options,
        )
        sessions.append(session)
        session.connect()
        return session.ready() if wait else session

    return begin


@pytest.fixture
def open_editor(run_directory: Path, mark: str) -> Iterator[Callable[..., Editor]]:
    """Starts ``onsave lsp`` with a client around it."""
    made: list[Editor] = []

    def begin(folder: Path, speaks: str = "visual-studio-code", **env: str) -> Editor:
        editor = Editor(folder, environment(run_directory, mark, **env), speaks)
        made.append(editor)
        return editor

    yield begin
    for editor in made:
        editor.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Attach what the sessions of a failed test said; end what a failed set-up has started."""
    report = yield
    if report.failed and call.when != "teardown":
        arguments = getattr(item, "funcargs", {})
        for number, session in enumerate(arguments.get("sessions", ()), 1):
            report.sections.append((f"session {number}", session.story()))
        if call.when == "setup" and "mark" in arguments:
            end(marked(arguments["mark"]))
    return report


def pytest_report_header() -> str:
    return f"onsave: load 1 min {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
