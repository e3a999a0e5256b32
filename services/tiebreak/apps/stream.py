"""`tiebreak stream`: events in; predictions, tasks and drift records out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from starlette.types import ASGIApp

from tiebreak.apps.wiring import Process, open_sandbox
from tiebreak.contracts import codec
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import BadRecord, ConfigError
from tiebreak.contracts.handling import Handled
from tiebreak.contracts.log import Batch, Message, Outputs, Partition, Positions
from tiebreak.contracts.messages import DriftRecord
from tiebreak.contracts.project import Project
from tiebreak.contracts.sampled import Sampled
from tiebreak.contracts.topics import Topic
from tiebreak.deployment.files import FileModelStore
from tiebreak.deployment.files_seal import Seal
from tiebreak.events.stage import ConsumeLoop, LoopSettings
from tiebreak.events.stage_history import History
from tiebreak.runtime.garbage import collect_rarely
from tiebreak.runtime.lifecycle import Phase
from tiebreak.runtime.masking import Mask, load_mask
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.onnx_encoder import load_encoder
from tiebreak.runtime.settings import Settings
from tiebreak.sampling.passing import Passing
from tiebreak.sampling.redis import RedisBudget, RedisSnapshots
from tiebreak.sampling.stage import Sampler
from tiebreak.sampling.stage_labels import LabelFollower
from tiebreak.sampling.tasks import build_task
from tiebreak.scoring.predictions import encode_predictions
from tiebreak.scoring.stage import Scored, Scorer, Scoring
from tiebreak.scoring.stage_comparing import Comparing
from tiebreak.scoring.stage_follower import ModelFollower
from tiebreak.scoring.user_model import user_manifest

MODELS_FOLDER = "models"


class StreamHandler:
    """A Handler over ``events``: decode, score, select; each event becomes one prediction or one dead letter, a few a task."""

    def __init__(
        self, project: Project, scoring: Scoring, sampler: Sampler, clock: Clock, mask: Mask | None = None
    ) -> None:
        self._project = project
        self._scoring = scoring
        self._sampler = sampler
        self._clock = clock
        self._mask = mask
        self._passing = Passing(project)

    async def handle(self, batch: Batch) -> Handled:
        """Decide a batch. The sampler's state moves on only in :meth:`committed`."""
        scored = await self._scoring.handle(batch)
        sampled = await self._sampler.select(scored.columns, scored.scores)
        now_ms = int(self._clock.wall() * 1000)
        blocks = encode_predictions(scored.columns, scored.scores, sampled, self._project, now_ms)
        # Masking searches texts for milliseconds: not on the loop that heartbeats.
        tasks = (
            self._tasks(scored, sampled, now_ms)
            if self._mask is None
            else await asyncio.to_thread(self._tasks, scored, sampled, now_ms)
        )
        messages = [*tasks, *map(self._drift, sampled.drift)]
        return Handled(Outputs(messages, blocks), scored.dead)

    async def committed(self, positions: Positions) -> None:
        """Keep the sampler's state that goes with ``positions``."""
        await self._sampler.committed(positions)

    async def rewind(self) -> None:
        """Forget what was not committed."""
        await self._sampler.rewind()

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """Load the sampler's state of partitions that are ours now."""
        await self._sampler.assigned(partitions)

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """Forget what belongs to partitions that are no longer ours."""
        await self._sampler.revoked(partitions)
        await self._scoring.revoked(partitions)

    def _tasks(self, scored: Scored, sampled: Sampled, now_ms: int) -> list[Message]:
        topic = Topic.TASKS.of(self._project.project)
        messages: list[Message] = []
        for row, selection in zip(sampled.rows, sampled.selections, strict=True):
            record = scored.columns.records[row]
            try:
                event = codec.decode_event(record, self._project.input)
            except BadRecord:
                # Its columns were decoded from these very bytes, so this cannot be; if it ever is, one question is not asked.
                continue
            task = build_task(self._project, scored.columns, row, scored.scores, selection, event, now_ms, self._mask)
            beside = self._passing.beside(event.event_id, scored.columns, scored.scores, row)
            task = replace(task, unlabelled=beside) if beside else task
            headers = codec.headers_for(codec.PROTOBUF, traceparent=codec.traceparent_of(record.headers))
            messages.append(Message(topic, task.task_id.encode(), codec.encode(task), headers))
        self._passing.see(scored.columns, scored.scores)
        return messages

    def _drift(self, record: DriftRecord) -> Message:
        topic = Topic.DRIFT.of(self._project.project)
        return Message(topic, self._project.project.encode(), codec.encode(record), codec.headers_for(codec.PROTOBUF))


