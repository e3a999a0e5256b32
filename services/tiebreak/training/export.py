"""A fitted committee as one ONNX graph, and back. The same state gives the same bytes. Pure: bytes out, bytes in.

inputs -> Flatten -> ``embedding`` (the raw values, so that features stay comparable over versions of the model) -> standardise
-> kernels at the landmarks -> heads -> ``members`` ``(m, n, k)`` -> mean -> ``probabilities`` ``(n, k)``. The temperature is inside.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from tiebreak.contracts.errors import ConfigError, ModelRefused
from tiebreak.contracts.project import TensorSpec
from tiebreak.contracts.tensors import NUMPY_OF, FloatArray, Tensors
from tiebreak.training.features import CLIP, FeatureMap
from tiebreak.training.learner import Model

OPSET = 17
IR_VERSION = 8
PRODUCER = "tiebreak.softmax_committee"


def width_of(tensors: Sequence[TensorSpec]) -> int:
    """How many features an event has. Raises ConfigError for tensors that have no numbers in them."""
    for tensor in tensors:
        if tensor.datatype == "BYTES":
            raise ConfigError(
                f"input.tensors: {tensor.name!r} has datatype BYTES, which the trainer cannot learn from.",
                fix="Send embeddings as FP32, or serve your own model with model.source: file.",
            )
    return sum(int(np.prod(tensor.shape)) for tensor in tensors)


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


def export(model: Model, tensors: Sequence[TensorSpec], temperature: float) -> bytes:
    """The ONNX file. Its inputs are the project's tensors with a free batch axis."""
    nodes = [*_embedding(tensors), *_features(model.features), *_heads()]
    _, m, k = model.weights.shape
    constants = _constants(model, temperature)
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        PRODUCER,
        [helper.make_tensor_value_info(t.name, _onnx_type(t), ["n", *t.shape]) for t in tensors],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", k]),
            helper.make_tensor_value_info("members", TensorProto.FLOAT, [m, "n", k]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", len(model.features.mean)]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in sorted(constants.items()) if name in used],
    )
    facts = {
        "classes": list(model.classes),
        "gamma": model.features.gamma,
        "members": m,
        "seed": model.seed,
        "temperature": float(np.float32(temperature)),
    }
    proto = helper.make_model(
        graph, producer_name=PRODUCER, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    helper.set_model_props(proto, {"tiebreak": json.dumps(facts, sort_keys=True)})
    checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString(deterministic=True))


def read_back(data: bytes) -> tuple[Model, float] | None:
    """The model and temperature that :func:`export` wrote, or None for a graph that is not ours. Raises ModelRefused if torn."""
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
        if proto.producer_name != PRODUCER:
            return None
        facts = json.loads({p.key: p.value for p in proto.metadata_props}["tiebreak"])
        arrays = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
        classes, m = tuple(facts["classes"]), int(facts["members"])
        mean = arrays["mean"]
        landmarks = np.ascontiguousarray(arrays.get("landmarks_t", np.zeros((len(mean), 0), np.float32)).T)
        features = FeatureMap(mean, arrays["scale"], landmarks, float(facts["gamma"]))
        weights, bias = arrays["weights"].reshape(-1, m, len(classes)), arrays["bias"].reshape(m, len(classes))
        return Model(classes, features, weights, bias, int(facts["seed"])), float(facts["temperature"])
    except Exception as error:  # protobuf, json and numpy each have their own way to say "torn"
        raise ModelRefused("The file names Tiebreak's trainer as its maker but does not hold its state.") from error


def _constants(model: Model, temperature: float) -> dict[str, NDArray[Any] | np.generic]:
    f = model.features
    p, m, k = model.weights.shape
    return {
        "mean": f.mean,
        "scale": f.scale,
        "low": np.float32(-CLIP),
        "high": np.float32(CLIP),
        "zero": np.float32(0.0),
        "minus_two": np.float32(-2.0),
        "minus_gamma": np.float32(-f.gamma),
        "landmarks_t": np.ascontiguousarray(f.landmarks.T),
        "landmarks_square": (f.landmarks**2).sum(axis=1, dtype=np.float32),
        "weights": model.weights.reshape(p, m * k),
        "bias": model.bias.reshape(m * k),
        "temperature": np.float32(temperature),
        "head_shape": np.array([-1, m, k], np.int64),
    }


def _embedding(tensors: Sequence[TensorSpec]) -> list[NodeProto]:
    nodes = []
    for i, tensor in enumerate(tensors):
        nodes.append(helper.make_node("Cast", [tensor.name], [f"float_{i}"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Flatten", [f"float_{i}"], [f"flat_{i}"], axis=1))
    flat = [f"flat_{i}" for i in range(len(tensors))]
    nodes.append(helper.make_node("Concat", flat, ["embedding"], axis=1))
    return nodes


def _features(features: FeatureMap) -> list[NodeProto]:
    make = helper.make_node
    nodes = [
        make("Sub", ["embedding", "mean"], ["centred"]),
        make("Div", ["centred", "scale"], ["scaled"]),
        make("Clip", ["scaled", "low", "high"], ["standard"]),
    ]
    if not len(features.landmarks):
        return [*nodes, make("Identity", ["standard"], ["features"])]
    return [
        *nodes,
        make("ReduceSumSquare", ["standard"], ["square"], axes=[1], keepdims=1),
        make("MatMul", ["standard", "landmarks_t"], ["product"]),
        make("Mul", ["product", "minus_two"], ["cross"]),
        make("Add", ["square", "cross"], ["partial"]),
        make("Add", ["partial", "landmarks_square"], ["distance"]),
        make("Max", ["distance", "zero"], ["distance_positive"]),
        make("Mul", ["distance_positive", "minus_gamma"], ["exponent"]),
        make("Exp", ["exponent"], ["kernel"]),
        make("Concat", ["standard", "kernel"], ["features"], axis=1),
    ]


def _heads() -> list[NodeProto]:
    make = helper.make_node
    return [
        make("Gemm", ["features", "weights", "bias"], ["logits_flat"]),
        make("Div", ["logits_flat", "temperature"], ["logits_calibrated"]),
        make("Reshape", ["logits_calibrated", "head_shape"], ["logits"]),
        make("Softmax", ["logits"], ["by_event"], axis=2),
        make("Transpose", ["by_event"], ["members"], perm=[1, 0, 2]),
        make("ReduceMean", ["by_event"], ["probabilities"], axes=[1], keepdims=0),
    ]


def _onnx_type(tensor: TensorSpec) -> int:
    return int(helper.np_dtype_to_tensor_dtype(NUMPY_OF[tensor.datatype]))
