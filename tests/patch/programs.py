"""Small random programs and random edits of them, for hypothesis to draw and to shrink.

A program is two files, ``helper`` and ``app``, each a list of blocks. A block is a piece of source
with holes; an edit fills a hole anew, adds, drops, moves or lays out blocks. Whatever comes of it
may be nonsense (a function that is called before it is defined): then a fresh process fails, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[Any], Any]

#: kind → source. ``{n}`` is the block's number, ``{k}`` an earlier block's, ``{e}``, ``{e2}`` are
#: expressions over x, ``{v}`` is a literal.
KINDS = {
    "function": "def f{n}(x=0):{doc}\n    return {e}",
    "annotated": "def f{n}(x: {type} = {v}, *, y={w}) -> {type}:{doc}\n    return ({e}, y)",
    "decorated": "@{decorator}\ndef f{n}(x=0):{doc}\n    return {e}",
    "steps": (
        "def f{n}(x=0):\n    if x > {v}:\n        return {e}\n"
        "    for i in range({w}):\n        x += i\n    return [{e2} for x in (x, {v})]"
    ),
    "generator": "def f{n}(x=0):\n    yield {e}\n    yield {v}",
    "coroutine": "async def f{n}(x=0):\n    return {e}",
    "lambda": "f{n} = lambda x=0: {e}",
    "lambdas": "f{n} = [lambda x=0: {e}, lambda x=1: {e2}][{flag}]",
    "closure": (
        "def make{n}(y=0):\n    z = {w}\n    def inner(x=0):\n        return ({e}, {free})\n"
        "    return inner\nf{n} = make{n}({v})"
    ),
    "late closure": (
        "def make{n}(y=0):\n    z = {w}\n    def inner(x={v}):\n        return ({e}, {free})\n"
        "    def other(): return {e2}\n    return inner"
    ),
    "nested": (
        "def f{n}(x=0):\n    def g(x):\n        return {e}\n    class L:\n        y = {v}\n"
        "        def q(self, x=1):\n            return ({e2}, self.y)\n    return g(x), L().q()"
    ),
    "class": (
        "class C{n}{base}:{doc}\n    a = {v}\n    def __init__(self, x=0):\n        self.x = {e}\n"
        "    def m(self, x=0):\n        return ({e2}, self.x, self.a)\n"
        "    @property\n    def p(self):\n        return {w}\n"
        "    @classmethod\n    def c(cls, x=0):\n        return ({e3}, cls.__name__)\n"
        "    @staticmethod\n    def s(x=0):\n        return {e4}"
    ),
    "plain class": (
        "class C{n}{base}:\n    x = {w}\n    def m(self, x=0):\n        return [{super}, {e}]\n"
        "    @functools.cached_property\n    def cp(self):\n        x = 1\n        return {e2}\n"
        "    def __len__(self):\n        return {w}"
    ),
    "dataclass": (
        "@dataclasses.dataclass\nclass C{n}:\n    x: int = {v}\n"
        "    def m(self, x=0):\n        return ({e}, self.x)"
    ),
    "constant": "K{n} = {v}",
    "computed": "K{n} = attempt(f{k}, {v})",
    "instance": "i{n} = attempt(C{k}, {v})",
    "method held": "f{n} = C{k}.m",
    "partial": "f{n} = functools.partial(f{k}, {v})",
    "registered": "@route('/{path}')\ndef f{n}(x=0):\n    return {e}",
    "hidden": "@route('/{path}')\ndef _(x=0):\n    return {e}",
    "branch": "if {flag}:\n    def f{n}(x=0): return {e}\nelse:\n    def f{n}(x=0): return {e2}",
    "looks": "K{n} = 'f{k}' in globals()",
    "asks": "K{n} = hasattr(__import__('helper'), 'f{k}')",
    "main": "def main{n}():\n    STARTED.append(attempt(lambda x: {e}, 1))\nmain{n}()",
}  # fmt: skip

PRELUDE = """\
{future}{imports}
def attempt(f, *a):
    try:
        made = f(*a)
        if hasattr(made, "send"):
            made.close()
            return "once"
        return made
    except Exception as error:
        return type(error).__name__
