"""What the editor's file watcher tells once more gets no verdict of its own, unless it is news."""

from __future__ import annotations

from onsave.core import effects as do
from onsave.core import events as ev
from onsave.core.model import App
from onsave.core.step import step


def up() -> App:
    app = App()
    step(app, ev.Begin())
    step(app, ev.Started(1, 10))
    step(app, ev.ProcessUp(1, 10))
    step(app, ev.FilesLoaded(1, 10, (ev.LoadedFile("/w/views.py", "a", "module", "views"),)))
    step(app, ev.Listening(1, 10, ":80", True))
    return app


def told(app: App, *files: tuple[str, str | None], origin: str) -> list[do.Effect]:
    effects = step(app, ev.Saved(files, origin, 1))
    return [effect for effect in effects if isinstance(effect, (do.Tell, do.Check))]


def test_an_echo_says_nothing() -> None:
    app = up()
    assert len(told(app, ("/w/views.py", "a"), origin="save")) == 1
    assert told(app, ("/w/views.py", "a"), origin="echo") == []
    assert len(told(app, ("/w/notes.md", None), origin="save")) == 1
    assert told(app, ("/w/notes.md", None), origin="echo") == []
    assert isinstance(told(app, ("/w/views.py", "b"), origin="save")[0], do.Check)
    assert told(app, ("/w/views.py", "b"), origin="echo") == []


def test_other_content_is_no_echo() -> None:
    app = up()
    told(app, ("/w/views.py", "a"), origin="save")
    (check,) = told(app, ("/w/views.py", "b"), origin="echo")
    assert isinstance(check, do.Check)
