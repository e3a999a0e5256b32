"""Whether the gate tells a model that costs 30 % more from one that costs the same, through its real child process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.support.models import manifest_of, model_of, project_of
from tiebreak.contracts.candidate import Candidate, Evaluation, Golden, Interval, Paired
from tiebreak.contracts.project import Project
from tiebreak.deployment.port import Served
from tiebreak.deployment.sandbox import SandboxProbe
from tiebreak.runtime.model_graph import describe, parse
from tiebreak.runtime.model_plan import plan_model
from tiebreak.runtime.onnx_session import ModelSession
from tiebreak.runtime.sandbox import Sandbox, wanted_by

_WIDTH = 64
_NONE = Interval(0.0, 0.0, 1.0, 0)


@dataclass(frozen=True, slots=True)
class Refused:
    """Of how many challengers of each kind: refused though they cost the same, and refused where they cost 1.3 times as much."""

    same: int
    dearer: int


async def refused(runs: int, units: int = 1024, layers: int = 20) -> Refused:
    """A perceptron against one with other weights, and against one with 1.3 times the layers."""
    sandbox = Sandbox(keep=True)
    try:
        found = [
            [await _refused(sandbox, run, units, layers, n) for run in range(runs)] for n in (layers, 13 * layers // 10)
        ]
    finally:
        await sandbox.close()
    return Refused(*map(sum, found))


async def creep(steps: int = 8, units: int = 1024, layers: int = 20) -> float:
    """Challengers each a tenth dearer than the champion, which they follow if let through: the last one's cost over the first one's.

    Layers of 512 units at rest stay below the gate's floor of 30 µs per event, where nothing is held.
    """
    project, sandbox = _project(), Sandbox(keep=True)
    probe = SandboxProbe(project, sandbox)
    serving, first = layers, _served(project, units, layers)
    champion = first
    try:
        for _ in range(steps):
            dearer = _served(project, units, serving + max(1, serving // 10))
            reasons = await probe.check(
                _candidate(project, dearer.model), champion, None if champion is first else first
            )
            if any("gate.max_cost_ratio" in reason for reason in reasons):
                break
            if reasons:
                raise RuntimeError(f"A challenger was refused for something else than its cost: {reasons}")
            serving, champion = serving + max(1, serving // 10), dearer
    finally:
        await sandbox.close()
    return serving / layers


def _project() -> Project:
    # The child gives way to whatever else runs here: a busy machine shall not be the reason.
    return project_of((_WIDTH,), gate={"probe_timeout_s": 300.0})


def _served(project: Project, units: int, layers: int) -> Served:
    model = perceptron(units, layers, layers)
    return Served(manifest_of(project, model, f"v{layers}"), model)


async def _refused(sandbox: Sandbox, run: int, units: int, layers: int, challenging: int) -> bool:
    project = _project()
    before, after = perceptron(units, layers, 2 * run), perceptron(units, challenging, 2 * run + 1)
    champion = Served(manifest_of(project, before, "v1"), before)
    reasons = await SandboxProbe(project, sandbox).check(_candidate(project, after), champion)
    return any("gate.max_cost_ratio" in reason for reason in reasons)


def _candidate(project: Project, model: bytes) -> Candidate:
    plan = plan_model(describe(parse(model)), wanted_by(project))
    rows = np.random.default_rng(1).normal(size=(16, _WIDTH)).astype(np.float32)
    golden = Golden({"x": rows}, ModelSession(model, plan).answer({"x": rows}).probabilities)
    evaluation = Evaluation("v1", Paired(), Paired(), _NONE, _NONE)
    return Candidate(manifest_of(project, model, "v2"), model, evaluation, golden, "d")


def perceptron(units: int, layers: int, seed: int) -> bytes:
    """``layers`` of ``units`` rectified ones over 64 numbers, and three classes."""
    rng = np.random.default_rng(seed)
    nodes, weights, width = [], [], _WIDTH
    for i in range(layers):
        drawn = rng.standard_normal((width, units), np.float32) * np.float32(np.sqrt(2.0 / width))
        weights.append(numpy_helper.from_array(drawn, f"w{i}"))
        nodes.append(helper.make_node("MatMul", [f"h{i - 1}" if i else "x", f"w{i}"], [f"m{i}"]))
        nodes.append(helper.make_node("Relu", [f"m{i}"], [f"h{i}"]))
        width = units
    weights.append(numpy_helper.from_array(rng.standard_normal((width, 3), np.float32) / np.float32(width), "w"))
    nodes.append(helper.make_node("MatMul", [f"h{layers - 1}", "w"], ["logits"]))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1))
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", _WIDTH])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])],
        weights,
    )
    return model_of(graph)
