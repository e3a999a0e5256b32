"""A bandit pays the arm whose labels correct what the audit slice finds wrong, says with what chance it asked, and starves nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tests.support.sampling import PLENTY, policy, probabilities, project, scored
from tiebreak.contracts.messages import Reason
from tiebreak.contracts.project import Answer, AnswerKind, Project, Sampling
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling import bandit
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.appraising import appraise
from tiebreak.sampling.bandit import Bandit, Returned, chances, gain, learned
from tiebreak.sampling.diversity import unit_rows
from tiebreak.sampling.policy import choose, decide
from tiebreak.sampling.state import SamplerState, digest, restore, snapshot

ARMS = ("margin", "entropy")
RIGHT, UP = (1.0, 0.0), (0.0, 1.0)


def _audit(said: str, truth: str, features: tuple[float, ...] = RIGHT) -> Returned:
    return Returned("margin", audit=True, said=said, truth=truth, features=features)


def _asked(arm: str, said: str, truth: str, features: tuple[float, ...] = RIGHT) -> Returned:
    return Returned(f"bandit: {arm}", audit=False, said=said, truth=truth, features=features)


def _mistaken(count: int = 10) -> Bandit:
    """Ten audit labels say that ``a`` is taken for ``b`` to the right."""
    return learned(bandit.fresh(2), ARMS, [_audit("b", "a")] * count)


@pytest.mark.parametrize(
    ("said", "truth", "features", "expected"),
    [
        ("a", "a", RIGHT, 0.0),
        ("b", "a", RIGHT, 1.0),
        ("a", "b", RIGHT, -1.0),
        ("b", "a", UP, 0.0),
        ("c", "a", RIGHT, 0.5),
        ("c", "d", RIGHT, 0.0),
    ],
)
def test_gains_by_hand(said: str, truth: str, features: tuple[float, ...], expected: float) -> None:
    """The same mistake there counts 1, its opposite -1; what was no surprise, lies elsewhere or is another mistake counts nothing."""
    unit = unit_rows(np.array([features], np.float32))[0]
    assert gain(_mistaken(), _asked("margin", said, truth, features), unit) == pytest.approx(expected, abs=1e-6)


def test_who_corrects_mistakes_is_drawn_more_often() -> None:
    """Gains move the chances to the arm that has them, never below the even part, and an alarm takes most of that back."""
    paid = [_asked("entropy", "b", "a"), _asked("margin", "c", "d")] * 40
    after = learned(_mistaken(), ARMS, paid)
    assert after.weights.sum() == pytest.approx(1.0)
    assert after.weights.tolist() == pytest.approx([bandit.EVENLY / 2, 1.0 - bandit.EVENLY / 2], abs=0.01)
    few = learned(_mistaken(), ARMS, paid[:6])
    alarmed = learned(few, ARMS, [], alarm=True)
    assert few.weights[1] > alarmed.weights[1] > 0.5
    assert len(learned(_mistaken(60), ARMS, [], alarm=True).truths) == bandit.AFTER_ALARM * bandit.MISTAKES


def test_what_paid_is_forgotten() -> None:
    """When the other arm brings the gains, it takes over, and what is remembered stays bounded."""
    state = learned(_mistaken(), ARMS, [_asked("entropy", "b", "a"), _asked("margin", "c", "d")] * 200)
    state = learned(state, ARMS, [_audit("b", "a"), _asked("margin", "b", "a"), _asked("entropy", "c", "d")] * 600)
    assert state.weights[0] > 0.85
    assert len(state.truths) == bandit.MISTAKES
    assert state.labels.sum() <= bandit.FORGETS + 1.0


def test_without_evidence_every_arm_has_the_same_chance() -> None:
    """No mistakes yet, labels of other reasons, nothing said and no features: nothing is learnt."""
    useless = [_asked("margin", "b", "a")] * 30
    assert learned(bandit.fresh(2), ARMS, useless).labels.tolist() == [0.0, 0.0]
    others = [
        Returned("novelty", audit=False, said="b", truth="a", features=RIGHT),
        # Asked by an acquisition alone, before there was a bandit.
        Returned("margin", audit=False, said="b", truth="a", features=RIGHT),
        Returned("bandit: entropy", audit=False, said="", truth="a", features=RIGHT),
        Returned("bandit: entropy", audit=False, said="b", truth="a", features=()),
    ]
    after = learned(_mistaken(), ARMS, others * 10)
    assert (after.labels.tolist(), after.weights.tolist()) == ([0.0, 0.0], [0.5, 0.5])
    assert chances(np.array([9.0, 9.0, 9.0]), np.zeros(3), 0.0).tolist() == pytest.approx([1 / 3] * 3)


def test_features_of_another_width_start_anew() -> None:
    """Another encoder's features are not compared with those of the one before."""
    after = learned(_mistaken(), ARMS, [_audit("b", "a", (1.0, 0.0, 0.0))])
    assert after.mistakes.shape == (1, 3)


