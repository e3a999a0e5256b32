"""Every model file that must not serve is refused with its reason, and no file takes the checking process's parent with it."""

from __future__ import annotations

import asyncio
import random
import re
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest
from onnx import AttributeProto, ModelProto, SparseTensorProto, TensorProto, TrainingInfoProto, helper, numpy_helper

from tests.support.eventually import eventually
from tests.support.models import Array, committee, dense, model_of, points, project_of, softmax
from tiebreak.contracts.candidate import Golden
from tiebreak.contracts.errors import CheckLate, ModelRefused
from tiebreak.runtime.model_graph import parse, refuse_unsafe
from tiebreak.runtime.model_plan import ScoreKind, Wanted
from tiebreak.runtime.sandbox import Checked, Limits, Sandbox, check_model, wanted_by

W3 = points(4, 3, seed=1)
GOOD = dense(W3, squash="Softmax")
WANTED = wanted_by(project_of())
X = points(20)


async def check(model: bytes, wanted: Wanted = WANTED, limits: Limits | None = None, **more: Any) -> Checked:
    return await check_model(model, wanted, limits or Limits(), **more)


async def refusal(model: bytes, wanted: Wanted = WANTED, limits: Limits | None = None, **more: Any) -> str:
    with pytest.raises(ModelRefused) as caught:
        await check(model, wanted, limits, **more)
    return str(caught.value)


async def test_a_good_model_passes_with_the_plan_of_its_use() -> None:
    """What the child found out is what the parent serves with."""
    checked = await check(GOOD, golden=Golden({"x": X}, softmax(X @ W3)))
    assert checked.plan.kind is ScoreKind.PROBABILITIES
    assert (checked.plan.score, checked.plan.classes, checked.nodes) == ("output", ("a", "b", "c"), 2)
    assert checked.batch_rows == 256
    assert 0 < checked.batch_s < Limits().cpu_s


async def test_the_trainers_graph_passes() -> None:
    """Members and embedding are found."""
    checked = await check(committee(np.stack([W3, W3 * 2])))
    assert (checked.plan.members, checked.plan.embedding) == ("members", "embedding")


def external(tensor: TensorProto) -> TensorProto:
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return tensor


def in_initializer(proto: ModelProto) -> None:
    external(proto.graph.initializer[0])


def without_location_flag(proto: ModelProto) -> None:
    external(proto.graph.initializer[0]).data_location = TensorProto.DEFAULT


def in_sparse_values(proto: ModelProto) -> None:
    sparse = proto.graph.sparse_initializer.add()
    external(sparse.values)


def in_sparse_indices(proto: ModelProto) -> None:
    external(proto.graph.sparse_initializer.add().indices)


def in_constant(proto: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.zeros(2, np.float32)))
    external(node.attribute[0].t)
    proto.graph.node.append(node)


def in_sparse_constant(proto: ModelProto) -> None:
    sparse = SparseTensorProto()
    external(sparse.values)
    proto.graph.node.append(helper.make_node("Constant", [], ["c"], sparse_value=sparse))


def in_subgraph(proto: ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [], [external(numpy_helper.from_array(np.zeros(2, np.float32), "z"))])
    node = helper.make_node("If", ["x"], ["r"])
    node.attribute.append(helper.make_attribute("then_branch", inner))
    proto.graph.node.append(node)


def in_tensor_list(proto: ModelProto) -> None:
    attribute = AttributeProto(name="tensors", type=AttributeProto.TENSORS)
    attribute.tensors.append(external(numpy_helper.from_array(np.zeros(2, np.float32))))
    proto.graph.node[0].attribute.append(attribute)


def in_function(proto: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=external(numpy_helper.from_array(np.zeros(2, np.float32))))
    proto.functions.append(helper.make_function("mine", "f", [], ["c"], [node], [helper.make_opsetid("", 17)]))


def in_training_info(proto: ModelProto) -> None:
    info = TrainingInfoProto()
    info.algorithm.initializer.append(external(numpy_helper.from_array(np.zeros(2, np.float32), "z")))
    proto.training_info.append(info)


@pytest.mark.parametrize(
    "hide",
    [
        in_initializer,
        without_location_flag,
        in_sparse_values,
        in_sparse_indices,
        in_constant,
        in_sparse_constant,
        in_subgraph,
        in_tensor_list,
        in_function,
        in_training_info,
    ],
)
def test_external_data_is_refused_wherever_it_hides(hide: Callable[[ModelProto], None]) -> None:
    """A tensor that names a file is found in every place that a tensor may stand, before onnxruntime sees the model."""
    proto = parse(GOOD)
    hide(proto)
    with pytest.raises(ModelRefused, match="keeps its data outside the file"):
        refuse_unsafe(proto, 1000)


