"""When the trainer steps: after a rest in proportion to the last step, and although labels never pause."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.labels import blob_labels, project_of
from tests.support.training import Running, ServeAll, log_for, publish_labels
from tiebreak.contracts.candidate import Candidate
from tiebreak.contracts.log import Batch
from tiebreak.contracts.project import Project, Training
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.clock import ManualClock
from tiebreak.training import stage

GATE_S = 2.0
REST = 3.0


def paced(rest: float) -> Project:
    training = Training(min_labels=10, step_labels=10, step_s=0.05, committee=3, rest=rest)
    return project_of([2], ("a", "b", "c"), training=training)


class SlowGate(ServeAll):
    """Takes ``GATE_S`` on the manual clock to consider a candidate, and notes when it was done."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.ended: list[float] = []
        self._clock = clock

    async def consider(self, candidate: Candidate) -> None:
        await super().consider(candidate)
        self._clock.advance(GATE_S)
        self.ended.append(self._clock.monotonic())


async def test_a_step_that_took_long_is_followed_by_a_long_rest(tmp_path: Path) -> None:
    """Labels that come right after a step of 2 s wait `rest` times as long: the trainer takes a bounded share of a core."""
    project, clock, labels = paced(REST), ManualClock(), blob_labels(40)
    log, gate = await log_for(project), SlowGate(clock)

    def trained() -> bool:
        clock.advance(0.1)
        return len(gate.ended) > 1

    await publish_labels(log, project, labels[:20])
    async with Running(project, log, tmp_path / "l", gate, clock) as run:
        await eventually(lambda: bool(gate.ended))
        await publish_labels(log, project, labels[20:])
        await eventually(trained)
        assert run.ledger.dataset_version() == 40
    first, second = gate.ended[:2]
    assert second - first >= REST * GATE_S + GATE_S


async def test_labels_that_never_pause_do_not_put_a_step_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind each label read another is published, so the end of the topic is never reached: a model is made all the same."""
    monkeypatch.setattr(stage, "_POLL_RECORDS", 1)
    project, labels = paced(0.0), blob_labels(200)
    log, rest = await log_for(project), labels[20:]
    reader = log.reader([Topic.LABELS.of(project.project)], None)
    poll = reader.poll

    async def followed(most: int, wait_s: float) -> Batch:
        batch = await poll(most, wait_s)
        for _ in range(sum(len(records) for records in batch.values())):
            if rest:
                await publish_labels(log, project, [rest.pop()])
        return batch

    monkeypatch.setattr(reader, "poll", followed)
    await publish_labels(log, project, labels[:20])
    clock = ManualClock()
    async with Running(project, log, tmp_path / "l", clock=clock, reader=reader) as run:
        # The clock stands still: no step is made because one has been late for too long.
        await run.offers(1)

        def trained() -> bool:
            # The last labels are fewer than a step's: they wait for its time.
            clock.advance(project.training.step_s)
            return run.trained(200)

        await eventually(trained)
    assert run.candidates[0].manifest.dataset_version < 200
