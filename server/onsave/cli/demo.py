"""``onsave demo``: a sample app, a scripted editor, and what each save did.

Everything is real: the app runs under ``onsave run``, the editor is an LSP client of its own
``onsave lsp``, and what the app answers is asked over HTTP. The exit code is 0 only if each save
did what it should.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onsave.lsp.scripted import ScriptedEditor

#: Seconds for any one thing, on the slowest machine.
PATIENCE = 60.0
#: Seconds until what the session knows is shown in the editor as well.
MARK_PATIENCE = 10.0

#: The sample app: ``GET /`` answers with a line of everything that it is built from.
APP = {
    "app.py": '''
        """A shop of three lines."""

        import os
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        import pages

        PAGES = {"/": lambda: pages.home(), "/pid": lambda: str(os.getpid())}


        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = PAGES[self.path]().encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass


        if __name__ == "__main__":
            ThreadingHTTPServer(("127.0.0.1", 0), Handler).serve_forever()
    ''',
    "pages.py": '''
        import json
        from pathlib import Path

        import prices

        HERE = Path(__file__).parent
        TEMPLATE = (HERE / "home.html").read_text()
        SETTINGS = json.loads((HERE / "settings.json").read_text())


        def home():
            return TEMPLATE.format(
                greeting="hello", price=prices.PRICE, currency=SETTINGS["currency"]
            )
    ''',
    "prices.py": "PRICE = 10\n",
    "home.html": "<p>{greeting}, {price} {currency}</p>\n",
    "settings.json": '{"currency": "euro"}\n',
    "admin_tool.py": '"""Nobody imports this."""\n\nUSERS = 1\n',
    "test_prices.py": '''
        import prices


        def test_prices():
            assert prices.PRICE > 0
    ''',
}


@dataclass(frozen=True)
class Save:
    """One save of the script.

    old, new: what is replaced in the file before; both empty: saved as it is
    actions:  the verdicts that are right
    answer:   what stands in the app's answer afterwards
    held:     whether it can't be live before it is mended
    """

    what: str
    file: str
    old: str
    new: str
    actions: tuple[str, ...]
    answer: str
    held: bool = False


SCRIPT = (
    Save("a file that nobody imports", "admin_tool.py", "1", "2", ("ignore",), "hello, 10 euro"),
    Save("a test", "test_prices.py", "> 0", "> 1", ("ignore",), "hello, 10 euro"),
    Save("a file without a change", "prices.py", "", "", ("ignore",), "hello, 10 euro"),
    Save("a leaf module", "prices.py", "10", "12", ("restart",), "hello, 12 euro"),
    Save("the body of a function", "pages.py", '"hello"', '"welcome"', ("patch", "restart"),
         "welcome, 12 euro"),
    Save("a template, read at start", "home.html", "<p>", "<p>Shop: ", ("restart",),
         "Shop: welcome, 12 euro"),
    Save("the app's configuration", "settings.json", "euro", "krone", ("restart",),
         "welcome, 12 krone"),
    Save("half a line", "prices.py", "12", "12 +", ("hold",), "welcome, 12 krone", held=True),
    Save("the line, mended", "prices.py", "12 +", "12 + 1", ("restart",), "welcome, 13 krone"),
    Save("a misspelt name", "prices.py", "12 + 1", "twelve", ("restart",), "welcome, 13 krone",
         held=True),
    Save("the name, mended", "prices.py", "twelve", "14", ("restart",), "welcome, 14 krone"),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What one save did. Times in seconds, from didSave."""

    save: Save
    action: str
    reason: str
    verdict: float
    answered: float
    process: str
    wrong: str = ""


