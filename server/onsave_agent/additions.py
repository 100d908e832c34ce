"""What a patch makes anew: functions, methods, and other signatures for plain functions.

Sound only where nobody can have looked for it before: see ``lookups.why_not_added`` and
``kept.only_in_namespace``. A ``header`` is a ``def`` line with an empty body; what running it
evaluates are literals and, in annotations, plain names, as ``core.diff`` has seen to.
"""

from types import CellType, FunctionType, ModuleType

from onsave_agent import codes, origins
from onsave_agent.codes import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    Setting = tuple[object, str, object]

#: What a ``def`` statement gives a function besides its code.
_EVALUATED = ("__defaults__", "__kwdefaults__", "__annotations__")


def added(module, module_code, entry):
    # type: (ModuleType, CodeType, list[object]) -> Setting
    """The attribute to set for a new function or method. Raises Refused."""
    qualname, name, line, header = (entry[0], entry[1], entry[2], entry[3])
    owner = origins.owner_of([module], str(qualname))
    if owner is None and type(module) is not ModuleType:
        raise Refused("%s is no plain module" % module.__name__)
    found = codes.by_key(module_code).get((str(name), int(line)), [])  # type: ignore[call-overload]
    if len(found) != 1:
        raise Refused("%s (line %s) was not found among what was compiled" % (name, line))
    closure = None
    if found[0].co_freevars:
        if found[0].co_freevars != ("__class__",) or owner is None:
            raise Refused("%s was added, and needs variables around it" % qualname)
        closure = (CellType(owner),)
    template = _template(module, owner, str(header), found[0])
    function = FunctionType(found[0], vars(module), str(name), template.__defaults__, closure)
    for attribute in _EVALUATED[1:]:
        setattr(function, attribute, getattr(template, attribute))
    function.__qualname__ = str(qualname)
    return (module if owner is None else owner), _mangled(owner, str(name)), function


def redefined(module, function, pair):
    # type: (ModuleType, FunctionType, codes.Pair) -> list[Setting]
    """The attributes to set, besides its code, of a function with another ``def`` line."""
    owner = origins.owner_of([module], pair.qualname)
    template = _template(module, owner, pair.header, pair.new)  # type: ignore[arg-type]
    # The documentation comes with the code, in another place in each version of Python.
    documented = FunctionType(pair.new, {}, closure=function.__closure__)  # type: ignore[arg-type]
    settings = [(function, name, getattr(template, name)) for name in _EVALUATED]
    return [*settings, (function, "__doc__", documented.__doc__)]


def _template(module, owner, header, code):
    # type: (ModuleType, type | None, str, CodeType) -> FunctionType
    """The function that ``header`` makes."""
    names = {} if owner is None else dict(origins.namespace_of(owner))
    made = {}  # type: dict[str, FunctionType]
    try:
        flags = codes.futures(code)
        compiled = compile(header, "<onsave>", "exec", flags, dont_inherit=True)
        exec(compiled, vars(module), _Scope(names, made))
    except Exception as error:
        raise Refused("%s: %s" % (type(error).__name__, error)) from None
    return made.popitem()[1]


class _Scope(dict):  # type: ignore[type-arg]
    """Where a header is run: names of the class are seen, what is made goes elsewhere."""

    def __init__(self, names, made):
        # type: (dict[str, object], dict[str, FunctionType]) -> None
        super().__init__(names)
        self.made = made

    def __setitem__(self, name, value):
        # type: (str, object) -> None
        self.made[name] = value  # type: ignore[assignment]


def _mangled(owner, name):
    # type: (type | None, str) -> str
    """The attribute's name: as the compiler has it inside of a class."""
    if owner is None or not name.startswith("__") or name.endswith("__"):
        return name
    stripped = owner.__name__.lstrip("_")
    return "_%s%s" % (stripped, name) if stripped else name
