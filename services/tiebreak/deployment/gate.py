"""Whether a challenger may serve: verdict and every reason for it, in plain words. Pure.

"Not enough evidence" is ``hold``, never ``promote``. The one exception is named as such in its reason: the fast lane for young
models, open while there are fewer audit labels than ``gate.young_labels``. Whatever the lane, a challenger that is shown to be
worse, overall, on one class or slice, or in its probabilities, does not serve. Nor does one that is shown to be worse than the
reference, the champion last accepted on evidence or by people: steps too small to be seen do not add up. Bounds are anytime-valid
(``contracts/confidence.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import compress
from math import comb

from tiebreak.contracts.candidate import Against, Evaluation, Paired
from tiebreak.contracts.confidence import Bounds, bounds, evidence_above
from tiebreak.contracts.hashing import thinned
from tiebreak.contracts.project import Gate

# From so many audit labels on, they are asked what they say of the gain that training labels promise: at odds, then as a bound.
_AUDIT_ASKED, _AUDIT_SPEAKS = 5, 30
# While evidence is thin it is weighed by odds (e-values): audit labels decide for or against a challenger at two to one; against
# what labels that were selected promise, and together with them against the challenger, at three to two. ADR 0018 and 0032 have
# what others would let through.
_DECIDING_ODDS, _DOUBTING_ODDS = 2.0, 1.5
_MOST_PROMISED = 0.99  # a bet against certainty has no odds
# Stakes are at most 1, so one label of twenty times the mean weight would make all others bet a twentieth: odds would see nothing.
# ADR 0032 has what is lost where many are as heavy, and by how much the cut can mislead.
_MOST_STAKED = 3.0


class Verdict(StrEnum):
    """What the gate says. A closed set: it is a metric label."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with every reason for it. ``accepted``: evidence says that it is better, so it is the reference from then on."""

    verdict: Verdict
    reasons: tuple[str, ...]
    accepted: bool = False


def judge(evaluation: Evaluation, refusals: Sequence[str], gate: Gate) -> Decision:
    """May this challenger serve? ``refusals``: what the mechanical check found; any of them decides."""
    decision = _judged(evaluation, refusals, gate)
    known = int(evaluation.metrics.get("audit_labels", 0.0))
    if not evaluation.champion or len(evaluation.audit) >= known or not evaluation.since_ms:
        return decision
    when = datetime.fromtimestamp(evaluation.since_ms / 1000, UTC).isoformat(timespec="seconds")
    counted = f"evidence is of the time since the drift of {when}: {len(evaluation.audit)} of {known} audit labels"
    return replace(decision, reasons=(*decision.reasons, counted))


def _judged(evaluation: Evaluation, refusals: Sequence[str], gate: Gate) -> Decision:
    refused = (*refusals, *_guards(evaluation))
    if refused:
        return Decision(Verdict.HOLD, refused)
    if not evaluation.champion:
        return Decision(Verdict.PROMOTE, ("no model serves yet, and this one passed every mechanical check",))
    decision = _compared(evaluation, gate)
    return replace(decision, reasons=(*decision.reasons, *filter(None, (evaluation.measure,))))


def _compared(evaluation: Evaluation, gate: Gate) -> Decision:
    young = len(evaluation.audit) < max(gate.young_labels, 1)
    shown_worse = (*_shown_worse(evaluation.audit, gate), *_below_reference(evaluation.reference, gate, young=young))
    decision = (_young if young else _grown)(evaluation, gate)
    if shown_worse:
        return Decision(Verdict.HOLD, (*shown_worse, *(decision.reasons if decision.verdict is Verdict.HOLD else ())))
    if decision.verdict is not Verdict.PROMOTE:
        return decision
    beside: Against | Evaluation = evaluation.reference or evaluation
    return replace(decision, accepted=_accepted(beside.audit, beside.left_out if young else Paired()))


def _accepted(audit: Paired, left_out: Paired) -> bool:
    # What audit labels gainsay must not raise the mark that everything later is measured by; nor may selected labels by themselves.
    if len(audit) < _AUDIT_ASKED or _pooled_gain(audit, Paired()) < 0.0:
        return False
    gains, stakes = _pooled(audit, left_out)
    return evidence_above(gains, 0.0, stakes) >= _DECIDING_ODDS


def _below_reference(reference: Against | None, gate: Gate, *, young: bool) -> Iterator[str]:
    if reference is None:
        return
    who = f"against {reference.version}, which was accepted last"
    if young:
        if against := _thin_evidence_against(reference.audit, reference.left_out, gate):
            yield f"{who}: {against}"
        return
    odds = evidence_above([-g for g in _gains(reference.audit)], 0.0, reference.audit.weights)
    if odds >= 1.0 / gate.alpha:
        yield f"{who}: shown to be worse on {len(reference.audit)} audit labels, at odds of {odds:.3g} to 1"


