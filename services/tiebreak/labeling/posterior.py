"""Who is right, learned while the answers come: online Dawid-Skene. Pure.

Each annotator has a confusion matrix ``P(says v | truth is k)``, each class a frequency, each task a posterior over its classes
(A. P. Dawid and A. M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied Statistics
28(1), 1979). They are estimated by incremental EM (R. M. Neal and G. E. Hinton, "A View of the EM Algorithm that Justifies
Incremental, Sparse, and Other Variants", 1998): an answer takes its task's old share out of the sums, judges the task by what is
left, puts the new share in, and looks once more at a few other tasks. What results depends on the order of the answers and on
nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
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
    """A task's votes as indices ``annotator -> class``, and the share of the sums that is theirs. ``teller`` said ``truth``."""

    votes: dict[int, int] = field(default_factory=dict)
    suspects: frozenset[int] = frozenset()
    revisions: dict[int, int] = field(default_factory=dict)
    truth: int | None = None
    teller: int | None = None
    share: Array | None = None


class Crowd:
    """The people of one project as seen through one ordered log of answers. ``observe`` is the only thing that changes it."""

    def __init__(self, classes: Sequence[str], settings: CrowdSettings | None = None) -> None:
        self._settings = settings or CrowdSettings()
        self._classes: dict[str, int] = {}
        self._people: dict[str, int] = {}
        self._tasks: dict[str, _Ballots] = {}
        self._cursor: list[str] = []
        self._counts = np.zeros((0, 0, 0))
        self._rows = np.zeros((0, 0))
        self._right = np.zeros(0)
        self._class_counts = np.zeros(0)
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
        """One answer, a changed one, or one taken back; what the task amounts to now. A revision seen before changes nothing."""
        person = self._person(annotator)
        ballots = self._tasks.get(task)
        if ballots is None:
            ballots = self._tasks[task] = _Ballots()
            self._forget()
        if ballots.revisions.get(person, 0) < said.revision:
            ballots.revisions[person] = said.revision
            self._take_out(ballots)
            self._hear(ballots, person, said)
            self._put_in(ballots)
            self._look_again(task)
        return self._belief(ballots)

    def _hear(self, ballots: _Ballots, person: int, said: Said) -> None:
        ballots.votes.pop(person, None)
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
            del self._tasks[next(iter(self._tasks))]  # its share stays in the sums

    def _look_again(self, but: str) -> None:
        for _ in range(min(self._settings.again, len(self._tasks) - 1)):
            if not self._cursor:
                self._cursor = list(self._tasks)[::-1]
            task = self._cursor.pop()
            ballots = self._tasks.get(task)
            if task != but and ballots is not None:
                self._take_out(ballots)
                self._put_in(ballots)

    def _take_out(self, ballots: _Ballots) -> None:
        self._move(ballots, -1.0)
        ballots.share = None

    def _put_in(self, ballots: _Ballots) -> None:
        if ballots.votes:
            ballots.share = self._posterior(ballots)
            self._move(ballots, 1.0)

    def _move(self, ballots: _Ballots, sign: float) -> None:
        share = ballots.share
        if share is None:
            return
        k = len(share)
        moved = sign * share
        self._class_counts[:k] += moved
        for person, value in ballots.votes.items():
            self._counts[person, :k, value] += moved
            self._rows[person, :k] += moved
            self._right[person] += moved[value] if value < k else 0.0

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
        share = ballots.share if ballots.share is not None else self._frequencies()
        names, people = list(self._classes), list(self._people)
        chances = self._chances(ballots)
        votes = sorted(ballots.votes.items())
        return Belief(
            votes={people[p]: names[v] for p, v in votes},
            distribution=dict(zip(names, share.tolist(), strict=True)),
            weights={people[p]: float(chances[i, v]) for i, (p, v) in enumerate(votes)},
            suspects=frozenset(people[p] for p in ballots.suspects),
        )

    def _posterior(self, ballots: _Ballots) -> Array:
        if ballots.truth is not None:
            known = np.zeros(len(self._classes))
            known[ballots.truth] = 1.0
            return known
        heard = np.log(self._chances(ballots))
        if len(ballots.suspects) > 1:
            # Who answers together knows what one person knows.
            weights = [1.0 / len(ballots.suspects) if p in ballots.suspects else 1.0 for p in sorted(ballots.votes)]
            heard *= np.array(weights)[:, None]
        logs = np.log(self._frequencies()) + heard.sum(axis=0)
        odds = np.exp(logs - logs.max())
        shares: Array = odds / odds.sum()
        return shares

    def _frequencies(self) -> Array:
        counts = np.maximum(self._class_counts[: len(self._classes)], 0.0) + self._settings.even
        shares: Array = counts / counts.sum()
        return shares

    def _chances(self, ballots: _Ballots) -> Array:
        """``(votes, k)``: how likely each vote is under each truth, people in a fixed order whoever answered first."""
        s, k = self._settings, len(self._classes)
        order = sorted(ballots.votes.items())
        people = np.array([p for p, _ in order], dtype=np.intp)
        values = np.array([v for _, v in order], dtype=np.intp)
        right = self._accuracy(people)
        base = np.repeat(((1.0 - right) / max(1, k - 1))[:, None], k, axis=1)
        base[np.arange(len(order)), values] = right
        counts = np.maximum(self._counts[people, :k, values], 0.0)
        rows = np.maximum(self._rows[people, :k], 0.0)
        chances: Array = (counts + s.class_votes * base) / (rows + s.class_votes)
        return chances

    def _accuracy(self, people: NDArray[np.intp]) -> Array:
        """How often each of them is right, whatever the class; never below chance, so that classes cannot change places."""
        s, k = self._settings, max(2, len(self._classes))
        crowd = (self._right.sum() + s.crowd_votes * s.accuracy) / (self._rows.sum() + s.crowd_votes)
        crowd = min(0.98, max(crowd, 0.5, 1.2 / k))
        own = (self._right[people] + s.person_votes * crowd) / (self._rows[people].sum(axis=1) + s.person_votes)
        sound: Array = np.clip(own, 1.0 / k, 0.995)
        return sound

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

    def _confusion(self, people: NDArray[np.intp], truths: NDArray[np.intp]) -> Array:
        """``(people, truths, said)``; each row sums to 1."""
        s, k = self._settings, len(self._classes)
        right = self._accuracy(people)
        base = np.repeat(((1.0 - right) / max(1, k - 1))[:, None], len(truths) * k, axis=1).reshape(-1, len(truths), k)
        base[:, np.arange(len(truths)), truths] = right[:, None]
        counts = np.maximum(self._counts[people[:, None], truths, :k], 0.0) + s.class_votes * base
        rows: Array = counts / counts.sum(axis=2, keepdims=True)
        return rows

    def accuracies(self) -> dict[str, float]:
        """Each person's chance of being right, whatever the class."""
        people = np.arange(len(self._people), dtype=np.intp)
        return dict(zip(self._people, self._accuracy(people).tolist(), strict=True))

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
        self._class_counts = np.pad(self._class_counts, grow[1])
