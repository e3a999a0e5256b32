"""`tiebreak retention`: days and progress in one table; and no export holds what the trail has ended."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine, Ended
from tests.support.labels import blob_labels, make_label
from tests.support.training import Running, log_for, publish_labels
from tiebreak.apps.retaining import Timers
from tiebreak.apps.wiring import open_log, specs_of
from tiebreak.contracts.audit import Action
from tiebreak.contracts.erasure import subject_digest
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.retention import order_of
from tiebreak.contracts.topics import Topic
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


@pytest.mark.redis
async def test_where_no_trainer_keeps_a_ledger_labels_are_exported_from_their_topic(
    project: Path, tmp_path: Path, embedded_redis: RedisServer, tiebreak: CommandLine
) -> None:
    """Spans are asked, settled and exported: newest revisions, nothing taken back, nobody erased, no bad record, nothing too old."""
    await asyncio.to_thread(project.write_text, TEXT + "labeling: {answer: {kind: spans}}\n")
    marks = '[{"end":3,"label":"a","start":0}]'
    now_ms = round(time.time() * 1000)
    labels = [make_label(f"e{i}", "[]" if i else marks, (0.0, 1.0), settled_ms=now_ms) for i in range(5)]
    labels[1] = replace(labels[1], subject="ann-17")
    labels[2] = replace(labels[2], settled_ms=now_ms - 30 * DAY_MS)
    loaded, data, out = load_project(project), tmp_path / "data", tmp_path / "labels.jsonl"
    settings = resolve(Options(redis=embedded_redis.url, data=str(data)), {})
    async with open_log(settings) as stream:
        await stream.ensure_topics(specs_of(loaded))
        await publish_labels(stream, loaded, [*labels, replace(labels[3], revision=2, withdrawn=True)])
        await stream.writer().publish(Outputs([Message(Topic.LABELS.of("tests"), b"k", b"\xff")]))
        trail = AuditTrail(stream, "tests", SystemClock())
        await Timers(loaded, trail, SystemClock(), Metrics("tests")).order()
        await trail.append("eve", Action.SUBJECT_ERASED, subject_digest("tests", "ann-17"), "on request")

    async def run(*arguments: object) -> Ended:
        return await asyncio.to_thread(tiebreak, "dataset", *arguments, "--data", data)

    ended = await run("export", project, out, "--redis", embedded_redis.url)
    assert ended.out == f"2 labels written to {out}.\n", ended.err
    rows = {row["event_id"]: row["value"] for row in map(json.loads, out.read_text().splitlines())}
    assert rows == {"e0": marks, "e4": "[]"}
    assert "this project has none" in (await run("export", project, out, "--version", 1)).err
    assert "this project has none" in (await run("list", project)).err
