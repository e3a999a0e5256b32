"""Whom to ask about, how many people there are for it, and what watches for drift: sections of the project file."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tiebreak.contracts.project_section import ClassName, Section, Share


class NearDuplicates(Section):
    """Events like one of the last that were selected are worth less."""

    memory: Annotated[int, Field(ge=0, le=4096)] = 8
    """How many of the last selected are looked at; 0: none."""
    similarity: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.75
    """What is like one has a cosine above this."""


class Floor(Section):
    """Labels that a slice gets at least."""

    name: ClassName
    """A slice of `gate.slices`."""
    share: Annotated[float, Field(gt=0.0, le=1.0)]
    """At least this share of the labels."""


class Balance(Section):
    """Floors: shares of the labels that rare classes and slices get at least. Questions asked for any other reason count."""

    rare_share: Share = 0.0
    """Of the labels, at least this share for events whose predicted class is rare; 0: no floor."""
    rare_below: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """A class is rare while it has less than this share of an even share of the recent predictions."""
    slices: tuple[Floor, ...] = ()
    """Floors for slices."""

    @model_validator(mode="after")
    def _floors_fit_into_the_budget(self) -> Self:
        if self.rare_share + sum(floor.share for floor in self.slices) > 1.0:
            raise ValueError("balance: rare_share and the shares of slices come to more than 1")
        names = [floor.name for floor in self.slices]
        if len(set(names)) != len(names):
            raise ValueError("balance: slices: a slice has two floors")
        return self


Acquisition = Literal[
    "margin",
    "least_confidence",
    "entropy",
    "expected_gradient_length",
    "vote_entropy",
    "kl",
    "bald",
    "density",
    "error_reduction",
]


class Sampling(Section):
    """Whom to ask about. A question is worth its utility per price."""

    strategy: Literal[Acquisition, "variance", "random", "bandit"] = "margin"
    """What makes an event worth asking about. `variance` ranks numbers, as any other does for them but `expected_gradient_length`
    and `random`. `bandit` draws one of `arms` for each event, the likelier the more its labels have brought so far, as audit
    labels tell."""
    arms: Annotated[tuple[Acquisition, ...], Field(min_length=2, max_length=9)] = ("margin", "entropy", "kl", "density")
    """What `bandit` draws from."""
    rule: Literal["adaptive", "fixed", "variable", "randomised", "split", "biqf"] = "adaptive"
    """`adaptive`: the threshold follows the scores. The others are published rules."""
    audit_share: Share = 0.1
    """Of the labels, for events drawn by chance alone, by which models are judged."""
    disagreement_share: Share = 0.1
    """Of the labels, for events on which the champion and the challenger of a rollout differ. They are audit questions, and count
    so much less in every figure."""
    temper: Annotated[float, Field(ge=0.0, le=10.0)] | None = None
    """How much chance joins the utility. Not set: 0.25 for embeddings (64 columns or more, or none), 2 for tables, where what the
    model finds hard is often noise or an old concept."""
    window: Annotated[int, Field(ge=16, le=65_536)] = 256
    """How many past scores the adaptive threshold looks at."""
    target_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.02
    """The share of the events that labels come to in the long run, at most."""
    near_duplicates: NearDuplicates = NearDuplicates()
    """What is like an event selected lately is worth less."""
    typicality: Annotated[float, Field(ge=0.0, le=4.0)] = 0.5
    """How much an event that many of the last ones resemble is preferred, while there are few labels for each class: its utility
    counts times the rank of its likeness to this power. Of embeddings (256 columns or more) alone. 0: not at all."""
    novelty: bool = True
    """Whether events unlike all others are worth more."""
    balance: Balance = Balance()
    """Floors for rare classes and slices."""
    window_s: Annotated[float, Field(ge=0.0, le=60.0)] = 0.0
    """Events are gathered for so long, predictions wait as long, and the best of each window is chosen, spread over what it
    holds, instead of event by event. 0: nothing waits."""
    cost_per_kilobyte: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.0
    """Each kilobyte of an event costs so much of an ordinary answer more. `labeling.rules` may say what an answer costs elsewhere."""
    origin_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """What part of the last 200 questions one source (`ce_source`) or one record key may cause; 1: all of them. Audit questions
    about an origin that sends more of the events than that are drawn so much less often, and weighted by as much."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7
    """The seed of every draw."""

    @model_validator(mode="after")
    def _floors_have_an_adaptive_rule(self) -> Self:
        if self.rule != "adaptive" and (self.balance.rare_share or self.balance.slices):
            raise ValueError(f"balance: floors belong to the rule 'adaptive', not to {self.rule!r}")
        if len(set(self.arms)) != len(self.arms):
            raise ValueError("arms: an acquisition is listed twice")
        if self.strategy == "bandit" and not self.audit_share:
            raise ValueError("strategy: bandit learns from the audit slice: audit_share must be above 0")
        if self.strategy == "bandit" and (self.rule != "adaptive" or self.window_s):
            raise ValueError("strategy: bandit is for the rule 'adaptive', without window_s")
        if self.window_s and self.rule != "adaptive":
            raise ValueError(f"window_s: a window is for the rule 'adaptive', not for {self.rule!r}")
        return self


