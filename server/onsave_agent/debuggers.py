"""Whether a debugger holds this process, and where."""

import os
import sys
from _thread import get_ident

from onsave_agent import paths

#: (module, function) of a frame that waits for a person → the debugger's name
_WAITING = {
    ("pdb", "interaction"): "pdb",
    ("pdb", "_interaction"): "pdb",
    ("pydevd", "_do_wait_suspend"): "debugpy",
    ("pydevd", "do_wait_suspend"): "debugpy",
}
_DEBUGGERS = ("pdb", "bdb", "cmd", "pydevd", "_pydevd", "debugpy", "IPython", "ipdb")


def paused():
    # type: () -> str | None
    """"pdb at /path:line", or None."""
    me = get_ident()
    for thread, frame in list(sys._current_frames().items()):
        if thread == me:
            continue
        found = None
        walk = frame  # type: object
        while walk is not None:
            module = walk.f_globals.get("__name__") or ""  # type: ignore[attr-defined]
            found = found or _WAITING.get((module, walk.f_code.co_name))  # type: ignore
            if found and module.partition(".")[0] not in _DEBUGGERS:
                if not module.startswith("_pydevd"):
                    path = paths.real(os.path.abspath(walk.f_code.co_filename))  # type: ignore
                    return "%s at %s:%d" % (found, path, walk.f_lineno)  # type: ignore
            walk = walk.f_back  # type: ignore[attr-defined]
        if found:
            return found
    return None
