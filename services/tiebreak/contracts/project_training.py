"""How models are trained: a section of the project file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from tiebreak.contracts.project_section import Section

Option = bool | int | float | str | None | tuple[int, ...]

# The seed is the project's, and the trainer's threads and output are not an estimator's to choose.
_NOT_TO_CHOOSE = frozenset({"random_state", "n_jobs", "verbose", "warm_start"})


class Estimator(Section):
    """An estimator of scikit-learn that learns by ``partial_fit``.

    A passive-aggressive classifier is ``SGDClassifier`` with ``{loss: hinge, penalty: null, learning_rate: pa1, eta0: 1.0}``.
    """

    name: Literal["SGDClassifier", "MLPClassifier", "GaussianNB"] = "SGDClassifier"
    """Its class in scikit-learn."""
    options: Annotated[dict[str, Option], Field(default_factory=dict)]
    """Its constructor's, by their names there. Where none are given: `SGDClassifier` has `{loss: log_loss, alpha: 0.001}`,
    `MLPClassifier` `{batch_size: 16, learning_rate_init: 0.005}`, `GaussianNB` `{var_smoothing: 0.01}`."""

    @field_validator("options")
    @classmethod
    def _ours_stay_ours(cls, options: dict[str, Option]) -> dict[str, Option]:
        taken = sorted(_NOT_TO_CHOOSE & options.keys())
        if taken:
            raise ValueError(f"{taken[0]} is set by the trainer: leave it out")
        return options


class Training(Section):
    """How models learn: one step per batch of new labels."""

    learner: Literal["auto", "softmax", "trees", "partial_fit"] = "auto"
    """`auto` (begins with `softmax`; from a few hundred labels on, whichever of several predicted the newest ones best),
    `softmax` (heads over Gaussian kernels, any input), `trees` (forests, for tables; needs the extra `trees`) or `partial_fit`
    (the `estimator` of scikit-learn that you name; needs the extra `partial-fit`)."""
    estimator: Estimator = Estimator(options={})
    """What `learner: partial_fit` trains."""
    hidden: Annotated[int | None, Field(ge=0, le=4096)] = None
    """Units of the hidden layer (Gaussian kernels, each at one label); 0 is a linear head. Where it is not given the width of the
    features decides: 256 below 256 features, none from there on (embeddings are linear enough)."""
    committee: Annotated[int, Field(ge=1, le=64)] = 5
    """So many heads, whose disagreement tells what they do not know."""
    step_labels: Annotated[int, Field(ge=1, le=100_000)] = 25
    """A step at so many new labels."""
    step_s: Annotated[float, Field(gt=0.0, le=86_400.0)] = 0.15
    """Or after so many seconds with at least one."""
    rest: Annotated[float, Field(ge=0.0, le=1000.0)] = 1.0
    """After a step the trainer rests so many times as long as the step took, the gate included: it takes 1 / (1 + rest) of a core."""
    min_labels: Annotated[int, Field(ge=2, le=1_000_000)] = 20
    """No model before so many labels."""
    refit_below: Annotated[int, Field(ge=0, le=1_000_000)] = 2000
    """Up to so many labels each step refits everything; beyond it from so many of the window, and only every hundred labels or
    so, with the labels since taken in at each step."""
    l2: Annotated[float, Field(ge=0.0, le=100.0)] = 1e-3
    """How much heads are pulled towards zero."""
    window: Annotated[int, Field(ge=10, le=100_000_000)] = 20_000
    """So many of the newest labels are learned from."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """So much of each answer is taken from what was said and spread over all classes while heads are fitted (not discriminants or
    trees). Measured, 0.02 to 0.05 was worth a point or two to 200 labels of dozens of classes, nothing to 800, and cost tables
    a little, since temperatures calibrate already: measure it before you set it."""
    propensity: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """A label weighs by one over the chance of its having been chosen (20 at most) to this power, the mean as before. 1 fits to
    the stream as it comes instead of to what was asked. Tried on two streams, it was no better beyond chance (ADR 0031)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7
    """The seed of every draw."""
    unlabelled: Annotated[int, Field(ge=0, le=32)] = 0
    """So many events that nobody is asked about go along with each question, as bare features (embeddings of 256 numbers and
    more, learner `auto`), and teach a plan of the contest, which is taken where it predicts better. 0: none."""

    @model_validator(mode="after")
    def _keys_of_the_learner(self) -> Self:
        # Against the defaults, not against what was given: a project that is written out whole is the same project.
        heads = ("hidden", "l2", "label_smoothing")
        changed = {name for name in (*heads, "estimator") if getattr(self, name) != _default(name)}
        idle = sorted(changed & set(heads)) if self.learner in {"trees", "partial_fit"} else []
        if idle:
            raise ValueError(f"{idle[0]}: belongs to learner 'softmax', {self.learner} has none")
        if "estimator" in changed and self.learner != "partial_fit":
            raise ValueError("estimator: belongs to learner 'partial_fit'")
        return self


def _default(name: str) -> object:
    return Training.model_fields[name].default
