"""What a process says that it has loaded, and with which digests."""
# ruff: noqa: E501 (programs of the app's, on one line each)

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from onsave_agent.protocol import ABSENT

from .conftest import Session, age, digest, write


def entry(session: Session, path: Path) -> list[object]:
    loaded = session.loaded()
    assert str(path) in loaded, sorted(p for p in loaded if str(session.folder) in p)
    return loaded[str(path)]


def project(session: Session) -> dict[str, tuple[object, ...]]:
    """name below the folder → (kind, module), of what was loaded with the right digest."""
    found = {}
    for path, (_, known, kind, module, _) in session.loaded().items():
        if path.startswith(str(session.folder) + "/"):
            here = Path(path)
            assert known == (digest(here) if here.exists() else ABSENT), path
            found[path[len(str(session.folder)) + 1:]] = (kind, module)
    return found


def test_a_script_its_modules_and_who_imported_them(python: str, session: Session) -> None:
    write(
        session.folder,
        {"pkg/__init__.py": "", "pkg/two.py": "from . import three", "pkg/three.py": ""},
        app="import one\n\n\nimport pkg.two", one="def f():\n    import late\nf()",
        late="", unused="",
    )
    session.run(python, "app.py")
    assert project(session) == {
        "app.py": ("main", "__main__"), "one.py": ("module", "one"),
        "late.py": ("module", "late"), "pkg/__init__.py": ("module", "pkg"),
        "pkg/two.py": ("module", "pkg.two"), "pkg/three.py": ("module", "pkg.three"),
    }
    assert entry(session, session.folder / "one.py")[4] == f"{session.folder}/app.py:1"
    assert entry(session, session.folder / "late.py")[4] == f"{session.folder}/one.py:2"
    assert entry(session, session.folder / "pkg/three.py")[4] == f"{session.folder}/pkg/two.py:1"


def test_library_files_come_without_a_digest(python: str, session: Session) -> None:
    write(session.folder, app="import colorsys, json.tool")
    session.run(python, "app.py")
    found = {Path(path).name: entry for path, entry in session.loaded().items()}
    assert found["colorsys.py"][1:4] == [None, "module", "colorsys"]
    assert found["os.py"][1] is None
    assert all("onsave_agent" not in path for path in session.loaded())


def test_an_edited_library_file_has_one(python: str, session: Session) -> None:
    command = [python, "-c", "import colorsys; print(colorsys.__file__)"]
    where = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    write(session.folder, app="import colorsys")
    session.run(python, "app.py", edited=[os.path.realpath(where)])
    assert entry(session, Path(os.path.realpath(where)))[1] == digest(Path(where))


@pytest.mark.parametrize("how", ["-m module", "-m package", "folder", "zipapp", "-m in zip"])
def test_the_main_program(python: str, session: Session, how: str) -> None:
    package = {"pkg/__init__.py": "", "pkg/__main__.py": "import other"}
    write(session.folder, package, mod="import other", other="")
    if how == "-m module":
        session.run(python, "-m", "mod")
        assert project(session)["mod.py"][0] == "main"
    elif how == "-m package":
        session.run(python, "-m", "pkg")
        assert project(session)["pkg/__main__.py"][0] == "main"
        assert project(session)["pkg/__init__.py"] == ("module", "pkg")
    elif how == "folder":
        (session.folder / "pkg" / "other.py").write_text("")
        session.run(python, "pkg")
        assert project(session)["pkg/__main__.py"][0] == "main"
        assert "pkg/other.py" in project(session)
    else:
        with zipfile.ZipFile(session.folder / "app.pyz", "w") as archive:
            archive.writestr("__main__.py", "import inside")
            archive.writestr("inside.py", "import other")
        age(session.folder / "app.pyz")
        time.sleep(0.1)  # A process that begins later may take its bytes for those it loaded.
        if how == "zipapp":
            session.run(python, "app.pyz", env={"PYTHONPATH": "."})
            assert project(session)["app.pyz"] == ("main", "__main__")
        else:
            session.run(python, "-m", "inside", env={"PYTHONPATH": "app.pyz:."})
            assert project(session)["app.pyz"][0] in ("module", "main")
        assert "other.py" in project(session)


