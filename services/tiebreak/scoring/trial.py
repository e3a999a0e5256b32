"""Two models on one stream: which events the challenger answers, and how the two compare. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.answer_text import chosen
from tiebreak.contracts.comparison import Comparison, bucket_of
from tiebreak.contracts.hashing import AUDIT_COIN, hashes, units
from tiebreak.contracts.project import Answer
from tiebreak.contracts.tensors import Form, Scores
from tiebreak.scoring.columns import unanswered_rows

_TENTHS = 10


@dataclass(frozen=True, slots=True)
class Trial:
    """A stage of a rollout: ``version`` answers the share ``share`` of the events, 0 for a shadow."""

    version: str
    share: float


def draws(ids: Sequence[bytes], seed: int) -> NDArray[np.float64]:
    """``(n,)`` in [0, 1): an event below the share is the challenger's, on every replica and in every stage with a larger share."""
    return units(hashes(seed, "canary", ids))


def audited(ids: Sequence[bytes], seed: int) -> NDArray[np.float64]:
    """``(n,)`` in [0, 1): the number by which the sampler draws its audit slice. What it may draw, both models should have answered."""
    return units(hashes(seed, AUDIT_COIN, ids))


def compare(
    champion: Scores, challenger: Scores, seconds: tuple[float, float], answer: Answer, margin: float
) -> tuple[Comparison, NDArray[np.int8]]:
    """Both on the same rows; ``seconds`` that the champion and the challenger took for them. The counts, and ``(n,)`` row by row:

    1 where the two answer differently, 0 where they agree, -1 where either could not answer.

    Two lists of classes differ where any class does, and are counted by the likeliest; two levels where they are not the same.
    Two numbers differ where they are further apart than ``margin``, in shares of the answers' range, and than two people may be
    who agree (``answer.tolerance``). They are counted by the tenth of the range into which they fall, and as disagreed where that
    is another one.
    """
    answered, failed = ~unanswered_rows(champion), unanswered_rows(challenger)
    both = answered & ~failed
    theirs, ours = _said(champion, both, answer), _said(challenger, both, answer)
    other = (theirs.exact != ours.exact).any(axis=1)
    counted = Comparison(
        rows=int(both.sum()),
        disagreed=int(other.sum()),
        failed=int((answered & failed).sum()),
        champion=dict(Counter(theirs.names)),
        challenger=dict(Counter(ours.names)),
        champion_times={bucket_of(max(seconds[0], 1e-9)): 1},
        challenger_times={bucket_of(max(seconds[1], 1e-9)): 1},
    )
    differs = np.full(len(champion), -1, np.int8)
    differs[both] = other
    if champion.values is not None and challenger.values is not None:
        gap = np.abs(champion.values[both].astype(np.float64) - challenger.values[both])
        differs[both] = gap > max(margin * (answer.most - answer.least), answer.tolerance)
    return counted, differs


class _Said(NamedTuple):
    """``exact`` ``(n, c)``: what two models agree or disagree upon; ``names``: what each row is counted under."""

    exact: NDArray[np.int64]
    names: list[str]


def _said(scores: Scores, rows: NDArray[np.bool_], answer: Answer) -> _Said:
    if scores.values is not None:
        share = (scores.values[rows].astype(np.float64) - answer.least) / (answer.most - answer.least)
        tenths = np.clip(np.floor(share * _TENTHS), 0, _TENTHS - 1).astype(np.int64)
        edges = np.linspace(answer.least, answer.most, _TENTHS + 1).tolist()
        return _Said(tenths[:, None], [f"{edges[i]:g} to {edges[i + 1]:g}" for i in tenths.tolist()])
    first = scores.probabilities[rows].argmax(axis=1)
    names = [scores.classes[c] for c in first.tolist()]
    if scores.form is Form.MULTI:
        return _Said(chosen(scores.probabilities[rows]).astype(np.int64), names)
    return _Said(first[:, None], names)


def joined(champion: Scores, challenger: Scores, rows: NDArray[np.intp]) -> Scores:
    """``champion``'s scores of a batch, with ``challenger``'s in ``rows``; what it could not answer stays the champion's.

    ``challenger`` holds ``rows`` alone, in their order. Members, embeddings and what asks are the champion's throughout: the
    challenger may have other shapes, and what chooses events must mean the same for a whole batch.
    """
    good = ~unanswered_rows(challenger)
    mine = rows[good]
    by_challenger = np.zeros(len(champion), np.bool_)
    by_challenger[mine] = True
    probabilities = champion.probabilities.copy()
    probabilities[mine] = challenger.probabilities[good]
    values = champion.values
    if values is not None and challenger.values is not None:
        values = values.copy()
        values[mine] = challenger.values[good]
    mixed = replace(champion, probabilities=probabilities, values=values)
    return replace(mixed, challenger=challenger.version, by_challenger=by_challenger)
