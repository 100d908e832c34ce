"""Who may look for a name in a module: such a name is neither bound nor unbound by a patch.

What is looked at is the code of the project's modules that has run; what has not will find what a
fresh process has. Looked for are names that are imported, attributes, whole strings (``getattr``,
dotted paths in settings), imports of everything, and ways to look through a namespace.
"""

import sys
from types import CodeType, FunctionType, ModuleType

from onsave_agent import codes, paths, ran
from onsave_agent.origins import namespace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator

#: Instructions that stand between those that belong together.
_BESIDES = frozenset(["CACHE", "NOP", "EXTENDED_ARG", "PRECALL", "SET_FUNCTION_ATTRIBUTE"])
#: Words by which a program looks through a namespace: it has seen what was there.
_LOOKING = frozenset(["dir", "vars", "globals", "getmembers", "__dict__", "__subclasses__"])


def project_modules():
    # type: () -> Iterable[ModuleType]
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            file = vars(module).get("__file__")
            if type(file) is str and not paths.is_library(file):
                yield module


def why_not_added(modules, owner, qualname, name):
    # type: (list[ModuleType], type | None, str, str) -> str | None
    """Why a new function or method can't simply be bound; None if it can."""
    if owner is None:
        if "." in qualname:
            return "its class was not found"
        if any(name in vars(module) for module in modules):
            return "its name is used already"
    else:
        why = why_looked_through(owner)
        if why is not None:
            return why
        for kind in [kind for kind in owner.__mro__ if kind is not object] + _derived(owner):
            if name in namespace_of(kind):
                return "%s has that name already" % kind.__name__
    return why_looked_for(modules, name, owner is not None)


def why_looked_through(owner):
    # type: (type) -> str | None
    """Why somebody may have seen what was in a class when it was made; None if nobody has."""
    if type(owner) is not type:
        return "its class has a metaclass"
    if any("__init_subclass__" in namespace_of(k) for k in owner.__mro__ if k is not object):
        return "its class is looked through by __init_subclass__"
    return None


def why_order_matters(owner):
    # type: (type | None) -> str | None
    """Why somebody may have noticed the order of functions in a module or a class; None if not."""
    why = None if owner is None else why_looked_through(owner)
    if why is not None:
        return why
    user = user_of(_LOOKING)
    return None if user is None else "%s may look through namespaces" % user


def user_of(words):
    # type: (frozenset[str]) -> str | None
    """The name of a module of the project's that may have used one of these words; None if none."""
    for module in project_modules():
        for code in _codes_that_ran(module):
            if code is None or _uses(code, words):
                return module.__name__
    return None


def _uses(code, words):
    # type: (CodeType, frozenset[str]) -> bool
    """Whether a piece of code uses one of these names; to bind one is no use (``__doc__``)."""
    if words.isdisjoint(code.co_names):
        return False
    import dis

    return any(
        instruction.argval in words and not instruction.opname.startswith("STORE")
        for instruction in dis.get_instructions(code)
        if type(instruction.argval) is str
    )


def why_looked_for(modules, name, is_attribute=False):
    # type: (list[ModuleType], str, bool) -> str | None
    """Why somebody may have looked for ``name`` in one of these modules, or in a class of theirs.

    is_attribute: of a class, so that only strings matter: its code would have been found
    """
    for module in project_modules():
        # What a module's own source says of the name was seen to by the core.
        is_blind = module in modules and not _knows_itself(module)
        for code in _codes_that_ran(module):
            if code is None:
                return "what %s looks for is not known" % module.__name__
            if _uses(code, _LOOKING):
                return "%s looks through namespaces" % module.__name__
            if not is_blind and _looks_for(code, modules, name, is_attribute):
                return "%s looks for that name" % module.__name__
    if not is_attribute:
        for package in filter(None, map(_framework_of, modules)):
            if any(_names(code.co_consts, name) for code in _codes_of_package(package)):
                return "%s may look for that name" % package
    return None


def _knows_itself(module):
    # type: (ModuleType) -> bool
    """Whether a module may have itself at hand, and so use its own names as attributes."""
    words = {module.__name__.rpartition(".")[2], "modules", "import_module", "__import__"}
    codes_ = filter(None, _codes_that_ran(module))
    return any(not words.isdisjoint(code.co_names) for code in codes_)


def _framework_of(module):
    # type: (ModuleType) -> str | None
    """The package that has imported a module of the project's, if it was a library."""
    importer = ran.began.get(str(vars(module).get("__file__")), (None,))[0]
    if importer is None or not paths.is_library(paths.real(importer)):
        return None
    for other in list(sys.modules.values()):
        if isinstance(other, ModuleType) and vars(other).get("__file__") == importer:
            return other.__name__.partition(".")[0]
    return None


