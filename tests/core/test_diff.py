"""core.diff, as a table: before, after, and what is said of it."""

from __future__ import annotations

import textwrap

import pytest

from onsave.core.diff import diff


def change(before: str, after: str):
    old, new = (textwrap.dedent(text).lstrip("\n").encode() for text in (before, after))
    return diff(old, new, path="/app.py")


SAME = {
    "the same bytes": ("x = 1", "x = 1"),
    "a comment at a line's end": ("def f():\n    return 1", "def f():\n    return 1  # why"),
    "a comment in place of a blank line": ("x = 1\n\ny = 2", "x = 1\n# why\ny = 2"),
    "a comment at the end": ("def f(): pass\n", "def f(): pass\n# the end\n"),
    "trailing space": ("x = 1\n", "x = 1   \n"),
    "a docstring's quotes": (
        "def f():\n    'a'\n    return 1",
        'def f():\n    """a"""\n    return 1',
    ),
    "pass": ("class A:\n  x = 1", "class A:\n  x = 1\n  pass"),
    "line ends": ("x = 1\ny = 2\n", "x = 1\r\ny = 2\r\n"),
}

POSITIONS = {
    "a comment above": ("def f(): return 1", "# why\ndef f(): return 1"),
    "a blank line inside": (
        "def f():\n    x = 1\n    return x",
        "def f():\n    x = 1\n\n    return x",
    ),
    "layout": (
        "def f(a):\n    return [a, 1]",
        "def f(a):\n    return [\n        a,\n        1,\n    ]",
    ),
    "parentheses": ("x = 1 + 2", "x = (1 + 2)"),
    "quotes": ("x = 'a', 1", 'x = "a" , 1'),
    "functions swapped": ("def f(): pass\ndef g(): pass", "def g(): pass\ndef f(): pass"),
    "methods swapped": ("class A:\n  x = 1\n  def f(self): pass\n  def g(self): pass",
                        "class A:\n  x = 1\n  def g(self): pass\n  def f(self): pass"),
    "functions shuffled": ("import a\ndef f(): 1\ndef g(): 2\ndef h(): 3\ndef i(): 4",
                           "import a\ndef i(): 4\ndef g(): 2\ndef f(): 1\ndef h(): 3"),
    "imports sorted": ("import b\nimport a\nx = 1", "import a\nimport b\nx = 1"),
    "imports merged": (
        "from m import a\nfrom m import b\n",
        "from m import (\n    b,\n    a,\n)\n",
    ),
    "imports in one line": ("import a, b\n", "import a\nimport b\n"),
    "an import twice": ("import a\n", "import a\nimport a\n"),
    "packages sorted": ("import a.c\nimport a.b\n", "import a.b\nimport a.c\n"),
    "1_000": ("x = 1000", "x = 1_000"),
    "u''": ("x = 'a'", "x = u'a'"),
    "elif": ("if a:\n  b\nelse:\n  if c:\n    d", "if a:\n  b\nelif c:\n  d"),
}

