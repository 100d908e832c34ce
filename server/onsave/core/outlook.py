"""What an edit of each function of a module would do: the table that ``onsave why FILE`` shows."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from onsave.core import syntax
from onsave.core.change import hot_patterns, is_hot
from onsave.core.model import Action
from onsave.core.syntax import Scope, first_line, name_of


@dataclass(frozen=True)
class Prospect:
    """One function: ``line`` is 1-based, ``action`` what another body of it would mean."""

    qualname: str
    line: int
    action: Action
    reason: str


def outlook(
    source: bytes,
    ran: Collection[tuple[str, int]] | None,
    *,
    ready: bool = True,
    module: str | None = None,
    hot: Sequence[str] = (),
) -> tuple[Prospect, ...]:
    """A prospect for each function of ``source``, lambdas apart, in the order of the file.

    ran:   name and first line of those that had run before the app was ready, as the agent's answer
           "ran" has them for the source that runs; None where that is not known
    ready: whether it is ready; else ``ran`` are those that have run so far
    hot:   the user's patterns, see ``order``
    Raises SyntaxError for what can't be parsed.
    """
    patterns = hot_patterns(module, hot)
    return tuple(
        Prospect(qualname, first_line(node), *_prospect(qualname, node, seal, ran, ready, patterns))
        for qualname, node, seal in _functions(syntax.parse(source).body, "", None)
    )


def _prospect(
    qualname: str,
    node: Scope,
    seal: str | None,
    ran: Collection[tuple[str, int]] | None,
    ready: bool,
    patterns: Sequence[str],
) -> tuple[Action, str]:
    if seal is not None:
        return Action.RESTART, seal
    if is_hot(qualname, patterns):
        return Action.PATCH, "declared hot"
    if ran is None:
        return Action.RESTART, "it is not known whether it ran before the app was ready"
    if (name_of(node), first_line(node)) in ran:
        return Action.RESTART, "ran at start-up" if ready else "has run already"
    return Action.PATCH, "had not run when the app was ready" if ready else "has not run yet"


def _functions(
    nodes: Sequence[ast.AST], prefix: str, seal: str | None
) -> Iterator[tuple[str, Scope, str | None]]:
    """Qualified name, function, and why it can't be patched, if so."""
    seals = {"": seal}
    for qualname, node in syntax.scopes(nodes, prefix):
        outer = seals.get(qualname.rpartition(".")[0], seal)
        sealed = outer or syntax.sealed(node, qualname)
        seals[qualname] = sealed
        if isinstance(node, syntax.DEFS):
            yield qualname, node, sealed
        if isinstance(node, syntax.FUNCTIONS):
            yield from _functions(syntax.code_of(node), qualname + ".<locals>.", sealed)
