"""Uncaught exceptions, as data."""


def after_threading(module):
    # type: (object) -> None
    pass