#: The functions that a patch would swap.
BODIES = {
    "a function": ("def f(): return 1", "def f(): return 2", "f"),
    "1 and True": ("def f(): return 1", "def f(): return True", "f"),
    "1 and 1.0": ("def f(): return 1", "def f(): return 1.0", "f"),
    "0.0 and -0.0": ("def f(): return 0.0", "def f(): return -0.0", "f"),
    "'a' and b'a'": ("def f(): return 'a'", "def f(): return b'a'", "f"),
    "a tuple's 1 and True": ("def f(): return (1,)", "def f(): return (True,)", "f"),
    "a method": ("class A:\n  def f(self): return 1", "class A:\n  def f(self): return 2", "A.f"),
    "a lambda": ("f = lambda: 1", "f = lambda: 2", "<lambda>"),
    "a lambda as default": ("def f(a=lambda: 1): a()", "def f(a=lambda: 2): a()", "<lambda>"),
    "under a decorator": ("@a.b(1)\ndef f(): return 1", "@a.b(1)\ndef f(): return 2", "f"),
    "async": ("async def f(): return 1", "async def f(): return 2", "f"),
    "a generator": ("def f(): yield 1", "def f(): yield 2", "f"),
    "a property's setter": (
        "class A:\n  @property\n  def f(self): return 1\n  @f.setter\n  def f(self, v): pass",
        "class A:\n  @property\n  def f(self): return 1\n  @f.setter\n  def f(self, v): 1 / v",
        "A.f"),
    "a nested one, the outer as it was": (
        "def f():\n  def g(): return 1\n  return g", "def f():\n  def g(): return 2\n  return g",
        "f.<locals>.g"),
    "the outer one, the nested as it was": (
        "def f():\n  def g(): return 1\n  return g", "def f():\n  def g(): return 1\n  return g()",
        "f"),
    "in a local class": (
        "def f():\n  class A:\n    def g(self): return 1\n  return A",
        "def f():\n  class A:\n    def g(self): return 2\n  return A", "f.<locals>.A.g"),
    "in a branch": ("if a:\n  def f(): return 1", "if a:\n  def f(): return 2", "f"),
    "in a try": ("try:\n  import a\nexcept E:\n  def f(): return 1",
                 "try:\n  import a\nexcept E:\n  def f(): return 2", "f"),
    "an import in a body": ("def f(): return 1", "def f():\n  import a\n  return 1", "f"),
    "global": ("def f(): return x", "def f():\n  global x\n  x = 1\n  return x", "f"),
    "two, and one that moves": (
        "def f(): return 1\ndef g(): return 1\ndef h(): return 1",
        "def f():\n  return 2\ndef g(): return 1\ndef h(): return 2", "f h"),
    "the default of a plain function": ("def f(a=1): return a", "def f(a=2): return a", "f"),
    "a parameter of a plain function": ("def f(a): return a", "def f(a, b=None): return a", "f"),
    "an annotation": ("def f(a): return a", "def f(a: int) -> str: return a", "f"),
    "a docstring": ("def f(): return 1", "def f():\n  'one'\n  return 1", "f"),
    "a new function": ("x = 1", "x = 1\ndef f(): return 1", "f"),
    "a new function that is used": (
        "def f(): return 1", "def g(a: int = 1): return a\ndef f(): return g()", "f g"),
    "a method in place of pass": ("class A:\n  pass", "class A:\n  def f(self): return 1", "A.f"),
    "a new method": ("class A:\n  def f(self): return 1",
                     "class A:\n  def f(self): return self.g()\n  def g(self): return 2",
                     "A.f A.g"),
    "a new import": ("def f(): return 1", "import json\ndef f(): return json.dumps(1)", "f"),
    "a function less": ("def f(): pass\ndef g(): pass", "def g(): pass", "f"),
    "a function renamed": ("def f(): pass\ndef h(): f()", "def g(): pass\ndef h(): g()", "f g h"),
    "an import less": ("import a\nimport b", "import b", ""),
    "all imports": ("import a\nx = 1", "x = 1", ""),
    "an import less that documentation names": ("import a\ndef f():\n  'a'\n  a.x",
                                                "def f():\n  'a'\n  y.a", "f"),
    "another name from a module": ("from a import b, c\ndef f(): return b",
                                   "from a import d, c\ndef f(): return d", "f"),
    "a class docstring": ("class A:\n  'a'", "class A:\n  'b'\n  def f(): pass", "A.f"),
    "a module docstring": ("'a'\ndef f(): 1", "'b'\ndef f(): 2", "f"),
    "a docstring alone": ("x = 1", "'b'\nx = 1", ""),
    "what is for type checkers": ("if TYPE_CHECKING:\n  import a\ndef f(): pass",
                                  "if TYPE_CHECKING:\n  import b\n  import c\ndef f(): pass", ""),
    "more for type checkers": ("import t\nx = 1",
                               "import t\nif t.TYPE_CHECKING:\n  import a\nx = 1",
                               ""),
    "less for type checkers": ("if TYPE_CHECKING:\n  import a\nx = 1", "x = 1", ""),
}  # fmt: skip

