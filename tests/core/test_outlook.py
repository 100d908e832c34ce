"""What an edit of each function would do."""

from __future__ import annotations

import textwrap

import pytest

from onsave.core.change import hot_patterns
from onsave.core.outlook import outlook

SOURCE = textwrap.dedent(
    '''
    import enum, functools

    def main():
        def view(): return 1
        return view

    @app.route("/")
    def home(): return (lambda: 1)()

    @njit
    def fast():
        def inner(): pass

    class Shop:
        def total(self): return 1
        @functools.lru_cache
        def tax(self): return 1

    class Kind(enum.Enum):
        def label(self): return 1
    '''
).encode()

TABLE = """
main                 4  restart  ran at start-up
main.<locals>.view   5  patch    had not run when the app was ready
home                 8  patch    had not run when the app was ready
fast                 11 restart  fast is decorated by njit, which compiles it
fast.<locals>.inner  13 restart  fast is decorated by njit, which compiles it
Shop.total           16 patch    had not run when the app was ready
Shop.tax             17 patch    declared hot
Kind.label           21 restart  Kind is an enumeration
"""


def test_outlook():
    ran = {("main", 4), ("tax", 17)}
    found = outlook(SOURCE, ran, module="shop.views", hot=["shop.*:Shop.tax"])
    lines = [(p.qualname, str(p.line), p.action.value, p.reason) for p in found]
    assert lines == [tuple(line.split(None, 3)) for line in TABLE.strip().splitlines()]


def test_an_app_that_is_still_starting():
    found = outlook(b"def f(): pass\ndef g(): pass\n", {("f", 1)}, ready=False)
    assert [(p.action.value, p.reason) for p in found] == [
        ("restart", "has run already"),
        ("patch", "has not run yet"),
    ]


def test_what_is_not_known_restarts():
    reasons = {p.reason for p in outlook(b"def f(): pass\n", None)}
    assert reasons == {"it is not known whether it ran before the app was ready"}


def test_a_source_that_does_not_parse():
    with pytest.raises(SyntaxError):
        outlook(b"def f(: pass", set())


def test_hot_patterns():
    hot = ["shop.*:total", "other:*", "shop.pricing"]
    assert hot_patterns("shop.pricing", hot) == ["total", "*"]
    assert hot_patterns(None, hot) == []
