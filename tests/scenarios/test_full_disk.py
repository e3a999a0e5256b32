"""A disk without room under the trainer: it says that it is not ready and what to do, and goes on by itself once there is room."""

from __future__ import annotations

import resource
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.labels import make_label
from tests.support.processes import process
from tests.support.training import publish_labels
from tiebreak.apps.up import ensure_topics
from tiebreak.apps.wiring import open_log
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.settings import Options, resolve
from tiebreak.training.sqlite import Ledger

pytestmark = [pytest.mark.scenario, pytest.mark.redis]

PROJECT = """
input: {tensors: [{name: x, shape: [3]}]}
classes: {names: [cat, dog, bird]}
training: {step_s: 0.2}
"""


async def test_a_trainer_without_room_for_its_ledger_is_not_ready_until_there_is(
    redis_url: str, project_name: str, tmp_path: Path
) -> None:
    """No file of its may grow, as on a full disk: `/health/ready` names the ledger and says to make room; then the label is in it."""
    file = tmp_path / "project.yaml"
    file.write_text(f"project: {project_name}\n{PROJECT}")
    project, settings = load_project(file), resolve(Options("", redis_url, str(tmp_path)), {})
    await ensure_topics(project, settings)
    async with open_log(settings) as log, httpx.AsyncClient() as client, process("train", file, settings) as train:

        async def ready() -> tuple[int, str]:
            answer = await client.get(f"{train.part.address}/health/ready")
            return answer.status_code, answer.json()["checks"]["disk"]

        assert train.pid is not None
        assert await ready() == (200, "ok")
        limits = resource.prlimit(train.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(train.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
        await publish_labels(log, project, [make_label("e1", "cat", [1, 0, 1], project=project_name)])

        async def refused() -> bool:
            status, why = await ready()
            return (
                status == 503 and f"{project_name}.sqlite cannot be written" in why and "Make room on the disk" in why
            )

        await eventually(refused)
        resource.prlimit(train.pid, resource.RLIMIT_FSIZE, limits)

        async def well() -> bool:
            return await ready() == (200, "ok")

        await eventually(well)
        with closing(Ledger(tmp_path / "ledger" / f"{project_name}.sqlite")) as ledger:
            assert [entry.label_id for entry in ledger.labels()] == [
                make_label("e1", "cat", [], project=project_name).label_id
            ]
