"""The queue under any sequence of events: the twin and Redis answer alike, and no invariant breaks on the way.

Checked after every step: at most one holder per task (I6), nobody given a task whose next answer is on the log already, tokens that
only grow, equal counts; at the end: each vote accepted is in the log, each label revision exists once (I2), all can settle (I7).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import redis.asyncio
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.labeling import Bench, a_project, a_task, annotation, request
from tiebreak.contracts.errors import TiebreakError
from tiebreak.contracts.messages import Annotation, AnnotationState, Label, Task
from tiebreak.labeling.port import Act, Lease, QueueSettings, Refused
from tiebreak.labeling.stage import Settler
from tiebreak.runtime.metrics import Metrics

PEOPLE = st.sampled_from(("ann", "bob", "cyd"))
VALUES = st.sampled_from(("cat", "dog"))
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
        return [lease.task.event_id for lease in claimed.leases], claimed.reason

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
        deadline_ms = await self.bench.queue().renew(who, lease.task.task_id, token)
        assert deadline_ms >= lease.deadline_ms, "a heartbeat shortened a lease"
        return "renewed"

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
        batch = self.log[start : self.folded + count]
        folded = await Settler(self.bench.project, self.bench.queue(), self.metrics).fold(batch)
        for made in self.log[self.folded : start + len(batch)]:
            held = self.held.get(made.task_id)
            if held and held[0] == made.annotator and made.state is not AnnotationState.WITHDRAWN:
                del self.held[made.task_id]  # it was never confirmed: folding it ends the lease
        for made in batch:
            ahead = self.ahead.get(made.task_id, {})
            if ahead.get(made.annotator, made.revision + 1) <= made.revision:
                del ahead[made.annotator]
        self.folded = max(self.folded, start + len(batch))
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


class QueueMachine(RuleBasedStateMachine):
    """Both adapters side by side, one event after the other."""

    url = ""

    @initialize(votes=st.sampled_from((1, 2, 3)))
    def begin(self, votes: int) -> None:
        self.runner = asyncio.Runner()
        project = a_project("machine", votes=votes, max_votes=3)
        self.project = project.project
        self.client = redis.asyncio.Redis.from_url(self.url)
        self.sides = (Side(Bench(project)), Side(Bench(project, client=self.client)))
        self.number = 0
        self.broken = False
        for side in self.sides:
            self.runner.run(side.bench.forget())
            self.runner.run(side.bench.start())

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            if not self.broken:
                self._drain()
            self.runner.run(self.client.aclose())
            self.runner.close()

    def both(self, *calls: Coroutine[Any, Any, object]) -> object:
        """Run the same on each side; the answers (or refusals) must be the same."""
        self.broken = True
        answers = [self.runner.run(answer) for answer in [_outcome(call) for call in calls]]
        for side in self.sides:
            self.runner.run(side.bench.pass_ms(1))  # no two steps share a millisecond, or their order would be chance
        assert answers[0] == answers[1]
        self.broken = False
        return answers[0]

    @rule(urgent=st.booleans(), triage=st.booleans())
    def add(self, urgent: bool, triage: bool) -> None:
        self.number += 1
        task = a_task(self.number, self.project, priority=float(urgent), lane="triage" if triage else "normal")
        self.both(*(side.add(task) for side in self.sides))

    @rule(who=PEOPLE, want=st.integers(1, 3), review=st.booleans())
    def claim(self, who: str, want: int, review: bool) -> None:
        self.both(*(side.claim(who, want, review) for side in self.sides))

    @precondition(lambda self: any(self.sides[0].held))
    @rule(data=st.data(), act=st.sampled_from(3 * [Act.VOTE] + [Act.SKIP]), value=VALUES, crash=st.booleans())
    def answer(self, data: st.DataObject, act: Act, value: str, crash: bool) -> None:
        task = data.draw(st.sampled_from(sorted(self.sides[0].held)))
        calls = []
        for side in self.sides:
            who, lease = side.held[task]
            calls.append(side.answer(who, lease, act, value, crash))
        self.both(*calls)

    @precondition(lambda self: self.sides[0].log)
    @rule(data=st.data(), act=st.sampled_from((Act.UNDO, Act.WITHDRAW)), crash=st.booleans())
    def take_back(self, data: st.DataObject, act: Act, crash: bool) -> None:
        index = data.draw(st.integers(0, len(self.sides[0].log) - 1))
        calls = []
        for side in self.sides:
            made = side.log[index]
            lease = Lease(side.known[made.task_id], 0, 0, 0)
            calls.append(side.answer(made.annotator, lease, act, "", crash))
        self.both(*calls)

    @rule(who=PEOPLE, value=VALUES, next_one=PEOPLE)
    def change_mind(self, who: str, value: str, next_one: str) -> None:
        """Somebody answers, takes it back and answers anew at once; the log is read in between, and somebody asks for work."""
        self.both(*(side.claim(who, 1, review=False) for side in self.sides))
        mine = sorted(task for task, (by, _) in self.sides[0].held.items() if by == who)
        for act in (Act.VOTE, Act.UNDO, Act.VOTE):
            held = [(side, side.held.get(task)) for task in mine[:1] for side in self.sides]
            leases = [
                (side, Lease(side.known[mine[0]], 0, 0, 0) if act is Act.UNDO else got and got[1]) for side, got in held
            ]
            calls = [side.answer(who, lease, act, value, crash=False) for side, lease in leases if lease is not None]
            if len(calls) == len(self.sides):
                self.both(*calls)
            if act is Act.VOTE:  # the first whole, the second not yet
                again = bool(self.sides[0].log) and self.sides[0].log[-1].revision > 1
                self.both(*(side.settle(len(side.log) - again - side.folded, 0) for side in self.sides))
        self.both(*(side.claim(next_one, 3, review=True) for side in self.sides))

    @precondition(lambda self: any(self.sides[0].held))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.sides[0].held)))
        self.both(*(side.release(*side.held[task]) for side in self.sides))

    @precondition(lambda self: any(self.sides[0].held))
    @rule(data=st.data(), stale=st.booleans(), thief=st.booleans())
    def heartbeat(self, data: st.DataObject, stale: bool, thief: bool) -> None:
        """The holder's moves the deadline; one with an older token, or by somebody else, is refused alike."""
        task = data.draw(st.sampled_from(sorted(self.sides[0].held)))
        calls = []
        for side in self.sides:
            who, lease = side.held[task]
            calls.append(side.renew("mallory" if thief else who, lease, lease.token - int(stale)))
        answer = self.both(*calls)
        assert (answer == "renewed") == (not stale and not thief)

    @rule(last=st.sampled_from((Act.VOTE, Act.SKIP)))
    def quarrel(self, last: Act) -> None:
        """Nobody agrees about anything that is open; a reviewer takes what is in dispute, and whoever looks is told what may be."""
        self.add(urgent=False, triage=False)
        for name, act, value in (("ann", Act.VOTE, "cat"), ("bob", Act.VOTE, "dog"), ("cyd", last, "bird")):
            self.both(*(side.claim(name, 10, review=False) for side in self.sides))
            for task in sorted(task for task, (by, _) in self.sides[0].held.items() if by == name):
                self.both(*(side.answer(*side.held[task], act, value, crash=False) for side in self.sides))
            self.both(*(side.settle(len(side.log) - side.folded, 0) for side in self.sides))
        self.both(*(side.claim("rev", 3, review=True) for side in self.sides))
        for who in ("rev", "ann"):
            for number in range(len(self.sides[0].tasks)):
                self.both(*(side.look(who, side.tasks[number]) for side in self.sides))

    @rule(count=st.integers(1, 5), rewind=st.integers(0, 5))
    def settle(self, count: int, rewind: int) -> None:
        self.both(*(side.settle(count, rewind) for side in self.sides))

    @rule(who=PEOPLE)
    def walk_off(self, who: str) -> None:
        self.both(*(side.walk_off(who) for side in self.sides))

    @precondition(lambda self: self.sides[0].tasks)
    @rule(decided=st.frozensets(st.integers(0, 5), max_size=2), urgent=st.booleans())
    def change_model(self, decided: frozenset[int], urgent: bool) -> None:
        self.both(*(side.change_model(decided, urgent) for side in self.sides))

    @precondition(lambda self: self.sides[0].tasks)
    @rule(numbers=st.frozensets(st.integers(0, 5), min_size=1, max_size=2))
    def erase(self, numbers: frozenset[int]) -> None:
        self.both(*(side.erase(numbers) for side in self.sides))

    @precondition(lambda self: self.number > 1)
    @rule()
    def lose_everything(self) -> None:
        before = [side.newest_token for side in self.sides]
        self.both(*(side.lose() for side in self.sides))
        for side, newest in zip(self.sides, before, strict=True):
            side.newest_token = max(side.newest_token, newest)

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "sides"):
            self.both(*(side.counts() for side in self.sides))

    def _drain(self) -> None:
        """Everything heals: with enough people, each task is settled, on both sides alike."""
        for name in ("x1", "x2", "x3", "r1"):
            for who in ("ann", "bob", "cyd", "rev"):
                self.both(*(side.walk_off(who) for side in self.sides))
            self.both(*(side.settle(10_000, 10_000) for side in self.sides))
            self.both(*(side.claim(name, 100, name == "r1") for side in self.sides))
            for task in sorted(self.sides[0].held):
                held = [side.held[task] for side in self.sides]
                if held[0][0] == name:
                    calls = zip(self.sides, held, strict=True)
                    self.both(*(side.answer(name, lease, Act.VOTE, "cat", crash=False) for side, (_, lease) in calls))
            self.both(*(side.settle(10_000, 0) for side in self.sides))
        for side in self.sides:
            stats = self.runner.run(side.bench.queue().stats())
            assert stats.open_tasks == stats.waiting + stats.leased == 0, stats
            newest: dict[str, Label] = {}
            for label in sorted(side.labels.values(), key=lambda x: x.revision):
                newest[label.task_id] = label
            standing = {task for task, label in newest.items() if not label.withdrawn}
            assert {task.task_id for task in side.tasks} == standing - side.erased


async def _outcome(call: Coroutine[Any, Any, object]) -> object:
    try:
        return await call
    except Refused as error:
        return error.refusal
    except TiebreakError as error:
        return type(error).__name__


def test_any_sequence_of_events_keeps_the_promises_on_both_queues(redis_url: str) -> None:
    """Claims, answers, crashes, skips, undos, walk-offs, erasures, replays, promotions, disputes, losses in any order: alike."""
    QueueMachine.url = redis_url
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # Shrinking replays the whole story against a real server, for minutes: thirty steps can be read as they are.
            phases=(Phase.reuse, Phase.generate),
        ),
    )