class Budget(Section):
    """How many labels people can give."""

    labels_per_hour: Annotated[float, Field(gt=0.0, le=1e9)] = 600.0
    """So many labels per hour at most."""
    carry_over: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """Unspent budget piles up to so many labels."""
    max_open_tasks: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    """No task is made while so many wait."""
    queue_age_s: Annotated[float, Field(ge=10.0, le=2_592_000.0)] | None = None
    """How long a task may wait, at the pace at which people settle tasks now. When they leave, fewer are asked for, so that the
    queue stays short enough; when they return, more, up to `labels_per_hour`. Not set: `max_open_tasks` alone bounds it."""
    money_per_hour: Annotated[float, Field(gt=0.0, le=1e12)] | None = None
    """What labels may cost besides, in the unit of `labeling.cost_per_answer`; what is unspent piles up for an hour."""


class Burst(Section):
    """What an alarm opens: more labels for a while, then a rest.

    Its labels or its time spent, it listens until most of its answers are there, for a day at most.
    """

    multiplier: Annotated[float, Field(ge=1.0, le=100.0)] = 4.0
    """The selection rate times so much."""
    labels: Annotated[int, Field(ge=0, le=1_000_000)] = 60
    """For at most so many labels."""
    known_to: Annotated[float, Field(gt=0.0, le=0.5)] | None = 0.1
    """It ends sooner once its labels tell the error since the alarm to within so much, 0.1 for ten points either way (an interval
    at 95 % that holds whenever it is looked at; 60 labels rarely tell that much). null: its labels or its time end it."""
    cooldown_events: Annotated[int, Field(ge=0, le=100_000_000)] = 2000
    """So many events of rest after it."""


class Detector(StrEnum):
    """river's drift detectors, by river's names."""

    ADWIN = "ADWIN"
    KSWIN = "KSWIN"
    PAGE_HINKLEY = "PageHinkley"


class Drift(Section):
    """Which detectors watch which signals, and how many must agree for an alarm."""

    detectors: tuple[Detector, ...] = (Detector.ADWIN, Detector.PAGE_HINKLEY)
    """river's detectors, by river's names."""
    signals: tuple[Literal["uncertainty", "predicted_class", "input", "audit_error", "label_error"], ...] = (
        "uncertainty",
        "predicted_class",
        "input",
        "label_error",
    )
    """What they watch. `label_error`, mistakes that labels show, has a test of its own (CUSUM) and needs no vote."""
    votes: Annotated[int, Field(ge=1, le=12)] = 2
    """So many of them must agree."""
    vote_window: Annotated[int, Field(ge=1, le=10_000_000)] = 500
    """Within so many events."""
    burst: Burst = Burst()
    """What an alarm opens."""