def unpriced(versions: Sequence[str]) -> tuple[str, ...]:
    """What a verdict adds where the cost of these models, which people or the gate accepted before, cannot be compared with.

    >>> unpriced(())
    ()
    >>> unpriced(("v1", "v2", "v3"))
    ('its cost was not compared with that of v1 and 2 more: their files cannot be read',)
    """
    if not versions:
        return ()
    more = f" and {len(versions) - 1} more: their files" if len(versions) > 1 else ": its file"
    return (f"its cost was not compared with that of {versions[0]}{more} cannot be read",)


def judge_serving(previous_and_serving: Paired, gate: Gate, *, tried: bool = False) -> Decision:
    """Should the serving model, or one ``tried`` in a rollout, give way to the one before it? From audit labels alone.

    In the pairs it is the ``challenger``, and the one before it the ``champion``. Back it goes once it is shown to be worse at all.

    The labels should be those settled since it serves, or its rollout began: the ones before chose it. May be asked after every
    label: a model as good is ever rolled back with probability ``gate.alpha`` at most for each model that it is compared with, so
    twice that where the reference is another than the one before.

    Only the sign of the mean is asked for, so where labels were looked for on events on which these very two differ, each of those
    counts one: were the models as good, the mean over such events would be 0 too. Where the two agree, nobody gains.
    """
    n = len(previous_and_serving)
    one, other = ("challenger", "champion") if tried else ("serving model", "one before")
    if not n:
        return Decision(Verdict.HOLD, (f"no audit label judges both the {one} and the {other}",))
    gains, apart = _gains(previous_and_serving), previous_and_serving.apart or (None,) * n
    stakes = [w if a is None else float(a) for w, a in zip(previous_and_serving.weights, apart, strict=True)]
    odds, differ = evidence_above([-g for g in gains], 0.0, stakes), apart.count(True)
    where = f", {differ} of them where the two differ" if differ else ""
    if odds < 1.0 / gate.alpha:
        said = f"on {n} audit labels since{where}, the {one} is not shown to be worse than the {other}"
        return Decision(Verdict.HOLD, (said,))
    found = bounds(gains, gate.alpha, previous_and_serving.weights)
    worse = f"{_points(max(0.0, -found.high))} to {_points(-found.low)} points worse than the {other}"
    return Decision(
        Verdict.ROLL_BACK, (f"on {n} audit labels since{where}, the {one} is {worse}, at odds of {odds:.3g} to 1",)
    )


def _guards(evaluation: Evaluation) -> Iterator[str]:
    # No statistics: these are broken, not worse.
    if evaluation.metrics.get("labelled_classes", 0.0) > 1.0 and evaluation.metrics.get("predicted_classes", 2.0) < 2.0:
        yield "it gives one and the same class for every label it was tried on"


def _shown_worse(audit: Paired, gate: Gate) -> Iterator[str]:
    margin = gate.non_inferiority
    overall = bounds(_gains(audit), gate.alpha, audit.weights)
    if overall.high < -margin:
        yield f"{_seen(overall)}: it is worse by more than {_points(margin)} points"
    parts = _parts(audit)
    for name, (gains, weights) in parts.items():
        # Each part at its share of alpha: with many of them, one looks bad by chance.
        found = bounds(gains, gate.alpha / len(parts), weights)
        if found.high < -margin:
            yield f"{name}: {_seen(found)}: it is worse by more than {_points(margin)} points"
    scores = [b - a for a, b in zip(audit.champion_brier, audit.challenger_brier, strict=True)]
    brier = bounds(scores, gate.alpha, audit.weights if scores else None)
    if brier.low > margin:
        yield (
            f"calibration: on {brier.n} audit labels its Brier score is {brier.low:.3f} to {brier.high:.3f} worse,"
            f" more than {margin:g}"
        )


def _parts(audit: Paired) -> dict[str, tuple[list[float], list[float]]]:
    """Gains and weights of each class, where there is more than one, and of each declared slice."""
    names = sorted(set(audit.classes))
    members = {f"class {name}": [c == name for c in audit.classes] for name in (names if len(names) > 1 else ())}
    members |= {f"slice {name}": list(inside) for name, inside in audit.slices.items()}
    gains = _gains(audit)
    return {
        name: (list(compress(gains, inside)), list(compress(audit.weights, inside))) for name, inside in members.items()
    }


def _grown(evaluation: Evaluation, gate: Gate) -> Decision:
    found = bounds(_gains(evaluation.audit), gate.alpha, evaluation.audit.weights)
    wanted = f"no worse than {_points(gate.non_inferiority)} points"
    if found.low >= -gate.non_inferiority:
        return Decision(Verdict.PROMOTE, (f"{_seen(found)}: {wanted}",))
    if found.high < -gate.non_inferiority:
        return Decision(Verdict.HOLD, ())
    return Decision(Verdict.HOLD, (f"{_seen(found)}: not enough evidence that it is {wanted}",))


