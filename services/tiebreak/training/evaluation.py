"""How good a model is, on labels that did not train it, and how sure that is. Pure.

Audit labels that were looked for where two models differ count less by as much (``Row.weight``), in every figure here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.candidate import Against, Evaluation, Interval, Paired
from tiebreak.contracts.hashing import hashes
from tiebreak.contracts.tensors import FloatArray, Form
from tiebreak.training.dataset import Row, stands_for, weights_of
from tiebreak.training.features import Matrix
from tiebreak.training.learner import Model, SoftmaxModel, bootstrap
from tiebreak.training.recall import Recall
from tiebreak.training.targets import CLASSES, Target, brier, mean, truth_of
from tiebreak.training.temperature import logs_of, nll, temperature_of
from tiebreak.training.trees import TreeModel

_FEWEST_FOR_TEMPERATURE = 30
_MOST_FOR_TEMPERATURE = 1000
_BINS = 10

_Chosen = slice | NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Contender:
    """A model under judgement, with the temperature it serves at.

    ``crossed``: where that was fitted on the labels that judge, the temperatures to judge with instead, one for each half of them
    (:func:`half_of`), fitted on the other half. Else its calibration would be measured on what it was fitted to.
    ``recall``: what was said of audit rows before; without it everything is asked anew, to the same end.
    """

    model: Model
    temperature: float = 1.0
    crossed: tuple[float, float] | None = None
    target: Target = CLASSES
    recall: Recall | None = None

    def probabilities(self, rows: Sequence[Row], x: FloatArray | None = None) -> FloatArray:
        """``(n, k)`` to judge by. ``x``: the rows' features where they are stacked already."""
        x = _features(rows) if x is None else x
        at = self._answering(rows, x)

        if self.crossed is None:
            return at(self.temperature, slice(None))
        found = np.empty((len(rows), len(self.model.classes)), np.float32)
        second = half_of(rows)
        for half, temperature in zip((~second, second), self.crossed, strict=True):
            found[half] = at(temperature, half)
        return found

    def _answering(self, rows: Sequence[Row], x: FloatArray) -> Callable[[float, _Chosen], FloatArray]:
        """What is asked for at a temperature, of some of the rows; what does not depend on it is found out once."""
        model, recall = self.model, self.recall
        if isinstance(model, SoftmaxModel):
            columns = recall.columns(model.features, x) if recall is not None else model.features.apply(x)
            logits = model.logits(columns)
            return lambda temperature, chosen: model.answers(logits[chosen], temperature)
        if isinstance(model, TreeModel) and recall is not None:
            summed = recall.sums(model, rows, x)
            return lambda temperature, chosen: model.tempered(summed[:, chosen], temperature).mean(axis=0)
        return lambda temperature, chosen: model.probabilities(x[chosen], temperature)


def wilson(right: float, n: float, alpha: float) -> Interval:
    """Wilson's interval for a share (JASA 1927). ``n`` may be an effective, fractional number.

    >>> i = wilson(9, 10, 0.05); round(i.low, 3), round(i.high, 3)
    (0.596, 0.982)
    """
    if n <= 0.0:
        return Interval(0.0, 0.0, 1.0, 0)
    z = NormalDist().inv_cdf(1.0 - alpha / 2.0)
    p = right / n
    middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n)
    half = z / (1.0 + z * z / n) * sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n))
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half), int(n))


def share_right(credit: Matrix, weights: Matrix | None, alpha: float) -> Interval:
    """Of audit labels: the weighted mean of their credit, and Wilson's interval at their effective number (Kish 1965).

    >>> share_right(np.array([1.0, 0.0]), None, 0.05) == share_right(np.array([1.0, 0.0]), np.array([0.3, 0.3]), 0.05)
    True
    """
    if weights is None or not len(credit):
        return wilson(float(credit.sum()), len(credit), alpha)
    # Rounded: a last bit shall not cost a label of many that count alike.
    effective = round(float(weights.sum()) ** 2 / float((weights * weights).sum()), 9)
    return wilson(float(np.average(credit, weights=weights)) * effective, effective, alpha)


def half_of(rows: Sequence[Row]) -> NDArray[np.bool_]:
    """``(n,)``: which half of the audit labels each is in; a hash of the label, so it never changes."""
    found = hashes(0, "half", [row.label_id.encode("utf-8", "surrogatepass") for row in rows])
    return (found & np.uint64(1)).astype(np.bool_)


def calibrated(model: Model, rows: Sequence[Row], target: Target = CLASSES, recall: Recall | None = None) -> Contender:
    """``model`` with the temperature of the lowest NLL on audit labels (Guo et al., ICML 2017); 1 with too few of them.

    A temperature is of one distribution over classes: other forms have none.
    """
    rows = rows[-_MOST_FOR_TEMPERATURE:]
    if len(rows) < _FEWEST_FOR_TEMPERATURE or target.form is not Form.CLASSES:
        return Contender(model, target=target, recall=recall)
    x = _features(rows)
    known = model.tempered(recall.sums(model, rows, x)) if recall is not None and isinstance(model, TreeModel) else None
    voters = model.voters(x) if known is None else known
    logs = logs_of(voters)
    columns, second, weights = _columns(model, rows), half_of(rows), weights_of(rows)
    crossed = [temperature_of(logs[:, half], columns[half], _part(weights, half)) for half in (second, ~second)]
    return Contender(model, temperature_of(logs, columns, weights), (crossed[0], crossed[1]), target, recall)


