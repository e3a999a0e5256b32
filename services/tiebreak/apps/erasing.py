"""An erasure, place by place: on the audit trail first, then the queue, the ledger, and word of what cannot be reached."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from tiebreak.apps.auditing import whoever_runs_this
from tiebreak.apps.cli_options import moment
from tiebreak.apps.deploying import learned_from
from tiebreak.apps.train import ledger_path
from tiebreak.apps.wiring import open_log, open_redis, specs_of
from tiebreak.contracts.audit import Action
from tiebreak.contracts.erasure import digests_of
from tiebreak.contracts.errors import SlowDown, TiebreakError
from tiebreak.contracts.messages import AuditRecord
from tiebreak.contracts.project import Project
from tiebreak.contracts.retention import ORDERED
from tiebreak.contracts.topics import DAY_MS, Topic
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.stage_erasing import Eraser
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.settings import Settings
from tiebreak.training.sqlite import Ledger
from tiebreak.training.sqlite_changes import Erasure


@dataclass(frozen=True, slots=True)
class Order:
    """Who is to be forgotten, as events name them, and who says so and why."""

    subject: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """What became of one place. ``trouble``: it was not reached, and this is why."""

    name: str
    said: str
    trouble: TiebreakError | None = None


async def on_trail(project: Project, settings: Settings, order: Order) -> Sequence[AuditRecord]:
    """Put the erasure on record; the whole trail. When it raises nothing was erased here, and nothing may be."""
    async with open_log(settings) as stream_log:
        trail = AuditTrail(stream_log, project.project, SystemClock())
        await trail.ensure_topic()
        for digest in digests_of(project.project, order.subject):
            await trail.append(whoever_runs_this(order.by), Action.SUBJECT_ERASED, digest, order.reason)
        return await trail.sound()


async def places(
    project: Project, settings: Settings, order: Order, records: Sequence[AuditRecord]
) -> AsyncIterator[Place]:
    """Erase from one place after the other, and tell. A place that is away does not keep the next one from being reached."""
    yield await _queue(project, settings, order)
    for place in await _ledger(project, settings, order):
        yield place
    yield Place("exports", _exports(records))
    for place in _topics(project):
        yield place


async def _queue(project: Project, settings: Settings, order: Order) -> Place:
    try:
        async with open_log(settings) as stream_log, open_redis(settings) as client:
            trail = AuditTrail(stream_log, project.project, SystemClock())
            eraser = Eraser(project.project, RedisQueue(client, project), stream_log, trail)
            found = await eraser.erase(digests_of(project.project, order.subject))
    except SlowDown:
        return Place("queue", "not built at the moment; whoever builds it leaves this person out")
    except TiebreakError as error:
        return Place("queue", "not reached; `tiebreak label` erases it by itself when it reads the audit trail", error)
    held = f" ({found.leases} of them in people's hands)" if found.leases else ""
    said = f"{found.tasks} tasks{held}, {found.answers} answers and {found.lines} lines of people's histories removed"
    return Place("queue", said)


async def _ledger(project: Project, settings: Settings, order: Order) -> Sequence[Place]:
    path = ledger_path(project.project, settings)
    if not path.is_file():
        return [Place("ledger", f"none at {path}; the trainer that has one erases it by itself as it reads the trail")]
    by, now_ms = whoever_runs_this(order.by), round(SystemClock().wall() * 1000)
    gone = set[str]()
    try:
        ledger = Ledger(path)
        try:
            for digest in digests_of(project.project, order.subject):
                gone.update(ledger.erase(Erasure(digest, by, order.reason, now_ms)))
        finally:
            ledger.close()
    except TiebreakError as error:
        return [Place("ledger", "not reached; the trainer erases it by itself when it reads the audit trail", error)]
    models = ", ".join(await learned_from(project.project, settings, gone))
    learned = f"{models} learned from them: the trainer makes one that did not" if models else "none learned from them"
    return [Place("ledger", f"{len(gone)} labels overwritten"), Place("models", learned)]


def _exports(records: Sequence[AuditRecord]) -> str:
    made = [record for record in records if record.action == Action.DATASET_EXPORTED]
    if not made:
        return "none on the audit trail; what was written elsewhere is not reached"
    last = made[-1]
    when = moment(last.time_ms, "minutes")
    return (
        f"{len(made)} made before are not reached: make them again, and VACUUM Delta tables"
        f" (the last: {when}, {last.actor}, {last.detail})"
    )


def _topics(project: Project) -> Sequence[Place]:
    masked = "with masks and a pseudonym" if project.privacy.mask else "as they were sent"
    kept = {spec.name: spec.retention_ms for spec in specs_of(project)}
    for_days = {topic: f"{(kept[topic.of(project.project)] or 0) / DAY_MS:.4g}" for topic in (Topic.EVENTS, Topic.DEAD)}
    lasting = {topic: kept[topic.of(project.project)] for topic in ORDERED}
    ended = ", ".join(f"`{topic}` for {ms / DAY_MS:.4g} days" for topic, ms in lasting.items() if ms is not None)
    ever = ", ".join(f"`{topic}`" for topic, ms in lasting.items() if ms is None)
    said = "; ".join(part for part in (f"{ever} for ever" if ever else "", ended) if part)
    return [
        Place(
            "topics",
            f"`events` is kept for {for_days[Topic.EVENTS]} days and `dead` for {for_days[Topic.DEAD]}, as they were sent",
        ),
        Place(
            "",
            f"kept are {said}, {masked}: no queue, ledger or model reads this person",
        ),
    ]
