"""The strategies of other libraries, unchanged, on the same model, the same stream and the same budget; and the pool-based bound."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river.active import EntropySampler

from tiebreak.apps.simulate.judging import f1
from tiebreak.apps.simulate.selecting import Pick, Selector
from tiebreak.apps.simulate.stream import Stream
from tiebreak.contracts.project import Training
from tiebreak.sampling.appraisal import Scored
from tiebreak.training.contest import Contest
from tiebreak.training.dataset import Row, classes_of

# The stream strategies of scikit-activeml 1.0 that classify any number of classes in less than a millisecond or two per event.
SKACTIVEML = (
    "VariableUncertainty",
    "Split",
    "RandomVariableUncertainty",
    "FixedUncertainty",
    "StreamDensityBasedAL",
    "CognitiveDualQueryStrategyRanVarUn",
)
# Those that came out best on text and on tables in earlier runs: what a short run compares with.
SKACTIVEML_SHORT = ("VariableUncertainty", "Split")
BOOTSTRAP = 30  # events labelled before the library's rules have a model to ask


def have_skactiveml() -> bool:
    """Whether scikit-activeml is installed: it is no dependency of ours."""
    return importlib.util.find_spec("skactiveml") is not None


def selector_of(arm: str, stream: Stream, budget: float, seed: int) -> Selector:
    """``ska-NAME`` or ``river``. Raises ValueError."""
    if arm == "river":
        return RiverSelector(budget, seed)
    library, _, name = arm.partition("-")
    if library == "ska" and name in SKACTIVEML:
        return SkactivemlSelector(name, stream, budget, seed)
    raise ValueError(f"no strategy {arm}")


def given(budget: float, events: int) -> int:
    """How many first events are labelled for the library's rules: a quarter of the budget, at most ``BOOTSTRAP``, and as many as the
    first model takes. Without a model they are never asked.

    >>> given(0.02, 3506), given(0.02, 5000), given(0.1, 3506)
    (20, 25, 30)
    """
    return max(Training().min_labels, int(min(BOOTSTRAP, 0.25 * budget * events)))


class SkactivemlSelector:
    """A stream strategy of scikit-activeml, asked event by event: called with a batch it checks one state for all."""

    def __init__(self, name: str, stream: Stream, budget: float, seed: int) -> None:
        n = len(stream)
        self._first = given(budget, n)
        rest = max(1e-4, (budget * n - self._first) / (n - self._first))
        extra = {"classes": list(range(len(stream.classes)))} if name == "FixedUncertainty" else {}
        # Installed for the benchmark alone, so looked for when it is asked for.
        library = importlib.import_module("skactiveml.stream")
        self._strategy = getattr(library, name)(budget=rest, random_state=seed, **extra)
        self._model = _model(len(stream.classes))
        self._spatial = name in {"StreamDensityBasedAL", "CognitiveDualQueryStrategyRanVarUn"}

    def select(self, batch: Scored, at: int) -> Sequence[Pick]:
        picks = []
        for row in range(len(batch)):
            if at + row < self._first:
                picks.append(Pick(row))
            if at + row < self._first or batch.probabilities.shape[1] < 2:
                continue
            self._model.answer = batch.probabilities[row : row + 1].astype(np.float64)
            self._model.classes_ = np.arange(batch.probabilities.shape[1])
            features = batch.features if self._spatial else None
            event = np.zeros((1, 1)) if features is None else features[row : row + 1]
            asked, _ = self._strategy.query(event, clf=self._model, return_utilities=True)
            self._strategy.update(event, asked)
            if len(asked):
                picks.append(Pick(row))
        return picks


def _model(classes: int) -> Any:
    base: Any = importlib.import_module("skactiveml.base").SkactivemlClassifier

    class Given(base):  # type: ignore[misc]
        """A classifier whose answer is set from outside: the model is the same for every strategy."""

        answer: NDArray[np.float64]

        def __init__(
            self, classes: Any = None, missing_label: Any = np.nan, cost_matrix: Any = None, random_state: Any = None
        ) -> None:
            super().__init__(
                classes=classes, missing_label=missing_label, cost_matrix=cost_matrix, random_state=random_state
            )

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: N803, ARG002
            return self

        def predict_proba(self, X: Any) -> Any:  # noqa: N803, ARG002
            return self.answer

    made = Given(classes=list(range(classes)))
    made.classes_ = np.arange(classes)
    return made


class _Answer:
    """What river's wrapper asks for the probabilities of the event at hand."""

    def __init__(self) -> None:
        self.now: dict[int, float] = {}

    def predict_proba_one(self, x: object) -> dict[int, float]:  # noqa: ARG002
        return self.now


class RiverSelector:
    """river's ActiveLearningClassifier with its EntropySampler. It knows no budget: a hard stop ahead of the even pace is added."""

    def __init__(self, budget: float, seed: int) -> None:
        self._budget, self._spent = budget, 0
        self._model = _Answer()
        self._sampler = EntropySampler(self._model, seed=seed)  # type: ignore[arg-type]

    def select(self, batch: Scored, at: int) -> Sequence[Pick]:
        picks = []
        for row, p in enumerate(batch.probabilities.tolist()):
            self._model.now = dict(enumerate(p)) if len(p) > 1 else {0: 0.5, 1: 0.5}
            _, wanted = self._sampler.predict_proba_one({})  # type: ignore[no-untyped-call]
            if wanted and self._spent < BOOTSTRAP + self._budget * (at + row + 1 - BOOTSTRAP / max(self._budget, 1e-9)):
                self._spent += 1
                picks.append(Pick(row))
        return picks


def pool(stream: Stream, contest: Contest, budget: float, seed: int) -> tuple[int, float, float]:
    """All events at hand from the start, the most uncertain asked in rounds: labels, held-out accuracy, rare F1.

    Not for streams that drift: it would ask about the future.
    """
    rng = np.random.default_rng((seed, 0x90))
    total = round(budget * len(stream))
    asked = rng.permutation(len(stream))[: min(30, total)].tolist()
    while True:
        rows = [
            Row(f"{i:012d}", 1, 0, name, {name: 1.0}, 1.0, 1.0, False, False, stream.x[i])
            for i in asked
            for name in (stream.classes[int(stream.y[i])],)
        ]
        classes = classes_of((), rows)
        model = contest.pick(rows, classes).fit(rows, classes)
        if len(asked) >= total:
            break
        p = np.sort(model.probabilities(stream.x), axis=1)
        # A little noise, as in the stream rule: the top of one round is one spot asked many times.
        score = np.log(1.001 - (p[:, -1] - p[:, -2])) + rng.gumbel(size=len(stream)) / 4.0
        score[asked] = -np.inf
        asked += np.argsort(-score)[: min(total - len(asked), max(25, len(asked) // 10))].tolist()
    columns = np.array([stream.classes.index(name) for name in classes])
    held = columns[model.probabilities(stream.held_x).argmax(axis=1)]
    return len(asked), float((held == stream.held_y).mean()), f1(held, stream.held_y, stream.rare)
