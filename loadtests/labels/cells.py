"""One cell of the label benchmark: a stream, a strategy, a budget and a seed, computed once and kept on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from threadpoolctl import threadpool_limits

import tiebreak
from loadtests.labels import panel, peers
from tiebreak.apps.simulate import arms
from tiebreak.apps.simulate.arms import Arm
from tiebreak.apps.simulate.replay import Outcome, Pace, People, Replay
from tiebreak.apps.simulate.selecting import PeriodicSelector, Selector, UniformSelector
from tiebreak.apps.simulate.stream import Stream, stream_of_arrays
from tiebreak.contracts.project import Classes, Input, Project, Sampling, TensorSpec, Training
from tiebreak.training.contest import Contest
from tiebreak.training.sklearn_learners import contest_of

COMMITTEE = 3
# Strategies that look at the members of a committee; all others take the head that serves, and its members need not be fitted.
BY_COMMITTEE = frozenset({"vote_entropy", "bald", "kl", "bandit"})
STEP = 8
ALONG = 8
FORGETS = 4000  # labels that train on streams of tables, whose concepts move; text keeps all
KEEPS = 100_000


@dataclass(frozen=True, slots=True)
class Cell:
    """``arm`` is a strategy, with changed sampling keys after a colon (``tiebreak:temper=0.5``). ``random+names``,

    ``tiebreak+names``: with the vectors of the class names, where the stream has them. ``+auto``: every learner of the trainer;
    ``+along`` with it: eight unlabelled events go along with each label. ``+wrong`` after ``+names``: each class has another's vector.
    ``tiebreak+unalarmed``: labels raise no alarm of drift (what else raises one does).
    """

    stream: str
    arm: str
    budget: float
    seed: int
    delay: int = 0
    error: float = 0.0

    @property
    def file(self) -> str:
        """Its name in the cache: what decides the result, the code included."""
        text = f"{self!r}|{code(self.arm)}"
        return f"{blake2b(text.encode(), digest_size=12).hexdigest()}.json"


@dataclass(frozen=True, slots=True)
class Result:
    """``score`` is the stream's main figure; ``labels`` what was really spent."""

    cell: Cell
    events: int
    labels: int
    score: float
    second_half: float
    rare: float
    outside: float
    decide_us: float
    curve: tuple[tuple[int, int, float], ...]


@lru_cache(maxsize=64)
def code(arm: str) -> str:
    """Names what a result depends on: what replay and learner do, the policy's files for our arm, the peers' file for theirs."""
    root = Path(tiebreak.__file__).parent
    files = sorted((root / "sampling").glob("*.py")) if arm.startswith("tiebreak") else [Path(peers.__file__)]
    own = files if _bare(arm) not in {"random", "periodic"} else []
    h = blake2b(_learned().encode(), digest_size=8)
    for file in own:
        h.update(file.read_bytes())
    return h.hexdigest()


def _bare(arm: str) -> str:
    for flag in ("+names", "+wrong", "+auto", "+along", "+unalarmed"):
        arm = arm.replace(flag, "")
    return arm


@lru_cache(maxsize=1)
def _learned() -> str:
    """What replay and learner do on two small streams: a change that moves no answer keeps the cache."""
    h = blake2b(digest_size=8)
    for width in (6, 300):
        rng = np.random.default_rng(width)
        y = rng.integers(0, 4, 300)
        x = rng.normal(size=(4, width))[y] + rng.normal(size=(300, width))
        names = {"classes": np.arange(4).astype(str), "class_emb": rng.normal(size=(4, width))}
        stream = stream_of_arrays("probe", {"X": x, "y": y} | names)
        people = People(delay=5, error_rate=0.1)
        # Events that pass by teach embeddings alone.
        probes = (
            (replace(stream, vectors={}), "softmax", 0),
            (stream, "softmax", 0),
            (stream, "auto", ALONG * (width > 256)),
        )
        for probe, learner, along in probes:
            training = Training(learner=learner, step_labels=STEP, committee=COMMITTEE, unlabelled=along)
            contest = contest_of(training, width, names=probe.vectors)
            with threadpool_limits(1):
                told = Replay(probe, PeriodicSelector(0.2), contest, training, people, Pace(), 1).run()
            h.update(told.asked.tobytes() + told.predicted.tobytes())
    return h.hexdigest()


def compute(cell: Cell, data: Path | None) -> Result:
    """Run one cell on one thread."""
    entry = panel.entry(data, cell.stream)
    stream, training = told_of(cell, entry), learning_of(entry, cell.arm)
    if cell.arm.startswith("random") and entry.held_out:
        # Chance needs no model: one fit at the end gives the held-out figure.
        training = training.model_copy(update={"min_labels": 10**6})
    with threadpool_limits(1):
        contest = contest_of(training, stream.x.shape[1], names=stream.vectors)
        if cell.arm == "pool":
            outcome_labels, score, rare = peers.pool(stream, contest, cell.budget, cell.seed)
            return Result(cell, len(stream), outcome_labels, score, float("nan"), rare, float("nan"), 0.0, ())
        return result_of(cell, entry, stream, replay_of(cell, stream, training, contest).run())