def _part(weights: Matrix | None, chosen: NDArray[np.bool_]) -> Matrix | None:
    return None if weights is None else weights[chosen]


@dataclass(frozen=True, slots=True)
class Serving:
    """The champion: its version, and itself where it is a model of this trainer (else it cannot be judged on features).

    ``reference``: the model that was last accepted on evidence or by people, where that is another.
    """

    version: str
    contender: Contender | None
    reference: Serving | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """``p`` ``(n, c)`` of a contender for ``n`` rows, asked once, the ``truth`` ``(n, c)`` of each, for classes the ``columns``
    ``(n,)`` of what is right: -1 where unknown, and ``weights`` ``(n,)`` where rows do not count alike."""

    p: FloatArray
    truth: Matrix
    columns: NDArray[np.int64]
    target: Target
    weights: Matrix | None
    classes: tuple[str, ...]

    @classmethod
    def of(cls, contender: Contender, rows: Sequence[Row], x: FloatArray | None = None) -> _Answers:
        target = contender.target
        truth = truth_of(target, [row.value for row in rows], contender.model.classes)
        p = contender.probabilities(rows, x) if rows else truth.astype(np.float32)
        return cls(p, truth, _columns(contender.model, rows), target, weights_of(rows), contender.model.classes)

    def beside(self, contender: Contender, rows: Sequence[Row], x: FloatArray | None) -> _Answers:
        """Of another contender for the same rows: with the same classes and target, what is right is known already."""
        if not rows or (contender.model.classes, contender.target) != (self.classes, self.target):
            return _Answers.of(contender, rows, x)
        return replace(self, p=contender.probabilities(rows, x))

    def right(self) -> Matrix:
        return self.target.credit(self.p, self.truth)

    def accuracy(self, alpha: float) -> Interval:
        return share_right(self.right(), self.weights, alpha)

    def brier(self) -> tuple[float, ...]:
        if self.target.form is Form.VALUES:
            return ()  # a number has no probabilities that could be off
        if self.target.form is Form.MULTI:
            return tuple(brier(self.p, self.truth).tolist())
        # Half the squared distance to the label: within [0, 1], and 1 for a class that the model does not know at worst.
        p = self.p.astype(np.float64)
        truth = np.where(self.columns >= 0, p[np.arange(len(p)), self.columns], 0.0)
        scores = 0.5 * ((p * p).sum(axis=1) - 2.0 * truth + 1.0)
        return tuple(np.clip(scores, 0.0, 1.0).tolist())


def evaluate(
    challenger: Contender, serving: Serving | None, training: Sequence[Row], audit: Sequence[Row], alpha: float
) -> Evaluation:
    """Judge on ``audit`` (never trained), and on ``training`` by the members whose bootstrap left each label out."""
    champion = serving.contender if serving else None
    x = _features(audit) if audit else None
    ours = _Answers.of(challenger, audit, x)
    theirs = ours.beside(champion, audit, x) if champion else None
    reference = serving.reference if serving else None
    accepted = reference.contender if reference else None
    left_out, left_out_before = _left_out(challenger, (champion, accepted), training)
    total = sum(left_out.weights)
    effective = total * total / max(sum(w * w for w in left_out.weights), 1e-12)
    hits = sum(w * r for w, r in zip(left_out.weights, left_out.challenger, strict=True)) / max(total, 1e-12)
    return Evaluation(
        champion=serving.version if serving else "",
        audit=_pairs(audit, theirs, ours) if theirs else Paired(),
        left_out=left_out if champion else Paired(),
        accuracy=ours.accuracy(alpha),
        left_out_accuracy=wilson(hits * effective, effective, alpha),
        champion_accuracy=theirs.accuracy(alpha) if theirs else None,
        per_class=_per_class(audit, ours, alpha),
        metrics={
            "audit_labels": float(len(audit)),
            "temperature": challenger.temperature,
            **_variety(challenger.model, ours, training, audit),
            **_figures("", ours),
            **_figures("champion_", theirs),
        },
        measure=challenger.target.measure,
        reference=Against(reference.version, _pairs(audit, ours.beside(accepted, audit, x), ours), left_out_before)
        if reference and accepted
        else None,
    )


def compare(champion: Contender, challenger: Contender, rows: Sequence[Row], pair: tuple[str, str]) -> Paired:
    """Both on the same audit rows, with their Brier scores. ``pair``: their versions."""
    x = _features(rows) if rows else None
    pairs = _pairs(rows, _Answers.of(champion, rows, x), _Answers.of(challenger, rows, x))
    return replace(pairs, apart=tuple(row.weight < 1.0 if row.pair == pair else None for row in rows))


