"""Drift detectors: quiet on what does not change, awake to what does, deaf to a better model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiebreak.contracts.project import Detector, Drift
from tiebreak.sampling import drift as d
from tiebreak.sampling.projections import input_statistics

DEFAULT = Drift()


def observed(
    rng: np.random.Generator,
    events: int,
    *,
    low: float = 0.2,
    classes: tuple[float, ...] = (0.5, 0.3, 0.2),
    shift: float = 0.0,
) -> d.Observed:
    inputs = rng.normal(shift, 1.0, size=(events, 8)).astype(np.float32)
    return d.Observed(
        events=events,
        classes=len(classes),
        uncertainty=rng.beta(2.0, 2.0 / low, events),
        predicted=rng.choice(len(classes), events, p=classes).astype(np.int64),
        inputs=input_statistics(inputs, 7),
    )


def feed(
    state: d.DriftState, batches: list[d.Observed], drift: Drift = DEFAULT, at: int = 0
) -> tuple[d.DriftState, list[d.Fired]]:
    fired: list[d.Fired] = []
    for batch in batches:
        state, new = d.observe(state, batch, drift, at)
        fired.extend(new)
        at += batch.events
    return state, fired


def test_a_stream_that_does_not_change_raises_no_alarm() -> None:
    """Over 100,000 events of one distribution no burst opens at the default settings."""
    rng = np.random.default_rng(11)
    _, fired = feed(d.fresh(DEFAULT), [observed(rng, 1000) for _ in range(100)])
    assert [f for f in fired if f.alarm] == []


@pytest.mark.parametrize(
    "change", [{"low": 0.8, "shift": 0.5}, {"classes": (0.1, 0.1, 0.8), "low": 0.6}], ids=["inputs", "classes"]
)
def test_a_change_raises_one_alarm_soon(change: dict[str, float]) -> None:
    """After a change at event 20,000 one alarm comes within 1,500 events, and the cool-down keeps the rest as warnings."""
    rng = np.random.default_rng(12)
    batches = [observed(rng, 500) for _ in range(40)] + [observed(rng, 500, **change) for _ in range(6)]  # type: ignore[arg-type]
    _, fired = feed(d.fresh(replace_cooldown(10_000)), batches, replace_cooldown(10_000))
    alarms = [f for f in fired if f.alarm]
    assert len(alarms) == 1
    assert 20_000 < alarms[0].at <= 21_500


def test_a_better_model_is_no_drift() -> None:
    """Uncertainty and predicted classes that change with the model version raise neither alarm nor warning."""
    rng = np.random.default_rng(13)
    state, before = feed(d.fresh(DEFAULT), [observed(rng, 500, low=0.8) for _ in range(20)])
    state = d.new_model(state, inputs_too=False)
    better = [observed(rng, 500, low=0.1, classes=(0.34, 0.33, 0.33)) for _ in range(20)]
    _, after = feed(state, better, at=10_000)
    assert (before, after) == ([], [])


def test_inputs_are_still_watched_while_models_change() -> None:
    """A new version every 200 events hides no change of the inputs: its detectors keep their memory."""
    rng = np.random.default_rng(14)
    state, fired = d.fresh(DEFAULT), list[d.Fired]()
    for turn in range(100):
        state = d.new_model(state, inputs_too=False)
        state, new = d.observe(state, observed(rng, 200, shift=0.0 if turn < 80 else 1.0), DEFAULT, turn * 200)
        fired.extend(new)
    assert {(f.signal, f.detector) for f in fired} == {("input", Detector.ADWIN), ("input", Detector.PAGE_HINKLEY)}


@pytest.mark.parametrize("detector", list(Detector))
def test_every_detector_answers_by_its_name(detector: Detector) -> None:
    """Each detector of the project file, alone with one vote, notices a change of the inputs."""
    drift = Drift(detectors=(detector,), signals=("input",), votes=1)
    rng = np.random.default_rng(15)
    batches = [observed(rng, 1000) for _ in range(25)] + [observed(rng, 1000, shift=2.0) for _ in range(10)]
    _, fired = feed(d.fresh(drift), batches, drift)
    assert [f.detector for f in fired if f.alarm and f.at > 25_000][:1] == [detector]


def test_cutting_a_stream_into_other_batches_changes_no_alarm() -> None:
    """The same events in batches of 7, 100 and 1,000 fire at the same events."""
    rng = np.random.default_rng(16)
    whole = [observed(rng, 7000), observed(rng, 7000, low=0.8, shift=0.5)]
    answers = []
    for size in (7, 100, 1000):
        batches = [cut(batch, start, min(7000, start + size)) for batch in whole for start in range(0, 7000, size)]
        answers.append([(f.at, f.signal, f.detector, f.alarm) for f in feed(d.fresh(DEFAULT), batches)[1]])
    assert answers[0] == answers[1] == answers[2]
    assert any(alarm for *_, alarm in answers[0])


def test_an_older_state_can_be_taken_up_again() -> None:
    """Feeding one state twice gives one answer twice: what a first feed did to the live detectors is not seen by the second."""
    rng = np.random.default_rng(17)
    start, _ = feed(d.fresh(DEFAULT), [observed(rng, 1000) for _ in range(10)])
    later = [observed(rng, 1000, low=0.8, shift=0.5) for _ in range(3)]
    first, second = feed(start, later, at=10_000), feed(start, later, at=10_000)
    assert first[1] == second[1] != []
    assert [w.log.tolist() for w in first[0].watches] == [w.log.tolist() for w in second[0].watches]


def test_full_logs_are_told_again_one_after_the_other() -> None:
    """Every log is cut back before it outgrows its arrays, and no two within a batch: each cut is a millisecond that events wait."""
    rng = np.random.default_rng(19)
    state, cut_back = d.fresh(DEFAULT), 0
    for number in range(d.LOG_BLOCKS // 8 + 8):
        before = [len(watch.log) for watch in state.watches]
        state, fired = d.observe(state, observed(rng, 8 * d.BLOCK), DEFAULT, number * 8 * d.BLOCK)
        restarted = [new < old for old, new in zip(before, (len(w.log) for w in state.watches), strict=True)]
        assert sum(restarted) - len(fired) <= 1
        cut_back += sum(restarted) - len(fired)
    assert cut_back >= len(DEFAULT.signals)
    assert all(len(watch.log) < d.LOG_BLOCKS for watch in state.watches)


def test_audit_errors_are_a_signal_of_their_own() -> None:
    """When predictions on the audit slice turn from mostly right to mostly wrong, the detectors that watch it agree."""
    drift = Drift(signals=("audit_error",))
    rng = np.random.default_rng(18)
    state, fired = d.fresh(drift), list[d.Fired]()
    for number in range(600):
        wrong = bool(rng.random() < (0.1 if number < 400 else 0.8))
        state, new = d.observe_error(state, wrong, drift, number)
        fired.extend(new)
    alarms = [f.at for f in fired if f.alarm]
    assert alarms
    assert 400 < alarms[0] < 450


def test_a_constant_signal_stays_quiet() -> None:
    """A million identical events, in effect: 50,000 equal numbers raise nothing."""
    same = d.Observed(1000, 2, np.full(1000, 0.3), np.zeros(1000, dtype=np.int64), np.ones((1000, 4)))
    assert feed(d.fresh(DEFAULT), [same] * 50)[1] == []


def replace_cooldown(events: int) -> Drift:
    return Drift(burst=DEFAULT.burst.model_copy(update={"cooldown_events": events}))


def cut(batch: d.Observed, start: int, stop: int) -> d.Observed:
    assert batch.uncertainty is not None
    assert batch.predicted is not None
    assert batch.inputs is not None
    part = slice(start, stop)
    return replace(
        batch,
        events=stop - start,
        uncertainty=batch.uncertainty[part],
        predicted=batch.predicted[part],
        inputs=batch.inputs[part],
    )
