"""The sampler's shell: what it keeps when, and what it does while Redis does not answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import pytest

from tests.support.sampling import TOPIC, columns_of, project, scores_of
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.log import Partition, StoredRecord
from tiebreak.contracts.messages import DriftEvent, Label, LabelMethod, Reason, Selection
from tiebreak.contracts.ports import Grant, Lent
from tiebreak.contracts.project import Budget, Project, Sampling
from tiebreak.contracts.sampled import Sampled
from tiebreak.contracts.tensors import EventColumns
from tiebreak.runtime.clock import ManualClock
from tiebreak.runtime.metrics import Metrics
from tiebreak.sampling.memory import MemoryBudget, MemorySnapshots
from tiebreak.sampling.stage import SNAPSHOT_EVERY_S, Sampler

BOTH = frozenset({Partition(TOPIC, 0), Partition(TOPIC, 1)})
BUSY = project(sampling=Sampling(target_share=0.1), budget=Budget(labels_per_hour=1e9, carry_over=1000))


@dataclass
class World:
    made: Project = BUSY
    clock: ManualClock = field(default_factory=ManualClock)
    snapshots: MemorySnapshots = field(default_factory=MemorySnapshots)
    metrics: Metrics = field(default_factory=lambda: Metrics("p"))
    budget: MemoryBudget = field(init=False)

    def __post_init__(self) -> None:
        self.budget = MemoryBudget(self.made)

    def sampler(self) -> Sampler:
        return Sampler(self.made, self.budget, self.snapshots, self.metrics, self.clock)

    async def started(self) -> Sampler:
        sampler = self.sampler()
        await sampler.assigned(BOTH)
        return sampler


async def select(sampler: Sampler, columns: EventColumns) -> Sampled:
    return await sampler.select(columns, scores_of(columns))


def ids(columns: EventColumns, sampled: Sampled) -> list[bytes]:
    return [columns.ids[row] for row in sampled.rows]


async def test_a_batch_is_answered_row_by_row() -> None:
    """The answer has an uncertainty per event as float32, ascending rows, and one selection per row; all is counted."""
    world = World()
    columns = columns_of(500)
    sampled = await select(await world.started(), columns)
    assert (sampled.kind, sampled.uncertainty.shape, sampled.uncertainty.dtype.name) == ("margin", (500,), "float32")
    assert list(sampled.rows) == sorted(sampled.rows)
    assert 0 < len(sampled.rows) == len(sampled.selections)
    exposed = world.metrics.exposition().decode()
    audits = sum(s.reason is Reason.AUDIT for s in sampled.selections)
    assert f'tiebreak_sampling_selected_total{{project="p",reason="audit"}} {float(audits)}' in exposed


async def test_an_empty_batch_has_an_empty_answer() -> None:
    """A batch whose every record was bad selects nothing and changes nothing."""
    sampler = await World().started()
    sampled = await select(sampler, columns_of(0))
    assert (len(sampled.uncertainty), sampled.rows, sampled.selections) == (0, (), ())


async def test_a_partition_whose_every_row_was_set_aside_is_no_hindrance() -> None:
    """A span that lost all its rows neither names the batch nor waits for a commit."""
    sampler, straight = await World().started(), await World().started()
    whole = columns_of(300)
    holed = replace(whole, spans=[(Partition(TOPIC, 1), slice(0, 0)), *whole.spans])
    assert ids(whole, await select(sampler, holed)) == ids(whole, await select(straight, whole))
    await sampler.committed({Partition(TOPIC, 0): 300})
    await straight.committed({Partition(TOPIC, 0): 300})
    later = columns_of(300, start=300)
    for one in (sampler, straight):
        await one.rewind()
    assert ids(later, await select(sampler, later)) == ids(later, await select(straight, later))


async def test_after_a_rewind_the_same_events_are_selected_again() -> None:
    """When publishing failed, the replayed batches get the same answers, from the budget as well as from the policy."""
    world = World()
    sampler = await world.started()
    first, second = columns_of(400), columns_of(400, start=400)
    await select(sampler, first)
    await sampler.committed({Partition(TOPIC, 0): 400})
    answers = []
    for _ in range(3):
        answers.append(ids(second, await select(sampler, second)))
        await sampler.rewind()
    assert answers[0] == answers[1] == answers[2] != []


async def test_a_commit_keeps_only_what_it_covers() -> None:
    """With two batches selected and the first committed, a rewind goes back to between them."""
    world = World()
    sampler, straight = await world.started(), await World().started()
    first, second = columns_of(400), columns_of(400, start=400)
    for columns in (first, second):
        await select(sampler, columns)
    await sampler.committed({Partition(TOPIC, 0): 400})
    await sampler.rewind()
    await select(straight, first)
    assert ids(second, await select(sampler, second)) == ids(second, await select(straight, second))


async def test_a_restart_goes_on_from_the_snapshot() -> None:
    """A new process that owns the same partitions decides as the old one would have."""
    world = World()
    sampler = await world.started()
    first, second = columns_of(600), columns_of(600, start=600)
    await select(sampler, first)
    world.clock.advance(SNAPSHOT_EVERY_S)
    await sampler.committed({Partition(TOPIC, 0): 600})
    heir = await world.started()
    fresh = await World().started()
    expected = await select(sampler, second)
    assert ids(second, await select(heir, second)) == ids(second, expected)
    assert ids(second, await select(fresh, second)) != ids(second, expected)


async def test_a_damaged_snapshot_costs_a_warm_up() -> None:
    """Bytes that are no snapshot are counted and ignored: the sampler starts fresh."""
    world = World()
    await world.snapshots.save("0-1", b"not a snapshot")
    columns = columns_of(400)
    sampled = await select(await world.started(), columns)
    assert ids(columns, sampled) == ids(columns, await select(await World().started(), columns))
    failures = 'tiebreak_sampling_snapshot_failures_total{operation="load",project="p"} 1.0'
    assert failures in world.metrics.exposition().decode()


async def test_losing_a_partition_does_not_hold_up_the_others() -> None:
    """A batch over two partitions is committed by the one that is left, once the other is revoked."""
    world = World()
    sampler = await world.started()
    one, other = columns_of(300), columns_of(300, partition=1)
    await select(sampler, one)
    await select(sampler, other)
    await sampler.revoked(frozenset({Partition(TOPIC, 0)}))
    await sampler.committed({Partition(TOPIC, 1): 300})
    await sampler.rewind()
    third = columns_of(300, partition=1, start=300)
    straight = await World().started()
    for columns in (one, other):
        await select(straight, columns)
    assert ids(third, await select(sampler, third)) == ids(third, await select(straight, third))


class Silent:
    """A budget whose server is away until told otherwise."""

    def __init__(self) -> None:
        self.away = True
        self._inner = MemoryBudget(BUSY)

    async def take(self, wanted: int, now_s: float, batch_key: str, bill: Sequence[float] = ()) -> Grant:
        if self.away:
            raise SlowDown("no answer")
        return await self._inner.take(wanted, now_s, batch_key, bill)

    async def borrow(self, burst: Lent, now_s: float, rest_s: float = 0.0, money: float = 0.0) -> Lent:
        if self.away:
            raise SlowDown("no answer")
        return await self._inner.borrow(burst, now_s, rest_s, money)


async def test_while_the_budget_is_away_nothing_is_decided() -> None:
    """A batch offered while Redis is away raises SlowDown; offered again later it is decided as if nothing had been."""
    world = World()
    budget = Silent()
    sampler = Sampler(BUSY, budget, world.snapshots, world.metrics, world.clock)
    await sampler.assigned(BOTH)
    columns = columns_of(400)
    for _ in range(3):
        with pytest.raises(SlowDown):
            await select(sampler, columns)
    budget.away = False
    assert ids(columns, await select(sampler, columns)) == ids(columns, await select(await World().started(), columns))


async def test_replicas_share_one_budget() -> None:
    """Three samplers on one bucket of 50 labels select 50 in all, however much each of them wants."""
    made = project(sampling=Sampling(target_share=1.0), budget=Budget(labels_per_hour=0.001, carry_over=50))
    world = World(made)
    counts = []
    for partition in range(3):
        sampler = world.sampler()
        for turn in range(4):
            columns = columns_of(50, partition=partition, start=50 * turn)
            counts.append(len((await select(sampler, columns)).rows))
    assert sum(counts) == 50


async def test_a_full_queue_stops_the_questions() -> None:
    """With as many open tasks as the project allows, nothing is selected; with room for three, three are."""
    made = project(sampling=Sampling(target_share=1.0), budget=Budget(labels_per_hour=1e9, max_open_tasks=10))
    world = World(made)
    waiting = 10
    world.budget = MemoryBudget(made, lambda: waiting)
    sampler = await world.started()
    assert list((await select(sampler, columns_of(40))).rows) == []
    waiting = 7
    world.clock.advance(1.0)
    assert len((await select(sampler, columns_of(40, start=40))).rows) == 3


async def test_an_empty_budget_is_not_asked_for_every_batch_of_a_flood() -> None:
    """After a refusal it is left alone for half a label's time, at most a second; after that, or a rewind, it is asked again."""
    made = project(sampling=Sampling(target_share=1.0), budget=Budget(labels_per_hour=600.0, carry_over=5))
    world = World(made)
    sampler = await world.started()
    asked = [len((await select(sampler, columns_of(40, start=40 * turn))).rows) for turn in range(2)]
    refused = "tiebreak_sampling_refused_total"
    first = world.metrics.registry.get_sample_value(refused, {"project": "p"})
    world.clock.advance(0.99)
    asked.append(len((await select(sampler, columns_of(40, start=80))).rows))
    assert (asked, world.metrics.registry.get_sample_value(refused, {"project": "p"})) == ([5, 0, 0], first)
    await sampler.rewind()
    await select(sampler, columns_of(40))
    assert world.metrics.registry.get_sample_value(refused, {"project": "p"}) != first


