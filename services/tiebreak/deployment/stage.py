"""The deployer: takes candidates through the gate, and keeps the topic `models`, which says what serves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from tiebreak.contracts.candidate import Candidate, Champion, Incumbents, Paired
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import PROTOBUF, decode_model, encode, headers_for
from tiebreak.contracts.errors import BadRecord, Conflict, ModelRefused, NotFound, PublishFailed, Unreachable
from tiebreak.contracts.log import Log, Message, Outputs, Record
from tiebreak.contracts.messages import Manifest, ModelEvent, ModelRecord
from tiebreak.contracts.ports import ModelStore
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.deployment.gate import Decision, Verdict, judge, judge_serving, unpriced
from tiebreak.deployment.outcomes import Outcomes
from tiebreak.deployment.port import Probe, Served
from tiebreak.deployment.registry import GATE, Registry
from tiebreak.deployment.report import report_of
from tiebreak.deployment.rollout import next_stage
from tiebreak.deployment.shelf import Shelf
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.reading import up_to

_ADVANCE_S = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a deployer works with.

    ``figures``: where it exports what became of the models so far; None where another process does, since two that do not read the
    topic at the same moments would contradict each other.
    """

    store: ModelStore
    log: Log
    probe: Probe
    metrics: Metrics
    clock: Clock
    figures: Metrics | None = None


