"""Gold that grows: settled tasks of which the people are sure are proposed to a reviewer, whose yes makes gold of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from tiebreak.contracts.messages import LabelMethod, Task

_LEAST_VOTES = 2
_MOST = 500
_GROWN = "gold/grown"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A settled task whose ``answer`` ``votes`` people gave, all of them, and ``confidence`` in it."""

    task_id: str
    answer: str
    confidence: float
    votes: int


class Proposals:
    """The newest settled tasks that are ``sure`` enough, by the labels in the order of the log."""

    def __init__(self, sure: float) -> None:
        self._sure = sure
        self._revisions: dict[str, int] = {}
        self._found: dict[str, tuple[str, float]] = {}

    def settled(self, task_id: str, revision: int, value: str, confidence: float, method: str) -> None:
        """One label that stands (value empty: that was withdrawn). An older revision changes nothing."""
        if revision <= self._revisions.get(task_id, 0):
            return
        if task_id in self._found:
            self._revisions[task_id] = revision
            del self._found[task_id]
        if value and method == LabelMethod.CONSENSUS and confidence >= self._sure:
            self._revisions[task_id] = revision
            self._found[task_id] = value, confidence
            if len(self._found) > _MOST:
                oldest = next(iter(self._found))
                del self._found[oldest], self._revisions[oldest]

    def newest(self, said: Callable[[str], Mapping[str, str]], but: Collection[str]) -> Iterator[Proposal]:
        """Proposals, the newest first, without the tasks ``but``. ``said`` gives a task's answers: two at least, all the same."""
        for task_id, (value, confidence) in reversed(self._found.items()):
            votes = said(task_id)
            if task_id not in but and len(votes) >= _LEAST_VOTES and set(votes.values()) == {value}:
                yield Proposal(task_id, value, confidence, len(votes))


def grown_event(nonce: str, source: str, maker: str) -> str:
    """The event id of the piece that ``maker`` makes of task ``source``. ``nonce``: nobody can guess the ids of its copies."""
    return f"{_GROWN}/{nonce}/{source}/{maker}"


def made_of(piece: Task) -> tuple[str, str]:
    """The task that a piece of gold was made of, and who made it; empty where it was not made of one.

    >>> grown_event("f00d", "0a1b", "ann")
    'gold/grown/f00d/0a1b/ann'
    """
    if not piece.event_id.startswith(_GROWN + "/"):
        return "", ""
    _, source, maker = piece.event_id.removeprefix(_GROWN + "/").split("/", 2)
    return source, maker