STARTED = []
ROUTES = {{}}
x = 5
def route(path):
    def register(f):
        ROUTES[path] = f
        return f
    return register
def shout(f):
    def wrapper(*a):
        return (f(*a), {shout})
    return wrapper
def wrapped(f):
    @functools.wraps(f)
    def wrapper(*a, **k):
        return (f(*a, **k), {wrapped})
    return wrapper
"""

IMPORTS = ["import functools", "import dataclasses", "import math", "from os import path, sep"]
NEW_IMPORTS = [
    "import json", "from os.path import join", "import os.path as osp", "import helper2",
    "from os import path", "from os import sep, linesep", "from json import dumps",
    "from helper import attempt as attempted", "import helper as again", "from helper2 import X",
    "from helper import *", "if TYPE_CHECKING: import nothing",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nothing",
]  # fmt: skip


@dataclass(frozen=True)
class Block:
    kind: str
    number: int
    holes: dict[str, str]
    comment: str = ""
    loose: bool = False  # laid out over more lines

    def of_another(self, old: int, new: int) -> Block:
        """The same with another block's number in place of an earlier one's."""
        holes = {
            name: str(new) if name == "k" and text == str(old) else
            re.sub(rf"(?<![\w.])([fCK]){old}\b", rf"\g<1>{new}", text)
            for name, text in self.holes.items()
        }  # fmt: skip
        return replace(self, holes=holes)

    def render(self) -> str:
        holes = dict(self.holes)
        if self.loose:
            for name, text in holes.items():
                if name.startswith("e"):
                    holes[name] = f"(\n        {text}\n    )"
        return self.comment + KINDS[self.kind].format(n=self.number, **holes)


@dataclass(frozen=True)
class File:
    blocks: tuple[Block, ...]
    imports: tuple[str, ...] = tuple(IMPORTS)
    future: str = ""
    holes: dict[str, str] = field(default_factory=lambda: {"shout": "1", "wrapped": "1"})
    head: str = ""

    def render(self, first: str = "") -> str:
        imports = "\n".join([*([first] if first else []), *self.imports])
        prelude = PRELUDE.format(future=self.future, imports=imports, **self.holes)
        return self.head + prelude + "\n".join(b.render() for b in self.blocks) + "\n"


@dataclass(frozen=True)
class Program:
    app: File
    helper: File

    def sources(self) -> dict[str, str]:
        return {"app.py": self.app.render("import helper"), "helper.py": self.helper.render()}


def literal(draw: Draw) -> str:
    return draw(st.sampled_from(["0", "1", "2", "3", "True", "1.0", "-0.0", "'a'", "None", "b'a'"]))


def expression(draw: Draw, number: int, prefix: str) -> str:
    k = draw(st.integers(0, max(number - 1, 0)))
    v = literal(draw)
    # Nothing calls itself: two calls of itself in one body would take forever.
    calls = [f"f{k}(x)", f"C{k}(x).m()"] if number else []
    names = ["len(sep)", "math.floor(2.5)", "len(dumps(1))", "linesep", "path.sep"]
    choices = [v, f"x + {v}", f"(x, {v})", *calls, *calls, draw(st.sampled_from(names)),
               f"K{k}", f"[x, {v}]", f"(lambda y: (y, {v}))(x)", f"[i + x for i in (1, {v})]",
               f'f"{{x}}{{{v}}}"', f"{{**{{}}, 'x': {v}}}",
               f"sorted([x, 2], key=lambda q: (q, {v}) and q)",
               "ROUTES and len(ROUTES)"]  # fmt: skip
    if prefix:
        choices += [f"helper.f{k}(x)", f"helper.K{k}"]
    return draw(st.sampled_from(choices))


def hole(draw: Draw, name: str, number: int, prefix: str) -> str:
    if name.startswith("e"):
        return expression(draw, number, prefix)
    if name in ("k",):
        return str(draw(st.integers(0, max(number - 1, 0))))
    if name == "v":
        return literal(draw)
    choices = {
        "w": ["0", "1", "2"],
        "flag": ["0", "1"],
        "type": ["int", "str", "'int'", "list"],
        "doc": ["", "\n    'a'", "\n    'b'"],
        "free": ["y", "z", "(y, z)", "1"],
        "base": ["", "", f"(C{draw(st.integers(0, max(number - 1, 0)))})"],
        "super": ["1", "super().__class__.__name__", "self.x"],
        "path": ["a", "b"],
        "decorator": [
            "shout",
            "wrapped",
            "functools.lru_cache(None)",
            "shout\n@wrapped",
            "shout\n@functools.lru_cache(None)",
        ],
        "shout": ["1", "2"],
        "wrapped": ["1", "2"],
    }
    return str(draw(st.sampled_from(choices[name])))


def holes_of(kind: str) -> list[str]:
    import string

    names = {name for _, name, _, _ in string.Formatter().parse(KINDS[kind]) if name}
    return sorted(names - {"n"})


def block(draw: Draw, number: int, prefix: str, before: Sequence[Block]) -> Block:
    """A block that starts without an exception, if those before it are what they are now."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    holes = {name: hole(draw, name, number, prefix) for name in holes_of(kind)}
    needed = {"computed": " f", "partial": " f", "instance": "class C", "method held": "def m"}
    if kind in needed:
        fit = [b for b in before if needed[kind] in KINDS[b.kind] and b.kind != "method held"]
        if not fit:
            return block(draw, number, prefix, before)
        holes["k"] = str(draw(st.sampled_from(fit)).number)
    if "base" in holes:
        bases = [b.number for b in before if "class C" in KINDS[b.kind]]
        holes["base"] = draw(st.sampled_from(["", *(f"(C{number})" for number in bases)]))
    return Block(kind, number, holes)