class Deployer:
    """One project's deployer, a CandidateSink and a ServingJudge. Every change is a record on `models`, read back from there.

    Operations are one at a time. Several deployers (the trainer's, a command line's) may work on one project: each reads the
    topic to its end before it decides.
    """

    def __init__(self, project: Project, tools: Tools) -> None:
        self._project, self._tools = project, tools
        topic = Topic.MODELS.of(project.project)
        self._topic = topic
        self._reader = tools.log.reader([topic], None)
        self._writer = tools.log.writer()
        self._registry, self._outcomes = Registry(), Outcomes()
        self._shelf = Shelf(tools.store, project.project)
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Connect and learn what serves. Raises Unreachable."""
        await self._reader.start()
        await self._writer.start()
        async with self._lock:
            await self._follow()

    async def close(self, timeout_s: float) -> None:
        """Let go of the log."""
        await self._reader.close(timeout_s)
        await self._writer.close(timeout_s)

    async def registry(self) -> Registry:
        """Champion and history as of now."""
        async with self._lock:
            return await self._follow()

    async def outcomes(self) -> Outcomes:
        """What became of the models so far."""
        async with self._lock:
            await self._follow()
            return self._outcomes

    async def champion(self) -> Champion | None:
        """The model that serves, or None."""
        registry = await self.registry()
        if not registry.champion:
            return None
        champion = await self._read(registry.champion)
        if registry.reference == registry.champion:
            return champion
        return replace(champion, reference=await self._read(registry.reference))

    async def incumbents(self) -> Sequence[Incumbents]:
        """What serves beside what served before it and beside the reference, and a challenger in a rollout beside what serves."""
        registry = await self.registry()
        found: list[Incumbents] = []
        if registry.pinned:
            return found
        champion = await self._read(registry.champion) if registry.previous or registry.rollout else None
        if champion is not None and registry.previous:
            # Where that is the reference, what was seen since the line left it stays evidence: a rollback does not end it.
            left_ms = registry.left_ms if registry.previous == registry.reference else 0
            found.append(Incumbents(champion, await self._read(registry.previous), left_ms or registry.since_ms))
        if champion is not None and registry.reference not in {registry.champion, registry.previous}:
            # Small steps, each as good as the one before by all that can be seen, may lead down: the whole way is looked at.
            found.append(Incumbents(champion, await self._read(registry.reference), registry.left_ms))
        if champion is not None and registry.rollout:
            challenger = await self._read(registry.rollout.version)
            found.append(Incumbents(challenger, champion, registry.rollout.began_ms, tried=True))
        return found

    async def review(self, incumbents: Incumbents, since: Paired) -> None:
        """Roll back by itself where the audit labels since condemn what serves, or is on its way to."""
        decision = judge_serving(since, self._project.gate, tried=incumbents.tried)
        if decision.verdict is not Verdict.ROLL_BACK:
            return
        better, condemned = incumbents.previous.version, incumbents.serving.version
        async with self._lock:
            registry = await self._follow()
            pairs = {(registry.previous, registry.champion), (registry.reference, registry.champion)}
            if incumbents.tried:
                pairs = {(registry.champion, registry.rollout.version if registry.rollout else "")}
            if (better, condemned) not in pairs or registry.pinned:
                return
            try:
                manifest, _ = await self._tools.store.get(self._project.project, better)
            except (NotFound, ModelRefused) as error:
                # It was there when `incumbents` read it. What serves goes on, as where it is gone before.
                _log.warning("not rolled back: the model to go back to cannot be read", to=better, error=str(error))
                return
            await self._publish(_record(manifest, ModelEvent.ROLLED_BACK, decision.reasons, "", parent=condemned))
        self._tools.metrics.count("tiebreak_deployment_verdicts_total", verdict=Verdict.ROLL_BACK.value)
        _log.warning("rolled back", to=manifest.version, reasons=decision.reasons)

    async def _read(self, version: str) -> Champion:
        try:
            return Champion(version, (await self._tools.store.get(self._project.project, version))[1])
        except (NotFound, ModelRefused) as error:
            _log.warning(
                "a model's file cannot be read: nothing can be compared with it", version=version, error=str(error)
            )
            return Champion(version, None)

    async def consider(self, candidate: Candidate) -> None:
        """Store, check, judge, publish the verdict. A version with a verdict is left as it is.

        Raises Conflict when the candidate was evaluated against another model than the one that serves.
        """
        began = self._tools.clock.monotonic()
        async with self._lock:
            registry = await self._follow()
            manifest = candidate.manifest
            if manifest.version in registry.judged:
                return
            if candidate.evaluation.champion != registry.champion:
                raise Conflict(f"{manifest.version} was judged against another model than {registry.champion!r}.")
            # The file first: a record never names a model that a scorer could not fetch.
            await self._tools.store.put(manifest, candidate.model)
            if manifest.version not in registry.known:
                await self._publish(_record(manifest, ModelEvent.CANDIDATE, (), report_of(candidate)))
            decision = await self._decide(candidate, registry)
            event = ModelEvent.PROMOTED if decision.verdict is Verdict.PROMOTE else ModelEvent.HELD
            if event is ModelEvent.PROMOTED and await self._by_stages(candidate, registry):
                event = ModelEvent.SHADOW
            record = _record(manifest, event, decision.reasons, report_of(candidate))
            await self._publish(replace(record, reference=manifest.version if decision.accepted else ""))
        self._tools.metrics.count("tiebreak_deployment_verdicts_total", verdict=decision.verdict.value)
        self._tools.metrics.observe("tiebreak_deployment_gate_seconds", self._tools.clock.monotonic() - began)
        _log.info("verdict", version=manifest.version, verdict=decision.verdict.value, reasons=decision.reasons)

    async def run(self, stop: asyncio.Event) -> None:
        """Take rollouts further, until ``stop`` is set."""
        while not stop.is_set():
            try:
                await self.advance()
            except (Unreachable, PublishFailed) as error:
                _log.warning("a rollout waits for the log", error=str(error))
            except (NotFound, ModelRefused) as error:
                _log.warning("a rollout waits: a model of it cannot be read", error=str(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _ADVANCE_S)

    async def advance(self) -> None:
        """The rollout's next stage, if it is due: all that it rests on is on the topic, so any deployer may go on with it."""
        async with self._lock:
            registry = await self._follow()
            rollout = registry.rollout
            if rollout is None or registry.pinned:
                return
            stage = next_stage(rollout, self._project.gate, int(self._tools.clock.wall() * 1000))
            if stage is None:
                return
            back = stage.event is ModelEvent.ROLLED_BACK
            serves = registry.champion if back else rollout.version
            manifest = await self._tools.store.manifest(self._project.project, serves)
            record = _record(
                manifest, stage.event, stage.reasons, "", parent=rollout.version if back else registry.champion
            )
            accepted = rollout.reference if stage.event is ModelEvent.PROMOTED else ""
            await self._publish(replace(record, share=stage.share, reference=accepted))
        if stage.event is not ModelEvent.CANARY:
            verdict = Verdict.ROLL_BACK if back else Verdict.PROMOTE
            self._tools.metrics.count("tiebreak_deployment_verdicts_total", verdict=verdict.value)
        _log.info("rollout", version=rollout.version, stage=stage.event.value, share=stage.share, reasons=stage.reasons)

    async def _by_stages(self, candidate: Candidate, registry: Registry) -> bool:
        gate, evaluation = self._project.gate, candidate.evaluation
        # All audit labels: a drift makes evidence scarce, and a model that takes over then needs the stages more, not less.
        labels = max(len(evaluation.audit), int(evaluation.metrics.get("audit_labels", 0.0)))
        if gate.rollout == "direct" or not registry.champion or labels < gate.young_labels:
            return False
        champion = await self._shelf.served(registry.champion)
        # With other classes the two cannot answer parts of one stream: a new class comes at once, as the gate let it.
        return champion is not None and champion.manifest.classes == candidate.manifest.classes

    async def manifest(self, version: str) -> Manifest:
        """Raises NotFound, or ModelRefused for one that cannot be read."""
        return await self._tools.store.manifest(self._project.project, version)

    async def promote(self, version: str, by: str, reason: str, order: str = "") -> None:
        """A person's word: serve this version, whatever the gate said. Raises NotFound, or ModelRefused for damaged bytes."""
        async with self._lock:
            if (await self._follow()).ordered(order):
                return
            manifest, _ = await self._tools.store.get(self._project.project, version)
            await self._publish(replace(_record(manifest, ModelEvent.PROMOTED, (reason,), "", by), order=order))
        self._tools.metrics.count("tiebreak_deployment_verdicts_total", verdict=Verdict.PROMOTE.value)

    async def rollback(self, by: str, reason: str, order: str = "", of: str | None = None) -> str:
        """End the rollout under way, else serve the champion before this one again; return what serves.

        Raises Conflict when there is none before.
        """
        async with self._lock:
            registry = await self._follow()
            if done := registry.ordered(order):
                return done.version
            _check_still(of, registry.at_stake)
            if registry.rollout is not None:
                manifest = await self._tools.store.manifest(self._project.project, registry.champion)
                ended = _record(manifest, ModelEvent.ROLLED_BACK, (reason,), "", by, registry.rollout.version)
                await self._publish(replace(ended, order=order))
                return manifest.version
            if not registry.previous:
                raise Conflict(
                    "There is no model to go back to.", fix="Promote a version: `tiebreak models list` has them."
                )
            manifest, _ = await self._tools.store.get(self._project.project, registry.previous)
            back = _record(manifest, ModelEvent.ROLLED_BACK, (reason,), "", by, registry.champion)
            await self._publish(replace(back, order=order))
        self._tools.metrics.count("tiebreak_deployment_verdicts_total", verdict=Verdict.ROLL_BACK.value)
        return manifest.version

    async def pin(self, by: str, reason: str, order: str = "", of: str | None = None) -> str:
        """Keep what serves until :meth:`unpin`: candidates are held. Returns its version; raises NotFound while there is none."""
        return await self._mark(ModelEvent.PINNED, by, reason, order, of)

    async def unpin(self, by: str, reason: str, order: str = "", of: str | None = None) -> str:
        """Let the gate promote again."""
        return await self._mark(ModelEvent.UNPINNED, by, reason, order, of)

    async def _mark(self, event: ModelEvent, by: str, reason: str, order: str, of: str | None) -> str:
        async with self._lock:
            registry = await self._follow()
            if done := registry.ordered(order):
                return done.version
            if not registry.champion:
                raise NotFound("No model serves yet.")
            _check_still(of, registry.champion)
            manifest = await self._tools.store.manifest(self._project.project, registry.champion)
            await self._publish(replace(_record(manifest, event, (reason,), "", by), order=order))
            return registry.champion

    async def _decide(self, candidate: Candidate, registry: Registry) -> Decision:
        if registry.pinned:
            return Decision(Verdict.HOLD, (f"{registry.champion} is pinned by {registry.pinned}",))
        if registry.rollout:
            return Decision(Verdict.HOLD, (f"the rollout of {registry.rollout.version} is under way",))
        champion, accepted, unread = await self._rivals(candidate, registry)
        refusals = await self._tools.probe.check(candidate, champion, accepted)
        decision = judge(candidate.evaluation, refusals, self._project.gate)
        if unmeasured := await self._unmeasured(candidate, registry):
            decision = replace(decision, accepted=False)
        return replace(decision, reasons=(*decision.reasons, *unmeasured, *unread))

    async def _unmeasured(self, candidate: Candidate, registry: Registry) -> tuple[str, ...]:
        """That it could not be compared with the reference, and why. What it was not measured by it does not replace."""
        beside, reference = candidate.evaluation.reference, registry.reference
        if reference in {"", registry.champion, beside.version if beside else ""}:
            return ()
        lost = (await self._read(reference)).model is None
        why = "its file cannot be read" if lost else "it is no model of the trainer's"
        return (f"it was not compared with {reference}, which was accepted last and stays the reference: {why}",)

    async def _rivals(
        self, candidate: Candidate, registry: Registry
    ) -> tuple[Served | None, Served | None, tuple[str, ...]]:
        """Whose cost the candidate's is compared with, and what the verdict has to say of costs that could not be compared.

        That is the champion, and the oldest champion since a person's word that answers for the same classes (new ones have their
        price). None for both where nothing serves; the second is None where it is the first.
        """
        if not registry.champion:
            return None, None, ()
        champion = await self._shelf.served(registry.champion)
        before = registry.accepted[: registry.accepted.index(registry.champion)]
        oldest, gone = await self._shelf.oldest_alike(before, candidate.manifest.classes)
        accepted = await self._shelf.served(oldest) if oldest else None
        self._shelf.keep((registry.champion, oldest))
        gone += (oldest,) if oldest and accepted is None else ()
        gone += (registry.champion,) if champion is None else ()
        return champion, accepted, unpriced(gone)

    async def _follow(self) -> Registry:
        before = self._outcomes
        async for batch in up_to(self._reader, await self._reader.end_positions()):
            for records in batch.values():
                for record in records:
                    self._learn(record)
        if self._outcomes is not before and self._tools.figures is not None:
            _measure(self._outcomes, self._tools.figures)
        return self._registry

    def _learn(self, stored: Record) -> None:
        try:
            record = decode_model(stored.value)
        except BadRecord as bad:
            # Not ours to judge by: what serves is what the readable records say.
            _log.warning(
                "an unreadable record on topic models was skipped", offset=stored.offset, reason=bad.reason.value
            )
            return
        if record.project == self._project.project:
            self._registry = self._registry.after(record)
            self._outcomes = self._outcomes.after(record)

    async def _publish(self, record: ModelRecord) -> None:
        stamped = replace(record, time_ms=int(self._tools.clock.wall() * 1000))
        key = self._project.project.encode()
        await self._writer.publish(Outputs([Message(self._topic, key, encode(stamped), headers_for(PROTOBUF))]))
        await self._follow()


