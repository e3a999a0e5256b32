"""`tiebreak retention`: days and progress in one table; and no export holds what the trail has ended."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.labels import blob_labels
from tests.support.training import Running, log_for, publish_labels
from tiebreak.apps.retaining import Timers
from tiebreak.apps.wiring import open_log
from tiebreak.contracts.audit import Action
from tiebreak.contracts.erasure import subject_digest
from tiebreak.contracts.retention import order_of
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.redis_server import RedisServer
from tiebreak.runtime.settings import Options, resolve
from tiebreak.training.sqlite import Ledger

TEXT = """\
project: tests
input: {tensors: [{name: x, shape: [2]}]}
classes: {names: [a, b, c]}
training: {min_labels: 10, committee: 3, step_s: 0.05, step_labels: 10}
privacy: {retention: {tasks_days: 10, labels_days: 20}}
"""
DAY_MS = 86_400_000


@pytest.mark.redis
async def test_days_and_progress_are_shown(
    project: Path, tmp_path: Path, embedded_redis: RedisServer, tiebreak: CommandLine
) -> None:
    """First what is due and nobody has ordered, then the moments that are on the trail; a topic is kept a quarter longer."""
    data = tmp_path / "data"

    async def run(*words: object) -> str:
        return (await asyncio.to_thread(tiebreak, *words, project, "--data", data)).out

    created = await run("topics", "create")
    assert [line.rpartition("kept ")[2] for line in created.splitlines()[2:5]] == ["12.5 days", "for ever", "25 days"]
    before = await run("retention")
    assert "Due and not ordered yet: tasks, labels." in before
    async with open_log(resolve(Options(redis=embedded_redis.url, data=str(data)), {})) as log:
        loaded = load_project(project)
        await Timers(loaded, AuditTrail(log, "tests", SystemClock()), SystemClock(), Metrics("tests")).order()
    shown = [
        line.split("│")[1:4]
        for line in (await run("retention")).splitlines()
        if "│ tasks" in line or "│ labels" in line
    ]
    due = loaded.privacy.retention.horizons(time.time())
    assert [[cell.strip() for cell in row] for row in shown] == [
        [topic.value, f"{days} days", order_of(due[topic]).removeprefix("before ")[:16] + "+00:00"]
        for topic, days in zip(due, (10, 20), strict=True)
    ]
    assert "Due and not" not in await run("retention")
    trail = await run("audit", "tail")
    assert [line.split()[2:5] for line in trail.splitlines()] == [
        ["retention", "retention.ended", topic] for topic in ("tasks", "labels")
    ]
    assert (await run("audit", "verify")).startswith("ok  2 records")


@pytest.mark.redis
async def test_no_export_holds_what_the_trail_has_ended(
    project: Path, tmp_path: Path, embedded_redis: RedisServer, tiebreak: CommandLine
) -> None:
    """The trainer has not run since: its ledger has the old labels still, and whoever was erased meanwhile; the file does not."""
    now_ms = round(time.time() * 1000)
    ages = {i: (30 if i % 2 else 5) * DAY_MS for i in range(20)}
    labels = [replace(x, settled_ms=now_ms - ages[i]) for i, x in enumerate(blob_labels(20))]
    labels[4] = replace(labels[4], subject="ann-17")
    loaded, data, out = load_project(project), tmp_path / "data", tmp_path / "labels.jsonl"
    log = await log_for(loaded)
    await publish_labels(log, loaded, labels)
    path = data / "ledger" / "tests.sqlite"
    path.parent.mkdir(parents=True)
    async with Running(loaded, log, path) as trainer:
        await trainer.trains(20)

    async def exported() -> set[str]:
        ended = await asyncio.to_thread(tiebreak, "dataset", "export", project, out, "--data", data)
        kept = {json.loads(line)["label_id"] for line in out.read_text().splitlines()}
        assert f"{len(kept)} labels written" in ended.out
        return kept

    assert len(await exported()) == 20  # nothing was ordered yet: what is due goes everywhere at once
    async with open_log(resolve(Options(redis=embedded_redis.url, data=str(data)), {})) as stream:
        trail = AuditTrail(stream, "tests", SystemClock())
        await Timers(loaded, trail, SystemClock(), Metrics("tests")).order()
        await trail.append("eve", Action.SUBJECT_ERASED, subject_digest("tests", "ann-17"), "on request")
    assert await exported() == {x.label_id for i, x in enumerate(labels) if i % 2 == 0 and i != 4}
    with closing(Ledger(path)) as ledger:
        assert len(list(ledger.labels())) == 20
