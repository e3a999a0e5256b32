"""Tasks whose answer is known, among the others: how many a person gets, which, and what follows from their answers. Pure.

A piece of gold is kept once and copied for each person under an id of its own, so a copy looks like any other task and nobody is
asked the same twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from tiebreak.contracts.ids import task_id, unit_hash
from tiebreak.contracts.messages import LabelMethod, Payload, PayloadKind, Reason, Selection, Task
from tiebreak.contracts.project import Gold, Project
from tiebreak.labeling.consensus import Ask, Ballot, Decision, Rule, Settle
from tiebreak.labeling.gold_growth import made_of

# Two-sided 95 %.
_Z = 1.959964
# As events are read that name none.
_MEDIA_TYPE = {PayloadKind.TEXT: "text/plain", PayloadKind.TABLE: "application/json"}


def wilson(right: int, asked: int) -> tuple[float, float]:
    """The 95 % interval of a share (E. B. Wilson, "Probable Inference", JASA 22, 1927); (0, 1) of nothing.

    >>> tuple(round(x, 3) for x in wilson(8, 10))
    (0.49, 0.943)
    """
    if asked == 0:
        return 0.0, 1.0
    share, z2 = right / asked, _Z * _Z
    middle = (share + z2 / (2 * asked)) / (1 + z2 / asked)
    half = _Z / (1 + z2 / asked) * math.sqrt(share * (1 - share) / asked + z2 / (4 * asked * asked))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a person did on gold: ``right`` of ``asked``."""

    right: int = 0
    asked: int = 0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy."""
        return wilson(self.right, self.asked)


def paused(standing: Standing, rule: Gold) -> bool:
    """Whether the person is surely below what is asked: the whole interval is, after enough gold.

    >>> paused(Standing(2, 10), Gold(accuracy=0.6, after=8)), paused(Standing(5, 10), Gold(accuracy=0.6, after=8))
    (True, False)
    """
    return standing.asked >= rule.after and standing.interval[1] < rule.accuracy


def rate(standing: Standing, rule: Gold) -> float:
    """The share of a person's tasks that is gold: ``most`` while nothing is known, less as the interval narrows.

    It stays up where the interval still holds the bound, for there the next answer matters.

    >>> [round(rate(s, Gold(most=0.2, least=0.03)), 3) for s in (Standing(), Standing(9, 10), Standing(99, 100))]
    [0.2, 0.1, 0.03]
    """
    low, high = standing.interval
    open_question = low < rule.accuracy <= high and standing.asked > 0
    wide = max(high - low, 0.5) if open_question else high - low
    return min(rule.most, max(rule.least, rule.most * wide))


def copy_of(piece: Task, person: str, now_ms: int) -> Task:
    """The task by which ``person`` gets ``piece``: nothing that people are shown tells it from others."""
    return replace(piece, task_id=_id_of_copy(piece, person), audience=person, votes_wanted=1, created_ms=now_ms)


def _id_of_copy(piece: Task, person: str) -> str:
    return task_id(piece.project, f"gold/{piece.task_id}/{person}")


_DECLARED = "gold/declared/"


def declared(project: Project) -> Sequence[Task]:
    """The gold of the project file. The same question with the same answer is the same piece, however often it is read."""
    pieces = []
    for known in project.labeling.gold.known:
        # The order of the columns is what people see.
        data = known.text or json.dumps(dict(known.columns), ensure_ascii=False)
        kind = known.payload
        media_type = known.media_type or _MEDIA_TYPE[kind]
        content = json.dumps([kind, media_type, data, known.answer])
        event = _DECLARED + sha256(content.encode()).hexdigest()[:32]
        pieces.append(
            Task(
                task_id=task_id(project.project, event),
                project=project.project,
                event_id=event,
                payload=Payload(kind, media_type, data.encode()),
                features=(),
                predicted="",
                probabilities=(),
                classes=project.classes.names,
                selection=Selection("declared", 0.0, 0.0, 1.0, Reason.RANDOM, False, "", ""),
                priority=0.0,
                lane="",
                votes_wanted=1,
                created_ms=0,
                event_time_ms=0,
                schema_version=project.labeling.schema_version,
                gold=known.answer,
            )
        )
    return pieces


class Bank:
    """All gold of a project. Everything it says is a function of the gold alone, so a replay is told the same.

    ``project``: declared pieces that its file does not name any more are left out. ``read``: how many pieces there were with them.
    """

    def __init__(self, pieces: Sequence[Task] = (), project: Project | None = None) -> None:
        named = {piece.task_id for piece in declared(project)} if project is not None else set[str]()
        self._pieces = {p.task_id: p for p in pieces if not p.event_id.startswith(_DECLARED) or p.task_id in named}
        self._sources = frozenset(made_of(piece)[0] for piece in self._pieces.values()) - {""}
        self._copies: dict[str, dict[str, Task]] = {}
        self.read = len(pieces)

    def __contains__(self, task: object) -> bool:
        return task in self._pieces

    def __len__(self) -> int:
        return len(self._pieces)

    def truth(self, task: str, person: str) -> str | None:
        """The right answer where ``task`` is a copy of gold made for ``person``."""
        piece = self._of(person).get(task)
        return piece.gold if piece is not None else None

    @property
    def sources(self) -> frozenset[str]:
        """The tasks that gold was made of."""
        return self._sources

    def made_of(self, task: str) -> Task | None:
        """The piece that was made of ``task``, if any."""
        if task not in self._sources:
            return None
        return next(piece for piece in self._pieces.values() if made_of(piece)[0] == task)

    def next_for(
        self, person: str, had: Collection[str], now_ms: int, met: Collection[str] = frozenset()
    ) -> Task | None:
        """A copy of gold that this person has not had (``had``: ids of copies), in an order of their own; None: they had all.

        ``met``: tasks that they were asked already. What was made of these, or by themselves, they would know again.
        """
        for task, piece in self._of(person).items():
            source, maker = made_of(piece)
            if task not in had and maker != person and source not in met:
                return copy_of(piece, person, now_ms)
        return None

    def _of(self, person: str) -> Mapping[str, Task]:
        if person not in self._copies:
            pieces = sorted(self._pieces.values(), key=lambda p: unit_hash(0, f"gold/{person}", p.task_id))
            self._copies[person] = {_id_of_copy(p, person): p for p in pieces}
        return self._copies[person]


class Known:
    """Implements ``consensus.Consensus`` for gold: any answer or skip ends the task, whatever it says."""

    def __init__(self, truth: str) -> None:
        self._truth = truth

    def decide(self, ballots: Sequence[Ballot], rule: Rule) -> Decision:  # noqa: ARG002 - a Consensus
        """Settled with what was known; open again when the answer was taken back."""
        given = [b for b in ballots if b.counts or b.skipped]
        if not given:
            return Ask()
        return Settle(self._truth, {self._truth: 1.0}, 1.0, LabelMethod.GOLD, tuple(given), (0.0,) * len(given))
