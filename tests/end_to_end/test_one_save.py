"""What one save does to each of the sample apps: the app is asked, by pid and by token."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import SAMPLES, Project, Session, Token

Start = Callable[..., Session]
Copy = Callable[[str], Project]

everywhere = pytest.mark.parametrize("app", SAMPLES)


def assert_done_as_told(session: Session, token: Token, before: tuple[int, int]) -> None:
    """The app answers with what is in the file, and was restarted just if the verdict said so."""
    session.eventually(token)
    session.settle()
    verdict = session.last_verdict(token.file)
    after = session.identity()
    if verdict.action == "patch":
        assert after == before, f"told {verdict}, but the app was restarted"
    else:
        assert verdict.action == "restart", str(verdict)
        assert after[0] == before[0] + 1, f"told {verdict}, and runs went {before} to {after}"
        assert after[1] != before[1]


def make_venv(path: Path) -> tuple[str, Path]:
    """An environment that sees the packages of this one: its interpreter, its site-packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    packages = next(path.glob("lib/python*/site-packages"))
    (packages / "outer.pth").write_text(f"{site.getsitepackages()[0]}\n")
    return str(path / "bin" / "python"), packages


@everywhere
def test_what_is_not_loaded_or_has_not_changed_is_left_alone(start: Start, app: str) -> None:
    session = start(app)
    sample = session.sample
    session.eventually(sample.leaf)
    before = session.identity()
    project = session.project

    project.write("README.md", "# A new file\n")
    project.write("brand_new.py", "NEW = 1\n")
    project.write(sample.unused, project.read(sample.unused) + "\nMORE = 1\n")
    files = ["README.md", "brand_new.py", sample.unused]
    if sample.test:
        project.write(sample.test, project.read(sample.test) + "\nMORE = 1\n")
        files.append(sample.test)
    for name in files:
        verdict = session.save_one(name)
        assert (verdict.action, verdict.reason) == ("ignore", "not loaded"), f"{name}: {verdict}"

    for token in (sample.leaf, sample.main, *filter(None, [sample.data])):
        verdict = session.save_one(token.file)
        assert (verdict.action, verdict.reason) == ("ignore", "same bytes"), str(verdict)
        os.utime(project / token.file)
        project.write(token.file, project.read(token.file), rename=True)
        verdict = session.save_one(token.file)
        assert (verdict.action, verdict.reason) == ("ignore", "same bytes"), str(verdict)

    assert session.identity() == before
    assert session.answers(sample.leaf, session.project.token(sample.leaf))


@everywhere
@pytest.mark.parametrize("which", ["leaf", "main", "data", "template"])
def test_a_changed_loaded_file_is_live(start: Start, app: str, which: str) -> None:
    token = getattr(SAMPLES[app], which)
    if token is None:
        pytest.skip(f"the {app} sample has no {which}")
    session = start(app)
    session.eventually(token)  # a template is loaded by its first use
    before = session.identity()
    session.project.bump(token)
    session.save_one(token.file)
    assert_done_as_told(session, token, before)


@everywhere
def test_a_module_counts_from_its_import_on(start: Start, app: str) -> None:
    session = start(app)
    lazy = session.sample.lazy
    before = session.identity()
    assert session.bump(lazy).reason == "not loaded"
    assert session.identity() == before
    session.eventually(lazy)  # imports it, in one worker at least
    session.knows(lazy.file)
    session.project.bump(lazy)
    verdict = session.save_one(lazy.file)
    assert verdict.action in ("patch", "restart"), str(verdict)
    session.eventually(lazy)


@pytest.mark.parametrize("via", ["client", "command", "lsp"])
@pytest.mark.parametrize("rename", [False, True], ids=["in place", "by rename"])
def test_whoever_tells_of_it_and_however_it_was_written(
    start: Start, via: str, rename: bool
) -> None:
    session = start("service", via=via)
    for _ in range(3):
        before = session.identity()
        session.project.bump(session.sample.leaf, rename)
        session.save_one(session.sample.leaf.file)
        assert_done_as_told(session, session.sample.leaf, before)


def test_the_body_of_a_function(start: Start) -> None:
    """Patched or restarted, as the verdict says: the answer is the new one either way."""
    session = start("flask")
    token = Token("shop/views.py", "greeting", "/greeting")
    for _ in range(3):
        before = session.identity()
        session.project.bump(token)
        session.save_one(token.file)
        assert_done_as_told(session, token, before)