def _batches(count: int = 40, rows: int = 50, seed: int = 5) -> list[Scored]:
    rng = np.random.default_rng(seed)
    made: list[Scored] = []
    for start in range(0, count * rows, rows):
        features: FloatArray = rng.normal(size=(rows, 8)).astype(np.float32)
        made.append(scored(probabilities(rng, rows), start=start, features=features))
    return made


def _settings(**more: Any) -> dict[str, Any]:
    return {"strategy": "bandit", "target_share": 0.1, "arms": ("margin", "entropy", "density"), **more}


def _leaning(own: Policy, weights: tuple[float, ...]) -> SamplerState:
    state = initial(own)
    return replace(state, bandit=replace(state.bandit, weights=np.array(weights)))


def test_an_arm_has_the_questions_that_it_is_drawn_for() -> None:
    """Of the questions for uncertainty each arm has its weight, and the explanation names it."""
    own = policy(**_settings(audit_share=0.02, novelty=False))
    state, asked = _leaning(own, (0.7, 0.2, 0.1)), []
    for batch in _batches(200):
        decision, state = decide(own, state, batch, PLENTY, Moment(0.0))
        asked += [s.strategy for s in decision.selections if s.reason is Reason.UNCERTAIN]
    shares = [asked.count(f"bandit: {arm}") / len(asked) for arm in own.arms]
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.06)
    assert len(asked) > 800


def test_propensity_is_the_chance_of_the_whole_mixture() -> None:
    """Over many seeds, the share of runs that ask about an event is what the selections say, whichever arm asked."""
    base = _settings(audit_share=0.02, novelty=False, temper=0.5, near_duplicates={"memory": 0})
    own = policy(**base)
    state = _leaning(own, (0.6, 0.1, 0.3))
    batches = _batches(30)
    for batch in batches[:-1]:
        _, state = decide(own, state, batch, PLENTY, Moment(0.0))
    state = replace(state, bandit=replace(state.bandit, weights=np.array([0.6, 0.1, 0.3])))
    # A block begins here: the balance is the same for every seed on its first row.
    one = replace(batches[-1], ids=batches[-1].ids[:1], probabilities=np.array([[0.45, 0.4, 0.15]], np.float32))
    one = replace(one, features=batches[-1].features[:1])  # type: ignore[index]
    said, asked, runs = 0.0, 0, 4000
    for seed in range(runs):
        mine = replace(own, sampling=own.sampling.model_copy(update={"seed": seed}))
        decision, _ = decide(mine, state, one, PLENTY, Moment(0.0))
        chosen = [s for s in decision.selections if not s.audit]
        asked += len(chosen)
        said = chosen[0].propensity if chosen else said
        assert all(s.propensity == said for s in chosen)
    assert 0.02 < said < 0.98
    assert asked / runs == pytest.approx(said, abs=4.0 * (said * (1.0 - said) / runs) ** 0.5)


def test_a_broken_arm_costs_neither_the_others_nor_the_budget() -> None:
    """With an arm whose utility is the same for all, the budget is spent as planned and the other arm asks about the uncertain."""
    own = policy(**_settings(audit_share=0.02, novelty=False, arms=("margin", "kl")))
    state, asked, events = initial(own), [], 0
    for batch in _batches(100):
        members = np.stack([batch.probabilities] * 3)  # a committee of one opinion: no disagreement anywhere
        decision, state = decide(own, state, replace(batch, members=members), PLENTY, Moment(0.0))
        asked += [s for s in decision.selections if s.reason is Reason.UNCERTAIN]
        events += len(batch)
    assert len(asked) == pytest.approx(0.098 * events, rel=0.05)
    mine = [s for s in asked if s.strategy == "bandit: margin"]
    assert len(mine) > 0.4 * len(asked)
    assert np.median([s.uncertainty for s in mine]) > 0.5


def test_an_arm_that_the_model_cannot_give_is_not_drawn() -> None:
    """Without a committee and without features the margin has it all; without either arm it is the margin all the same."""
    own = policy(**_settings(arms=("bald", "margin", "density")))
    bare = [replace(batch, features=None) for batch in _batches(4)]
    state = initial(own)
    for batch in bare:
        appraisal, state = appraise(own, state, batch, Moment(0.0))
        assert appraisal.mixture is not None
        assert appraisal.mixture.weights.tolist() == [0.0, 1.0, 0.0]
    nobody = policy(**_settings(arms=("bald", "kl")))
    appraisal, _ = appraise(nobody, initial(nobody), bare[0], Moment(0.0))
    assert appraisal.mixture is not None
    assert appraisal.mixture.utility[:, 0].tolist() == appraisal.mixture.utility[:, 1].tolist()


