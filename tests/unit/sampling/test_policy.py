"""The decision as a whole: how much it spends, on what, with which chance, and what it does with bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.sampling import PLENTY, chosen, pieces, policy, probabilities, project, run, scored
from tiebreak.contracts.messages import DriftEvent, Reason
from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import Burst, Detector, Drift, NearDuplicates, Sampling
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling import schedule
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.appraising import appraise
from tiebreak.sampling.policy import choose, decide

BUSY = 20_000


def spread(rng: np.random.Generator, events: int, width: int = 8) -> FloatArray:
    return rng.normal(size=(events, width)).astype(np.float32)


def batches_of(p: FloatArray, *, features: FloatArray | None = None, size: int = 500) -> list[Scored]:
    return list(pieces(scored(p, features=features, inputs=features is not None), [size]))


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.8, 1.0])
@pytest.mark.parametrize("strategy", ["margin", "least_confidence", "entropy", "random"])
def test_what_is_spent_is_the_share_asked_for(share: float, strategy: str) -> None:
    """Whatever the strategy, the share of selected events ends within 1 % of the target, or within ten labels of it."""
    rng = np.random.default_rng(1)
    batches = batches_of(probabilities(rng, BUSY), features=spread(rng, BUSY))
    decisions, _ = run(policy(strategy=strategy, target_share=share), batches)
    spent = sum(len(d.rows) for d in decisions)
    assert abs(spent - share * BUSY) <= max(0.01 * share * BUSY, 10.0)


@pytest.mark.parametrize("share", [2e-5, 2e-4])
def test_rare_labels_are_spent_as_planned_too(share: float) -> None:
    """While labels are rare, blocks are long: over a flood the plan is still followed within a few labels, and the best are asked."""
    rng = np.random.default_rng(4)
    p = probabilities(rng, 20 * BUSY)
    decisions, state = run(policy(target_share=share, audit_share=0.0), batches_of(p, size=4096))
    spent = [float(d.utility[row]) for d in decisions for row in d.rows]
    assert abs(len(spent) - share * len(p)) <= 20.0  # sixteen may come early
    assert np.mean(spent) > np.quantile(np.concatenate([d.utility for d in decisions]), 0.75)
    assert state.until % 64 == 0 < state.until - state.seen <= 1024


def test_a_burst_ends_the_block_it_opens_in() -> None:
    """A long block must not keep a burst waiting: it begins with the next 64 events."""
    made = policy(target_share=1e-5, audit_share=0.0)
    rng = np.random.default_rng(5)
    _, state = run(made, batches_of(probabilities(rng, 40 * 4096), size=4096))
    plan = replace(state.plan, early=0.0, debt=0.0)
    opened = schedule.open_burst(plan, schedule.OpenBurst("b1", 8, opens_at=state.seen + 100), Burst(labels=8), 0.05)
    after = replace(state, plan=opened, until=state.seen + 1000)
    batch = scored(probabilities(rng, 192), start=state.seen)
    appraisal, before = appraise(made, after, batch, Moment(0.0))
    _, end = choose(made, before, batch, appraisal)
    assert end.regime == "burst b1"


def test_uncertain_events_are_asked_about() -> None:
    """Selections for uncertainty are mostly from the most uncertain fifth; the audit slice mirrors the stream."""
    rng = np.random.default_rng(2)
    p = probabilities(rng, BUSY)
    batches = batches_of(p)
    decisions, _ = run(policy(target_share=0.05, audit_share=0.2), batches)
    top = np.quantile(np.concatenate([d.utility for d in decisions]), 0.8)
    kinds = {
        reason: [s.uncertainty for d in decisions for s in d.selections if s.reason is reason] for reason in Reason
    }
    assert np.mean([u >= top for u in kinds[Reason.UNCERTAIN]]) > 0.65
    assert np.mean([u >= top for u in kinds[Reason.AUDIT]]) == pytest.approx(0.2, abs=0.1)
    assert len(kinds[Reason.AUDIT]) == pytest.approx(0.2 * 0.05 * BUSY, rel=0.25)


@pytest.mark.parametrize(("width", "temper"), [(8, 2.0), (63, 2.0), (64, 0.25), (384, 0.25), (None, 0.25)])
def test_a_table_gets_more_chance_than_an_embedding(width: int | None, temper: float) -> None:
    """Where the project file says nothing the width of the features decides: the same choice as with that `temper` written down."""
    rng = np.random.default_rng(12)
    features = None if width is None else spread(rng, 3000, width)
    batches = batches_of(probabilities(rng, 3000), features=features)
    unset, said = (run(policy(target_share=0.1, temper=one), batches)[0] for one in (None, temper))
    assert [d.rows for d in unset] == [d.rows for d in said]
    assert [s.propensity for d in unset for s in d.selections] == [s.propensity for d in said for s in d.selections]


def test_an_event_reaches_the_threshold_it_is_reported_with() -> None:
    """Each selection's uncertainty is at least its threshold, its propensity is in (0, 1], and its model and state are named."""
    rng = np.random.default_rng(3)
    decisions, _ = run(policy(target_share=0.1), batches_of(probabilities(rng, 5000), features=spread(rng, 5000)))
    selections = [s for d in decisions for s in d.selections]
    assert all(s.uncertainty >= s.threshold >= 0.0 for s in selections)
    assert all(0.0 < s.propensity <= 1.0 for s in selections)
    assert {(s.model_version, len(s.state_digest)) for s in selections} == {("v1", 16)}
    assert {s.reason for s in selections} == {Reason.UNCERTAIN, Reason.AUDIT, Reason.NOVEL}


