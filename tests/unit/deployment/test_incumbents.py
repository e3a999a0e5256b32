"""Which pairs of models the review is asked about, and since when."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.labels import project_of
from tests.support.models import dense, manifest_of, points
from tests.support.training import PassAll, log_for
from tiebreak.contracts.candidate import Candidate, Evaluation, Golden, Interval, Paired
from tiebreak.contracts.codec import PROTOBUF, encode, headers_for
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.messages import ModelEvent, ModelRecord
from tiebreak.contracts.topics import Topic
from tiebreak.deployment.files import FileModelStore
from tiebreak.deployment.memory import MemoryModelStore
from tiebreak.deployment.registry import GATE
from tiebreak.deployment.stage import Deployer, Tools
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics

PROJECT = project_of([2], ("a", "b", "c"))
NONE = Interval(0.0, 0.0, 1.0, 0)
UP, BACK = ModelEvent.PROMOTED, ModelEvent.ROLLED_BACK


async def asked(*steps: tuple[ModelEvent, str, str]) -> list[tuple[str, str, int]]:
    """Previous, serving, since: after these events, versions and references at 1, 2, 3 and so on."""
    log = await log_for(PROJECT)
    writer = log.writer()
    await writer.start()
    for time_ms, (event, version, reference) in enumerate(steps, 1):
        record = ModelRecord(PROJECT.project, version, event, "", "", 1, (), "", GATE, time_ms, reference=reference)
        message = Message(
            Topic.MODELS.of(PROJECT.project), PROJECT.project.encode(), encode(record), headers_for(PROTOBUF)
        )
        await writer.publish(Outputs([message]))
    metrics = Metrics(PROJECT.project)
    deployer = Deployer(PROJECT, Tools(MemoryModelStore(), log, PassAll(), metrics, SystemClock()))
    await deployer.start()
    return [(one.previous.version, one.serving.version, one.since_ms) for one in await deployer.incumbents()]


async def test_what_was_seen_since_the_line_left_the_reference_counts_after_a_rollback() -> None:
    """The reference comes to be the one before what serves: labels from before the rollback are not thrown away."""
    line = ((UP, "1", ""), (UP, "2", ""), (UP, "3", ""))
    assert await asked(*line[:2]) == [("1", "2", 2)]
    assert await asked(*line) == [("2", "3", 3), ("1", "3", 2)]
    assert await asked(*line, (BACK, "2", "")) == [("1", "2", 2)]


async def test_a_model_rolled_back_to_is_compared_with_what_was_accepted_before_it() -> None:
    """The accepted model is gone: the small steps before it are measured by the one that was accepted before."""
    line = ((UP, "1", ""), (UP, "2", ""), (UP, "3", ""), (UP, "4", "4"))
    assert await asked(*line) == [("3", "4", 4)]
    assert await asked(*line, (BACK, "3", "")) == [("2", "3", 5), ("1", "3", 2)]


@pytest.mark.parametrize(
    ("lost", "why"), [(True, "its file cannot be read"), (False, "it is no model of the trainer's")]
)
async def test_what_was_not_compared_with_the_reference_does_not_replace_it(
    tmp_path: Path, lost: bool, why: str
) -> None:
    """The challenger beats the champion, serves, and the first model stays what later ones are measured by; the verdict says why."""
    store, log = FileModelStore(tmp_path), await log_for(PROJECT)
    deployer = Deployer(PROJECT, Tools(store, log, PassAll(), Metrics(PROJECT.project), SystemClock()))
    await deployer.start()
    for version, champion, won in (("1", "", 0), ("2", "1", 0), ("3", "2", 5)):
        if version == "3" and lost:
            (tmp_path / PROJECT.project / "1" / "model.onnx").write_bytes(b"torn")
        await deployer.consider(candidate(version, champion, won))
    registry = await deployer.registry()
    assert (registry.champion, registry.reference) == ("3", "1")
    said = f"it was not compared with 1, which was accepted last and stays the reference: {why}"
    assert said in registry.history[-1].reasons


@pytest.mark.parametrize("torn", [True, False])
async def test_a_file_that_goes_between_the_question_and_the_review_ends_nobody(tmp_path: Path, torn: bool) -> None:
    """What serves is condemned, and what it should give way to is lost meanwhile: it stays, as where the file was gone before."""
    store, log = FileModelStore(tmp_path), await log_for(PROJECT)
    deployer = Deployer(PROJECT, Tools(store, log, PassAll(), Metrics(PROJECT.project), SystemClock()))
    await deployer.start()
    await deployer.consider(candidate("1", "", 0))
    await deployer.consider(candidate("2", "1", 0))
    (asked_about,) = await deployer.incumbents()
    file = tmp_path / PROJECT.project / "1" / "model.onnx"
    kept = file.read_bytes()
    file.write_bytes(b"torn") if torn else file.unlink()
    n = 40
    condemned = Paired(tuple(map(str, range(n))), ("a",) * n, (1.0,) * n, (0.0,) * n, (1.0,) * n)
    await deployer.review(asked_about, condemned)
    assert (await deployer.registry()).champion == "2"
    file.write_bytes(kept)
    await deployer.review(asked_about, condemned)
    assert (await deployer.registry()).champion == "1"


def candidate(version: str, champion: str, won: int) -> Candidate:
    """Right on nine audit labels as the champion is, and on so many more where it is wrong; beside no other model."""
    audit = Paired(
        tuple(map(str, range(9 + won))),
        ("a",) * (9 + won),
        (1.0,) * 9 + (0.0,) * won,
        (1.0,) * (9 + won),
        (1.0,) * (9 + won),
    )
    evaluation = Evaluation(champion, audit if champion else Paired(), Paired(), NONE, NONE)
    model = dense(points(2, 3, seed=int(version)))
    golden = Golden({"x": points(1, 2)}, points(1, 3), 1.0)
    return Candidate(manifest_of(PROJECT, model, version), model, evaluation, golden, version)
