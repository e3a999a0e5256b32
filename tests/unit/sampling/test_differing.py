"""The audit slice looks more often where champion and challenger differ: at known chances, within the budget, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.sampling import PLENTY, pieces, policy, probabilities, run, scored
from tiebreak.contracts.hashing import AUDIT_COIN
from tiebreak.contracts.messages import Selection
from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import NearDuplicates, Sampling
from tiebreak.sampling import chance
from tiebreak.sampling.appraisal import Policy, Scored, initial
from tiebreak.sampling.decision import Decision
from tiebreak.sampling.differing import Contrast
from tiebreak.sampling.state import restore, snapshot

EVENTS, COMPARED, APART = 40_000, 0.25, 0.1
RULES: tuple[dict[str, object], ...] = ({}, {"rule": "variable"}, {"window_s": 1.0}, {"strategy": "random"})


def settings(**given: object) -> Policy:
    return replace(policy(target_share=0.05, novelty=False, **given), compared=COMPARED)


def coins(made: Policy, batch: Scored) -> NDArray[np.float64]:
    return chance.draws(made.sampling.seed, AUDIT_COIN, batch.ids, 0)[0]


def rollout(
    made: Policy, events: int = EVENTS, seed: int = 1, apart: float = APART
) -> tuple[Scored, NDArray[np.bool_]]:
    """A stream in a rollout, of which the scorer has told what it asked both models about; and where they differ in truth."""
    rng = np.random.default_rng(seed)
    plain = scored(probabilities(rng, events))
    differ = rng.random(events) < apart
    told = np.where(coins(made, plain) < COMPARED, differ, -1).astype(np.int8)
    return replace(plain, challenger="v2", differs=told), differ


def audits(decisions: list[Decision], batches: list[Scored]) -> dict[bytes, Selection]:
    return {
        batch.ids[row]: one
        for batch, decision in zip(batches, decisions, strict=True)
        for row, one in zip(decision.rows, decision.selections, strict=True)
        if one.audit
    }


@pytest.mark.parametrize("given", RULES, ids=str)
def test_an_event_is_audited_exactly_where_its_coin_falls_below_its_propensity(given: dict[str, object]) -> None:
    """Of 40,000 events each audit question's coin is below the chance it reports; where the models differ that chance is higher, and

    the weight is what a label of the slice has over it. So weights add up to the events: to those that differ as well.
    """
    made = settings(**given)
    batch, differ = rollout(made)
    batches = list(pieces(batch, [4000]))
    decisions, _ = run(made, batches)
    asked, coin = audits(decisions, batches), dict(zip(batch.ids, coins(made, batch).tolist(), strict=True))
    apart = {name for name, own in zip(batch.ids, differ.tolist(), strict=True) if own}
    looked = {name: one for name, one in asked.items() if one.challenger}
    assert all(coin[name] < one.propensity <= COMPARED for name, one in asked.items())
    assert {one.challenger for one in looked.values()} == {"v2"}
    assert all((one.weight < 1.0) is (name in apart) for name, one in looked.items())
    slices = {round(one.propensity * one.counts, 12) for one in asked.values()}
    assert all(0.0 < one.counts <= 1.0 for one in asked.values())
    assert max(slices) <= made.sampling.audit_share * 4 * 0.05 + 1e-12
    standing = sum(1.0 / one.propensity for name, one in looked.items() if name in apart)
    assert standing == pytest.approx(APART * EVENTS, rel=0.25)
    # As many labels again as the slice has, and most of them where the two differ.
    assert 0.35 < sum(name in apart for name in looked) / len(looked) < 0.75
    others = [one for d in decisions for one in d.selections if not one.audit]
    assert {(one.weight, one.challenger) for one in others} == {(0.0, "")}


@pytest.mark.parametrize("given", [{"rule": "variable"}, {"temper": 0.0}], ids=str)
def test_a_question_for_uncertainty_was_no_audit_question_at_its_own_chance(given: dict[str, object]) -> None:
    """Without noise a question that is uncertain enough is sure to be asked unless its coin makes an audit question of it."""
    made = settings(**given, near_duplicates=NearDuplicates(memory=0))
    batch, _ = rollout(made)
    batches = list(pieces(batch, [4000]))
    decisions, _ = run(made, batches)
    coin, seen = dict(zip(batch.ids, coins(made, batch).tolist(), strict=True)), 0
    for one, decision in zip(batches, decisions, strict=True):
        for row, selection in zip(decision.rows, decision.selections, strict=True):
            audited = 1.0 - selection.propensity
            # What was asked by chance alone, before there was a threshold, is beside the point.
            if selection.audit or audited > COMPARED:
                continue
            assert one.differs is not None
            assert coin[one.ids[row]] >= audited - 1e-12
            assert (audited > 0.03) == (one.differs[row] == 1)
            seen += int(one.differs[row] == 1)
    assert seen > 5


def test_weighted_means_of_the_slice_are_those_of_the_stream() -> None:
    """60 seeds: what is true of all events, of those that differ and of the others is what weighted labels say on average."""
    made = settings()
    said = []
    for seed in range(60):
        batch, differ = rollout(made, events=8000, seed=seed)
        batches = list(pieces(replace(batch, ids=[b"%d-" % seed + name for name in batch.ids]), [2000]))
        told = np.where(coins(made, replace(batch, ids=[n for b in batches for n in b.ids])) < COMPARED, differ, -1)
        batches = [
            replace(one, differs=told[2000 * i : 2000 * (i + 1)].astype(np.int8)) for i, one in enumerate(batches)
        ]
        where = dict(zip([n for b in batches for n in b.ids], differ.tolist(), strict=True))
        asked = audits(run(made, batches)[0], batches)
        said.append(
            [sum(one.counts * where[name] for name, one in asked.items()), sum(s.counts for s in asked.values())]
        )
    apart, everything = np.array(said).sum(axis=0)
    assert apart / everything == pytest.approx(APART, rel=0.1)


def test_without_a_rollout_nothing_changes() -> None:
    """No challenger, or a part of nothing: the same questions at the same chances, and labels that count one."""
    made, off = settings(), settings(disagreement_share=0.0)
    batch, _ = rollout(made, 4000)
    plain = replace(batch, challenger="", differs=None)
    (one,), _ = run(made, [plain])
    (two,), _ = run(off, [batch])
    (three,), _ = run(off, [plain])
    assert one.rows == two.rows == three.rows
    for decision in (one, two):
        assert [(s.propensity, s.counts, s.challenger) for s in decision.selections] == [
            (s.propensity, 1.0, "") for s in three.selections
        ]


def test_the_budget_is_held_and_the_part_is_as_large_as_the_project_says() -> None:
    """In a rollout as many are asked about as without one; a tenth of them because the two differ, whether they do so often or not."""
    made = settings()
    quiet, _ = rollout(made)
    plain, _ = run(made, list(pieces(replace(quiet, challenger="", differs=None), [4000])))
    for apart in (0.02, 0.3):
        batch, _ = rollout(made, apart=apart)
        batches = list(pieces(batch, [4000]))
        decisions, _ = run(made, batches)
        count, usual = (sum(len(d.rows) for d in every) for every in (decisions, plain))
        assert count == pytest.approx(usual, rel=0.05)
        looked = sum(1.0 - one.counts for one in audits(decisions, batches).values())
        assert looked / count == pytest.approx(0.1, abs=0.02)


def test_a_smaller_grant_thins_all_audits_alike_and_is_never_exceeded() -> None:
    """Audits come first, and no more are asked about than was granted."""
    made = settings()
    batch, _ = rollout(made, 1000)
    ((unbounded,), _) = run(made, [batch])
    assert 1 < unbounded.audits < len(unbounded.rows)
    for granted in (0, 1, unbounded.audits, unbounded.audits + 1):
        ((decision,), _) = run(made, [batch], grant=Grant(granted, 0))
        assert (len(decision.rows), decision.audits) == (granted, min(granted, unbounded.audits))


def test_how_a_stream_is_cut_into_batches_changes_nothing() -> None:
    """One batch, many, odd ones: the same questions at the same chances with the same weights."""
    made = settings()
    batch, _ = rollout(made, 6000)
    told = []
    for sizes in ([6000], [64], [37, 1, 999]):
        batches = list(pieces(batch, sizes))
        found = audits(run(made, batches)[0], batches)
        told.append({name: (one.propensity, one.weight, one.challenger) for name, one in found.items()})
    assert told[0] == told[1] == told[2]
    assert len(told[0]) > 20


def test_another_challenger_is_another_rollout() -> None:
    """What was counted of the one before is forgotten, and its level holds no longer; with none there is nothing."""
    seen = Contrast("v2", 1000.0, 500.0, 0.2, 0.05)
    assert (seen.of("v2"), seen.of("v3"), seen.of("")) == (seen, Contrast("v3"), Contrast())
    assert Contrast().opened(Sampling(), 0.02, 0.25) == Contrast()


def test_the_level_follows_how_often_the_two_differ_and_never_leaves_what_both_answered() -> None:
    """Seldom: higher; hardly ever: at what is compared; a slice of everything, or of nothing, leaves no room."""
    rare, often = (Contrast("v2", 2000.0, n).opened(Sampling(), 0.02, 0.25) for n in (40.0, 800.0))
    assert often.level < rare.level < 0.25
    assert rare.part == pytest.approx(0.002)
    assert Contrast("v2", 2000.0, 0.0).opened(Sampling(), 0.5, 0.25).level == 0.25
    for audit in (0.0, 1.0):
        assert Contrast("v2").opened(Sampling(audit_share=audit), 0.02, 0.25).level == 0.0
    assert Contrast("v2").opened(Sampling(), 1.0, 0.1).level == 0.0


def test_what_was_counted_outlives_a_restart() -> None:
    """The contrast is part of the sampler's state and comes back with it."""
    made = settings()
    batch, _ = rollout(made, 4000)
    _, state = run(made, [batch], grant=PLENTY)
    assert state.contrast.both > 900
    back = restore(snapshot(state, made.fingerprint), initial(made), made.fingerprint)
    assert back.contrast == state.contrast
