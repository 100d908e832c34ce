"""The way in: ``site`` imports this because the session put its folder in front of PYTHONPATH.

What the app must find is what it would have found without us: its own PYTHONPATH in
``os.environ``, a ``sys.path`` without this folder, and its own ``sitecustomize``, or none.
"""

import os
import sys
from marshal import loads

#: What the agent begins with, each after those that it imports.
_PARTS = (
    "protocol", "paths", "lifeline", "reports", "receiver", "codes", "ran", "client", "hooks",
    "modules", "files", "environment", "imports", "agent",
)  # fmt: skip


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


def _load(here):
    # type: (str) -> None
    """Load the agent's modules in ``here`` from their bytecode, without a search for each.

    The import system takes twice as long. It is left to find what lacks bytecode or has changed.
    """
    external = sys.modules["_frozen_importlib_external"]
    head, _, tail = external.cache_from_source(os.path.join(here, "*.py")).rpartition("*")
    package = sys.modules["onsave_agent"]
    for name in _PARTS:
        path = os.path.join(here, name + ".py")
        status = os.stat(path)
        wanted = external.MAGIC_NUMBER + b"\0\0\0\0"
        for number in (int(status.st_mtime), status.st_size):
            wanted += (number & 0xFFFFFFFF).to_bytes(4, "little")
        with external._io.FileIO(head + name + tail) as file:
            bytecode = file.read()
        if not bytecode.startswith(wanted):
            return
        module = sys.modules["onsave_agent." + name] = type(sys)("onsave_agent." + name)
        module.__file__, module.__package__ = path, "onsave_agent"
        exec(loads(memoryview(bytecode)[16:]), module.__dict__)
        setattr(package, name, module)


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
            try:
                _load(here)
            except OSError:
                pass  # No bytecode yet: it is written now.
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
