"""`tiebreak label`: tasks to people, their answers to labels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import SystemRandom

from starlette.types import ASGIApp

from tiebreak.apps.deploying import deployer_of, store_of
from tiebreak.apps.rescoring import HeadOpinions
from tiebreak.apps.retaining import Timers
from tiebreak.apps.wiring import Assemble, Process
from tiebreak.contracts.handling import Handler
from tiebreak.contracts.topics import Topic
from tiebreak.events.stage import ConsumeLoop, LoopSettings
from tiebreak.events.stage_history import History
from tiebreak.labeling.access import check_exposure
from tiebreak.labeling.http import LabelingContext, create_app
from tiebreak.labeling.http_issuer import JwksIssuer, issuer_client
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.redis_tokens import RedisTokens
from tiebreak.labeling.stage import Doorbell, Intake, Settler, Sweeper
from tiebreak.labeling.stage_clock import TimelyWriter
from tiebreak.labeling.stage_crowd import Panel
from tiebreak.labeling.stage_erasing import Eraser
from tiebreak.labeling.stage_pace import Paced
from tiebreak.labeling.stage_people import Around, People
from tiebreak.labeling.stage_rebuild import Rebuilder
from tiebreak.labeling.stage_recall import Recall
from tiebreak.labeling.stage_rescoring import Rescorer
from tiebreak.labeling.stage_tokens import TokenRebuilder
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.garbage import collect_rarely
from tiebreak.runtime.lifecycle import Phase

# People wait for these loops: small batches, and under load no waiting for more than this.
# Not longer for answers, though each of their batches costs three runs and fsyncs in Redis: who takes an answer back and gives
# another before the first is settled has the task offered to somebody else in between.
_MAX_RECORDS = 500
_POLL_S, _GATHER_S = 0.2, 0.1


class LabelRole(StrEnum):
    """What one `tiebreak label` does: everything, or one half of it (docs/adr/0011)."""

    ALL = "all"
    API = "api"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True)
class _Desk:
    """What both halves of a process hold in common."""

    queue: RedisQueue
    tokens: RedisTokens
    trail: AuditTrail
    doorbell: Doorbell


def label_as(role: LabelRole) -> Assemble:
    """How a process of this role is put together."""

    async def assemble(process: Process) -> ASGIApp | None:
        name, settings = process.project.project, process.settings
        if role is not LabelRole.SETTLE:
            check_exposure(settings.host, tls=settings.tls is not None, behind_proxy=settings.behind_proxy)
        desk = _Desk(
            RedisQueue(process.redis, process.project, metrics=process.metrics),
            RedisTokens(process.redis, name),
            AuditTrail(process.log, name, process.clock, process.metrics),
            Doorbell(),
        )
        if role is not LabelRole.API:
            _settle(process, desk)
        app = None if role is LabelRole.SETTLE else await _serve(process, desk)
        collect_rarely()
        return app

    return assemble


def _settle(process: Process, desk: _Desk) -> None:
    """Intake, settling, sweeping, re-scoring and rebuilding of one project's queue."""
    project, metrics, queue, doorbell = process.project, process.metrics, desk.queue, desk.doorbell
    eraser = Eraser(project.project, queue, process.log, desk.trail, metrics=metrics)
    timers = Timers(project, desk.trail, process.clock, metrics)
    process.life.run(Phase.SOURCES, "retention", timers.run)
    process.life.run(Phase.SOURCES, "sweeper", Sweeper(queue, metrics, doorbell).run)
    process.life.run(Phase.SOURCES, "rebuilder", Rebuilder(project, queue, process.log, metrics, desk.trail).run)
    process.life.run(Phase.SOURCES, "erasures", eraser.run)
    process.life.run(Phase.SOURCES, "tokens", TokenRebuilder(desk.tokens, desk.trail, process.clock).run)
    _consume(process, Topic.TASKS, "intake", Intake(project, queue, metrics, doorbell, eraser.horizons))
    settler = Settler(project, queue, metrics, doorbell, Panel(project, queue, process.log))
    _consume(process, Topic.ANNOTATIONS, "settling", Paced(settler, process.clock, _GATHER_S))
    if project.model.source == "trainer":
        opinions = HeadOpinions(project, store_of(process.settings))
        rescorer = Rescorer(project, queue, process.log, opinions, process.clock)
        process.life.run(Phase.SOURCES, "rescoring", rescorer.run)


async def _serve(process: Process, desk: _Desk) -> ASGIApp:
    """The API and the page over the queue, and what they know of the people who answer."""
    project, queue = process.project, desk.queue
    process.life.run(Phase.SOURCES, "long polls", desk.doorbell.close_at)
    writer = TimelyWriter(process.log.writer(), process.log.writer())
    await writer.start()
    process.health.ready_when("clock", writer.check)
    process.life.on_stop(Phase.SINKS, "answers", writer.close)
    around = Around(process.log, writer, process.metrics, process.clock, SystemRandom().random, desk.trail)
    people = People(project, queue, around)
    queue.serve(people.routes)
    process.health.ready_when("people", people.ready)
    process.life.run(Phase.SOURCES, "people", people.run)
    models = deployer_of(process)
    await models.start()
    process.life.on_stop(Phase.SINKS, "models", models.close)
    return create_app(
        LabelingContext(
            project=project,
            queue=queue,
            tokens=desk.tokens,
            writer=writer,
            metrics=process.metrics,
            clock=process.clock,
            doorbell=desk.doorbell,
            health=process.health,
            token_epoch=queue.token_epoch,
            audit=desk.trail,
            issuer=_issuer(process),
            originals=History(process.log, Topic.EVENTS.of(project.project)),
            people=people,
            recall=Recall(project, process.log, desk.trail),
            models=models,
        )
    )


def _issuer(process: Process) -> JwksIssuer | None:
    rules = process.project.access.sso
    if rules is None:
        return None
    client = issuer_client()

    async def close(_timeout_s: float) -> None:
        await client.aclose()

    process.life.on_stop(Phase.SINKS, "issuer", close)
    return JwksIssuer(rules, client, process.clock)


def _consume(process: Process, topic: Topic, stage: str, handler: Handler) -> None:
    name = process.project.project
    settings = LoopSettings(stage=stage, project=name, max_records=_MAX_RECORDS, poll_s=_POLL_S, gather_s=_GATHER_S)
    reader = process.log.reader([topic.of(name)], f"tiebreak.{name}.{stage}")
    loop = ConsumeLoop(reader, process.log.writer(), handler, settings, process.metrics, process.clock)
    process.life.run(Phase.WORK, stage, loop.run)
    process.watch_loop(stage, loop)
