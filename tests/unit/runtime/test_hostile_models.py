"""Model files that somebody made to do harm: where external data points, functions that grow, bombs, cuts and flipped bits."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.support.models import dense, model_of, points, project_of
from tiebreak.contracts.errors import ModelRefused
from tiebreak.runtime.model_graph import parse, refuse_unsafe
from tiebreak.runtime.sandbox import Limits, Sandbox, check_model, wanted_by

W3 = points(4, 3, seed=1)
GOOD = dense(W3, squash="Softmax")
WANTED = wanted_by(project_of())


@pytest.mark.parametrize(
    "entries",
    [
        *[
            {"location": where}
            for where in ("../x", "/etc/passwd", "a/../../b", "/dev/zero", "w.bin", "", "C:\\x", "a\0b")
        ],
        {"location": "*/_ORT_MEM_ADDR_/*", "offset": "4096", "length": "48"},
        {"offset": "-1", "length": "9223372036854775807"},
        {"location": "w.bin", "checksum": "0", "__class__": "x", "basepath": "/"},
    ],
    ids=str,
)
def test_wherever_external_data_points_the_file_is_refused(entries: dict[str, str]) -> None:
    """Out of the folder, at a device, beside the model, at an address in memory: the path is not looked at."""
    proto = parse(GOOD)
    tensor = proto.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    with pytest.raises(ModelRefused, match="keeps its data outside the file"):
        refuse_unsafe(proto, 1000)


def doubling(depth: int) -> ModelProto:
    """Functions of which each calls the one before it twice: 2 ** depth nodes in a few hundred bytes."""
    proto = parse(GOOD)
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for i in range(depth + 1):
        inner = {"op_type": f"f{i - 1}", "domain": "own"} if i else {"op_type": "Identity", "domain": ""}
        nodes = [
            helper.make_node(inputs=["a"], outputs=["b"], **inner),
            helper.make_node(inputs=["b"], outputs=["c"], **inner),
        ]
        proto.functions.append(helper.make_function("own", f"f{i}", ["a"], ["c"], nodes, opset))
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.graph.node[0].input[0] = "x_"
    proto.graph.node.insert(0, helper.make_node(f"f{depth}", ["x"], ["x_"], domain="own"))
    return proto


def test_functions_that_multiply_are_counted_written_out() -> None:
    """Sixty nodes in the file, a billion once onnxruntime has put the bodies in place of the calls."""
    assert refuse_unsafe(doubling(3), 1000) == 11
    with pytest.raises(ModelRefused, match="written out, the graph has more than 20000 nodes"):
        refuse_unsafe(doubling(29), 20_000)


def test_functions_that_call_themselves_are_refused() -> None:
    """Directly, or one the other; and chains too deep to be meant."""
    proto = doubling(1)
    proto.functions[0].node[0].op_type, proto.functions[0].node[0].domain = "f1", "own"
    for file in (proto, doubling(40)):
        with pytest.raises(ModelRefused, match="call one another more than 32 deep"):
            refuse_unsafe(file, 10**15)


def grown(operator: str, *sizes: Any, **attributes: Any) -> bytes:
    """``x @ w`` plus the largest number of what ``operator`` makes of one row."""
    constants = {f"s{i}": np.array(size) for i, size in enumerate(sizes) if size is not None}
    inputs = [f"s{i}" if size is not None else "" for i, size in enumerate(sizes)]
    nodes = [
        helper.make_node(operator, ["x", *inputs], ["huge"], **attributes),
        helper.make_node("ReduceMax", ["huge"], ["most"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["row"]),
        helper.make_node("Add", ["row", "most"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "grown",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [*(numpy_helper.from_array(v, k) for k, v in constants.items()), numpy_helper.from_array(W3, "w")],
    )
    return model_of(graph)


def nan_at_zero() -> bytes:
    """Sound but for one input: it divides by the sum of the row."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["row"]),
        helper.make_node("ReduceSum", ["x", "axis"], ["sum"]),
        helper.make_node("Div", ["row", "sum"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "divides",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(W3, "w"), numpy_helper.from_array(np.array([1]), "axis")],
    )
    return model_of(graph)


def renamed() -> bytes:
    """Another input's name."""
    proto = parse(GOOD)
    proto.graph.node[0].input[0] = proto.graph.input[0].name = "pixels"
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (grown("Tile", [10**5, 10**7]), "fails|memory|ended the process"),
        (grown("Expand", [10**6, 10**6, 1, 1]), "fails|memory|ended the process"),
        (grown("Resize", None, np.array([1.0, 1e12], "<f4")), "fails|memory|ended the process"),
        (nan_at_zero(), "NaN or infinity"),
        (renamed(), "pixels|no input|input 'x'"),
    ],
    ids=["tile", "expand", "resize", "nan at one input", "input name"],
)
async def test_a_model_that_grows_or_breaks_on_one_input_is_refused(model: bytes, reason: str) -> None:
    """A terabyte asked for by one row; an answer that is none for one of five probes; a contract that is another's."""
    with pytest.raises(ModelRefused, match=reason):
        await check_model(model, WANTED, Limits())


async def test_a_file_cut_anywhere_or_with_flipped_bits_is_refused_or_sound() -> None:
    """Cut at each hundredth; a hundred and fifty times with some bits flipped: never another error, and the nursery lives."""
    rng, sandbox = random.Random(5), Sandbox(keep=True)
    cuts = [GOOD[: len(GOOD) * share // 100] for share in range(100)]
    broken = []
    for _ in range(150):
        flipped = bytearray(GOOD)
        for _ in range(rng.randint(1, 8)):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        broken.append(bytes(flipped))
    outcomes = []
    for file in (*cuts, *broken, GOOD):
        try:
            await sandbox.check(file, WANTED, Limits())
            outcomes.append("sound")
        except ModelRefused as refused:
            outcomes.append(refused.message)
    await sandbox.close()
    assert "sound" not in outcomes[:100]
    assert outcomes[-1] == "sound"
