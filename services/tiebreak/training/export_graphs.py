"""A committee of classifiers that another library wrote as ONNX: joined to one graph, run by ONNX's reference, and read back. Pure.

The port for learners of other libraries: whatever can be converted to the closed set of plain operators here is a Model of the trainer,
is judged like any other, and is restored from its file without a line of the library that made it, and without pickle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tiebreak.contracts.errors import ModelRefused
from tiebreak.contracts.tensors import FloatArray
from tiebreak.training.features import FeatureMap
from tiebreak.training.learner import softmax

OPSET = 17
# What classifiers are made of. A file is restored by running it: one with a loop or a subgraph, or of another domain, is not.
OPERATORS = frozenset(
    {"Add", "Cast", "Clip", "Concat", "Div", "Exp", "Identity", "MatMul", "Mul", "Not", "Pow", "Reciprocal", "Relu"}
    | {"ReduceLogSumExp", "ReduceSum", "Reshape", "Sigmoid", "Softmax", "Sub", "Tanh"}
)
# A classifier that is certain does not rule the other classes out: log-probabilities stay finite.
SMOOTHING = 1e-3
INPUT, OUTPUT = "standard", "heads/said"
_PREFIX = "heads/"
_PART = 256  # rows at a time: some classifiers hold a number per row, class and column


@dataclass(frozen=True, slots=True, eq=False)
class GraphModel:
    """Heads over standardised columns. ``graph``: ONNX, from ``standard`` ``(n, d)`` to ``heads/said`` ``(n, h * k)``, probabilities.

    The first head saw every label and serves, the ``size`` others are the members; ``seed`` of their bootstrap.
    """

    classes: tuple[str, ...]
    features: FeatureMap
    graph: bytes
    size: int
    seed: int
    _evaluator: ReferenceEvaluator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_evaluator", ReferenceEvaluator(_parsed(self.graph)))

    @property
    def width(self) -> int:
        """How many numbers an input has."""
        return len(self.features.mean)

    def members(self, x: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(n, d)`` to ``(m, n, k)`` probabilities."""
        return self._heads(x, temperature)[1:]

    def probabilities(self, x: FloatArray, temperature: float = 1.0) -> FloatArray:
        """``(n, d)`` to ``(n, k)``: of the head that saw every label."""
        result: FloatArray = self._heads(x, temperature)[0]
        return result

    def voters(self, x: FloatArray) -> FloatArray:
        """``(n, d)`` to ``(1, n, k)``: the head that serves."""
        return self._heads(x, 1.0)[:1]

    def said(self, x: FloatArray) -> FloatArray:
        """``(n, d)`` to ``(h, n, k)``: what the classifiers answer, unsmoothed."""
        z, k = self.features.standardise(x), len(self.classes)
        found = np.empty((len(x), self.size + 1, k), np.float32)
        with np.errstate(all="ignore"):  # exp() may overflow on its way to 0 or 1, as it does in the served graph
            for start in range(0, len(x), _PART):
                part = z[start : start + _PART]
                answer = np.asarray(next(iter(self._evaluator.run([OUTPUT], {INPUT: part}))))
                found[start : start + _PART] = answer.reshape(len(part), -1, k)
        return found.transpose(1, 0, 2)

    def _heads(self, x: FloatArray, temperature: float) -> FloatArray:
        smooth = np.float32(1.0 - SMOOTHING) * self.said(x) + np.float32(SMOOTHING / len(self.classes))
        return softmax(np.log(smooth) / np.float32(temperature))

    def digest(self) -> str:
        """sha256 of the classes, the standardisation and the graph."""
        h = sha256(repr((self.classes, self.size, self.seed)).encode())
        for array in (self.features.mean, self.features.scale):
            h.update(np.ascontiguousarray(array, "<f4").tobytes())
        h.update(self.graph)
        return h.hexdigest()


