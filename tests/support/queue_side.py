"""One queue adapter under any sequence of events (``properties/test_queue_machine.py``): what people do, and what must hold then."""

from __future__ import annotations

from dataclasses import replace

from tests.support.labeling import Bench, annotation, request
from tiebreak.contracts.errors import TiebreakError
from tiebreak.contracts.messages import Annotation, AnnotationState, Label, Task
from tiebreak.labeling.port import Act, Lease, QueueSettings, Refusal, Refused
from tiebreak.labeling.stage import Settler
from tiebreak.runtime.metrics import Metrics

HASTY = QueueSettings(lease_ms=1, undo_ms=60_000, task_ttl_ms=86_400_000)


class Side:
    """One adapter with its own log and its own settler."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.metrics = Metrics(bench.project.project)
        self.tasks: list[Task] = []
        self.known: dict[str, Task] = {}
        self.erased: frozenset[str] = frozenset()
        self.log: list[Annotation] = []
        self.folded = 0
        self.labels: dict[tuple[str, int], Label] = {}
        self.held: dict[str, tuple[str, Lease]] = {}
        self.newest_token = 0
        # Task -> who -> revision of an answer that is confirmed and not folded.
        self.ahead: dict[str, dict[str, int]] = {}
        self.horizon = 0

    async def add(self, task: Task) -> object:
        self.tasks.append(task)
        self.known[task.task_id] = task
        return await self.bench.queue().add([task, task])

    async def claim(self, who: str, want: int, review: bool) -> object:
        claimed = await self.bench.queue().claim(who, want, review=review)
        self.held = {task: (by, lease) for task, (by, lease) in self.held.items() if by != who}
        newest = self.newest_token
        for lease in claimed.leases:
            assert lease.token <= newest or not self.ahead.get(lease.task.task_id), "work for nothing"
            self._hold(who, lease)
            assert lease.review == await self._in_review(who, lease)
        return [(lease.task.event_id, lease.review) for lease in claimed.leases], claimed.reason

    def _hold(self, who: str, lease: Lease) -> None:
        holder = self.held.get(lease.task.task_id)
        assert holder is None or holder[0] == who, "two people hold one task"
        self.held[lease.task.task_id] = (who, lease)
        self.newest_token = max(self.newest_token, lease.token)

    async def release(self, who: str, lease: Lease) -> object:
        self.held.pop(lease.task.task_id, None)
        await self.bench.queue().release(who, lease.task.task_id, lease.token)
        return "released"

    async def renew(self, who: str, lease: Lease, token: int) -> object:
        renewed = await self.bench.queue().renew(who, lease.task.task_id, token)
        assert renewed.deadline_ms >= lease.deadline_ms, "a heartbeat shortened a lease"
        assert renewed.review == await self._in_review(who, lease)
        return "renewed"

    async def _in_review(self, who: str, lease: Lease) -> bool:
        """Whether the holder is told what is in dispute."""
        try:
            await self.bench.queue().dispute(who, lease.task.task_id)
        except Refused as error:
            return error.refusal is not Refusal.NOT_IN_REVIEW
        return True

    async def answer(self, who: str, lease: Lease, act: Act, value: str, crash: bool) -> object:
        queue = self.bench.queue()
        receipt = await queue.prepare(request(lease, who, act=act))
        made = annotation(lease.task, who, receipt, value, reviewer=receipt.review)
        made = replace(made, comment="" if value == "cat" else f"{value}, says {who}", flagged=value == "dog")
        self.log.append(made)
        if not crash:
            again = await queue.confirm(made, counted=receipt.counted)
            self._is_ahead(made, counted=receipt.counted)
            held = self.held.get(lease.task.task_id)
            if held and held[0] == who:
                del self.held[lease.task.task_id]
            if again is not None:
                self._hold(who, again)
        return receipt.revision, receipt.state, receipt.counted

    def _is_ahead(self, made: Annotation, *, counted: bool) -> None:
        if not counted:
            return
        ahead = self.ahead.setdefault(made.task_id, {})
        ahead.pop(made.annotator, None)
        if made.state is not AnnotationState.WITHDRAWN:
            ahead[made.annotator] = made.revision

    async def settle(self, count: int, rewind: int) -> object:
        start = max(0, self.folded - rewind)
        # Nobody reads again what was read so long ago that it was forgotten since.
        again = [a for a in self.log[start : self.folded] if a.submitted_ms >= self.horizon]
        batch = again + self.log[self.folded : self.folded + count]
        folded = await Settler(self.bench.project, self.bench.queue(), self.metrics).fold(batch)
        for made in self.log[self.folded : self.folded + count]:
            held = self.held.get(made.task_id)
            if held and held[0] == made.annotator and made.state is not AnnotationState.WITHDRAWN:
                del self.held[made.task_id]  # it was never confirmed: folding it ends the lease
        for made in batch:
            ahead = self.ahead.get(made.task_id, {})
            if ahead.get(made.annotator, made.revision + 1) <= made.revision:
                del ahead[made.annotator]
        self.folded = min(len(self.log), self.folded + count)
        for label in folded.labels:
            known = self.labels.setdefault((label.task_id, label.revision), label)
            assert (known.value, known.withdrawn, known.votes) == (label.value, label.withdrawn, label.votes)
        await self.bench.queue().published([(x.task_id, x.revision) for x in folded.labels])
        return sorted((x.event_id, x.revision, x.value, x.withdrawn) for x in folded.labels)

    async def look(self, who: str, task: Task) -> object:
        """What this person is told of a dispute: nothing that the log does not have, and nobody but the task's holder anything."""
        dispute = await self.bench.queue().dispute(who, task.task_id)
        assert self.held[task.task_id][0] == who, "somebody else was told"
        newest = {a.annotator: a for a in self.log[: self.folded] if a.task_id == task.task_id}
        said = [(a.annotator, a.value, a.state, a.note) for a in dispute.answers]
        assert said == [
            (a.annotator, a.value, a.state, a.comment) for a in map(newest.__getitem__, [s[0] for s in said])
        ]
        return said, [a.place for a in dispute.answers], dict(dispute.shares)

    async def walk_off(self, who: str) -> object:
        """The person stops for longer than a lease."""
        hasty = self.bench.queue(HASTY)
        claimed = await hasty.claim(who, 10)
        await self.bench.pass_ms(3)
        swept = await self.bench.queue().sweep(100)
        self.held = {task: (by, lease) for task, (by, lease) in self.held.items() if by != who}
        return sorted(lease.task.event_id for lease in claimed.leases), swept.leases_expired

    async def change_model(self, decided: frozenset[int], urgent: bool) -> object:
        """A promotion: what the model now decides is taken back where nobody was given it, the rest is ranked anew."""
        queue = self.bench.queue()
        asked = [task for number, task in enumerate(self.tasks) if number in decided]
        gone = [task for task in asked if await queue.withdraw([task.task_id])]
        assert not {task.task_id for task in gone} & (self.held.keys() | {a.task_id for a in self.log})
        self.tasks = [task for task in self.tasks if task not in gone]
        moved = await queue.rerank([replace(task, priority=float(urgent)) for task in self.tasks])
        return [task.event_id for task in gone], moved

    async def erase(self, numbers: frozenset[int]) -> object:
        """What these tasks were about is to be forgotten, whoever holds or answered them."""
        gone = frozenset(task.task_id for number, task in enumerate(self.tasks) if number in numbers)
        found = await self.bench.queue().erase(sorted(gone))
        self.held = {task: held for task, held in self.held.items() if task not in gone}
        self.tasks = [task for task in self.tasks if task.task_id not in gone]
        self.erased |= gone
        return found.tasks, found.leases, found.answers

    async def forget_old(self, index: int) -> object:
        """The horizon of answers moves to this one of the log."""
        self.horizon = max(self.horizon, self.log[index].submitted_ms)
        found = await self.bench.queue().forget_before(self.horizon)
        lines = [await self.bench.queue().history(p, 100) for p in ("ann", "bob", "cyd")]
        assert all(line.at_ms >= self.horizon for of_one in lines for line in of_one)
        return found.answers, [[(line.task_id, line.revision) for line in of_one] for of_one in lines]

    async def lose(self) -> object:
        """The store forgets everything, and is built again from what the log has, as the rebuilder does."""
        await self.bench.forget()
        await self.bench.pass_ms(2)
        builder = await self.bench.queue().begin_build()
        assert builder is not None
        newest: dict[str, Label] = {}
        for label in sorted(self.labels.values(), key=lambda x: x.revision):
            newest[label.task_id] = label
        done = {task: x.revision for task, x in newest.items() if not x.withdrawn}
        await builder.add([task for task in self.tasks if task.task_id not in done])
        open_answers = [a for a in self.log if a.task_id not in done]
        folded = await Settler(self.bench.project, builder, self.metrics).fold(open_answers)
        for label in folded.labels:
            self.labels.setdefault((label.task_id, label.revision), label)
        await builder.published([(x.task_id, x.revision) for x in folded.labels])
        await builder.forget_before(self.horizon)
        await builder.end_build(list(done.items()))
        await self.bench.queue().regrant()
        answered = {(a.task_id, a.annotator): a.state is not AnnotationState.WITHDRAWN for a in self.log}
        settled = {task for task, x in newest.items() if not x.withdrawn} | {x.task_id for x in folded.labels}
        held, self.held, self.ahead = self.held, {}, {}
        for task, (who, lease) in held.items():
            # Whoever holds a task goes on holding it, unless it is answered or decided.
            if await self._holds(who, lease):
                self.held[task] = who, lease
            else:
                assert answered.get((task, who)) or task in settled, "a lease was lost"
        return sorted(done), sorted(self.held)

    async def _holds(self, who: str, lease: Lease) -> bool:
        try:
            await self.bench.queue().renew(who, lease.task.task_id, lease.token)
        except TiebreakError:
            return False
        return True

    async def counts(self) -> object:
        queue = self.bench.queue()
        return await queue.stats(), [await queue.answered(p) for p in ("ann", "bob", "cyd")]
