"""New code in place of old: the functions stay, with their identity, closures, names and state.

``onsave.core.diff`` has found out, from the syntax, what a save changed. What only this process
can know is proved here: that what runs is what the old source says, that no changed function had
run before the app was ready, who holds them, and that all of them can run the new code. Then all
functions of all files get their new code objects in one step; or nothing is touched, and the
session restarts the app.

Functions that do what they did are given new code too, so that their lines are right.
"""

import sys
from types import CellType, FunctionType, ModuleType

from onsave_agent import codes, kept, paths, ran, reports, swap
from onsave_agent.codes import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

_class_namespace = type.__dict__["__dict__"].__get__

#: Methods whose work lives on in the instances that they were called for.
_MADE_INSTANCES = frozenset(
    ["__init__", "__new__", "__post_init__", "__attrs_post_init__", "__hash__", "__eq__"]
)
#: Where the source of a function was looked at, or of a module: those who do may have kept it.
_prepared = {}  # type: dict[object, list[dict[str, Any]]]
_done = None  # type: Patch | None


def handle(message):
    # type: (dict[str, Any]) -> dict[str, Any]
    """The answer to "patch"; see there for its phases."""
    global _done
    number, phase = message["id"], message["phase"]
    reply = {"type": "patched", "id": number, "phase": phase, "live": []}  # type: dict[str, Any]
    try:
        if phase == "abort":
            _prepared.pop(number, None)
        elif phase == "recheck":
            if _done is not None and _done.number == number:
                reply["live"] = _done.recheck()
        elif phase in ("now", "prepare", "commit"):
            files = _prepared.pop(number, None) if phase == "commit" else message["files"]
            if files is None:
                raise Refused("was not prepared")
            patch = Patch(number, files)
            reply["live"] = patch.prove()
            if phase == "prepare":
                _prepared.clear()
                _prepared[number] = files
            else:
                patch.commit()
                _done = patch
        else:
            raise Refused("a phase that this agent does not know: %.20r" % (phase,))
    except Refused as refused:
        return {
            "type": "refused",
            "id": number,
            "reason": refused.reason,
            "evidence": refused.evidence,
        }
    return reply


def which_ran(message):
    # type: (dict[str, Any]) -> dict[str, Any]
    """The answer to "ran"."""
    found = set()  # type: set[tuple[str, int]] | None
    for filename in {_filename(m, message["path"]) for m in _modules(message["path"])} or {""}:
        known = ran.before(filename)
        found = None if found is None or known is None else found | known
    functions = None if found is None else [list(where) for where in sorted(found)]
    return {"type": "ran", "id": message["id"], "functions": functions}


class Patch:
    """All files of one save: all of it or nothing."""

    def __init__(self, number, files):
        # type: (object, list[dict[str, Any]]) -> None
        self.number = number
        # A process of the app that has not loaded a file (a master of workers) has nothing of it.
        self.files = [
            _File(order)
            for order in files
            if reports.known(order["path"]) or _modules(order["path"])
        ]

    def prove(self):
        # type: () -> list[list[object]]
        """Raise Refused unless it can be done. Returns what will go on with old bodies."""
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            raise Refused("this Python runs without a global lock: nothing is swapped in one step")
        live = []  # type: list[list[object]]
        for file in self.files:
            live += file.prove()
        changed = {pair.old.co_name for file in self.files for pair in file.changed()}
        self.outdated = kept.results_of(changed, self.files) if changed else []
        return live

    def commit(self):
        # type: () -> None
        """Swap everything in one step. Raises Refused, with all as it was, if that fails."""
        things, names, values = [], [], []  # type: ignore[var-annotated]
        for file in self.files:
            for thing, name, value in file.settings():
                things.append(thing)
                names.append(name)
                values.append(value)
        missing = object()
        before = [getattr(thing, name, missing) for thing, name in zip(things, names)]
        try:
            swap.all_at_once(things, names, values)
        except Exception as error:
            for thing, name, value in zip(things, names, before):
                if value is missing:
                    if hasattr(thing, name):
                        delattr(thing, name)
                else:
                    setattr(thing, name, value)
            raise Refused("%s: %s" % (type(error).__name__, error)) from None
        for cache in self.outdated:
            cache.cache_clear()  # type: ignore[attr-defined]
        for file in self.files:
            file.finish()

    def recheck(self):
        # type: () -> list[list[object]]
        """What is still alive in an old body."""
        return [place for file in self.files for place in file.still_live()]


