"""What is done right after a certain module of the app's has been imported.

Only then, so that an app which never imports it pays nothing: our own modules named here are
imported at that moment, too.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HERE = os.path.dirname(__file__)

#: module of the app's → (our module, its function, which takes the module)
AFTER = {
    "socket": ("listen", "after_socket"),
    "gevent._socket3": ("listen", "after_gevent"),
    "uvloop": ("uvloops", "after_uvloop"),
    "subprocess": ("environment", "after_subprocess"),
    "threading": ("crash", "after_threading"),
    "asyncio.base_events": ("crash", "after_asyncio"),
    "traceback": ("hooks", "after_traceback"),
    "werkzeug._reloader": ("frameworks", "after_werkzeug"),
    "django.utils.autoreload": ("frameworks", "after_django"),
    "uvicorn.config": ("frameworks", "after_uvicorn"),
    "gunicorn.config": ("frameworks", "after_gunicorn"),
    "gunicorn.ctl.server": ("frameworks", "after_gunicorn_control"),
    "gunicorn.workers.base": ("frameworks", "after_gunicorn_worker"),
    "hypercorn.run": ("frameworks", "after_hypercorn"),
    "pydevd": ("frameworks", "after_pydevd"),
    "granian.server.common": ("frameworks", "after_granian"),
    "_pytest.assertion.rewrite": ("frameworks", "after_pytest_rewrite"),
}


class _ExceptHook:
    """Stands in the place of both sys.excepthook and sys.__excepthook__: they are one object still,
    and a program that looks whether the hook is the default one finds that it is."""

    __slots__ = ("_real",)

    def __init__(self, real):
        # type: (Any) -> None
        self._real = real

    def __call__(self, kind, value, traceback, /):
        # type: (Any, BaseException, Any) -> None
        try:
            self._real(kind, value, traceback)
        finally:
            load("crash").uncaught(value, "main", True)

    def __getattr__(self, name):
        # type: (str) -> Any
        return getattr(self._real, name)

    def __repr__(self):
        # type: () -> str
        return repr(self._real)


def after_traceback(module):
    # type: (Any) -> None
    """multiprocessing prints what ends a worker with ``traceback.print_exc``, and tells nobody."""
    real = module.print_exc

    def print_exc(*arguments, **options):
        # type: (Any, Any) -> None
        real(*arguments, **options)
        if sys._getframe(1).f_globals.get("__name__") == "multiprocessing.process":
            error = sys.exc_info()[1]
            if error is not None:
                load("crash").uncaught(error, "worker", False)

    print_exc.__doc__ = real.__doc__
    module.print_exc = print_exc


def install():
    # type: () -> None
    """Watch for the end, and do what is due for modules that came before us (.pth files, say)."""
    sys.excepthook = sys.__excepthook__ = _ExceptHook(sys.excepthook)
    for name in AFTER:
        module = sys.modules.get(name)
        if module is not None:
            run(name, module)


def run(name, module):
    # type: (str, Any) -> None
    """Do what is due after the import of ``name``. Never raises."""
    try:
        where, function = AFTER[name]
        getattr(load(where), function)(module)
    except Exception:
        pass


def import_failed(error):
    # type: (BaseException) -> None
    """An exception left the execution of a project's module; somebody may catch it."""
    load("crash").remember(error)


def resource_read(path):
    # type: (Any) -> None
    """A loader's get_data was called for a resource (pkgutil.get_data, importlib.resources)."""
    files = sys.modules.get("onsave_agent.files")
    if files is not None:
        files.resource_read(path)


def load(name):
    # type: (str) -> Any
    """The agent's module ``name``, imported when it is needed; its bytecode is cached."""
    full = "onsave_agent." + name
    module = sys.modules.get(full)
    if module is None:
        wrote_no_bytecode = sys.dont_write_bytecode
        sys.dont_write_bytecode = False
        try:
            __import__(full)
        finally:
            sys.dont_write_bytecode = wrote_no_bytecode
            sys.path_importer_cache.pop(_HERE, None)
        module = sys.modules[full]
    return module
