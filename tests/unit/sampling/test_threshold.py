"""The quantile that follows the scores, and the chance around it."""

from __future__ import annotations

import numpy as np
import pytest

from tiebreak.sampling import chance
from tiebreak.sampling import threshold as t


def test_the_window_keeps_the_last_scores_in_order() -> None:
    """Pushing past the size forgets the oldest."""
    window = t.push(t.push(t.Window(), np.array([1.0, 2.0, 3.0]), 4), np.array([4.0, 5.0]), 4)
    assert window.scores.tolist() == [2.0, 3.0, 4.0, 5.0]


def test_too_few_scores_give_no_level() -> None:
    """One score short of warm, the window stays unusable; with it, it is usable."""
    short = t.relevel(t.Window(np.zeros(t.WARM - 1)), 0.1)
    assert (short.usable, t.relevel(t.Window(np.zeros(t.WARM)), 0.1).usable) == (False, True)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0, 7.0])
def test_the_level_is_the_quantile(share: float) -> None:
    """The level equals numpy's linear quantile, for shares outside [0, 1] that of the nearest bound."""
    scores = np.random.default_rng(1).normal(size=200)
    level = t.relevel(t.Window(scores), share).level
    assert level == pytest.approx(float(np.quantile(scores, 1.0 - min(1.0, share))))


def test_a_long_window_is_sorted_less_often() -> None:
    """The level is taken each block, and for long windows each eighth of the window in whole blocks."""
    assert [t.due(64, size) for size in (16, 256, 1000, 65_536)] == [64, 64, 64, 8192]


@pytest.mark.parametrize(("base", "level", "temper"), [(0.0, 0.5, 0.25), (-2.0, -1.0, 1.0), (3.0, 0.0, 0.1)])
def test_the_chance_to_clear_is_how_often_noise_clears(base: float, level: float, temper: float) -> None:
    """The closed form agrees with a hundred thousand Gumbel draws."""
    noise = chance.gumbel(np.random.default_rng(2).random(100_000))
    assert chance.clears(base, level, temper) == pytest.approx((base + temper * noise >= level).mean(), abs=0.006)


def test_the_ends_of_chance_are_finite() -> None:
    """Levels for sure and for never are infinite; the chance to clear them is 1 and 0; nothing overflows."""
    assert (chance.gumbel_level(1.0), chance.gumbel_level(0.0)) == (float("-inf"), float("inf"))
    assert chance.clears(0.0, -1e9, 0.01) == 1.0
    assert chance.clears(0.0, 1e9, 0.01) < 1e-300
    assert np.isfinite(chance.gumbel(chance.draws(0, "x", [b""], 0)[0])).all()


def test_one_hash_gives_several_even_and_unrelated_numbers() -> None:
    """All are uniform, of ids that count upwards too, and tell nothing of one another."""
    keys = [b"e%d" % i for i in range(20_000)]
    first, rest = chance.draws(7, "audit", keys, 3)
    every = np.column_stack([first, rest])
    assert np.abs(every.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs(np.histogram(rest, 20, (0.0, 1.0))[0] / 3000 - 1.0).max() < 0.1
    assert np.abs(np.corrcoef(every.T) - np.eye(4)).max() < 0.03
    # Those that miss the audit slice, or hit it, are as even as all.
    assert abs(rest[first < 0.1].mean() - 0.5) < 0.02