def told_of(cell: Cell, entry: panel.Entry) -> Stream:
    """The stream in the order of the seed, with what the arm is told of the names of its classes."""
    stream = entry.load(cell.seed)
    names = list(stream.vectors) if "+names" in cell.arm else []
    of = names[1:] + names[:1] if "+wrong" in cell.arm else names
    vectors = dict(zip(names, [stream.vectors[name] for name in of], strict=True))
    return replace(stream, vectors=vectors)


def replay_of(cell: Cell, stream: Stream, training: Training, contest: Contest) -> Replay:
    """To be run once."""
    pace = Pace(growth=0.1 if cell.budget > 0.25 else 0.05, held_out_curve=False)
    people = People(cell.delay, cell.error)
    return Replay(stream, selector_of(cell, stream, training), contest, training, people, pace, cell.seed)


def selector_of(cell: Cell, stream: Stream, training: Training) -> Selector:
    """The strategy of a cell. Raises ValueError for an unknown one."""
    name, _, changes = _bare(cell.arm).partition(":")
    if name == "tiebreak":
        arm = Arm(f"default:{changes}", cell.budget, cell.seed)
        project = project_of(stream, cell.seed, training)
        if "+unalarmed" in cell.arm:
            signals = tuple(signal for signal in project.drift.signals if signal != "label_error")
            project = project.model_copy(update={"drift": project.drift.model_copy(update={"signals": signals})})
        return arms.selector_of(project, arm)
    if name == "random":
        return UniformSelector(cell.budget, cell.seed)
    if name == "periodic":
        return PeriodicSelector(cell.budget)
    return peers.selector_of(cell.arm, stream, cell.budget, cell.seed)


def project_of(stream: Stream, seed: int, training: Training) -> Project:
    """The default project without an audit slice: no strategy here has one, and what it costs is the same for all."""
    return Project(
        project="bench",
        input=Input(tensors=(TensorSpec(name="input", shape=(stream.x.shape[1],)),)),
        classes=Classes(open=True),
        sampling=Sampling(audit_share=0.0, seed=seed),
        training=training,
    )


def learning_of(entry: panel.Entry, arm: str) -> Training:
    """How an arm learns on a stream."""
    # A small step: the trainer fits every two seconds, whatever few labels have come. One learner for every arm and budget: with
    # `auto` an arm's figure would also say which learner its labels had elected.
    auto = "+auto" in arm
    return Training(
        learner="auto" if auto else "softmax",
        unlabelled=ALONG if auto and "+along" in arm else 0,
        step_labels=STEP,
        committee=COMMITTEE if any(f"strategy={name}" in arm for name in BY_COMMITTEE) else 1,
        refit_below=KEEPS if entry.held_out else FORGETS,
        window=KEEPS,
    )


def result_of(cell: Cell, entry: panel.Entry, stream: Stream, outcome: Outcome) -> Result:
    """A cell's result, from its replay."""
    asked = stream.y[outcome.asked]
    outside = [i for i, name in enumerate(stream.classes) if name in {"oos", "out_of_scope"}]
    return Result(
        cell=cell,
        events=len(stream),
        labels=len(asked),
        score=outcome.held_out if entry.held_out else outcome.second_half,
        second_half=outcome.second_half,
        rare=outcome.rare_f1,
        outside=float((asked == outside[0]).mean()) if outside and len(asked) else float("nan"),
        decide_us=outcome.decide_us,
        curve=tuple((point.events, point.labels, point.recent) for point in outcome.curve),
    )


class Store:
    """Results on disk, one small file per cell: a second run, or another process, takes up where this one stopped."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def get(self, cell: Cell) -> Result | None:
        """The result of a cell, if it is there."""
        try:
            raw = orjson.loads((self._folder / cell.file).read_bytes())
        except FileNotFoundError:
            return None
        raw["curve"] = tuple(tuple(point) for point in raw["curve"])
        numbers: dict[str, Any] = {
            name: float("nan") if value is None else value for name, value in raw.items() if name != "cell"
        }
        return Result(cell, **numbers)

    def put(self, result: Result) -> None:
        """Keep a result; whole or not at all."""
        path = self._folder / result.cell.file
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(orjson.dumps(asdict(result)))
        part.replace(path)

    def all(
        self, cells: list[Cell], data: Path | None, workers: int, done: Callable[[Result], None]
    ) -> dict[Cell, Result]:
        """Every cell's result, those missing computed by ``workers`` processes; ``done`` hears of each."""
        found = {cell: result for cell in cells if (result := self.get(cell)) is not None}
        missing = [cell for cell in dict.fromkeys(cells) if cell not in found]
        for result in found.values():
            done(result)
        for result in _computed(missing, data, self._folder, workers):
            found[result.cell] = result
            done(result)
        return found


def _computed(cells: list[Cell], data: Path | None, folder: Path, workers: int) -> Iterator[Result]:
    """The results of ``cells``, in their order; one worker is this very process, which spares a second one its imports."""
    if workers <= 1:
        yield from (_work(cell, data, folder) for cell in cells)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(_work, cells, [data] * len(cells), [folder] * len(cells))


def _work(cell: Cell, data: Path | None, folder: Path) -> Result:
    store = Store(folder)
    result = store.get(cell) or compute(cell, data)  # another process may have been faster
    store.put(result)
    return result
