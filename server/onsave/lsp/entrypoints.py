"""Where a program can be started, and by which command: found by reading files, never by running.

Only what a file says in plain sight counts (``app = Flask(__name__)`` at its top level, a guard on
``__main__``, a test function); a wrong guess costs a click, running code unasked could cost more.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Larger files are generated, and nobody starts those.
MAX_SOURCE = 1024 * 1024

_WSGI_CLASSES = {"Flask": "flask", "Quart": "quart"}
_ASGI_CLASSES = {"FastAPI", "Starlette", "Litestar", "Sanic", "BlackSheep", "Application"}
#: What a script does last when it is a program: ``app.run()``, ``asyncio.run(main())``,
#: ``demo.launch()``, ``server.serve_forever()``.
_LAST_CALLS = {"run", "launch", "serve", "serve_forever", "mainloop", "run_forever"}
#: ``Application`` says nothing by itself; these are the modules that make it an ASGI app.
_ASGI_MODULES = {"fastapi", "starlette", "litestar", "blacksheep"}
_FACTORY_NAMES = ("create_app", "make_app", "get_app", "build_app", "app_factory")


@dataclass(frozen=True)
class EntryPoint:
    """One way to start something.

    line:    0-based, of the line that says so
    kind:    "flask", "django", "pytest" …, for people
    name:    a name for the session
    command: its arguments; the interpreter stands in it as ``python``
    cwd:     absolute
    options: further arguments for ``onsave run``
    """

    line: int
    kind: str
    name: str
    command: tuple[str, ...]
    cwd: str
    options: tuple[str, ...] = ()


def find(path: str, source: str, root: str, python: str = "python") -> list[EntryPoint]:
    """The entry points in the Python file ``path`` with that ``source``, by line.

    root:   the workspace folder that it is in; commands are run there where that is possible
    python: the interpreter to be used
    """
    if len(source) > MAX_SOURCE:
        return []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    file = _File(Path(path), Path(root), python, tree)
    found = [*file.django(), *file.apps(), *file.gunicorn(), *file.streamlit(), *file.main(),
             *file.tests()]  # fmt: skip
    # One lens a line is enough; the first of those above is the most particular.
    by_line: dict[int, EntryPoint] = {}
    for entry in found:
        by_line.setdefault(entry.line, entry)
    return [by_line[line] for line in sorted(by_line)]


class _File:
    def __init__(self, path: Path, root: Path, python: str, tree: ast.Module) -> None:
        self.path = path
        self.python = python
        self.tree = tree
        self.root = root if path.is_relative_to(root) else path.parent
        top = path.parent
        while (top / "__init__.py").is_file() and top != top.parent:
            top = top.parent
        #: Where the import of this module starts from.
        self.top = top
        parts = path.relative_to(top).with_suffix("").parts
        self.is_main_module = parts[-1] == "__main__"
        self.module = ".".join(parts[:-1] if parts[-1] in ("__init__", "__main__") else parts)
        self.in_package = len(parts) > 1
        self.name = parts[0] if self.in_package else _name_of(path, self.root)
        self.imported = set(_imported(tree))

    def entry(
        self, node: ast.AST | None, kind: str, *command: str, cwd: Path | None = None
    ) -> EntryPoint:
        line = getattr(node, "lineno", 1) - 1
        return EntryPoint(line, kind, self.name, (self.python, *command), str(cwd or self.top))

    def django(self) -> Iterator[EntryPoint]:
        if self.path.name == "manage.py" and _mentions(self.tree, "DJANGO_SETTINGS_MODULE"):
            guard = _main_guard(self.tree)
            yield self.entry(guard, "django", "manage.py", "runserver", cwd=self.path.parent)

    def apps(self) -> Iterator[EntryPoint]:
        """Application objects, and functions that make one."""
        for node in self.tree.body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name):
                    yield from self._app(node, _called(node.value), target.id, factory=False)
            elif isinstance(node, ast.FunctionDef) and node.name in _FACTORY_NAMES:
                made = {_called(call) for call in ast.walk(node) if isinstance(call, ast.Call)}
                for class_ in sorted(made):
                    yield from self._app(node, class_, node.name, factory=True)

    def _app(self, node: ast.stmt, class_: str, name: str, factory: bool) -> Iterator[EntryPoint]:
        target = f"{self.module}:{name}"
        if class_ in _WSGI_CLASSES and _WSGI_CLASSES[class_] in self.imported:
            # The command finds these by itself.
            plain = ("create_app", "make_app") if factory else ("app", "application")
            module = self.module if name in plain else target
            kind = _WSGI_CLASSES[class_]
            yield self.entry(node, kind, "-m", kind, "--app", module, "run")
        elif class_ in _ASGI_CLASSES and self.imported & _ASGI_MODULES:
            options = ("--factory",) if factory else ()
            yield self.entry(node, "uvicorn", "-m", "uvicorn", *options, target)
        elif class_ == "get_asgi_application" and not factory:
            yield self.entry(node, "uvicorn", "-m", "uvicorn", target)
        elif class_ == "get_wsgi_application" and not factory:
            yield self.entry(node, "gunicorn", "-m", "gunicorn", target)

    def gunicorn(self) -> Iterator[EntryPoint]:
        if not re.fullmatch(r"gunicorn(\.conf|_conf|_config)?\.py", self.path.name):
            return
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and _names(node) == ["wsgi_app"]:
                yield self.entry(
                    node, "gunicorn", "-m", "gunicorn", "-c", self.path.name, cwd=self.path.parent
                )

    def streamlit(self) -> Iterator[EntryPoint]:
        if "streamlit" in self.imported and not self.in_package:
            node = next(node for node in self.tree.body if "streamlit" in set(_imported(node)))
            yield self.entry(
                node, "streamlit", "-m", "streamlit", "run", self._relative(), cwd=self.root
            )

    def main(self) -> Iterator[EntryPoint]:
        guard = _main_guard(self.tree)
        if self.is_main_module and self.in_package:
            yield self.entry(guard, "module", "-m", self.module)
        elif guard is not None and self.path.name != "manage.py":
            if self.in_package:
                yield self.entry(guard, "module", "-m", self.module)
            else:
                yield self.entry(guard, "script", self._relative(), cwd=self.root)
        elif guard is None and not self.in_package and (last := _last_call(self.tree)):
            yield self.entry(last, "script", self._relative(), cwd=self.root)

    def tests(self) -> Iterator[EntryPoint]:
        name = self.path.name
        if not (name.startswith("test_") or name.endswith("_test.py")):
            return
        first = next(filter(_is_test, self.tree.body), None)
        if isinstance(first, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            line = first.decorator_list[0].lineno if first.decorator_list else first.lineno
            command = (self.python, "-m", "pytest", self._relative())
            # Tests end; --rerun runs them again when a file that they loaded is saved.
            yield EntryPoint(
                line - 1, "pytest", self.path.stem, command, str(self.root), ("--rerun",)
            )

    def _relative(self) -> str:
        return str(self.path.relative_to(self.root))


def _is_test(node: ast.stmt) -> bool:
    if isinstance(node, ast.ClassDef):
        return node.name.startswith("Test")
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith(
        "test"
    )


def _name_of(path: Path, root: Path) -> str:
    """A file called app.py says nothing; the folder of the project does."""
    plain = {"app", "main", "wsgi", "asgi", "manage", "server", "run", "__init__", "__main__"}
    generic = path.stem in plain or path.stem.startswith("gunicorn")
    return (root.name or "app") if generic else path.stem


def _main_guard(tree: ast.Module) -> ast.If | None:
    for node in tree.body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
            sides = [node.test.left, *node.test.comparators]
            names = {side.id for side in sides if isinstance(side, ast.Name)}
            values = {side.value for side in sides if isinstance(side, ast.Constant)}
            if "__name__" in names and "__main__" in values:
                return node
    return None


def _last_call(tree: ast.Module) -> ast.stmt | None:
    node = tree.body[-1] if tree.body else None
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        if isinstance(called, ast.Attribute) and called.attr in _LAST_CALLS:
            return node
    return None


def _imported(tree: ast.AST) -> Iterator[str]:
    """The top-level packages that are imported anywhere in ``tree``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _called(call: ast.Call) -> str:
    """The last part of what is called: ``flask.Flask(…)`` and ``Flask(…)`` are both "Flask"."""
    function = call.func
    return getattr(function, "attr", None) or getattr(function, "id", None) or ""


def _names(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _mentions(tree: ast.AST, text: str) -> bool:
    return any(isinstance(node, ast.Constant) and node.value == text for node in ast.walk(tree))
