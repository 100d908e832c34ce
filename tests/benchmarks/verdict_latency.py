"""From didSave to onsave/verdict, by loaded files and by size of the workspace.

A real LSP client, a real server, a real session. "not loaded" and "same bytes" are told by the
session alone, "held" after the app's own interpreter has compiled the file.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import measure

from apps.wide import generate
from onsave.lsp.scripted import ScriptedEditor

#: (modules that the app loads, further files in the workspace)
SIZES = ((100, 0), (2_000, 0), (20_000, 0), (100, 100_000))
ROUNDS = int(os.environ.get("ONSAVE_BENCH_ROUNDS", "40"))


def table() -> str:
    rows = [row(modules, files) for modules, files in SIZES]
    head = ("files loaded", "in the workspace", "not loaded: ms", "same bytes: ms", "held: ms")
    return measure.markdown(head, rows)


def row(modules: int, files: int) -> tuple[object, ...]:
    with measure.scratch() as folder:
        generate(folder / "wide", modules, files)
        project = measure.Project(folder / "wide")
        command = ["{python}", "main.py", "--port", "{port}"]
        with measure.session_of(project, command, measure.free_port()) as session:
            times = asyncio.run(measured(project.path, session.environment))
    return (
        f"{modules:,}",
        f"{modules + files:,}",
        *(measure.milliseconds(times[kind]) for kind in ("unloaded", "same", "held")),
    )


async def measured(folder: Path, environment: dict[str, str]) -> dict[str, list[float]]:
    editor = ScriptedEditor()
    await editor.start([sys.executable, "-m", "onsave", "lsp"], folder, environment)
    try:
        await editor.until(lambda: editor.sessions, measure.PATIENCE)
        leaf, unused = folder / "leaf.py", folder / "unused.py"
        good = leaf.read_text()
        times: dict[str, list[float]] = {"unloaded": [], "same": [], "held": []}

        async def save(path: Path, kind: str, action: str) -> None:
            verdict, seconds = await editor.save(path, measure.PATIENCE)
            assert verdict["action"] == action, verdict
            times[kind].append(seconds)

        for number in range(ROUNDS):
            unused.write_text(f"UNUSED = {number}\n")
            await save(unused, "unloaded", "ignore")
            await save(leaf, "same", "ignore")
            leaf.write_text(f"{good}def half{number}(\n")
            await save(leaf, "held", "hold")
            leaf.write_text(good)
            verdict, _ = await editor.save(leaf, measure.PATIENCE)
            assert verdict["action"] == "ignore", verdict
        return times
    finally:
        await editor.stop()
