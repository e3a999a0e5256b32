"""The shell of scoring: the model runs in a thread of its own, and a new one takes over between two batches."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TypeVar

import numpy as np

from tiebreak.contracts.columns import offset_at
from tiebreak.contracts.comparison import Comparison
from tiebreak.contracts.errors import BadRecord, DeadReason, ModelRefused, NotFound, SlowDown
from tiebreak.contracts.log import Batch, Partition, Record
from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.ports import History
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import EventColumns, FloatArray, Scores, Tensors
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.onnx_encoder import LoadedEncoder
from tiebreak.runtime.onnx_session import Answers, ModelSession, RunOptions
from tiebreak.runtime.sandbox import Limits, Sandbox, wanted_by
from tiebreak.scoring.columns import keep_rows, keep_scores, unanswered_rows
from tiebreak.scoring.decode import decode_batch
from tiebreak.scoring.replays import Replays
from tiebreak.scoring.trial import Trial, audited, compare, draws, joined

T = TypeVar("T")

_FAILED = BadRecord(DeadReason.MODEL_FAILED, "the model fails on this input, or gives NaN or infinity")
_SIZES_KEPT = 32
# A run this short happens on the thread of the event loop: handing it to another one and back takes longer (ADR 0025).
_AT_ONCE_S = 0.0005
_READY_RETRY_S = 0.1


@dataclass(slots=True)
class _Serving:
    """A model that answers. It is captured once per batch, so no batch mixes two. ``last``: rows and seconds of its newest run."""

    manifest: Manifest
    session: ModelSession
    last: tuple[int, float] = (1, float("inf"))

    def expected_s(self, rows: int) -> float:
        """What a run over ``rows`` rows may take: never less than the newest one for fewer rows, in proportion for more."""
        before, seconds = self.last
        return seconds * max(1.0, rows / before)

    def answer(self, inputs: Tensors, rows: int) -> tuple[Answers, float]:
        """The answers, and the seconds they took."""
        started = time.perf_counter()
        answers = self.session.answer(inputs)
        seconds = time.perf_counter() - started
        self.last = (rows, seconds)
        return answers, seconds


class Scorer:
    """The model of one project. ``score`` is called by one task at a time; ``swap`` and ``rollback`` may come at any time.

    The model before the present one stays in memory, so that a rollback takes effect at the next batch.
    """

    def __init__(self, project: Project, metrics: Metrics, sandbox: Sandbox | None = None) -> None:
        """``sandbox``: where new models are checked; whoever gives one closes it."""
        self._project = project
        self._metrics = metrics
        self._sandbox = sandbox or Sandbox()
        self._now: _Serving | None = None
        self._before: _Serving | None = None
        self._challenger: _Serving | None = None
        self._trial: Trial | None = None
        self._compared = Comparison()
        self._encoder: ModelSession | None = None
        self._changing = asyncio.Lock()
        self._sizes: deque[int] = deque([1], maxlen=_SIZES_KEPT)
        # Two threads: loading and warming a new model must not make a batch wait for it.
        self._scoring = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="model-loading")
        metrics.set("tiebreak_scoring_model_loaded_ratio", 0)

    @property
    def version(self) -> str:
        """The version that scores the next batch; empty while there is no model."""
        return self._now.manifest.version if self._now else ""

    @property
    def resident(self) -> str:
        """The version that a rollback would bring back; empty when there is none."""
        return self._before.manifest.version if self._before else ""

    async def score(self, columns: EventColumns) -> Scores:
        """What the model says of each row; ``k = 0`` while there is none. Rows that it cannot answer are NaN."""
        serving = self._now
        if serving is None:
            return Scores("", (), np.empty((len(columns), 0), np.float32), embedding=await self._embed(columns))
        version, classes = serving.manifest.version, serving.session.plan.classes
        if len(columns) == 0:
            return Scores(version, classes, np.empty((0, len(classes)), np.float32))
        self._sizes.append(len(columns))
        challenger, trial = self._challenger, self._trial
        scores, seconds = await self._ask(serving, columns.inputs)
        self._metrics.observe("tiebreak_scoring_model_seconds", seconds)
        self._metrics.observe("tiebreak_scoring_batch_rows", len(columns))
        if challenger is None or trial is None or challenger.session.plan.classes != classes:
            return scores
        return await self._score_both(columns, scores, serving, challenger, trial)

    async def _score_both(
        self, columns: EventColumns, scores: Scores, serving: _Serving, challenger: _Serving, trial: Trial
    ) -> Scores:
        seed, compared = self._project.sampling.seed, self._project.gate.canary.compared
        drawn = draws(columns.ids, seed)
        # Compared by the coin of the audit slice: the sampler may look more often where the two differ, up to that share, and knows
        # of each event that it could draw whether they do.
        rows = np.flatnonzero((drawn < trial.share) | (audited(columns.ids, seed) < compared))
        differs = np.full(len(columns), -1, np.int8)
        # Also of a batch in which nothing is compared: the rollout goes on, however the stream is cut.
        scores = replace(scores, challenger=challenger.manifest.version, differs=differs)
        if len(rows) == 0:
            return scores
        inputs = {name: array[rows] for name, array in columns.inputs.items()}
        # The champion answers these rows once more: only on the same rows are two times comparable.
        theirs, theirs_s = await self._ask(serving, inputs)
        ours, ours_s = await self._ask(challenger, inputs)
        # Two numbers are one answer within the margin by which a challenger may be worse.
        margin = self._project.gate.non_inferiority
        counted, differs[rows] = compare(theirs, ours, (theirs_s, ours_s), self._project.labeling.answer, margin)
        if self._challenger is challenger:
            self._compared += counted
        mine = drawn[rows] < trial.share
        if mine.any():
            scores = joined(scores, keep_scores(ours, mine), rows[mine])
        return scores

    async def _ask(self, model: _Serving, inputs: Tensors) -> tuple[Scores, float]:
        rows = len(next(iter(inputs.values())))
        if model.expected_s(rows) <= _AT_ONCE_S:
            a, seconds = model.answer(inputs, rows)
        else:
            a, seconds = await self._in(self._scoring, lambda: model.answer(inputs, rows))
        version, classes = model.manifest.version, model.session.plan.classes
        form = model.session.plan.form
        scores = Scores(version, classes, a.probabilities, a.members, a.embedding, a.values, form=form, asking=a.asking)
        return scores, seconds

    @property
    def trial(self) -> Trial | None:
        """The stage of a rollout that this scorer takes part in."""
        return self._trial

    async def share(self, trial: Trial, manifest: Manifest, model: bytes) -> None:
        """From the next batch on, score the compared share of the events with ``model`` too, and answer ``trial.share`` with it.

        Raises ModelRefused as :meth:`swap` does; that counts as a failure of the challenger.
        """
        async with self._changing:
            if self._challenger is None or self._challenger.manifest != manifest:
                self._forget_trial()
                try:
                    self._challenger = await self._load(manifest, model)
                except ModelRefused:
                    self._fail(trial)
                    raise
            self._trial = trial

    async def fail(self, trial: Trial) -> None:
        """Count a challenger that could not even be read as one that failed: its rollout ends by that, and not never."""
        async with self._changing:
            self._forget_trial()
            self._fail(trial)

    def _fail(self, trial: Trial) -> None:
        self._compared, self._trial = Comparison(failed=1), trial

    async def unshare(self) -> None:
        """The rollout is over: the champion answers alone from the next batch on."""
        async with self._changing:
            self._forget_trial()

    def take_comparison(self) -> Comparison:
        """What was counted of the present trial since the last call."""
        taken, self._compared = self._compared, Comparison()
        return taken

    def _forget_trial(self) -> None:
        self._challenger, self._trial, self._compared = None, None, Comparison()

    async def embed_with(self, encoder: LoadedEncoder) -> None:
        """While no model serves, let this encoder alone give embeddings: the trainer's first labels need them."""
        self._encoder = await self._in(self._loading, encoder.session)

    async def swap(self, manifest: Manifest, model: bytes) -> None:
        """Verify, check in a child, load and warm ``model``, then let it score from the next batch on.

        Raises ModelRefused with the reason; the model before it goes on serving then.
        """
        async with self._changing:
            if self._now and self._now.manifest == manifest:
                return
            if self._before and self._before.manifest == manifest:
                self._resume(self._before)
                return
            started = time.perf_counter()
            try:
                challenger = self._challenger
                tried = challenger is not None and challenger.manifest == manifest
                serving = challenger if challenger and tried else await self._load(manifest, model)
            except ModelRefused:
                self._metrics.count("tiebreak_scoring_swaps_total", outcome="refused")
                raise
            self._now, self._before = serving, self._now
            self._forget_trial()
            self._metrics.observe("tiebreak_scoring_swap_seconds", time.perf_counter() - started)
            self._changed("swapped")

    async def rollback(self) -> str:
        """Let the model before the present one score from the next batch on; return its version. Raises NotFound."""
        async with self._changing:
            if self._before is None:
                raise NotFound("No earlier model is in memory.")
            self._resume(self._before)
            return self.version

    def close(self) -> None:
        """Wait for the run in progress, if any. Nothing may be scored afterwards."""
        self._loading.shutdown(cancel_futures=True)
        self._scoring.shutdown(cancel_futures=True)

    async def _embed(self, columns: EventColumns) -> FloatArray | None:
        encoder = self._encoder
        if encoder is None or len(columns) == 0:
            return None
        answers = await self._in(self._scoring, lambda: encoder.answer(columns.inputs))
        return answers.embedding

    def _resume(self, earlier: _Serving) -> None:
        self._now, self._before = earlier, self._now
        self._changed("resident")

    def _changed(self, outcome: str) -> None:
        self._metrics.count("tiebreak_scoring_swaps_total", outcome=outcome)
        self._metrics.set("tiebreak_scoring_model_loaded_ratio", 1)

    async def _load(self, manifest: Manifest, model: bytes) -> _Serving:
        digest = await self._in(self._loading, lambda: sha256(model).hexdigest())
        _check_manifest(manifest, digest, self._project)
        checked = await self._sandbox.check(
            model,
            wanted_by(self._project, manifest),
            Limits.of(self._project.gate),
            temperature=manifest.temperature,
        )
        options = RunOptions(self._project.model.providers, self._project.model.threads)

        def build() -> ModelSession:
            session = ModelSession(model, checked.plan, manifest.temperature, options)
            session.warm(sorted({1, self._sizes[-1], max(self._sizes)}))
            return session

        return _Serving(manifest, await self._in(self._loading, build))

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)


