"""Real ONNX files for tests: exported by skl2onnx, or built with ``onnx.helper`` in the shapes that PyTorch exports have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from skl2onnx import to_onnx

from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.project import Project

Array = NDArray[Any]
_ONNX_OF = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
}


def project_of(shape: Sequence[int] = (4,), classes: Sequence[str] = ("a", "b", "c"), **sections: Any) -> Project:
    """A project with one float vector ``x``."""
    return Project.model_validate(
        {
            "project": "test",
            "input": {"tensors": [{"name": "x", "shape": list(shape)}]},
            "classes": {"names": list(classes)},
            **sections,
        }
    )


def points(rows: int = 300, width: int = 4, seed: int = 0) -> Array:
    """``(rows, width)`` float32 noise."""
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def exported(estimator: Any, sample: Array, *, name: str = "x", zipmap: bool | None = None) -> bytes:
    """A fitted scikit-learn estimator as ONNX, as a user would export it."""
    options = None if zipmap is None else {id(estimator): {"zipmap": zipmap}}
    proto = to_onnx(estimator, sample[:1], options=options)
    return renamed(proto, proto.graph.input[0].name, name).SerializeToString()


def renamed(proto: ModelProto, old: str, new: str) -> ModelProto:
    """The graph with an input's name changed."""
    for node in proto.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
    for value in proto.graph.input:
        value.name = new if value.name == old else value.name
    return proto


def of_few_rows(weights: Array, most: int) -> bytes:
    """``x @ weights`` that fails on more than ``most`` rows: it looks the number of rows up in a table that is too short."""
    nodes = [
        helper.make_node("Shape", ["x"], ["rows"], start=0, end=1),
        helper.make_node("Gather", ["ones", "rows"], ["one"]),
        helper.make_node("MatMul", ["x", "w"], ["logits_"]),
        helper.make_node("Mul", ["logits_", "one"], ["output"]),
    ]
    return _model(nodes, {"w": weights, "ones": np.ones(most + 1, np.float32)}, weights.shape)


def deep(inputs: int, outputs: int, width: int, layers: int = 4) -> bytes:
    """A chain of ``layers`` square products between ``inputs`` and ``outputs``: a model that takes its time."""
    sizes = [inputs, *[width] * layers, outputs]
    weights = {f"w{i}": points(a, b, seed=i) / a for i, (a, b) in enumerate(pairwise(sizes))}
    names = ["x", *(f"h{i}" for i in range(layers)), "output"]
    nodes = [
        helper.make_node("MatMul", [before, weight], [after])
        for before, weight, after in zip(names, weights, names[1:], strict=False)
    ]
    return _model(nodes, weights, (inputs, outputs))


def _model(nodes: Sequence[NodeProto], weights: Mapping[str, Array], shape: tuple[int, ...]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", shape[0]])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", shape[1]])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10).SerializeToString()


def dense(
    weights: Array,
    *,
    squash: str = "",
    output: str = "output",
    batch: int | str | None = "batch_size",
    dtype: str = "float32",
    opset: int = 17,
) -> bytes:
    """``x @ weights``, then ``squash`` (Softmax, Sigmoid, LogSoftmax): what ``torch.onnx.export`` gives for a linear head.

    ``dtype`` is that of the input; whole numbers are cast to float32 first, as an image model does.
    """
    whole = dtype in {"int64", "uint8"}
    inner = np.dtype("float32" if whole else dtype)
    nodes = [helper.make_node("Cast", ["x"], ["cast"], to=TensorProto.FLOAT)] if whole else []
    nodes.append(helper.make_node("MatMul", ["cast" if whole else "x", "w"], [output if not squash else "logits_"]))
    if squash:
        axis: dict[str, Any] = {} if squash == "Sigmoid" else {"axis": -1}
        nodes.append(helper.make_node(squash, ["logits_"], [output], **axis))
    kind = _ONNX_OF[dtype]
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", kind, [batch, weights.shape[0]])],
        [helper.make_tensor_value_info(output, _ONNX_OF[inner.name], [batch, weights.shape[1]])],
        [numpy_helper.from_array(weights.astype(inner), "w")],
    )
    return model_of(graph, opset)


def committee(weights: Array) -> bytes:
    """A graph as Tiebreak's trainer makes it. ``weights`` ``(m, d, k)``: ``members``, their mean ``probabilities``, ``embedding``."""
    size = weights.shape[1]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["members"], axis=-1),
            helper.make_node("ReduceMean", ["members"], ["probabilities"], axes=[0], keepdims=0),
            helper.make_node("Tanh", ["x"], ["embedding"]),
        ],
        "committee",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", size])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", weights.shape[2]]),
            helper.make_tensor_value_info("members", TensorProto.FLOAT, [weights.shape[0], "n", weights.shape[2]]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", size]),
        ],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    return model_of(graph)


def model_of(graph: Any, opset: int = 17) -> bytes:
    """A graph as a file."""
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(proto.SerializeToString())


def manifest_of(project: Project, model: bytes, version: str, **changes: Any) -> Manifest:
    """The manifest that goes with ``model``."""
    fields: Mapping[str, Any] = {
        "project": project.project,
        "version": version,
        "sha256": sha256(model).hexdigest(),
        "size_bytes": len(model),
        "inputs": {tensor.name: (tensor.datatype, tensor.shape) for tensor in project.input.tensors},
        "classes": project.classes.names,
        "temperature": 1.0,
        "dataset_version": 1,
        "created_ms": 1,
    }
    return Manifest(**{**fields, **changes})


def softmax(logits: Array) -> Array:
    """Rows that sum to 1."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
