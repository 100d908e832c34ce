"""What tests of sessions with snapshots have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent.conftest import INTERPRETERS
from harness import DEADLINE, SAMPLES, Project, Session

from .standing import Stand

Snapshots = dict[str, Any]


@pytest.fixture
def start(
    start: Callable[..., Session], project: Callable[[str], Project]
) -> Callable[..., Session]:
    """As everywhere, with all that snapshots can do where the project does not say otherwise."""

    def begin(what: str | Project, *arguments: Any, **options: Any) -> Session:
        where = project(what) if isinstance(what, str) else what
        if isinstance(what, str):
            options.setdefault("sample", SAMPLES[what])
        if not (where / "onsave.toml").exists():
            where.write("onsave.toml", "snapshots = \"libraries\"\n")
        return start(where, *arguments, **options)

    return begin


@pytest.fixture
def snapshots() -> Callable[..., Snapshots]:
    """Waits until the session's snapshot is as wanted (by default: ready, and nothing is under
    way); what the status says of it. That a snapshot is ready sends no event: so it is polled."""

    def wait(
        session: Session, wanted: Callable[[Snapshots], Any] | None = None
    ) -> Snapshots:
        deadline = time.monotonic() + DEADLINE
        while True:
            found: Snapshots = session.request("status")["snapshots"]
            settled = found["ready"] and len(found["processes"]) == 1
            if wanted(found) if wanted else settled:
                return found
            assert time.monotonic() < deadline, f"{found}\n{session.story()}"
            time.sleep(0.05)

    return wait


@pytest.fixture
def stand() -> Iterator[Callable[..., Stand]]:
    made: list[Stand] = []

    def begin(*command: str) -> Stand:
        made.append(Stand(*command))
        return made[-1]

    yield begin
    for each in made:
        each.close()


@pytest.fixture(params=list(INTERPRETERS))
def python(request: pytest.FixtureRequest) -> str:
    return INTERPRETERS[request.param]


@pytest.fixture
def one_python() -> str:
    return next(reversed(INTERPRETERS.values()))
