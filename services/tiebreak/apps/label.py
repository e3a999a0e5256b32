"""`tiebreak label`: tasks to people, their answers to labels."""

from __future__ import annotations

from random import SystemRandom

from starlette.types import ASGIApp

from tiebreak.apps.deploying import deployer_of, store_of
from tiebreak.apps.rescoring import HeadOpinions
from tiebreak.apps.wiring import Process
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
from tiebreak.labeling.stage_crowd import Panel
from tiebreak.labeling.stage_pace import Paced
from tiebreak.labeling.stage_people import Around, People
from tiebreak.labeling.stage_rebuild import Rebuilder
from tiebreak.labeling.stage_rescoring import Rescorer
from tiebreak.labeling.stage_tokens import TokenRebuilder
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.garbage import collect_rarely
from tiebreak.runtime.lifecycle import Phase

# People wait for these loops: small batches, and no waiting for more.
_MAX_RECORDS = 500
_POLL_S = 0.2


async def assemble_label(process: Process) -> ASGIApp | None:
    """Intake, settling, sweeping and rebuilding of one project's queue, and the API over it."""
    project, metrics, settings = process.project, process.metrics, process.settings
    check_exposure(settings.host, tls=settings.tls is not None, behind_proxy=settings.behind_proxy)
    queue, doorbell = RedisQueue(process.redis, project), Doorbell()
    rebuilder = Rebuilder(project, queue, process.log, metrics)
    process.life.run(Phase.SOURCES, "long polls", doorbell.close_at)
    process.life.run(Phase.SOURCES, "sweeper", Sweeper(queue, metrics, doorbell).run)
    process.life.run(Phase.SOURCES, "rebuilder", rebuilder.run)
    tokens, trail = RedisTokens(process.redis, project.project), AuditTrail(process.log, project.project, process.clock)
    process.life.run(Phase.SOURCES, "tokens", TokenRebuilder(tokens, trail, process.clock).run)
    _consume(process, Topic.TASKS, "intake", Intake(project, queue, metrics, doorbell))
    settler = Settler(project, queue, metrics, doorbell, Panel(project, queue, process.log))
    _consume(process, Topic.ANNOTATIONS, "settling", Paced(settler, process.clock))
    writer = process.log.writer()
    await writer.start()
    process.life.on_stop(Phase.SINKS, "answers", writer.close)
    around = Around(process.log, writer, metrics, process.clock, SystemRandom().random)
    people = People(project, queue, around)
    queue.serve(people.routes)
    process.life.run(Phase.SOURCES, "people", people.run)
    if project.model.source == "trainer":
        opinions = HeadOpinions(project, store_of(settings))
        rescorer = Rescorer(project, queue, process.log, opinions, process.clock)
        process.life.run(Phase.SOURCES, "rescoring", rescorer.run)
    models = deployer_of(process)
    await models.start()
    process.life.on_stop(Phase.SINKS, "models", models.close)
    app = create_app(
        LabelingContext(
            project=project,
            queue=queue,
            tokens=tokens,
            writer=writer,
            metrics=metrics,
            clock=process.clock,
            doorbell=doorbell,
            health=process.health,
            token_epoch=queue.token_epoch,
            audit=trail,
            issuer=_issuer(process),
            originals=History(process.log, Topic.EVENTS.of(project.project)),
            people=people,
            models=models,
        )
    )
    collect_rarely()
    return app


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
    settings = LoopSettings(stage=stage, project=name, max_records=_MAX_RECORDS, poll_s=_POLL_S)
    reader = process.log.reader([topic.of(name)], f"tiebreak.{name}.{stage}")
    loop = ConsumeLoop(reader, process.log.writer(), handler, settings, process.metrics, process.clock)
    process.life.run(Phase.WORK, stage, loop.run)
    process.watch_loop(stage, loop)
