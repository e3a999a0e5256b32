"""When labels say that the model has stopped being right: the one signal that sees a concept change while the inputs stay. Pure.

A label that comes back tells whether the prediction it checks was wrong. How often that is usual depends on the uncertainty that the
event was asked with, so each band of uncertainty has a usual rate of its own, and it does not matter how events were chosen: who asks
about more uncertain ones looks at other bands. Against the usual rate ``p`` stands that half of what was right is now wrong,
``(1 + p) / 2``; the logarithms of the likelihood ratio add up, never below 0 (CUSUM: Page 1954). As far as the usual rates are known,
they reach a level by chance no more often than once in ``e^level`` labels on average (Lorden 1971). What people notice is false alarms
per event, so the level follows how many events are labelled (:func:`level_at`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BANDS = 4
MEMORY = 200.0  # labels of a band after which an old one counts for 1 / e: a model learns, and its rates fall
PRIOR = 4.0  # labels that the first guess of a rate counts for
YOUNG = 50  # labels before which rates are not known well enough
LEAST_LEVEL = (
    8.0  # some three mistakes in a row where there are none: with fewer the usual rates decide, and they are guesses
)
FALSE_PER_EVENT = 0.5e-5  # false alarms, at most, as far as the usual rates are known


class Checked(NamedTuple):
    """A label that came back: the uncertainty in [0, 1] that its event was asked with, whether the prediction was wrong, and in which
    of the declared slices the event was."""

    uncertainty: float
    wrong: bool
    within: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Per band of uncertainty: labels and wrong predictions, forgotten slowly; what has added up, and how many labels that took."""

    labels: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BANDS))
    wrong: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BANDS))
    heard: int = 0
    evidence: float = 0.0


def level_at(share: float) -> float:
    """The evidence that is an alarm where ``share`` of the events are labelled: by chance once in 200,000 events at most.

    Bursts ask for more and are paid back, so ``sampling.target_share`` is what labels come to in the long run, at most.

    >>> [round(level_at(share), 2) for share in (0.01, 0.05, 0.2, 1.0)]
    [8.0, 9.21, 10.6, 12.21]
    """
    return max(LEAST_LEVEL, log(share / FALSE_PER_EVENT))


def band_of(uncertainty: float) -> int:
    """The band that an uncertainty falls into."""
    return min(BANDS - 1, max(0, int(uncertainty * BANDS)))


def usual(mistakes: Mistakes, band: int) -> float:
    """The usual rate of mistakes in a band. With nothing heard, that of a calibrated model of two classes.

    >>> [usual(Mistakes(), band) for band in range(BANDS)]
    [0.0625, 0.1875, 0.3125, 0.4375]
    """
    first = (band + 0.5) / BANDS / 2.0
    return float((mistakes.wrong[band] + PRIOR * first) / (mistakes.labels[band] + PRIOR))


def heard(mistakes: Mistakes, uncertainty: float, *, wrong: bool, level: float = LEAST_LEVEL) -> tuple[Mistakes, bool]:
    """Take in one label; whether the evidence reaches ``level``, so that a change is believed. Everything is learnt anew then.

    >>> state, told = Mistakes(), []
    >>> for n in range(100):
    ...     state, alarm = heard(state, 0.1, wrong=n >= 80)
    ...     told += [n] if alarm else []
    >>> told
    [81]
    """
    band = band_of(uncertainty)
    rate = usual(mistakes, band)
    lifted = 0.5 + 0.5 * rate
    evidence = 0.0
    if mistakes.heard >= YOUNG:
        evidence = max(0.0, mistakes.evidence + (log(lifted / rate) if wrong else log(0.5)))
    if evidence >= level:
        return Mistakes(), True
    kept = np.ones(BANDS)
    kept[band] = np.exp(-1.0 / MEMORY)
    one = np.arange(BANDS) == band
    counted = replace(
        mistakes,
        labels=mistakes.labels * kept + one,
        wrong=mistakes.wrong * kept + one * float(wrong),
        heard=mistakes.heard + 1,
        evidence=evidence,
    )
    return counted, False
