"""Real histories, replayed: after each file, the running state and a fresh start agree.

Each package's releases, one after the other, are saved file by file into an app that has all of its
modules loaded. What is compared is all that the modules are: code, constants, signatures, classes.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
from histories import RELEASES, Release, releases
from patchable import App, Zygote, interpreters
from test_differential import difference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


class Replay:
    """One package, in a folder, with the app that runs it (None while it does not start)."""

    def __init__(self, zygote: Zygote, folder: Path, package: str, first: Release) -> None:
        self.zygote, self.folder, self.package = zygote, folder, package
        self.tally: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.files: dict[str, str | bytes] = {**first}
        self.failing: set[str] | None = None
        self.app = self.start()

    def start(self) -> App | None:
        files = dict(self.files)
        modules = [
            name[:-3].replace("/", ".").removesuffix(".__init__")
            for name in sorted(files)
            if not name.endswith("__main__.py")
        ]
        lines = "FAILED = []\n" + "".join(
            f"try: import {m}\nexcept Exception: FAILED.append({m!r})\n" for m in modules
        )
        self.folder.mkdir(exist_ok=True)
        app = App(self.zygote, self.folder, {**files, "app.py": lines}, start=False)
        app.start()
        failed = set(ast.literal_eval(app.ask("FAILED")))
        if self.failing is None:
            self.failing = failed  # those for Windows, say
        if not failed <= self.failing:
            app.close()
            return None
        return app

    def save(self, label: str, name: str, source: bytes) -> None:
        """One file of the next release: a commit."""
        self.files[name] = source
        app = self.app
        if app is None or name not in app.running:
            self.restart("new file" if app else "broken")
            return
        reply = app.save_and_tell({name: source})
        if reply["type"] == "refused":
            self.reasons[str(reply["reason"])] += 1
            self.restart("restarted")
            return
        if reply.get("live"):
            self.restart("live")
            return
        verdict = "same" if reply["type"] == "same" else "patched"
        module = name[:-3].replace("/", ".").removesuffix(".__init__")
        fresh = self.start()
        if fresh is None:
            self.wrong.append(f"{label} {name}: {verdict}, but a fresh start fails")
            self.tally["wrong"] += 1
            self.app = None
            app.close()
            return
        try:
            if app.ask(f"{module!r} in __import__('sys').modules") == "True":
                old, new = app.fingerprint(module), fresh.fingerprint(module)
                found = difference(old, new)
                if found:
                    self.wrong.append(f"{label} {name}: {found[:3]}")
                    self.tally["wrong"] += 1
                    return
        finally:
            fresh.close()
        self.tally[verdict] += 1

    def restart(self, why: str) -> None:
        if self.app is not None:
            self.app.close()
        self.app = self.start()
        self.tally[why if self.app is not None else "broken"] += 1


@pytest.fixture(scope="module")
def python() -> Zygote:
    # The interpreter that has what the packages need.
    import sys

    assert sys.executable in interpreters()
    made = Zygote(sys.executable)
    yield made
    made.close()


@pytest.mark.parametrize("package", RELEASES)
def test_a_history(package: str, python: Zygote, tmp_path: Path) -> None:
    try:
        history = releases(package)
    except OSError as error:
        pytest.skip(f"the releases of {package} can't be had: {error}")
    replay = Replay(python, tmp_path / "app", package, history[0][1])
    assert replay.app is not None, "the first release does not start"
    for version, files in history[1:]:
        for name in sorted({*files, *replay.files}):
            if name in files and replay.files.get(name) != files[name]:
                replay.save(version, name, files[name])
            elif name not in files and name.startswith(package):
                del replay.files[name]
                (replay.folder / name).unlink()
                replay.restart("deleted file")
    if replay.app is not None:
        replay.app.close()
    print(f"\n{package}: {sum(replay.tally.values())} commits: {dict(replay.tally)}")
    print("  " + "\n  ".join(f"{n} {reason}" for reason, n in replay.reasons.most_common(12)))
    assert not replay.wrong, "\n".join(replay.wrong)
    assert replay.tally["patched"] > 0