#: Why it needs a restart, and the line in the new source.
RESTARTS = {
    "a constant": ("RATE = 1", "RATE = 2", "constant RATE changed", 1),
    "a variable": ("import a\nx = 1", "import a\nx = 2", "x changed", 2),
    "the type of a constant": ("RATE = 1", "RATE = True", "constant RATE changed", 1),
    "a call": ("start(1)", "start(2)", "module-level code changed", 1),
    "deep in a literal": ("X = {\n'a': 1,\n'b': [2,\n3]}", "X = {\n'a': 1,\n'b': [2,\n4]}",
                          "constant X changed", 4),
    "__main__": ("if __name__ == '__main__':\n  run(1)", "if __name__ == '__main__':\n  run(2)",
                 'code under __name__ == "__main__" changed', 2),
    "a decorator": ("@a\ndef f(): pass", "@b\ndef f(): pass", "decorator of f changed", 1),
    "a decorator's argument": ("@a('/')\ndef f(): pass", "@a('/x')\ndef f(): pass",
                               "decorator of f changed", 1),
    "a decorator more": ("x\n@a\ndef f(): pass", "x\n@a\n@b\ndef f(): pass",
                         "decorator of f changed", 2),
    "a default under a decorator": ("@a\ndef f(x=1): pass", "@a\ndef f(x=2): pass",
                                    "default of f changed", 2),
    "a default that is computed": ("def f(x=g(1)): pass", "def f(x=g(2)): pass",
                                   "default of f changed", 1),
    "a parameter under a decorator": ("@a\ndef f(x): pass", "@a\ndef f(x, y): pass",
                                      "parameters of f changed", 2),
    "an annotation under a decorator": ("@a\ndef f(x): pass", "@a\ndef f(x: int): pass",
                                        "annotation of f changed", 2),
    "a docstring under a decorator": ("@a\ndef f():\n 'x'", "@a\ndef f():\n 'y'",
                                      "docstring of f changed", 2),
    "a base": ("class A(B): pass", "class A(C): pass", "base of A changed", 1),
    "a metaclass": ("class A: pass", "class A(metaclass=M): pass", "keyword argument of A changed",
                    1),
    "a class decorator": ("class A: pass", "@d\nclass A: pass", "decorator of A changed", 1),
    "a class attribute": ("class A:\n  x = 1", "class A:\n  x = 2", "x in class A changed", 2),
    "a field": ("class A:\n  x: int", "class A:\n  x: str", "x in class A changed", 2),
    "__slots__": ("class A:\n  __slots__ = ()", "class A:\n  __slots__ = ('a',)",
                  "__slots__ in class A changed", 2),
    "the docstring of a decorated class": ("@d\nclass A:\n  'a'", "@d\nclass A:\n  'b'",
                                           "docstring of class A changed", 3),
    "the docstring of an enumeration": ("class A(Enum):\n  'a'", "class A(Enum):\n  'b'",
                                        "docstring of class A changed", 2),
    "a local class's docstring": ("def f():\n  class A:\n    'a'", "def f():\n  class A:\n    'b'",
                                  "class f.<locals>.A changed", 2),
    "a function less that is used": ("def f(): pass\ndef g(): f()", "def g(): f()",
                                     "f was removed", 1),
    "a function less that a string names": ("def f(): pass\nX = 'a f'", "X = 'a f'",
                                            "f was removed", 1),
    "a function less, and an import of that name": (
        "from a import f\nx = 1\ndef f(): pass", "from a import f\nx = 1", "f was removed", 2),
    "a function less, and an import of everything": (
        "from a import *\nx = 1\ndef f(): pass", "from a import *\nx = 1", "f was removed", 2),
    "an import less, and another of that name": (
        "from a import f\nx = 1\nfrom b import f\ny = 1", "from a import f\nx = 1\ny = 1",
        "import removed", 3),
    "an import less, and one of everything": (
        "from a import *\nx = 1\nfrom b import f\ny = 1", "from a import *\nx = 1\ny = 1",
        "import removed", 3),
    "a decorated function less": ("@a\ndef f(): pass\ndef g(): pass", "def g(): pass",
                                  "f was removed", 1),
    "a special function less": ("def __getattr__(n): pass\nx = 1", "x = 1",
                                "__getattr__ was removed", 1),
    "a method less": ("class A:\n  x = 1\n  def f(self): pass", "class A:\n  x = 1",
                      "A.f was removed", 2),
    "a class more": ("x = 1", "x = 1\nclass A: pass", "class A was added", 2),
    "a statement more": ("x = 1", "x = 1\ngo()", "module-level code was added", 2),
    "a decorated function more": ("x = 1", "x = 1\n@app.route('/')\ndef f(): pass",
                                  "f was added", 2),
    "a function more whose name is known": ("x = 'f'", "x = 'f'\ndef f(): pass", "f was added", 2),
    "a function more that a path names": ("x = 'a.b:f'", "x = 'a.b:f'\ndef f(): pass",
                                          "f was added", 2),
    "a special method more": ("class A:\n  x = 1", "class A:\n  x = 1\n  def __len__(self): pass",
                              "A.__len__ was added", 3),
    "a method more in a dataclass": ("@dataclass\nclass A:\n  x: int",
                                     "@dataclass\nclass A:\n  x: int\n  def f(self): pass",
                                     "A.f was added", 4),
    "decorated functions swapped": ("@a\ndef f(): pass\n@a\ndef g(): pass",
                                    "@a\ndef g(): pass\n@a\ndef f(): pass", "*", 0),
    "a function moved past a call": ("def f(): pass\nx = f()", "x = f()\ndef f(): pass", "*", 0),
    "a function moved past a class": ("def f(): pass\nclass A: pass\nx: int",
                                      "class A: pass\ndef f(): pass\nx: int", "*", 0),
    "functions swapped, one annotated with the other": (
        "def f(): pass\ndef g(x: f): pass", "def g(x: f): pass\ndef f(): pass", "*", 0),
    "functions swapped, with a computed default": (
        "def f(): pass\ndef g(x=f()): pass", "def g(x=f()): pass\ndef f(): pass", "*", 0),
    "functions of one name swapped": (
        "def f(): return 1\ndef g(): pass\ndef f(): return 2",
        "def g(): pass\ndef f(): return 2\ndef f(): return 1", "*", 0),
    "an import less that is used": ("import a\nimport b\ndef f(): a()", "import b\ndef f(): a()",
                                    "import removed", 1),
    "an import less that is annotated": ("import a\nx: int\ndef f() -> 'b.a': pass",
                                         "x: int\ndef f() -> 'b.a': pass", "import removed", 1),
    "an import less in __all__": ("import a\n__all__ = ['a']", "__all__ = ['a']",
                                  "import removed", 1),
    "an import from elsewhere": ("import a\ndef f(): a()", "import b as a\ndef f(): a()",
                                 "import removed", 1),
    "an import in a class less": ("class A:\n  import a\n  import b", "class A:\n  import b",
                                  "import removed", 2),
    "a star import less": ("from a import *\nx = 1", "x = 1", "import removed", 1),
    "a future less": ("from __future__ import annotations\nx = 1", "x = 1", "import removed", 1),
    "functions for type checkers": ("if TYPE_CHECKING:\n  def f(): return 1\n  x = 1",
                                    "if TYPE_CHECKING:\n  def f(): return 1\n  x = 2",
                                    "module-level code changed", 3),
    "what is not for type checkers": ("if TYPE_CHECKING:\n  x = 1\nelse:\n  x = 2",
                                      "if TYPE_CHECKING:\n  x = 1\nelse:\n  x = 3",
                                      "module-level code changed", 4),
    "another condition": ("if TYPE_CHECKING:\n  x = 1", "if not TYPE_CHECKING:\n  x = 1",
                          "*", None),
    "an import in use more": ("def f(): return json", "import json\ndef f(): return json",
                              "import added", 1),
    "a star import": ("import a", "import a\nfrom b import *", "*", None),
    "imports of one name": ("from a import x\nfrom b import x", "from b import x\nfrom a import x",
                            "order of imports that bind x changed", 1),
    "a future": ("x = 1", "from __future__ import annotations\nx = 1", "import added", 1),
    "async": ("def f(): pass", "async def f(): pass", "f became async", 1),
    "a generator": ("def f(): return 1", "def f(): yield 1", "f became a generator", 1),
    "no longer a generator": ("def f(): yield", "def f(): return", "f became a function", 1),
    "an enumeration": ("class A(enum.Enum):\n  x = 1\n  def f(self): return 1",
                       "class A(enum.Enum):\n  x = 1\n  def f(self): return 2",
                       "A is an enumeration", 3),
    "numba": ("@numba.njit(cache=True)\ndef f(): return 1",
              "@numba.njit(cache=True)\ndef f(): return 2",
              "f is decorated by njit, which compiles it", 1),
    "inside numba": ("@njit\ndef f():\n  def g(): return 1\n  return g()",
                     "@njit\ndef f():\n  def g(): return 2\n  return g()",
                     "f is decorated by njit, which compiles it", 1),
    "jax": ("@partial(jax.jit, static_argnums=0)\ndef f(): return 1",
            "@partial(jax.jit, static_argnums=0)\ndef f(): return 2",
            "f is decorated by jit, which compiles it", 1),
    "torch": ("@torch.compile\ndef f(): return 1", "@torch.compile\ndef f(): return 2",
              "f is decorated by compile, which compiles it", 1),
    "a page cache": ("@cache_page(60)\ndef f(r): return 1", "@cache_page(60)\ndef f(r): return 2",
                     "f is decorated by cache_page, which keeps its results", 1),
    "pydantic": ("class A(B):\n  @field_validator('x')\n  def f(cls, v): return 1",
                 "class A(B):\n  @field_validator('x')\n  def f(cls, v): return 2",
                 "A.f is a hook (field_validator) that is built into its class", 2),
    "a local class's attribute": ("def f():\n  class A:\n    x = 1\n  return A",
                                  "def f():\n  class A:\n    x = 2\n  return A",
                                  "class f.<locals>.A changed", 2),
    "what was a class": ("class A: pass", "def A(): pass", "A changed", 1),
    "what does not parse": ("x = 1", "x = (", "*", None),
}  # fmt: skip


