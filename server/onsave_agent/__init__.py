"""The part of onsave that lives in the user's interpreter.

A guest: standard library only, Python 3.9 and newer, it never raises into the app, never prints,
and leaves ``argv``, ``sys.path``, signals, ``__main__``, tracebacks, exit codes and the terminal
as they would be without it. ``bootstrap/sitecustomize.py`` is the way in.
"""