@pytest.mark.parametrize(
    "options", [["-W", "ignore"], ["-Wignore"], ["-X", "dev"], ["-Bu"], ["-BW", "ignore"],
                ["--check-hash-based-pycs", "default"], ["-OOE"[:3]]],
)
def test_interpreter_options_before_the_script(
    python: str, session: Session, options: list[str]
) -> None:
    write(session.folder, app="")
    session.run(python, *options, "app.py", "-c", "other.py")
    assert project(session) == {"app.py": ("main", "__main__")}


def test_a_script_that_does_not_exist(python: str, session: Session) -> None:
    assert session.run(python, "nothing.py").returncode == 2
    assert project(session) == {"nothing.py": ("missing", "__main__")}


def test_what_was_looked_for_in_vain(python: str, session: Session) -> None:
    write(
        session.folder, {"pkg/__init__.py": ""},
        app="import pkg\nfor name in ('gone', 'pkg.gone'):\n"
            "    try: __import__(name)\n    except ImportError: pass\n",
    )
    session.run(python, "app.py")
    missing = {name for name, (kind, _) in project(session).items() if kind == "missing"}
    assert missing == {"gone.py", "gone/__init__.py", "pkg/gone.py", "pkg/gone/__init__.py"}


def test_sourceless_bytecode(python: str, session: Session) -> None:
    write(session.folder, app="import gone", gone="x = 1")
    make = "import py_compile; py_compile.compile('gone.py', 'gone.pyc')"
    subprocess.run([python, "-c", make], cwd=session.folder, check=True)
    (session.folder / "gone.py").unlink()
    age(session.folder / "gone.pyc")
    os.utime(session.folder / "gone.pyc")  # its ctime is now: let the process begin later
    time.sleep(0.1)
    session.run(python, "app.py")
    assert project(session)["gone.pyc"] == ("module", "gone")
    assert project(session)["gone.py"] == ("missing", "gone")


def test_an_extension_module(python: str, session: Session) -> None:
    command = [python, "-c", "import _json; print(getattr(_json, '__file__', ''))"]
    where = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    if not where:
        pytest.skip("this interpreter has no extension modules as files")
    copy = session.folder / Path(where).name
    copy.write_bytes(Path(where).read_bytes())
    time.sleep(0.1)
    write(session.folder, app="import sys; sys.modules.pop('_json', 0)\nimport _json")
    session.run(python, "app.py")
    assert project(session)[copy.name] == ("extension", "_json")


def test_reload_reports_the_new_bytes(python: str, session: Session) -> None:
    write(
        session.folder, other="x = 1",
        app="import importlib, other\nopen('other.py', 'w').write('x = 2')\n"
            "importlib.reload(other)\nassert other.x == 2",
    )
    old = digest(session.folder / "other.py")
    assert session.run(python, "app.py").returncode == 0
    reports = [e[1] for m in session.of("loaded") for e in m["files"] if e[0].endswith("/other.py")]
    assert reports == [old, digest(session.folder / "other.py")]


def test_modules_entered_by_hand(python: str, session: Session) -> None:
    write(
        session.folder, by_file="", by_spec="", lazy="",
        app="import sys, types, importlib.util\n"
            "m = types.ModuleType('by_file'); m.__file__ = 'by_file.py'\n"
            "sys.modules['by_file'] = m\n"
            "m = types.ModuleType('by_spec')\n"
            "m.__spec__ = importlib.util.spec_from_file_location('by_spec', 'by_spec.py')\n"
            "sys.modules['by_spec'] = m\n"
            "sys.modules['nonsense'] = 3\nsys.modules['none'] = None\n"
            "sys.path_importer_cache.clear()\n",
    )
    time.sleep(0.1)
    session.run(python, "app.py")
    assert project(session)["by_file.py"] == ("module", "by_file")
    assert project(session)["by_spec.py"] == ("module", "by_spec")


