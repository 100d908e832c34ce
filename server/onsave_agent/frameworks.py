"""Particulars of certain frameworks: their own reloaders are off, prefork servers wait elsewhere.

A reloader executes the app twice, or in a thread, and restarts it on its own account: onsave does
that. Each is switched off where the framework itself asks whether it is wanted, so that all else
(debuggers, log lines, signal handling) is as with it.
"""

import os
import sys

from onsave_agent import agent, listen, modules, paths, reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_noted = set()  # type: set[str]


def _note(name):
    # type: (str) -> None
    """Tell the user, once a process."""
    if name not in _noted and agent.channel is not None:
        _noted.add(name)
        text = "%s own reloader is off: onsave reloads" % name
        agent.channel.send({"type": "note", "text": text})


def after_werkzeug(module):
    # type: (Any) -> None
    """werkzeug._reloader: Flask's ``--debug``, ``app.run(debug=True)``, run_simple."""

    def run_with_reloader(main_func, *args, **kwargs):
        # type: (Any, *Any, **Any) -> None
        _note("Flask's" if "flask" in sys.modules else "Werkzeug's")
        _tell_pin(main_func)
        main_func()

    module.run_with_reloader = run_with_reloader


def _tell_pin(main_func):
    # type: (Any) -> None
    """Werkzeug prints its debugger's PIN only in the process that its reloader starts."""
    app = getattr(getattr(main_func, "__self__", None), "app", None)
    pin = getattr(app, "pin", None)
    if pin and getattr(app, "pin_logging", False):
        from werkzeug._internal import _log

        _log("warning", " * Debugger is active!")
        _log("info", " * Debugger PIN: %s", pin)


def after_django(module):
    # type: (Any) -> None
    """django.utils.autoreload: ``manage.py runserver``."""

    def run_with_reloader(main_func, *args, **kwargs):
        # type: (Any, *Any, **Any) -> None
        _note("Django's")
        main_func(*args, **kwargs)

    module.run_with_reloader = run_with_reloader


def after_uvicorn(module):
    # type: (Any) -> None
    """uvicorn.config: ``--reload``, which would run the app in a child process."""
    wanted = module.Config.should_reload.fget

    def should_reload(self):
        # type: (Any) -> bool
        if not wanted(self):
            return False
        if sys._getframe(1).f_code.co_name == "__init__":
            return True  # There, False would have it warn that it can't reload.
        _note("uvicorn's")
        return False

    module.Config.should_reload = property(should_reload)


def after_gunicorn(module):
    # type: (Any) -> None
    """gunicorn.config: ``--reload``; the setting stays off, whatever sets it."""

    def set(self, value):
        # type: (Any, Any) -> None
        self.value = False
        if self.validator(value):
            _note("gunicorn's")

    module.Reload.set = set


def after_gunicorn_worker(module):
    # type: (Any) -> None
    """gunicorn.workers.base: a worker sets ``booted`` when it has loaded the app, and then accepts.

    The master has bound and listened before any worker had loaded anything.
    """

    def booted(self):
        # type: (Any) -> bool
        return bool(self.__dict__.get("booted", False))

    def set_booted(self, value):
        # type: (Any, bool) -> None
        self.__dict__["booted"] = value
        if value:
            socks = [getattr(sock, "sock", sock) for sock in self.sockets]
            workers = self.cfg.workers
            listen.serves(socks, False, lambda: bool(self.alive), workers)

    module.Worker.booted = property(booted, set_booted)


def after_gunicorn_control(module):
    # type: (Any) -> None
    """gunicorn.ctl.server: a socket for commands, at one path for all masters of a user.

    It listens whether or not a worker could load the app, so it must not count as serving.
    """
    real = module.ControlSocketServer.__init__

    def __init__(self, arbiter, socket_path, *args, **kwargs):
        # type: (Any, Any, Any, *Any, **Any) -> None
        listen.leave_alone(socket_path)
        real(self, arbiter, socket_path, *args, **kwargs)

    module.ControlSocketServer.__init__ = __init__


def after_hypercorn(module):
    # type: (Any) -> None
    """hypercorn.run: ``--reload``, which would import the app in the parent too."""
    real = module.run

    def run(config):
        # type: (Any) -> Any
        if config.use_reloader:
            config.use_reloader = False
            _note("hypercorn's")
        return real(config)

    module.run = run


def after_granian(module):
    # type: (Any) -> None
    """granian.server.common: ``--reload``."""

    def reload_on_changes(self):
        # type: (Any) -> bool
        return False

    def set_reload(self, value):
        # type: (Any, bool) -> None
        if value:
            _note("granian's")

    module.AbstractServer.reload_on_changes = property(reload_on_changes, set_reload)


def after_pytest_rewrite(module):
    # type: (Any) -> None
    """_pytest.assertion.rewrite compiles test modules itself, with caches of its own.

    ``_read_pyc`` is asked first for each: there the source is digested, and there a cache that
    can't be trusted is not. (Newer ones are validated by a hash of the source.)
    """
    from onsave_agent import imports

    real = module._read_pyc

    def _read_pyc(source, pyc, *rest):
        # type: (Any, Any, *Any) -> Any
        trusted = True
        try:
            data, status = reports.read(os.fspath(source))
            frame = sys._getframe(1)
            name = getattr(frame.f_locals.get("module"), "__name__", None)
            real_path = paths.real(os.path.abspath(os.fspath(source)))
            reports.loaded(
                real_path, reports.digest(data), "module", name, reports.place(frame.f_back)
            )
            modules.reconcile_tail()
            reports.flush()
            cached, written = reports.read(os.fspath(pyc))
            trusted = imports.is_trusted(cached, written.st_mtime, status.st_mtime)
        except Exception:
            pass
        return real(source, pyc, *rest) if trusted else None

    module._read_pyc = _read_pyc


def after_pydevd(module):
    # type: (Any) -> None
    """pydevd (debugpy, PyCharm) suspends every thread that comes by a traced file. Ours must go on:
    it is how the session learns that the app is suspended."""
    real = module.PyDB._internal_get_file_type
    ours = os.path.dirname(__file__) + os.sep

    def _internal_get_file_type(self, names):
        # type: (Any, Any) -> Any
        return self.PYDEV_FILE if names[0].startswith(ours) else real(self, names)

    module.PyDB._internal_get_file_type = _internal_get_file_type
