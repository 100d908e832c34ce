"""What a module's syntax tree tells that ``diff`` and ``outlook`` both need. Pure."""

from __future__ import annotations

import ast
import functools
import re
import warnings
from collections.abc import Callable, Iterator, Sequence

Def = ast.FunctionDef | ast.AsyncFunctionDef
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
DEFS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

#: Decorators, by the last part of their name, that keep a copy of the function which nobody can
#: swap: machine code, or results. (``lru_cache`` is not among them: the agent clears it.)
_COPYING = {
    "jit": "compiles it",
    "njit": "compiles it",
    "vectorize": "compiles it",
    "guvectorize": "compiles it",
    "cfunc": "compiles it",
    "stencil": "compiles it",
    "jitclass": "compiles it",
    "kernel": "compiles it",
    "pmap": "traces it",
    "vmap": "traces it",
    "grad": "traces it",
    "value_and_grad": "traces it",
    "cached": "keeps its results",
    "cachedmethod": "keeps its results",
    "cache_page": "keeps its results",
    "cache_data": "keeps its results",
    "cache_resource": "keeps its results",
    "memoize": "keeps its results",
    "memoized": "keeps its results",
    "memoise": "keeps its results",
    "alru_cache": "keeps its results",
    "ttl_cache": "keeps its results",
    "lfu_cache": "keeps its results",
    "rr_cache": "keeps its results",
}

#: Hooks of pydantic and of ORMs, whose effect is built into the class when it is made.
_HOOKS = {
    "validator",
    "root_validator",
    "field_validator",
    "model_validator",
    "field_serializer",
    "model_serializer",
    "computed_field",
    "validates",
    "declared_attr",
    "hybrid_property",
    "hybrid_method",
    "listens_for",
    "compiles",
    "reconstructor",
}