def _young(evaluation: Evaluation, gate: Gate) -> Decision:
    audit, left_out = evaluation.audit, evaluation.left_out
    if not len(audit) and not len(left_out):
        return Decision(Verdict.HOLD, ("not enough evidence: no label judges both models without having trained one",))
    lane = f"fast lane for young models ({len(audit)} of {gate.young_labels} audit labels)"
    if against := _thin_evidence_against(audit, left_out, gate):
        return Decision(Verdict.HOLD, (f"{lane}: {against}",))
    if len(left_out) and evidence_above(_gains(audit), 0.0, audit.weights) < _DECIDING_ODDS:
        contradicted = _contradicted(audit, _pooled_gain(Paired(), left_out), gate)
        if contradicted:
            return Decision(Verdict.HOLD, (f"{lane}: {contradicted}",))
    gain = _pooled_gain(audit, left_out)
    # It learned from more labels than the champion did: nothing but odds against it keep it from serving.
    what = "beats" if gain > 0.0 else "ties with" if gain == 0.0 else "is not shown to be worse than"
    return Decision(
        Verdict.PROMOTE,
        (
            f"{lane}: it {what} the champion on what evidence there is",
            f"{len(audit)} audit and {len(left_out)} left-out labels: {_points(gain):+} points",
        ),
    )


def _thin_evidence_against(audit: Paired, left_out: Paired, gate: Gate) -> str:
    """What audit labels alone say against a challenger at two to one, or all labels together at three to two; else empty."""
    gains = _gains(audit)
    # A sign test knows no weights: it sees a uniform part of the labels, all of them where none was looked for.
    seen = list(compress(gains, thinned(audit.label_ids, audit.weights).tolist()))
    worse, better = sum(1 for g in seen if g < 0.0), sum(1 for g in seen if g > 0.0)
    chance, odds = _sign_test(worse, better), evidence_above([-g for g in gains], 0.0, audit.weights)
    if worse > better and (chance <= gate.alpha or odds >= _DECIDING_ODDS):
        return f"worse on {worse} audit labels, better on {better} (p = {chance:.3f}, odds {odds:.3g} to 1)"
    together, stakes = _pooled(audit, left_out)
    odds = evidence_above([-g for g in together], 0.0, stakes)
    if odds >= _DOUBTING_ODDS:
        points = _points(_pooled_gain(audit, left_out))
        labels = f"{len(audit)} audit and {len(left_out)} left-out labels"
        return f"it does not reach it: {points:+} points on {labels}, odds {odds:.3g} to 1"
    return ""


def _contradicted(audit: Paired, promised: float, gate: Gate) -> str:
    # The members left out speak of selected labels: where blind ones contradict them, the selection flatters.
    gains, weights = _gains(audit), audit.weights
    borne_out = bounds(gains, gate.alpha, weights).high
    said = f"left-out labels promise {_points(promised):+} points, the audit labels"
    if len(gains) >= _AUDIT_SPEAKS and promised > borne_out:
        return f"{said} bear out {_points(borne_out):+} at most"
    most = -min(promised, _MOST_PROMISED)
    odds = evidence_above([-g for g in gains], most, weights) if promised > 0.0 else 1.0
    return (
        f"{said} say less at odds of {odds:.3g} to 1" if len(gains) >= _AUDIT_ASKED and odds >= _DOUBTING_ODDS else ""
    )


def _pooled(audit: Paired, left_out: Paired) -> tuple[list[float], list[float]]:
    """Gains, and what odds stake on each: at most 1."""
    stakes = [min(w, _MOST_STAKED) for w in _pooled_weights(audit, left_out)]
    most = max(stakes, default=1.0)
    return [*_gains(audit), *_gains(left_out)], [s / most for s in stakes]


def _pooled_weights(audit: Paired, left_out: Paired) -> list[float]:
    # Within the training labels, weights undo the selection; between the two sources each label counts once, or its weight.
    mean = sum(left_out.weights) / len(left_out) if len(left_out) else 1.0
    return [*audit.weights, *(w / mean for w in left_out.weights)]


def _pooled_gain(audit: Paired, left_out: Paired) -> float:
    gains, weights = [*_gains(audit), *_gains(left_out)], _pooled_weights(audit, left_out)
    return sum(g * w for g, w in zip(gains, weights, strict=True)) / max(sum(weights), 1e-12)


def _gains(pairs: Paired) -> list[float]:
    return [b - a for a, b in zip(pairs.champion, pairs.challenger, strict=True)]


def _seen(found: Bounds) -> str:
    return f"on {found.n} audit labels the challenger is {_points(found.low)} to {_points(found.high)} points better"


def _sign_test(worse: int, better: int) -> float:
    """One-sided: the chance of at least ``worse`` of these disagreements being losses if both models were as good.

    >>> round(_sign_test(5, 0), 4), _sign_test(0, 0)
    (0.0312, 1.0)
    """
    n = worse + better
    return float(sum(comb(n, i) for i in range(worse, n + 1)) / 2**n)


def _points(share: float) -> float:
    return round(100.0 * share, 2)
