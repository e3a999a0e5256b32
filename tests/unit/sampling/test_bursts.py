"""What a burst is for: the error since its alarm, within the slice that moved, and why it ends."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.sampling import PLENTY, project, scored
from tiebreak.contracts.messages import DriftEvent, DriftRecord, Selection
from tiebreak.contracts.project import Burst, Drift, Input, Sampling, Slice, TensorSpec
from tiebreak.contracts.project_gate import Gate
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.heard import Answered, Heard
from tiebreak.sampling.knowing import InBurst, Known, heard
from tiebreak.sampling.policy import decide
from tiebreak.sampling.state import restore, snapshot

Asked = tuple[int, Selection]


def policy(known_to: float | None, labels: int, share: float = 0.2, **sections: Any) -> tuple[Policy, Heard]:
    drift = Drift(burst=Burst(labels=labels, known_to=known_to))
    made = project(sampling=Sampling(target_share=share, temper=1.0), drift=drift).model_copy(update=sections)
    return Policy.of(made), Heard(Policy.of(made), made.labeling.answer)


def world(seed: int, change: int = 3000, events: int = 9000) -> tuple[FloatArray, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Probabilities of a model of two classes, and where it is wrong: as often as they say, and from ``change`` on more."""
    rng = np.random.default_rng(seed)
    unsure = rng.beta(1.2, 4.0, events)
    p = np.column_stack([1.0 - 0.5 * unsure, 0.5 * unsure, np.zeros(events)]).astype(np.float32)
    rate = np.where(np.arange(events) < change, 0.5 * unsure, 0.2 + 0.6 * unsure)
    return p, rng.random(events) < rate


def replayed(
    made: tuple[Policy, Heard], batches: list[Scored], wrong: np.ndarray[Any, np.dtype[np.bool_]], delay: int = 1
) -> tuple[list[Asked], list[DriftRecord]]:
    """Every question is answered ``delay`` batches later: what was asked, by event number, and what the topic was told."""
    own, ear = made
    state, asked, records, waiting = initial(own), list[Asked](), list[DriftRecord](), deque[list[Asked]]()
    start = 0
    for batch in batches:
        told = ear.waiting()
        decision, state = decide(own, state, batch, PLENTY, Moment(start * 1e-3, 1.0, *told))
        ear.used(told)
        state = restore(snapshot(state, "f"), initial(own), "f")
        new = [(start + row, s) for row, s in zip(decision.rows, decision.selections, strict=True)]
        asked += new
        records += decision.records
        waiting.append(new)
        for at, chosen in waiting.popleft() if len(waiting) > delay else ():
            features = () if batches[0].inputs is None else tuple(np.concatenate([b.inputs for b in batches])[at])
            ear.tell(Answered(f"l{at}", chosen, "a", "b" if wrong[at] else "a", features))
        start += len(batch)
    return asked, records


def batches_of(p: FloatArray, **more: Any) -> list[Scored]:
    return [
        replace(scored(p[at : at + 64], start=at), **{name: value[at : at + 64] for name, value in more.items()})
        for at in range(0, len(p), 64)
    ]


def closes(records: list[DriftRecord]) -> list[DriftRecord]:
    return [record for record in records if record.event is DriftEvent.BURST_CLOSED]


@pytest.mark.parametrize(
    ("known_to", "labels", "why"), [(0.25, 600, "known"), (None, 60, "labels"), (0.01, 60, "labels")]
)
def test_a_burst_ends_once_the_error_is_known_or_by_its_labels(known_to: float | None, labels: int, why: str) -> None:
    """Labels that turn wrong open a burst; it ends when they tell the error to within ``known_to``, else after its labels."""
    p, wrong = world(1)
    asked, records = replayed(policy(known_to, labels), batches_of(p), wrong)
    close = closes(records)[0]
    spent = [at for at, chosen in asked if chosen.burst_id == close.burst_id]
    truth = float(wrong[spent[0] : spent[-1]].mean())
    assert close.ended == why
    assert close.error_low <= truth <= close.error_high
    assert close.error_labels > 20
    if why == "known":
        assert (close.error_high - close.error_low) / 2.0 <= 0.25
        assert len(spent) < close.burst_size
    else:
        assert close.burst_size <= len(spent) <= close.burst_size + 52


