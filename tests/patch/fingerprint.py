"""All that a loaded module is, as text: two processes whose modules print alike do the same.

Runs inside the app, in any Python from 3.9 on. Code objects are printed with all they consist of,
lines and columns included; classes with their attributes; functions with their signature, closure
and whatever was hung on them; instances of the module's own classes with their state.
"""

import functools
import types

_PLAIN = (int, float, complex, str, bytes, bool, type(None), type(...))
_SKIPPED = {
    "__builtins__", "__cached__", "__spec__", "__loader__", "__dict__", "__weakref__", "_abc_impl",
    "__static_attributes__", "__firstlineno__", "__file__", "__warningregistry__",
}  # fmt: skip


def of_module(module):
    seen = {}
    return _namespace(vars(module), seen, set(), module.__name__)


def of_code(code):
    parts = [
        code.co_name, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount,
        code.co_flags, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
        code.co_firstlineno, code.co_code.hex(),
        getattr(code, "co_linetable", b"").hex(), getattr(code, "co_exceptiontable", b"").hex(),
        getattr(code, "co_qualname", ""), list(code.co_lines()) if hasattr(code, "co_lines") else 0,
        [of_code(c) if isinstance(c, types.CodeType) else _constant(c) for c in code.co_consts],
    ]  # fmt: skip
    return repr(parts)


def _constant(value):
    if isinstance(value, tuple):
        return [_constant(v) for v in value]
    if isinstance(value, frozenset):
        return sorted(_constant(v) for v in value)
    return f"{type(value).__name__} {value!r}"


def _namespace(values, seen, path, module):
    return {
        str(name): _thing(value, seen, path, module)
        for name, value in sorted(values.items(), key=lambda item: str(item[0]))
        if name not in _SKIPPED and not str(name).startswith("_q_")
    }


def _thing(value, seen, path, module):
    kind = type(value)
    if kind in _PLAIN:
        return f"{kind.__name__} {value!r}"
    if id(value) in path or len(path) > 60:
        return "…"
    path = path | {id(value)}
    # Within one process an object is always printed alike but for where cycles are cut.
    if issubclass(kind, types.ModuleType):
        return "module " + value.__name__
    if kind is types.FunctionType:
        if not _ours(value.__code__.co_filename, module):
            inner = {"closure": [_cell(c, seen, path, module) for c in value.__closure__ or ()]}
            return [f"function {value.__module__}.{value.__qualname__}", inner]
        return [
            "function", value.__name__, value.__qualname__, value.__module__, value.__doc__,
            of_code(value.__code__),
            _thing(value.__defaults__, seen, path, module),
            _thing(value.__kwdefaults__, seen, path, module),
            _annotations(value, seen, path, module),
            [_cell(c, seen, path, module) for c in value.__closure__ or ()],
            _namespace(value.__dict__, seen, path, module),
        ]  # fmt: skip
    if issubclass(kind, type):
        if value.__module__ != module:
            return f"class {value.__module__}.{value.__qualname__}"
        return [
            "class", value.__qualname__, type(value).__qualname__,
            [base.__module__ + "." + base.__qualname__ for base in value.__mro__],
            _namespace(vars(value), seen, path, module),
        ]  # fmt: skip
    if issubclass(kind, (staticmethod, classmethod, types.MethodType)):
        return [kind.__name__, _thing(value.__func__, seen, path, module)]
    if issubclass(kind, property):
        return ["property"] + [
            _thing(f, seen, path, module) for f in (value.fget, value.fset, value.fdel)
        ]
    if issubclass(kind, functools.cached_property):
        return ["cached_property", _thing(value.func, seen, path, module)]
    if issubclass(kind, functools.partial):
        parts = [value.func, value.args, value.keywords]
        return ["partial"] + [_thing(part, seen, path, module) for part in parts]
    if kind is functools._lru_cache_wrapper:
        return ["lru_cache", _thing(value.__wrapped__, seen, path, module)]
    if kind is types.GenericAlias or kind.__module__ == "typing":
        return f"type {value!r}"
    if kind in (list, tuple, set, frozenset):
        items = list(value)
        if kind in (set, frozenset):
            items.sort(key=repr)
        return [kind.__name__] + [_thing(item, seen, path, module) for item in items]
    if issubclass(kind, dict):
        return [kind.__name__, [
            [_thing(k, seen, path, module), _thing(v, seen, path, module)] for k, v in value.items()
        ]]  # fmt: skip
    # Not getattr: a proxy would ask for what is not there.
    try:
        state = object.__getattribute__(value, "__dict__") if kind.__module__ == module else None
    except AttributeError:
        state = None
    if state is not None:
        return ["instance of " + kind.__qualname__, _namespace(state, seen, path, module)]
    return f"{kind.__module__}.{kind.__qualname__}"


def _ours(filename, module):
    return filename.endswith(
        (module.replace(".", "/") + ".py", module.replace(".", "/") + "/__init__.py")
    )


def _cell(cell, seen, path, module):
    try:
        return _thing(cell.cell_contents, seen, path, module)
    except ValueError:
        return "empty"


def _annotations(function, seen, path, module):
    try:
        return _thing(function.__annotations__, seen, path, module)
    except Exception as error:
        return repr(error)
