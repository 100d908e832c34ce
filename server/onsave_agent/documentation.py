"""Docstrings of modules and classes: set anew, where nobody has read the old ones.

Tools read them at start-up: argparse's description, docopt, OpenAPI. Whoever keeps one has another
reference to the very string, which can be counted; whoever makes another text of one names
``__doc__`` or a function that reads it.
"""

import sys
from types import ModuleType

from onsave_agent import codes, lookups, origins, paths, ran
from onsave_agent.codes import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onsave_agent.additions import Setting

_READING = frozenset(["__doc__", "getdoc", "cleandoc", "docopt", "getdocs", "help", "Fire"])


def check(modules, documented, filename):
    # type: (list[ModuleType], list[list[str]], str) -> None
    """Raise Refused unless nobody has read the docstrings of these."""
    for qualname, _text in documented:
        reader = lookups.user_of(_READING)
        if reader is not None:
            raise Refused("%s changed, and %s reads docstrings" % (_called(qualname), reader))
        for module in modules:
            why = _why_read(_owner(module, qualname), filename)
            if why is not None:
                raise Refused("%s changed, and %s" % (_called(qualname), why))


def settings(module, documented):
    # type: (ModuleType, list[list[str]]) -> list[Setting]
    """What is to be set."""
    return [
        (_owner(module, qualname), "__doc__", _compiled(text, bool(qualname)))
        for qualname, text in documented
    ]


def _called(qualname):
    # type: (str) -> str
    return "docstring of class %s" % qualname if qualname else "module docstring"


def _owner(module, qualname):
    # type: (ModuleType, str) -> ModuleType | type
    if not qualname:
        return module
    owner = origins.owner_of([module], qualname + ".f")
    if owner is None:
        raise Refused("%s changed, and its class was not found" % _called(qualname))
    return owner


def _why_read(owner, filename):
    # type: (ModuleType | type, str) -> str | None
    if isinstance(owner, ModuleType):
        if type(owner) is not ModuleType or owner.__name__ == "__main__":
            return "it may be shown as help"
        namespace = vars(owner)
    else:
        why = lookups.why_looked_through(owner)
        if why is not None:
            return why
        for kind in owner.__mro__[1:-1]:
            home = vars(sys.modules.get(kind.__module__, sys)).get("__file__")
            if not isinstance(home, str) or paths.is_library(paths.real(home)):
                return "%s may have read it" % kind.__module__
        namespace = origins.namespace_of(owner)
    if "__doc__" not in namespace or namespace["__doc__"] is None:
        return None
    # The namespace has it, and the code that it is a constant of.
    expected = 1 + _constants(id(namespace["__doc__"]), filename)
    if sys.getrefcount(namespace["__doc__"]) - 1 > expected:
        return "somebody keeps it"
    return None


def _constants(wanted, filename):
    # type: (int, str) -> int
    """In how many lists of constants that object is."""
    return sum(
        id(constant) == wanted
        for tree in ran.trees.get(filename, ())
        for code in codes.inside(tree)
        for constant in code.co_consts
    )


def _compiled(text, in_class):
    # type: (str | None, bool) -> str | None
    """As this Python would have it: from 3.13 on without its indentation, none with -OO."""
    if text is None:
        return None
    made = {}  # type: dict[str, object]
    source = "class C:\n %r\n" % text if in_class else "%r\n" % text
    exec(compile(source, "<onsave>", "exec", dont_inherit=True), made)
    return made["C"].__doc__ if in_class else made.get("__doc__")  # type: ignore[return-value]