def _check_still(of: str | None, now: str) -> None:
    if of is not None and of != now:
        about = of or "no model"
        raise Conflict(
            f"This was about {about}, and it would be about {now} by now.", fix="See what serves; say it anew."
        )


def _measure(outcomes: Outcomes, metrics: Metrics) -> None:
    newest = outcomes.promoted[-1] if outcomes.promoted else None
    figures = {
        "tiebreak_deployment_retrain_success_ratio": outcomes.retrain_success,
        "tiebreak_deployment_regret_ratio": outcomes.regret,
        "tiebreak_deployment_promoted_nll_nats": newest.nll if newest else None,
        "tiebreak_deployment_promoted_entropy_drop_ratio": newest.entropy_drop if newest else None,
    }
    for name, value in figures.items():
        if value is not None:
            metrics.set(name, value)


def _record(
    manifest: Manifest, event: ModelEvent, reasons: tuple[str, ...], report: str, by: str = GATE, parent: str = ""
) -> ModelRecord:
    return ModelRecord(
        project=manifest.project,
        version=manifest.version,
        event=event,
        sha256=manifest.sha256,
        parent=parent or manifest.parent,
        dataset_version=manifest.dataset_version,
        reasons=reasons,
        report=report,
        decided_by=by,
        time_ms=0,
    )