class _File:
    """One file of a patch."""

    def __init__(self, order):
        # type: (dict[str, Any]) -> None
        self.order = order
        self.path = order["path"]
        self.modules = _modules(self.path)
        if not self.modules:
            raise Refused("no module of this file is loaded")
        self.filename = _filename(self.modules[0], self.path)
        for module in self.modules:
            _check_loader(module)
        old, new = order["old"].encode("latin-1"), order["new"].encode("latin-1")
        if reports.digest(old) != order["old_digest"] or reports.digest(new) != order["digest"]:
            raise Refused("the source that came with the patch is damaged")
        self.module_code = codes.compiled(new, self.filename)
        old_code = codes.compiled(old, self.filename)
        self.pairs = codes.pairs(old_code, self.module_code, order)
        self.by_key = {}  # type: dict[tuple[str, int], list[codes.Pair]]
        for pair in self.pairs:
            self.by_key.setdefault(codes.key(pair.old), []).append(pair)
        self.replaced = {}  # type: dict[int, tuple[CodeType, codes.Pair]]

    def changed(self):
        # type: () -> list[codes.Pair]
        return [p for p in self.pairs if p.state == "changed" or p.state == "redefined" and p.body]

    # --- proving --------------------------------------------------------------------------------

    def prove(self):
        # type: () -> list[list[object]]
        before = ran.before(self.filename)
        for pair in self.changed():
            place = [self.path, pair.new.co_firstlineno, pair.qualname]  # type: ignore
            if pair.hot:
                continue
            if before is None:
                reason = "it is not known whether %s ran before the app was ready"
                raise Refused(reason % pair.qualname, [place])
            if codes.key(pair.old) in before:
                raise Refused("%s ran at start-up" % pair.qualname, [place])
        self.holders = holders = swap.Holders(self.filename, [vars(m) for m in self.modules])
        if holders.unaccounted():
            holders.search()
        self.live_functions = [
            (function, self._pair_of(function.__code__)) for function in holders.functions
            if codes.is_function(function.__code__)
        ]
        for function, pair in self.live_functions:
            self._check(function, pair)
        for name, qualname, header in self._additions():
            self._check_addition(qualname, name)
        return self._live(holders)

    def _pair_of(self, code):
        # type: (CodeType) -> codes.Pair
        for pair in self.by_key.get(codes.key(code), ()):
            if codes.equal(pair.old, code):
                return pair
        raise Refused(
            "what runs as %s is not what its source says: something rewrote it" % code.co_name,
            [[self.path, code.co_firstlineno, code.co_name]],
        )

    def _check(self, function, pair):
        # type: (FunctionType, codes.Pair) -> None
        """Whether this function can run its new code, and nobody is left with what it did."""
        place = [[self.path, (pair.new or pair.old).co_firstlineno, pair.qualname]]
        if pair.new is None:
            reason = "%s is alive, and no longer what its source would make of it"
            raise Refused(reason % pair.qualname, place)
        why = codes.differs(pair.old, pair.new)
        if pair.state == "redefined":
            why = None
            if pair.old.co_freevars != pair.new.co_freevars:
                why = "uses other variables of the functions around it"
            elif not kept.only_in_namespace(function, self._ours()):
                why = "has another signature or docstring, and somebody may have read the old one"
        if why is not None:
            raise Refused("%s %s" % (pair.qualname, why), place)
        if pair.state == "same" or pair.state == "redefined" and not pair.body:
            return
        owner = _owner(self.modules, pair.qualname)
        if pair.old.co_name in _MADE_INSTANCES:
            if owner is None or swap.instances(owner) != []:
                raise Refused("%s changed, and it has made instances" % pair.qualname, place)
        elif owner is not None and kept.cached_in_instances(owner, pair.old.co_name):
            raise Refused("instances keep what %s gave" % pair.qualname, place)

    def _ours(self):
        # type: () -> list[object]
        """What holds functions on our account."""
        return [self.holders.functions, *self.live_functions]

    def _live(self, holders):
        # type: (swap.Holders) -> list[list[object]]
        found = []
        for code, line in holders.under_way():
            for pair in self.by_key.get(codes.key(code), ()):
                changed = pair.new is None or pair in self.changed()
                if changed and codes.equal(pair.old, code):
                    found.append([self.path, line, pair.qualname])
        return found

    # --- what is new ----------------------------------------------------------------------------

    def _additions(self):
        # type: () -> list[tuple[str, str, str]]
        return [(name, qualname, header) for qualname, name, _line, header in self.order["added"]]

    def _check_addition(self, qualname, name):
        # type: (str, str) -> None
        why = kept.why_not_added(self.modules, _owner(self.modules, qualname), qualname, name)
        if why is not None:
            raise Refused("%s was added, and %s" % (qualname, why))

    def _made(self, module, qualname, name, line, header):
        # type: (ModuleType, str, str, int, str) -> FunctionType
        """A new function of the module's, or of a class of its."""
        found = codes.by_key(self.module_code).get((name, line), [])
        if len(found) != 1:
            raise Refused("%s (line %d) was not found among what was compiled" % (name, line))
        owner = _owner([module], qualname)
        template = self._template(module, owner, header)
        closure = None
        if found[0].co_freevars:
            if found[0].co_freevars != ("__class__",) or owner is None:
                raise Refused("%s was added, and needs variables around it" % qualname)
            closure = (CellType(owner),)
        function = FunctionType(
            found[0], module.__dict__, name, template.__defaults__, closure
        )
        function.__kwdefaults__ = template.__kwdefaults__
        function.__annotations__ = template.__annotations__
        function.__qualname__ = qualname
        return function

    def _template(self, module, owner, header):
        # type: (ModuleType, type | None, str) -> FunctionType
        """The function that ``header`` makes: literals, and names in annotations, are evaluated."""
        names = dict(_class_namespace(owner)) if owner is not None else {}
        flags = codes.futures(self.module_code)
        try:
            code = compile(header, self.filename, "exec", flags, dont_inherit=True)
            made = {}  # type: dict[str, object]
            exec(code, module.__dict__, _Scope(names, made))  # type: ignore[arg-type]
            (function,) = made.values()
        except Exception as error:
            raise Refused("%s: %s" % (type(error).__name__, error)) from None
        return function  # type: ignore[return-value]

    def _imported(self, module, bound, source, name, value):
        # type: (ModuleType, str, str, str, str) -> object
        """What a new import binds, if all of it is loaded already and nothing can be otherwise."""
        namespace = module.__dict__
        if bound in namespace:
            raise Refused("import of %s was added, a name that is used already" % bound)
        if source.startswith("."):
            raise Refused("import of the project's own %s was added" % source)
        found = sys.modules.get(source)
        wanted = sys.modules.get(value) if not name else found
        if found is None or wanted is None:
            raise Refused("import of %s was added, which is not loaded yet" % source)
        file = getattr(found, "__file__", None)
        if isinstance(file, str) and not paths.is_library(paths.real(file)):
            raise Refused("import of the project's own %s was added" % source)
        if not name:
            return wanted
        names = vars(found)
        if name not in names:
            raise Refused("%s has no %s so far" % (source, name))
        return names[name]

    # --- doing ----------------------------------------------------------------------------------

    def settings(self):
        # type: () -> list[tuple[object, str, object]]
        """What is to be set: thing, attribute and value each. New names come first."""
        found = []  # type: list[tuple[object, str, object]]
        for module in self.modules:
            if (self.order["imports"] or self.order["added"]) and type(module) is not ModuleType:
                raise Refused("%s is no plain module" % module.__name__)
            for bound, source, name, value, _line in self.order["imports"]:
                found.append((module, bound, self._imported(module, bound, source, name, value)))
            for qualname, name, line, header in self.order["added"]:
                owner = _owner([module], qualname)
                function = self._made(module, qualname, name, line, header)
                found.append((module if owner is None else owner, _mangled(owner, name), function))
        for function, pair in self.live_functions:
            code = function.__code__
            self.replaced[id(code)] = (code, pair)
            found.append((function, "__code__", pair.new))
            if pair.state == "redefined":
                module = next(m for m in self.modules if m.__dict__ is function.__globals__)
                owner = _owner([module], pair.qualname)
                template = self._template(module, owner, pair.header)
                new = FunctionType(pair.new, {}, closure=function.__closure__)  # type: ignore
                for name in ("__defaults__", "__kwdefaults__", "__annotations__"):
                    found.append((function, name, getattr(template, name)))
                found.append((function, "__doc__", new.__doc__))
        return found

    def finish(self):
        # type: () -> None
        """Everybody who remembers something of the file learns of the new one."""
        keys = {
            codes.key(pair.old): codes.key(pair.new) for pair in self.pairs if pair.new is not None
        }
        ran.moved(self.filename, keys, self.module_code)
        self._catch_up()
        linecache = sys.modules.get("linecache")
        if linecache is not None:
            linecache.cache.pop(self.filename, None)
        reports.replaced(self.path, self.order["digest"])
        del self.holders, self.live_functions, self.module_code

    def _catch_up(self):
        # type: () -> None
        """A call under way may have made closures of old code between the search and the swap."""
        for _ in range(3):
            alive = {where: code for where, (code, _pair) in self.replaced.items()}
            expected = {}  # type: dict[int, int]
            parents = list(alive.values())
            swap.contain(parents, expected)
            for where in alive:
                expected[where] = expected.get(where, 0) + 2  # ``replaced`` and ``parents``
            if not swap.references(alive, expected):
                return
            holders = swap.Holders(self.filename, [])
            holders.search()
            late = [f for f in holders.functions if id(f.__code__) in self.replaced]
            late = [f for f in late if self.replaced[id(f.__code__)][1].new is not f.__code__]
            if not late:
                return
            new = [self.replaced[id(f.__code__)][1].new for f in late]
            swap.all_at_once(late, ["__code__"] * len(late), new)

    def still_live(self):
        # type: () -> list[list[object]]
        holders = swap.Holders(self.filename, [])
        holders.search()
        return self._live(holders)