def test_the_propensity_is_how_often_chance_selects_the_event() -> None:
    """Of one state and one event under 4,000 seeds, the share of selections (audits apart) is the propensity they report."""
    rng = np.random.default_rng(4)
    features = spread(rng, 4000)
    made = policy(target_share=0.2)
    _, state = run(made, batches_of(probabilities(rng, 4000), features=features, size=1000))
    state = replace(state, balance=0.0)
    event = scored(np.array([[0.5, 0.35, 0.15]], dtype=np.float32), start=4000, features=spread(rng, 1))
    reported: list[float] = []
    audits: list[float] = []
    for seed in range(4000):
        seeded = Policy.of(project(sampling=Sampling(target_share=0.2, seed=seed)))
        decision, _ = decide(seeded, state, event, PLENTY, Moment(4000.0))
        for s in decision.selections:
            (audits if s.audit else reported).append(s.propensity)
    for propensities in (reported, audits):
        assert len(set(propensities)) == 1
        spread_of = 4.0 * np.sqrt(propensities[0] * (1.0 - propensities[0]) / 4000)
        assert len(propensities) / 4000 == pytest.approx(propensities[0], abs=spread_of)


def test_without_a_model_chance_and_diversity_decide() -> None:
    """With no classes yet, events are selected at the early rate, as cold starts and audits, at the propensity of a coin."""
    p = np.zeros((1000, 0), dtype=np.float32)
    decisions, _ = run(
        policy(target_share=0.02), [scored(p, version="", features=spread(np.random.default_rng(5), 1000))]
    )
    selections = decisions[0].selections
    assert {s.reason for s in selections} == {Reason.COLD_START, Reason.AUDIT}
    assert 30 <= len(selections) <= 55
    assert {s.strategy for s in selections if not s.audit} == {"random"}


def test_a_model_of_one_class_is_no_model() -> None:
    """A single class has no runner-up: selection goes on by chance instead of stopping."""
    decisions, _ = run(policy(target_share=0.05), [scored(np.ones((2000, 1), dtype=np.float32))])
    reasons = [s.reason for s in decisions[0].selections]
    assert set(reasons) == {Reason.COLD_START, Reason.AUDIT}
    assert len(reasons) > 80


def test_random_is_uniform_whatever_the_model_says() -> None:
    """Strategy `random` selects sure and unsure events alike, with one propensity while the threshold is young."""
    rng = np.random.default_rng(6)
    decisions, _ = run(policy(strategy="random", target_share=0.2), batches_of(probabilities(rng, BUSY)))
    picked = np.array([s.uncertainty for d in decisions for s in d.selections])
    everything = np.concatenate([d.utility for d in decisions])
    assert picked.mean() == pytest.approx(everything.mean(), abs=0.02)
    assert {s.reason for d in decisions for s in d.selections} == {Reason.RANDOM, Reason.AUDIT}


def test_identical_events_cost_their_share_and_no_more() -> None:
    """However many identical events come, they spend the share evenly: no 1,000 get more than twice their part, early ones apart."""
    p = np.tile(np.array([[0.6, 0.3, 0.1]], dtype=np.float32), (1000, 1))
    features = np.ones((1000, 4), dtype=np.float32)
    made = policy(target_share=0.02)
    batches = [scored(p, start=1000 * turn, features=features, inputs=True) for turn in range(300)]
    decisions, state = run(made, batches)
    counts = [len(d.rows) for d in decisions]
    assert sum(counts) == pytest.approx(6000, rel=0.01)
    assert max(counts[20:]) <= 40
    assert [r for d in decisions for r in d.records] == []
    assert len(state.coverage) <= 128


