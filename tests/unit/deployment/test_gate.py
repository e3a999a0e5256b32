"""The gate's truth table: what is promoted, what is held, what is rolled back, and that every verdict has its reasons."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.contracts.candidate import Against, Evaluation, Interval, Paired
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
        (evaluation(pairs(both=5, champion=1)), (), Verdict.PROMOTE, "fast lane .* is not shown to be worse than"),
        (evaluation(pairs(both=5, champion=3)), (), Verdict.HOLD, "fast lane .* worse on 3 audit labels"),
        (evaluation(pairs(both=2), pairs(challenger=3, champion=1)), (), Verdict.PROMOTE, "beats"),
        (evaluation(pairs(both=2), pairs(challenger=1, champion=3)), (), Verdict.PROMOTE, "not shown to be worse"),
        (evaluation(pairs(both=2), pairs(both=40, challenger=1, champion=6)), (), Verdict.HOLD, "does not reach"),
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


def test_flattery_is_held_as_soon_as_blind_labels_contradict_it() -> None:
    """500 selected labels promise 10 points; 60 blind ones, on which both models are equally right, bound the gain below that."""
    decision = judge(evaluation(pairs(both=50, neither=10), pairs(both=450, challenger=50)), (), GATE)
    said = "left-out labels promise +10.0 points, the audit labels bear out +8.38 at most"
    assert decision == Decision(Verdict.HOLD, (f"fast lane for young models (60 of 100 audit labels): {said}",))


def test_a_collapsed_slice_is_held_with_its_name_whatever_the_rest_gained() -> None:
    """Better overall, lost where it matters: each part is judged at its share of alpha, and every part that is worse is named."""
    n = 400
    lost, won = (0.0,) * 40, (1.0,) * 360
    audit = Paired(
        tuple(map(str, range(n))),
        ("a", "b") * 200,
        (1.0,) * 40 + (0.0,) * 200 + (1.0,) * 160,
        lost + won,
        (1.0,) * n,
        slices={"large": (True,) * 40 + (False,) * 360, "small": (False,) * 40 + (True,) * 360, "none": (False,) * n},
    )
    decision = judge(evaluation(audit), (), GATE)
    assert decision.verdict is Verdict.HOLD
    assert [reason.split(":")[0] for reason in decision.reasons] == ["slice large"]
    assert judge(evaluation(replace(audit, slices={})), (), GATE).verdict is Verdict.PROMOTE


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


def of_class(name: str, given: Paired) -> Paired:
    return Paired(given.label_ids, (name,) * len(given), given.champion, given.challenger, given.weights)


def joined(*parts: Paired) -> Paired:
    return Paired(
        tuple(f"{i}-{label}" for i, p in enumerate(parts) for label in p.label_ids),
        tuple(c for p in parts for c in p.classes),
        tuple(v for p in parts for v in p.champion),
        tuple(v for p in parts for v in p.challenger),
        tuple(v for p in parts for v in p.weights),
    )


@pytest.mark.parametrize("others", [50, 2000])
def test_a_collapsed_class_holds_a_challenger_that_is_better_overall(others: int) -> None:
    """One class of three is never recognised any more, the others gained more than that: held, young or grown, naming it."""
    audit = joined(
        of_class("a", pairs(both=others, challenger=30)),
        of_class("b", pairs(both=others)),
        of_class("c", pairs(champion=15)),
    )
    decision = judge(evaluation(audit, pairs(challenger=100)), (), GATE)
    assert decision.verdict is Verdict.HOLD
    assert "class c" in decision.reasons[0]


def test_worse_probabilities_hold_a_challenger_that_is_as_often_right() -> None:
    """The same answers, overconfident: its Brier score is shown worse beyond the margin."""
    right = pairs(both=300, neither=100)
    audit = replace(right, champion_brier=(0.1,) * 400, challenger_brier=(0.25,) * 400)
    decision = judge(evaluation(audit), (), GATE)
    assert decision.verdict is Verdict.HOLD
    assert decision.reasons[0].startswith("calibration: on 400 audit labels")


def test_one_class_for_everything_is_broken_and_not_merely_worse() -> None:
    """No champion, no audit label, and still: a model that says one class to labels of three does not serve."""
    constant = replace(evaluation(pairs(), champion=""), metrics={"predicted_classes": 1.0, "labelled_classes": 3.0})
    assert judge(constant, (), GATE).verdict is Verdict.HOLD


def test_from_thirty_audit_labels_on_training_labels_cannot_carry_a_challenger() -> None:
    """Behind on 40 audit labels, if only by one, and promised the world: the audit labels contradict the promise."""
    assert judge(evaluation(pairs(both=39, champion=1), pairs(challenger=50)), (), GATE).verdict is Verdict.HOLD


def test_a_net_loss_of_one_blocks_nobody_for_ever() -> None:
    """Worse on 2 of 40 audit labels and better on 1, and 4 points better on 500 others: the odds against it are small, it serves."""
    thin = evaluation(pairs(both=37, champion=2, challenger=1), pairs(both=440, champion=20, challenger=40))
    assert judge(thin, (), GATE).verdict is Verdict.PROMOTE
    condemned = evaluation(pairs(both=36, champion=4), pairs(both=440, champion=20, challenger=40))
    decision = judge(condemned, (), GATE)
    assert decision.verdict is Verdict.HOLD
    assert "worse on 4 audit labels, better on 0" in decision.reasons[0]


def test_twenty_blind_labels_doubt_a_promise_that_none_of_them_bears_out() -> None:
    """Ten points are promised by selected labels; on 20 blind ones nothing was gained, and held; four gained are word enough."""
    promised = pairs(both=450, challenger=50)
    held = judge(evaluation(pairs(both=20), promised), (), GATE)
    said = "left-out labels promise +10.0 points, the audit labels say less at odds of"
    assert (held.verdict, said in held.reasons[0]) == (Verdict.HOLD, True)
    assert judge(evaluation(pairs(both=16, challenger=4), promised), (), GATE).verdict is Verdict.PROMOTE


def weighted(given: Paired, weight: float, name: str = "x") -> Paired:
    ids = tuple(f"{name}{label}" for label in given.label_ids)
    return replace(given, label_ids=ids, weights=(weight,) * len(given))


def test_labels_looked_for_where_models_differ_count_what_they_stand_for() -> None:
    """60 losses among 400 looked-for disagreements of weight 0.01 are as many events of a stream as half a label: in no lane, for no

    class and no slice do they hold or carry a challenger as they would at full weight.
    """
    few = GATE.model_copy(update={"young_labels": 1000})
    for gate in (GATE, few):
        lost, won = (pairs(champion=60), pairs(challenger=60))
        for apart, holds in ((lost, True), (won, False)):
            rest = pairs(both=400)
            loud, quiet = (joined(rest, weighted(apart, weight)) for weight in (1.0, 0.01))
            slices = {"s": (False,) * 400 + (True,) * 60}
            found = judge(evaluation(replace(loud, slices=slices)), (), gate).verdict
            assert (found is Verdict.HOLD) is holds
            reasons = " ".join(judge(evaluation(replace(quiet, slices=slices)), (), gate).reasons)
            assert "worse" not in reasons.replace("no worse than", "").replace("not shown to be worse than", "")
    promised = pairs(both=450, challenger=50)
    quiet = joined(pairs(both=18), weighted(pairs(challenger=40), 0.01))
    assert judge(evaluation(quiet, promised), (), GATE).verdict is Verdict.HOLD
    assert (
        judge(evaluation(joined(pairs(both=18), pairs(challenger=40)), promised), (), GATE).verdict is Verdict.PROMOTE
    )


def test_few_labels_decide_where_the_very_two_models_differ() -> None:
    """Fifteen looked-for labels, fourteen for the champion: back it goes. Drawn for another pair of models they count what they stand

    for, and decide nothing; and where the two agree, no label is for or against anybody.
    """
    apart = weighted(pairs(champion=14, challenger=1), 0.02)
    rest = pairs(both=10, champion=3)
    known = replace(joined(rest, apart), apart=(False,) * 13 + (True,) * 15)
    assert judge_serving(replace(known, apart=()), GATE).verdict is Verdict.HOLD
    assert judge_serving(replace(known, apart=(None,) * 28), GATE).verdict is Verdict.HOLD
    decision = judge_serving(known, GATE, tried=True)
    assert decision.verdict is Verdict.ROLL_BACK
    begins = "on 28 audit labels since, 15 of them where the two differ, the challenger is "
    assert decision.reasons[0].startswith(begins)
    assert re.search(r"points worse than the champion, at odds of [0-9.]+ to 1$", decision.reasons[0])
    same = replace(known, champion=(1.0,) * 28, challenger=(0.0,) * 13 + (1.0,) * 15)
    assert judge_serving(same, GATE).verdict is Verdict.HOLD


def test_calibration_is_weighed_too() -> None:
    """Bad probabilities where two models differ are bad on few events."""
    right = joined(pairs(both=300), weighted(pairs(neither=100), 0.01))
    audit = replace(right, champion_brier=(0.1,) * 400, challenger_brier=(0.1,) * 300 + (0.9,) * 100)
    assert not judge(evaluation(audit), (), GATE).reasons[0].startswith("calibration")
    unweighted = replace(audit, weights=(1.0,) * 400)
    assert judge(evaluation(unweighted), (), GATE).reasons[0].startswith("calibration")


def test_evidence_of_an_era_says_so_among_the_reasons() -> None:
    """20 of 300 audit labels came after the drift: the verdict rests on them, and the record names drift and counts."""
    since = replace(evaluation(pairs(both=20)), metrics={"audit_labels": 300.0}, since_ms=1_764_000_000_000)
    decision = judge(since, (), GATE)
    assert decision.verdict is Verdict.PROMOTE
    counted = "evidence is of the time since the drift of 2025-11-24T16:00:00+00:00: 20 of 300 audit labels"
    assert decision.reasons[-1] == counted
    whole = replace(since, metrics={"audit_labels": 20.0})
    assert counted not in judge(whole, (), GATE).reasons


COUNTS = st.tuples(*[st.integers(0, 12)] * 4)


@given(COUNTS, COUNTS)
def test_thin_evidence_holds_by_odds_and_never_more_the_better_it_is(
    audit: tuple[int, int, int, int], left_out: tuple[int, int, int, int]
) -> None:
    """Whatever few labels say: as many losses as gains on each side hold nobody; three audit losses alone hold everybody; one more

    gain on an audit label holds nobody who was let through, where left-out labels promise nothing.
    """
    both, lost, won, neither = audit
    thin = evaluation(pairs(both + 1, lost, lost, neither), pairs(left_out[0], left_out[1], left_out[1], left_out[3]))
    assert judge(thin, (), GATE).verdict is Verdict.PROMOTE
    alone = evaluation(pairs(both, 3 + lost, 0, neither))
    assert judge(alone, (), GATE).verdict is Verdict.HOLD
    quiet = pairs(left_out[0], left_out[1] + left_out[2], left_out[2], left_out[3])
    one, more = (judge(evaluation(pairs(both + 1, lost, n, neither), quiet), (), GATE) for n in (won, won + 1))
    assert (one.verdict, more.verdict) != (Verdict.PROMOTE, Verdict.HOLD)


def beside(audit: Paired, left_out: Paired | None = None) -> Against:
    return Against("v0", audit, left_out or Paired())


@pytest.mark.parametrize("gate", [GATE, Gate(young_labels=10)])
def test_what_ties_with_the_champion_is_held_where_the_reference_is_better(gate: Gate) -> None:
    """Step by step nothing was lost, since the reference twelve of 60: held, young or grown, and the reason names whom it lost to."""
    same = pairs(both=4000) if gate.young_labels == 10 else pairs(both=60)
    given = replace(evaluation(same), reference=beside(pairs(both=48, champion=12)))
    decision = judge(given, (), gate)
    assert decision.verdict is Verdict.HOLD
    assert decision.reasons[0].startswith("against v0, which was accepted last: ")
    assert (
        judge(replace(given, reference=beside(pairs(both=48, champion=1, challenger=1))), (), gate).verdict
        is Verdict.PROMOTE
    )


def test_left_out_labels_count_beside_the_reference_too() -> None:
    """No audit label tells the two apart, forty of 100 others do."""
    given = replace(evaluation(pairs(both=9)), reference=beside(pairs(both=9), pairs(both=60, champion=40)))
    decision = judge(given, (), GATE)
    assert decision.verdict is Verdict.HOLD
    assert "does not reach it: -36.7 points on 9 audit and 100 left-out labels" in decision.reasons[0]


@pytest.mark.parametrize("heavy", [0, 1, 5])
def test_a_label_of_much_weight_does_not_blind_the_odds(heavy: int) -> None:
    """Of 300 labels left out a few stand for twenty others each, and say nothing: what loses on the others is still held."""
    told = [-1.0] * 30 + [1.0] * 12 + [0.0] * 258
    champion = tuple(1.0 if t <= 0.0 else 0.0 for t in told)
    weights = (1.0,) * (300 - heavy) + (20.0,) * heavy
    ids, challenger = tuple(map(str, range(300))), tuple(c + t for c, t in zip(champion, told, strict=True))
    left_out = Paired(ids, ("a",) * 300, champion, challenger, weights)
    decision = judge(evaluation(pairs(both=20), left_out), (), GATE)
    assert decision.verdict is Verdict.HOLD


def test_only_evidence_raises_the_mark_and_nothing_that_audit_labels_gainsay() -> None:
    """A tie raises nothing; a gain does, beside the reference where there is one; no promise does that audit labels are against."""
    promised = pairs(both=92, challenger=8)
    assert not judge(evaluation(pairs(both=9), pairs(both=50)), (), GATE).accepted
    assert judge(evaluation(pairs(both=9, challenger=4)), (), GATE).accepted
    better = evaluation(pairs(both=9, challenger=1), promised)
    assert judge(better, (), GATE).accepted
    assert judge(replace(better, reference=beside(pairs(both=9, challenger=1), promised)), (), GATE).accepted
    assert not judge(replace(better, reference=beside(pairs(both=9), pairs(both=50))), (), GATE).accepted
    doubted = replace(better, reference=beside(pairs(both=9, champion=1), promised))
    assert (judge(doubted, (), GATE).verdict, judge(doubted, (), GATE).accepted) == (Verdict.PROMOTE, False)
    unseen = evaluation(pairs(both=4), promised)
    assert (judge(unseen, (), GATE).verdict, judge(unseen, (), GATE).accepted) == (Verdict.PROMOTE, False)
