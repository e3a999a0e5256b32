"""When a challenger may serve, and how it takes over: sections of the project file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tiebreak.contracts.project_section import ClassName, Section


class Canary(Section):
    """How a challenger takes over under ``gate.rollout: canary``: first as a shadow, then answering these ``shares`` of the events.

    Both models score at least the share ``compared``. A stage lasts for ``events`` such events and ``seconds`` at least.
    The challenger goes at once above ``max_shift``, the total variation between the classes that the two predict, and above
    ``max_disagreement``, the share of events that they answer differently.
    """

    shares: Annotated[tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...], Field(min_length=1)] = (0.01, 0.05, 0.25)
    compared: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    events: Annotated[int, Field(ge=1, le=100_000_000)] = 500
    seconds: Annotated[float, Field(ge=0.0, le=604_800.0)] = 30.0
    max_shift: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    max_disagreement: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5

    @model_validator(mode="after")
    def _shares_rise(self) -> Self:
        if list(self.shares) != sorted(set(self.shares)):
            raise ValueError("shares: each must be above the one before it")
        return self


class Slice(Section):
    """A part of the stream on which a challenger must not be worse: events whose ``field`` (one of ``input.fields``) is at least

    ``at_least`` and below ``below``; a side that is not given is open.
    """

    name: ClassName
    field: str
    at_least: float | None = None
    below: float | None = None


class Gate(Section):
    """When a challenger may serve. Below ``young_labels`` audit labels the fast lane for young models decides.

    ``slices``: beside the classes, the parts of the stream on which it must not be shown to be worse.
    ``rollout``: what passes the gate serves at once (``direct``), or by stages (``canary``), young models excepted.

    ``max_cost_ratio``: so many times the processor time of the champion, and of the first champion since a person last promoted one,
    it may take for the same events, where the difference is noticeable (30 microseconds per event). ``max_latency_ratio``: so many
    times the champion's p99 it may have while both answer, in a rollout. ``probe_timeout_s``: the processor seconds that the check of a
    model file may use; by the clock it may take ten times as long.
    """

    non_inferiority: Annotated[float, Field(ge=0.0, le=0.5)] = 0.02
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    young_labels: Annotated[int, Field(ge=0, le=1_000_000)] = 300
    slices: tuple[Slice, ...] = ()
    rollout: Literal["direct", "canary"] = "direct"
    canary: Canary = Canary()
    max_cost_ratio: Annotated[float, Field(ge=1.0, le=100.0)] = 1.15
    max_latency_ratio: Annotated[float, Field(ge=1.0, le=100.0)] = 2.0
    max_model_bytes: Annotated[int, Field(ge=1024, le=4 * 2**30)] = 256 * 2**20
    max_nodes: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    probe_timeout_s: Annotated[float, Field(gt=0.0, le=600.0)] = 20.0