class _Scope(dict):  # type: ignore[type-arg]
    """Where a header is run: names of the class are seen, what is made goes elsewhere."""

    def __init__(self, names, made):
        # type: (dict[str, object], dict[str, object]) -> None
        super().__init__(names)
        self.made = made

    def __setitem__(self, name, value):
        # type: (str, object) -> None
        self.made[name] = value


# --- modules and classes --------------------------------------------------------------------------


def _modules(path):
    # type: (str) -> list[ModuleType]
    """The modules made of a file: mostly one; the script may be imported by its name as well."""
    name = path.rpartition("/")[2]
    found = []
    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType):
            continue
        file = vars(module).get("__file__")
        if type(file) is str and file.endswith(name) and module not in found:
            if file == path or paths.real(reports.os.path.abspath(file)) == path:
                found.append(module)
    return found


def _filename(module, path):
    # type: (ModuleType, str) -> str
    """The name under which a module was compiled: not always its file's (``python app.py``)."""
    namespace = vars(module)
    for value in list(namespace.values()):
        if type(value) is FunctionType and value.__globals__ is namespace:
            filename = value.__code__.co_filename
            if filename.endswith(".py") and paths.real(reports.os.path.abspath(filename)) == path:
                return filename
    return str(namespace["__file__"])


def _check_loader(module):
    # type: (ModuleType) -> None
    """Only what the import system itself has compiled can be compiled in the same way here."""
    kind = type(vars(module).get("__loader__"))
    if kind.__name__ != "SourceFileLoader" or "importlib" not in kind.__module__:
        where = "%s.%s" % (kind.__module__, kind.__qualname__)
        raise Refused("%s is transformed as it is imported (by %s)" % (module.__name__, where))


def _owner(modules, qualname):
    # type: (list[ModuleType], str) -> type | None
    """The class that a method's qualified name says it is in; None if it can't be found."""
    parts = qualname.split(".")[:-1]
    thing = None  # type: object
    namespace = vars(modules[0])  # type: Any
    for part in parts:
        thing = namespace.get(part)
        if not isinstance(thing, type):
            return None
        namespace = _class_namespace(thing)
    return thing  # type: ignore[return-value]


def _mangled(owner, name):
    # type: (type | None, str) -> str
    if owner is None or not name.startswith("__"):
        return name
    stripped = owner.__name__.lstrip("_")
    return "_%s%s" % (stripped, name) if stripped else name
