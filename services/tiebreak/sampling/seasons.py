"""What is usual at an hour of the day, of the numbers that drift detectors watch: a daily cycle is no drift. Pure.

Numbers are averaged by the hour of their events' time (UTC), a day at a time. Days have levels of their own: two hours are compared
within a day only, and within a stretch of it between two alarms or model versions, since both move a level. So a change that stays is
no cycle: what is learnt is a shape, with a mean of about 0 over the hours, and detectors see what is left of a number without it. It is
the least squares fit of ``hour + stretch`` by its normal equations, out of which the stretches have been eliminated (two-way additive
model, within estimator), and it forgets within weeks.

A shape counts as far as days agree on it. ``F`` is what the hours explain over what they leave unexplained; the ridge of the fit is
that of an empirical Bayes estimate, so that at an hour of average weight ``1 - 1 / F`` of the shape is believed. Nothing is where ``F``
is below 2, or before nearly every hour was seen on two days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOURS, HOUR_MS, DAY_MS = 24, 3_600_000, 86_400_000
NUMBERS = 6  # columns: uncertainty, predicted classes and the statistics of inputs
FULL = 8.0  # blocks by which an hour of a stretch weighs half of what it can weigh
MEMORY = 7.0 * (HOURS - 1)  # hours compared after which old ones count for 1 / e: a week of whole days
TWICE = 1.75  # comparisons for each that the shape needs, at least: old ones are forgotten a little by the second day
CLEAR = 2.0  # F from which a shape is believed


@dataclass(frozen=True, slots=True)
class Seasons:
    """``shape`` ``(c, 24)``: by how much each number is off its level at the middle of each hour, as far as that is known.

    ``open`` ``(2, 24, c)``: counts and sums of the stretch of ``day`` that is still open. Of all stretches before: ``normal``
    ``(c, 24, 24)`` and ``moment`` ``(c, 24)``, the normal equations; ``total`` ``(c,)``, the squares there were to explain;
    ``compared`` ``(c,)``, hours less one per stretch.
    """

    day: int = -1
    open: Floats = field(default_factory=lambda: np.zeros((2, HOURS, NUMBERS)))
    normal: Floats = field(default_factory=lambda: np.zeros((NUMBERS, HOURS, HOURS)))
    moment: Floats = field(default_factory=lambda: np.zeros((NUMBERS, HOURS)))
    total: Floats = field(default_factory=lambda: np.zeros(NUMBERS))
    compared: Floats = field(default_factory=lambda: np.zeros(NUMBERS))
    shape: Floats = field(default_factory=lambda: np.zeros((NUMBERS, HOURS)))


def of_day(times_ms: Sequence[int]) -> list[int]:
    """The day of each time, -1 where there is none.

    >>> of_day([0, 1, 86_400_000])
    [-1, 0, 1]
    """
    return [time_ms // DAY_MS if time_ms > 0 else -1 for time_ms in times_ms]


def usual(seasons: Seasons, times_ms: Sequence[int]) -> Floats:
    """``(b, c)``: what the hour adds to each number, on a line between the middles of two hours; 0 for what has no time."""
    at = np.asarray(times_ms, np.int64)
    place = at % DAY_MS / HOUR_MS - 0.5
    before = np.floor(place)
    part, hour = (place - before)[:, None], before.astype(np.int64) % HOURS
    shape = seasons.shape.T
    between = (1.0 - part) * shape[hour] + part * shape[(hour + 1) % HOURS]
    return np.where(at[:, None] > 0, between, 0.0)


def counted(seasons: Seasons, numbers: Floats, times_ms: Sequence[int]) -> Seasons:
    """Count numbers ``(b, c)`` of the open day, NaN where there is none; how they are cut into calls changes nothing."""
    at = np.asarray(times_ms, np.int64)
    timed = at > 0
    hours = at[timed] % DAY_MS // HOUR_MS
    numbers = numbers[timed]
    known = np.isfinite(numbers)
    opened = seasons.open.copy()
    # One after the other, as a sum would not: the last bits must not depend on batches either.
    np.add.at(opened[0], hours, known)
    np.add.at(opened[1], hours, np.where(known, numbers, 0.0))
    return replace(seasons, open=opened)


def turned(seasons: Seasons, day: int) -> Seasons:
    """Begin another stretch, of ``day``: levels may be others from here on. The shape is fitted again where the old one tells of it.

    >>> shape = np.sin(np.arange(24) / 24 * 2 * np.pi)
    >>> learnt = Seasons()
    >>> for day, level in enumerate([5.0, 9.0, 7.0]):
    ...     noise = 0.01 * np.random.default_rng(day).normal(size=24)
    ...     numbers = np.tile((level + shape + noise)[:, None], NUMBERS)
    ...     times = [day * DAY_MS + hour * HOUR_MS + HOUR_MS // 2 for hour in range(24)]
    ...     learnt = turned(counted(turned(learnt, day), numbers, times), day + 1)
    >>> bool(np.abs(learnt.shape - shape).max() < 0.02)
    True
    """
    counts, sums = seasons.open[0].T, seasons.open[1].T
    told = np.maximum((counts > 0.0).sum(axis=1) - 1, 0)
    seasons = replace(seasons, day=day, open=np.zeros_like(seasons.open))
    if not told.any():
        return seasons
    # How much an hour's mean varies from day to day does not end with the number of its blocks.
    weight = counts / (counts + FULL)
    means = sums / np.maximum(counts, 1.0)
    every = np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    off = means - (weight * means).sum(axis=1, keepdims=True) / every
    between = weight[:, :, None] * np.eye(HOURS) - weight[:, :, None] * weight[:, None, :] / every[:, :, None]
    kept = np.exp(-told / MEMORY)
    return _fitted(
        replace(
            seasons,
            normal=seasons.normal * kept[:, None, None] + between,
            moment=seasons.moment * kept[:, None] + weight * off,
            total=seasons.total * kept + (weight * off * off).sum(axis=1),
            compared=seasons.compared * kept + told,
        )
    )


def _fitted(seasons: Seasons) -> Seasons:
    weight = np.diagonal(seasons.normal, axis1=1, axis2=2)
    seen = weight > 0.0
    needed = seen.sum(axis=1) - 1.0
    left = seasons.compared - needed
    explained = (_solved(seasons, np.full(NUMBERS, 1e-6)) * seasons.moment).sum(axis=1)
    unexplained = np.maximum(seasons.total - explained, 1e-9 * seasons.total)
    with np.errstate(divide="ignore", invalid="ignore"):
        f = explained / needed * left / unexplained
        believed = (seasons.compared >= TWICE * needed) & (needed > 0.0) & (f >= CLEAR)
        ridge = np.where(believed, weight.sum(axis=1) / np.maximum(needed + 1.0, 1.0) / (f - 1.0), 1.0)
    shape = np.where(believed[:, None], _solved(seasons, ridge), 0.0)
    for own, hours in zip(shape, seen, strict=True):
        if 0 < hours.sum() < HOURS:
            # At night, where nothing comes, it leads from the last hour to the first.
            own[~hours] = np.interp(np.flatnonzero(~hours), np.flatnonzero(hours), own[hours], period=HOURS)
    return replace(seasons, shape=shape)


def _solved(seasons: Seasons, ridge: Floats) -> Floats:
    ridged = seasons.normal + ridge[:, None, None] * np.eye(HOURS)
    return np.asarray(np.linalg.solve(ridged, seasons.moment[:, :, None])[:, :, 0], np.float64)
