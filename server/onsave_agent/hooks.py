"""What is done right after a certain module of the app's has been imported.

Only then, so that an app which never imports it pays nothing: our own modules named here are
imported at that moment, too.
"""

import os
import sys

_HERE = os.path.dirname(__file__)

#: module of the app's → (our module, its function, which takes the module)
AFTER = {
    "socket": ("listen", "after_socket"),
    "gevent._socket3": ("listen", "after_gevent"),
    "uvloop": ("uvloops", "after_uvloop"),
    "subprocess": ("environment", "after_subprocess"),
    "threading": ("crash", "after_threading"),
    "asyncio.base_events": ("crash", "after_asyncio"),
    "multiprocessing.process": ("crash", "after_multiprocessing"),
    "werkzeug._reloader": ("frameworks", "after_werkzeug"),
    "django.utils.autoreload": ("frameworks", "after_django"),
    "uvicorn.config": ("frameworks", "after_uvicorn"),
    "gunicorn.config": ("frameworks", "after_gunicorn"),
    "gunicorn.workers.base": ("frameworks", "after_gunicorn_worker"),
    "hypercorn.run": ("frameworks", "after_hypercorn"),
    "granian.server.common": ("frameworks", "after_granian"),
    "_pytest.assertion.rewrite": ("frameworks", "after_pytest_rewrite"),
}


def install():
    # type: () -> None
    """Do at once what is due for modules that were imported before us (by .pth files, say)."""
    for name in AFTER:
        module = sys.modules.get(name)
        if module is not None:
            run(name, module)


def run(name, module):
    # type: (str, object) -> None
    """Do what is due after the import of ``name``. Never raises."""
    try:
        where, function = AFTER[name]
        getattr(load(where), function)(module)
    except Exception:
        pass


def import_failed(error):
    # type: (BaseException) -> None
    """An exception left the execution of a project's module; somebody may catch it."""
    load("crash").remember(error)  # type: ignore[attr-defined]


def resource_read(path):
    # type: (object) -> None
    """A loader's get_data was called for a resource (pkgutil.get_data, importlib.resources)."""
    files = sys.modules.get("onsave_agent.files")
    if files is not None:
        files.resource_read(path)


def load(name):
    # type: (str) -> object
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
