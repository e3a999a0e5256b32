"""When a challenger may serve, and how it takes over: sections of the project file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tiebreak.contracts.project_section import ClassName, Section


class Canary(Section):
    """How a challenger takes over under ``gate.rollout: canary``: first as a shadow, then by shares of the events."""

    shares: Annotated[tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...], Field(min_length=1)] = (0.01, 0.05, 0.25)
    """The shares of the events that it answers, one stage after the other."""
    compared: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    """Both models score at least this share of the events."""
    events: Annotated[int, Field(ge=1, le=100_000_000)] = 500
    """A stage lasts for so many events scored by both at least."""
    seconds: Annotated[float, Field(ge=0.0, le=604_800.0)] = 30.0
    """A stage lasts for so many seconds at least."""
    max_shift: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    """The challenger goes at once above this total variation between the classes that the two predict."""
    max_disagreement: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """The challenger goes at once above this share of events that the two answer differently."""

    @model_validator(mode="after")
    def _shares_rise(self) -> Self:
        if list(self.shares) != sorted(set(self.shares)):
            raise ValueError("shares: each must be above the one before it")
        return self


class Slice(Section):
    """A part of the stream on which a challenger must not be worse."""

    name: ClassName
    """What reports call it."""
    field: str
    """The field (one of `input.fields`) that decides."""
    at_least: float | None = None
    """Events from this value on; not given: no lower bound."""
    below: float | None = None
    """Events below this value; not given: no upper bound."""


class Gate(Section):
    """When a challenger may serve."""

    non_inferiority: Annotated[float, Field(ge=0.0, le=0.5)] = 0.02
    """So much worse is not worse: a share of the answers, or, for numbers, of their range."""
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """The chance of error that the tests allow themselves."""
    young_labels: Annotated[int, Field(ge=0, le=1_000_000)] = 300
    """Below so many audit labels the fast lane for young models decides."""
    slices: tuple[Slice, ...] = ()
    """Beside the classes, the parts of the stream on which it must not be shown to be worse."""
    rollout: Literal["direct", "canary"] = "direct"
    """What passes the gate serves at once (`direct`), or by stages (`canary`), young models excepted."""
    canary: Canary = Canary()
    """The stages of `rollout: canary`."""
    max_cost_ratio: Annotated[float, Field(ge=1.0, le=100.0)] = 1.15
    """So many times the processor time of the champion, and of the first champion since a person last promoted one, it may take
    for the same events, where the difference is noticeable (30 microseconds per event)."""
    max_latency_ratio: Annotated[float, Field(ge=1.0, le=100.0)] = 2.0
    """So many times the champion's p99 it may have while both answer, in a rollout."""
    max_model_bytes: Annotated[int, Field(ge=1024, le=4 * 2**30)] = 256 * 2**20
    """A larger model file is refused."""
    max_nodes: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """A graph of more nodes is refused."""
    probe_timeout_s: Annotated[float, Field(gt=0.0, le=600.0)] = 20.0
    """The processor seconds that the check of a model file may use; by the clock it may take ten times as long."""
