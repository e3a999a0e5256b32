"""One utility out of several: each event is asked about by the arm that chance draws for it. Pure.

Utilities of different kinds are on different scales. Each arm's are taken for the quantiles of the margin that have the same rank among
the last events, so that the threshold, the chance beside it and the share of the labels mean the same whoever is drawn: an arm's part
of the questions is its part of the draws, even where its utility tells nothing. Until there are enough events for a rank all
arms are the margin. What ranks are taken in is fixed per block of events, counted from the start of the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiebreak.sampling import neighbours
from tiebreak.sampling.bandit import PREFIX, Bandit
from tiebreak.sampling.chance import clears
from tiebreak.sampling.neighbours import BLOCK, WARM, WINDOW, Seen

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mixture:
    """``utility`` ``(n, a)`` of each of the ``arms``, ``weights`` ``(a,)`` their chances, ``drawn`` ``(n,)`` whose turn it is."""

    arms: tuple[str, ...]
    utility: Floats
    weights: Floats
    drawn: NDArray[np.int64]

    @property
    def chosen(self) -> Floats:
        """``(n,)``: the utility that decides."""
        return np.asarray(self.utility[np.arange(len(self.drawn)), self.drawn])

    def name(self, row: int) -> str:
        """What a selection of a row names as its strategy."""
        return PREFIX + self.arms[int(self.drawn[row])]

    def clears(self, row: int, lost: float, must: float, chance: tuple[float, float]) -> float:
        """The probability that a row reaches the threshold ``must``, whoever is drawn; ``chance``: temper and logarithm's floor."""
        temper, floor = chance
        each = [clears(base + lost, must, temper) for base in np.log(self.utility[row] + floor).tolist()]
        return float(self.weights @ each)


def mix(
    arms: Sequence[str],
    bandit: Bandit,
    seen: tuple[Floats, Seen | None],
    utility_of: Callable[[str], tuple[str, Floats]],
    turn: Floats,
) -> tuple[Mixture, Bandit]:
    """The arms' utilities of a batch, and the bandit that has seen it.

    ``seen``: the margin ``(n,)``, and what neighbours are found by, where there are features. ``utility_of`` gives the kind and the
    utility of a strategy; one that answers with another kind cannot be had of this model. ``turn`` ``(n,)`` in (0, 1) draws the arm.
    """
    margin, around = seen
    raw, able, streams = [margin], [], list(bandit.around)
    for number, arm in enumerate(arms):
        kind, values = utility_of(arm)
        if arm in neighbours.KINDS and around is not None:
            kind, (values, streams[number]) = arm, neighbours.rank(arm, streams[number], around)
        raw.append(values)
        able.append(kind == arm)
    utility, bandit = _matched(arms, replace(bandit, around=tuple(streams)), np.stack(raw))
    weights = bandit.weights * able
    # Nobody is able only where no arm is the margin and the model has neither a committee nor features: all arms are the margin then.
    weights = weights / weights.sum() if weights.sum() > 0.0 else bandit.weights
    drawn = np.searchsorted(np.cumsum(weights)[:-1], turn, "right").astype(np.int64)
    return Mixture(tuple(arms), utility, weights, drawn), bandit


def _matched(arms: Sequence[str], bandit: Bandit, raw: Floats) -> tuple[Floats, Bandit]:
    """``(n, a)``: each arm's utility as the margin's quantile of the same rank. ``raw`` ``(1 + a, n)`` begins with the margin."""
    recent, fresh = bandit.recent, bandit.fresh
    found = np.zeros((raw.shape[1], len(arms)))
    start = 0
    while start < raw.shape[1]:
        if fresh.shape[1] == BLOCK:
            recent, fresh = np.concatenate([recent, fresh], axis=1)[:, -WINDOW:], fresh[:, :0]
        part = raw[:, start : start + BLOCK - fresh.shape[1]]
        stop = start + part.shape[1]
        warm = recent.shape[1] >= WARM
        levels = np.sort(recent[0])
        places = (np.arange(len(levels)) + 0.5) / max(1, len(levels))
        for number, arm in enumerate(arms):
            own = arm == "margin" or not warm
            found[start:stop, number] = (
                part[0] if own else np.interp(neighbours.ranks(recent[1 + number], part[1 + number]), places, levels)
            )
        fresh = np.concatenate([fresh, part], axis=1)
        start = stop
    return found, replace(bandit, recent=recent, fresh=fresh)
