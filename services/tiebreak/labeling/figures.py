"""What people did, in figures: fed with the logs of answers and labels, in any order and any number of times. Pure.

Agreement and speed look at the newest ``window`` tasks; counts are of everything that no horizon has ended.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from statistics import median

from tiebreak.contracts.messages import Annotation, AnnotationState
from tiebreak.labeling.agreement import Agreement, cohen
from tiebreak.labeling.consensus import COUNTS
from tiebreak.labeling.gold import Standing

DAY_MS = 86_400_000
_FOR_EVER_MS = 2**53
# Of each so many are forgotten in one step.
_PEOPLE, _TASKS = 20, 200


@dataclass(frozen=True, slots=True)
class PersonFigures:
    """One person. ``agreement``: share of their votes that the label confirmed, where others voted too; ``kappa`` the same beyond

    chance. ``pace``: their time on a task over the median of the others who did the same task (1: as fast as they). ``per_day``:
    answers on days with any. None: nothing to say yet.
    """

    name: str
    answers: int
    skips: int
    gold: Standing
    agreement: float | None
    kappa: float | None
    median_s: float | None
    pace: float | None
    per_day: float


@dataclass(frozen=True, slots=True)
class ProjectFigures:
    """The project. ``disagreement``: share of tasks with several answers that were not all the same. ``work_s``: percentiles

    50, 90 and 99 of the time a person took. ``gold`` is everybody's.
    """

    answers: int
    labels: int
    gold: Standing
    alpha: float | None
    fleiss: float | None
    disagreement: float | None
    work_s: tuple[float, float, float] | None


@dataclass(slots=True)
class _Given:
    revision: int
    value: str | None
    skipped: bool
    lead_s: float
    at_ms: int


@dataclass(slots=True)
class _Person:
    """``answers`` by step of the horizon and day, ``skips`` by step: what a horizon ends is taken off without knowing each of them."""

    answers: Counter[tuple[int, int]] = field(default_factory=Counter)
    skips: Counter[int] = field(default_factory=Counter)
    leads: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=500))
    gold: dict[str, bool | None] = field(default_factory=dict)
    gold_ms: dict[str, int] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)

    def judge(self, task: str, mark: bool | None, at_ms: int) -> None:
        """``mark``: whether a piece of gold was answered right; None: it was skipped."""
        old = self.gold.get(task)
        self.gold[task], self.gold_ms[task] = mark, at_ms
        # Kept, not counted: it is asked for at each claim, and people who stay have hundreds of pieces behind them.
        right = self.standing.right + (mark is True) - (old is True)
        self.standing = Standing(right, self.standing.asked + (mark is not None) - (old is not None))

    def forget_before(self, before_ms: int, step_ms: int) -> bool:
        """Whether anything is left."""
        over = before_ms // step_ms
        self.answers = Counter({place: n for place, n in self.answers.items() if place[0] >= over})
        self.skips = Counter({step: n for step, n in self.skips.items() if step >= over})
        self.leads = deque((lead for lead in self.leads if lead[0] >= before_ms), self.leads.maxlen)
        self.gold_ms = {task: at_ms for task, at_ms in self.gold_ms.items() if at_ms >= before_ms}
        self.gold = {task: mark for task, mark in self.gold.items() if task in self.gold_ms}
        marks = [mark for mark in self.gold.values() if mark is not None]
        self.standing = Standing(sum(marks), len(marks))
        return bool(self.answers or self.skips or self.gold)

    def snapshot(self) -> _Person:
        return replace(
            self,
            answers=self.answers.copy(),
            skips=self.skips.copy(),
            leads=self.leads.copy(),
            gold=self.gold.copy(),
            gold_ms=self.gold_ms.copy(),
        )


class Figures:
    """Everybody, from the logs alone: a process that starts anew reads them again and says the same.

    ``step_ms``: every horizon is a multiple of it, but for those that come before the first answer.
    """

    def __init__(self, window: int = 20_000, step_ms: int = _FOR_EVER_MS) -> None:
        self._window = window
        self._step_ms = step_ms
        self._before_ms = 0
        # Ordered: of a plain dict the first is looked for behind the places of all that left, at each answer.
        self._tasks: OrderedDict[str, dict[str, _Given]] = OrderedDict()
        self._labels: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self._people: dict[str, _Person] = {}
        self._had: dict[str, set[str]] = {}
        self._standing_labels = 0
        self._answers = 0
        self._agreement = Agreement()

    def hear(self, a: Annotation, truth: str | None = None) -> None:
        """One answer of the log; ``truth`` where it was gold. A revision that is not newer changes nothing, nor does one too old."""
        if a.submitted_ms < self._before_ms:
            return
        given = self._task(a.task_id)
        old = given.get(a.annotator)
        if old is not None and old.revision >= a.revision:
            return
        person = self._people.get(a.annotator)
        if person is None:
            person = self._people[a.annotator] = _Person()
        new = _Given(
            a.revision,
            a.value if a.state in COUNTS else None,
            a.state is AnnotationState.SKIPPED,
            a.lead_time_s,
            a.submitted_ms,
        )
        if old is not None:
            self._count(person, old, -1)
        self._count(person, new, 1)
        self._answers += (new.value is not None) - (old is not None and old.value is not None)
        if truth is not None:
            # Else whoever has been paused could take back what they were paused for.
            if a.state is not AnnotationState.WITHDRAWN:
                person.judge(a.task_id, None if new.value is None else new.value == truth, a.submitted_ms)
                self._had.setdefault(a.annotator, set()).add(a.task_id)
            given[a.annotator] = new
            return
        self._agreement.remove(_unit(given))
        given[a.annotator] = new
        self._agreement.add(_unit(given))

    def settled(self, task_id: str, revision: int, value: str, withdrawn: bool) -> None:
        """One label of the log."""
        known, standing = self._labels.get(task_id, (0, ""))
        if known >= revision:
            return
        self._standing_labels += (not withdrawn) - bool(standing)
        self._labels[task_id] = (revision, "" if withdrawn else value)
        if len(self._labels) > 10 * self._window:
            self._labels.popitem(last=False)

    def snapshot(self) -> Figures:
        """As they are now, for who looks at them for a while, in a thread: these go on."""
        taken = copy(self)
        taken._tasks = OrderedDict((task, given.copy()) for task, given in self._tasks.items())  # noqa: SLF001 - our own copy
        taken._labels = self._labels.copy()  # noqa: SLF001 - as above
        taken._people = {name: person.snapshot() for name, person in self._people.items()}  # noqa: SLF001 - as above
        taken._agreement = deepcopy(self._agreement)  # noqa: SLF001 - as above
        return taken

    def forget_before(self, before_ms: int) -> Iterator[None]:
        """Know nothing of answers given before then, from now on, whenever they come. What is known already goes step by step, as long

        as it is iterated: each step is short, and others may look in between. Nothing may be heard before it has ended.
        """
        self._before_ms = before_ms
        for place, (task, given) in enumerate(list(self._tasks.items()), 1):
            left = {name: g for name, g in given.items() if g.at_ms >= before_ms}
            if len(left) < len(given):
                self._agreement.remove(_unit(given))
                self._agreement.add(_unit(left))
                self._tasks[task] = left
            if not left:
                del self._tasks[task]
            if place % _TASKS == 0:
                yield
        # After the tasks: whose answers are looked at must be known, and what was gold.
        for place, (name, person) in enumerate(list(self._people.items()), 1):
            if not person.forget_before(before_ms, self._step_ms):
                del self._people[name]
            if place % _PEOPLE == 0:
                yield
        self._answers = sum(person.answers.total() for person in self._people.values())

    @property
    def answers(self) -> int:
        """How many answers stand, gold included."""
        return self._answers

    @property
    def labels(self) -> int:
        """How many labels stand."""
        return self._standing_labels

    @property
    def gold(self) -> Standing:
        """How everybody together did on gold."""
        standings = [person.standing for person in self._people.values()]
        return Standing(sum(s.right for s in standings), sum(s.asked for s in standings))

    @property
    def alpha(self) -> float | None:
        """How far people agree on the tasks of the window (:meth:`Agreement.alpha`)."""
        return self._agreement.alpha()

    def names(self) -> Sequence[str]:
        """Everybody of whom an answer is known."""
        return list(self._people)

    def had_gold(self, name: str) -> Collection[str]:
        """The gold a person answered or skipped, long ago too: nobody is asked it again."""
        return self._had.get(name, ())

    def standing(self, name: str) -> Standing:
        """How a person did on gold."""
        return self._people[name].standing if name in self._people else Standing()

    def people(self) -> list[PersonFigures]:
        """Everybody of whom an answer is known, by name."""
        confirmed, paces = self._confirmed(), self._paces()
        return [self._person(name, confirmed.get(name, []), paces.get(name, [])) for name in sorted(self._people)]

    def project(self) -> ProjectFigures:
        """All together."""
        leads = sorted(lead for person in self._people.values() for _, lead in person.leads)
        several = [unit for given in self._tasks.values() if len(unit := _unit(given)) > 1]
        return ProjectFigures(
            answers=self._answers,
            labels=self.labels,
            gold=self.gold,
            alpha=self.alpha,
            fleiss=self._agreement.fleiss(),
            disagreement=sum(len(set(u)) > 1 for u in several) / len(several) if several else None,
            work_s=(_percentile(leads, 50), _percentile(leads, 90), _percentile(leads, 99)) if leads else None,
        )

    def votes(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """The answers of each task of the window, annotator to value, gold left out; the newest task first."""
        for task, given in reversed(self._tasks.items()):
            said = {name: g.value for name, g in given.items() if g.value is not None}
            if said and not any(task in self._people[name].gold for name in said):
                yield task, said

    def said(self, task: str) -> Mapping[str, str]:
        """The answers that stand to a task of the window, annotator to value."""
        return {name: g.value for name, g in self._tasks.get(task, {}).items() if g.value is not None}

    def asked(self, task: str) -> Mapping[str, int]:
        """Who answered or skipped a task of the window, and when (ms)."""
        return {name: given.at_ms for name, given in self._tasks.get(task, {}).items()}

    def _task(self, task: str) -> dict[str, _Given]:
        if task not in self._tasks:
            self._tasks[task] = {}
            if len(self._tasks) > self._window:
                _, oldest = self._tasks.popitem(last=False)
                self._agreement.remove(_unit(oldest))
        return self._tasks[task]

    def _count(self, person: _Person, given: _Given, sign: int) -> None:
        step = given.at_ms // self._step_ms
        if given.value is not None:
            person.answers[step, given.at_ms // DAY_MS] += sign
            if sign > 0:
                person.leads.append((given.at_ms, given.lead_s))
        person.skips[step] += sign * given.skipped

    def _confirmed(self) -> dict[str, list[tuple[str, str]]]:
        pairs: dict[str, list[tuple[str, str]]] = {}
        for task, said in self.votes():
            label = self._labels.get(task, (0, ""))[1]
            if label and len(said) > 1:
                for name, value in said.items():
                    pairs.setdefault(name, []).append((value, label))
        return pairs

    def _paces(self) -> dict[str, list[float]]:
        paces: dict[str, list[float]] = {}
        for given in self._tasks.values():
            leads = {name: g.lead_s for name, g in given.items() if g.value is not None and g.lead_s > 0}
            for name, lead in leads.items():
                others = [other for who, other in leads.items() if who != name]
                if others:
                    paces.setdefault(name, []).append(lead / median(others))
        return paces

    def _person(self, name: str, pairs: list[tuple[str, str]], paces: list[float]) -> PersonFigures:
        person = self._people[name]
        return PersonFigures(
            name=name,
            answers=person.answers.total(),
            skips=person.skips.total(),
            gold=person.standing,
            agreement=sum(a == b for a, b in pairs) / len(pairs) if pairs else None,
            kappa=cohen(pairs),
            median_s=median(lead for _, lead in person.leads) if person.leads else None,
            pace=median(paces) if paces else None,
            per_day=person.answers.total() / max(1, len({day for (_, day), n in person.answers.items() if n > 0})),
        )


def _unit(given: Mapping[str, _Given]) -> list[str]:
    return [g.value for g in given.values() if g.value is not None]


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