def stream_loop_settings(project: Project) -> LoopSettings:
    """How the scorer consumes."""
    scoring = project.scoring
    return LoopSettings(
        stage="scoring",
        project=project.project,
        max_records=scoring.max_batch,
        # With a slow model a batch's fixed cost, some 5 ms, is then a hundredth of it.
        target_batch_s=0.4,
        window_s=project.sampling.window_s,
        max_bad_share=scoring.max_bad_share,
        bad_window=scoring.bad_window,
    )


async def assemble_stream(process: Process) -> ASGIApp | None:
    """Scoring and sampling on one process."""
    project = process.project
    # Before the first event: a stage that stops at its first selection would have let the stream pile up.
    mask = await asyncio.to_thread(masking_of, project, process.metrics) if project.privacy.mask else None
    trained = project.model.source == "trainer"  # a file of the user's is checked once: no child need wait for the next
    scorer = Scorer(project, process.metrics, open_sandbox(process.life) if trained else None)
    known: asyncio.Event | None = None
    if project.model.source == "file":
        await serve_file(scorer, project, process.clock)
    else:
        if (encoder := await load_encoder(project)) is not None:
            await scorer.embed_with(encoder)
        store = models_of(process.settings)
        models = process.log.reader([Topic.MODELS.of(project.project)], None)
        follower = ModelFollower(project.project, models, store, scorer, process.metrics, process.clock)
        process.life.run(Phase.WORK, "model follower", follower.run)
        if project.gate.rollout == "canary":
            comparing = Comparing(project, scorer, process.log.writer(), process.clock)
            process.life.run(Phase.WORK, "comparing", comparing.run)
        known = follower.caught_up
    sampler = Sampler(
        project,
        RedisBudget(process.redis, project),
        RedisSnapshots(process.redis, project),
        process.metrics,
        process.clock,
    )
    if sampler.hears_labels:
        labels = process.log.reader([Topic.LABELS.of(project.project)], None)
        heard = LabelFollower(project.project, labels, sampler.observe_label, process.clock)
        process.life.run(Phase.WORK, "label follower", heard.run)
    events = Topic.EVENTS.of(project.project)
    scoring = Scoring(project, scorer, process.metrics, known, History(process.log, events))
    handler = StreamHandler(project, scoring, sampler, process.clock, mask)
    reader = process.log.reader([events], f"tiebreak.{project.project}.scoring")
    loop = ConsumeLoop(
        reader, process.log.writer(), handler, stream_loop_settings(project), process.metrics, process.clock
    )
    collect_rarely()
    process.life.run(Phase.SOURCES, "scoring", loop.run)
    process.watch_loop("scoring", loop)

    async def close(_timeout_s: float) -> None:
        await sampler.close()
        scorer.close()

    process.life.on_stop(Phase.SINKS, "scorer and sampler", close)
    return None


def masking_of(project: Project, metrics: Metrics) -> Mask:
    """What hides personal data in payloads, and counts those of which nothing can be shown. Raises ConfigError."""
    return load_mask(project.privacy, lambda why: metrics.count("tiebreak_scoring_withheld_total", reason=why))


def models_of(settings: Settings) -> FileModelStore:
    """The models of the data directory. Raises ConfigError for a key that is none."""
    return FileModelStore(settings.data_dir / MODELS_FOLDER, Seal.of(settings.signing_key, settings.verify_key))


async def serve_file(scorer: Scorer, project: Project, clock: Clock) -> None:
    """Score with the user's own ONNX file. Raises ConfigError when it cannot be read, ModelRefused when it does not fit."""
    try:
        model = await asyncio.to_thread(Path(project.model.file).read_bytes)
    except OSError as error:
        raise ConfigError(f"model.file: cannot read {project.model.file}: {error.strerror}.") from error
    await scorer.swap(user_manifest(project, model, int(clock.wall() * 1000)), model)
