"""New code in place of old: the functions stay, with their identity, closures, names and state.

``onsave.core.diff`` has found out, from the syntax, what a save changed. What only this process
can know is proved here: that what runs is what the old source says, that no changed function had
run before the app was ready, who holds them, and that all of them can run the new code. Then all
functions of all files get their new code objects in one step; or nothing is touched, and the
session restarts the app.

Functions that do what they did are given new code too, so that their lines are right.
"""

import marshal
import sys

from onsave_agent import (
    additions,
    bindings,
    codes,
    documentation,
    kept,
    origins,
    ran,
    reports,
    results,
    swap,
)
from onsave_agent.codes import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FunctionType
    from typing import Any

#: Methods whose work lives on in the instances that they were called for.
_MADE_INSTANCES = frozenset(
    ["__init__", "__new__", "__post_init__", "__attrs_post_init__", "__hash__", "__eq__"]
)

_prepared = {}  # type: dict[object, list[dict[str, Any]]]
_done = None  # type: Patch | None
#: filename → digest and code of what was patched in last: not compiled again if it is the old one
_last_made = {}  # type: dict[str, tuple[str, bytes]]


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
            reply["live"] = patch.prove()  # for "commit" again: the app has gone on meanwhile
            reply["ran"] = patch.ran()
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
    path = message["path"]
    known = [ran.before(origins.filename_of(m, path)) for m in origins.modules_of(path)]
    functions = None
    if None not in known:  # A process that has not loaded the file has run nothing of it.
        functions = sorted(list(where) for where in set().union(*known))  # type: ignore[arg-type]
    return {
        "type": "ran",
        "id": message["id"],
        "functions": functions,
        "ready": ran.is_ready(),
    }


