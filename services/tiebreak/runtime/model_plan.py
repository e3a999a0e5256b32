"""How a graph's inputs and outputs are used: decided once per model, from the graph's face and what the project says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.errors import ModelRefused
from tiebreak.contracts.tensors import NUMPY_OF, Form
from tiebreak.runtime.model_graph import Graph, Port

MEMBERS = "members"
ASKING = "asking"
EMBEDDING = "embedding"
_SCORE_NAMES = (
    "probabilities",
    "output_probability",
    "probability",
    "probs",
    "logits",
    "scores",
    "variable",
    "values",
    "output",
)
_FLOATS = frozenset({"FP16", "FP32", "FP64"})
_SUM_TOLERANCE = 1e-2  # float16 exports of a thousand classes stay within it, logits do not


class ScoreKind(StrEnum):
    """What the score output holds. INDEPENDENT: a probability for each class of its own.

    UNCLEAR: the graph does not say, the values of a probe will.
    """

    PROBABILITIES = "probabilities"
    LOGITS = "logits"
    VALUES = "values"
    INDEPENDENT = "independent"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model must fit. ``inputs``: name -> (Open Inference Protocol datatype, shape without the batch axis).

    ``classes`` is the column order when ``ordered`` (a manifest says so), else the set the project knows. ``kind`` and
    ``output`` are the project's ``model.output_kind`` and ``model.output``.
    """

    inputs: Mapping[str, tuple[str, tuple[int, ...]]]
    classes: tuple[str, ...] = ()
    ordered: bool = False
    open_set: bool = False
    output: str = ""
    kind: str = "auto"


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """The use of a graph. ``batch`` is its fixed batch size, None when free. Empty names: the graph has no such output."""

    inputs: tuple[Port, ...]
    score: str
    kind: ScoreKind
    classes: tuple[str, ...]
    members: str = ""
    embedding: str = ""
    batch: int | None = None
    asking: str = ""

    @property
    def form(self) -> Form:
        """What a model of this plan answers with."""
        return {ScoreKind.VALUES: Form.VALUES, ScoreKind.INDEPENDENT: Form.MULTI}.get(self.kind, Form.CLASSES)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs to ask for, the score first."""
        return tuple(name for name in (self.score, self.members, self.embedding, self.asking) if name)


def plan_model(graph: Graph, wanted: Wanted) -> ModelPlan:
    """Match a graph with what is wanted of it. Raises ModelRefused naming what does not fit and what to change."""
    batch = _check_inputs(graph.inputs, wanted.inputs)
    names = {port.name: port for port in graph.outputs}
    score = _score_output(graph, wanted.output)
    kind = _kind(graph, score, wanted)
    classes = () if kind is ScoreKind.VALUES else _classes(graph, wanted)
    plan = ModelPlan(
        inputs=graph.inputs,
        score=score.name,
        kind=kind,
        classes=classes,
        members=MEMBERS if MEMBERS in names and score.name != MEMBERS else "",
        embedding=EMBEDDING if EMBEDDING in names and score.name != EMBEDDING else "",
        batch=batch,
        asking=ASKING if _has_as_many(names.get(ASKING), score) else "",
    )
    _check_columns(score, plan)
    return plan


def _has_as_many(asking: Port | None, score: Port) -> bool:
    """Whether an output of that name can be what it says: another model's may be something else, and is left alone."""
    return asking is not None and asking.name != score.name and asking.shape is not None and asking.shape == score.shape


def settle_kind(plan: ModelPlan, scores: NDArray[Any]) -> ModelPlan:
    """Decide an UNCLEAR kind from the scores of a probe, hold a stated one to them.

    Raises ModelRefused for "probabilities" that are not, and for a column count that does not fit the classes.
    """
    table = as_table(scores)
    if plan.kind is ScoreKind.UNCLEAR:
        plan = replace(plan, kind=_kind_of_values(table, len(plan.classes)))
    columns = table.shape[1]
    if plan.kind is ScoreKind.VALUES:
        if columns != 1:
            raise ModelRefused(f"Output {plan.score!r} gives {columns} values per event, a regressor gives one.")
        return replace(plan, classes=())
    expected = len(plan.classes)
    one_for_two = columns == 1 and expected == 2 and plan.kind is not ScoreKind.INDEPENDENT
    if columns != expected and not one_for_two:
        raise ModelRefused(
            f"Output {plan.score!r} has {columns} columns, there are {expected} classes.",
            fix="List them in classes.names.",
        )
    if plan.kind is ScoreKind.INDEPENDENT and not _within_one(table):
        raise ModelRefused(
            f"Output {plan.score!r} should hold a probability for each class, but it leaves 0 to 1.",
            fix="End the graph in a sigmoid.",
        )
    if plan.kind is ScoreKind.PROBABILITIES and not _are_probabilities(table):
        raise ModelRefused(
            f"Output {plan.score!r} should hold probabilities, but its rows do not sum to 1.",
            fix="If it holds logits, set model.output_kind: logits.",
        )
    return plan


def as_table(scores: NDArray[Any]) -> NDArray[Any]:
    """``(n,)``, ``(n, k)`` or ``(n, k, 1, ...)`` as ``(n, k)``."""
    return scores.reshape(len(scores), -1)


