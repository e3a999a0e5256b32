"""Which declared slice of the stream moved, when something did: a burst is about it. Pure.

An alarm says that something changed, not where. Per slice of ``gate.slices``, and of all events, the usual uncertainty and that of late
are kept, and the mistakes that labels showed of late beyond the usual ones at the same uncertainty. A slice is named where its own
shift is beyond chance and at least twice that of all other events: what moved everywhere is about no slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import FloatArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BLOCK = 32  # events that are counted together
USUAL, RECENT = exp(-BLOCK / 4096.0), exp(-BLOCK / 256.0)  # what is kept of what was counted, per block
RECENT_LABELS = exp(-1.0 / 40.0)
CERTAIN = 4.0  # standard errors of a shift of the uncertainty
CERTAIN_MISTAKES = 3.0  # the same of mistakes: the alarm itself has said that there are more of them
LEAST_EVENTS, LEAST_LABELS = 16.0, 4.0  # of late, before a slice can be named
TWICE = 2.0
SLICE = "slice "


@dataclass(frozen=True, slots=True)
class Part:
    """The events of a slice: input ``column`` from ``at_least`` to below ``below``."""

    name: str
    column: int
    at_least: float
    below: float


@dataclass(frozen=True, slots=True)
class Parts:
    """``usual`` and ``recent`` ``(3, g + 1)``: events, sum of their uncertainty and of its square, for ``g`` slices and all events.

    ``open`` is of the events since the last whole block; ``mistakes`` ``(3, g + 1)``: labels, mistakes beyond the usual ones, and
    their variance.
    """

    usual: Floats = field(default_factory=lambda: np.zeros((3, 1)))
    recent: Floats = field(default_factory=lambda: np.zeros((3, 1)))
    open: Floats = field(default_factory=lambda: np.zeros((3, 1)))
    mistakes: Floats = field(default_factory=lambda: np.zeros((3, 1)))


def fresh(count: int) -> Parts:
    """The state of ``count`` slices before anything was seen."""
    none = np.zeros((3, count + 1))
    return Parts(none, none, none, none)


def parts_of(project: Project) -> tuple[Part, ...]:
    """The slices that a project declares."""
    fields = project.input.fields
    return tuple(
        Part(
            cut.name,
            fields.index(cut.field),
            float("-inf") if cut.at_least is None else cut.at_least,
            float("inf") if cut.below is None else cut.below,
        )
        for cut in project.gate.slices
    )


def members(parts: Sequence[Part], inputs: FloatArray | None, rows: int) -> Flags:
    """``(rows, g)``: which events are in which slice; in none where there are no inputs to tell by.

    >>> members([Part("old", 0, 65.0, float("inf"))], np.array([[70.0], [20.0]], np.float32), 2).tolist()
    [[True], [False]]
    """
    found = np.zeros((rows, len(parts)), dtype=np.bool_)
    for column, part in enumerate(parts):
        if inputs is not None and part.column < inputs.shape[1]:
            value = inputs[:, part.column]
            found[:, column] = (value >= part.at_least) & (value < part.below)
    return found


def inside(parts: Sequence[Part], name: str, inputs: FloatArray | None, rows: int) -> Flags | None:
    """``(rows,)``: which events are in the slice that a burst calls ``name``; None where that is no declared slice."""
    chosen = [part for part in parts if SLICE + part.name == name]
    return members(chosen, inputs, rows)[:, 0] if chosen else None


def observe(state: Parts, within: Flags, uncertainty: Floats, seen: int) -> Parts:
    """Count events, of which the first has number ``seen``; how a stream is cut into batches changes nothing but the last bits."""
    every = np.column_stack([within, np.ones(len(within), np.bool_)]).astype(np.float64)
    value = np.nan_to_num(uncertainty)[:, None]
    counted = np.stack([every, every * value, every * value * value], axis=1)
    first = -seen % BLOCK or BLOCK
    starts = [0, *range(first, len(within), BLOCK)]
    sums = np.add.reduceat(counted, starts, axis=0)
    usual, recent, held = state.usual, state.recent, state.open
    ends = [*starts[1:], len(within)]
    for one, end in zip(sums, ends, strict=True):
        held = held + one
        if (seen + end) % BLOCK == 0:
            usual, recent, held = usual * USUAL + held, recent * RECENT + held, np.zeros_like(held)
    return replace(state, usual=usual, recent=recent, open=held)


def mistaken(state: Parts, within: Sequence[bool], rate: float, *, wrong: bool) -> Parts:
    """Count a label: the prediction was ``wrong``, where ``rate`` of those like it usually are."""
    every = np.array([*within, True], dtype=np.float64)
    one = np.stack([every, every * (float(wrong) - rate), every * rate * (1.0 - rate)])
    return replace(state, mistakes=state.mistakes * RECENT_LABELS + one)


def new_model(state: Parts) -> Parts:
    """Another model's uncertainty has another usual level; mistakes stay comparable, since they are relative to it."""
    return replace(fresh(state.usual.shape[1] - 1), mistakes=state.mistakes)


def moved(state: Parts, *, mistakes: bool) -> int | None:
    """The slice whose uncertainty (or whose ``mistakes``) moved, and moved at least twice as far as that of all other events."""
    every = state.mistakes if mistakes else state.recent
    if every.shape[1] < 2:
        return None
    own, rest = every[:, :-1], every[:, -1:] - every[:, :-1]
    if mistakes:
        shift, error, other = _excess(own), np.sqrt(np.maximum(own[2], 0.25)) / np.maximum(own[0], 1.0), _excess(rest)
        enough, certain = own[0] >= LEAST_LABELS, CERTAIN_MISTAKES
    else:
        before, around = state.usual[:, :-1], state.usual[:, -1:] - state.usual[:, :-1]
        shift, other = _mean(own) - _mean(before), np.abs(_mean(rest) - _mean(around))
        spread = np.maximum(before[2] / np.maximum(before[0], 1.0) - _mean(before) ** 2, 1e-6)
        error = np.sqrt(spread * (1.0 / np.maximum(own[0], 1.0) + 1.0 / np.maximum(before[0], 1.0)))
        enough, certain = own[0] >= LEAST_EVENTS, CERTAIN
    named = enough & (np.abs(shift) > certain * error) & (np.abs(shift) >= TWICE * np.abs(other))
    if mistakes:
        named &= shift > 0.0
    return int(np.where(named, np.abs(shift) / error, -1.0).argmax()) if named.any() else None


def _mean(counted: Floats) -> Floats:
    return np.asarray(counted[1] / np.maximum(counted[0], 1e-9))


def _excess(counted: Floats) -> Floats:
    return np.asarray(counted[1] / np.maximum(counted[0], 1.0))
