"""The projects and models that the speed figures are measured with."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tiebreak.contracts.project import Project

WIDTH = 64
CLASSES = ("a", "b", "c", "d")
SMALL_LAYERS = (WIDTH, 32, len(CLASSES))
# Several ms per row on one core of 2020s hardware, 0.3 in large batches; the benchmark measures it and says what it was.
HEAVY_LAYERS = (WIDTH, *[2048] * 9, len(CLASSES))


def project(name: str, model_file: str, *, fields: bool = False, partitions: int = 4, max_batch: int = 4096) -> Project:
    """A project of 64 floats, scored by ``model_file``; all else as a user gets it. ``fields``: JSON events with 64 named numbers."""
    return Project.model_validate(
        {
            "project": name,
            "partitions": partitions,
            "input": {
                "tensors": [{"name": "x", "shape": [WIDTH]}],
                "fields": field_names() if fields else [],
            },
            "classes": {"names": list(CLASSES)},
            "model": {"source": "file", "file": model_file},
            "scoring": {"max_batch": max_batch},
        }
    )


def field_names() -> tuple[str, ...]:
    """The names of the 64 numbers of a JSON event."""
    return tuple(f"f{number:02d}" for number in range(WIDTH))


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    """``(count, 64)`` standard normal inputs."""
    return np.random.default_rng(seed).standard_normal((count, WIDTH), dtype=np.float32)


def perceptron(layers: tuple[int, ...], seed: int = 0) -> bytes:
    """A multilayer perceptron with ReLU and softmax as an ONNX file. Random weights: speed does not ask what it knows."""
    rng = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for number, (rows, columns) in enumerate(pairwise(layers)):
        matrix = (rng.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)
        weights += [
            numpy_helper.from_array(matrix, f"w{number}"),
            numpy_helper.from_array(np.zeros(columns, np.float32), f"b{number}"),
        ]
        nodes.append(helper.make_node("Gemm", [last, f"w{number}", f"b{number}"], [f"h{number}"]))
        last = f"h{number}"
        if number < len(layers) - 2:
            nodes.append(helper.make_node("Relu", [last], [f"r{number}"]))
            last = f"r{number}"
    nodes.append(helper.make_node("Softmax", [last], ["probabilities"], axis=-1))
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", layers[0]])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", layers[-1]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    return model.SerializeToString()
