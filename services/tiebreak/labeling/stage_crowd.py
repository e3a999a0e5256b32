"""What is learned of people while their answers are settled: one crowd per partition of ``annotations``.

A partition has one order of answers, whatever replica reads it and however the batches are cut; what is believed at an answer
depends on those before it in its own partition and on nothing else. So a restart, a rebalance or a replay believes, and therefore
decides, the same. It costs what people did in other partitions (``docs/adr/0007``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field

from tiebreak.contracts.errors import BadRecord, SlowDown
from tiebreak.contracts.log import Log, Partition
from tiebreak.contracts.messages import Annotation
from tiebreak.contracts.project import Project
from tiebreak.labeling.asking import AtWork, best_next
from tiebreak.labeling.consensus import COUNTS, Consensus, DawidSkene, majority, weighted
from tiebreak.labeling.gold import Bank
from tiebreak.labeling.port import Queue
from tiebreak.labeling.posterior import Belief, Crowd, Said
from tiebreak.labeling.stage_reading import annotation_of, batches_of
from tiebreak.labeling.structured import consensus_of

_AT_A_TIME = 50


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer and its place on the log."""

    partition: Partition
    offset: int
    annotation: Annotation


@dataclass(slots=True)
class _Seat:
    crowd: Crowd
    position: int = 0
    at_work: AtWork = field(default_factory=AtWork)

    def hear(self, a: Annotation, bank: Bank) -> None:
        self._see(a)
        self.crowd.learn(a.task_id, a.annotator, said_in(a, bank))

    def judge(self, a: Annotation, bank: Bank) -> Belief:
        self._see(a)
        return self.crowd.observe(a.task_id, a.annotator, said_in(a, bank))

    def _see(self, a: Annotation) -> None:
        if a.suspect:
            self.at_work.leave(a.annotator)
        elif a.state in COUNTS:
            self.at_work.hear(a.annotator, a.submitted_ms)

    def following(self, votes: Mapping[str, str], asked: Collection[str], suspects: Collection[str]) -> Sequence[str]:
        return best_next(self.crowd, votes, self.at_work.present(), asked, suspects)


@dataclass(slots=True)
class Panel:
    """Gives each answer the consensus that judges its task. ``log`` is read again for what came before; None: nothing did.

    ``queue`` knows the gold: an answer to it says at once how good its person is. Whoever asks waits ``patience_s`` for the reading.
    """

    project: Project
    queue: Queue
    log: Log | None = None
    bank: Bank = field(default_factory=Bank)
    patience_s: float = 5.0
    _seats: dict[Partition, _Seat] = field(default_factory=dict)
    _reading: asyncio.Task[Mapping[Partition, _Seat]] | None = None

    @property
    def learns(self) -> bool:
        """Whether what people said of other tasks counts: else each answer is judged by the consensus of the project."""
        return consensus_of(self.project) is None and self.project.labeling.consensus != "majority"

    async def judges(self, heard: Sequence[Heard], settled: Container[str] = ()) -> Sequence[Consensus]:
        """One per answer, in order; ``heard`` is in the order of the log within each partition. Raises Unreachable, and

        SlowDown while what came before is still being read: a long log takes minutes, and who holds a batch for so long and polls for
        nothing is put out of its group. Answers to ``settled`` tasks are learned from, and have none.
        """
        judged = sum(item.annotation.task_id not in settled for item in heard)
        if not self.learns:
            return [consensus_of(self.project) or majority()] * judged
        pieces = await self.queue.gold(self.bank.read)
        if pieces is not None:
            self.bank = Bank(pieces, self.project)
        await self._catch_up(heard)
        found = [self._judge(item, learn_only=item.annotation.task_id in settled) for item in heard]
        return [consensus for consensus in found if consensus is not None]

    def forget(self, partitions: frozenset[Partition] | None = None) -> None:
        """These partitions (None: all) go on somewhere else, or again from an earlier place."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        for partition in list(self._seats) if partitions is None else partitions:
            self._seats.pop(partition, None)

    def _judge(self, item: Heard, *, learn_only: bool) -> Consensus | None:
        seat = self._seats[item.partition]
        seat.position = item.offset + 1
        if learn_only:
            seat.hear(item.annotation, self.bank)
            return None
        belief = seat.judge(item.annotation, self.bank)
        if self.project.labeling.consensus == "weighted":
            return weighted(belief, len(belief.distribution))
        following = seat.following if self.project.labeling.ask_best_s else None
        return DawidSkene(belief, seat.crowd.belief, following)

    async def _catch_up(self, heard: Sequence[Heard]) -> None:
        while missing := self._missing(heard):
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_before(missing), name="people")
            done, _ = await asyncio.wait({self._reading}, timeout=self.patience_s)
            if not done:
                raise SlowDown(
                    "What people answered before is still being read.", fix="Wait: the longer the log, the longer."
                )
            read, self._reading = self._reading, None
            self._seats |= await read

    def _missing(self, heard: Sequence[Heard]) -> Mapping[Partition, int]:
        """The partitions of which what came before these answers is not known, and up to where it is to be read."""
        missing: dict[Partition, int] = {}
        for item in heard:
            seat = self._seats.get(item.partition)
            if seat is None or item.offset < seat.position:
                missing.setdefault(item.partition, item.offset)
        return missing

    async def _read_before(self, until: Mapping[Partition, int]) -> Mapping[Partition, _Seat]:
        seats = {partition: _Seat(Crowd(self.project.classes.names)) for partition in until}
        if self.log is None or not any(until.values()):
            return seats
        (topic,) = {partition.topic for partition in until}
        async for batch in batches_of(self.log, topic):
            for partition, records in batch.items():
                for place, record in enumerate(records):
                    if place % _AT_A_TIME == 0:
                        await asyncio.sleep(0)  # others share this loop
                    if record.offset >= until.get(partition, 0):
                        break
                    try:
                        annotation = annotation_of(record, self.project)
                    except BadRecord:
                        continue  # on `dead` since it was first read
                    seats[partition].hear(annotation, self.bank)
        return seats


def said_in(a: Annotation, bank: Bank) -> Said:
    """What an answer of the log tells the crowd. A reviewer's is the truth, and no vote; of gold the truth is known."""
    value = a.value if a.state in COUNTS else None
    if a.reviewer and value is not None:
        return Said(None, a.revision, value)
    return Said(value, a.revision, bank.truth(a.task_id, a.annotator), a.suspect)