def file(draw: Draw, prefix: str, most: int) -> File:
    blocks: list[Block] = []
    for number in range(draw(st.integers(2, most))):
        blocks.append(block(draw, number, prefix, blocks))
    imports = list(IMPORTS)
    for _ in range(draw(st.integers(0, 2))):
        imports.append(draw(st.sampled_from(NEW_IMPORTS[:-3])))
    if prefix and draw(st.integers(0, 5)) == 0:
        imports.insert(0, "from helper import *")
    return File(
        tuple(blocks),
        imports=tuple(imports),
        future=draw(st.sampled_from(["", "", "from __future__ import annotations\n"])),
    )


@st.composite
def programs(draw: Draw) -> Program:
    return Program(file(draw, "helper.", 7), file(draw, "", 4))


#: Edits, the more usual ones more often.
EDITS = (
    ["body"] * 8 + ["any hole"] * 3 + ["comment"] * 2
    + ["layout", "imports sorted", "import added", "import removed", "import removed",
       "block added", "block removed", "blocks swapped", "renamed", "wrapper", "head"]
)  # fmt: skip


def edited(draw: Draw, old: Program) -> tuple[str, Program]:
    """What kind of edit, and the program after it."""
    which = draw(st.sampled_from(["app", "app", "helper"]))
    what = draw(st.sampled_from(EDITS))
    prefix = "helper." if which == "app" else ""
    new = _edit(draw, what, getattr(old, which), prefix)
    return what, replace(old, **{which: new})


