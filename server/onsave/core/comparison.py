"""Two syntax trees, side by side: what differs, and where the functions have gone. Pure.

The trees are compared with the bodies of functions apart. What differs outside of them ran when the
module was imported, and needs a restart, with a few exceptions (see :class:`Change`); what differs
inside of them is a changed body. Statements whose text is the same are not descended into, so that
the time taken goes with the size of the edit rather than of the file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

from onsave.core import statements, syntax
from onsave.core.change import Added, Change, Found, Moved, Restart
from onsave.core.imports import Imports
from onsave.core.syntax import DEFS, FUNCTIONS, Def, Function, Scope, first_line, name_of


class Comparison:
    """One walk down both trees side by side. Raises Restart at the first cause for one."""

    def __init__(
        self, old: bytes, new: bytes, old_tree: ast.Module, new_tree: ast.Module
    ) -> None:
        # Equal text is an equal tree only where both are decoded alike.
        self.old_lines = old.splitlines()
        self.new_lines = new.splitlines()
        self.same_encoding = syntax.cookie(self.old_lines) == syntax.cookie(self.new_lines)
        self.found = Found()
        self.added: list[Added] = []
        self.removed: list[tuple[str, int]] = []
        self.unrun: set[str] = set()
        self.reordered: list[str] = []
        self.documented: list[tuple[str, str | None]] = []
        self.relaid = False
        self.seal: str | None = None  # why functions here can't be swapped
        self._mentions = syntax.lazily(lambda: syntax.mentioned(old_tree))
        self._uses = syntax.lazily(lambda: syntax.used(new_tree))
        self.imports = Imports(self._mentions, self._uses)

    def result(self) -> Change:
        found = self.found
        changed = [m.qualname for m in found.moved if m.state != "same"]
        changed += [a.qualname for a in self.added] + [name for name, _line in self.removed]
        if changed or self.imports.new or self.imports.unbound or self.unrun or self.documented:
            kind = "bodies"
        elif self.relaid or any(delta for _, _, delta in found.blocks):
            kind = "positions"
        else:
            kind = "same"
        return Change(
            kind,
            tuple(dict.fromkeys(changed)),
            moved=tuple(found.moved),
            gone=tuple(found.gone),
            blocks=tuple(found.blocks),
            added=tuple(self.added),
            removed=tuple(self.removed),
            imports=tuple(self.imports.new),
            unbound=tuple(self.imports.unbound),
            unrun=tuple(sorted(self.unrun)),
            reordered=tuple(self.reordered),
            documented=tuple(self.documented),
        )

    # --- the parts of a module that have run ---------------------------------------------------

    def module(self, old: ast.Module, new: ast.Module) -> None:
        a, b = syntax.docstring(old.body), syntax.docstring(new.body)
        self._documentation("", a, b)
        self._members(old.body[a is not None :], new.body[b is not None :], "", None)

    def _members(
        self, old: list[ast.stmt], new: list[ast.stmt], prefix: str, owner: ast.ClassDef | None
    ) -> None:
        """The statements of a module or of a class."""
        olds, news = statements.units(old), statements.units(new)
        pairs = statements.aligned(olds, news)
        if owner is None or not self._is_looked_through(owner):
            in_order, pairs = pairs, statements.moved(olds, news, pairs)
            if len(pairs) < len(in_order):
                self.reordered.append(prefix)
        for a, b in pairs:
            if a is not None and b is not None:
                self._member(a, b, prefix, owner)
            elif b is None and a is not None:
                self._remove(a, prefix, owner, statements.line_after(a, olds, news))
            elif b is not None and not self._add(b, prefix, owner):
                raise Restart(statements.what(b, owner) + " was added", first_line(b[0]))

    def _member(
        self, a: list[ast.stmt], b: list[ast.stmt], prefix: str, owner: ast.ClassDef | None
    ) -> None:
        if isinstance(b[0], ast.Import | ast.ImportFrom):
            self._import_list(a, b, owner, b[0].lineno)
        elif not self._same(a[0], b[0], prefix, first_line(b[0])):
            line = statements.first_difference(a[0], b[0])
            raise Restart(statements.what(b, owner) + " changed", line)

    def _import_list(
        self, old: list[ast.stmt], new: list[ast.stmt], owner: ast.ClassDef | None, line: int | None
    ) -> None:
        self.relaid |= len(old) != len(new) or not all(map(self._same_text, old, new))
        self.imports.edited(old, new, at_the_top=owner is None, line=line)

    def _is_looked_through(self, node: ast.ClassDef) -> bool:
        """Whether something sees what is in the class when it is made, as far as syntax tells."""
        return bool(node.decorator_list or node.keywords or self.seal or syntax.sealed(node, ""))

    def _documentation(self, qualname: str, a: ast.Constant | None, b: ast.Constant | None) -> None:
        """Of the module ("") or of a class."""
        old, new = a and a.value, b and b.value
        if old != new:
            self.documented.append((qualname, None if new is None else str(new)))

    def _remove(
        self, unit: list[ast.stmt], prefix: str, owner: ast.ClassDef | None, line: int | None
    ) -> None:
        """Leave out what is gone, if that is sound. Raises Restart."""
        node = unit[0]
        under = syntax.for_type_checkers(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._import_list(unit, [], owner, line)
        elif under and isinstance(node, ast.If) and not node.orelse:
            self.unrun.add(under)
        elif (
            isinstance(node, DEFS)
            and owner is None
            and not (prefix or node.decorator_list or syntax.is_special(node.name))
            and syntax.header_of(node) is not None
            and not (self._uses(node.name) or self._uses("*"))
        ):
            self.removed.append((node.name, node.lineno))
            self._inner_are_gone(node.name, node)
        else:
            raise Restart(statements.what(unit, owner) + " was removed", line)

    def _add(self, unit: list[ast.stmt], prefix: str, owner: ast.ClassDef | None) -> bool:
        """Take in what is new, if that is sound."""
        node = unit[0]
        under = syntax.for_type_checkers(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._import_list([], unit, owner, node.lineno)
            return True
        if under and isinstance(node, ast.If) and not node.orelse:
            self.unrun.add(under)
            return True
        if not isinstance(node, DEFS) or node.decorator_list or self.seal or "<locals>" in prefix:
            return False
        header = syntax.header_of(node)
        if header is None or syntax.is_special(node.name) or self._mentions(node.name):
            return False
        if owner is not None and self._is_looked_through(owner):
            return False
        self.added.append(Added(prefix + node.name, node.name, node.lineno, header))
        return True

    # --- the walk -------------------------------------------------------------------------------

    def _same(self, a: object, b: object, prefix: str, line: int) -> bool:
        """Do these do the same, functions' bodies apart? Functions on the way are collected.

        False where they differ; raises where the cause can be named better than by who asks.
        """
        if isinstance(a, list):
            return (
                isinstance(b, list)
                and len(a) == len(b)
                and all(self._same(x, y, prefix, line) for x, y in zip(a, b, strict=True))
            )
        if type(a) is not type(b) and not (isinstance(a, DEFS) and isinstance(b, DEFS)):
            return False
        if not isinstance(a, ast.AST) or not isinstance(b, ast.AST):
            # By type and value: 1, 1.0 and True differ, as do 0.0 and -0.0.
            return a == b and repr(a) == repr(b) if isinstance(a, float | complex) else a == b
        if isinstance(a, ast.stmt) and isinstance(b, ast.stmt) and self._same_text(a, b):
            start, delta = first_line(a), first_line(b) - first_line(a)
            self.found.blocks.append((start, a.end_lineno or start, delta))
            return True
        if isinstance(a, DEFS) and isinstance(b, DEFS):
            return self._def(a, b, prefix)
        if isinstance(a, ast.Lambda) and isinstance(b, ast.Lambda):
            self.relaid = self.relaid or syntax.place(a) != syntax.place(b)
            if not self._same(a.args, b.args, prefix, b.lineno):
                return False
            self._body(a, b, prefix + "<lambda>")
            return True
        if isinstance(a, ast.ClassDef) and isinstance(b, ast.ClassDef):
            return self._class(a, b, prefix)
        if isinstance(a, ast.If) and isinstance(b, ast.If) and "<locals>" not in prefix:
            under = syntax.for_type_checkers(a)
            if under and under == syntax.for_type_checkers(b):
                self.relaid = True
                self.unrun.add(under)
                return self._same(a.orelse, b.orelse, prefix, line)
        if isinstance(b, ast.expr | ast.stmt):
            line = b.lineno
            self.relaid = self.relaid or syntax.place(a) != syntax.place(b)
        return all(
            self._same(getattr(a, name, None), getattr(b, name, None), prefix, line)
            for name in a._fields
            if name not in ("kind", "ctx", "type_comment", "type_ignores")
        )

    def _class(self, a: ast.ClassDef, b: ast.ClassDef, prefix: str) -> bool:
        if a.name != b.name:
            return False
        qualname = prefix + a.name
        line = first_line(b)
        for name, part in (
            ("decorator_list", "decorator"),
            ("bases", "base"),
            ("keywords", "keyword argument"),
            ("type_params", "type parameter"),
        ):
            if not self._same(getattr(a, name, []), getattr(b, name, []), prefix, line):
                raise Restart(f"{part} of {qualname} changed", line)
        x, y = syntax.docstring(a.body), syntax.docstring(b.body)
        if self._is_looked_through(b) or "<locals>" in qualname:
            if (x and x.value) != (y and y.value):
                raise Restart(f"docstring of class {qualname} changed", y.lineno if y else line)
        else:
            self._documentation(qualname, x, y)
        with self._sealed(b, qualname):
            self._members(a.body[x is not None :], b.body[y is not None :], qualname + ".", b)
        return True

    def _def(self, a: Def, b: Def, prefix: str) -> bool:
        if a.name != b.name:
            return False
        qualname = prefix + b.name
        line = first_line(b)
        self.relaid = self.relaid or syntax.place(a) != syntax.place(b)
        if type(a) is not type(b):
            async_ = isinstance(b, ast.AsyncFunctionDef)
            raise Restart(f"{qualname} {'became' if async_ else 'is no longer'} async", b.lineno)
        if not self._same(a.decorator_list, b.decorator_list, prefix, line):
            raise Restart(f"decorator of {qualname} changed", line)
        if not self._same(
            getattr(a, "type_params", []), getattr(b, "type_params", []), prefix, line
        ):
            raise Restart(f"type parameter of {qualname} changed", b.lineno)
        part, annotated = self._signature_difference(a, b, prefix)
        x, y = syntax.docstring(a.body), syntax.docstring(b.body)
        documented = (x and x.value) != (y and y.value)
        if part is None and not annotated and not documented:
            self._body(a, b, qualname)
            return True
        what = part or ("annotation" if annotated else "docstring")
        header = syntax.header_of(b)
        if b.decorator_list or header is None or "<locals>" in prefix or self.seal:
            raise Restart(f"{what} of {qualname} changed", b.lineno)
        self._body(a, b, qualname, header, bool(part))
        return True

    def _signature_difference(self, a: Def, b: Def, prefix: str) -> tuple[str | None, bool]:
        """Which part of what it is called with differs, and whether an annotation does."""
        line = b.lineno
        x, y = a.args, b.args
        mark = self.found.mark()
        shapes = [
            (
                [p.arg for p in args.posonlyargs],
                [p.arg for p in args.args],
                [p.arg for p in args.kwonlyargs],
                args.vararg and args.vararg.arg,
                args.kwarg and args.kwarg.arg,
            )
            for args in (x, y)
        ]
        if shapes[0] != shapes[1]:
            return "parameters", False
        if not self._same(x.defaults, y.defaults, prefix, line) or not self._same(
            x.kw_defaults, y.kw_defaults, prefix, line
        ):
            self.found.back_to(mark)
            return "default", False
        if self._same(syntax.annotations_of(a), syntax.annotations_of(b), prefix, line):
            return None, False
        return None, True

    # --- bodies ---------------------------------------------------------------------------------

    def _body(
        self,
        a: Function,
        b: Function,
        qualname: str,
        header: str = "",
        called_otherwise: bool = False,
    ) -> None:
        """One function in both sources, whose header is dealt with: has its own body changed?"""
        mark = self.found.mark()
        prefix = qualname + ".<locals>."
        with self._sealed(b, qualname):
            try:
                same = self._same(syntax.code_of(a), syntax.code_of(b), prefix, b.lineno)
            except Restart:
                # A nested function with another header, say: part of this one's own body.
                same = False
            if not same:
                self.found.back_to(mark)
                if self.seal:
                    raise Restart(self.seal, first_line(b))
                if isinstance(a, DEFS) and isinstance(b, DEFS):
                    was, is_ = syntax.nature(a), syntax.nature(b)
                    if was != is_:
                        raise Restart(f"{qualname} became a {is_}", b.lineno)
            state = "redefined" if header else "same" if same else "changed"
            self.found.moved.append(
                Moved(
                    qualname,
                    name_of(b),
                    first_line(a),
                    first_line(b),
                    state,
                    header,
                    called_otherwise or not same,
                )
            )
            if not same:
                self._inner(a, b, prefix)

    @contextmanager
    def _sealed(self, node: Scope, qualname: str) -> Iterator[None]:
        outer, self.seal = self.seal, self.seal or syntax.sealed(node, qualname)
        try:
            yield
        finally:
            self.seal = outer

    def _inner(self, a: Function, b: Function, prefix: str) -> None:
        """The functions inside a changed one, paired by name and by their order among namesakes."""
        olds = syntax.numbered(syntax.scopes(syntax.code_of(a), prefix))
        news = syntax.numbered(syntax.scopes(syntax.code_of(b), prefix))
        for key, (qualname, x) in olds.items():
            y = news[key][1] if key in news else None
            mark = self.found.mark()
            if isinstance(x, ast.ClassDef):
                if isinstance(y, ast.ClassDef) and not self._quietly_same(x, y, prefix):
                    raise Restart(f"class {qualname} changed", first_line(y))
                continue
            if isinstance(y, FUNCTIONS) and self._same_header(x, y, prefix):
                self._body(x, y, qualname)
                continue
            self.found.back_to(mark)
            self._is_gone(qualname, x)

    def _is_gone(self, qualname: str, node: Function) -> None:
        self.found.gone.append((qualname, name_of(node), first_line(node)))
        self._inner_are_gone(qualname, node)

    def _inner_are_gone(self, qualname: str, node: Function) -> None:
        for inner, child in syntax.scopes(syntax.code_of(node), qualname + ".<locals>."):
            if not isinstance(child, ast.ClassDef):
                self._is_gone(inner, child)

    def _same_header(self, a: Function, b: Function, prefix: str) -> bool:
        if isinstance(a, ast.Lambda) or isinstance(b, ast.Lambda):
            return type(a) is type(b) and self._quietly_same(a.args, b.args, prefix)
        x, y = syntax.docstring(a.body), syntax.docstring(b.body)
        return (
            type(a) is type(b)
            and self._quietly_same(a.decorator_list, b.decorator_list, prefix)
            and self._quietly_same(a.args, b.args, prefix)
            and self._quietly_same(a.returns, b.returns, prefix)
            and (x and x.value) == (y and y.value)
            and syntax.nature(a) == syntax.nature(b)
        )

    def _quietly_same(self, a: object, b: object, prefix: str) -> bool:
        """As ``_same``, but what is collected on the way is dropped."""
        mark = self.found.mark()
        try:
            return self._same(a, b, prefix, 0)
        except Restart:
            return False
        finally:
            self.found.back_to(mark)

    # --- text -----------------------------------------------------------------------------------

    def _same_text(self, a: ast.stmt, b: ast.stmt) -> bool:
        """The same whole lines, at the same columns: then the tree is the same too."""
        if not self.same_encoding or (a.col_offset, a.end_col_offset) != (
            b.col_offset,
            b.end_col_offset,
        ):
            return False
        old = self.old_lines[first_line(a) - 1 : a.end_lineno]
        return old == self.new_lines[first_line(b) - 1 : b.end_lineno]
