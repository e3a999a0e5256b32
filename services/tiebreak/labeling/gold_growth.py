"""Gold that grows: settled tasks of which the people are sure are proposed to a reviewer, whose yes makes gold of them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tiebreak.contracts.audit import Action, words_of
from tiebreak.contracts.messages import AuditRecord, LabelMethod, Task

_LEAST_VOTES = 2
_MOST = 500
_GROWN = "gold/grown"
_KEPT = re.compile(r'kept as gold \[([0-9a-f]+)\](?: because ("(?:[^"\\]|\\.)*"))?: (.+)', re.DOTALL)


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
        # Task -> revision, value ('': it was withdrawn, or is sure no more) and confidence.
        self._found: dict[str, tuple[int, str, float]] = {}

    def __len__(self) -> int:
        """How many tasks are remembered, those that were withdrawn since too."""
        return len(self._found)

    def settled(self, task_id: str, revision: int, value: str, confidence: float, method: str) -> None:
        """One label that stands (value empty: that was withdrawn). An older revision changes nothing."""
        known, *_ = self._found.get(task_id, (0, "", 0.0))
        is_sure = bool(value) and method == LabelMethod.CONSENSUS and confidence >= self._sure
        if revision <= known or not (known or is_sure):
            return
        self._found.pop(task_id, None)
        self._found[task_id] = revision, value if is_sure else "", confidence
        if len(self._found) > _MOST:
            del self._found[next(iter(self._found))]

    def newest(self, said: Callable[[str], Mapping[str, str]], but: Collection[str]) -> Iterator[Proposal]:
        """Proposals, the newest first, without the tasks ``but``. ``said`` gives a task's answers: two at least, all the same."""
        for task_id, (_, value, confidence) in reversed(self._found.items()):
            votes = said(task_id)
            if value and task_id not in but and len(votes) >= _LEAST_VOTES and set(votes.values()) == {value}:
                yield Proposal(task_id, value, confidence, len(votes))


@dataclass(frozen=True, slots=True)
class Kept:
    """That ``maker`` made gold of a task, with ``answer``. ``nonce``: nobody can guess the ids of its copies."""

    answer: str
    maker: str
    nonce: str
    reason: str = ""

    def __str__(self) -> str:
        """As the audit trail has it."""
        because = f" because {json.dumps(self.reason, ensure_ascii=False)}" if self.reason else ""
        return f"kept as gold [{self.nonce}]{because}: {self.answer}"


def kept_in(records: Iterable[AuditRecord], source: str) -> Kept | None:
    """What the trail said first of gold of task ``source``: whoever says it again, anywhere, makes the same piece.

    >>> kept = Kept("cat", "rev", "f00d", 'all of us: "cat"')
    >>> record = AuditRecord("pets", 0, "rev", Action.PROJECT_CHANGED, "0a1b", str(kept), 5, "", "")
    >>> kept_in([record], "0a1b") == kept, kept_in([record], "2c3d")
    (True, None)
    """
    for record in records:
        if record.action == Action.PROJECT_CHANGED and record.target == source:
            found = _KEPT.fullmatch(words_of(record))
            if found is not None:
                return Kept(found[3], record.actor, found[1], json.loads(found[2]) if found[2] else "")
    return None


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
