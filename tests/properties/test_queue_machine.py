"""The queue under any sequence of events: the twin and Redis answer alike, and no invariant breaks on the way.

Checked after every step: at most one holder per task (I6), nobody given a task whose next answer is on the log already, tokens that
only grow, equal counts; at the end: each vote accepted is in the log, each label revision exists once (I2), all can settle (I7).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
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

from tests.support.labeling import Bench, a_project, a_task
from tests.support.queue_side import Side
from tiebreak.contracts.errors import TiebreakError
from tiebreak.contracts.messages import Label
from tiebreak.labeling.port import Act, Lease, Refused

PEOPLE = st.sampled_from(("ann", "bob", "cyd"))
VALUES = st.sampled_from(("cat", "dog"))


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

    @precondition(lambda self: self.sides[0].log)
    @rule(data=st.data())
    def forget_old(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.sides[0].log) - 1))
        self.both(*(side.forget_old(index) for side in self.sides))

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
