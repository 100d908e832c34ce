"""Who keeps something of a function besides the function itself: instances, or who holds it.

A function that is given a new body stays the same object, so that whoever calls it is served. But
what was read from the old one lives on, and is looked for here.
"""

import gc
import sys
from types import FrameType, FunctionType

from onsave_agent import swap
from onsave_agent.origins import namespace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable


def cached_in_instances(owner, name):
    # type: (type, str) -> bool
    """Whether ``name`` is a cached property of the class that some instance has the value of."""
    value = namespace_of(owner).get(name)
    if "cached" not in type(value).__name__:
        return False
    found = swap.instances(owner)
    return found is None or any(name in getattr(thing, "__dict__", ()) for thing in found)


def only_in_namespace(function, ours):
    # type: (FunctionType, Iterable[object]) -> bool
    """Whether nobody holds the function but modules and its class, by name; and ``ours``."""
    if gc.get_freeze_count():
        gc.unfreeze()
    known = {id(thing) for thing in ours}
    for holder in gc.get_referrers(function):
        if id(holder) in known or (type(holder) is FrameType and _is_agents(holder)):
            continue
        if type(holder) is not dict or not _is_namespace(holder, function):
            return False
    return True


def _is_agents(frame):
    # type: (FrameType) -> bool
    return str(frame.f_globals.get("__name__")).startswith("onsave_agent.")


def _is_namespace(holder, function):
    # type: (dict[str, object], FunctionType) -> bool
    if "__name__" in holder and sys.modules.get(str(holder["__name__"])) is not None:
        return vars(sys.modules[str(holder["__name__"])]) is holder
    return holder.get("__module__") == function.__module__ and "__qualname__" not in holder
