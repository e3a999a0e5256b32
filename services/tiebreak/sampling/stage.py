"""The sampler's shell: gather the grant, let the policy decide, keep its state only once the batch is committed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.columns import offset_at, sizes_of, timestamp_at
from tiebreak.contracts.errors import Invalid, SlowDown
from tiebreak.contracts.log import Partition, Positions, Record
from tiebreak.contracts.messages import DriftEvent, DriftRecord, Label
from tiebreak.contracts.ports import NO_BURST, Budget, Grant, Lent, Snapshots
from tiebreak.contracts.project import Answer, Project
from tiebreak.contracts.sampled import Sampled
from tiebreak.contracts.tensors import EventColumns, Scores
from tiebreak.runtime.metrics import Metrics
from tiebreak.sampling import alarms, pricing, schedule
from tiebreak.sampling import policy as rule
from tiebreak.sampling.acquisition_forms import shares_of
from tiebreak.sampling.appraisal import Appraisal, Moment, Policy, Scored, initial, utilities
from tiebreak.sampling.appraising import appraise
from tiebreak.sampling.decision import NOTHING, UNLIMITED, Decision
from tiebreak.sampling.features import flat_inputs
from tiebreak.sampling.heard import Answered, Heard, Told
from tiebreak.sampling.state import SamplerState, restore, snapshot

SNAPSHOT_EVERY_S = 5.0
LATEST = "latest"
LONGEST_REST_S = 1.0


@dataclass(slots=True)
class _Pending:
    """A batch whose outputs are not committed yet: the positions after it, what it took in of labels, and the state it left, with
    the burst heard of by then."""

    ends: dict[Partition, int] = field(default_factory=dict)
    told: Told = field(default_factory=Told)
    state: SamplerState | None = None
    burst: Lent = NO_BURST


class Sampler:
    """Selects from scored batches. One task uses it at a time; batches are committed in the order they were selected.

    ``select`` builds on everything selected before it, committed or not; ``committed`` makes the state of that batch the one
    that ``rewind`` goes back to, and writes it to ``snapshots`` every few seconds. Losing a snapshot costs a warm-up.
    """

    def __init__(self, project: Project, budget: Budget, snapshots: Snapshots, metrics: Metrics, clock: Clock) -> None:
        self._policy, self._answer = Policy.of(project), project.labeling.answer
        self._partitions = project.partitions
        self._budget, self._snapshots, self._metrics, self._clock = budget, snapshots, metrics, clock
        self._head = self._kept = initial(self._policy)
        self._pending: deque[_Pending] = deque()
        self._owned: frozenset[Partition] = frozenset()
        self._burst = self._kept_burst = NO_BURST
        self._heard = Heard(self._policy, self._answer)
        self._saved_at = clock.monotonic()
        # A flood would ask an empty budget for every batch: after a refusal it is left alone for the time of half a label.
        self._rest_s = min(LONGEST_REST_S, 0.5 * 3600.0 / project.budget.labels_per_hour)
        self._rests_until = 0.0

    @property
    def hears_labels(self) -> bool:
        """Whether labels that come back change what it does."""
        return self._heard.listens

    async def select(self, columns: EventColumns, scores: Scores) -> Sampled:
        """Decide whom to ask about. Raises SlowDown, with nothing kept, while the budget does not answer."""
        batch = _batch(columns, scores, self._answer, sized=self._policy.sampling.cost_per_kilobyte > 0.0)
        if not len(columns):
            kind, utility = utilities(self._policy.sampling.strategy, batch)
            return Sampled(kind, utility.astype(np.float32), (), ())
        began = self._clock.monotonic()
        told = self._heard.waiting()
        owned = frozenset(partition.index for partition in self._owned)
        moment = Moment(self._clock.wall(), self._fleet(), *told, burst=self._burst, partitions=owned)
        appraisal, before = appraise(self._policy, self._head, batch, moment)
        before, appraisal, burst = await self._lent(before, appraisal, moment)
        allowance = NOTHING if began < self._rests_until and not appraisal.bursts else UNLIMITED
        wanted, after = rule.choose(self._policy, before, batch, appraisal, allowance)
        decided_s = self._clock.monotonic() - began
        grant = await self._grant(columns, wanted, (moment.now_s, burst))
        if grant.granted < len(wanted.rows):
            self._rests_until = began + self._rest_s
        decision, after = rule.within(self._policy, (before, after), batch, (appraisal, wanted), grant)
        self._heard.used(told)
        # Not before: a batch that the budget did not answer is decided anew, and must not know the burst that it opened.
        self._head, self._burst = after, grant.burst
        self._pending.append(_Pending(_ends(columns), told, after, grant.burst))
        self._measure(appraisal, decision, len(wanted.rows), grant)
        self._metrics.observe("tiebreak_sampling_decide_seconds", decided_s)
        return Sampled(
            kind=decision.kind,
            uncertainty=decision.utility.astype(np.float32),
            rows=decision.rows,
            selections=decision.selections,
            drift=decision.records,
        )

    async def committed(self, positions: Positions) -> None:
        """Keep the state of every batch that ``positions`` covers."""
        while self._pending and all(positions.get(p, -1) >= end for p, end in self._pending[0].ends.items()):
            done = self._pending.popleft()
            if done.state is not None:
                self._kept, self._kept_burst = done.state, done.burst
        if self._clock.monotonic() - self._saved_at >= SNAPSHOT_EVERY_S:
            await self._save()

    async def rewind(self) -> None:
        """Go back to the last committed state: the batches since then will come again."""
        self._heard.again([pending.told for pending in self._pending])
        self._pending.clear()
        self._head, self._burst = self._kept, self._kept_burst
        # Batches that were granted labels get the same answer again, if they ask.
        self._rests_until = 0.0

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """Own more partitions. A sampler that has seen nothing yet starts from the snapshot of these, or of the newest sampler."""
        self._owned |= partitions
        if self._head.seen:
            return
        loaded = await self._load(self._key())
        if loaded is None and (newest := await self._load(LATEST)) is not None:
            # Of another sampler, which tells of its burst itself.
            loaded = replace(newest, plan=replace(newest.plan, burst=replace(newest.plan.burst, own=False)))
        if loaded is not None:
            self._head = self._kept = loaded

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        """Own fewer partitions: what was selected from them no longer waits for a commit. Saves what is committed."""
        await self._save()
        self._owned -= partitions
        for pending in self._pending:
            for partition in partitions:
                pending.ends.pop(partition, None)

    def observe_label(self, label: Label) -> None:
        """Learn from a settled label whether the prediction was right."""
        if not label.withdrawn:
            self._heard.tell(Answered(label.label_id, label.selection, label.predicted, label.value, label.features))

    async def close(self) -> None:
        """Write the committed state down."""
        await self._save()

    async def _grant(self, columns: EventColumns, wanted: Decision, at: tuple[float, Lent]) -> Grant:
        """The labels for ``wanted``. ``at``: the time, and the burst heard of so far, which stays where nobody is asked."""
        now_s, burst = at
        tariff = self._policy.tariff
        if not wanted.rows:
            return Grant(0, -1, burst)
        bill = pricing.bill(tariff, wanted.selections)
        return await self._budget.take(len(wanted.rows), now_s, _batch_key(columns), bill)

    async def _lent(
        self, state: SamplerState, appraisal: Appraisal, moment: Moment
    ) -> tuple[SamplerState, Appraisal, Lent]:
        """Borrow for the bursts opened now; one that another replica has opened for the same change is taken part in instead."""
        tariff = self._policy.tariff
        burst = moment.burst
        usual = 0.0 if tariff is None else tariff.ordinary * state.spending.price
        for asked in appraisal.bursts:
            rest_s = schedule.rest_s(state.plan, self._policy.drift.burst)
            burst = await self._budget.borrow(asked, moment.now_s, rest_s, asked.labels * usual)
            state, appraisal = alarms.lent((self._head, state), appraisal, asked, burst)
        return state, appraisal, burst

    def _fleet(self) -> float:
        return len(self._owned) / self._partitions if 0 < len(self._owned) <= self._partitions else 1.0

    def _key(self) -> str:
        return "-".join(str(p.index) for p in sorted(self._owned))

    async def _load(self, key: str) -> SamplerState | None:
        try:
            raw = await self._snapshots.load(key)
            return None if raw is None else restore(raw, initial(self._policy), self._policy.fingerprint)
        except (Invalid, SlowDown):
            # A warm-up is cheaper than a stage that does not start.
            self._metrics.count("tiebreak_sampling_snapshot_failures_total", operation="load")
            return None

    async def _save(self) -> None:
        self._saved_at = self._clock.monotonic()
        if not self._kept.seen or not self._owned:
            return
        raw = snapshot(self._kept, self._policy.fingerprint)
        try:
            await self._snapshots.save(self._key(), raw)
            await self._snapshots.save(LATEST, raw)
        except SlowDown:
            self._metrics.count("tiebreak_sampling_snapshot_failures_total", operation="save")

    def _measure(self, appraisal: Appraisal, decision: Decision, wanted: int, grant: Grant) -> None:
        metrics = self._metrics
        for selection in decision.selections:
            metrics.count("tiebreak_sampling_selected_total", reason=selection.reason.value)
        metrics.count("tiebreak_sampling_refused_total", wanted - len(decision.rows))
        metrics.count("tiebreak_sampling_malformed_rows_total", appraisal.malformed)
        metrics.set("tiebreak_sampling_share_ratio", self._head.plan.share)
        metrics.set("tiebreak_sampling_uncertainty_ratio", float(decision.utility.mean()))
        if grant.open_tasks >= 0:
            metrics.set("tiebreak_sampling_open_tasks", grant.open_tasks)
        self._count_drift(decision.records)

    def _count_drift(self, records: tuple[DriftRecord, ...]) -> None:
        for record in records:
            if record.event in {DriftEvent.WARNING, DriftEvent.ALARM}:
                labels = {"event": record.event.value, "detector": record.detector, "signal": record.signal}
                self._metrics.count("tiebreak_sampling_drift_total", 1.0, **labels)
            elif record.event is DriftEvent.BURST_OPENED:
                self._metrics.count("tiebreak_sampling_bursts_total")
            else:
                self._metrics.count("tiebreak_sampling_bursts_ended_total", ended=record.ended)


def _batch(columns: EventColumns, scores: Scores, answer: Answer, *, sized: bool) -> Scored:
    inputs = flat_inputs(columns.inputs)
    features = inputs if scores.embedding is None else scores.embedding
    return Scored(
        ids=columns.ids,
        version=scores.version,
        probabilities=scores.probabilities if scores.asking is None else scores.asking,
        members=scores.members if scores.values is None else shares_of(scores.members, answer),
        features=features,
        inputs=scores.embedding if inputs is None else inputs,
        embedded=inputs is None,
        replayed=frozenset(columns.replayed),
        partition=columns.spans[-1][0].index if len(columns) else 0,
        offset=offset_at(columns.records, -1) if len(columns) else 0,
        form=scores.form,
        values=shares_of(scores.values, answer),
        classes=scores.classes,
        kilobytes=sizes_of(columns.records) / 1024.0 if sized else None,
        origin_of=lambda row: _origin(columns.records[row]),
        time_of=lambda row: timestamp_at(columns.records, row),
        challenger=scores.challenger,
        differs=scores.differs,
    )


def _origin(record: Record) -> tuple[bytes | None, bytes | None]:
    """The CloudEvents source and the key. Producers that key by event id have no key worth the name, and none binds."""
    return next((value for name, value in record.headers if name == "ce_source"), None), record.key


def _ends(columns: EventColumns) -> dict[Partition, int]:
    return {p: offset_at(columns.records, rows.stop - 1) + 1 for p, rows in columns.spans if rows.stop > rows.start}


def _batch_key(columns: EventColumns) -> str:
    spans: Mapping[Partition, slice] = dict(columns.spans)
    records = columns.records
    return "|".join(
        f"{p.topic}/{p.index}/{offset_at(records, rows.start)}-{offset_at(records, rows.stop - 1)}"
        for p, rows in sorted(spans.items())
        if rows.stop > rows.start
    )
