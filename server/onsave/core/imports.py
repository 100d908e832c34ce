"""The import lists of a module: what an edit of them binds and unbinds. Pure.

Whether that can be done to the module that runs, its process finds out (``onsave_agent.bindings``);
here it is said where the source alone forbids it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from onsave.core.change import Import, Restart
from onsave.core.statements import Unit, ambiguous, bindings


class Imports:
    """Fed with the lists at the top of a module, in their order.

    mentioned: does the old source use a name in any way?
    used:      does the new one use it or bind it, attributes apart?
    """

    def __init__(self, mentioned: Callable[[str], bool], used: Callable[[str], bool]) -> None:
        self.new: list[Import] = []
        self.unbound: list[Import] = []
        self._mentioned, self._used = mentioned, used
        self._kept: set[str] = set()  # modules that are imported in both sources, so far

    def edited(self, old: Unit, new: Unit, *, at_the_top: bool, line: int | None) -> None:
        """One list, in both sources; an empty one where it is in one alone. Raises Restart.

        line: where the list is in the new source, or what came after it
        """
        was, is_ = bindings(old), bindings(new)
        before, after = {i.what for i in was}, {i.what for i in is_}
        if at_the_top:
            for i in is_:
                if i.what in before:
                    self._keep(i.module)
        if before == after and [i.what for i in was] == [i.what for i in is_]:
            return
        doubtful = ambiguous(was) or ambiguous(is_) or ambiguous([*was, *is_])
        if doubtful and before == after:
            raise Restart(f"order of imports that bind {doubtful} changed", line)
        gone = [i for i in was if i.what not in after]
        if gone and (doubtful or not at_the_top):
            raise Restart("import removed", line)
        for i in gone:
            self._take_away(i, is_, line)
        for i in is_:
            if i.what not in before:
                if doubtful or not at_the_top or i.module == "__future__":
                    raise Restart("import added", i.line)
                if self._mentioned(i.bound):
                    raise Restart("import added", i.line)
                self.new.append(replace(i, kept=i.module in self._kept))

    def _take_away(self, gone: Import, left: list[Import], line: int | None) -> None:
        still_bound = any(i.bound == gone.bound for i in left)
        needed = self._used(gone.bound) or self._used("*")
        if gone.module == "__future__" or (not still_bound and needed):
            raise Restart("import removed", line)
        bound = "" if still_bound else gone.bound
        self.unbound.append(replace(gone, bound=bound, kept=gone.module in self._kept))

    def _keep(self, module: str) -> None:
        """``import a.b`` imports a as well."""
        while module:
            self._kept.add(module)
            module = module.rpartition(".")[0]
