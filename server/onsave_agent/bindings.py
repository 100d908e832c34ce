"""Names that a patch binds or unbinds: functions, and imports at the top of a module.

Sound where a fresh process would execute the same modules in the same order and bind the same
things, and nobody has looked for the name (see ``lookups``). An import is
[name that is bound, "" if none; module that is imported; name taken from it, "" for itself; module
that is bound where that is ""; whether the module is still, or was already, imported at or before
that place], as ``core.change`` has it.
"""

import os
import sys
from types import FunctionType, ModuleType

from onsave_agent import lookups, origins, paths, ran
from onsave_agent.codes import Refused

#: Modules of the standard library that do something when they are imported.
_DOING = frozenset(
    ["readline", "rlcompleter", "antigravity", "this", "site", "sitecustomize", "usercustomize",
     "idlelib", "turtle", "cgitb", "faulthandler", "tracemalloc", "__hello__", "__phello__"]
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onsave_agent.additions import Setting


def check(modules, order):
    # type: (list[ModuleType], dict[str, Any]) -> None
    """Raise Refused unless what a patch binds, unbinds or reorders is nobody's concern."""
    for qualname, name, _line, _header in order["added"]:
        owner = origins.owner_of(modules, qualname)
        why = lookups.why_not_added(modules, owner, qualname, name)
        _refuse("%s was added, and %s", qualname, why)
    for name, _line in order["removed"]:
        why = lookups.why_somebody_else_counts_on(modules, name)
        _refuse("%s was removed, and %s", name, why)
    for prefix in order["reordered"]:
        owner = origins.owner_of(modules, prefix + "f") if prefix else None
        why = "its class was not found" if prefix and owner is None else None
        why = why or lookups.why_order_matters(owner)
        _refuse("the order of functions in %s changed, and %s", prefix[:-1] or "the module", why)
    for module in modules:
        new = [added(module, entry) for entry in order["imports"]]
        check_unrun(module, order["unrun"], new)
        for entry in order["unbound"]:
            check_unbound(module, entry)


def _refuse(text, what, why):
    # type: (str, str, str | None) -> None
    if why is not None:
        raise Refused(text % (what, why))


def added(module, entry):
    # type: (ModuleType, list[Any]) -> Setting
    """The attribute to set for a new import. Raises Refused.

    What it imports is loaded already. That a library would be loaded earlier makes no difference;
    the project's own modules may import each other, and there the order must be the same.
    """
    bound, source, name, value, imported = entry
    _check_plain(module)
    if bound in vars(module):
        raise Refused("import of %s was added, a name that is used already" % bound)
    why = lookups.why_looked_for([module], bound)
    if why is not None:
        raise Refused("import of %s was added, and %s" % (bound, why))
    found = sys.modules.get(absolute(module, source))
    wanted = sys.modules.get(absolute(module, value)) if not name else found
    if found is None or wanted is None:
        raise Refused("import of %s was added, which is not loaded yet" % source)
    taken = wanted  # type: Any
    if name:
        if name not in vars(found):
            raise Refused("import of %s from %s was added, which it has not" % (name, source))
        taken = vars(found)[name]
    for other in _executed_for(found, taken):
        before = imported and other is found
        if _is_projects(other) and not _would_be_complete(other, module, before):
            raise Refused("import of the project's own %s was added" % source)
    if name and _is_projects(found) and not _is_constant(taken):
        raise Refused("import of %s was added, which may have been another thing" % bound)
    return module, bound, taken


def check_unbound(module, entry):
    # type: (ModuleType, list[Any]) -> None
    """Raise Refused unless the name of an import that is gone can be deleted."""
    bound, source, name, value, imported = entry
    _check_plain(module)
    found = sys.modules.get(absolute(module, source))
    wanted = sys.modules.get(absolute(module, value)) if not name else found
    if found is None or wanted is None:
        raise Refused("import of %s was removed, which is not loaded" % source)
    taken = vars(found).get(name) if name else wanted
    if bound and vars(module).get(bound, module) is not taken:
        raise Refused("import of %s was removed, which is another thing by now" % bound)
    for other in _executed_for(found, taken):
        is_loaded_still = imported and other is found
        if not (
            is_loaded_still
            or lookups.finished_before(other.__name__, module)
            or _makes_no_difference(other)
        ):
            raise Refused("import of %s was removed, and who else imports it is not known" % source)
    if bound:
        why = lookups.why_somebody_else_counts_on([module], bound)
        if why is not None:
            raise Refused("import of %s was removed, and %s" % (bound, why))


def check_unrun(module, names, settings):
    # type: (ModuleType, list[str], list[Setting]) -> None
    """Raise Refused unless all of these (TYPE_CHECKING, t.TYPE_CHECKING) are False."""
    new = {str(attribute): value for thing, attribute, value in settings if thing is module}
    for dotted in names:
        first, *rest = dotted.split(".")
        thing = new.get(first, vars(module).get(first))
        for part in rest:
            thing = vars(thing).get(part) if isinstance(thing, ModuleType) else None
        if thing is not False:
            raise Refused("code under %s changed, which is not False" % dotted)


def absolute(module, name):
    # type: (ModuleType, str) -> str
    """The full name of what ``module`` imports as ``name``: ``..models`` → ``shop.models``."""
    stripped = name.lstrip(".")
    level = len(name) - len(stripped)
    if not level:
        return name
    package = str(vars(module).get("__package__") or "")
    base = package.rsplit(".", level - 1)[0] if level > 1 else package
    return base + ("." + stripped if stripped else "")


def _check_plain(module):
    # type: (ModuleType) -> None
    if type(module) is not ModuleType:
        raise Refused("%s is no plain module" % module.__name__)


def _executed_for(found, taken):
    # type: (ModuleType, object) -> list[ModuleType]
    """The modules that the import executes: the last one named, and what is taken if a module."""
    if isinstance(taken, ModuleType) and taken.__name__.rpartition(".")[0] == found.__name__:
        return [found, taken]
    return [found]


def _would_be_complete(other, module, imported):
    # type: (ModuleType, ModuleType, bool) -> bool
    """Whether the import finds ``other`` loaded, as it is now, in a fresh process as well."""
    if lookups.finished_before(other.__name__, module):
        return True
    circumstances = ran.began.get(str(vars(module).get("__file__")))
    if not imported or circumstances is None:
        return False
    # It began after ``module`` did, and ended before that went on.
    return vars(other).get("__file__") not in circumstances[3]


def _makes_no_difference(module):
    # type: (ModuleType) -> bool
    """Whether a module is as good as not loaded where nobody uses it.

    It is of the standard library, in no package (of whose modules others may make use without
    importing them), and all that it does is define things.
    """
    namespace = vars(module)
    if "__path__" in namespace or "." in module.__name__ or module.__name__ in _DOING:
        return False
    file = namespace.get("__file__")
    if file is None:
        return module.__name__ in sys.builtin_module_names
    standard = os.path.dirname(os.__file__) + os.sep
    return str(file).startswith(standard) and "site-packages" not in str(file)


def _is_projects(module):
    # type: (ModuleType) -> bool
    file = vars(module).get("__file__")
    return isinstance(file, str) and not paths.is_library(paths.real(file))


def _is_constant(value):
    # type: (Any) -> bool
    """Whether it is a function, class or module that is still found where it was defined."""
    if isinstance(value, ModuleType):
        return sys.modules.get(value.__name__) is value
    if not isinstance(value, (FunctionType, type)):
        return False
    home = sys.modules.get(str(value.__module__))
    return home is not None and vars(home).get(value.__name__) is value
