"""Whether a debugger holds this process, and where."""

import os
import sys
from _thread import get_ident

from onsave_agent import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: (module, function) of a frame that waits for a person → the debugger's name
_WAITING = {
    ("pdb", "interaction"): "pdb",
    ("pdb", "_interaction"): "pdb",
    ("pydevd", "_do_wait_suspend"): "debugpy",
    ("pydevd", "do_wait_suspend"): "debugpy",
}
_DEBUGGERS = frozenset(
    ["pdb", "bdb", "cmd", "pydevd", "_pydevd_bundle", "_pydev_bundle", "_pydevd_sys_monitoring",
     "_pydevd_frame_eval", "debugpy", "IPython", "ipdb"]
)  # fmt: skip


def paused():
    # type: () -> str | None
    """"pdb at /path:line", or None."""
    me = get_ident()
    for thread, frame in list(sys._current_frames().items()):
        if thread == me:
            continue
        found = None
        walk = frame  # type: Any
        while walk is not None:
            module = walk.f_globals.get("__name__") or ""
            found = found or _WAITING.get((module, walk.f_code.co_name))
            if found and module.partition(".")[0] not in _DEBUGGERS:
                path = paths.real(os.path.abspath(walk.f_code.co_filename))
                return "%s at %s:%d" % (found, path, walk.f_lineno)
            walk = walk.f_back
        if found:
            return found
    return None
