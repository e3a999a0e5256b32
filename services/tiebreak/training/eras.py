"""Eras of a stream: a confirmed drift ends one, and labels from before it no longer say how a model does. Pure.

A burst that was opened is a confirmed drift: enough detectors agreed. Its id names the event that raised it, its time is the sampler's
clock at that moment; a batch that is decided again after a crash tells the same burst at a later time, and the earliest counts.
So what is known is a function of the *set* of records, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TypeVar

from tiebreak.contracts.candidate import Evaluation, Paired
from tiebreak.contracts.messages import DriftEvent, DriftRecord

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Era:
    """What began with a confirmed drift: the burst that confirmed it, and when, in milliseconds."""

    burst_id: str
    since_ms: int


def era_of(record: DriftRecord, project: str) -> Era | None:
    """None for whatever confirms nothing: warnings, bursts that close, other projects."""
    if record.project != project or record.event is not DriftEvent.BURST_OPENED or not record.burst_id:
        return None
    return Era(record.burst_id, record.time_ms)


def joined(known: Mapping[str, int], new: Iterable[Era]) -> dict[str, int]:
    """Burst id to its earliest time.

    >>> joined({"a": 5}, [Era("a", 7), Era("b", 6)])
    {'a': 5, 'b': 6}
    """
    found = dict(known)
    for era in new:
        found[era.burst_id] = min(era.since_ms, found.get(era.burst_id, era.since_ms))
    return found


def present(known: Mapping[str, int]) -> int:
    """When the present era began; 0 where no drift was ever confirmed."""
    return max(known.values(), default=0)


def of_era(evaluation: Evaluation, settled_ms: Mapping[str, int], since_ms: int) -> Evaluation:
    """``evaluation`` whose evidence is of the labels settled at ``since_ms`` or later, by label id; its figures stay of all of them."""
    if not since_ms:
        return evaluation
    kept = {label_id for label_id, at in settled_ms.items() if at >= since_ms}
    audit, left_out = only(evaluation.audit, kept), only(evaluation.left_out, kept)
    metrics = evaluation.metrics | {"audit_labels_since_drift": float(len(audit))}
    r = evaluation.reference
    reference = replace(r, audit=only(r.audit, kept), left_out=only(r.left_out, kept)) if r is not None else None
    return replace(evaluation, audit=audit, left_out=left_out, since_ms=since_ms, metrics=metrics, reference=reference)


def only(pairs: Paired, kept: AbstractSet[str]) -> Paired:
    """The labels named in ``kept``, in their order."""
    at = [i for i, label_id in enumerate(pairs.label_ids) if label_id in kept]

    def chosen(values: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(values[i] for i in at) if values else ()

    return Paired(
        chosen(pairs.label_ids),
        chosen(pairs.classes),
        chosen(pairs.champion),
        chosen(pairs.challenger),
        chosen(pairs.weights),
        chosen(pairs.champion_brier),
        chosen(pairs.challenger_brier),
        {name: chosen(members) for name, members in pairs.slices.items()},
        chosen(pairs.apart),
    )
