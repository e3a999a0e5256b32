"""The trainer: reads `labels`, keeps the ledger, and brings a candidate after each step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog
from threadpoolctl import ThreadpoolController

from tiebreak.contracts.candidate import Candidate, CandidateSink, Champion, ServingJudge
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import decode_drift, decode_label, encode
from tiebreak.contracts.errors import BadRecord, Conflict, PublishFailed, SlowDown, Unreachable
from tiebreak.contracts.log import Batch, Partition, Reader, Record
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.reading import short_of
from tiebreak.training.dataset import Aside, Dataset, Row, refuse, row_of
from tiebreak.training.eras import Era, era_of, joined, present
from tiebreak.training.evaluation import Contender, Serving
from tiebreak.training.export import read_back, width_of
from tiebreak.training.fitting import AUDIT_ROWS, Material, Stamp, gathered, planned, train
from tiebreak.training.given import NOTHING, Given
from tiebreak.training.recall import Recall
from tiebreak.training.retraction import Struck, erased
from tiebreak.training.sklearn_learners import contest_of
from tiebreak.training.sqlite import AsideLabel, Ledger, LedgerLabel, Step, Weights
from tiebreak.training.sqlite_window import window_of
from tiebreak.training.stage_pauses import LEDGER, STORE, Pauses
from tiebreak.training.stage_review import Reviewer
from tiebreak.training.targets import target_of

_POLL_RECORDS = 500
_POLL_S = 0.2
_MOST_GATHERED = 5000
_RETRY_S = 1.0
_LATEST_S = 20.0  # a topic that says it has more than it gives must not put a fit off for ever

T = TypeVar("T")
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Gathered:
    """Read, not yet durable: what the next step commits."""

    labels: list[LedgerLabel] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    aside: list[AsideLabel] = field(default_factory=list)
    readmitted: list[AsideLabel] = field(default_factory=list)
    positions: dict[Partition, int] = field(default_factory=dict)
    eras: list[Era] = field(default_factory=list)
    since: float = 0.0


class Trainer:
    """One project's trainer. ``reader`` is groupless, over `labels` and `drift`: where to go on is in the ledger.

    The weights are a function of the *set* of labels in the ledger (see ``learner.py``), so a trainer that was killed, or
    whose ledger was lost and read again, ends at the same digest as one that was not.
    """

    def __init__(
        self,
        project: Project,
        ledger: Ledger,
        reader: Reader,
        metrics: Metrics,
        clock: Clock,
        given: Given = NOTHING,
    ) -> None:
        """Raises ConfigError where ``given`` does not fit the project."""
        self._project, self._ledger, self._reader, self._metrics, self._clock = project, ledger, reader, metrics, clock
        self._encoder = encoder = given.encoder
        self._names_digest = given.names_digest
        self._width = encoder.width if encoder is not None else width_of(project.input.tensors)
        self._contest = contest_of(
            project.training, self._width, target_of(project), given.names_for(self._width, project.classes)
        )
        self._dataset = Dataset(capacity=project.training.window)
        self._struck = Struck()
        self._eras: dict[str, int] = {}
        self._drift_topic = Topic.DRIFT.of(project.project)
        self._gathered = _Gathered()
        self._offer: Candidate | None = None
        self._read: dict[str, Serving] = {}
        self._recall = Recall()
        self._owed = False
        self._unreviewed = True
        self._trained_at = self._rested_at = clock.monotonic()
        self._wanted: Mapping[Partition, int] | None = None
        self._blas = ThreadpoolController()
        self.pauses = Pauses(metrics, clock)

    @property
    def era_ms(self) -> int:
        """When the newest drift that this trainer knows of was confirmed; 0 for never."""
        return present(self._eras)

    async def run(self, stop: asyncio.Event, sink: CandidateSink, judge: ServingJudge | None = None) -> None:
        """Until ``stop``: read, step, offer, review. A step that has begun is finished.

        ``judge``: who may roll back on new audit labels. Raises Conflict, ConfigError, Unreachable at start.
        """
        reviewer = Reviewer(judge, target_of(self._project), self._recall) if judge is not None else None
        await self._start(stop)
        while not stop.is_set():
            try:
                self._gather(await self._reader.poll(_POLL_RECORDS, min(_POLL_S, self._project.training.step_s)))
                await self._heed_retractions()
                due = await self._due()
                if due or (reviewer is not None and self._unreviewed):
                    await self._work(due, sink, reviewer)
            except (Unreachable, PublishFailed) as error:
                # Nothing of the step is lost: it is gathered, or in the ledger, or still on the topic.
                await self.pauses.pause("the log does not answer", _RETRY_S, error)
            except SlowDown as full:
                # The candidate is still on offer, and its step in the ledger.
                await self.pauses.pause(STORE, full.retry_after_s, full)

    async def _claimed(self, stop: asyncio.Event) -> str | None:
        """The vectors that models were made with before, where those are others now."""
        encoder = self._encoder.digest if self._encoder is not None else ""
        while not stop.is_set():
            try:
                self._ledger.claim(self._project.project, encoder)
                before = self._ledger.pin_vectors(self._names_digest)
                self.pauses.written(LEDGER)
                return before
            except SlowDown as full:
                await self.pauses.pause(LEDGER, full.retry_after_s, full)
        return None

    async def _start(self, stop: asyncio.Event) -> None:
        before = await self._claimed(stop)
        if before is not None:
            # Labels do not depend on them, as they do on an encoder: the weights are made again, and what comes of it is judged.
            _log.warning(
                "model.class_vectors has changed: a model is made anew from the same labels, and has to pass the gate",
                was=before or "none",
                now=self._names_digest or "none",
            )
        self._dataset = await asyncio.to_thread(self._load)
        self._gathered.since = self._clock.monotonic()
        self._readmit()
        await self._reader.start()
        positions = self._ledger.positions()
        self._reader.seek({p: positions[p] for p in self._reader.assignment() if p in positions})
        # The last step may have died between the ledger and the gate: its model is made and offered again, the same to the
        # bit, and deployment knows whether it was judged.
        self._owed = self._ledger.dataset_version() > 0

    def _load(self) -> Dataset:
        self._struck = self._ledger.struck()
        self._eras = joined(self._ledger.eras(), self._gathered.eras)
        return window_of(self._ledger, self._project.training.window, self._struck)

    async def _reload(self) -> None:
        self._dataset = await asyncio.to_thread(self._load)
        for i, entry in enumerate(self._gathered.labels):
            label = decode_label(entry.wire)
            self._dataset.add(row_of(self._struck.apply(label)))
            if self._struck.erases(label):
                self._gathered.labels[i] = replace(entry, value="", withdrawn=True, wire=encode(erased(label)))

    async def _heed_retractions(self) -> None:
        # Somebody's command line may have written one since.
        was, struck = self._struck, self._ledger.struck()
        if struck != was:
            # Of a horizon that no label is behind nothing is to be unlearned.
            touched = replace(was, before_ms=struck.before_ms) != struck or self._dataset.has_before(struck.before_ms)
            await self._reload()
            self._owed = self._owed or (touched and self._ledger.weights() is not None)

    def _readmit(self) -> None:
        # The project file may have learned a class or a schema since: what was kept aside for it is offered again.
        for kept in self._ledger.aside():
            outcome = self._admit(kept.wire, kept.partition, kept.position)
            if outcome is None or isinstance(outcome, LedgerLabel):
                self._gathered.readmitted.append(kept)

    def _gather(self, batch: Batch) -> None:
        for partition, records in batch.items():
            if partition.topic == self._drift_topic:
                self._heed_drift(records)
                continue
            for record in records:
                self._take(partition, record)
            if records:
                self._gathered.positions[partition] = records[-1].offset + 1

    def _heed_drift(self, records: Sequence[Record]) -> None:
        # No step is due for it: nothing is learned from a drift, it says which labels the next candidate is judged by. Where
        # this topic was read to is not kept: it forgets by itself, so a place in it may be gone, and to read it again adds nothing.
        for record in records:
            try:
                era = era_of(decode_drift(record.value), self._project.project)
            except BadRecord as bad:
                _log.warning("an unreadable record on topic drift was skipped", reason=bad.reason.value)
                continue
            if era is not None:
                self._gathered.eras.append(era)
        self._eras = joined(self._eras, self._gathered.eras)

    def _take(self, partition: Partition, record: Record) -> None:
        if not self._waiting():
            self._gathered.since = self._clock.monotonic()
        outcome = self._admit(record.value or b"", partition, record.offset)
        if isinstance(outcome, AsideLabel):
            self._gathered.aside.append(outcome)
            self._metrics.count("tiebreak_training_aside_total", reason=outcome.reason.value)

    def _admit(self, wire: bytes, partition: Partition, position: int) -> LedgerLabel | AsideLabel | None:
        """The label as gathered, or why it is kept aside, or None for a replay."""
        try:
            label = decode_label(wire)
        except BadRecord as bad:
            return AsideLabel(partition, position, Aside.UNDECODABLE, bad.detail, wire)
        if self._struck.erases(label):
            label, wire = erased(label), encode(erased(label))
        refused = refuse(label, self._project, self._width)
        if refused is not None:
            return AsideLabel(partition, position, *refused, wire)
        row = row_of(self._struck.apply(label))
        if not self._dataset.known(label.label_id) and self._ledger.revision(label.label_id) >= label.revision:
            return None
        if not self._dataset.add(row):
            return None
        use = "withdrawn" if row.withdrawn else "audit" if row.audit else "train"
        self._metrics.count("tiebreak_training_labels_total", use=use)
        taken = LedgerLabel(
            label.label_id,
            label.revision,
            label.value,
            row.audit,
            label.withdrawn,
            label.settled_ms,
            partition,
            position,
            wire,
        )
        self._gathered.labels.append(taken)
        return taken

    def _waiting(self) -> int:
        return len(self._gathered.labels) + len(self._gathered.aside) + len(self._gathered.readmitted)

    async def _due(self) -> bool:
        t = self._project.training
        waiting = self._waiting()
        aged = waiting > 0 and self._clock.monotonic() - self._gathered.since >= t.step_s
        if not (self._owed or self._offer or aged or waiting >= t.step_labels):
            return False
        return waiting >= _MOST_GATHERED or await self._may_fit()

    async def _may_fit(self) -> bool:
        # The trainer takes a bounded share of a core, whatever a step costs.
        if self._clock.monotonic() < self._rested_at:
            return False
        if self._clock.monotonic() - self._trained_at > _LATEST_S:
            return True
        # While catching up, one fit at the end gives the same model as many on the way. The end is where it was when the fit
        # was first wished for: a stream of labels that never pauses does not put it off.
        if self._wanted is None:
            ends = await self._reader.end_positions()
            self._wanted = {partition: end for partition, end in ends.items() if partition.topic != self._drift_topic}
        return not short_of(self._reader, self._wanted)

    async def _work(self, due: bool, sink: CandidateSink, reviewer: Reviewer | None) -> None:
        began = self._clock.monotonic()
        if due and (self._offer is None or self._owed or self._waiting()):
            await self._step(sink)
        full: SlowDown | None = None
        try:
            await self._bring(sink)
        except SlowDown as error:
            full = error  # a model is taken back without room on a disk
        if reviewer is not None and self._unreviewed:
            await reviewer.review(self._dataset.rows(audit=True, newest=AUDIT_ROWS), self.era_ms, self._in_worker)
            self._unreviewed = False
        if full is not None:
            raise full
        ended = self._clock.monotonic()
        self._rested_at = ended + self._project.training.rest * (ended - began)

    async def _step(self, sink: CandidateSink) -> None:
        began = self._clock.monotonic()
        fits = await self._may_fit()
        offer = await self._fit(sink) if fits else None
        if fits:
            self._trained_at, self._wanted = self._clock.monotonic(), None
        # What came meanwhile may be nothing but replays, and those alone make no step due.
        self._owed = self._owed or not fits
        taken = self._gathered
        weights = _weights(offer) if offer is not None else None
        before = self._ledger.weights()
        if weights and before and not taken.labels and weights.digest != before.digest:
            _log.warning(
                "the ledger's weights are not reproduced: libraries, settings, class vectors or retractions have changed",
                was=before.digest,
            )
        fitted = offer.manifest.dataset_version if offer is not None else None
        step = Step(taken.labels, taken.aside, taken.positions, weights, taken.readmitted, taken.eras, fitted)
        try:
            version = await asyncio.to_thread(self._ledger.commit, step)
        except SlowDown as full:
            # Not durable, so not offered: the labels are still gathered, the same step is taken again.
            await self.pauses.pause(LEDGER, full.retry_after_s, full)
            return
        self.pauses.written(LEDGER)
        self._gathered = _Gathered(since=self._clock.monotonic())
        if fitted not in {None, version}:
            # Somebody's command line took something back during the fit: that was of another data set than its number says.
            offer, self._offer, self._owed = None, None, True
        self._offer = offer or self._offer
        self._unreviewed = self._unreviewed or any(row.audit for row in taken.labels)
        self._metrics.set("tiebreak_training_dataset_version", version)
        self._metrics.count("tiebreak_training_steps_total", outcome="candidate" if offer else "gathered")
        self._metrics.observe("tiebreak_training_step_seconds", self._clock.monotonic() - began)

    async def _fit(self, sink: CandidateSink) -> Candidate | None:
        """A candidate from all labels known now; None where there are too few."""
        # The number first: what is taken back after it makes the commit come to another one.
        version = self._ledger.dataset_version() + len(self._gathered.labels)
        await self._heed_retractions()
        if self._dataset.short:
            await self._reload()
        material = gathered(self._dataset, self._project)
        if not material.learnable or len(material.training) < self._project.training.min_labels:
            self._owed = False
            return None
        serving = await self._champion(sink)
        stamp = Stamp(version, int(self._clock.wall() * 1000), self._encoder, self.era_ms)
        candidate = await self._in_worker(lambda: self._train(material, serving, stamp))
        self._owed = False
        self._report(candidate)
        return candidate

    def _train(self, material: Material, serving: Serving | None, stamp: Stamp) -> Candidate:
        plan, wanted = planned(self._contest, material)
        _log.debug("plan", plan=plan.name, labels=len(wanted.training))
        return train(plan.learner, self._project, wanted, serving, stamp, self._recall)

    async def _champion(self, sink: CandidateSink) -> Serving | None:
        known = await sink.champion()
        if known is None:
            return None
        reference = self._readable(known.reference) if known.reference is not None else None
        serving = self._readable(known)
        self._read = {one.version: one for one in (serving, reference) if one is not None}
        return replace(serving, reference=reference)

    def _readable(self, known: Champion) -> Serving:
        if known.version in self._read:
            return self._read[known.version]
        ours = read_back(known.model) if known.model is not None else None
        contender = Contender(*ours, target=target_of(self._project), recall=self._recall) if ours is not None else None
        return Serving(known.version, contender)

    async def _bring(self, sink: CandidateSink) -> None:
        if self._offer is None:
            return
        try:
            await sink.consider(self._offer)
        except Conflict:
            self._owed = True  # another model serves by now: judge again, against that one
        self.pauses.written(STORE)
        self._offer = None

    async def _in_worker(self, work: Callable[[], T]) -> T:
        # Not on the event loop: health checks and the reader go on. One BLAS thread: with more, sums are taken in another
        # order and the last bits differ from run to run.
        def bounded() -> T:
            with self._blas.limit(limits=1):
                return work()

        return await asyncio.to_thread(bounded)

    def _report(self, candidate: Candidate) -> None:
        found = candidate.evaluation
        for evidence, accuracy in (("audit", found.accuracy), ("left_out", found.left_out_accuracy)):
            if accuracy.n:
                self._metrics.set("tiebreak_training_accuracy_ratio", accuracy.estimate, evidence=evidence)
        for figure in ("entropy", "nll"):
            for model, key in (("challenger", figure), ("champion", f"champion_{figure}")):
                if key in found.metrics:
                    self._metrics.set(f"tiebreak_training_{figure}_nats", found.metrics[key], model=model)


def _weights(candidate: Candidate) -> Weights:
    audited = int(candidate.evaluation.metrics["audit_labels"])
    return Weights(candidate.digest, candidate.model, candidate.manifest.label_ids, audited)
