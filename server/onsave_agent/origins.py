"""What was made of a source file: its modules, the name it was compiled under, classes by name."""

import os
import sys
from types import FunctionType, ModuleType

from onsave_agent import paths
from onsave_agent.codes import Refused

namespace_of = type.__dict__["__dict__"].__get__  # of a class, whatever its metaclass says


def modules_of(path):
    # type: (str) -> list[ModuleType]
    """The modules made of a file: mostly one; a script may be imported by its name as well."""
    name = path.rpartition("/")[2]
    found = []
    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType) or module in found:
            continue
        file = vars(module).get("__file__")
        if type(file) is not str or not file.endswith(name):
            continue
        if file == path or paths.real(os.path.abspath(file)) == path:
            found.append(module)
    return found


def filename_of(module, path):
    # type: (ModuleType, str) -> str
    """The name under which a module was compiled: not always its file's (``python app.py``)."""
    namespace = vars(module)
    for value in list(namespace.values()):
        if type(value) is FunctionType and value.__globals__ is namespace:
            filename = value.__code__.co_filename
            if filename.endswith(".py") and paths.real(os.path.abspath(filename)) == path:
                return filename
    return str(namespace["__file__"])


def check_loader(module):
    # type: (ModuleType) -> None
    """Only what the import system itself has compiled can be compiled alike. Raises Refused."""
    loader = vars(module).get("__loader__")
    if loader is None and module.__name__ == "__main__":
        return  # runpy and debuggers compile a script as it is
    kind = type(loader)
    if kind.__name__ != "SourceFileLoader" or "importlib" not in kind.__module__:
        where = "%s.%s" % (kind.__module__, kind.__qualname__)
        raise Refused("%s is transformed as it is imported (by %s)" % (module.__name__, where))


def owner_of(modules, qualname):
    # type: (list[ModuleType], str) -> type | None
    """The class that a method's qualified name says it is in; None if it can't be found."""
    namespace = vars(modules[0])
    thing = None  # type: object
    for part in qualname.split(".")[:-1]:
        thing = namespace.get(part)
        if not isinstance(thing, type):
            return None
        namespace = namespace_of(thing)
    return thing  # type: ignore[return-value]