@dataclass(frozen=True, slots=True)
class Scored:
    """A batch with its scores, row for row, and the records set aside on the way: together they are the whole batch."""

    columns: EventColumns
    scores: Scores
    dead: Sequence[tuple[Record, BadRecord]]


class Scoring:
    """Batches in, scored columns out: decode, set replays apart, score, set aside what the model could not answer."""

    def __init__(
        self,
        project: Project,
        scorer: Scorer,
        metrics: Metrics,
        ready: asyncio.Event | None = None,
        history: History | None = None,
    ) -> None:
        """``ready``: nothing is scored before it is set (after a restart, before it is known which model serves).

        ``history`` of the events: without it, ids that were used before a restart or a rebalance are not known after it.
        """
        self._project = project
        self._scorer = scorer
        self._metrics = metrics
        self._ready = ready
        self._history = history
        self._replays = Replays()
        self._remembered: set[Partition] = set()

    async def handle(self, batch: Batch) -> Scored:
        """Score a batch. Handing out the same records again gives the same answer, so there is no state to take back.

        Raises SlowDown before ``ready``, and Unreachable while the history of a new partition cannot be read.
        """
        if self._ready is not None and not self._ready.is_set():
            raise SlowDown("It is not known yet which model serves.", retry_after_s=_READY_RETRY_S)
        await self._remember(batch)
        decoded, undecodable = decode_batch(batch, self._project)
        columns, clashing = self._replays.sift(decoded)
        if columns.replayed:
            self._metrics.count("tiebreak_scoring_replayed_total", len(columns.replayed))
        scores = await self._scorer.score(columns)
        bad = unanswered_rows(scores)
        failed = [(columns.records[row], _FAILED) for row in np.flatnonzero(bad).tolist()]
        return Scored(keep_rows(columns, ~bad), keep_scores(scores, ~bad), [*undecodable, *clashing, *failed])

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """Forget what was seen in partitions that are no longer ours."""
        self._replays.forget(partitions)
        self._remembered -= partitions

    async def _remember(self, batch: Batch) -> None:
        """Learn what came before the first batch of a partition: the same record has the same outcome after a restart."""
        fresh = {p: offset_at(records, 0) for p, records in batch.items() if records and p not in self._remembered}
        ranges = {p: (reach, first) for p, first in fresh.items() if (reach := self._replays.reach(first)) < first}
        if ranges and self._history is not None:
            async for earlier in self._history.before(ranges):
                self._replays.sift(decode_batch(earlier, self._project)[0])
        self._remembered |= fresh.keys()


def _check_manifest(manifest: Manifest, digest: str, project: Project) -> None:
    if digest != manifest.sha256:
        raise ModelRefused("The model's bytes are not the ones its manifest names (sha256 differs).")
    if manifest.project != project.project:
        raise ModelRefused(f"The model belongs to project {manifest.project!r}, not to {project.project!r}.")
    if not 0.0 < manifest.temperature < float("inf"):
        raise ModelRefused(f"The manifest's temperature is {manifest.temperature}, it must be above 0.")
    expected = {tensor.name: (tensor.datatype, tensor.shape) for tensor in project.input.tensors}
    if dict(manifest.inputs) != expected:
        raise ModelRefused(
            "The model was made for other input tensors than the project has now.", fix="Train a new one."
        )
    kind = project.labeling.answer.kind
    if manifest.form is not kind.form:
        raise ModelRefused(
            f"The model gives {manifest.form}, the project asks for {kind} answers.", fix="Train a new one."
        )
    unknown = set(manifest.classes) - set(project.classes.names)
    if unknown and not project.classes.open:
        raise ModelRefused(f"The model has classes that the project does not: {sorted(unknown)}.")