def test_dimensions_that_lie_are_refused() -> None:
    """Short buffers, negative and absurd sizes never reach onnxruntime."""
    for dims, reason in (
        ([4, 2], "do not fill"),
        ([-4, -3], "impossible"),
        ([2**40, 2**40], "impossible"),
        ([2**31], "impossible"),
    ):
        proto = parse(GOOD)
        proto.graph.initializer[0].dims[:] = dims
        with pytest.raises(ModelRefused, match=reason):
            refuse_unsafe(proto, 1000)


def test_foreign_operators_are_refused_and_the_files_own_functions_are_not() -> None:
    """A domain outside the standard ones needs code we do not have; a function that the file defines is standard code."""
    proto = parse(GOOD)
    proto.graph.node[0].domain = "evil.corp"
    with pytest.raises(ModelRefused, match=r"evil.corp.MatMul is outside"):
        refuse_unsafe(proto, 1000)
    proto.functions.append(helper.make_function("evil.corp", "MatMul", [], [], [], []))
    assert refuse_unsafe(proto, 1000) == 2


def test_a_graph_above_the_node_cap_is_refused() -> None:
    """Nodes in subgraphs count too."""
    with pytest.raises(ModelRefused, match="more than 1 nodes"):
        refuse_unsafe(parse(GOOD), 1)


def not_finite() -> bytes:
    weights: Array = np.full((4, 3), np.inf, np.float32)
    return dense(weights)


def sums_to_two() -> bytes:
    return dense(W3, squash="Sigmoid", output="probabilities")


def softmax_over_the_batch() -> bytes:
    proto = parse(GOOD)
    proto.graph.node[1].attribute[0].i = 0
    return bytes(proto.SerializeToString())


def cyclic() -> bytes:
    proto = parse(GOOD)
    proto.graph.node[0].input[0] = proto.graph.node[1].output[0]
    return bytes(proto.SerializeToString())


def random_answer() -> bytes:
    graph = helper.make_graph(
        [
            helper.make_node("RandomNormalLike", ["x"], ["noise"]),
            helper.make_node("MatMul", ["noise", "w"], ["logits"]),
        ],
        "noise",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(W3, "w")],
    )
    return model_of(graph)


def bomb(side: int = 10**6) -> bytes:
    """One small input asks for 4 TB."""
    graph = helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["s"], ["huge"]),
            helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0),
            helper.make_node("MatMul", ["x", "w"], ["row"]),
            helper.make_node("Add", ["row", "sum"], ["logits"]),
        ],
        "bomb",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.array([side, side]), "s"), numpy_helper.from_array(W3, "w")],
    )
    return model_of(graph)


