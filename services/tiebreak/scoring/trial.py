"""Two models on one stream: which events the challenger answers, and how the two compare. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.comparison import Comparison, bucket_of
from tiebreak.contracts.hashing import hashes, units
from tiebreak.contracts.tensors import Scores
from tiebreak.scoring.columns import unanswered_rows


@dataclass(frozen=True, slots=True)
class Trial:
    """A stage of a rollout: ``version`` answers the share ``share`` of the events, 0 for a shadow."""

    version: str
    share: float


def draws(ids: Sequence[bytes], seed: int) -> NDArray[np.float64]:
    """``(n,)`` in [0, 1): an event below the share is the challenger's, on every replica and in every stage with a larger share."""
    return units(hashes(seed, "canary", ids))


def compare(champion: Scores, challenger: Scores, seconds: tuple[float, float]) -> Comparison:
    """Both on the same rows; ``seconds`` that the champion and the challenger took for them."""
    answered, failed = ~unanswered_rows(champion), unanswered_rows(challenger)
    theirs, ours = champion.probabilities.argmax(axis=1), challenger.probabilities.argmax(axis=1)
    both = answered & ~failed
    names = champion.classes
    return Comparison(
        rows=int(both.sum()),
        disagreed=int((theirs != ours)[both].sum()),
        failed=int((answered & failed).sum()),
        champion=dict(Counter(names[c] for c in theirs[both].tolist())),
        challenger=dict(Counter(names[c] for c in ours[both].tolist())),
        champion_times={bucket_of(max(seconds[0], 1e-9)): 1},
        challenger_times={bucket_of(max(seconds[1], 1e-9)): 1},
    )


def joined(champion: Scores, challenger: Scores, rows: NDArray[np.intp]) -> Scores:
    """``champion``'s scores of a batch, with ``challenger``'s in ``rows``; what it could not answer stays the champion's.

    ``challenger`` holds ``rows`` alone, in their order. Members and embeddings are the champion's throughout: the challenger may
    have other shapes, and what chooses events must mean the same for a whole batch.
    """
    good = ~unanswered_rows(challenger)
    mine = rows[good]
    by_challenger = np.zeros(len(champion), np.bool_)
    by_challenger[mine] = True
    probabilities = champion.probabilities.copy()
    probabilities[mine] = challenger.probabilities[good]
    return replace(champion, probabilities=probabilities, challenger=challenger.version, by_challenger=by_challenger)