def fits(given: str, needed: str) -> bool:
    """Whether a tensor of one datatype may be cast to another: exact, widening, or between floats.

    >>> fits("UINT8", "FP32"), fits("FP64", "FP32"), fits("FP32", "INT64")
    (True, True, False)
    """
    if given == needed:
        return True
    if "BYTES" in {given, needed} or given not in NUMPY_OF or needed not in NUMPY_OF:
        return False
    floats = given in _FLOATS and needed in _FLOATS
    return floats or bool(np.can_cast(NUMPY_OF[given], NUMPY_OF[needed], "safe"))


def _check_inputs(ports: Sequence[Port], wanted: Mapping[str, tuple[str, tuple[int, ...]]]) -> int | None:
    have = {port.name for port in ports}
    if have != set(wanted):
        raise ModelRefused(
            f"The graph's inputs are {sorted(have)}, the project's tensors are {sorted(wanted)}.",
            fix="Name input.tensors as the graph does.",
        )
    batches: set[int] = set()
    for port in ports:
        datatype, shape = wanted[port.name]
        if not fits(datatype, port.datatype):
            raise ModelRefused(f"Input {port.name!r} is {port.datatype} in the graph, {datatype} in the project.")
        if port.shape is None:
            continue
        if len(port.shape) != len(shape) + 1 or any(
            p not in {None, s} for p, s in zip(port.shape[1:], shape, strict=True)
        ):
            raise ModelRefused(
                f"Input {port.name!r} has shape {_show(port.shape)} in the graph, [batch, {_show(shape)[1:]} in the project.",
                fix="The first axis of every input must be the batch.",
            )
        if port.shape[0] is not None:
            batches.add(port.shape[0])
    if len(batches) > 1:
        raise ModelRefused(f"The inputs have different fixed batch sizes: {sorted(batches)}.")
    return batches.pop() if batches else None


def _show(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def _score_output(graph: Graph, named: str) -> Port:
    ports = {port.name: port for port in graph.outputs}
    if named:
        if named not in ports:
            raise ModelRefused(
                f"The graph has no output {named!r}: it has {sorted(ports)}.", fix="Change model.output."
            )
        return ports[named]
    for name in _SCORE_NAMES:
        if name in ports and ports[name].datatype in {*_FLOATS, "MAPS"}:
            return ports[name]
    numeric = [p for p in graph.outputs if p.datatype in {*_FLOATS, "MAPS"} and p.name not in {MEMBERS, EMBEDDING}]
    if len(numeric) != 1:
        raise ModelRefused(
            f"It is not clear which of the outputs {sorted(ports)} holds the scores.", fix="Name it in model.output."
        )
    return numeric[0]


def _kind(graph: Graph, score: Port, wanted: Wanted) -> ScoreKind:
    if wanted.kind != "auto":
        return ScoreKind(wanted.kind)
    maker = graph.makers.get(score.name)
    if maker is not None:
        op = maker.op_type
        transforms = [a.s for a in maker.attribute if a.name == "post_transform"]
        squashed = bool(transforms) and transforms[0] in {b"LOGISTIC", b"SOFTMAX"}
        if op in {"Softmax", "Sigmoid", "Normalizer"} or squashed:
            return ScoreKind.PROBABILITIES
        if op == "LogSoftmax":
            return ScoreKind.LOGITS  # softmax of log-probabilities gives the probabilities back
        if op in {"TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor"}:
            return ScoreKind.VALUES
    named = {
        "probabilities": ScoreKind.PROBABILITIES,
        "logits": ScoreKind.LOGITS,
        "variable": ScoreKind.VALUES,
        "values": ScoreKind.VALUES,
    }
    return named.get(score.name, ScoreKind.UNCLEAR)


def _kind_of_values(table: NDArray[Any], classes: int) -> ScoreKind:
    if classes == 0 and table.shape[1] == 1:
        return ScoreKind.VALUES
    return ScoreKind.PROBABILITIES if _are_probabilities(table) else ScoreKind.LOGITS


def _are_probabilities(table: NDArray[Any]) -> bool:
    sums = table.astype(np.float64).sum(axis=1)
    return _within_one(table) and (table.shape[1] == 1 or bool((np.abs(sums - 1) <= _SUM_TOLERANCE).all()))


def _within_one(table: NDArray[Any]) -> bool:
    exact = table.astype(np.float64)
    return bool(((exact >= -_SUM_TOLERANCE) & (exact <= 1 + _SUM_TOLERANCE)).all())


def _classes(graph: Graph, wanted: Wanted) -> tuple[str, ...]:
    """Column names: a manifest's, else the graph's own (only the graph knows its column order), else the project's."""
    positions = tuple(str(i) for i in range(len(wanted.classes)))
    if not graph.labels or (graph.labels_are_numbers and graph.labels == positions):
        return wanted.classes
    if graph.labels == wanted.classes or not wanted.classes:
        return graph.labels
    if not wanted.ordered and (wanted.open_set or set(graph.labels) == set(wanted.classes)):
        return graph.labels
    raise ModelRefused(
        f"The model's classes are {list(graph.labels)}, the project's are {list(wanted.classes)}.",
        fix="Make classes.names the same set, or set classes.open: true.",
    )


def _check_columns(score: Port, plan: ModelPlan) -> None:
    if score.shape is None or plan.kind is ScoreKind.VALUES:
        return
    columns = score.shape[1] if len(score.shape) > 1 else None
    if (
        columns is not None
        and plan.classes
        and columns != len(plan.classes)
        and not (columns == 1 and len(plan.classes) == 2)
    ):
        raise ModelRefused(
            f"Output {plan.score!r} has {columns} columns, there are {len(plan.classes)} classes.",
            fix="List every class of the model in classes.names.",
        )