def endless() -> bytes:
    """A loop of 2**62 turns."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "v"], ["w2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w2", TensorProto.FLOAT, None),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["row"]),
            helper.make_node("Loop", ["m", "t", "row"], ["logits"], body=body),
        ],
        "endless",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(np.array(2**62), "m"),
            numpy_helper.from_array(np.array(True), "t"),
            numpy_helper.from_array(W3, "w"),
        ],
    )
    return model_of(graph)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 a zip file", "not an ONNX model"),
        (GOOD[: len(GOOD) // 2], "not an ONNX model|no ONNX graph"),
        (dense(points(5, 3)), r"has shape \[\?, 5\] in the graph"),
        (dense(W3, dtype="int64"), "is INT64 in the graph"),
        (dense(points(4, 5)), "has 5 columns, there are 3 classes"),
        (not_finite(), "NaN or infinity"),
        (sums_to_two(), "do not sum to 1"),
        (softmax_over_the_batch(), "changes with the others|do not sum to 1"),
        (random_answer(), "not deterministic"),
        (bomb(), "fails|memory|ended the process"),
        (
            b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x07weights\x94]\x94G?\xf0\x00\x00\x00\x00\x00\x00as.",
            "not an ONNX model|no ONNX graph",
        ),
        (b"\x18\x00\x00\x00ORTM" + bytes(200), "not an ONNX model|no ONNX graph"),
        (str(parse(GOOD)).encode(), "not an ONNX model|no ONNX graph"),
        (random.Random(3).randbytes(5000), "not an ONNX model|no ONNX graph"),
        (dense(W3, opset=999), "does not load|fails"),
        (cyclic(), "does not load|fails"),
    ],
    ids=[
        *("empty", "zip", "cut", "shape", "dtype", "columns", "nan", "sum", "batch_axis", "random", "bomb"),
        *("pickle", "ort", "text", "noise", "opset", "cycle"),
    ],
)
async def test_a_model_that_must_not_serve_is_refused(model: bytes, reason: str) -> None:
    """Wrong file, wrong contract or wrong answers: one line that says which."""
    with pytest.raises(ModelRefused, match=reason):
        await check(model)


async def test_a_model_that_never_ends_is_stopped() -> None:
    """An endless loop in the graph costs the check its processor time and nothing else."""
    assert "used up its 1 s of processor time" in await refusal(endless(), limits=Limits(cpu_s=1))


async def test_a_machine_that_has_no_time_is_not_the_models_fault() -> None:
    """Stopped as a starved machine stops it: past its processor time by the clock it passes, and only the wall bound is late."""
    sandbox = Sandbox(keep=True)
    await sandbox.check(GOOD, WANTED, Limits())
    nursery = _children()[0]
    nursery.suspend()
    checking = asyncio.create_task(sandbox.check(GOOD, WANTED, Limits(cpu_s=0.05)))
    await asyncio.wait({checking}, timeout=0.2)
    assert not checking.done()
    nursery.resume()
    assert (await checking).nodes == 2
    nursery.suspend()
    with pytest.raises(CheckLate, match=r"within 0\.2 s by the clock.*the machine has other things to do"):
        await sandbox.check(GOOD, WANTED, Limits(wall_s=0.2))
    await sandbox.close()


async def test_a_model_above_the_size_cap_is_refused() -> None:
    """Before a child is started for it."""
    assert "more than 10" in await refusal(GOOD, limits=Limits(max_bytes=10))


async def test_a_golden_batch_that_is_off_is_refused() -> None:
    """A model that loads and answers, but not with the answers of its training."""
    assert "golden batch is off by" in await refusal(GOOD, golden=Golden({"x": X}, softmax(X @ W3)[:, ::-1]))


async def test_too_little_memory_is_a_refusal() -> None:
    """What the model asks for beyond its share is refused to it, and with it the model."""
    assert re.search("bad_alloc|Failed to allocate memory", await refusal(bomb(4000), limits=Limits(memory_bytes=1)))


async def test_a_crash_while_checking_is_a_refusal() -> None:
    """The child dies by a signal, as onnxruntime has made processes die: the parent says how, and lives."""
    checking = asyncio.create_task(refusal(endless()))
    child = await eventually(_forked)
    child[0].send_signal(signal.SIGSEGV)
    assert await checking == "The model ended the process that checked it (signal SIGSEGV). Serving is untouched."


async def test_a_check_that_is_cancelled_leaves_no_process() -> None:
    """Shutting down in the middle of a check waits for nothing and leaves nothing behind."""
    checking = asyncio.create_task(check(endless()))
    child = (await eventually(_forked))[0]
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    await eventually(lambda: not child.is_running())
    assert _children() == []


async def test_each_check_has_a_process_of_its_own() -> None:
    """A model that kills its process leaves the nursery as it was: the next one passes, and closing leaves no process."""
    sandbox = Sandbox(keep=True)
    sandbox.prepare()
    checking = asyncio.create_task(sandbox.check(endless(), WANTED, Limits()))
    (await eventually(_forked))[0].send_signal(signal.SIGSEGV)
    with pytest.raises(ModelRefused, match="signal SIGSEGV"):
        await checking
    nursery = _children()[0]
    checked = await sandbox.check(GOOD, WANTED, Limits(), golden=Golden({"x": X}, softmax(X @ W3)))
    assert (checked.plan.classes, _children()) == (("a", "b", "c"), [nursery])
    await sandbox.close()
    assert _children() == []


async def test_a_nursery_that_was_killed_is_no_models_fault() -> None:
    """The machine took its memory back between two checks: the model is checked all the same, and passes."""
    sandbox = Sandbox(keep=True)
    await sandbox.check(GOOD, WANTED, Limits())
    nursery = _children()[0]
    nursery.kill()
    await eventually(lambda: not nursery.is_running())
    assert (await sandbox.check(GOOD, WANTED, Limits())).nodes == 2
    await sandbox.close()


def _forked() -> list[psutil.Process]:
    """The processes in which models are, without the nurseries they came from."""
    known = _children()
    return [p for p in known if p.parent() in known]


def _children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if _ours(p)]


def _ours(process: psutil.Process) -> bool:
    try:
        return "tiebreak.runtime.sandbox_child" in process.cmdline()
    except psutil.Error:
        return False  # it has ended meanwhile
