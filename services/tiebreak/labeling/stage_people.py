"""What one process knows of the people who answer, from the logs: their figures, their gold, whether they get further tasks.

Every process reads ``annotations`` and ``labels`` for itself from the start and commits nothing, so there is no state to lose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple
from weakref import WeakValueDictionary

import structlog

from tiebreak.contracts.audit import Action
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.codec import PROTOBUF, encode, headers_for, peek
from tiebreak.contracts.errors import BadRecord, PublishFailed, SlowDown, Unreachable
from tiebreak.contracts.ids import task_id as made_id
from tiebreak.contracts.log import Batch, Log, Message, Outputs, Positions, Writer
from tiebreak.contracts.messages import Label, Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.retention import horizons_in, step_ms
from tiebreak.contracts.topics import Topic
from tiebreak.labeling.figures import Figures
from tiebreak.labeling.gold import Bank, declared, paused, rate
from tiebreak.labeling.gold_growth import Kept, Proposal, Proposals, grown_event
from tiebreak.labeling.port import LabelingQueue, Refusal
from tiebreak.labeling.refusals import refused
from tiebreak.labeling.routing import routes_of, skills_of
from tiebreak.labeling.stage_reading import annotation_of
from tiebreak.labeling.suspicion import Suspicion, suspects
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.reading import short_of
from tiebreak.runtime.tasks import pause

_log = structlog.get_logger("tiebreak.labeling")
_BATCH = 1000
_POLL_S = 0.2
_TEND_S = 1.0
_CLOSE_S = 5.0
_AT_A_TIME = 20
_LOOK_AFTER, _LOOK_AT = 50, 2000
_AGAIN_S = 0.2
_UNKNOWN = "What people answered before is still being read."
# What is due comes on the audit trail within a minute.
_TRAIL_S = 10.0
# A piece that was asked for is on its line by then.
_WAITS_S = 60.0
# The metrics need no token: a gauge that moved with every answer to gold would tell which task was gold.
_COARSE = 10
_OF_LABEL = ("task_id", "revision", "value", "withdrawn", "confidence", "method")
# After a look for suspects, so many times what it took.
_REST = 50.0


@dataclass(frozen=True, slots=True)
class Around:
    """What :class:`People` works with. ``chance`` gives uniform numbers in [0, 1) that people cannot guess. ``audit`` is told of

    pauses, once however many processes notice.
    """

    log: Log
    writer: Writer
    metrics: Metrics
    clock: Clock
    chance: Callable[[], float]
    audit: AuditTrail | None = None


class Made(NamedTuple):
    """A piece of gold that was made of a task."""

    task_id: str
    gold: str


class People:
    """Follows the logs; says at each claim which lines a person is served from; keeps one piece of gold waiting for each."""

    def __init__(self, project: Project, queue: LabelingQueue, around: Around) -> None:
        self._project = project
        self._queue = queue
        self._around = around
        self._bank = Bank()
        self._undeclared: Sequence[Task] = declared(project)
        self._waiting: dict[str, str] = {}
        # When the queue was last known to have what waits, and what it will not give again though no answer to it is left.
        self._waits_since: dict[str, float] = {}
        self._over: dict[str, set[str]] = {}
        self._forgiven: Mapping[str, int] = {}
        self._seen: set[str] = set()
        self._gold_shown = 0
        self._paused: set[str] = set()
        self._suspects: Mapping[str, frozenset[Suspicion]] = {}
        self._suspected_at = 0
        self._look_again = float("-inf")
        # By task that gold was made of: who would know it again, and since when (ms).
        self._met: dict[str, dict[str, int]] = {}
        # By task, until the bank has it.
        self._made: dict[str, Made] = {}
        self._making: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        kept_ms = project.privacy.retention.ordered_ms().get(Topic.ANNOTATIONS)
        self.figures = Figures() if kept_ms is None else Figures(step_ms=step_ms(kept_ms))
        # What the trail has ended: nothing is learned before that is known.
        self._ended_ms: int | None = None
        self._look_at_trail = float("-inf")
        self._unknown = _UNKNOWN
        self.proposals = Proposals(project.labeling.gold.sure)

    # -- at a claim ---------------------------------------------------------------------------------------------------

    def routes(self, name: str, want: int, review: bool, skills: Sequence[str] = ()) -> Sequence[str]:
        """An usher (``routing.Usher``): nothing new for the paused, and gold as often as this person needs it."""
        labeling = self._project.labeling
        granted = skills_of(name, labeling, skills)
        if self.refusal(name) is not None:
            return ()
        self._seen.add(name)
        share = rate(self.figures.standing(name), labeling.gold) if self._bank else 0.0
        personal = share > 0.0 and self._around.chance() >= (1.0 - share) ** want
        best = labeling.consensus == "dawid_skene" and labeling.ask_best_s > 0
        return routes_of(name, granted, review=review, personal=personal, best=best)

    def refusal(self, name: str) -> Refusal | None:
        """Why this person gets no new task, if so."""
        if self.at_cap():
            return Refusal.AT_CAP
        return Refusal.PAUSED if self._paused_for(name) else None

    def _paused_for(self, name: str) -> str:
        """Why this person is paused; empty where they are not."""
        labeling, standing = self._project.labeling, self.figures.standing(name)
        # Not "another number": they may have less gold behind them by now, of which some is forgotten.
        if self._forgiven.get(name, -1) < standing.asked and paused(standing, labeling.gold):
            return f"{standing.right} of {standing.asked} pieces of gold right, surely below {labeling.gold.accuracy:g}"
        if labeling.pause_suspects and self.is_suspect(name):
            return f"suspected: {', '.join(self.suspected(name))}"
        return ""

    def check(self, name: str) -> None:
        """Raise Refused, in words that say what to do, where :meth:`refusal` has a reason."""
        refusal = self.refusal(name)
        if refusal is not None:
            raise refused(refusal)

    def is_suspect(self, name: str) -> bool:
        """Whether this person is suspected of anything, and no manager let them go on."""
        return name in self._suspects and name not in self._forgiven

    def suspected(self, name: str) -> tuple[str, ...]:
        """What this person is suspected of, as of the last look."""
        return tuple(sorted(self._suspects.get(name, ())))

    def at_cap(self) -> bool:
        """Whether the money for answers is spent."""
        cap = self._project.labeling.cost_cap
        return cap is not None and self.spent() >= cap

    def spent(self) -> float:
        """What the answers that stand cost."""
        return self.figures.answers * self._project.labeling.cost_per_answer

    async def ready(self) -> str:
        """For ``Health.ready_when``: why nobody should be sent here yet; empty once all that was said before is known, for good.

        Until then whoever was paused would get tasks, and so would everybody where the money is spent.
        """
        return self._unknown

    # -- following the logs -------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. A log or a queue that does not answer is asked again."""
        name, settled = self._project.project, Topic.LABELS
        reader = self._around.log.reader([Topic.ANNOTATIONS.of(name), settled.of(name)], None)
        await reader.start()
        tended = float("-inf")
        batch: Batch = {}
        past: Positions | None = None
        try:
            while not stop.is_set():
                try:
                    # A half-built index has half of the gold, and answers to the rest would be taken for votes.
                    if not await self._queue.is_built():
                        self._unknown = ""  # nobody is served before it is, and whoever builds it may wait for us
                        await pause(stop, _AGAIN_S)
                        continue
                    await self._heed()
                    # Also where nobody asks for anything here: other processes give tasks away meanwhile.
                    await self._queue.regrant()
                    # The log gives a batch once: one that could not be learned, since the gold did not come, is learned later.
                    past = await reader.end_positions() if past is None else past
                    self._unknown = _UNKNOWN if short_of(reader, past) else ""
                    batch = batch or await reader.poll(_BATCH, _POLL_S)
                    await self.learn(batch)
                    fetched, batch = sum(map(len, batch.values())), {}
                    if self._around.clock.monotonic() - tended >= _TEND_S:
                        tended = self._around.clock.monotonic()
                        await self.tend()
                        # Half-read figures would be somebody's of another day.
                        if not self._unknown and fetched < _BATCH:
                            await self.record_pauses()
                    # A fetch costs as much for one record as for hundreds, and people are served by this very loop.
                    if not self._unknown and 0 < fetched < _BATCH:
                        await pause(stop, _TEND_S)
                except (Unreachable, SlowDown, PublishFailed) as error:
                    _log.info("people_postponed", error=str(error))
                    await pause(stop, _AGAIN_S)
        finally:
            await reader.close(_CLOSE_S)

    async def _heed(self) -> None:
        """Forget the answers that the trail has ended: it is read where something must have come."""
        audit, now = self._around.audit, self._around.clock.monotonic()
        due = self._project.privacy.retention.horizons(self._around.clock.wall()).get(Topic.ANNOTATIONS, 0)
        if audit is None or (self._ended_ms is not None and due <= self._ended_ms) or now < self._look_at_trail:
            return
        before_ms = horizons_in(await audit.sound()).get(Topic.ANNOTATIONS, 0)
        self._look_at_trail = now + _TRAIL_S
        if before_ms == self._ended_ms:
            return
        for _ in self.figures.forget_before(before_ms):
            await asyncio.sleep(0)  # as in `learn`
        self._met = {
            source: {name: at_ms for name, at_ms in people.items() if at_ms >= before_ms}
            for source, people in self._met.items()
        }
        self._ended_ms = before_ms

    async def learn(self, batch: Batch) -> None:
        """Take in records of both topics. The gold is looked at before: an answer to it exists only where it exists."""
        if not batch:
            return
        await self._refresh()
        annotations = Topic.ANNOTATIONS.of(self._project.project)
        for partition, records in batch.items():
            for place, record in enumerate(records):
                if place % _AT_A_TIME == 0:
                    await asyncio.sleep(0)  # people are served by this very loop
                try:
                    if partition.topic == annotations:
                        a = annotation_of(record, self._project)
                        self.figures.hear(a, self._bank.truth(a.task_id, a.annotator))
                        if a.task_id in self._met and a.submitted_ms >= (self._ended_ms or 0):
                            self._met[a.task_id][a.annotator] = a.submitted_ms
                    else:
                        # All the rest of a label is the trainer's.
                        task, revision, value, withdrawn, sure, method = peek(Label, record.value, *_OF_LABEL)
                        self.figures.settled(task, revision, value, withdrawn)
                        self.proposals.settled(task, revision, "" if withdrawn else value, sure, method)
                except BadRecord:
                    continue  # set aside by those whose business it is

    async def tend(self) -> None:
        """Publish the project file's gold where it is not there yet, put the next piece on the line of everybody who was here, and set

        the gauges.
        """
        await self._refresh()
        self._forgiven = await self._queue.forgiven()
        await self._let_go_of_answered()
        await self._ask([piece for piece in self._undeclared if piece.task_id not in self._bank])
        self._undeclared = ()
        made: list[Task] = []
        for place, name in enumerate(sorted(self._seen)):
            if place % _AT_A_TIME == 0:
                await asyncio.sleep(0)  # as in `learn`
            if (task := self._next_gold(name)) is not None:
                made.append(task)
        await self._ask(made)
        self._waiting |= {task.audience: task.task_id for task in made}
        self._waits_since |= {task.audience: self._around.clock.monotonic() for task in made}
        await self._look_for_suspects()
        self._measure()

    async def _let_go_of_answered(self) -> None:
        """A piece whose answer retention has ended looks as if it waited: the queue knows that it does not, and nothing else would."""
        now = self._around.clock.monotonic()
        for name, since in list(self._waits_since.items()):
            last = self._waiting[name]
            if last in self.figures.had_gold(name):
                del self._waits_since[name]
            elif now - since >= _WAITS_S:
                if await self._queue.look(last) is not None:
                    self._waits_since[name] = now
                    continue
                del self._waits_since[name]
                self._over.setdefault(name, set()).add(last)

    async def _ask(self, tasks: Sequence[Task]) -> None:
        topic = Topic.TASKS.of(self._project.project)
        messages = [Message(topic, t.task_id.encode(), encode(t), headers_for(PROTOBUF)) for t in tasks]
        if messages:
            await self._around.writer.publish(Outputs(messages=messages))

    async def _look_for_suspects(self) -> None:
        began = self._around.clock.monotonic()
        few = abs(self.figures.answers - self._suspected_at) < max(_LOOK_AFTER, self.figures.answers // 100)
        if few or began < self._look_again:
            return
        self._suspected_at = self.figures.answers
        said = [dict(votes) for _, votes in islice(self.figures.votes(), _LOOK_AT)][::-1]
        # It takes a good part of a second: not on the loop that people wait for, and seldom, since a thread takes its turns from them.
        self._suspects = await asyncio.to_thread(suspects, said)
        ended = self._around.clock.monotonic()
        self._look_again = ended + _REST * (ended - began)

    async def record_pauses(self) -> None:
        """Put whoever was paused since the last time on the audit trail. Raises Unreachable, SlowDown or PublishFailed: again then."""
        names = self.figures.names()
        now = {name: reason for name in names if (reason := self._paused_for(name))}
        for name in sorted(now.keys() - self._paused):
            if self._around.audit is not None:
                await self._around.audit.append_once("tiebreak", Action.ANNOTATOR_PAUSED, name, now[name])
            self._paused.add(name)
        self._paused &= now.keys()

    async def forgive(self, name: str, asked: int | None = None) -> None:
        """Let a paused person go on; their next answer to gold is judged anew. Other processes know within a second.

        ``asked``: how many pieces of gold they had had, where this was said before; what was said since stands.
        """
        now = self.figures.standing(name).asked
        if asked is None or asked > (await self._queue.forgiven()).get(name, -1):
            await self._queue.forgive(name, now if asked is None else asked)
        self._forgiven = await self._queue.forgiven()

    def making(self, task_id: str) -> asyncio.Lock:
        """Held from asking what was made of a task until some is: else two answers to it would both be gold. Others do not wait."""
        return self._making.setdefault(task_id, asyncio.Lock())

    async def keep_gold(self, task: Task, kept: Kept) -> Made | None:
        """Make gold of a task; None where it is gold. Again: the same piece. The caller holds :meth:`making`.

        Durable when it returns: it is on ``tasks`` like everything that is asked. Raises PublishFailed.
        """
        if task.gold:
            return None
        name, event_id = self._project.project, grown_event(kept.nonce, task.task_id, kept.maker)
        piece = replace(task, task_id=made_id(name, event_id), event_id=event_id, gold=kept.answer, audience="")
        await self._ask([piece])
        self._made[task.task_id] = made = Made(piece.task_id, piece.gold)
        return made

    def made_of(self, task_id: str) -> Made | None:
        """The gold that was made of a task, if any."""
        if (piece := self._bank.made_of(task_id)) is not None:
            return Made(piece.task_id, piece.gold)
        return self._made.get(task_id)

    def proposed(self, but: Collection[str] = ()) -> Iterator[Proposal]:
        """Settled tasks to make gold of, the newest first, without those ``but``."""
        return self.proposals.newest(self.figures.said, {*but, *self._bank.sources, *self._made})

    @property
    def bank(self) -> Bank:
        """The gold, as far as this process knows."""
        return self._bank

    def __len__(self) -> int:
        """How many pieces of gold there are, as far as this process knows."""
        return len(self._bank)

    async def _refresh(self) -> None:
        pieces = await self._queue.gold(self._bank.read)
        if pieces is not None:
            self._bank = Bank(pieces, self._project)
            self._met = {
                source: self._met.get(source) or dict(self.figures.asked(source)) for source in self._bank.sources
            }
            # What the bank had and has no more was erased: nothing here may remember it.
            self._made = {source: made for source, made in self._made.items() if source not in self._bank.sources}

    def _next_gold(self, name: str) -> Task | None:
        had = {*self.figures.had_gold(name), *self._over[name]} if name in self._over else self.figures.had_gold(name)
        last = self._waiting.get(name, "")
        if last not in had and self._bank.truth(last, name) is not None:
            return None  # the last one is still on their line, unless what it was about was erased
        met = [source for source, people in self._met.items() if name in people]
        return self._bank.next_for(name, had, round(self._around.clock.wall() * 1000), met)

    def _measure(self) -> None:
        metrics, figures = self._around.metrics, self.figures
        gold, alpha = figures.gold, figures.alpha
        if gold.asked and gold.asked // _COARSE != self._gold_shown:
            self._gold_shown = gold.asked // _COARSE
            metrics.set("tiebreak_labeling_gold_accuracy_ratio", gold.right / gold.asked)
        if alpha is not None:
            metrics.set("tiebreak_labeling_alpha_ratio", alpha)
        if figures.labels:
            metrics.set("tiebreak_labeling_cost_per_label", self.spent() / figures.labels)
        held = sum(bool(self._paused_for(person)) for person in self.figures.names())
        metrics.set("tiebreak_labeling_paused_people", held)
