"""The way in: ``site`` imports this because the session put its folder in front of PYTHONPATH.

What the app must find is what it would have found without us: its own PYTHONPATH in
``os.environ``, a ``sys.path`` without this folder, and its own ``sitecustomize``, or none.
"""

import os
import sys


def _restore(folder):
    # type: (str) -> None
    """Take this folder out of sys.path and of the PYTHONPATH that the app sees."""
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    sys.path_importer_cache.pop(folder, None)
    # Behind os.environ's back: the C environment keeps it, for children.
    variables = os.environ._data  # type: ignore[attr-defined]
    entries = variables.get(b"PYTHONPATH", b"").split(b":")
    theirs = b":".join(entry for entry in entries if entry != os.fsencode(folder))
    if theirs:
        variables[b"PYTHONPATH"] = theirs
    else:
        variables.pop(b"PYTHONPATH", None)


def _start():
    # type: () -> None
    folder = os.path.dirname(os.path.abspath(__file__))
    _restore(folder)
    text = os.environ.get("ONSAVE_AGENT")
    if text is None:
        return
    here = os.path.dirname(folder)
    # Our bytecode is cached even where the app's is not: start-up time depends on it.
    wrote_no_bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = False
    try:
        package = sys.modules.get("onsave_agent")
        if package is None:
            # A package made by hand needs no entry in sys.path.
            package = type(sys)("onsave_agent")
            package.__path__ = [here]
            package.__file__ = os.path.join(here, "__init__.py")
            sys.modules["onsave_agent"] = package
        from onsave_agent import agent

        agent.start(text)
    finally:
        sys.dont_write_bytecode = wrote_no_bytecode
        sys.path_importer_cache.pop(here, None)


try:
    _start()
except Exception:
    # Never a word, never a failure: without an agent the app is merely unobserved.
    pass

# The app's own sitecustomize, or the very ImportError that `site` would see without us.
sys.modules.pop("sitecustomize", None)
import sitecustomize  # type: ignore[import-not-found, unused-ignore]  # noqa: E402