def test_two_files_of_one_save_are_one_action(start: Start) -> None:
    session = start("flask")
    sample = session.sample
    before = session.identity()
    session.project.bump(sample.leaf)
    session.project.bump(sample.main)
    session.save(sample.leaf.file, sample.main.file)
    session.eventually(sample.leaf)
    session.eventually(sample.main)
    session.settle()
    assert session.identity()[0] <= before[0] + 1


def test_a_deleted_module_is_missed_and_the_old_code_goes_on(start: Start) -> None:
    session = start("flask")
    leaf = session.sample.leaf
    path = session.project / leaf.file
    text = path.read_text()
    path.unlink()
    before = session.pid()
    verdict = session.save_one(leaf.file)
    assert (verdict.action, verdict.reason) == ("restart", "deleted")
    session.until_state("held")
    assert session.pid() == before
    assert session.answers(leaf, "prices-0")
    session.until(lambda s: any("prices" in p["message"] for p in s.problems), "it is shown")

    path.write_text(text.replace("prices-0", "prices-7"))
    session.save_one(leaf.file)
    session.eventually(leaf)
    session.ready()
    assert session.pid() != before
    session.until(lambda s: not s.problems, "the problem is gone")


def test_a_renamed_module(start: Start) -> None:
    session = start("flask")
    project = session.project
    (project / "shop/prices.py").rename(project / "shop/costs.py")
    project.replace("shop/views.py", "from . import prices", "from . import costs as prices")
    project.replace("shop/costs.py", "prices-0", "prices-8")
    session.save("shop/prices.py", "shop/costs.py", "shop/views.py", origin="rename")
    session.eventually(Token("shop/costs.py", "prices", "/prices"))


def test_a_symbolic_link_and_its_target_are_one_file(start: Start, project: Copy) -> None:
    copy = project("service")
    elsewhere = copy.path.with_name("elsewhere")
    (copy / "helpers").rename(elsewhere)
    (copy / "helpers").symlink_to(elsewhere, target_is_directory=True)
    session = start(copy, SAMPLES["service"].command, sample=SAMPLES["service"])
    for folder in (copy / "helpers", elsewhere):
        session.project.bump(session.sample.leaf)
        verdict = session.save_one(folder / "tokens.py")
        assert verdict.action in ("patch", "restart"), str(verdict)
        session.eventually(session.sample.leaf)


def test_an_editable_sibling(start: Start, project: Copy, tmp_path: Path) -> None:
    """An editable install is a .pth file in site-packages that names the sibling's folder."""
    copy: Project = project("service")
    sibling = Project(tmp_path / "sibling")
    sibling.write("src/taxes/__init__.py", "from .rates import RATE\n")
    sibling.write("src/taxes/rates.py", 'RATE = "rate-0"\n')
    copy.replace("helpers/tokens.py", 'TOKEN = "token-0"', "from taxes import RATE as TOKEN")

    python, packages = make_venv(tmp_path / "venv")
    (packages / "sibling.pth").write_text(f"{sibling / 'src'}\n")
    session = start(copy, SAMPLES["service"].command, sample=SAMPLES["service"], python=python)
    before = session.identity()
    sibling.replace("src/taxes/rates.py", "rate-0", "rate-1")
    verdict = session.save_one(sibling / "src/taxes/rates.py")
    assert verdict.action in ("patch", "restart"), str(verdict)
    session.eventually(Token("", "rate", "/token"), "rate-1")
    if verdict.action == "restart":
        assert session.identity() != before


def test_a_file_of_an_installed_package(start: Start, project: Copy, tmp_path: Path) -> None:
    """Editing a dependency in place is a real workflow: it is loaded too."""
    copy: Project = project("service")
    copy.replace("helpers/tokens.py", 'TOKEN = "token-0"', "from dependency import TOKEN")
    python, packages = make_venv(tmp_path / "venv")
    installed = Project(packages)
    installed.write("dependency.py", 'TOKEN = "dependency-0"\n')
    session = start(copy, SAMPLES["service"].command, sample=SAMPLES["service"], python=python)
    for number in (1, 2, 3):
        installed.replace("dependency.py", f"dependency-{number - 1}", f"dependency-{number}")
        session.save_one(installed / "dependency.py")
        session.eventually(Token("", "dependency", "/token"), f"dependency-{number}")
    before = session.identity()
    verdict = session.save_one(installed / "dependency.py")
    assert verdict.action == "ignore", str(verdict)
    assert session.identity() == before
