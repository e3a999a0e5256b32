"""The mechanical half of the gate through its real child process: what is refused, and against whom speed is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.models import dense, manifest_of, model_of, project_of, softmax
from tiebreak.contracts.candidate import Candidate, Evaluation, Golden, Interval, Paired
from tiebreak.contracts.project import Project
from tiebreak.deployment.port import Served
from tiebreak.deployment.sandbox import SandboxProbe

NONE = Interval(0.0, 0.0, 1.0, 0)
WEIGHTS = np.eye(4, 3, dtype=np.float32)
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
FAST = dense(WEIGHTS, squash="Softmax", output="probabilities")


def deep(layers: int, width: int = 512) -> bytes:
    """The same answers as FAST, after so many layers that cost the same each."""
    nodes = [helper.make_node("MatMul", ["x", "in"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{i}", "square"], [f"h{i + 1}"]) for i in range(layers)]
    nodes += [
        helper.make_node("MatMul", [f"h{layers}", "out"], ["nothing"]),
        helper.make_node("MatMul", ["x", "w"], ["plain"]),
        helper.make_node("Add", ["plain", "nothing"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    shapes = {"in": (4, width), "square": (width, width), "out": (width, 3)}
    constants: dict[str, Any] = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    graph = helper.make_graph(
        nodes,
        "deep",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(value, name) for name, value in {**constants, "w": WEIGHTS}.items()],
    )
    return model_of(graph)


def candidate(project: Project, model: bytes, answers: Any = None) -> Candidate:
    golden = Golden({"x": ROWS}, np.asarray(softmax(ROWS @ WEIGHTS) if answers is None else answers, np.float32))
    return Candidate(
        manifest_of(project, model, "v2"), model, Evaluation("v1", Paired(), Paired(), NONE, NONE), golden, "d"
    )


@pytest.mark.parametrize(("ratio", "refused"), [(1.15, True), (100.0, False)])
async def test_a_challenger_slower_than_the_project_allows_is_refused(ratio: float, refused: bool) -> None:
    """Same answers, twice the layers: `gate.max_cost_ratio` decides, and the reason names ratio and difference."""
    project = project_of(gate={"max_cost_ratio": ratio})
    champion = deep(40)
    reasons = await SandboxProbe(project).check(
        candidate(project, deep(80)), Served(manifest_of(project, champion, "v1"), champion)
    )
    assert len(reasons) == refused
    assert all("us more per event" in reason and "gate.max_cost_ratio = 1.15" in reason for reason in reasons)


async def test_small_steps_do_not_add_up_past_what_was_accepted() -> None:
    """Hardly dearer than the champion and much dearer than the model that people last accepted: refused, and the reason names it."""
    project = project_of()
    accepted, champion = (Served(manifest_of(project, deep(n), f"v{n}"), deep(n)) for n in (40, 75))
    probe, challenger = SandboxProbe(project), candidate(project, deep(80))
    assert await probe.check(challenger, champion) == ()
    (reason,) = await probe.check(challenger, champion, accepted)
    assert "times that of v40" in reason


async def test_a_difference_that_no_event_feels_is_none() -> None:
    """Many times the champion's cost, and still next to nothing: a head that became a forest is let through."""
    project = project_of()
    champion = Served(manifest_of(project, FAST, "v1"), FAST)
    assert await SandboxProbe(project).check(candidate(project, deep(10, width=64)), champion) == ()


async def test_the_first_model_and_an_equal_one_pass() -> None:
    """With nothing to compare with, and with a champion just as fast, speed is no reason."""
    project = project_of()
    probe = SandboxProbe(project)
    assert await probe.check(candidate(project, FAST), None) == ()
    assert await probe.check(candidate(project, FAST), Served(manifest_of(project, FAST, "v1"), FAST)) == ()


async def test_a_champion_that_does_not_load_compares_with_nothing() -> None:
    """The serving file is torn: the challenger is judged on its own."""
    project = project_of()
    champion = Served(manifest_of(project, b"torn", "v1"), b"torn")
    assert await SandboxProbe(project).check(candidate(project, deep(40)), champion) == ()


async def test_another_answer_on_the_golden_batch_is_refused() -> None:
    """The graph does not say what the learner said: the reason tells by how much."""
    project = project_of()
    reasons = await SandboxProbe(project).check(candidate(project, FAST, np.full((2, 3), 1 / 3)), None)
    assert "The golden batch is off by" in reasons[0]