def test_a_burst_that_nobody_answers_ends_by_its_time_and_knows_nothing() -> None:
    """Inputs and uncertainty move and no label ever comes back: the burst has few labels to give, and ends by its time."""
    rng = np.random.default_rng(3)
    p, wrong = world(3)
    p[3000:, 1], p[3000:, 0] = 0.45, 0.55
    features = rng.normal(size=(len(p), 4)).astype(np.float32)
    features[3000:] += 2.0
    made, ear = policy(0.1, 60, 0.01)
    batches = [
        replace(b, replayed=frozenset(range(64)) if b.offset > 3000 else frozenset())
        for b in batches_of(p, inputs=features)
    ]
    _, records = replayed((made, ear), batches, wrong, delay=10_000)
    assert [(r.ended, r.error_low, r.error_high, r.error_labels) for r in closes(records)] == [("time", 0.0, 1.0, 0)]


@pytest.mark.parametrize(("known_to", "why"), [(0.4, "known"), (0.01, "labels")])
def test_a_burst_whose_labels_are_spent_goes_on_listening(known_to: float, why: str) -> None:
    """People take forty batches: nothing is answered when the last label is asked, and the burst is told with what they say."""
    p, wrong = world(1)
    asked, records = replayed(policy(known_to, 60), batches_of(p), wrong, delay=40)
    close = closes(records)[0]
    spent = [at for at, chosen in asked if chosen.burst_id == close.burst_id]
    truth = float(wrong[spent[0] : spent[-1]].mean())
    assert len(closes(records)) == 1
    assert close.ended == why
    assert close.offset > spent[-1] + 20 * 64
    assert close.error_low <= truth <= close.error_high
    if why == "known":
        assert (close.error_high - close.error_low) / 2.0 <= 0.4
        assert 5 < close.error_labels < len(spent)
    else:
        assert close.error_labels >= 0.9 * len(spent)
    # It asks no more than it had, and what is asked while it listens is of no burst.
    assert 60 <= len(spent) <= 112
    during = [chosen for at, chosen in asked if spent[-1] < at <= close.offset]
    assert {chosen.burst_id for chosen in during} == {""}
    assert len(during) < 0.25 * (close.offset - spent[-1])


def test_a_burst_that_listens_says_why_it_asked_no_more_when_a_newer_one_opens() -> None:
    """Nobody ever answers, and inputs move twice: the first burst is told when the second opens, as spent, and knows nothing."""
    rng = np.random.default_rng(3)
    p, wrong = world(3, events=16_000)
    p[3000:, 1], p[3000:, 0] = 0.45, 0.55
    features = rng.normal(size=(len(p), 4)).astype(np.float32)
    features[3000:] += 2.0
    features[10_000:] += 2.0
    _, records = replayed(policy(0.1, 40), batches_of(p, inputs=features), wrong, delay=10_000)
    told = [(r.event, r.ended) for r in records if r.event in {DriftEvent.BURST_OPENED, DriftEvent.BURST_CLOSED}]
    opened = (DriftEvent.BURST_OPENED, "")
    assert told == [opened, (DriftEvent.BURST_CLOSED, "labels"), opened]


def test_labels_of_a_burst_weigh_by_how_likely_they_were() -> None:
    """Over 40 streams the weighted error of the bursts' labels is that of their events; unweighted it is that of the hard ones."""
    weights, mistakes, truth = list[float](), list[float](), list[float]()
    for seed in range(40):
        p, wrong = world(100 + seed, events=6000)
        asked, _ = replayed(policy(None, 400, 0.05), batches_of(p), wrong)
        burst = [(at, s) for at, s in asked if s.burst_id]
        weights += [s.burst_weight for _, s in burst]
        mistakes += [float(wrong[at]) for at, _ in burst]
        truth += wrong[burst[0][0] : burst[-1][0]].astype(float).tolist() if burst else []
    w = np.array(weights)
    assert ((w > 0.0) & (w <= 1.0)).all()
    assert len(w) > 800
    assert float(w @ mistakes / w.sum()) == pytest.approx(np.mean(truth), abs=0.025)
    assert np.mean(mistakes) > np.mean(truth) + 0.04