@pytest.mark.parametrize("what", SAME)
def test_same(what):
    assert change(*SAME[what]).kind == "same"


@pytest.mark.parametrize("what", POSITIONS)
def test_positions(what):
    found = change(*POSITIONS[what])
    assert (found.kind, found.functions) == ("positions", ())


@pytest.mark.parametrize("what", BODIES)
def test_bodies(what):
    before, after, functions = BODIES[what]
    found = change(before, after)
    assert (found.kind, sorted(found.functions)) == ("bodies", sorted(functions.split()))


@pytest.mark.parametrize("what", RESTARTS)
def test_restart(what):
    before, after, reason, line = RESTARTS[what]
    found = change(before, after)
    assert found.kind == "restart"
    if reason != "*":
        assert (found.reason, found.line) == (reason, line)


@pytest.mark.parametrize("what", [*POSITIONS, *BODIES])
def test_lines_are_those_of_the_compiler(what):
    """Every function of the old source can be found, by name and line, in the order."""
    before, after = (POSITIONS.get(what) or BODIES[what])[:2]
    found = change(before, after)
    places = _places(textwrap.dedent(before))
    known = {(m.name, m.old_line) for m in found.moved} | {(g[1], g[2]) for g in found.gone}
    known |= set(found.removed)
    for name, line in places:
        in_block = any(first <= line <= last for first, last, _ in found.blocks)
        assert (name, line) in known or in_block
    new_places = _places(textwrap.dedent(after))
    for moved in found.moved:
        assert (moved.name, moved.new_line) in new_places


