"""Puts debugpy into the Python processes of an app that was started by *onsave: Debug*.

The extension puts this folder on the app's PYTHONPATH; after onsave's agent, ``site`` comes here,
before any code of the app. The process connects to the extension (``ONSAVE_DEBUG``), which starts a
debug session for it and answers where its adapter listens. So nothing listens inside the app: a
socket there would look like the app's own. Only the standard library and debugpy; any trouble
leaves the app undebugged, and is told to the extension, never to the app.
"""

# What runs before the app's first line imports as little as can be.
# ruff: noqa: PTH100, PTH120, SIM105

import os
import sys

#: Seconds that an app waits for a debugger before it goes on without one.
PATIENCE = 20


def _without_this_folder():
    # type: () -> None
    """What the app and its own sitecustomize see; children still have us in their environment."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)


def _attach():
    # type: () -> None
    where = os.environ.get("ONSAVE_DEBUG")
    if where is None or "ONSAVE_AGENT" not in os.environ:
        return  # not the app: onsave itself, or something started with a clean environment
    import json
    import socket
    import threading

    host, port, token = where.split(" ")
    hello = {"token": token, "pid": os.getpid(), "python": sys.executable}
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        # pydevd would warn, on the app's terminal, of modules that Python has frozen.
        os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        bundled = os.environ.get("ONSAVE_DEBUGPY")
        try:
            if bundled:
                sys.path.append(bundled)
            import debugpy
        except ImportError as error:
            hello["problem"] = str(error)
        else:
            hello["debugpy"] = os.path.dirname(os.path.abspath(debugpy.__file__))
        finally:
            if bundled and bundled in sys.path:
                sys.path.remove(bundled)
        connection.sendall(json.dumps(hello).encode("utf-8") + b"\n")
        if "problem" in hello:
            return
        answer = connection.makefile("rb").readline()
    if not answer:
        return
    adapter = json.loads(answer.decode("utf-8"))
    # Children come here by themselves; debugpy's way would rewrite their command lines.
    debugpy.configure(subProcess=False)
    debugpy.connect((adapter["host"], adapter["port"]))
    patience = threading.Timer(PATIENCE, lambda: debugpy.wait_for_client.cancel())
    patience.daemon = True
    patience.start()
    debugpy.wait_for_client()
    patience.cancel()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_attach_fork)


def _attach_fork():
    # type: () -> None
    """A forked process has debugpy's state without its threads: it would stop at a breakpoint and
    never be told to go on. It is attached anew, through the adapter of the process that forked it,
    as debugpy's own wrapper of ``os.fork`` does; or, where it only lives until it executes another
    program, or nobody debugs any more, it loses that state."""
    try:
        import debugpy
        from _pydev_bundle.pydev_monkey import _on_forked_process  # debugpy has put it there

        _on_forked_process(setup_tracing=debugpy.is_client_connected() and not _will_execute())
    except Exception:
        pass


def _will_execute():
    # type: () -> bool
    """Whether this is the moment between fork and exec of the ``subprocess`` module."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "_execute_child" and frame.f_globals["__name__"] == "subprocess":
            return True
        frame = frame.f_back
    return False


_without_this_folder()
try:
    _attach()
except Exception:
    pass  # the app is merely not debugged; the extension sees that nobody came

# The app's own sitecustomize, or the very ImportError that `site` would see without us.
sys.modules.pop("sitecustomize", None)
import sitecustomize  # noqa: E402, F401