def _codes_of_package(package):
    # type: (str) -> Iterator[CodeType]
    """The code of the functions and methods that stand in the modules of a library."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == package and isinstance(module, ModuleType):
            for value in list(vars(module).values()):
                inner = namespace_of(value).values() if isinstance(value, type) else (value,)
                for thing in list(inner):
                    kind = type(thing)  # Others are not asked: a proxy would look for its thing.
                    function = thing.fget if kind is property else thing
                    function = thing.__func__ if kind in (staticmethod, classmethod) else function
                    if type(function) is FunctionType and function.__module__ == name:
                        yield from codes.inside(function.__code__)


def why_somebody_else_counts_on(modules, name):
    # type: (list[ModuleType], str) -> str | None
    """Why ``name`` can't be unbound, though its own module has no use for it; None if it can."""
    why = why_looked_for(modules, name)
    if why is not None:
        return why
    for module in modules:
        if module.__name__ == "__main__":
            continue  # It was run, not imported.
        importer = ran.began.get(str(vars(module).get("__file__")), (None,))[0]
        if importer is None or paths.is_library(paths.real(importer)):
            # A framework may take names that it knows, or that it was told.
            return "%s was not imported by the project itself" % module.__name__
    if _names(sys.argv, name):
        return "the command line names it"
    return None


def finished_before(source, module):
    # type: (str, ModuleType) -> bool
    """Whether the module named ``source`` had been loaded when ``module`` began to be executed.

    If so, it is loaded whether or not ``module`` imports it.
    """
    circumstances = ran.began.get(str(vars(module).get("__file__")))
    if circumstances is None:
        return False
    _importer, last, count, _importing = circumstances
    names = list(sys.modules)
    if source not in names or last not in names:
        return False
    return names.index(source) <= names.index(last) < count


def _codes_that_ran(module):
    # type: (ModuleType) -> Iterator[CodeType | None]
    """All of a module's code, functions apart that have never run; None if it is not known."""
    filename = str(vars(module).get("__file__"))
    trees = ran.trees.get(filename)
    if trees is None and filename.endswith((".py", ".pyw")):
        # The main module's name may be a relative one.
        main = [tree for known in ran.trees.values() for tree in known if _is_of(tree, filename)]
        trees = main or None
    if trees is None:
        yield None
        return
    known = ran.before(trees[-1].co_filename) is not None
    ever = ran.ever(trees[-1].co_filename)
    for tree in trees:
        for code in codes.inside(tree):
            if not known or not codes.is_function(code) or codes.key(code) in ever:
                yield code


def _is_of(tree, filename):
    # type: (CodeType, str) -> bool
    import os

    return os.path.abspath(tree.co_filename) == os.path.abspath(filename)


def _looks_for(code, modules, name, strings_only):
    # type: (CodeType, list[ModuleType], str, bool) -> bool
    """Whether a piece of code has a string that is or ends in ``name``; or else imports it, or
    everything, from a module that is called like one of these, or uses such an attribute."""
    everything = ("*",) in code.co_consts
    if not (everything or name in code.co_names or _names(code.co_consts, name)):
        return False
    import dis

    last = {module.__name__.rpartition(".")[2] for module in modules} | {""}
    imported = ""
    instructions = [i for i in dis.get_instructions(code) if i.opname not in _BESIDES]
    for i, instruction in enumerate(instructions):
        what, value = instruction.opname, instruction.argval
        before = instructions[i - 1].opname if i else ""
        then = instructions[i + 1] if i + 1 < len(instructions) else instruction
        if what == "IMPORT_NAME":
            imported = value.rpartition(".")[2]
            if everything and imported in last and not strings_only:
                return True
        elif what in ("LOAD_CONST", "RETURN_CONST", "KW_NAMES"):
            # What is imported, or what a class or function that is defined here is called?
            is_defined = then.opname == "MAKE_FUNCTION" or then.argval == "__qualname__"
            is_known = then.opname == "IMPORT_NAME" or before == "MAKE_FUNCTION" or is_defined
            if not is_known and _names([value], name):
                return True
        elif value == name and not strings_only:
            if what in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR"):
                return True
            if what == "IMPORT_FROM" and imported in last:
                return True
    return False


def _names(constants, name):
    # type: (Iterable[object], str) -> bool
    """Whether there is "home", "shop.views.home" or "shop.views:home" among these, for "home"."""
    waiting = list(constants)
    while waiting:
        value = waiting.pop()
        if type(value) is str:
            if value == name or value.endswith(("." + name, ":" + name)):
                return True
        elif type(value) in (tuple, frozenset):
            waiting.extend(value)  # type: ignore[arg-type]
    return False


def _derived(kind):
    # type: (type) -> list[type]
    found = [kind]
    for known in found:
        found.extend(k for k in type.__subclasses__(known) if k not in found)
    return found[1:]
