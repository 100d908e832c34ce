"""Questions to all agents of a run: asked of each at once, answered together or in time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onsave.session.loop import Loop, Timer
from onsave.session.peers import Peer

Message = dict[str, Any]

#: What is called once all have answered, or can't any more, or time is up: the answers, by peer,
#: and those who gave none.
Done = Callable[[dict[Peer, Message], list[Peer]], None]


@dataclass(eq=False)
class _Question:
    waiting: set[Peer]
    done: Done
    timer: Timer
    silent: list[Peer] = field(default_factory=list)
    answers: dict[Peer, Message] = field(default_factory=dict)


class Questions:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._ids = itertools.count(-1, -1)  # the core's own are positive
        self._open: dict[int, _Question] = {}

    def ask(
        self,
        messages: Mapping[Peer, Message],
        seconds: float,
        done: Done,
        number: int | None = None,
    ) -> None:
        """Send each peer its message, with an id added. ``done`` is called exactly once.

        number: the id, where agents know it again (all phases of a patch have one)
        """
        if number is None:
            number = next(self._ids)
        timer = self._loop.after(seconds, lambda: self._close(number))
        question = self._open[number] = _Question(set(messages), done, timer)
        for peer, message in messages.items():
            peer.send({**message, "id": number})
            if peer.closed:
                self._lost(question, peer)
        if not question.waiting:
            # Never from within ask: the caller is not ready for the answer.
            timer.cancel()
            self._loop.after(0, lambda: self._close(number))

    def answered(self, peer: Peer, message: Message) -> None:
        question = self._open.get(message["id"])
        if question is not None and peer in question.waiting:
            question.waiting.discard(peer)
            question.answers[peer] = message
            if not question.waiting:
                self._close(message["id"])

    def gone(self, peer: Peer) -> None:
        """A peer that has hung up will not answer."""
        for number, question in list(self._open.items()):
            if peer in question.waiting:
                self._lost(question, peer)
                if not question.waiting:
                    self._close(number)

    def _lost(self, question: _Question, peer: Peer) -> None:
        question.waiting.discard(peer)
        question.silent.append(peer)

    def _close(self, number: int) -> None:
        question = self._open.pop(number, None)
        if question is not None:
            question.timer.cancel()
            question.done(question.answers, [*question.silent, *question.waiting])


def first_of(peers: Sequence[Peer]) -> Peer | None:
    """The agent of the lowest pid, most likely the root process: one is asked for all."""
    return min(peers, key=lambda peer: peer.pid, default=None)