def _edit(draw: Draw, what: str, old: File, prefix: str) -> File:
    if what == "imports sorted":
        return replace(old, imports=tuple(draw(st.permutations(old.imports))))
    if what == "import added":
        added = draw(st.sampled_from(NEW_IMPORTS))
        return replace(old, imports=(*old.imports, added))
    if what == "import removed" and old.imports:
        at = draw(st.integers(0, len(old.imports) - 1))
        return replace(old, imports=old.imports[:at] + old.imports[at + 1 :])
    if what == "head":
        return replace(old, head=draw(st.sampled_from(["", "# one\n", "# one\n\n# two\n"])))
    if what == "wrapper":
        name = draw(st.sampled_from(sorted(old.holes)))
        return replace(old, holes={**old.holes, name: hole(draw, name, 0, prefix)})
    blocks = list(old.blocks)
    if what == "block added" or not blocks:
        at = draw(st.integers(0, len(blocks)))
        number = max([b.number for b in blocks], default=0) + 1
        blocks.insert(at, block(draw, number, prefix, blocks[:at]))
        return replace(old, blocks=tuple(blocks))
    at = draw(st.integers(0, len(blocks) - 1))
    chosen = blocks[at]
    if what == "block removed":
        del blocks[at]
    elif what == "blocks swapped":
        other = draw(st.integers(0, len(blocks) - 1))
        blocks[at], blocks[other] = blocks[other], blocks[at]
    elif what == "renamed":
        new = max(b.number for b in blocks) + 1
        blocks[at] = replace(chosen, number=new)
        if draw(st.booleans()):  # and those who use it
            blocks = [b.of_another(chosen.number, new) for b in blocks]
    elif what == "comment":
        blocks[at] = replace(chosen, comment=draw(st.sampled_from(["", "# c\n", "\n\n# d\n"])))
    elif what == "layout":
        blocks[at] = replace(chosen, loose=not chosen.loose)
    else:
        names = holes_of(chosen.kind)
        if what == "body":
            names = [name for name in names if name.startswith("e")] or names
        if names:
            name = draw(st.sampled_from(names))
            filled = {**chosen.holes, name: hole(draw, name, chosen.number, prefix)}
            blocks[at] = replace(chosen, holes=filled)
    return replace(old, blocks=tuple(blocks))


#: Run in the app once it is ready: what requests may have done before the edit.
AFTER_READY = """
import asyncio as _q_asyncio, inspect as _q_inspect, types as _q_types

def _q_show(value):
    if _q_inspect.iscoroutine(value):
        try:
            value.send(None)
        except StopIteration as end:
            return _q_show(end.value)
        except RuntimeError:
            return "was asked before"
    if _q_inspect.isgenerator(value):
        return [_q_show(v) for v in value]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__] + [_q_show(v) for v in value]
    if isinstance(value, _q_types.ModuleType):
        return value.__name__
    text = repr(value)
    return text if " at 0x" not in text else text.split(" at 0x")[0]

def _q_try(make):
    try:
        return _q_show(make())
    except Exception as error:
        return "%s: %s" % (type(error).__name__, str(error).split(" at 0x")[0])

def _q_held(names):
    for n in range(9):
        if "late%d" % n not in names and "make%d" % n in names:
            try:
                names["late%d" % n] = names["make%d" % n](7)
            except Exception:
                pass
        for name in ("f%d" % n,):
            if name in names:
                _q_try(lambda: names[name](3))
        if KEEP and "C%d" % n in names and "held%d" % n not in names:
            try:
                held = names["C%d" % n](4)
                # What earlier requests have left is the app's state, as in any long run.
                held.x = 4
                names["held%d" % n] = held
            except Exception:
                pass

def _q_ask(names):
    _q_held(names)
    found = {}
    for n in range(9):
        for prefix in ("f", "late", "make"):
            f = names.get(prefix + str(n))
            if f is not None:
                found[prefix + str(n)] = [_q_try(f), _q_try(lambda: f(2)), _q_try(lambda: f("s"))]
        c = names.get("C%d" % n)
        if c is not None:
            for make in (c, lambda: names["held%d" % n], lambda: names["i%d" % n]):
                found["C%d%s" % (n, make is c)] = [
                    _q_try(lambda: make().m(1)), _q_try(lambda: make().p),
                    _q_try(lambda: make().c()),
                    _q_try(lambda: make().s()), _q_try(lambda: len(make())),
                    _q_try(lambda: make().a),
                ]
        found["K%d" % n] = _q_show(names.get("K%d" % n))
    found["routes"] = {path: _q_try(f) for path, f in sorted(names["ROUTES"].items())}
    found["started"] = _q_show(names["STARTED"])
    return found
"""
QUESTIONS = ("_q_ask(globals())", "_q_ask(vars(helper))")
