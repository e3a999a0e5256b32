"""A user's encoder made ready to stand in front of heads: bytes in, bytes out. Pure.

The result has the encoder's inputs under their own names, every other name behind ``encoder/``, and two outputs: ``embedding``,
float32 ``(n, d)``, and ``values`` ``(n, 1)``, its sum, so that the checks of any model (``sandbox.py``) fit the bare encoder too.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper

from tiebreak.contracts.errors import ModelRefused
from tiebreak.runtime.model_graph import Port, describe, parse, refuse_unsafe

EMBEDDING, VALUES = "embedding", "values"
_PREFIX = "encoder/"
_OLDEST_OPSET = 13  # the heads' operators mean the same in every opset from here on
_OLDEST_IR = 8
_FLOATS = frozenset({"FP16", "FP32", "FP64"})


def bare_encoder(model: bytes, max_nodes: int) -> bytes:
    """The encoder alone, ready to be extended. Raises ModelRefused with what to change. The same file gives the same bytes."""
    proto = parse(model)
    refuse_unsafe(proto, max_nodes)
    graph = describe(proto)
    opset = max((entry.version for entry in proto.opset_import if entry.domain in {"", "ai.onnx"}), default=0)
    if opset < _OLDEST_OPSET:
        raise ModelRefused(
            f"The encoder uses opset {opset}, {_OLDEST_OPSET} is the oldest that can be extended.",
            fix="Export it again with a newer opset.",
        )
    for port in graph.inputs:
        if port.shape is not None and port.shape[:1] != (None,):
            raise ModelRefused(
                f"The encoder's input {port.name!r} has a fixed batch size.", fix="Export it with a free first axis."
            )
        if port.name in {EMBEDDING, VALUES, "probabilities", "asking", "members"}:
            raise ModelRefused(
                f"The encoder's input {port.name!r} has the name of an output of ours.", fix="Rename it."
            )
    return _extended(proto, _output_of(graph.outputs))


def _output_of(ports: tuple[Port, ...]) -> str:
    floats = [port.name for port in ports if port.datatype in _FLOATS]
    if EMBEDDING in floats:
        return EMBEDDING
    if len(floats) != 1:
        raise ModelRefused(
            f"It is not clear which of the encoder's outputs {[port.name for port in ports]} is the embedding.",
            fix=f"Call it {EMBEDDING!r}.",
        )
    return floats[0]


def _extended(proto: ModelProto, output: str) -> bytes:
    inner = compose.add_prefix(proto, _PREFIX, rename_inputs=False)
    inner.ir_version = max(inner.ir_version, _OLDEST_IR)
    inner.graph.node.extend(
        [
            helper.make_node("Cast", [_PREFIX + output], ["encoder/float"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["encoder/float"], [EMBEDDING], axis=1),
            helper.make_node("ReduceSum", [EMBEDDING, "encoder/columns"], [VALUES], keepdims=1),
        ]
    )
    inner.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "encoder/columns"))
    del inner.graph.output[:]
    inner.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in ((EMBEDDING, "d"), (VALUES, 1))
    )
    return bytes(inner.SerializeToString(deterministic=True))
