"""What labels say of the model: a change is believed soon, and hardly ever without one, whatever was asked about."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.sampling import PLENTY, policy, probabilities, scored
from tiebreak.contracts.project import Drift
from tiebreak.sampling import drift as d
from tiebreak.sampling.appraisal import Moment, initial
from tiebreak.sampling.mistakes import Checked, Mistakes, heard
from tiebreak.sampling.policy import decide
from tiebreak.sampling.state import restore, snapshot

DEFAULT = Drift()


def alarms(rng: np.random.Generator, labels: int, rates: tuple[float, float], at: int) -> list[int]:
    """Labels at which a change is believed: mistakes are ``rates[0]`` of the uncertainty until ``at``, ``rates[1]`` for all after."""
    mistakes, found = Mistakes(), list[int]()
    for number in range(labels):
        uncertainty = float(rng.random() ** 2)
        rate = rates[0] * uncertainty if number < at else rates[1]
        mistakes, alarm = heard(mistakes, uncertainty, wrong=bool(rng.random() < rate))
        if alarm:
            found.append(number)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_swapped_concept_is_believed_within_twenty_five_labels(seed: int) -> None:
    """Three of four predictions turn wrong, uncertain or not: 25 labels are enough."""
    found = alarms(np.random.default_rng(seed), 300, (0.6, 0.75), 200)
    assert found
    assert 200 <= found[0] < 225


def test_steady_mistakes_raise_no_alarm() -> None:
    """5,000 labels of a model that is as often wrong as ever: at most one alarm."""
    assert len(alarms(np.random.default_rng(5), 5000, (0.6, 0.6), 5000)) <= 1


def test_false_alarms_are_no_more_often_than_the_level_says() -> None:
    """20,000 labels of a model that is as often wrong as ever, at a level that allows one false alarm in 1,000: at most 20."""
    rng, mistakes, found = np.random.default_rng(9), Mistakes(), 0
    for uncertainty in rng.random(20_000).tolist():
        wrong = bool(rng.random() < 0.6 * uncertainty)
        mistakes, alarm = heard(mistakes, uncertainty, wrong=wrong, level=float(np.log(1000.0)))
        found += alarm
    assert 1 <= found <= 20


def test_the_more_events_are_labelled_the_more_mistakes_an_alarm_needs() -> None:
    """At 20 % of the events the same mistakes that are an alarm at 2 % are not enough yet; a few more are."""
    told = tuple(Checked(0.1, n >= 60) for n in range(68))
    opened = {}
    for share in (0.02, 0.2):
        own = policy(target_share=share)
        batch = scored(probabilities(np.random.default_rng(8), 64))
        for labels in (63, 68):
            decision, _ = decide(own, initial(own), batch, PLENTY, Moment(1.0, checked=told[:labels]))
            opened[share, labels] = any(record.event.value == "alarm" for record in decision.records)
    assert opened == {(0.02, 63): True, (0.02, 68): True, (0.2, 63): False, (0.2, 68): True}


@pytest.mark.parametrize(("uncertainty", "band"), [(-5.0, 0), (0.0, 0), (1.0, 3), (7.0, 3)])
def test_an_uncertainty_out_of_range_counts_in_the_nearest_band(uncertainty: float, band: int) -> None:
    """Whatever a label of elsewhere says of its question: it is counted once, and the others stay as they are."""
    mistakes, alarm = heard(Mistakes(), uncertainty, wrong=True)
    assert (np.flatnonzero(mistakes.labels).tolist(), mistakes.labels.sum(), alarm) == ([band], 1.0, False)


def test_other_questions_of_the_same_model_are_no_change() -> None:
    """From questions that are mostly easy to questions that are all hard: mistakes are four times as many, and none the wiser."""
    rng, mistakes, told = np.random.default_rng(6), Mistakes(), list[int]()
    for number in range(1500):
        uncertainty = float(rng.random() if number < 1000 else 0.75 + 0.25 * rng.random())
        mistakes, alarm = heard(mistakes, uncertainty, wrong=bool(rng.random() < 0.6 * uncertainty**2))
        told += [number] if alarm else []
    assert told == []


def test_mistakes_need_no_vote_and_keep_the_rest_after_an_alarm() -> None:
    """The first change is an alarm that opens the rest; a second one within it is a warning."""
    state, fired = d.fresh(DEFAULT), list[d.Fired]()
    for _ in range(2):
        for number in range(80):
            state, new = d.observe_label(state, Checked(0.1, number >= 60), DEFAULT, 500)
            fired.extend(new)
            if new:
                break
    assert [(f.detector, f.signal, f.at, f.alarm) for f in fired] == [
        ("CUSUM", "label_error", 500, True),
        ("CUSUM", "label_error", 500, False),
    ]


@pytest.mark.parametrize(("signals", "opened"), [(DEFAULT.signals, 1), (("input",), 0)])
def test_labels_open_a_burst_where_the_signal_is_watched(signals: tuple[str, ...], opened: int) -> None:
    """Mistakes told with a batch open a burst in it; a project that does not watch them has none. A snapshot carries the count on."""
    own = policy(target_share=0.1)
    own = type(own)(own.project, own.sampling, own.budget, DEFAULT.model_copy(update={"signals": signals}))
    batch = scored(probabilities(np.random.default_rng(8), 64))
    told = tuple(Checked(0.1, n >= 60) for n in range(75))
    state = initial(own)
    _, state = decide(own, state, batch, PLENTY, Moment(1.0, checked=told[:62]))
    state = restore(snapshot(state, own.fingerprint), initial(own), own.fingerprint)
    decision, state = decide(own, state, batch, PLENTY, Moment(1.1, checked=told[62:]))
    assert sum(record.event.value == "burst_opened" for record in decision.records) == opened
    assert bool(state.plan.burst.burst_id) == bool(opened)
