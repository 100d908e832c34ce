"""The statements of a module or a class body: which became which, and what to call them. Pure."""

from __future__ import annotations

import ast
import difflib

from onsave.core.change import Import
from onsave.core.syntax import DEFS, annotations_of, first_line, for_type_checkers, header_of

Unit = list[ast.stmt]  # one statement, or a list of imports
Pair = tuple[Unit | None, Unit | None]  # what became of what


def units(body: Unit) -> list[Unit]:
    """Single statements, but lists of imports as one, and none that does nothing."""
    units: list[Unit] = []
    for node in body:
        if isinstance(node, ast.Pass):
            continue
        imports = isinstance(node, ast.Import | ast.ImportFrom)
        if imports and units and isinstance(units[-1][0], ast.Import | ast.ImportFrom):
            units[-1].append(node)
        else:
            units.append([node])
    return units


def key(unit: Unit) -> tuple[str, str]:
    """What makes two statements the same one, edited."""
    node = unit[0]
    if isinstance(node, (*DEFS, ast.ClassDef)):
        return ("definition", node.name)
    if isinstance(node, ast.Import | ast.ImportFrom):
        return ("imports", "")
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return ("assignment", ", ".join(map(ast.unparse, targets)))
    return (type(node).__name__, for_type_checkers(node) or "")


def aligned(olds: list[Unit], news: list[Unit]) -> list[Pair]:
    """Which statement became which; None where there is none. In the order of the new source."""
    a, b = [key(u) for u in olds], [key(u) for u in news]
    if a == b:
        return list(zip(olds, news, strict=True))
    pairs: list[Pair] = []
    opcodes = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    for tag, i, j, k, m in opcodes:
        if tag == "equal":
            pairs += zip(olds[i:j], news[k:m], strict=True)
        else:
            pairs += [(unit, None) for unit in olds[i:j]]
            pairs += [(None, unit) for unit in news[k:m]]
    return pairs


def moved(olds: list[Unit], news: list[Unit], pairs: list[Pair]) -> list[Pair]:
    """The pairs, with functions that stand at another place among functions paired as well.

    Only those whose definition has no effects but to bind a name, and that have gone past none but
    such: what is defined is the same then, whatever the order.
    """
    gone = {key(a): a for a, b in pairs if a is not None and b is None}
    come = {key(b): b for a, b in pairs if b is not None and a is None}
    names = [key(unit) for unit in [*olds, *news]]
    found = [
        (gone[name], come[name])
        for name in gone
        if name in come and names.count(name) == 2 and is_plain_def(gone[name])
        if is_plain_def(come[name])
    ]
    before = {id(unit): n for n, unit in enumerate(olds)}
    after = {id(unit): n for n, unit in enumerate(news)}
    both = [(a, b) for a, b in pairs if a is not None and b is not None] + found
    for a, b in found:
        for x, y in both:
            past = (before[id(x)] - before[id(a)]) * (after[id(y)] - after[id(b)]) < 0
            if past and not (is_plain_def(x) and is_plain_def(y) and _are_apart(b[0], y[0])):
                return pairs
    places = {id(b): (a, b) for a, b in found}
    left = {id(a) for a, _b in found}
    return [
        (a, b) if b is None else places.get(id(b), (a, b))
        for a, b in pairs
        if a is None or b is not None or id(a) not in left
    ]


def is_plain_def(unit: Unit) -> bool:
    """A function without decorators, of which nothing is evaluated that could have effects."""
    node = unit[0]
    return isinstance(node, DEFS) and not node.decorator_list and header_of(node) is not None


def _are_apart(a: ast.stmt, b: ast.stmt) -> bool:
    """Whether none of two functions is annotated with the other."""
    names = {node.name for node in (a, b) if isinstance(node, DEFS)}
    return not any(
        isinstance(inner, ast.Name) and inner.id in names
        for node in (a, b)
        if isinstance(node, DEFS)
        for annotation in annotations_of(node)
        if annotation
        for inner in ast.walk(annotation)
    )


def bindings(nodes: Unit) -> list[Import]:
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                value = alias.name if alias.asname else top
                bound = alias.asname or top
                found.append(Import(bound, alias.name, "", value, node.lineno))
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                bound = alias.asname or alias.name
                found.append(Import(bound, module, alias.name, "", node.lineno))
    return found


def ambiguous(bindings: list[Import]) -> str | None:
    """A name that is bound to different things, so that the order matters."""
    bound: dict[str, tuple[str, str, str]] = {}
    for i in bindings:
        # "import a.b" and "import a.c" both bind a to the package a.
        meaning = ("", "", i.value) if not i.name else (i.module, i.name, "")
        if i.name == "*" or bound.setdefault(i.bound, meaning) != meaning:
            return i.bound
    return None


def what(unit: Unit, owner: ast.ClassDef | None) -> str:
    """A statement outside of functions, in words."""
    node = unit[0]
    kind, name = key(unit)
    if kind == "definition":
        prefix = f"{owner.name}." if owner else ""
        return f"class {prefix}{name}" if isinstance(node, ast.ClassDef) else prefix + name
    if kind == "imports":
        return "import"
    if owner is not None:
        return f"{name} in class {owner.name}" if name else f"code in class {owner.name}"
    if kind == "assignment" and name.isidentifier():
        return f"constant {name}" if name.isupper() else name
    if isinstance(node, ast.If) and "__main__" in ast.dump(node.test):
        return 'code under __name__ == "__main__"'
    return "module-level code"


def line_after(
    unit: Unit, olds: list[Unit], news: list[Unit]
) -> int | None:
    """Where in the new source something was removed: at what came after it."""
    index = next(i for i, u in enumerate(olds) if u is unit)
    if not news:
        return None
    return first_line(news[min(index, len(news) - 1)][0])


def first_difference(a: ast.AST, b: ast.AST) -> int:
    """The line of the first node in ``b`` that differs from ``a``'s."""
    line = first_line(b)
    while True:
        pairs = zip(ast.iter_child_nodes(a), ast.iter_child_nodes(b), strict=False)
        pair = next(((x, y) for x, y in pairs if ast.dump(x) != ast.dump(y)), None)
        if pair is None:
            return line
        a, b = pair
        line = getattr(b, "lineno", line)
