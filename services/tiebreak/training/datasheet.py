"""What a version of the data set is made of, and what changed between two of them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tiebreak.contracts.messages import Label


@dataclass(frozen=True, slots=True)
class Datasheet:
    """Counts over the standing labels of a version. ``agreement``: their mean confidence. Times are Unix ms, 0 when empty."""

    train: int
    audit: int
    withdrawn: int
    classes: Mapping[str, int]
    reasons: Mapping[str, int]
    methods: Mapping[str, int]
    annotators: Mapping[str, int]
    agreement: float
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Ids of labels that only the later version has, that it has with another answer, and that it no longer has.

    ``reweighted``: the answer is the same, and how sure people are of it is not: other votes settle it.
    """

    added: tuple[str, ...]
    revised: tuple[str, ...]
    removed: tuple[str, ...]
    reweighted: tuple[str, ...] = ()


def standing(labels: Iterable[Label]) -> dict[str, Label]:
    """The newest revision of each label by id, withdrawn ones included."""
    newest: dict[str, Label] = {}
    for label in labels:
        known = newest.get(label.label_id)
        if known is None or known.revision < label.revision:
            newest[label.label_id] = label
    return newest


def datasheet(labels: Iterable[Label]) -> Datasheet:
    """Of all revisions up to a version."""
    newest = standing(labels).values()
    kept = [label for label in newest if not label.withdrawn]
    times = [label.settled_ms for label in kept]
    return Datasheet(
        train=sum(not label.selection.audit for label in kept),
        audit=sum(label.selection.audit for label in kept),
        withdrawn=len(newest) - len(kept),
        classes=_counted(label.value for label in kept),
        reasons=_counted(label.selection.reason.value for label in kept),
        methods=_counted(label.method.value for label in kept),
        annotators=_counted(vote.annotator for label in kept for vote in label.votes),
        agreement=sum(label.confidence for label in kept) / len(kept) if kept else 0.0,
        first_ms=min(times, default=0),
        last_ms=max(times, default=0),
    )


def changes(before: Iterable[Label], after: Iterable[Label]) -> Changes:
    """From one version to a later one."""
    old = {i: label for i, label in standing(before).items() if not label.withdrawn}
    new = {i: label for i, label in standing(after).items() if not label.withdrawn}
    revised = tuple(sorted(i for i in new.keys() & old.keys() if new[i].value != old[i].value))
    were, are = ({i: (x.distribution, x.confidence) for i, x in version.items()} for version in (old, new))
    return Changes(
        added=tuple(sorted(new.keys() - old.keys())),
        revised=revised,
        removed=tuple(sorted(old.keys() - new.keys())),
        reweighted=tuple(sorted(i for i in (are.keys() & were.keys()) - set(revised) if are[i] != were[i])),
    )


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