def _places(source: str) -> set[tuple[str, int]]:
    waiting = [compile(source, "app.py", "exec")]
    found = set()
    for code in waiting:
        inner = [c for c in code.co_consts if hasattr(c, "co_code")]
        waiting.extend(inner)
        found |= {
            (c.co_name, c.co_firstlineno)
            for c in inner
            if c.co_flags & 1 and (c.co_name[0] != "<" or c.co_name == "<lambda>")
        }
    return found


def test_encodings():
    latin = "# coding: latin-1\nx = 'é'\n"
    utf = "# coding: utf-8\nx = 'é'\n"
    found = diff(latin.encode("latin-1"), utf.encode("utf-8"), path="/app.py")
    assert found.kind == "same"
    garbled = diff(latin.encode("latin-1"), latin.encode("utf-8"), path="/app.py")
    assert (garbled.kind, garbled.line) == ("restart", 2)
    assert diff(b"x = 1", b"\xef\xbb\xbfx = 1", path="/app.py").kind == "same"
    assert diff(b"x = 1", b"x = '\0'", path="/app.py").kind == "restart"


def test_what_nests_deeply_ends_well():
    deep = b"x = " + b"(" * 90 + b"1" + b")" * 90
    assert diff(b"x = 2", deep, path="/app.py").kind == "restart"
    chain = b"x = " + b"+".join([b"1"] * 3000)
    assert diff(chain, chain + b"+1", path="/app.py").kind == "restart"
