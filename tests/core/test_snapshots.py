"""What is imported ahead, and when a snapshot won't do."""

from __future__ import annotations

from onsave.core import snapshots
from onsave.core.model import FailedException, Failure, Frame, Loaded, Run, Wanted
from onsave.core.snapshots import Knowledge


def run(*modules: str, own: tuple[str, ...] = ("views",), number: int = 1) -> Run:
    made = Run(number, Wanted("first start"))
    for name in modules:
        made.loaded[f"/lib/{name}.py"] = Loaded("module", name, digests={1: None})
    for name in own:
        made.loaded[f"/app/{name}.py"] = Loaded("module", name, digests={1: "d"})
    made.loaded["/lib/fast.so"] = Loaded("extension", "fast", digests={1: None})
    made.loaded["/app/app.py"] = Loaded("main", "__main__", digests={1: "d"})
    made.loaded["/app/data.yaml"] = Loaded("data", digests={1: "d"})
    return made


def test_only_modules_of_libraries_and_none_that_was_edited() -> None:
    assert snapshots.library_modules(run("flask", "yaml")) == ["flask", "yaml"]
    edited = run("flask", "yaml")
    edited.loaded["/lib/yaml.py"].digests = {1: None, 2: "edited"}
    assert snapshots.library_modules(edited) == ["flask"]


def test_the_order_is_the_first_one_and_news_come_last() -> None:
    known = Knowledge()
    known.heard(run("flask", "yaml"))
    known.heard(run("yaml", "numpy", "flask"))
    assert known.names == ["flask", "yaml", "numpy"]


def test_what_is_not_used_any_more_is_forgotten_but_not_at_once() -> None:
    known = Knowledge()
    known.heard(run("flask", "yaml"))
    known.heard(run("flask"))
    assert known.names == ["flask", "yaml"]
    known.heard(run("flask"))
    assert known.names == ["flask"]


def test_a_trial_for_what_was_never_tried() -> None:
    known = Knowledge()
    assert not known.wants_trial()
    known.heard(run("flask", "yaml"))
    assert known.wants_trial()
    known.took(["flask", "yaml"], {"flask"}, {"yaml": "prints"})
    assert not known.wants_trial() and known.ahead == ["flask"]
    known.heard(run("flask", "yaml", "numpy"))
    assert known.wants_trial()


def test_a_trial_that_says_nothing_of_a_module() -> None:
    known = Knowledge()
    known.heard(run("odd"))
    known.took(["odd"], set(), {})
    assert known.ahead == [] and known.skipped["odd"]


def test_another_trial_after_a_run_that_was_different() -> None:
    known = Knowledge()
    known.heard(run("flask", "lib"))
    known.took(["flask", "lib"], {"flask", "lib"}, {})
    known.unlike({"lib": "it reads LEVEL"})
    assert known.ahead == ["flask"]
    assert known.wants_trial()  # whoever needs lib is to be left out as well


def test_files_that_changed() -> None:
    then = (1, 2, 3, 4, 5)
    assert snapshots.changed({"a": then, "b": None}, {"a": then, "b": None}) is None
    assert snapshots.changed({"a": then}, {"a": (1, 2, 3, 4, 6)}) == "a"
    assert snapshots.changed({"a": then}, {}) == "a"
    assert snapshots.changed({"b": None}, {"b": then}) == "b"
    assert snapshots.too_new({"a": then, "b": None}, 6) is None
    assert snapshots.too_new({"a": then}, 5) == "a"


def test_how_long_a_resumed_run_may_take() -> None:
    assert snapshots.patience(0.5) == 5.0
    assert snapshots.patience(10.0) == 30.0


def test_memory() -> None:
    gib = 2**30
    assert snapshots.is_enough_memory(2 * gib, gib)
    assert not snapshots.is_enough_memory(gib, gib)


def failure(*frames: Frame) -> Failure:
    raised = FailedException("ImportError", "no", None, frames)
    return Failure("ImportError: no", exceptions=(raised,) if frames else ())


def test_which_failures_are_doubtful() -> None:
    own = Frame("/app/views.py", 3, "<module>")
    library = Frame("/app/.venv/lib/site-packages/x.py", 3, "<module>")
    called = Frame("/usr/lib/x.py", 3, "parse")
    doubtful = [
        (failure(own), None, False),
        (failure(own, library), None, True),
        (failure(own, called), None, False),
        (failure(), "SIGSEGV", True),
        (failure(), "SIGTERM", False),
        (failure(), None, False),
    ]
    for what, signal, wanted in doubtful:
        assert snapshots.is_doubtful(what, signal, ["/app"]) is wanted, what
