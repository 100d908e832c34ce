"""What changed between two versions of a module's source, as a value. Pure: syntax alone.

What is said here holds for any Python version: two sources with the same syntax tree do the same.
What only the running app can know (did the function run already? who holds it?) is the business of
``onsave_agent.patch``, which gets what is found here as its :func:`order`.
"""

from __future__ import annotations

import sys

from onsave.core import syntax
from onsave.core.change import Change, Restart, order
from onsave.core.comparison import Comparison

__all__ = ["Change", "diff", "order"]


def diff(old: bytes, new: bytes, *, path: str) -> Change:
    """What a save that turns ``old`` into ``new`` means, as far as the source can tell.

    Never raises: what this Python cannot parse (the app's may be newer) needs a restart.
    """
    if old == new:
        return Change("same")
    try:
        old_tree, new_tree = syntax.parse(old), syntax.parse(new)
    except SyntaxError:
        version = ".".join(map(str, sys.version_info[:2]))
        return Change("restart", reason=f"syntax that onsave's own Python {version} does not know")
    comparison = Comparison(old, new, old_tree, new_tree)
    try:
        comparison.module(old_tree, new_tree)
    except Restart as restart:
        return Change("restart", reason=restart.reason, line=restart.line)
    except RecursionError:
        return Change("restart", reason="nested too deeply to be compared")
    return comparison.result()