def joined(parts: Sequence[ModelProto], *, scores: bool) -> bytes:
    """One graph of classifiers, each with one input and the outputs label and probabilities ``(n, k)``.

    ``scores``: they give scores instead, whose softmax is taken. Raises ValueError for an operator that is none of :data:`OPERATORS`.
    """
    nodes: list[NodeProto] = []
    constants: dict[str, NDArray[Any]] = {}
    for place, part in enumerate(parts):
        prefix = f"{_PREFIX}{place}/"
        renamed = {part.graph.input[0].name: INPUT}
        wanted = _needed(part, part.graph.output[1].name)
        nodes.extend(_renamed(node, renamed, prefix) for node in wanted)
        used = {name for node in wanted for name in node.input}
        constants |= {prefix + t.name: numpy_helper.to_array(t) for t in part.graph.initializer if t.name in used}
        said = prefix + part.graph.output[1].name
        if scores:
            nodes.append(helper.make_node("Softmax", [said], [f"{prefix}shares"], axis=1))
        constants[f"{prefix}k"] = np.array([0, -1], np.int64)
        # As (n, k), whatever shape a converter is content with.
        nodes.append(
            helper.make_node("Reshape", [f"{prefix}shares" if scores else said, f"{prefix}k"], [f"{prefix}rows"])
        )
    rows = [f"{_PREFIX}{place}/rows" for place in range(len(parts))]
    nodes.append(helper.make_node("Concat", rows, [OUTPUT], axis=1))
    strange = sorted({node.op_type for node in nodes if not _plain(node)})
    if strange:
        raise ValueError(f"operators {strange} have no place in a head")
    return _packed(nodes, constants)


def nodes_of(model: GraphModel, prefix: str) -> tuple[list[NodeProto], dict[str, NDArray[Any]]]:
    """The nodes with every name behind ``prefix``, and the constants by their names without it."""
    graph = _parsed(model.graph).graph
    return [_renamed(node, {}, prefix) for node in graph.node], {
        t.name: numpy_helper.to_array(t) for t in graph.initializer
    }


def graph_back(nodes: Iterable[NodeProto], constants: Iterable[TensorProto], prefix: str) -> bytes:
    """The graph that :func:`nodes_of` took apart, to the byte. Raises ModelRefused for an operator that was never among them."""
    ours = [node for node in nodes if node.output[0].startswith(prefix + _PREFIX)]
    strange = sorted({node.op_type for node in ours if not _plain(node)})
    if strange:
        raise ModelRefused(f"Operators {strange} have no place in a head of Tiebreak's trainer.")
    back = [_shortened(node, len(prefix)) for node in ours]
    kept = {t.name[len(prefix) :]: numpy_helper.to_array(t) for t in constants if t.name.startswith(prefix + _PREFIX)}
    return _packed(back, kept)


def _plain(node: NodeProto) -> bool:
    return node.op_type in OPERATORS and node.domain in {"", "ai.onnx"}


def _needed(part: ModelProto, output: str) -> list[NodeProto]:
    """The nodes that lead to ``output``, in their order."""
    wanted, kept = {output}, []
    for node in reversed(part.graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _renamed(node: NodeProto, known: dict[str, str], prefix: str) -> NodeProto:
    result = NodeProto()
    result.CopyFrom(node)
    result.ClearField("name")
    for names in (result.input, result.output):
        names[:] = [known.get(name) or (prefix + name if name else "") for name in names]
    return result


def _shortened(node: NodeProto, length: int) -> NodeProto:
    result = NodeProto()
    result.CopyFrom(node)
    for names in (result.input, result.output):
        names[:] = [name[length:] for name in names]
    return result


def _packed(nodes: Sequence[NodeProto], constants: dict[str, NDArray[Any]]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "heads",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", None])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", None])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in sorted(constants.items())],
    )
    packed = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", OPSET)])
    return bytes(packed.SerializeToString(deterministic=True))


def _parsed(graph: bytes) -> ModelProto:
    result = ModelProto()
    result.ParseFromString(graph)
    return result
