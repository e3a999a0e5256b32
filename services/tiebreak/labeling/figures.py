"""What people did, in figures: fed with the logs of answers and labels, in any order and any number of times. Pure.

Agreement and speed look at the newest ``window`` tasks; counts are of everything.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from tiebreak.contracts.messages import Annotation, AnnotationState
from tiebreak.labeling.agreement import Agreement, cohen
from tiebreak.labeling.consensus import COUNTS
from tiebreak.labeling.gold import Standing

DAY_MS = 86_400_000


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
    day: int


@dataclass(slots=True)
class _Person:
    answers: int = 0
    skips: int = 0
    days: Counter[int] = field(default_factory=Counter)
    leads: deque[float] = field(default_factory=lambda: deque(maxlen=500))
    gold: dict[str, bool | None] = field(default_factory=dict)

    def standing(self) -> Standing:
        marks = [mark for mark in self.gold.values() if mark is not None]
        return Standing(sum(marks), len(marks))


class Figures:
    """Everybody, from the logs alone: a process that starts anew reads them again and says the same."""

    def __init__(self, window: int = 20_000) -> None:
        self._window = window
        self._tasks: dict[str, dict[str, _Given]] = {}
        self._labels: dict[str, tuple[int, str]] = {}
        self._people: dict[str, _Person] = {}
        self._standing_labels = 0
        self._answers = 0
        self._agreement = Agreement()

    def hear(self, a: Annotation, truth: str | None = None) -> None:
        """One answer of the log; ``truth`` where it was gold. A revision that is not newer changes nothing."""
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
            a.submitted_ms // DAY_MS,
        )
        if old is not None:
            _count(person, old, -1)
        _count(person, new, 1)
        self._answers += (new.value is not None) - (old is not None and old.value is not None)
        if truth is not None:
            # Else whoever has been paused could take back what they were paused for.
            if a.state is not AnnotationState.WITHDRAWN:
                person.gold[a.task_id] = None if new.value is None else new.value == truth
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
            del self._labels[next(iter(self._labels))]

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
        standings = [person.standing() for person in self._people.values()]
        return Standing(sum(s.right for s in standings), sum(s.asked for s in standings))

    @property
    def alpha(self) -> float | None:
        """How far people agree on the tasks of the window (:meth:`Agreement.alpha`)."""
        return self._agreement.alpha()

    def names(self) -> Sequence[str]:
        """Everybody who ever answered."""
        return list(self._people)

    def had_gold(self, name: str) -> Mapping[str, bool | None]:
        """The gold a person answered (or skipped: None), by task."""
        return self._people[name].gold if name in self._people else {}

    def standing(self, name: str) -> Standing:
        """How a person did on gold."""
        return self._people[name].standing() if name in self._people else Standing()

    def people(self) -> list[PersonFigures]:
        """Everybody who ever answered, by name."""
        confirmed, paces = self._confirmed(), self._paces()
        return [self._person(name, confirmed.get(name, []), paces.get(name, [])) for name in sorted(self._people)]

    def project(self) -> ProjectFigures:
        """All together."""
        leads = sorted(lead for person in self._people.values() for lead in person.leads)
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

    def asked(self, task: str) -> frozenset[str]:
        """Who ever answered or skipped a task of the window."""
        return frozenset(self._tasks.get(task, {}))

    def _task(self, task: str) -> dict[str, _Given]:
        if task not in self._tasks:
            self._tasks[task] = {}
            if len(self._tasks) > self._window:
                oldest = next(iter(self._tasks))
                self._agreement.remove(_unit(self._tasks.pop(oldest)))
        return self._tasks[task]

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
            answers=person.answers,
            skips=person.skips,
            gold=person.standing(),
            agreement=sum(a == b for a, b in pairs) / len(pairs) if pairs else None,
            kappa=cohen(pairs),
            median_s=median(person.leads) if person.leads else None,
            pace=median(paces) if paces else None,
            per_day=person.answers / max(1, sum(n > 0 for n in person.days.values())),
        )


def _count(person: _Person, given: _Given, sign: int) -> None:
    if given.value is not None:
        person.answers += sign
        person.days[given.day] += sign
        if sign > 0:
            person.leads.append(given.lead_s)
    person.skips += sign * given.skipped


def _unit(given: Mapping[str, _Given]) -> list[str]:
    return [g.value for g in given.values() if g.value is not None]


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
