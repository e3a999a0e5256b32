"""A fitted committee as one ONNX graph, and back. The same state gives the same bytes. Pure: bytes out, bytes in.

inputs -> Flatten, or the project's encoder -> ``embedding`` (as it came, so that features stay comparable over versions of the model)
-> standardise -> kernels at the landmarks -> heads -> ``probabilities`` ``(n, k)`` of the head that saw every label, ``members``
``(m, n, k)`` of the others (trees: their mean is the probabilities), and ``asking`` ``(n, k)`` where another head says what to ask
about (``learner.py``). Several classes have a sigmoid in
place of the softmax; numbers are ``values`` ``(n,)`` with ``members``
``(m, n, 1)``, clipped to their range. The temperature is inside. Inner names begin with ``head/``: a
project may call its tensors what it likes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from tiebreak.contracts.errors import ConfigError, ModelRefused
from tiebreak.contracts.project import TensorSpec
from tiebreak.contracts.tensors import NUMPY_OF, FloatArray, Form, Tensors
from tiebreak.training.export_graphs import SMOOTHING, GraphModel, graph_back, nodes_of
from tiebreak.training.export_trees import DOMAIN, DOMAIN_VERSION, forest_of, smoothing, tree_nodes
from tiebreak.training.features import CLIP, FeatureMap
from tiebreak.training.heads import HeadsModel
from tiebreak.training.learner import Model, SoftmaxModel
from tiebreak.training.trees import TreeModel

OPSET = 17
IR_VERSION = 8
PRODUCER = "tiebreak.trainer"
_Constants = dict[str, NDArray[Any] | np.generic]
_OUTPUTS = ("probabilities", "values", "asking", "members", "embedding")
_HEAD = "head/"
_MEAN, _SCALE = _HEAD + "mean", _HEAD + "scale"


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """A frozen encoder in front of the heads: what labels carry as features is its output.

    ``graph``: an ONNX file whose ``embedding`` is float32 ``(n, width)``, whose inner names begin with ``encoder/``, and whose
    operators are of opset 13 or later. ``digest``: sha256 of the user's file. ``embeddings``: what it gives for the events ``inputs``.
    """

    digest: str
    graph: bytes
    width: int
    inputs: Tensors
    embeddings: FloatArray


def width_of(tensors: Sequence[TensorSpec]) -> int:
    """How many features an event has. Raises ConfigError for tensors that have no numbers in them, or a name of an output."""
    refuse_names(tensors, ("probabilities", "asking", "members"))
    for tensor in tensors:
        if tensor.datatype == "BYTES":
            raise ConfigError(
                f"input.tensors: {tensor.name!r} has datatype BYTES, which the trainer cannot learn from.",
                fix="Send embeddings as FP32, or serve your own model with model.source: file.",
            )
    return sum(int(np.prod(tensor.shape)) for tensor in tensors)


def refuse_names(tensors: Sequence[TensorSpec], taken: Sequence[str]) -> None:
    """Raise ConfigError for a tensor with the name of an output: a graph has one thing of each name."""
    for tensor in tensors:
        if tensor.name in taken:
            raise ConfigError(
                f"input.tensors: {tensor.name!r} is the name of an output of Tiebreak's models.", fix="Rename it."
            )


def inputs_of(features: FloatArray, tensors: Sequence[TensorSpec]) -> Tensors:
    """Feature rows ``(n, d)`` as the graph's inputs again: the inverse of flattening, in the project's datatypes."""
    result = {}
    start = 0
    for tensor in tensors:
        size = int(np.prod(tensor.shape))
        columns = features[:, start : start + size].reshape(len(features), *tensor.shape)
        result[tensor.name] = columns.astype(NUMPY_OF[tensor.datatype])
        start += size
    return result


def export(model: Model, tensors: Sequence[TensorSpec], temperature: float, encoder: Encoder | None = None) -> bytes:
    """The ONNX file. Its inputs are the project's tensors with a free batch axis.

    Without an encoder a tensor called ``embedding`` is the embedding: it is not given out again. Raises TypeError for a model
    that has no graph.
    """
    proto = _encoded(encoder) if encoder is not None else _plain(tensors)
    nodes, constants, facts = _body(model, temperature)
    used = {name for node in nodes for name in node.input}
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), _HEAD + name)
        for name, value in sorted(constants.items())
        if _HEAD + name in used
    )
    if any(node.domain == DOMAIN for node in nodes) and DOMAIN not in {entry.domain for entry in proto.opset_import}:
        proto.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
    k = len(model.classes) or 1
    numbers = isinstance(model, HeadsModel) and model.form is Form.VALUES
    shapes: dict[str, list[str | int | None]] = {
        **({"values": ["n"]} if numbers else {"probabilities": ["n", k]}),
        **({"asking": ["n", k]} if isinstance(model, SoftmaxModel) and model.asks else {}),
        "members": [model.size, "n", k],
        "embedding": ["n", model.width],
    }
    inputs = {value.name for value in proto.graph.input}
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
        if name not in inputs
    )
    told = {"classes": list(model.classes), "members": model.size, "seed": model.seed, "width": model.width}
    told |= {"temperature": float(np.float32(temperature)), **facts}
    proto.producer_name = PRODUCER
    helper.set_model_props(proto, {"tiebreak": json.dumps(told, sort_keys=True)})
    checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString(deterministic=True))


def _body(model: Model, temperature: float) -> tuple[list[NodeProto], _Constants, dict[str, object]]:
    k = len(model.classes) or 1
    shared: _Constants = {
        "temperature": np.float32(temperature),
        "head_shape": np.array([-1, model.size, k], np.int64),
        "columns": np.array([1], np.int64),
        "count": np.float32(model.size),
    }
    if isinstance(model, SoftmaxModel):
        facts: dict[str, object] = {"kind": "heads", "gamma": model.features.gamma, "whole": model.whole}
        facts |= {"asks": True} if model.asks else {}
        nodes = [*_features(model.features), *_heads(whole=model.whole, asks=model.asks)]
        return nodes, {**shared, **_constants(model)}, facts
    if isinstance(model, HeadsModel):
        nodes = [*_features(model.features), *_heads(whole=True, form=model.form)]
        bounds: _Constants = {"least": np.float32(model.low), "most": np.float32(model.high)}
        told: dict[str, object] = {"gamma": model.features.gamma, "low": model.low, "high": model.high}
        return nodes, {**shared, **_constants(model), **bounds}, told | {"kind": model.form.value, "whole": True}
    if isinstance(model, GraphModel):
        nodes, arrays = nodes_of(model, _HEAD)
        graph = [*_features(model.features), *nodes, *_smoothed("heads/said"), *_committee(whole=True)]
        constants = {**shared, **_columns(model.features, model.size + 1, k), **arrays, **smoothing(k, SMOOTHING)}
        return graph, constants, {"kind": "graph", "gamma": model.features.gamma, "whole": True}
    if isinstance(model, TreeModel):
        return _trees(model), {**shared, **smoothing(k)}, {"kind": "trees"}
    raise TypeError(f"no graph for a {type(model).__name__}")


def _plain(tensors: Sequence[TensorSpec]) -> ModelProto:
    inputs = [helper.make_tensor_value_info(t.name, _onnx_type(t), ["n", *t.shape]) for t in tensors]
    graph = helper.make_graph(_embedding(tensors), PRODUCER, inputs, [])
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])


def _encoded(encoder: Encoder) -> ModelProto:
    proto = ModelProto()
    proto.ParseFromString(encoder.graph)
    del proto.graph.output[:]
    proto.graph.node.append(_make("Identity", ["embedding"], ["raw"]))
    return proto


def read_back(data: bytes) -> tuple[Model, float] | None:
    """The model and temperature that :func:`export` wrote, or None for a graph that is not ours. Raises ModelRefused if torn."""
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
        if proto.producer_name != PRODUCER:
            return None
        facts = json.loads({p.key: p.value for p in proto.metadata_props}["tiebreak"])
        return _BACK[facts["kind"]](proto, facts), float(facts["temperature"])
    except Exception as error:  # protobuf, json and numpy each have their own way to say "torn"
        raise ModelRefused("The file names Tiebreak's trainer as its maker but does not hold its state.") from error


def _heads_back(proto: ModelProto, facts: Mapping[str, Any]) -> Model:
    classes, seed, whole = tuple(facts["classes"]), int(facts["seed"]), bool(facts.get("whole", False))
    return SoftmaxModel(classes, *_arrays_back(proto, facts), seed, whole, bool(facts.get("asks", False)))


def _others_back(proto: ModelProto, facts: Mapping[str, Any]) -> Model:
    form, classes, seed = Form(facts["kind"]), tuple(facts["classes"]), int(facts["seed"])
    bounds = float(facts["low"]), float(facts["high"])
    return HeadsModel(form, classes, *_arrays_back(proto, facts), seed, *bounds)


def _arrays_back(proto: ModelProto, facts: Mapping[str, Any]) -> tuple[FeatureMap, FloatArray, FloatArray]:
    arrays = {
        t.name.removeprefix(_HEAD): numpy_helper.to_array(t)
        for t in proto.graph.initializer
        if t.name.startswith(_HEAD)
    }
    k = len(facts["classes"]) or 1
    heads = int(facts["members"]) + sum(bool(facts.get(name, False)) for name in ("whole", "asks"))
    mean = arrays["mean"]
    landmarks = np.ascontiguousarray(arrays.get("landmarks_t", np.zeros((len(mean), 0), np.float32)).T)
    features = FeatureMap(mean, arrays["scale"], landmarks, float(facts["gamma"]))
    return features, arrays["weights"].reshape(-1, heads, k), arrays["bias"].reshape(heads, k)


def _trees_back(proto: ModelProto, facts: Mapping[str, Any]) -> Model:
    classes = tuple(facts["classes"])
    ours = [node for node in proto.graph.node if node.output[0].startswith(_HEAD)]
    return TreeModel(classes, int(facts["width"]), forest_of(ours, len(classes)), int(facts["seed"]))


def _graphs_back(proto: ModelProto, facts: Mapping[str, Any]) -> Model:
    arrays = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer if t.name in {_MEAN, _SCALE}}
    mean, none = arrays[_MEAN], np.zeros((0, len(arrays[_MEAN])), np.float32)
    features = FeatureMap(mean, arrays[_SCALE], none, float(facts["gamma"]))
    graph = graph_back(proto.graph.node, proto.graph.initializer, _HEAD)
    return GraphModel(tuple(facts["classes"]), features, graph, int(facts["members"]), int(facts["seed"]))


_BACK: Mapping[str, Callable[[ModelProto, Mapping[str, Any]], Model]] = {
    "heads": _heads_back,
    "trees": _trees_back,
    "multi": _others_back,
    "values": _others_back,
    "graph": _graphs_back,
}


def _constants(model: SoftmaxModel | HeadsModel) -> _Constants:
    f = model.features
    p, m, k = model.weights.shape
    return {
        **_columns(f, m, k),
        "zero": np.float32(0.0),
        "minus_two": np.float32(-2.0),
        "minus_gamma": np.float32(-f.gamma),
        "landmarks_t": np.ascontiguousarray(f.landmarks.T),
        "landmarks_square": (f.landmarks**2).sum(axis=1, dtype=np.float32),
        "weights": model.weights.reshape(p, m * k),
        "bias": model.bias.reshape(m * k),
    }


def _columns(f: FeatureMap, m: int, k: int) -> _Constants:
    return {
        "mean": f.mean,
        "scale": f.scale,
        "low": np.float32(-CLIP),
        "high": np.float32(CLIP),
        "head_shape": np.array([-1, m, k], np.int64),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "third": np.array([2], np.int64),
        "end": np.array([m], np.int64),
        "both": np.array([1, 2], np.int64),
    }


def _embedding(tensors: Sequence[TensorSpec]) -> list[NodeProto]:
    nodes = []
    for i, tensor in enumerate(tensors):
        nodes.append(helper.make_node("Cast", [tensor.name], [f"{_HEAD}float_{i}"], to=TensorProto.FLOAT))
        nodes.append(_make("Flatten", [f"float_{i}"], [f"flat_{i}"], axis=1))
    flat = [f"flat_{i}" for i in range(len(tensors))]
    nodes.append(_make("Concat", flat, ["raw"], axis=1))
    if "embedding" not in {tensor.name for tensor in tensors}:
        nodes.append(_make("Identity", ["raw"], ["embedding"]))
    return nodes


def _make(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> NodeProto:
    def inner(name: str) -> str:
        return name if name in _OUTPUTS else _HEAD + name

    return helper.make_node(op, [inner(n) for n in inputs], [inner(n) for n in outputs], **attributes)


def _features(features: FeatureMap) -> list[NodeProto]:
    nodes = [
        _make("Sub", ["raw", "mean"], ["centred"]),
        _make("Div", ["centred", "scale"], ["scaled"]),
        _make("Clip", ["scaled", "low", "high"], ["standard"]),
    ]
    if not len(features.landmarks):
        return [*nodes, _make("Identity", ["standard"], ["features"])]
    return [
        *nodes,
        _make("Mul", ["standard", "standard"], ["squares"]),
        _make("ReduceSum", ["squares", "columns"], ["square"], keepdims=1),
        _make("MatMul", ["standard", "landmarks_t"], ["product"]),
        _make("Mul", ["product", "minus_two"], ["cross"]),
        _make("Add", ["square", "cross"], ["partial"]),
        _make("Add", ["partial", "landmarks_square"], ["distance"]),
        _make("Max", ["distance", "zero"], ["distance_positive"]),
        _make("Mul", ["distance_positive", "minus_gamma"], ["exponent"]),
        _make("Exp", ["exponent"], ["kernel"]),
        _make("Concat", ["standard", "kernel"], ["features"], axis=1),
    ]


def _heads(*, whole: bool, form: Form = Form.CLASSES, asks: bool = False) -> list[NodeProto]:
    heads = _make("Gemm", ["features", "weights", "bias"], ["logits_flat"])
    return [heads, *_committee(whole=whole, form=form, asks=asks)]


def _trees(model: TreeModel) -> list[NodeProto]:
    return [
        tree_nodes(model.forest, _HEAD + "raw", _HEAD + "forest"),
        *_smoothed("forest"),
        *_committee(whole=False),
    ]


def _smoothed(source: str) -> list[NodeProto]:
    return [
        _make("Mul", [source, "keep"], ["kept"]),
        _make("Add", ["kept", "spread"], ["smooth"]),
        _make("Log", ["smooth"], ["logits_flat"]),
    ]


def _answers(form: Form) -> list[NodeProto]:
    if form is Form.VALUES:
        return [
            _make("Reshape", ["logits_flat", "head_shape"], ["numbers"]),
            _make("Clip", ["numbers", "least", "most"], ["by_event"]),
        ]
    squash = {"op": "Sigmoid"} if form is Form.MULTI else {"op": "Softmax", "axis": 2}
    return [
        _make("Div", ["logits_flat", "temperature"], ["logits_calibrated"]),
        _make("Reshape", ["logits_calibrated", "head_shape"], ["logits"]),
        _make(inputs=["logits"], outputs=["by_event"], **squash),
    ]


def _committee(*, whole: bool, form: Form = Form.CLASSES, asks: bool = False) -> list[NodeProto]:
    heads = _answers(form)
    axes, said = ("both", "values") if form is Form.VALUES else ("columns", "probabilities")
    if whole:
        second = [
            _make("Slice", ["by_event", "second", "third", "columns"], ["asked"]),
            _make("Squeeze", ["asked", axes], ["asking"]),
        ]
        return [
            *heads,
            _make("Slice", ["by_event", "first", "second", "columns"], ["served"]),
            _make("Squeeze", ["served", axes], [said]),
            *(second if asks else []),
            _make("Slice", ["by_event", "third" if asks else "second", "end", "columns"], ["of_members"]),
            _make("Transpose", ["of_members"], ["members"], perm=[1, 0, 2]),
        ]
    # ReduceSum and not ReduceMean: its axes are an input in every opset from 13 on, so the heads fit behind any encoder.
    return [
        *heads,
        _make("Transpose", ["by_event"], ["members"], perm=[1, 0, 2]),
        _make("ReduceSum", ["by_event", "columns"], ["summed"], keepdims=0),
        _make("Div", ["summed", "count"], ["probabilities"]),
    ]


def _onnx_type(tensor: TensorSpec) -> int:
    return int(helper.np_dtype_to_tensor_dtype(NUMPY_OF[tensor.datatype]))
