"""The main module, which the import system never sees: what ran before ready, and a patch."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from patchable import Zygote, python_text

from onsave.core.diff import diff, order

SERVER = str(Path(__file__).parents[2] / "server")

SITE = f"""
import sys
sys.path.append({SERVER!r})
from onsave_agent import imports, paths, reports
class Silence:
    def send(self, message, descriptor=None): pass
import os
paths.configure({{"roots": [os.getcwd()], "ignore": [], "data": True, "edited": []}})
reports.begin(Silence())
imports.begin()
imports.install()
sys.path.remove({SERVER!r})
"""

APP = """
import json, os, sys, threading
import wave

def helper():
    return 1

def view():
    return "old"

def main():
    helper()
    from onsave_agent import patch, ran
    ran.ready()
    path = os.path.realpath(__file__)
    print(json.dumps(patch.which_ran({"id": 1, "path": path})["functions"]))
    view()
    for line in sys.stdin:
        replies = []
        ask = lambda: replies.append(patch.handle(json.loads(line)))
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        print(json.dumps([replies[0]["type"], replies[0].get("reason"), view()]))

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("how", ["script", "relative", "module", "package", "runpy"])
def test_the_main_module(how: str, zygote: Zygote, tmp_path: Path) -> None:
    file = tmp_path / ("pkg/__main__.py" if how == "package" else "app.py")
    file.parent.mkdir(exist_ok=True)
    if how == "package":
        (file.parent / "__init__.py").write_text("import colorsys\n")
    old = python_text(APP)
    file.write_bytes(old)
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "sitecustomize.py").write_text(SITE)
    command = {
        "script": [str(file)],
        "relative": ["app.py"],
        "module": ["-m", "app"],
        "package": ["-m", "pkg"],
        "runpy": ["-c", f"import runpy; runpy.run_path({str(file)!r}, run_name='__main__')"],
    }[how]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site-packages")}
    process = subprocess.Popen(
        [zygote.python, *command], cwd=tmp_path, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin and process.stdout
    try:
        ran = {name for name, _line in json.loads(process.stdout.readline())}
        assert ran == {"helper", "main"}

        def save(new: bytes, running: bytes = old) -> list[object]:
            change = diff(running, new, path=str(file))
            sent = order(os.path.realpath(file), running, new, change)
            message = {"type": "patch", "id": 1, "phase": "now", "files": [sent]}
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            return list(json.loads(process.stdout.readline()))

        assert save(b"# moved\n" + old.replace(b"return 1", b"return 2")) == [
            "refused", "helper ran at start-up", "old"
        ]  # fmt: skip
        patched = b"# moved\n" + old.replace(b'"old"', b'"new"')
        assert save(patched) == ["patched", None, "new"]
        less = patched.replace(b"import wave\n", b"")
        assert save(less, patched) == ["patched", None, "new"]
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
