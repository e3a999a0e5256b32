"""What is learned of people, against the definition: sums made anew from every task's share, vote by vote, after any log."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiebreak.labeling.posterior import Crowd, CrowdSettings, Said

# Few of each, so that people answer again, tasks are looked at again and the window forgets within a short log.
TASKS = tuple("vwxyz")
PEOPLE = tuple("abcd")
DECLARED = ("ant", "bee")
LATER = ("cow", "dog")
S = CrowdSettings(crowd_votes=3.0, person_votes=2.0, class_votes=1.5, even=0.5)

NAMES = (*DECLARED, *LATER)
answers = st.sampled_from((*NAMES, None))
truths = st.sampled_from((*[None] * 20, *NAMES))
said = st.builds(Said, answers, st.integers(1, 4), truths, st.booleans())
logs = st.lists(st.tuples(st.sampled_from(TASKS), st.sampled_from(PEOPLE), said), min_size=10, max_size=60)


@dataclass
class Task:
    votes: dict[str, str] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)
    revisions: dict[str, int] = field(default_factory=dict)
    told: tuple[str, str] | None = None
    share: Mapping[str, float] | None = None


@dataclass
class Definition:
    """Online Dawid-Skene with loops, and nothing kept but the tasks and the share of each."""

    window: int
    again: int
    classes: list[str] = field(default_factory=lambda: list(DECLARED))
    tasks: dict[str, Task] = field(default_factory=dict)
    forgotten: list[Task] = field(default_factory=list)
    cursor: list[str] = field(default_factory=list)

    def observe(self, name: str, person: str, said: Said) -> Task:
        task = self.tasks.setdefault(name, Task())
        if len(self.tasks) > self.window:
            self.forgotten.append(self.tasks.pop(next(iter(self.tasks))))
        if task.revisions.get(person, 0) < said.revision:
            task.revisions[person] = said.revision
            self.hear(task, person, said)
            task.share = self.posterior(task, task) if task.votes else None
            self.look_again(name)
        return task

    def hear(self, task: Task, person: str, said: Said) -> None:
        task.votes.pop(person, None)
        task.suspects.discard(person)
        if task.told is not None and task.told[0] == person:
            task.told = None
        if said.truth is not None:
            self.know(said.truth)
            task.told = person, said.truth
        if said.value is not None:
            self.know(said.value)
            task.votes[person] = said.value
            if said.suspect:
                task.suspects.add(person)

    def know(self, name: str) -> None:
        if name not in self.classes:
            self.classes.append(name)

    def look_again(self, but: str) -> None:
        found: dict[str, Mapping[str, float]] = {}
        for _ in range(min(self.again, len(self.tasks) - 1)):
            if not self.cursor:
                self.cursor = list(self.tasks)
            name = self.cursor.pop(0)
            task = self.tasks.get(name)
            if name != but and task is not None and task.share is not None:
                found[name] = self.posterior(task, task)
        for name, share in found.items():
            self.tasks[name].share = share

    def counted(self, but: Task | None = None) -> Iterator[tuple[Task, Mapping[str, float]]]:
        for task in (*self.forgotten, *self.tasks.values()):
            if task is not but and task.share is not None:
                yield task, task.share

    def accuracy(self, person: str, but: Task | None = None) -> float:
        all_right, all_votes, right, votes = 0.0, 0, 0.0, 0
        for task, share in self.counted(but):
            for who, value in task.votes.items():
                all_right, all_votes = all_right + share.get(value, 0.0), all_votes + 1
                if who == person:
                    right, votes = right + share.get(value, 0.0), votes + 1
        k = max(2, len(self.classes))
        crowd = (all_right + S.crowd_votes * S.accuracy) / (all_votes + S.crowd_votes)
        crowd = min(0.98, max(crowd, 0.5, 1.2 / k))
        return min(0.995, max(1.0 / k, (right + S.person_votes * crowd) / (votes + S.person_votes)))

    def chance(self, person: str, value: str, truth: str, but: Task | None = None) -> float:
        """How likely ``person`` says ``value`` where ``truth`` is the truth."""
        count = row = 0.0
        for task, share in self.counted(but):
            if person in task.votes:
                row += share.get(truth, 0.0)
                count += share.get(truth, 0.0) if task.votes[person] == value else 0.0
        right = self.accuracy(person, but)
        before = right if value == truth else (1.0 - right) / max(1, len(self.classes) - 1)
        return (count + S.class_votes * before) / (row + S.class_votes)

    def frequencies(self, but: Task | None = None) -> dict[str, float]:
        counts = {k: S.even + sum(share.get(k, 0.0) for _, share in self.counted(but)) for k in self.classes}
        return {k: count / sum(counts.values()) for k, count in counts.items()}

    def posterior(self, task: Task, but: Task | None = None) -> dict[str, float]:
        if task.told is not None:
            return {k: float(k == task.told[1]) for k in self.classes}
        odds = self.frequencies(but)
        for person, value in task.votes.items():
            weight = 1.0 / len(task.suspects) if person in task.suspects else 1.0
            for truth in self.classes:
                odds[truth] *= self.chance(person, value, truth, but) ** weight
        return {k: p / sum(odds.values()) for k, p in odds.items()}


def near(found: Mapping[str, float], expected: Mapping[str, float]) -> bool:
    return list(found) == list(expected) and all(
        math.isclose(found[k], p, rel_tol=1e-7, abs_tol=1e-12) for k, p in expected.items()
    )


@settings(deadline=None, max_examples=60)
@given(log=logs, window=st.integers(2, 8), again=st.integers(0, 4))
def test_after_any_log_every_estimate_is_the_definitions(
    log: list[tuple[str, str, Said]], window: int, again: int
) -> None:
    """Revisions, withdrawals, truths, suspects, classes that come later, tasks that the window forgets: nothing is left in the sums."""
    crowd = Crowd(
        DECLARED, CrowdSettings(S.accuracy, S.crowd_votes, S.person_votes, S.class_votes, S.even, window, again)
    )
    plain = Definition(window, again)
    people: dict[str, None] = {}
    for name, person, what in log:
        belief, task = crowd.observe(name, person, what), plain.observe(name, person, what)
        people.setdefault(person)
        share = plain.frequencies() if task.share is None else {k: task.share.get(k, 0.0) for k in plain.classes}
        assert near(belief.distribution, share)
        assert belief.votes == task.votes
        assert belief.suspects == task.suspects
        assert all(belief.weights[p] == pytest.approx(plain.chance(p, v, v)) for p, v in task.votes.items())
    # What is known of each person, of each class and of each person in each class, is what all the sums amount to.
    assert near(crowd.accuracies(), {person: plain.accuracy(person) for person in people})
    assert near(crowd.belief({}).distribution, plain.frequencies())
    for person in people:
        for value in plain.classes:
            votes = {person: value}
            assert near(crowd.belief(votes).distribution, plain.posterior(Task(votes)))
            assert crowd.belief(votes).weights[person] == pytest.approx(plain.chance(person, value, value))