class Patch:
    """All files of one save: all of it or nothing."""

    def __init__(self, number, files):
        # type: (object, list[dict[str, Any]]) -> None
        self.number = number
        # A process of the app that has not loaded a file (a master of workers) has nothing of it.
        self.files = [
            _File(order)
            for order in files
            if reports.known(order["path"]) or origins.modules_of(order["path"])
        ]
        self._outdated = []  # type: list[object]

    def prove(self):
        # type: () -> list[list[object]]
        """Raise Refused unless it can be done. Returns what will go on with old bodies."""
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            raise Refused("this Python runs without a global lock: nothing is swapped in one step")
        live = [place for file in self.files for place in file.prove()]
        changed = {pair.old.co_name for file in self.files for pair in file.changed}
        if changed:
            functions = [function for file in self.files for function in file.holders_of_changed()]
            self._outdated = results.outdated(changed, functions)
        return live

    def commit(self):
        # type: () -> None
        """Swap everything in one step. Raises Refused, with all as it was, if that fails."""
        settings = [setting for file in self.files for setting in file.settings()]
        missing = object()
        before = [(thing, name, getattr(thing, name, missing)) for thing, name, _ in settings]
        try:
            swap.all_at_once(settings)
        except Exception as error:
            for thing, name, value in before:
                if value is not missing:
                    setattr(thing, name, value)
                elif hasattr(thing, name):
                    delattr(thing, name)
            raise Refused("%s: %s" % (type(error).__name__, error)) from None
        # Whoever holds code objects from here on is somebody else.
        del settings, before
        for file in self.files:
            file.unbind()  # nobody looks for these names any more, or any less
        for cache in self._outdated:
            cache.cache_clear()  # type: ignore[attr-defined]
        for file in self.files:
            file.finish()

    def ran(self):
        # type: () -> list[list[object]]
        """The functions with another body that had run already: what they did stays."""
        return [place for file in self.files for place in file.ran()]

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
        self.modules = origins.modules_of(self.path)
        if not self.modules:
            raise Refused("no module of this file is loaded")
        for module in self.modules:
            origins.check_loader(module)
        self.filename = origins.filename_of(self.modules[0], self.path)
        old, new = order["old"].encode("latin-1"), order["new"].encode("latin-1")
        if codes.digest(old) != order["old_digest"] or codes.digest(new) != order["digest"]:
            raise Refused("the source that came with the patch is damaged")
        self.module_code = codes.compiled(new, self.filename)
        old_code = _known_code(self.filename, order["old_digest"])
        if old_code is None:
            old_code = codes.compiled(old, self.filename)
        self.pairs = codes.pairs(old_code, self.module_code, order)
        self.changed = [pair for pair in self.pairs if pair.is_changed]
        self._by_key = {}  # type: dict[tuple[str, int], list[codes.Pair]]
        for pair in self.pairs:
            self._by_key.setdefault(codes.key(pair.old), []).append(pair)
        #: bodies that should not go on
        self._ended = [(p.old, p.qualname) for p in self.pairs if p.is_changed or p.new is None]
        #: the functions that live, and what is under way in them, while a patch is proved and made
        self._holders = None  # type: swap.Holders | None
        self._functions = []  # type: list[tuple[FunctionType, codes.Pair]]
        #: by id: the code objects that lived before the swap, and what they were to become
        self._replaced = {}  # type: dict[int, tuple[CodeType, codes.Pair]]

    # --- proving --------------------------------------------------------------------------------

    def prove(self):
        # type: () -> list[list[object]]
        self._check_start_up()
        self._holders = swap.Holders(self.filename, [vars(m) for m in self.modules])
        if self._holders.unaccounted():
            self._holders.search()
        self._functions = [
            (function, self._pair_of(function.__code__))
            for function in self._holders.functions
            if codes.is_function(function.__code__)
        ]
        for function, pair in self._functions:
            self._check(function, pair)
        self._check_made()
        bindings.check(self.modules, self.order)
        documentation.check(self.modules, self.order["documented"], self.filename)
        return self._live(self._holders)

    def _check_start_up(self):
        # type: () -> None
        before = ran.before(self.filename)
        for pair in self.changed:
            if pair.hot or (before is not None and codes.key(pair.old) not in before):
                continue
            reason = "%s ran at start-up" if ran.is_ready() else "%s has run already"
            if before is None:
                reason = "it is not known whether %s ran before the app was ready"
            raise Refused(reason % pair.qualname, [self._place(pair)])

    def ran(self):
        # type: () -> list[list[object]]
        ever = ran.ever(self.filename)
        return [
            self._place(pair)
            for pair in self.changed
            if not pair.hot and codes.key(pair.old) in ever
        ]

    def holders_of_changed(self):
        # type: () -> list[FunctionType]
        return [function for function, pair in self._functions if pair.is_changed]

    def _place(self, pair):
        # type: (codes.Pair) -> list[object]
        return [self.path, (pair.new or pair.old).co_firstlineno, pair.qualname]

    def _pair_of(self, code):
        # type: (CodeType) -> codes.Pair
        for pair in self._by_key.get(codes.key(code), ()):
            if codes.equal(pair.old, code):
                return pair
        raise Refused(
            "what runs as %s is not what its source says: something rewrote it" % code.co_name,
            [[self.path, code.co_firstlineno, code.co_name]],
        )

    def _check(self, function, pair):
        # type: (FunctionType, codes.Pair) -> None
        """Whether this function can run its new code, and nobody is left with what it did."""
        why = self._hindrance(function, pair)
        if why is not None:
            raise Refused("%s %s" % (pair.qualname, why), [self._place(pair)])

    def _hindrance(self, function, pair):
        # type: (FunctionType, codes.Pair) -> str | None
        if pair.state == "removed":
            alone = function.__globals__.get(pair.qualname) is function
            if alone and kept.only_in_namespace(function, self._ours()):
                return None
            return "was removed, and somebody holds it"
        if pair.new is None:
            return "is alive, and no longer what its source would make of it"
        why = codes.differs(pair.old, pair.new, pair.state == "redefined")
        if why is not None:
            return why
        if pair.state == "redefined" and not kept.only_in_namespace(function, self._ours()):
            return "has another signature or docstring, and somebody may have read the old one"
        if not pair.is_changed:
            return None
        name, owner = pair.old.co_name, origins.owner_of(self.modules, pair.qualname)
        if name in _MADE_INSTANCES and (owner is None or swap.instances(owner) != []):
            return "changed, and it has made instances"
        if owner is not None and kept.cached_in_instances(owner, name):
            return "changed, and instances keep what it gave"
        return None

    def _check_made(self):
        # type: () -> None
        """What a changed function has made of itself holds what its old body computed."""
        for maker in self.changed:
            prefix = maker.qualname + ".<locals>."
            for function, pair in self._functions:
                holds = function.__closure__ or function.__defaults__ or function.__kwdefaults__
                in_class = "." in pair.qualname[len(prefix) :]
                if pair.qualname.startswith(prefix) and not maker.hot and (holds or in_class):
                    reason = "%s changed, and functions that it has made live on"
                    raise Refused(reason % maker.qualname, [self._place(maker)])

    def _ours(self):
        # type: () -> list[object]
        """What holds functions on our account."""
        return [self._holders.functions, *self._functions]  # type: ignore[union-attr]

    def _live(self, holders):
        # type: (swap.Holders) -> list[list[object]]
        return [
            [self.path, line, qualname]
            for code, line in holders.under_way()
            for old, qualname in self._ended
            if codes.key(old) == codes.key(code) and codes.equal(old, code)
        ]

    # --- doing ----------------------------------------------------------------------------------

    def settings(self):
        # type: () -> list[tuple[object, str, object]]
        """What is to be set: thing, attribute and value each. New names come first."""
        found = []  # type: list[tuple[object, str, object]]
        for module in self.modules:
            found += [bindings.added(module, entry) for entry in self.order["imports"]]
            found += documentation.settings(module, self.order["documented"])
            found += [
                additions.added(module, self.module_code, entry) for entry in self.order["added"]
            ]
        for function, pair in self._functions:
            if pair.new is None:
                continue
            code = function.__code__
            self._replaced[id(code)] = (code, pair)
            found.append((function, "__code__", pair.new))
            if pair.state == "redefined":
                module = next(m for m in self.modules if vars(m) is function.__globals__)
                found += additions.redefined(module, function, pair)
        return found

    def unbind(self):
        # type: () -> None
        names = [name for name, _line in self.order["removed"]]
        names += [entry[0] for entry in self.order["unbound"]]
        for module in self.modules:
            for name in names:
                vars(module).pop(name, None)

    def finish(self):
        # type: () -> None
        """Everybody who remembers something of the file learns of the new one."""
        self._holders, self._functions = None, []
        self._catch_up()
        keys = {codes.key(pair.old): codes.key(pair.new) for pair in self.pairs if pair.new}
        ran.moved(self.filename, keys, self.module_code)
        results.forget(self.filename)
        _last_made[self.filename] = (self.order["digest"], marshal.dumps(self.module_code))
        linecache = sys.modules.get("linecache")
        if linecache is not None:
            linecache.cache.pop(self.filename, None)
        reports.replaced(self.path, self.order["digest"])
        del self.module_code, self.pairs, self.changed, self._by_key, self._replaced, self.order

    def _catch_up(self):
        # type: () -> None
        """A call under way may have made closures of old code between the search and the swap."""
        for _ in range(3):
            alive = {where: code for where, (code, _pair) in self._replaced.items()}
            # The dictionaries hold one each, and the old code around it.
            expected = dict.fromkeys(alive, 1)
            swap.contain(list(alive.values()) + ran.trees.get(self.filename, []), expected)
            if not swap.references(alive, expected):
                return
            holders = swap.Holders(self.filename, [])
            holders.search()
            late = [f for f in holders.functions if id(f.__code__) in self._replaced]
            if not late:
                return
            swap.all_at_once(
                [(f, "__code__", self._replaced[id(f.__code__)][1].new) for f in late]
            )

    def still_live(self):
        # type: () -> list[list[object]]
        holders = swap.Holders(self.filename, [])
        holders.search()
        return self._live(holders)


def _known_code(filename, digest):
    # type: (str, str) -> CodeType | None
    """A copy of the module code, which nobody else holds: references to it are counted."""
    known = _last_made.get(filename)
    if known is None or known[0] != digest:
        return None
    return marshal.loads(known[1])  # type: ignore[no-any-return]