async def test_after_refusals_the_best_are_asked_and_the_budget_is_spent() -> None:
    """What a flood was refused is not owed: it would lower the threshold, and let in whoever comes first once there is money again."""
    made = project(
        sampling=Sampling(audit_share=0.0, novelty=False, temper=0.25), budget=Budget(labels_per_hour=3600.0)
    )
    world = World(made)
    sampler = await world.started()
    per_second, batch, found = 20_000, 2000, list[tuple[float, float]]()
    for turn in range(80 * per_second // batch):
        world.clock.advance(batch / per_second)
        sampled = await select(sampler, columns_of(batch, start=turn * batch))
        found += [(turn * batch / per_second, s.uncertainty) for s in sampled.selections]
    late = [uncertainty for at_s, uncertainty in found if at_s > 40.0]
    assert len(late) == pytest.approx(40, abs=4)
    assert np.mean(late) > 0.75
    assert world.metrics.registry.get_sample_value("tiebreak_sampling_refused_total", {"project": "p"}) != 0.0


def label(*, value: str, audit: bool = True, withdrawn: bool = False, predicted: str = "a") -> Label:
    selection = Selection("margin", 0.1, 0.0, 0.1, Reason.AUDIT, audit=audit, model_version="v1", state_digest="")
    return Label(
        "l", "t", "e", "p", 1, value, {value: 1.0}, 1.0, LabelMethod.CONSENSUS, (), (), selection, predicted, 0, 0, 1,
        withdrawn=withdrawn,
    )  # fmt: skip


async def test_only_standing_audit_labels_tell_the_error() -> None:
    """Wrong predictions on audit labels reach the drift detectors; other labels, withdrawals and cold starts do not."""
    burst = BUSY.drift.burst.model_copy(update={"known_to": None})
    drift = BUSY.drift.model_copy(update={"signals": ("audit_error",), "votes": 1, "burst": burst})
    world = World(BUSY.model_copy(update={"drift": drift}))
    sampler = await world.started()
    rng = np.random.default_rng(3)
    for turn in range(300):
        wrong = turn >= 200 or rng.random() < 0.1
        sampler.observe_label(label(value="b" if wrong else "a"))
        for ignored in (
            label(value="b", audit=False),
            label(value="b", withdrawn=True),
            label(value="b", predicted=""),
        ):
            sampler.observe_label(ignored)
    records = [r for start in (0, 100) for r in (await select(sampler, columns_of(100, start=start))).drift]
    assert {r.signal for r in records[:-1]} == {"audit_error"}
    assert records[-1].event is DriftEvent.BURST_CLOSED


async def test_labels_looked_for_where_models_differ_do_not_alarm_the_error_detectors() -> None:
    """A thousand labels at weight 0.02, nearly all wrong, among 400 of a slice that is wrong in a tenth: no drift; unweighted, one."""
    drift = BUSY.drift.model_copy(update={"signals": ("audit_error",), "votes": 1})
    found = {}
    for weight in (0.02, 0.0):
        sampler = await World(BUSY.model_copy(update={"drift": drift})).started()
        rng = np.random.default_rng(3)
        for turn in range(1200):
            plain = label(value="b" if rng.random() < 0.1 else "a")
            sampler.observe_label(replace(plain, label_id=f"u{turn}"))
            if turn >= 200:
                chosen = replace(plain.selection, weight=weight, challenger="v2")
                sampler.observe_label(replace(plain, label_id=f"l{turn}", value="b", selection=chosen))
        found[weight] = {r.signal for r in (await select(sampler, columns_of(100))).drift} - {""}
    assert found == {0.02: set(), 0.0: {"audit_error"}}


async def test_every_standing_label_tells_of_mistakes() -> None:
    """Selected labels, audit or not, whose predictions turn wrong open a burst; withdrawals and cold starts tell nothing."""
    sampler = await World(BUSY).started()
    for turn in range(80):
        value = "b" if turn >= 60 else "a"
        ignored = (label(value="b", audit=False, withdrawn=True), label(value="b", audit=False, predicted=""))
        for one in (label(value=value, audit=turn % 2 == 0), *ignored * (turn < 60)):
            sampler.observe_label(one)
    records = (await select(sampler, columns_of(100))).drift
    opened = (DriftEvent.ALARM, "label_error"), (DriftEvent.BURST_OPENED, "label_error")
    assert tuple((r.event, r.signal) for r in records[:2]) == opened
    assert {r.detector for r in records[:2]} == {"CUSUM"}


async def test_one_source_cannot_have_all_the_questions() -> None:
    """With a cap of a hundredth of 200, events of one CloudEvents source cause two questions beside the audit slice, and no more."""
    capped = BUSY.sampling.model_copy(update={"origin_share": 0.01})
    sampler = await World(BUSY.model_copy(update={"sampling": capped})).started()
    columns = columns_of(1000)
    records = [replace(cast("StoredRecord", r), headers=(("ce_source", b"bot"),)) for r in columns.records]
    sampled = await select(sampler, replace(columns, records=records))
    assert sum(not selection.audit for selection in sampled.selections) == 2
