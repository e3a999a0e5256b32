"""Who is right, learned while the answers come: online Dawid-Skene. Pure.

Each annotator has a confusion matrix ``P(says v | truth is k)``, each class a frequency, each task a posterior over its classes
(A. P. Dawid and A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied Statistics
28(1), 1979). They are estimated by incremental EM (R. M. Neal and G. E. Hinton, "A View of the EM Algorithm that Justifies
Incremental, Sparse, and Other Variants", 1998): an answer takes its task's old share out of the sums, judges the task by what is
left, puts the new share in, and looks once more at a few other tasks, each by the sums without its own share. What results depends on
the order of the answers and on nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
_GROWTH = 8
# What somebody would tell is asked of so many of the likeliest classes of a task, and of the others not.
_LIKELY = 20


@dataclass(frozen=True, slots=True)
class CrowdSettings:
    """What is believed of people before they answer, and how much is looked at again.

    ``accuracy``: of the crowd, worth ``crowd_votes`` answers. A person starts at the crowd's accuracy, worth ``person_votes``
    answers, and each of their classes at their own, worth ``class_votes``. ``even``: pseudo-tasks per class. ``window``: tasks that
    may still be looked at again, ``again`` of them with each answer.
    """

    accuracy: float = 0.75
    crowd_votes: float = 20.0
    person_votes: float = 8.0
    class_votes: float = 12.0
    even: float = 2.0
    window: int = 4096
    again: int = 4


@dataclass(frozen=True, slots=True)
class Belief:
    """What a task's ``votes`` (annotator to value) amount to.

    ``distribution``: class to probability. ``weights``: by annotator, how likely they say this value where it is the truth.
    ``suspects``: who of them answered under suspicion.
    """

    votes: Mapping[str, str]
    distribution: Mapping[str, float]
    weights: Mapping[str, float]
    suspects: frozenset[str] = frozenset()

    @property
    def best(self) -> tuple[str, float]:
        """The likeliest class (of equals, the first by name) and its probability."""
        value, p = min(self.distribution.items(), key=lambda item: (-item[1], item[0]))
        return value, p


@dataclass(frozen=True, slots=True)
class Said:
    """One revision (1, 2, ...) of a person's answer. ``value`` None: taken back, or a skip.

    ``truth``: with this answer the right one became known (a reviewer's word, or gold); it holds until this person takes it back.
    ``suspect``: all such answers to a task weigh as much as one together.
    """

    value: str | None
    revision: int = 1
    truth: str | None = None
    suspect: bool = False


@dataclass(slots=True)
class _Ballots:
    """A task's votes as indices ``annotator -> class``, and the share of the sums that is theirs. ``teller`` said ``truth``.

    ``order``: the same votes as ``(people, classes)`` in the order of the people, whoever answered first; None: to be made.
    """

    votes: dict[int, int] = field(default_factory=dict)
    suspects: frozenset[int] = frozenset()
    revisions: dict[int, int] = field(default_factory=dict)
    truth: int | None = None
    teller: int | None = None
    share: Array | None = None
    order: tuple[Indices, Indices] | None = None

    def ordered(self) -> tuple[Indices, Indices]:
        if self.order is None:
            people = sorted(self.votes)
            values = [self.votes[person] for person in people]
            self.order = np.array(people, dtype=np.intp), np.array(values, dtype=np.intp)
        return self.order


def _weights(ballots: _Ballots) -> Array:
    """``(votes,)``: who answers together knows what one person knows."""
    alone = len(ballots.suspects) < 2
    return np.array(
        [1.0 if alone or p not in ballots.suspects else 1.0 / len(ballots.suspects) for p in ballots.ordered()[0]]
    )


def _starts(sizes: Sequence[int]) -> list[int]:
    """Where each run begins of those that stand one after the other."""
    return list(accumulate(sizes[:-1], initial=0))


def _shares(logs: Array) -> Array:
    """Probabilities ``(..., k)`` of these logarithms, up to a constant each."""
    shares: Array = np.exp(logs - logs.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return shares


class Crowd:
    """The people of one project as seen through one ordered log of answers. ``observe`` is the only thing that changes it."""

    def __init__(self, classes: Sequence[str], settings: CrowdSettings | None = None) -> None:
        self._settings = settings or CrowdSettings()
        self._classes: dict[str, int] = {}
        self._people: dict[str, int] = {}
        self._tasks: OrderedDict[str, _Ballots] = OrderedDict()
        self._cursor: list[str] = []
        # Shares of votes: (people, said, truth), (people, truth), of those that were right (people,), of tasks by truth.
        self._counts = np.zeros((0, 0, 0))
        self._rows = np.zeros((0, 0))
        self._right = np.zeros(0)
        self._class_counts = np.zeros(0)
        # Their sums, kept beside them: they are asked for several times per answer. A vote's shares sum to 1.
        self._votes = np.zeros(0)
        self._all_votes = 0
        self._all_right = 0.0
        for name in classes:
            self._class(name)

    def __len__(self) -> int:
        """How many tasks may still be looked at again."""
        return len(self._tasks)

    def __contains__(self, name: object) -> bool:
        """Whether this person ever answered."""
        return name in self._people

    # -- learning -----------------------------------------------------------------------------------------------------

    def observe(self, task: str, annotator: str, said: Said) -> Belief:
        """:meth:`learn`, and what the task amounts to now."""
        return self._belief(self._learned(task, annotator, said))

    def learn(self, task: str, annotator: str, said: Said) -> None:
        """One answer, a changed one, or one taken back. A revision seen before changes nothing."""
        self._learned(task, annotator, said)

    def _learned(self, task: str, annotator: str, said: Said) -> _Ballots:
        person = self._person(annotator)
        ballots = self._tasks.get(task)
        if ballots is None:
            ballots = self._tasks[task] = _Ballots()
            self._forget()
        if ballots.revisions.get(person, 0) < said.revision:
            ballots.revisions[person] = said.revision
            if ballots.share is not None:
                self._move(ballots, -ballots.share, -1)
                ballots.share = None
            self._hear(ballots, person, said)
            if ballots.votes:
                ballots.share = self._posterior(ballots)
                self._move(ballots, ballots.share, 1)
            self._look_again(task)
        return ballots

    def _hear(self, ballots: _Ballots, person: int, said: Said) -> None:
        ballots.votes.pop(person, None)
        ballots.order = None
        ballots.suspects -= {person}
        if ballots.teller == person:
            ballots.truth = ballots.teller = None
        if said.truth is not None:
            ballots.truth, ballots.teller = self._class(said.truth), person
        if said.value is not None:
            ballots.votes[person] = self._class(said.value)
            ballots.suspects |= {person} if said.suspect else set()

    def _forget(self) -> None:
        while len(self._tasks) > self._settings.window:
            self._tasks.popitem(last=False)  # its share stays in the sums

    def _look_again(self, but: str) -> None:
        tasks: list[_Ballots] = []
        for _ in range(min(self._settings.again, len(self._tasks) - 1)):
            if not self._cursor:
                self._cursor = list(self._tasks)[::-1]
            task = self._cursor.pop()
            ballots = self._tasks.get(task)
            if task != but and ballots is not None and ballots.share is not None and ballots.truth is None:
                tasks.append(ballots)
        if not tasks:
            return
        for ballots, share in zip(tasks, self._posteriors(tasks), strict=True):
            self._move(ballots, share - self._own(ballots), 0)
            ballots.share = share

    def _move(self, ballots: _Ballots, change: Array, votes: int) -> None:
        """Change the sums by a task's ``change`` ``(k,)`` of its share, and ``votes`` (0, 1 or -1) of each who answered it."""
        k = len(change)
        self._class_counts[:k] += change
        self._all_votes += votes * len(ballots.votes)
        for person, value in ballots.votes.items():
            self._counts[person, value, :k] += change
            self._rows[person, :k] += change
            self._votes[person] += votes
            self._right[person] += change[value]
            self._all_right += float(change[value])

    # -- judging ------------------------------------------------------------------------------------------------------

    def belief(self, votes: Mapping[str, str], suspects: Collection[str] = ()) -> Belief:
        """What these answers (annotator to value) would amount to, by what is known of people now. Changes no estimate.

        ``suspects``: whose answers are given under suspicion (:class:`Said`).
        """
        ballots = self._ballots(votes, suspects)
        ballots.share = self._posterior(ballots)
        return self._belief(ballots)

    def _ballots(self, votes: Mapping[str, str], suspects: Collection[str] = ()) -> _Ballots:
        said = {self._person(name): self._class(value) for name, value in votes.items()}
        return _Ballots(said, frozenset(self._person(name) for name in suspects if name in votes))

    def _belief(self, ballots: _Ballots) -> Belief:
        share = self._frequencies() if ballots.share is None else self._own(ballots)
        names, people = list(self._classes), list(self._people)
        chances = self._chances([ballots]).tolist()
        votes = sorted(ballots.votes.items())
        return Belief(
            votes={people[p]: names[v] for p, v in votes},
            distribution=dict(zip(names, share.tolist(), strict=True)),
            weights={people[p]: chances[i][v] for i, (p, v) in enumerate(votes)},
            suspects=frozenset(people[p] for p in ballots.suspects),
        )

    def _posterior(self, ballots: _Ballots) -> Array:
        if ballots.truth is not None:
            known = np.zeros(len(self._classes))
            known[ballots.truth] = 1.0
            return known
        logs = np.log(self._frequencies())
        if ballots.votes:
            heard = np.log(self._chances([ballots]))
            logs += (heard if len(ballots.suspects) < 2 else heard * _weights(ballots)[:, None]).sum(axis=0)
        return _shares(logs)

    def _posteriors(self, tasks: Sequence[_Ballots]) -> Array:
        """``(tasks, k)``: what each amounts to by the sums without its own share; all have votes. Several cost little more than one."""
        sizes = [len(ballots.votes) for ballots in tasks]
        own = np.array([self._own(ballots) for ballots in tasks])
        heard = np.log(self._chances(tasks, own.repeat(sizes, axis=0)))
        if any(len(ballots.suspects) > 1 for ballots in tasks):
            heard *= np.concatenate([_weights(ballots) for ballots in tasks])[:, None]
        return _shares(np.log(self._frequencies(own)) + np.add.reduceat(heard, _starts(sizes), axis=0))

    def _own(self, ballots: _Ballots) -> Array:
        """The task's part of the sums ``(k,)``; classes that came since have none."""
        k = len(self._classes)
        share = ballots.share
        if share is not None and len(share) == k:
            return share
        return np.zeros(k) if share is None else np.pad(share, (0, k - len(share)))

    def _frequencies(self, own: Array | None = None) -> Array:
        """``(k,)``, or ``(tasks, k)`` without ``own``."""
        counts = self._class_counts[: len(self._classes)]
        shares: Array = np.maximum(counts if own is None else counts - own, 0.0) + self._settings.even
        shares /= shares.sum(axis=-1, keepdims=True)
        return shares

    def _chances(self, tasks: Sequence[_Ballots], own: Array | None = None) -> Array:
        """``(votes, k)``: how likely each vote is under each truth, by the sums without ``own`` ``(votes, k)``.

        Votes by task, and there in a fixed order of people, whoever answered first.
        """
        s, k = self._settings, len(self._classes)
        orders = [ballots.ordered() for ballots in tasks]
        people, values = orders[0] if len(orders) == 1 else map(np.concatenate, zip(*orders, strict=True))
        votes = np.arange(len(people))
        counts, rows = self._counts[people, values, :k], self._rows[people, :k]
        right, said = self._right[people], self._votes[people]
        if own is None:
            crowd = self._crowd(self._all_right, self._all_votes)
        else:
            mine, sizes = own[votes, values], [len(order[0]) for order in orders]
            counts, rows = counts - own, rows - own
            right, said = right - mine, said - 1
            all_right = self._all_right - np.add.reduceat(mine, _starts(sizes))
            crowd = self._crowd(all_right, self._all_votes - np.array(sizes)).repeat(sizes)
        right = self._accuracy(right, said, crowd)
        wrong = (1.0 - right) / max(1, k - 1)
        chances: Array = np.maximum(counts, 0.0)
        chances += s.class_votes * wrong[:, None]
        chances[votes, values] += s.class_votes * (right - wrong)
        chances /= np.maximum(rows, 0.0) + s.class_votes
        return chances

    def _crowd(self, right: Array | float, said: Array | int) -> Array:
        """How often anybody is right who was in ``right`` of the votes ``said``; above chance."""
        s, k = self._settings, max(2, len(self._classes))
        crowd = (right + s.crowd_votes * s.accuracy) / (said + s.crowd_votes)
        return np.minimum(0.98, np.maximum(crowd, max(0.5, 1.2 / k)))

    def _accuracy(self, right: Array, said: Array, crowd: Array) -> Array:
        """How often people of such a ``crowd`` who were right in ``right`` of the votes ``said`` are right, whatever the class.

        Never below chance, so that classes cannot change places.
        """
        s, k = self._settings, max(2, len(self._classes))
        own = (right + s.person_votes * crowd) / (said + s.person_votes)
        sound: Array = np.minimum(np.maximum(own, 1.0 / k), 0.995)
        return sound

    def _accuracies(self, people: Indices | slice) -> Array:
        return self._accuracy(self._right[people], self._votes[people], self._crowd(self._all_right, self._all_votes))

    def gains(self, votes: Mapping[str, str], people: Sequence[str], suspects: Collection[str] = ()) -> Array:
        """What each of ``people`` (known ones) is expected to tell of a task with these answers, in nats.

        The mutual information of its class and their answer: ``sum_kv p(k) c(k, v) ln(c(k, v) / sum_j p(j) c(j, v))``, with ``p`` the
        posterior and ``c`` the person's confusion matrix (D. V. Lindley, "On a Measure of the Information Provided by an
        Experiment", Annals of Mathematical Statistics 27(4), 1956). ``k`` goes over the 20 likeliest classes, as if there were no
        others; of equals those that were named first. ``suspects`` as in :meth:`belief`.
        """
        share = self._posterior(self._ballots(votes, suspects))
        likely = np.sort(np.argsort(-share, kind="stable")[:_LIKELY])
        share = share[likely] / share[likely].sum()
        says = self._confusion(np.array([self._people[name] for name in people], dtype=np.intp), likely)
        joint = share[:, None] * says
        gains: Array = (joint * (np.log(says) - np.log(joint.sum(axis=1, keepdims=True)))).sum(axis=(1, 2))
        return gains

    def _confusion(self, people: Indices, truths: Indices) -> Array:
        """``(people, truths, said)``; each row sums to 1."""
        s, k = self._settings, len(self._classes)
        right = self._accuracies(people)
        base = np.repeat(((1.0 - right) / max(1, k - 1))[:, None], len(truths) * k, axis=1).reshape(-1, len(truths), k)
        base[:, np.arange(len(truths)), truths] = right[:, None]
        counts = np.maximum(self._counts[people[:, None], :k, truths], 0.0) + s.class_votes * base
        rows: Array = counts / counts.sum(axis=2, keepdims=True)
        return rows

    def accuracies(self) -> dict[str, float]:
        """Each person's chance of being right, whatever the class."""
        return dict(zip(self._people, self._accuracies(slice(len(self._people))).tolist(), strict=True))

    # -- room for people and classes ----------------------------------------------------------------------------------

    def _class(self, name: str) -> int:
        if name not in self._classes:
            self._classes[name] = len(self._classes)
            self._widen()
        return self._classes[name]

    def _person(self, name: str) -> int:
        if name not in self._people:
            self._people[name] = len(self._people)
            self._widen()
        return self._people[name]

    def _widen(self) -> None:
        people, k = len(self._people), len(self._classes)
        have_people, have = self._counts.shape[0], self._counts.shape[1]
        if people <= have_people and k <= have:
            return
        wide = k if k <= have or not have else k + _GROWTH
        wide = max(wide, have)
        long = people + _GROWTH if people > have_people else have_people
        grow = ((0, long - have_people), (0, wide - have))
        self._counts = np.pad(self._counts, (*grow, (0, wide - have)))
        self._rows = np.pad(self._rows, grow)
        self._right = np.pad(self._right, grow[0])
        self._votes = np.pad(self._votes, grow[0])
        self._class_counts = np.pad(self._class_counts, grow[1])
