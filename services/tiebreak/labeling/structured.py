"""Consensus of answers that are more than one class: medians with a spread, votes per class, matched spans and boxes. Pure.

Each way gives the answer that the people share and how far they do (0 to 1); one rule settles, asks on or sends to review.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, median_low
from typing import Any

from tiebreak.contracts.answer_text import number_text
from tiebreak.contracts.codec import dump_json
from tiebreak.contracts.messages import LabelMethod
from tiebreak.contracts.project import Answer, AnswerKind, Project
from tiebreak.labeling.answers import PLACES, value_of
from tiebreak.labeling.consensus import (
    Ballot,
    Consensus,
    Decision,
    Review,
    Rule,
    Settle,
    ask_or_review,
    distribution,
    early,
)

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shared:
    """What people share: ``agreement`` 1 where all say the same, 0 where nothing holds them together."""

    value: str
    agreement: float


class SharedAnswer:
    """Settles once the shared answer of ``combine`` is agreed upon as far as ``rule.agreement``; everybody weighs the same."""

    def __init__(self, combine: Callable[[Sequence[str]], Shared], *, classes: bool = False) -> None:
        self._combine = combine
        self._classes = classes

    def decide(self, ballots: Sequence[Ballot], rule: Rule) -> Decision:
        """The decision after ``ballots``. A reviewer's answer settles alone; as many skips as votes allowed go to review."""
        before = early(ballots, rule)
        counted = tuple(b for b in ballots if b.counts)
        if before is not None and not (isinstance(before, Review) and counted):
            return before
        shared, weights = self._combine([b.value for b in counted]), tuple(1.0 for _ in counted)
        if before is not None or shared.agreement < rule.agreement:
            told = distribution(counted, weights) if self._classes else {shared.value: shared.agreement}
            return Review(told) if before is not None else ask_or_review(ballots, rule, told)
        # Where answers are classes the trainer learns from all that was said; else there is nothing to share out.
        shares = distribution(counted, weights) if self._classes else {shared.value: 1.0}
        return Settle(shared.value, shares, shared.agreement, LabelMethod.CONSENSUS, counted, weights)


def consensus_of(project: Project) -> Consensus | None:
    """The consensus of this project's kind of answers; None where answers are single classes, which have choices of their own."""
    answer, classes = project.labeling.answer, project.classes.names
    match answer.kind:
        case AnswerKind.ORDINAL if project.labeling.consensus == "majority":
            return SharedAnswer(lambda said: middle(classes, said), classes=True)
        case AnswerKind.MULTI:
            return SharedAnswer(lambda said: per_class(classes, said))
        case AnswerKind.NUMERIC:
            return SharedAnswer(lambda said: centre(answer, said))
        case AnswerKind.SPANS:
            return SharedAnswer(lambda said: matched(said, answer.overlap, span_overlap, ("start", "end"), 0))
        case AnswerKind.BOXES:
            return SharedAnswer(
                lambda said: matched(said, answer.overlap, box_overlap, ("x", "y", "width", "height"), PLACES)
            )
        case _:
            return None


def middle(classes: Sequence[str], said: Sequence[str]) -> Shared:
    """The median level (the lower of two), and the share of people at most one level away from it, less half for those one away.

    >>> middle(("low", "mid", "high"), ["low", "mid", "mid"])
    Shared(value='mid', agreement=0.8333333333333334)
    """
    levels = [classes.index(name) for name in said]
    best = median_low(levels)
    near = sum({0: 1.0, 1: 0.5}.get(abs(level - best), 0.0) for level in levels)
    return Shared(classes[best], near / len(levels))


def centre(answer: Answer, said: Sequence[str]) -> Shared:
    """The median number, and the share of people within ``tolerance`` of it.

    >>> centre(Answer(kind=AnswerKind.NUMERIC, tolerance=1), ["3", "4", "9"])
    Shared(value='4', agreement=0.6666666666666666)
    """
    numbers = [float(text) for text in said]
    best = median(numbers)
    near = sum(abs(number - best) <= answer.tolerance + 1e-9 for number in numbers)
    return Shared(number_text(best), near / len(numbers))


def per_class(classes: Sequence[str], said: Sequence[str]) -> Shared:
    """The classes that more than half of the people chose; agreement is that on the class they disagree upon most.

    >>> per_class(("a", "b"), ['["a"]', '["a","b"]', '["a"]', '["a"]'])
    Shared(value='["a"]', agreement=0.75)
    """
    chosen = [set(value_of(text)) for text in said]
    shares = {name: sum(name in choice for choice in chosen) / len(chosen) for name in classes}
    value = [name for name in classes if shares[name] > 0.5]
    return Shared(dump_json(value).decode(), min(max(share, 1.0 - share) for share in shares.values()))


def span_overlap(a: Item, b: Item) -> float:
    """Intersection over union of two spans.

    >>> span_overlap({"start": 0, "end": 10}, {"start": 5, "end": 10})
    0.5
    """
    both = max(0, min(a["end"], b["end"]) - max(a["start"], b["start"]))
    union = (a["end"] - a["start"]) + (b["end"] - b["start"]) - both
    return float(both / union)


def box_overlap(a: Item, b: Item) -> float:
    """Intersection over union of two boxes."""
    wide = max(0.0, min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"]))
    high = max(0.0, min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"]))
    union = a["width"] * a["height"] + b["width"] * b["height"] - wide * high
    return float(wide * high / union)


def matched(
    said: Sequence[str], overlap: float, of: Callable[[Item, Item], float], sides: Sequence[str], places: int
) -> Shared:
    """What more than half of the people marked, each the median of the matching marks; agreement is that on the most disputed one.

    A mark joins the group of the same label that it overlaps most, by at least ``overlap`` of its first mark, once per person.
    """
    groups: list[dict[int, Item]] = []
    for person, text in enumerate(said):
        for mark in value_of(text):
            fits = [(of(mark, next(iter(g.values()))), -i) for i, g in enumerate(groups) if _may_join(g, person, mark)]
            best, place = max(fits, default=(0.0, 0))
            if best >= overlap:
                groups[-place][person] = mark
            else:
                groups.append({person: mark})
    kept = [_typical(g, sides, places) for g in groups if 2 * len(g) > len(said)]
    kept.sort(key=lambda item: tuple(str(item[side]).rjust(12) for side in sides))
    shares = [len(g) / len(said) for g in groups]
    return Shared(dump_json(kept).decode(), min((max(s, 1.0 - s) for s in shares), default=1.0))


def _may_join(group: Mapping[int, Item], person: int, mark: Item) -> bool:
    return person not in group and next(iter(group.values()))["label"] == mark["label"]


def _typical(group: Mapping[int, Item], sides: Sequence[str], places: int) -> Item:
    marks = list(group.values())
    found = {side: median(mark[side] for mark in marks) for side in sides}
    rounded = {side: round(size, places) if places else int(size) for side, size in found.items()}
    return {**rounded, "label": marks[0]["label"]}