def test_near_duplicates_of_what_was_asked_lose_to_others() -> None:
    """Of two equally uncertain halves, the one that repeats one input is asked about far less than the one that varies."""
    rng = np.random.default_rng(7)
    p = np.tile(np.array([[0.5, 0.45, 0.05]], dtype=np.float32), (BUSY, 1))
    features = spread(rng, BUSY)
    features[::2] = features[0]
    batches = batches_of(p, features=features)
    kept = {}
    for memory in (0, 32):
        made = policy(novelty=False, audit_share=0.0, near_duplicates=NearDuplicates(memory=memory, similarity=0.9))
        ids = chosen(batches, run(made, batches)[0])
        kept[memory] = np.mean([int(i[1:]) % 2 == 0 for i in ids])
    assert kept[0] == pytest.approx(0.5, abs=0.1)
    assert kept[32] < 0.1


def test_a_new_kind_of_event_is_found_though_the_model_is_sure() -> None:
    """A cluster that appears late and that the model is certain of is asked about for its novelty, soon after it appears."""
    rng = np.random.default_rng(8)
    centres = rng.normal(size=(5, 16)) * 4.0
    kind = rng.integers(0, 4, 12_000)
    kind[8000:] = np.where(rng.random(4000) < 0.1, 4, kind[8000:])
    features = (centres[kind] + rng.normal(size=(12_000, 16))).astype(np.float32)
    p = probabilities(rng, 12_000)
    p[kind == 4] = [1.0, 0.0, 0.0]
    batches = batches_of(p, features=features)
    drift = Drift(burst=Burst(labels=0))
    found = {}
    for novelty in (False, True):
        made = Policy.of(project(sampling=Sampling(novelty=novelty, audit_share=0.0), drift=drift))
        numbers = [int(i[1:]) for i in chosen(batches, run(made, batches)[0])]
        found[novelty] = [number for number in numbers if kind[number] == 4]
    assert found[False] == []
    assert 8000 <= min(found[True]) < 9500


def test_an_alarm_opens_a_burst_that_is_bounded_and_paid_back() -> None:
    """After a change the rate rises fourfold for the burst's labels, the selections name the burst, and the total stays near plan."""
    rng = np.random.default_rng(9)
    drift = Drift(detectors=(Detector.ADWIN, Detector.PAGE_HINKLEY), burst=Burst(labels=60, known_to=None))
    made = Policy.of(project(sampling=Sampling(target_share=0.02), drift=drift))
    features = spread(rng, 60_000)
    features[20_000:] += 2.0
    p = probabilities(rng, 60_000)
    p[20_000:] = probabilities(rng, 40_000, sharpness=5.0)
    decisions, state = run(made, batches_of(p, features=features))
    records = [r for d in decisions for r in d.records]
    kinds = [r.event for r in records if r.event is not DriftEvent.WARNING]
    assert kinds == [DriftEvent.ALARM, DriftEvent.BURST_OPENED, DriftEvent.BURST_CLOSED]
    burst = [s for d in decisions for s in d.selections if s.burst_id]
    assert {s.burst_id for s in burst} == {records[-1].burst_id}
    assert 60 <= len(burst) <= 66
    assert Reason.BURST in {s.reason for s in burst}
    assert sum(len(d.rows) for d in decisions) == pytest.approx(1200, rel=0.02)
    assert state.plan.debt == 0.0


def test_a_burst_says_which_class_moved() -> None:
    """A class that comes to a fifth of the traffic is the purpose of the burst; a change of the inputs alone names none."""
    rng = np.random.default_rng(9)
    made = Policy.of(project(sampling=Sampling(target_share=0.02)))
    features, told = spread(rng, 30_000), {}
    features[20_000:] += 2.0
    for name, share in (("predicted c", 0.2), ("", 0.0)):
        p = np.column_stack([probabilities(rng, 30_000, classes=2), np.zeros(30_000, np.float32)])
        p[20_000:][rng.random(10_000) < share] = (0.1, 0.1, 0.8)
        p[20_000:] = 0.6 * p[20_000:] + 0.4 / 3.0
        batches = [replace(batch, classes=("a", "b", "c")) for batch in batches_of(p, features=features)]
        records = [r for d in run(made, batches)[0] for r in d.records]
        told[name] = {r.slice for r in records if r.event in {DriftEvent.ALARM, DriftEvent.BURST_OPENED}}
    assert told == {"predicted c": {"predicted c"}, "": {""}}