class DemoError(Exception):
    """The demo can't go on. ``str()`` says why."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs a sample app in a temporary folder, saves its files as an editor does, and prints "
        "what each save meant. Exits with 0 if each did what it should."
    )


def main(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="onsave-demo-") as scratch:
        folder = Path(scratch).resolve() / "shop"
        write_app(folder)
        environment = {**os.environ, "ONSAVE_RUN_DIR": str(Path(scratch) / "run")}
        log = Path(scratch) / "session.log"
        with log.open("wb") as output:
            session = subprocess.Popen(
                [sys.executable, "-m", "onsave", "run", "--name", "demo", "--",
                 sys.executable, "app.py"],
                cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            rows = asyncio.run(_play(folder, environment))
        except (DemoError, TimeoutError, OSError) as error:
            print(f"onsave demo: {error or 'no answer in time'}\n", file=sys.stderr)
            print(log.read_text(errors="replace"), file=sys.stderr)
            return 1
        finally:
            _end(session)
    print(table(rows))
    wrong = [row for row in rows if row.wrong]
    for row in wrong:
        print(f"wrong: {row.save.what}: {row.wrong}", file=sys.stderr)
    print(f"\n{len(rows) - len(wrong)} of {len(rows)} saves did what they should.")
    return 1 if wrong else 0


def write_app(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, text in APP.items():
        (folder / name).write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")


async def _play(folder: Path, environment: Mapping[str, str]) -> list[Row]:
    from onsave.lsp.scripted import ScriptedEditor  # half a second of imports

    editor = ScriptedEditor()
    await editor.start([sys.executable, "-m", "onsave", "lsp"], folder, environment)
    try:
        ready = lambda: [s for s in editor.sessions if s["state"] == "ready" and s["listening"]]
        [session] = await editor.until(ready, PATIENCE)
        url = f"http://{session['listening'][0]}"
        return [await _save(editor, folder, url, save) for save in SCRIPT]
    finally:
        await editor.stop()


async def _save(editor: ScriptedEditor, folder: Path, url: str, save: Save) -> Row:
    path = folder / save.file
    before = await _ask(f"{url}/pid")
    text = path.read_text(encoding="utf-8")
    if save.old not in text:
        raise DemoError(f"{save.old!r} is not in {save.file}")
    path.write_text(text.replace(save.old, save.new, 1) if save.old else text, encoding="utf-8")
    began = time.perf_counter()
    verdict, told = await editor.save(path, PATIENCE)
    answered, wrong = await _until_answered(url, save, began)
    state = "held" if save.held else "ready"
    await editor.until(lambda: [s["state"] for s in editor.sessions] == [state], PATIENCE)
    try:
        await editor.until(lambda: _marked(editor, path) == save.held, MARK_PATIENCE)
    except TimeoutError:
        wrong = f"the editor shows {'no' if save.held else 'a'} problem in {save.file}"
    after = await _ask(f"{url}/pid")
    verdict = editor.last_verdict(path)
    wrong = wrong or _judge(save, verdict, before == after)
    process = "same" if before == after else "new"
    return Row(save, verdict["action"], verdict["reason"], told, answered, process, wrong)


async def _until_answered(url: str, save: Save, began: float) -> tuple[float, str]:
    """Ask until the answer is right: after how many seconds, and what was wrong if it never was."""
    while True:
        said = await _ask(url)
        seconds = time.perf_counter() - began
        if save.answer in said:
            return seconds, ""
        if seconds > PATIENCE:
            return seconds, f"the app still answers {said.strip()!r}, not {save.answer!r}"
        await asyncio.sleep(0.002)


def _judge(save: Save, verdict: Mapping[str, Any], same: bool) -> str:
    """What is wrong with how this save went; "" if nothing is."""
    action = verdict["action"]
    if action not in save.actions:
        return f"the verdict was {action} ({verdict['reason']}), not {' or '.join(save.actions)}"
    if (action == "restart" and not save.held) == same:
        return f"the verdict was {action}, but the process is {'the same' if same else 'another'}"
    return ""


def _marked(editor: ScriptedEditor, path: Path) -> bool:
    """Whether the editor shows a problem in the file."""
    return bool(editor.diagnostics.get(path.as_uri()))


async def _ask(url: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            text: str = response.read().decode()
            return text

    try:
        return await asyncio.to_thread(get)
    except OSError as error:
        raise DemoError(f"a request failed, and none ever should: {error}") from None


def _end(session: subprocess.Popen[bytes]) -> None:
    if session.poll() is None:
        session.send_signal(signal.SIGINT)
    try:
        session.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        session.kill()
        session.wait()


def table(rows: list[Row]) -> str:
    """The rows in columns, for a terminal."""
    head = ("saved", "file", "verdict", "reason", "told after", "right answer after", "process")
    cells = [head]
    cells += [
        (row.save.what, row.save.file, row.action, row.reason, f"{row.verdict * 1000:.1f} ms",
         f"{row.answered * 1000:.0f} ms", row.process)
        for row in rows
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in cells]  # fmt: skip
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(lines)
