"""The gate's truth table: what is promoted, what is held, what is rolled back, and that every verdict has its reasons."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tiebreak.contracts.candidate import Evaluation, Interval, Paired
from tiebreak.contracts.project import Gate
from tiebreak.deployment.gate import Decision, Verdict, judge, judge_serving

GATE = Gate(young_labels=100)
NONE = Interval(0.0, 0.0, 1.0, 0)


def pairs(both: int = 0, champion: int = 0, challenger: int = 0, neither: int = 0) -> Paired:
    """So many labels on which both, only the champion, only the challenger, or neither is right."""
    old = (1.0,) * (both + champion) + (0.0,) * (challenger + neither)
    new = (1.0,) * both + (0.0,) * champion + (1.0,) * challenger + (0.0,) * neither
    n = len(old)
    return Paired(tuple(f"l{i}" for i in range(n)), ("a",) * n, old, new, (1.0,) * n)


def evaluation(audit: Paired, left_out: Paired | None = None, champion: str = "v1") -> Evaluation:
    return Evaluation(champion, audit, left_out or Paired(), NONE, NONE)


@pytest.mark.parametrize(
    ("given", "refusals", "verdict", "reason"),
    [
        (evaluation(pairs(), champion=""), (), Verdict.PROMOTE, "no model serves yet"),
        (evaluation(pairs(), champion=""), ("NaN",), Verdict.HOLD, "NaN"),
        (evaluation(pairs(both=500, challenger=50)), ("too large", "NaN"), Verdict.HOLD, "too large"),
        (evaluation(pairs()), (), Verdict.HOLD, "not enough evidence"),
        # Young: fewer audit labels than 100.
        (evaluation(pairs(both=5)), (), Verdict.PROMOTE, "fast lane .* ties with"),
        (evaluation(pairs(both=5, challenger=1)), (), Verdict.PROMOTE, "fast lane .* beats"),
        (evaluation(pairs(both=5, champion=1)), (), Verdict.HOLD, "fast lane .* does not reach"),
        (evaluation(pairs(both=2), pairs(challenger=3, champion=1)), (), Verdict.PROMOTE, "beats"),
        (evaluation(pairs(both=2), pairs(challenger=1, champion=3)), (), Verdict.HOLD, "does not reach"),
        (evaluation(pairs(champion=1), pairs(challenger=3)), (), Verdict.PROMOTE, "beats"),
        (evaluation(pairs(champion=6), pairs(challenger=300)), (), Verdict.HOLD, "worse on 6 audit labels"),
        # Grown: the audit labels alone decide, within 2 points.
        (evaluation(pairs(both=9000, neither=900)), (), Verdict.PROMOTE, "no worse than 2.0 points"),
        (evaluation(pairs(both=300, challenger=60)), (), Verdict.PROMOTE, "no worse than 2.0 points"),
        (evaluation(pairs(both=100, champion=20, challenger=20)), (), Verdict.HOLD, "not enough evidence"),
        (evaluation(pairs(both=300, champion=60)), (), Verdict.HOLD, "worse by more than 2.0 points"),
        (evaluation(pairs(both=300, champion=60), pairs(challenger=300)), (), Verdict.HOLD, "worse by more than"),
    ],
)
def test_the_verdict_follows_the_evidence(
    given: Evaluation, refusals: tuple[str, ...], verdict: Verdict, reason: str
) -> None:
    """Refusals decide first, then the absence of a champion, then the young rule or the audit labels; the reason says which."""
    decision = judge(given, refusals, GATE)
    assert decision.verdict is verdict
    assert re.search(reason, " ".join(decision.reasons))


def test_every_refusal_is_among_the_reasons() -> None:
    """Nothing that was found is kept from the reader."""
    assert judge(evaluation(pairs(both=9)), ("one", "two"), GATE) == Decision(Verdict.HOLD, ("one", "two"))


def test_selected_labels_cannot_outvote_condemning_audit_labels() -> None:
    """200 seeds: training labels flatter a challenger that is 15 points worse on audit labels, which are enough: never promoted."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        champion = rng.random(300) < 0.9
        challenger = np.where(rng.random(300) < 0.85, champion, ~champion) & (rng.random(300) < 0.9)
        audit = Paired(
            tuple(map(str, range(300))),
            ("a",) * 300,
            tuple(champion.astype(float).tolist()),
            tuple(challenger.astype(float).tolist()),
            (1.0,) * 300,
        )
        assert judge(evaluation(audit, pairs(challenger=1000)), (), GATE).verdict is Verdict.HOLD


def test_weights_undo_the_selection_among_left_out_labels() -> None:
    """One rarely selected label stands for many: a win on it outweighs two losses on labels that are always selected."""
    old, new = (1.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    left_out = Paired(("x", "y", "z"), ("a", "a", "b"), old, new, (1.0, 1.0, 10.0))
    assert judge(evaluation(Paired(), left_out), (), GATE).verdict is Verdict.PROMOTE


@pytest.mark.parametrize(
    ("audit", "verdict"),
    [
        (pairs(), Verdict.HOLD),
        (pairs(champion=1), Verdict.HOLD),
        (pairs(both=100, champion=5, challenger=5), Verdict.HOLD),
        (pairs(both=100, champion=50), Verdict.ROLL_BACK),
        (pairs(both=100, challenger=50), Verdict.HOLD),
    ],
)
def test_a_serving_model_goes_back_only_on_evidence(audit: Paired, verdict: Verdict) -> None:
    """Worse beyond doubt and margin: rolled back. Few labels, or as good: it stays."""
    assert judge_serving(audit, GATE).verdict is verdict
