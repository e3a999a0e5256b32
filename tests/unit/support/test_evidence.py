"""Reading a finished run back."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from tests.support.auditor import audit
from tests.support.evidence import Traces, gather
from tests.support.labels import blob_labels, project_of
from tests.support.training import Running, log_for, publish_labels, publish_raw
from tiebreak.contracts.codec import encode
from tiebreak.contracts.errors import DeadReason
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.messages import DeadLetter, Prediction
from tiebreak.contracts.topics import Topic

PROJECT = project_of((2,), ("a", "b", "c"))


async def test_a_finished_run_is_read_back_whole(tmp_path: Path) -> None:
    """Topics, ledger, positions and the weights of a clean pass are the evidence, what is kept aside in the ledger included."""
    log = await log_for(PROJECT)
    labels = [*blob_labels(20), replace(blob_labels(1, seed=9)[0], value="of no class", distribution={})]
    await publish_labels(log, PROJECT, labels)
    async with Running(PROJECT, log, tmp_path / "ledger.sqlite") as trainer:
        await trainer.trains(20)
    events = Topic.EVENTS.of("tests")
    said = Prediction("e0", "v1", "a", (1.0,), 0.5, "margin", False, 0, 0, 1)
    letters = [
        DeadLetter("tests", topic, 1, 0, DeadReason.UNDECODABLE, "", b"x", hashlib.sha256(b"x").hexdigest(), 1)
        for topic in (events, Topic.TASKS.of("tests"))
    ]
    writer = log.writer()
    await writer.publish(
        Outputs(
            [
                *(Message(events, b"e", b"?", (), partition) for partition in (0, 1)),
                Message(Topic.PREDICTIONS.of("tests"), b"e0", encode(said)),
                *(Message(Topic.DEAD.of("tests"), b"e", encode(letter)) for letter in letters),
            ]
        )
    )

    evidence = await gather(log, PROJECT, Traces(tmp_path / "ledger.sqlite", [], tmp_path / "scratch", group="scoring"))

    assert evidence.places == {(0, 0), (1, 0)}
    assert (evidence.predictions, evidence.dead, evidence.tasks) == ([said], [letters[0]], [])
    ids = sorted(label.label_id for label in labels)
    assert (
        sorted(label.label_id for label in evidence.labels)
        == sorted(label.label_id for label in evidence.ledger)
        == ids
    )
    assert evidence.weights == evidence.clean_weights != ""
    assert audit(evidence) == []


async def test_weights_that_one_clean_pass_does_not_give_are_found(tmp_path: Path) -> None:
    """A ledger that learned from a label which is not on this log has other weights, and an invented label."""
    log, other = await log_for(PROJECT), await log_for(PROJECT)
    await publish_labels(log, PROJECT, blob_labels(20))
    await publish_labels(other, PROJECT, [*blob_labels(20), *blob_labels(10, seed=1)])
    async with Running(PROJECT, other, tmp_path / "ledger.sqlite") as trainer:
        await trainer.trains(30)
    # The clean pass waits for as many labels as the ledger has: the same again, under another id.
    await publish_raw(log, PROJECT, [(b"", encode(label)) for label in blob_labels(10, seed=2)])

    evidence = await gather(log, PROJECT, Traces(tmp_path / "ledger.sqlite", [], tmp_path / "scratch"))

    found = {finding.invariant for finding in audit(evidence)}
    assert found == {"no_loss", "no_double_count", "no_invention"}