def test_how_the_stream_is_cut_decides_nothing() -> None:
    """Batches of 50 and of 7 ask about the same events, with the same arms and chances."""
    own = policy(**_settings())
    whole = _batches(12)
    ids = [i for batch in whole for i in batch.ids]
    p = np.concatenate([batch.probabilities for batch in whole])
    features = np.concatenate([batch.features for batch in whole if batch.features is not None])

    def run(length: int) -> list[tuple[bytes, str, float]]:
        state, found = initial(own), []
        for start in range(0, len(ids), length):
            part = slice(start, start + length)
            batch = Scored(ids[part], "v1", p[part], features=features[part])
            decision, state = decide(own, state, batch, PLENTY, Moment(0.0))
            found += [
                (batch.ids[row], s.strategy, s.propensity)
                for row, s in zip(decision.rows, decision.selections, strict=True)
            ]
        return found

    apart, together = run(7), run(50)
    assert [one[:2] for one in apart] == [one[:2] for one in together]
    assert [one[2] for one in apart] == pytest.approx([one[2] for one in together], rel=1e-5)


def test_a_snapshot_goes_on_with_what_was_learnt() -> None:
    """Restored in the middle, the bandit asks what it would have asked."""
    own = policy(**_settings())
    there = (1.0,) * 8
    asked = [_asked("density", "b", "a", there), _asked("margin", "c", "d", there)]
    returned = (*[_audit("b", "a", there)] * 12, *asked * 12)
    batches, state = _batches(12), initial(own)
    for batch in batches[:8]:
        _, state = decide(own, state, batch, PLENTY, Moment(0.0, returned=returned))
    again = restore(snapshot(state, own.fingerprint), initial(own), own.fingerprint)
    assert digest(again) == digest(state)
    assert again.bandit.weights[2] > 0.5
    appraisal, before = appraise(own, again, batches[8], Moment(0.0))
    expected, _ = decide(own, state, batches[8], PLENTY, Moment(0.0))
    assert choose(own, before, batches[8], appraisal)[0].selections == expected.selections


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"audit_share": 0.0}, "audit_share must be above 0"),
        ({"rule": "split"}, "rule 'adaptive'"),
        ({"window_s": 1.0}, "without window_s"),
        ({"arms": ("margin", "margin")}, "listed twice"),
        ({"arms": ("margin",)}, "at least 2"),
        ({"arms": ("margin", "random")}, "arms"),
    ],
)
def test_a_bandit_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    """A project file that asks for what a bandit does not do is told so."""
    with pytest.raises(ValidationError, match=said):
        Sampling.model_validate({"strategy": "bandit"} | settings)


def test_a_bandit_is_for_one_class() -> None:
    """Numbers have no wrong class to learn from."""
    made = project(sampling=Sampling(strategy="bandit")).model_dump()
    made["labeling"]["answer"] = Answer(kind=AnswerKind.NUMERIC).model_dump()
    with pytest.raises(ValidationError, match="bandit is for answers of one class, not for numeric"):
        Project.model_validate(made)


def test_on_real_digits_the_arm_that_finds_mistakes_takes_over() -> None:
    """Scanned digits, a weak model, and a committee that quarrels only about what the model is sure of: the margin asks more and more,
    the other keeps its even part, and the budget is kept."""
    digits = load_digits()
    x, y = (digits.data / 16.0).astype(np.float32), digits.target
    model = LogisticRegression(max_iter=300).fit(x[:60], y[:60])
    own = policy(**_settings(arms=("margin", "kl"), target_share=0.3, audit_share=0.3, novelty=False))
    state, waiting, asked = initial(own), list[Returned](), list[tuple[int, str]]()
    rng, spent = np.random.default_rng(2), 0
    for start in range(60, len(x), 32):
        part = slice(start, start + 32)
        p = model.predict_proba(x[part]).astype(np.float32)
        sure = p.max(axis=1) ** 4
        quarrel = rng.dirichlet(np.full(10, 0.1), (3, len(p))).astype(np.float32)
        members = (1.0 - sure[None, :, None]) * p + sure[None, :, None] * quarrel
        batch = replace(scored(p, start=start, features=x[part]), members=members.astype(np.float32))
        decision, state = decide(own, state, batch, PLENTY, Moment(0.0, returned=tuple(waiting)))
        spent += len(decision.rows)
        waiting = [
            Returned(s.strategy, s.audit, str(p[row].argmax()), str(y[start + row]), x[start + row])
            for row, s in zip(decision.rows, decision.selections, strict=True)
        ]
        asked += [(start, s.strategy) for s in decision.selections if s.reason is Reason.UNCERTAIN]
    late = [arm for at, arm in asked if at > 1000]
    assert late.count("bandit: margin") > 0.7 * len(late)
    assert late.count("bandit: kl") > 0.03 * len(late)
    assert spent == pytest.approx(0.3 * (len(x) - 60), abs=12)
