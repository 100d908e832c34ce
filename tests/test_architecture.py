"""What ARCHITECTURE.md promises of the code's shape, checked."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "server"
TOOL = SERVER / "onsave"
AGENT = SERVER / "onsave_agent"

#: Longer files are not read in a sitting. All transitions in one place are worth more than that.
MOST_LINES = 500
LONGER = {"onsave/core/step.py": 800}

#: Who may import what is not the standard library's, by folder or file below server/.
MAY_IMPORT = {
    "psutil": ["onsave/session"],
    "pygls": ["onsave/lsp"],
    "lsprotocol": ["onsave/lsp"],
    "tomli": ["onsave/config.py"],
}


#: What the agent may import besides: what it stands in for, and, in functions that run after the
#: app has imported the framework, that framework.
AGENT_MAY_IMPORT = {
    "bootstrap/sitecustomize.py": {"sitecustomize"},
    "frameworks.py": {"werkzeug"},
}


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """The top-level names of what a file imports, anywhere in it, with lines."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), node.lineno


def where(path: Path, line: int = 1) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def interpreters() -> list[str]:
    """Every Python from 3.9 on that this machine has, one of each version."""
    candidates = [sys.executable]
    candidates += [found for minor in range(9, 20) if (found := shutil.which(f"python3.{minor}"))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += [str(path) for path in sorted(pyenv.glob("3.*/bin/python"))]
    versions: dict[str, str] = {}
    for candidate in candidates:
        asked = subprocess.run(
            [candidate, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        version = asked.stdout.strip()
        if asked.returncode == 0 and tuple(map(int, version.split("."))) >= (3, 9):
            versions.setdefault(version, candidate)
    return [versions[key] for key in sorted(versions, key=lambda v: tuple(map(int, v.split("."))))]


def test_calls_go_down() -> None:
    """The import contract of pyproject.toml."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_agent_imports_only_the_standard_library() -> None:
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in modules(AGENT)
        for name, line in imported(path)
        if not name.startswith(".")
        and name.split(".")[0] not in sys.stdlib_module_names | {"onsave_agent"}
        and name.split(".")[0] not in AGENT_MAY_IMPORT.get(str(path.relative_to(AGENT)), ())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_dependency_stands_only_in_its_place(package: str) -> None:
    allowed = [SERVER / place for place in MAY_IMPORT[package]]
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in modules(SERVER)
        for name, line in imported(path)
        if name.split(".")[0] == package
        and not any(path == place or place in path.parents for place in allowed)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_tool_imports_of_the_agent_only_the_protocol() -> None:
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in modules(TOOL)
        for name, line in imported(path)
        if name.startswith("onsave_agent.") and name != "onsave_agent.protocol"
    ]
    assert not wrong, "\n".join(wrong)


def test_the_agent_never_prints() -> None:
    wrong = [
        where(path, node.lineno)
        for path in modules(AGENT)
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("python", interpreters())
def test_the_agent_compiles_without_a_warning(python: str) -> None:
    check = (
        "import sys\n"
        "for path in sys.argv[1:]:\n"
        "    with open(path, 'rb') as file:\n"
        "        compile(file.read(), path, 'exec', dont_inherit=True)\n"
    )
    done = subprocess.run(
        [python, "-I", "-W", "error", "-c", check, *map(str, modules(AGENT))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_files_are_short_enough_to_be_read() -> None:
    long = [
        f"{where(path)} has {lines} lines"
        for path in modules(SERVER)
        if (lines := len(path.read_text(encoding="utf-8").splitlines()))
        > LONGER.get(str(path.relative_to(SERVER)), MOST_LINES)
    ]
    assert not long, "\n".join(long)


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        where(path)
        for path in modules(SERVER)
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_bytes()))
    ]
    assert not silent, "\n".join(silent)
