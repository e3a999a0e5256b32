"""A day and a surge are no drift: what follows the hour, or comes ten times as fast, opens no burst."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.sampling import PLENTY, project, scored
from tiebreak.contracts.messages import DriftEvent
from tiebreak.contracts.project import Budget, Sampling
from tiebreak.sampling.appraisal import Moment, Policy, initial
from tiebreak.sampling.heard import Answered, Heard
from tiebreak.sampling.policy import decide

BATCH = 100
DAY_S = 86_400.0


def alarms_and_shares(
    unsure: NDArray[np.float64], second: NDArray[np.bool_], gaps_s: NDArray[np.float64], seed: int
) -> tuple[int, list[float]]:
    """Alarms, and the share asked about of each batch: ``unsure`` ``(n,)`` is a tie at 1, ``second`` whether class b is predicted,
    batches come ``gaps_s`` apart. All questions are answered with the next batch, and a model is wrong as often as it says."""
    made = project(sampling=Sampling(target_share=0.05), budget=Budget(labels_per_hour=600.0))
    policy, rng = Policy.of(made), np.random.default_rng(seed)
    heard, state = Heard(policy, made.labeling.answer), initial(policy)
    low = 0.5 * unsure
    p = np.column_stack([np.where(second, low, 1.0 - low), np.where(second, 1.0 - low, low), np.zeros(len(low))])
    inputs = rng.normal(size=(len(low), 4)).astype(np.float32)
    wrong = rng.random(len(low)) < low
    alarms, shares, now_s = 0, list[float](), 0.0
    for turn, start in enumerate(range(0, len(low), BATCH)):
        now_s += float(gaps_s[turn])
        part = slice(start, start + BATCH)
        batch = replace(scored(p[part].astype(np.float32), start=start), inputs=inputs[part])
        told = heard.waiting()
        decision, state = decide(policy, state, batch, PLENTY, Moment(now_s, 1.0, *told))
        heard.used(told)
        alarms += sum(record.event is DriftEvent.ALARM for record in decision.records)
        shares.append(len(decision.rows) / BATCH)
        for row, chosen in zip(decision.rows, decision.selections, strict=True):
            heard.tell(Answered(f"{start + row}", chosen, "a", "b" if wrong[start + row] else "a", ()))
    return alarms, shares


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_daily_cycle_is_no_drift(seed: int) -> None:
    """Over four days traffic, class mix and uncertainty follow the hour: no alarm. `make bench-drift` has the rate by chance."""
    rng, events = np.random.default_rng(seed), 40_000
    hour = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(events) / (events / 4.0))
    unsure = np.clip(rng.beta(1.2, 4.0, events) + 0.03 * hour, 0.0, 1.0)
    gaps_s = 4.0 * DAY_S / (events / BATCH) / (0.5 + hour[::BATCH])
    assert alarms_and_shares(unsure, rng.random(events) < 0.3 + 0.1 * hour, gaps_s, seed)[0] == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_traffic_surge_is_no_drift(seed: int) -> None:
    """Ten times the traffic for a while, of the same kind: a tenth of the events is asked about as before, and there is no alarm."""
    rng, events = np.random.default_rng(seed), 30_000
    gaps_s = np.full(events // BATCH, 30.0)
    gaps_s[100:200] = 3.0
    alarms, shares = alarms_and_shares(rng.beta(1.2, 4.0, events), rng.random(events) < 0.3, gaps_s, seed)
    assert alarms == 0
    assert np.mean(shares[120:200]) == pytest.approx(0.1 * 0.05, abs=0.003)
    assert np.mean(shares[240:]) == pytest.approx(0.05, abs=0.01)


def test_what_stays_is_drift() -> None:
    """The control: the same streams with a change that does not go away raise an alarm."""
    rng, events = np.random.default_rng(4), 30_000
    unsure = np.where(np.arange(events) < 15_000, rng.beta(1.2, 4.0, events), rng.beta(3.0, 3.0, events))
    second = rng.random(events) < np.where(np.arange(events) < 15_000, 0.3, 0.6)
    assert alarms_and_shares(unsure, second, np.full(events // BATCH, 30.0), 4)[0] >= 1