def test_a_lazy_module_stays_lazy(python: str, session: Session) -> None:
    write(
        session.folder, lazy="print('loaded')",
        app="import importlib.util, sys\n"
            "spec = importlib.util.find_spec('lazy')\n"
            "loader = importlib.util.LazyLoader(spec.loader)\nspec.loader = loader\n"
            "module = importlib.util.module_from_spec(spec)\nsys.modules['lazy'] = module\n"
            "loader.exec_module(module)\n",
    )
    assert session.run(python, "app.py").stdout == ""


def test_runpy_run_path(python: str, session: Session) -> None:
    write(session.folder, app="import runpy\nrunpy.run_path('job.py')", job="import helper", helper="")
    session.run(python, "app.py")
    assert {"job.py", "helper.py"} <= set(project(session))


def test_links_are_followed(python: str, session: Session) -> None:
    write(session.folder, {"real/deep/mod.py": "", "real/leaf.py": ""}, app="import mod, leaf")
    (session.folder / "link").symlink_to("real/deep")
    (session.folder / "leaf.py").symlink_to("real/leaf.py")
    session.run(python, "app.py", env={"PYTHONPATH": str(session.folder / "link")})
    assert {"real/deep/mod.py", "real/leaf.py"} <= set(project(session))
    assert "leaf.py" not in project(session)


def test_spaces_and_other_alphabets(python: str, session: Session) -> None:
    folder = session.folder / "mein Größe 中"
    folder.mkdir()
    (folder / "app.py").write_text("import mód")
    (folder / "mód.py").write_text("# 日本")
    session.run(python, str(folder / "app.py"))
    assert {"mein Größe 中/app.py", "mein Größe 中/mód.py"} <= set(project(session))


def test_what_made_it_fail_is_loaded(python: str, session: Session) -> None:
    write(session.folder, app="import one", one="import bad", bad="def f(:")
    assert session.run(python, "app.py").returncode == 1
    assert set(project(session)) == {"app.py", "one.py", "bad.py"}


def test_a_module_that_kills_the_process_is_known(python: str, session: Session) -> None:
    write(session.folder, app="import bad", bad="import os; os.kill(os.getpid(), 9)")
    session.run(python, "app.py")
    assert "bad.py" in project(session)


def test_an_ignored_file_is_not_reported(python: str, session: Session) -> None:
    write(session.folder, app="import gen_one, one", gen_one="", one="")
    session.run(python, "app.py", ignore=["*/gen_*.py"])
    assert set(project(session)) == {"app.py", "one.py"}


def test_many_modules_come_in_small_messages(python: str, session: Session) -> None:
    names = [f"module_with_a_rather_long_name_{n}" for n in range(1500)]
    write(session.folder, **dict.fromkeys(names, ""), app="import " + ", ".join(names))
    session.run(python, "app.py")
    assert len(project(session)) == 1501


# --- bytecode caches ----------------------------------------------------------------------------

SECOND = 1_700_000_000


