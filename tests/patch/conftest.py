"""Every test here runs in each interpreter found: ``zygote`` is one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from patchable import App, Zygote, interpreters, name


@pytest.fixture(scope="session", params=interpreters(), ids=name)
def zygote(request: pytest.FixtureRequest) -> Iterator[Zygote]:
    made = Zygote(request.param)
    yield made
    made.close()


@pytest.fixture
def run(zygote: Zygote, tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Start an app from its files: ``run(app="…", helper="…")``."""
    apps: list[App] = []

    def start(files: Mapping[str, str | bytes] | None = None, /, **named: Any) -> App:
        options = {key: named.pop(key) for key in ("hot", "start") if key in named}
        every = {**(files or {}), **{f"{module}.py": text for module, text in named.items()}}
        folder = tmp_path / f"app{len(apps)}"
        folder.mkdir()
        apps.append(App(zygote, folder, every, **options))
        return apps[-1]

    yield start
    for app in apps:
        app.close()