def test_a_better_model_opens_no_burst() -> None:
    """Uncertainty that collapses with each new version, twenty times over, is no drift: no record at all."""
    rng = np.random.default_rng(10)
    batches = []
    for version in range(20):
        p = probabilities(rng, 1000, sharpness=1.0 / (1 + version))
        batches.append(scored(p, start=1000 * version, version=f"v{version}"))
    decisions, _ = run(policy(), batches)
    assert [r for d in decisions for r in d.records] == []


def test_a_grant_that_is_too_small_keeps_the_audit_slice_whole() -> None:
    """With fewer labels granted than wanted, audits are served first, and the balance keeps what was refused in mind."""
    rng = np.random.default_rng(11)
    made = policy(target_share=0.2, audit_share=0.2)
    batch = scored(probabilities(rng, 2000))
    wanted, _ = decide(made, initial(made), batch, PLENTY, Moment(0.0))
    for granted in (0, 1, wanted.audits, wanted.audits + 7, len(wanted.rows)):
        decision, state = decide(made, initial(made), batch, Grant(granted, 5), Moment(0.0))
        assert len(decision.rows) == granted
        assert decision.audits == min(granted, wanted.audits)
        assert (state.plan.squeeze < 1.0) is (granted < len(wanted.rows))


@pytest.mark.parametrize("temper", [0.0, 2.0])
def test_malformed_rows_are_counted_and_cost_nothing(temper: float) -> None:
    """Rows of NaN, of zeros and of twos are selected only by the audit slice, however much chance there is, and the good rows go on."""
    rng = np.random.default_rng(12)
    p = probabilities(rng, 4000)
    p[::4] = np.nan
    p[1::4] = 0.0
    p[2::4] = 2.0
    made = policy(target_share=0.1, temper=temper)
    batch = scored(p)
    appraisal, _ = appraise(made, initial(made), batch, Moment(0.0))
    decisions, _ = run(made, list(pieces(batch, [500])))
    asked = [
        (500 * turn + row) % 4
        for turn, d in enumerate(decisions)
        for row, s in zip(d.rows, d.selections, strict=True)
        if not s.audit
    ]
    assert appraisal.malformed == 3000
    assert asked
    assert set(asked) == {3}
    assert all(np.isfinite(d.utility).all() for d in decisions)


def test_events_with_odd_features_are_decided_too() -> None:
    """NaN and infinite features, and a change of their width, neither stop nor flood the selection."""
    rng = np.random.default_rng(13)
    features = spread(rng, 4000)
    features[::3] = np.nan
    features[1::3] = np.inf
    batches = [*pieces(scored(probabilities(rng, 4000), features=features, inputs=True), [500])]
    batches += [scored(probabilities(rng, 2000), start=4000, version="v2", features=spread(rng, 2000, 3))]
    decisions, _ = run(policy(target_share=0.05), batches)
    assert sum(len(d.rows) for d in decisions) == pytest.approx(0.05 * 6000, abs=40)


def test_replayed_events_are_never_selected() -> None:
    """Rows that the stream has had before are predicted again and asked about never again."""
    rng = np.random.default_rng(14)
    batch = replace(scored(probabilities(rng, 2000)), replayed=frozenset(range(0, 2000, 2)))
    decision, _ = decide(policy(target_share=0.5), initial(policy()), batch, PLENTY, Moment(0.0))
    assert decision.rows
    assert all(row % 2 for row in decision.rows)


def test_a_committee_strategy_falls_back_without_a_committee() -> None:
    """BALD on a graph without members is reported, and decided, as margin; with members it is BALD."""
    rng = np.random.default_rng(15)
    p = probabilities(rng, 100)
    members = np.stack([probabilities(rng, 100) for _ in range(4)])
    made = policy(strategy="bald")
    assert appraise(made, initial(made), scored(p), Moment(0.0))[0].kind == "margin"
    assert appraise(made, initial(made), replace(scored(p), members=members), Moment(0.0))[0].kind == "bald"


def test_all_audit_selects_by_chance_alone() -> None:
    """With an audit share of 1 every selection is an audit, at the target share."""
    rng = np.random.default_rng(16)
    decisions, _ = run(policy(audit_share=1.0, target_share=0.1), batches_of(probabilities(rng, BUSY)))
    selections = [s for d in decisions for s in d.selections]
    assert {s.audit for s in selections} == {True}
    assert len(selections) == pytest.approx(0.1 * BUSY, rel=0.1)