def _pairs(rows: Sequence[Row], champion: _Answers, challenger: _Answers) -> Paired:
    weights = tuple(row.weight for row in rows)
    pairs = _paired(rows, (champion.right(), challenger.right()), challenger.target, weights)
    return replace(pairs, champion_brier=champion.brier(), challenger_brier=challenger.brier())


def _left_out(challenger: Contender, others: Sequence[Contender | None], rows: Sequence[Row]) -> list[Paired]:
    """Beside each of ``others``; beside itself for None."""
    # The bootstrap is a hash of label and member, so what a member of the challenger left out, the same member of a champion
    # with the same seed left out as well: both are judged at equal strength, on labels that neither saw.
    if not rows:
        return [Paired() for _ in others]
    model = challenger.model
    out = bootstrap([r.label_id for r in rows], model.size, model.seed) == 0.0
    kept = [i for i in range(len(rows)) if out[:, i].any()]
    chosen, mask = [rows[i] for i in kept], out[:, kept]
    ours = _share_right(challenger, chosen, mask)
    weights = tuple(map(stands_for, chosen))

    def beside(other: Contender | None) -> Paired:
        if other and (other.model.seed, other.model.size) != (model.seed, model.size):
            return Paired()
        theirs = _share_right(other, chosen, mask) if other else ours
        return _paired(chosen, (theirs, ours), challenger.target, weights)

    return [beside(other) for other in others]


def _share_right(contender: Contender, rows: Sequence[Row], mask: NDArray[np.bool_]) -> Matrix:
    if not rows:
        return np.zeros(0)
    model, target = contender.model, contender.target
    truth = truth_of(target, [row.value for row in rows], model.classes)
    result: Matrix = (target.credit(model.members(_features(rows)), truth) * mask).sum(axis=0) / mask.sum(axis=0)
    return result


def _paired(rows: Sequence[Row], earned: tuple[Matrix, Matrix], target: Target, weights: tuple[float, ...]) -> Paired:
    return Paired(
        tuple(r.label_id for r in rows),
        # Lists of classes and numbers are no groups of labels: the target's parts are.
        tuple(r.value if target.form is Form.CLASSES else "" for r in rows),
        tuple(earned[0].tolist()),
        tuple(earned[1].tolist()),
        weights,
    )


def _per_class(rows: Sequence[Row], answers: _Answers, alpha: float) -> dict[str, Interval]:
    result: dict[str, Interval] = {}
    hits, values = answers.right(), [row.value for row in rows]
    parts = {name: np.array(members) for name, members in answers.target.parts(values).items()}
    if answers.target.form is Form.CLASSES:
        parts |= {name: np.array([value == name for value in values]) for name in sorted(set(values))}
    for name, mine in parts.items():
        result[name] = share_right(hits[mine], _part(answers.weights, mine), alpha)
    return result


def _figures(prefix: str, answers: _Answers | None) -> dict[str, float]:
    if answers is None or not len(answers.p):
        return {}
    p, weights = answers.p, answers.weights
    own = {f"{prefix}{name}": figure for name, figure in answers.target.figures(p, answers.truth, weights).items()}
    if answers.target.form is not Form.CLASSES:
        return own
    return own | {
        f"{prefix}nll": nll(p, answers.columns, weights),
        f"{prefix}entropy": mean(-(p * np.log(np.maximum(p, 1e-12))).sum(axis=1), weights),
        f"{prefix}calibration_error": _calibration_error(p, answers.columns, weights),
    }


def _variety(model: Model, answers: _Answers, training: Sequence[Row], audit: Sequence[Row]) -> dict[str, float]:
    if not (training or audit) or answers.target.form is not Form.CLASSES:
        return {}  # of few labels a sound model may say that no class stands out, or the mean alone
    chosen = set(answers.p.argmax(axis=1).tolist())
    if training:
        chosen |= set(model.probabilities(_features(training)).argmax(axis=1).tolist())
    return {
        "predicted_classes": float(len(chosen)),
        "labelled_classes": float(len({row.value for row in (*training, *audit)})),
    }


def _calibration_error(p: FloatArray, columns: NDArray[np.int64], weights: Matrix | None) -> float:
    # Expected calibration error, ten equal bins of the first class's probability.
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == columns
    # A model that answers NaN is refused for that; until then its figures are looked at like any other's.
    bins = np.minimum((np.nan_to_num(confidence) * _BINS).astype(int), _BINS - 1)
    counts = np.ones(len(p)) if weights is None else weights
    gaps = [
        abs(mean(hit[bins == b], _part(weights, bins == b)) - mean(confidence[bins == b], _part(weights, bins == b)))
        * float(counts[bins == b].sum())
        for b in set(bins.tolist())
    ]
    return sum(gaps) / float(counts.sum())


def _columns(model: Model, rows: Sequence[Row]) -> NDArray[np.int64]:
    # -1 for a class that the model does not know: it can never be right there.
    column = {name: i for i, name in enumerate(model.classes)}
    return np.array([column.get(r.value, -1) for r in rows], np.int64)


def _features(rows: Sequence[Row]) -> FloatArray:
    # Of thousands of rows a stack takes thrice as long.
    return np.concatenate([r.features for r in rows]).reshape(len(rows), -1)