_ENUMS = {"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "ReprEnum", "EnumMeta", "EnumType"}


@functools.lru_cache(maxsize=8)
def parse(source: bytes) -> ast.Module:
    """The tree of ``source``, not to be changed. Raises SyntaxError, for ValueErrors as well.

    The last few are remembered: what is new in one save is old in the next.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(str(error)) from None


def first_line(node: ast.AST) -> int:
    """The line of a scope as ``co_firstlineno`` has it: that of its first decorator, if any."""
    decorators: Sequence[ast.expr] = getattr(node, "decorator_list", ())
    return decorators[0].lineno if decorators else node.lineno  # type: ignore[attr-defined]


def name_of(node: Scope) -> str:
    return "<lambda>" if isinstance(node, ast.Lambda) else node.name


def last_name(node: ast.expr) -> str:
    """``cache_page`` of ``@cache_page(60)``, ``route`` of ``@app.route``."""
    while True:
        if isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Attribute):
            return node.attr
        else:
            return node.id if isinstance(node, ast.Name) else ""


def sealed(node: Scope, qualname: str) -> str | None:
    """Why the functions in ``node``, and ``node`` itself if it is one, can't be swapped; or None.

    >>> sealed(parse(b"@njit\\ndef f(): pass").body[0], "f")
    'f is decorated by njit, which compiles it'
    """
    for decorator in getattr(node, "decorator_list", ()):
        name = last_name(decorator)
        if isinstance(decorator, ast.Call) and name == "partial" and decorator.args:
            name = last_name(decorator.args[0])
        if name in _COPYING:
            return f"{qualname} is decorated by {name}, which {_COPYING[name]}"
        if name == "compile" or (name == "function" and not isinstance(decorator, ast.Name)):
            return f"{qualname} is decorated by {name}, which compiles it"  # torch, tensorflow
        if name in _HOOKS and not isinstance(node, ast.ClassDef):
            return f"{qualname} is a hook ({name}) that is built into its class"
    if isinstance(node, ast.ClassDef):
        for base in node.bases:
            if last_name(base) in _ENUMS:
                return f"{qualname} is an enumeration"
    return None


def docstring(body: list[ast.stmt]) -> ast.Constant | None:
    if body and isinstance(body[0], ast.Expr):
        value = body[0].value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value
    return None


def own(nodes: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """The nodes that belong to this scope: functions in it are given, but not their bodies.

    A class in it belongs to it with all that its body runs.
    """
    waiting = list(reversed(nodes))
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, DEFS):
            children = [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
        elif isinstance(node, ast.Lambda):
            children = [node.args]
        else:
            children = list(ast.iter_child_nodes(node))
        waiting.extend(reversed(children))


def nature(node: Def) -> str:
    """What calling it gives: "function", "generator", "coroutine" or "asynchronous generator"."""
    yields = any(isinstance(n, ast.Yield | ast.YieldFrom) for n in own(node.body))
    if isinstance(node, ast.AsyncFunctionDef):
        return "asynchronous generator" if yields else "coroutine"
    return "generator" if yields else "function"


def scopes(nodes: Sequence[ast.AST], prefix: str = "") -> Iterator[tuple[str, Scope]]:
    """The functions and classes directly in these nodes, with their qualified names.

    Those in a class come right after it; those inside functions are left to the caller.
    """
    waiting: list[tuple[str, ast.AST]] = [(prefix, node) for node in reversed(nodes)]
    while waiting:
        prefix, node = waiting.pop()
        if isinstance(node, ast.ClassDef):
            qualname = prefix + node.name
            yield qualname, node
            header = [*node.decorator_list, *node.bases, *node.keywords]
            waiting.extend((qualname + ".", child) for child in reversed(node.body))
            waiting.extend((prefix, child) for child in reversed(header))
        elif isinstance(node, FUNCTIONS):
            yield prefix + name_of(node), node
            around: list[ast.AST] = list(getattr(node, "decorator_list", ()))
            waiting.extend((prefix, child) for child in reversed([*around, node.args]))
        else:
            waiting.extend((prefix, child) for child in reversed(list(ast.iter_child_nodes(node))))


def code_of(node: Function) -> Sequence[ast.AST]:
    """Its body, the docstring apart."""
    if isinstance(node, ast.Lambda):
        return [node.body]
    return node.body[docstring(node.body) is not None :]


def annotations_of(node: Def) -> list[ast.expr | None]:
    """Of the parameters, then of what is returned."""
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return [arg.annotation if arg else None for arg in every] + [node.returns]



def header_of(node: Def) -> str | None:
    """Its ``def`` line with an empty body and no decorators, if running that has no effects.

    That is, if all defaults are literals and all annotations made of plain names. Else None.
    """
    args = node.args
    defaults = [*args.defaults, *(default for default in args.kw_defaults if default)]
    annotations = [annotation for annotation in annotations_of(node) if annotation]
    if getattr(node, "type_params", None):
        return None
    if not all(map(is_literal, defaults)) or not all(map(is_plain, annotations)):
        return None
    bare: Def = type(node)(node.name, args, [ast.Pass()], [], node.returns, None, lineno=1)
    return ast.unparse(ast.fix_missing_locations(bare))


def is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def for_type_checkers(node: ast.stmt) -> str | None:
    """"TYPE_CHECKING" or "typing.TYPE_CHECKING" of an ``if`` with it that has no functions inside.

    What it holds never runs, as long as that is False.
    """
    if isinstance(node, ast.If):
        test = node.test
        owner = test.value if isinstance(test, ast.Attribute) else None
        if last_name(test) == "TYPE_CHECKING" and (
            isinstance(test, ast.Name) or isinstance(owner, ast.Name)
        ):
            return None if any(scopes(node.body)) else ast.unparse(test)
    return None


def mentioned(tree: ast.Module) -> set[str]:
    """The names that a source uses in any way, in a string even ("home", "shop.views:home")."""
    found: set[str] = set()
    for node in ast.walk(tree):
        for attribute in ("id", "attr", "name", "arg", "asname", "value"):
            value = getattr(node, attribute, None)
            if isinstance(value, str):
                found.add(value)
                found.add(re.split("[.:]", value)[-1])
        if isinstance(node, ast.Global | ast.Nonlocal):
            found.update(node.names)
    return found


def used(tree: ast.Module) -> set[str]:
    """The names that a source uses or binds, and the words in its strings; attributes and
    docstrings apart. "*" stands for whatever an import of everything binds."""
    found: set[str] = set()
    nodes: list[ast.AST] = list(tree.body)
    documentation = {id(docstring(tree.body))}
    while nodes:
        node = nodes.pop()
        nodes.extend(ast.iter_child_nodes(node))
        if isinstance(node, (*DEFS, ast.ClassDef)):
            documentation.add(id(docstring(node.body)))
        for attribute in ("id", "name", "asname", "rest"):
            value = getattr(node, attribute, None)
            if isinstance(value, str):
                found.add(value.partition(".")[0])
        if isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            found.update(node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            is_text = id(node) in documentation
            found.update(() if is_text else re.findall(r"\w+", node.value))
    return found


def lazily(make: Callable[[], set[str]]) -> Callable[[str], bool]:
    """Is a name among those that ``make`` gives? It is only called if somebody asks."""
    made = functools.lru_cache(maxsize=1)(make)
    return lambda name: name in made()


def is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True



_PLAIN = (
    ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.Tuple, ast.List, ast.BinOp,
    ast.BitOr, ast.expr_context,
)  # fmt: skip



def is_plain(node: ast.expr) -> bool:
    """Only names, attributes, subscripts and unions: evaluating it changes nothing."""
    return all(isinstance(n, _PLAIN) for n in ast.walk(node))


def cookie(lines: list[bytes]) -> tuple[bool, list[bytes]]:
    """What the decoding of a source depends on: its byte order mark and coding comment."""
    head = lines[:2]
    return bool(head) and head[0].startswith(b"\xef\xbb\xbf"), [x for x in head if b"coding" in x]


def place(node: ast.AST) -> tuple[int | None, ...]:
    """Where a node stands, as far as code objects remember it."""
    names = ["lineno", "col_offset"]
    if isinstance(node, ast.expr):
        names += ["end_lineno", "end_col_offset"]
    return tuple(getattr(node, name, None) for name in names)


def numbered(
    scopes: Iterator[tuple[str, Scope]],
) -> dict[tuple[str, str, int], tuple[str, Scope]]:
    """Scopes by name, kind and order among namesakes."""
    count: dict[tuple[str, str], int] = {}
    found: dict[tuple[str, str, int], tuple[str, Scope]] = {}
    for qualname, node in scopes:
        key = (qualname, "class" if isinstance(node, ast.ClassDef) else "function")
        count[key] = count.get(key, 0) + 1
        found[(*key, count[key])] = (qualname, node)
    return found
