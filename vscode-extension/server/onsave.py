"""Starts the onsave that the extension carries: ``python onsave.py lsp``, ``… run -- flask run``.

The libraries beside this file go onto the path of this one process, and nowhere else: no
PYTHONPATH, so that neither the app nor anything it starts ever sees them. This file itself must be
understood by any Python, however old, so that it can say that it is too old.

Exit codes of its own: 90 this Python is too old; 91 something of onsave cannot be imported;
92 there is no psutil for this platform.
"""

# Old Pythons must be able to read this far: no pathlib, no newer ways to format.
# ruff: noqa: I001, PTH100, PTH112, PTH118, PTH120, RUF005, UP031

import json
import os
import sys

MINIMUM = (3, 10)
HERE = os.path.dirname(os.path.abspath(__file__))


def platform_tag():
    """The folder below ``psutil/`` that fits: ``linux-x86_64``, ``musl-aarch64``, …"""
    import platform

    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if sys.platform == "win32" or sys.platform == "darwin":
        return "%s-%s" % (sys.platform, machine)
    if not sys.platform.startswith("linux"):
        return "%s-%s" % (sys.platform, machine)
    return "%s-%s" % ("linux" if platform.libc_ver()[0] == "glibc" else "musl", machine)


def add_libraries():
    """Our libraries first, so that nothing of the interpreter's own can take their place."""
    sys.path[0:1] = [os.path.join(HERE, "libs"), psutil_folder()]


def psutil_folder():
    return os.path.join(HERE, "psutil", platform_tag())


def has_psutil():
    """Ours, or else the interpreter's own. Not imported where ours is there: that takes time."""
    if os.path.isdir(psutil_folder()):
        return True
    try:
        import psutil  # noqa: F401
    except ImportError:
        return False
    return True


def check():
    """One line of JSON for the extension: what this Python is, and what would not work with it."""
    found = {"python": list(sys.version_info[:3]), "executable": sys.executable}
    if sys.version_info < MINIMUM:
        found["problem"] = "old"
    else:
        try:
            import onsave.cli  # noqa: F401
            import pygls  # noqa: F401
        except Exception as error:
            found["problem"] = "broken"
            found["detail"] = "%s: %s" % (type(error).__name__, error)
        else:
            if not has_psutil():
                found["problem"] = "psutil"
                found["detail"] = platform_tag()
    print(json.dumps(found))


def main():
    if sys.version_info >= MINIMUM:
        add_libraries()
    if sys.argv[1:] == ["--check"]:
        check()
        return 0
    if sys.version_info < MINIMUM:
        sys.stderr.write(
            "onsave needs Python %d.%d or newer for itself, and %s is %d.%d. (Your app may run on "
            "3.9.) Set onsave.server.python to a newer one.\n"
            % (MINIMUM + (sys.executable,) + sys.version_info[:2])
        )
        return 90
    if sys.argv[1:2] == ["run"] and not has_psutil():
        # The session would miss it only when it is about to stop the app.
        sys.stderr.write(
            "onsave carries no psutil for %s. Install it where %s finds it, or set "
            "onsave.server.python to a Python that has it.\n" % (platform_tag(), sys.executable)
        )
        return 92
    try:
        from onsave.cli import main as onsave
    except ImportError as error:
        sys.stderr.write("onsave cannot be started by %s: %s\n" % (sys.executable, error))
        return 91
    return onsave()


if __name__ == "__main__":
    sys.exit(main())