def test_the_interval_holds_at_every_look() -> None:
    """300 bursts of 200 labels with unequal chances, looked at after every tenth: no more than 5 % ever leave the truth out."""
    rng, missed, truth = np.random.default_rng(5), 0, (0.2 + 0.6 + 0.6) / 3.0
    for _ in range(300):
        chance = rng.choice([0.1, 0.4, 1.0], 200)
        wrong = rng.random(200) < np.where(chance > 0.3, 0.6, 0.2)
        drawn = rng.random(200) < chance
        labels = [InBurst("b", bool(w), 0.1 / c) for w, c, d in zip(wrong, chance, drawn, strict=True) if d]
        known, bad = Known(), False
        for at in range(0, len(labels), 10):
            known = heard(known, "b", labels[at : at + 10])
            bad = bad or not known.low <= truth <= known.high
        missed += bad
    assert missed <= 15


def test_labels_of_another_burst_tell_nothing() -> None:
    """A label of an older burst, or one whose weight is none, changes nothing; a new burst begins anew."""
    odd = [InBurst("new", True, weight) for weight in (0.0, -1.0, 5.0)]
    known = heard(Known(), "new", [InBurst("old", True, 1.0), *odd])
    assert (known.burst_id, len(known.labels), known.low, known.high) == ("new", 0, 0.0, 1.0)
    full = heard(known, "new", [InBurst("new", True, 1.0)] * 50)
    assert full.low > 0.8
    assert heard(full, "", [InBurst("new", True, 1.0)]) is full
    assert heard(full, "newer", []).high == 1.0


SLICED = {
    "input": Input(tensors=(TensorSpec(name="x", shape=(2,)),), fields=("age", "hue")),
    "gate": Gate(slices=(Slice(name="old", field="age", at_least=65.0), Slice(name="red", field="hue", below=0.2))),
}


@pytest.mark.parametrize("shown", ["uncertainty", "labels"])
def test_a_burst_about_a_declared_slice_asks_within_it(shown: str) -> None:
    """What moved for a third of the events alone, in the uncertainty or in the mistakes only, is named, and asked about there."""
    rng = np.random.default_rng(7)
    events, change = 12_000, 6000
    inputs = np.column_stack([rng.uniform(20.0, 88.0, events), rng.random(events)]).astype(np.float32)
    old, after = inputs[:, 0] >= 65.0, np.arange(events) >= change
    unsure = rng.beta(1.2, 4.0, events)
    if shown == "uncertainty":
        unsure = np.where(old & after, rng.beta(4.0, 2.0, events), unsure)
    p = np.column_stack([1.0 - 0.5 * unsure, 0.5 * unsure, np.zeros(events)]).astype(np.float32)
    wrong = rng.random(events) < np.where(old & after, 0.8, 0.5 * unsure)
    made = policy(0.1, 60, 0.05 if shown == "uncertainty" else 0.1, **SLICED)
    asked, records = replayed(made, batches_of(p, inputs=inputs), wrong)
    opened = next(r for r in records if r.event is DriftEvent.BURST_OPENED)
    mine = [(at, s) for at, s in asked if s.burst_id == opened.burst_id]
    # Before 64 scores are known chance alone decides.
    burst = [(at, s) for at, s in mine if not s.audit and at >= mine[0][0] + 128]
    assert opened.slice == "slice old"
    assert np.mean([old[at] for at, _ in burst]) > 0.95
    assert closes(records)[0].slice == "slice old"
    assert all((s.burst_weight > 0.0) is bool(old[at]) for at, s in mine)


def test_what_moves_everywhere_is_about_no_slice() -> None:
    """All events turn uncertain alike: a burst opens, and is about none of the slices."""
    rng = np.random.default_rng(8)
    events = 9000
    inputs = np.column_stack([rng.uniform(20.0, 88.0, events), rng.random(events)]).astype(np.float32)
    unsure = np.where(np.arange(events) < 5000, rng.beta(1.2, 4.0, events), rng.beta(3.0, 2.0, events))
    p = np.column_stack([1.0 - 0.5 * unsure, 0.5 * unsure, np.zeros(events)]).astype(np.float32)
    asked, records = replayed(
        policy(0.1, 60, 0.05, **SLICED), batches_of(p, inputs=inputs), rng.random(events) < 0.3 * unsure
    )
    opened = [r.slice for r in records if r.event is DriftEvent.BURST_OPENED]
    assert opened
    assert not any(name.startswith("slice ") for name in opened)
    assert asked