def prints(python: str, session: Session, *options: str, **env: str) -> str:
    done = session.run(python, *options, "app.py", env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("options", [[], ["-O"]])
@pytest.mark.parametrize("prefix", [False, True])
def test_two_saves_of_one_size_within_a_second(
    python: str, session: Session, options: list[str], prefix: bool
) -> None:
    """The race that every reloader of today loses: the .pyc knows whole seconds only."""
    env = {"PYTHONPYCACHEPREFIX": str(session.folder / "cache")} if prefix else {}
    write(session.folder, app="import other; print(other.x)")
    other = session.folder / "other.py"
    for _ in range(3):
        other.write_text("x = 1")
        os.utime(other, ns=(SECOND * 10**9,) * 2)
        # What plain Python leaves behind when it compiles in the second of the first save.
        command = [python, *options, "-c", "import other"]
        plain = {**os.environ, **env}
        plain.pop("PYTHONDONTWRITEBYTECODE", None)
        subprocess.run(command, cwd=session.folder, check=True, env=plain)
        caches = list((session.folder / "cache" if prefix else session.folder).rglob("other.*.pyc"))
        assert len(caches) == 1
        os.utime(caches[0], ns=(SECOND * 10**9 + 10**8,) * 2)
        other.write_text("x = 2")
        os.utime(other, ns=(SECOND * 10**9 + 5 * 10**8,) * 2)
        assert prints(python, session, *options, **env) == "2"
        assert entry(session, other)[1] == digest(other)
        caches[0].unlink()


def test_a_settled_cache_is_used(python: str, session: Session) -> None:
    """Shown by a cache whose code is not the source's: nothing else could tell."""
    write(session.folder, app="import other; print(other.x)", other="x = 1")
    assert prints(python, session) == "1"
    (cache,) = (session.folder / "__pycache__").glob("other.*.pyc")
    original = cache.read_bytes()
    write(session.folder, other="x = 5")
    stat = (session.folder / "other.py").stat()
    # The same size and time as the cached source: plain Python could not tell, nor can we,
    # and we need not: the cache is younger than the source by far.
    header = original[:8] + int(stat.st_mtime).to_bytes(4, "little") + original[12:16]
    cache.write_bytes(header + original[16:])
    assert prints(python, session) == "1"


def test_a_cache_is_written_only_when_it_can_be_trusted(python: str, session: Session) -> None:
    write(session.folder, app="import other, old", old="")
    (session.folder / "other.py").write_text("")
    prints(python, session)
    names = {path.name.split(".")[0] for path in (session.folder / "__pycache__").iterdir()}
    assert names == {"old"}


@pytest.mark.parametrize("mode", ["CHECKED_HASH", "UNCHECKED_HASH"])
def test_hash_based_caches(python: str, session: Session, mode: str) -> None:
    write(session.folder, app="import other; print(other.x)", other="x = 1")
    make = (
        "import py_compile as p; "
        f"p.compile('other.py', invalidation_mode=p.PycInvalidationMode.{mode})"
    )
    subprocess.run([python, "-c", make], cwd=session.folder, check=True)
    write(session.folder, other="x = 2")
    assert prints(python, session) == "2"
    assert entry(session, session.folder / "other.py")[1] == digest(session.folder / "other.py")


def test_the_digest_is_of_the_bytes_that_were_compiled(python: str, session: Session) -> None:
    """Saved while the module is on its way in: the report is of the old bytes, not the new."""
    write(
        session.folder, app="import other; print(other.x)",
        other="open(__file__, 'w').write('x = 2')\nx = 1",
    )
    old = digest(session.folder / "other.py")
    assert prints(python, session) == "1"
    assert entry(session, session.folder / "other.py")[1] == old


def test_a_late_digest_is_null_where_the_file_may_have_changed(
    python: str, session: Session
) -> None:
    write(
        session.folder, hand="",
        app="import sys, types\nopen('hand.py', 'w').write('changed')\n"
            "m = types.ModuleType('hand'); m.__file__ = 'hand.py'; sys.modules['hand'] = m\n",
    )
    session.run(python, "app.py", data=False)
    assert entry(session, session.folder / "hand.py")[1] is None


def test_sync_reports_the_rest(python: str, session: Session) -> None:
    write(
        session.folder, hand="",
        app="import sys, types, time\n"
            "m = types.ModuleType('hand'); m.__file__ = 'hand.py'; sys.modules['hand'] = m\n"
            "print('there', flush=True)\ntime.sleep(60)\n",
    )
    time.sleep(0.1)
    process = session.start(python, "app.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    assert str(session.folder / "hand.py") not in session.loaded()
    assert session.ask({"type": "sync"})["type"] == "synced"
    assert str(session.folder / "hand.py") in session.loaded()


def test_assertion_rewriting_of_pytest(session: Session) -> None:
    python = sys.executable
    write(session.folder, test_one="import helper\ndef test_it(): assert helper.x == 1", helper="x = 1")
    for _ in range(2):
        done = session.run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".")
        assert done.returncode == 0, done.stdout
        assert project(session)["test_one.py"] == ("module", "test_one")
        session.messages.clear()
    test = session.folder / "test_one.py"
    stat = test.stat()
    text = test.read_text().replace("== 1", "== 2")
    test.write_text(text)
    os.utime(test, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    for cache in (session.folder / "__pycache__").iterdir():
        os.utime(cache, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    done = session.run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".")
    assert done.returncode == 1, "a stale cache of rewritten assertions was believed"
    assert entry(session, test)[1] == digest(test)
