"""The control arm: the same number of labels, spent at random. Pure, and a function of the log alone.

Each question of the live arm has a **twin**: an event drawn uniformly from the same stretch of the stream, answered by people
who err as often, at the same moment. At each model of the live arm the control's learner (the very code of the trainer) fits
the twins that were answered by then, and it scores exactly the events that the live model scored. So both arms have as many
labels at each moment, bursts included, and differ in which events they chose. Where the arms could not be treated alike, the
control gets the better deal: all of its labels train (the live arm keeps an audit slice apart) and no gate holds its models.

An arm with a ``share`` of 2 has two twins per question, and so on: how many labels random needed for the same accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiebreak.apps.demo.people import answer_of
from tiebreak.apps.demo.recording import Asked, Recording
from tiebreak.apps.demo.world import CLASSES, World, event_id
from tiebreak.contracts.ids import unit_hash
from tiebreak.contracts.messages import Manifest
from tiebreak.contracts.project import Project
from tiebreak.training.dataset import Dataset, Row, training_set
from tiebreak.training.fitting import material_of
from tiebreak.training.learner import Settings, SoftmaxCommittee

STRETCH = 250


@dataclass(frozen=True, slots=True)
class Rung:
    """One live model: ``spent[i]`` says whether question ``i`` was answered when it was made; it scored ``events``."""

    version: str
    spent: NDArray[np.bool_]
    events: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Ladder:
    """The live arm, as far as the control follows it: its questions (event indices, in stream order) and its models in order."""

    questions: NDArray[np.intp]
    rungs: tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class Arm:
    """One random arm: ``share`` twins per question, chance from ``seed``."""

    share: float
    seed: int


@dataclass(frozen=True, slots=True)
class ArmResult:
    """``labels`` answered in all; ``right`` ``(n,)``, False where no model answered; ``labelled`` the event indices chosen."""

    arm: Arm
    labels: int
    right: NDArray[np.bool_]
    labelled: tuple[int, ...]


def ladder_of(recording: Recording, manifests: Iterable[Manifest]) -> Ladder:
    """What the log says the live arm asked, and had answered, at each model that served."""
    asked: list[Asked] = sorted(recording.asked.values(), key=lambda a: (a.index, a.task_id))
    settled = {s.label_id: s for s in recording.settled.values()}
    settled_ms = np.array([_settled_ms(recording, a) for a in asked], np.float64)
    rungs = []
    for manifest in manifests:
        known = [settled[label].settled_ms for label in manifest.label_ids if label in settled]
        if not known or manifest.version not in recording.versions:
            continue
        events = np.flatnonzero(recording.version == recording.versions.index(manifest.version))
        rungs.append(Rung(manifest.version, settled_ms <= max(known), events))
    rungs.sort(key=lambda rung: recording.versions.index(rung.version))
    return Ladder(np.array([a.index for a in asked], np.intp), tuple(rungs))


def _settled_ms(recording: Recording, asked: Asked) -> float:
    settled = recording.settled.get(asked.task_id)
    return settled.settled_ms if settled else np.inf


def twins(questions: NDArray[np.intp], events: int, arm: Arm) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """``(event, question)`` of each twin: an event from the question's stretch, no event twice, ``share`` of them per question."""
    rng = np.random.default_rng([arm.seed, round(arm.share * 1000)])
    chosen: list[NDArray[np.intp]] = []
    parents: list[NDArray[np.intp]] = []
    stretches = questions // STRETCH
    for stretch in np.unique(stretches):
        mine = np.flatnonzero(stretches == stretch)
        count = np.floor(arm.share * (mine + 1) + 1e-9).astype(int) - np.floor(arm.share * mine + 1e-9).astype(int)
        wanted = np.repeat(mine, count)
        pool = np.arange(stretch * STRETCH, min(events, (stretch + 1) * STRETCH))
        drawn = rng.permutation(pool)[: len(wanted)]
        chosen.append(drawn.astype(np.intp))
        parents.append(wanted[: len(drawn)])
    if not chosen:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    return np.concatenate(chosen), np.concatenate(parents)


def run_arm(world: World, ladder: Ladder, project: Project, error_rate: float, arm: Arm) -> ArmResult:
    """Fit and score one random arm along the ladder."""
    events, parents = twins(ladder.questions, len(world), arm)
    rows = [_row(world, int(i), error_rate, arm.seed) for i in events]
    settings = project.training
    learner = SoftmaxCommittee(Settings(committee=settings.committee, l2=settings.l2, seed=settings.seed))
    right = np.zeros(len(world), np.bool_)
    dataset, last = Dataset(), np.zeros(len(rows), np.bool_)
    for rung in ladder.rungs:
        last = rung.spent[parents]
        for at in np.flatnonzero(last):
            dataset.add(rows[at])
        material = material_of(dataset, project)
        if not material.learnable or not len(rung.events):
            continue
        model = learner.fit(training_set(material.training, material.classes))
        said = model.probabilities(world.features[rung.events]).argmax(axis=1)
        columns = np.array([CLASSES.index(name) for name in model.classes])
        right[rung.events] = columns[said] == world.truths[rung.events]
    return ArmResult(arm, int(last.sum()), right, tuple(int(i) for i in events[last]))


def _row(world: World, index: int, error_rate: float, seed: int) -> Row:
    identity = event_id(index)
    value = answer_of(CLASSES[world.truths[index]], error_rate, unit_hash(seed, "slip", identity))
    return Row(
        label_id=identity,
        revision=1,
        settled_ms=index,
        value=value,
        distribution={value: 1.0},
        confidence=1.0,
        propensity=1.0,
        audit=False,
        withdrawn=False,
        features=world.features[index],
    )


@dataclass(frozen=True, slots=True)
class Needed:
    """How many times the live arm's labels random needed for the same mean accuracy.

    ``low`` and ``high`` bound it: ``low`` is the largest share that stayed below, ``high`` the smallest that reached it (None: no
    arm did); ``estimate`` lies between them, on the line through the two accuracies in log labels.
    """

    low: float
    high: float | None
    estimate: float | None


def needed(reached: float, arms: Sequence[tuple[float, float]]) -> Needed:
    """From the live accuracy ``reached`` and the random arms' ``(share, mean accuracy)``.

    >>> needed(0.9, [(1.0, 0.8), (2.0, 0.88), (4.0, 0.92)])
    Needed(low=2.0, high=4.0, estimate=2.8284271247461903)
    >>> needed(0.95, [(1.0, 0.8), (2.0, 0.88)])
    Needed(low=2.0, high=None, estimate=None)
    >>> needed(0.7, [(1.0, 0.8)])
    Needed(low=0.0, high=1.0, estimate=None)
    """
    low, below = 0.0, 0.0
    for share, accuracy in sorted(arms):
        if accuracy >= reached:
            if not low:
                return Needed(low, share, None)
            at = (reached - below) / (accuracy - below)
            return Needed(low, share, float(low * (share / low) ** at))
        low, below = share, accuracy
    return Needed(low, None, None)
