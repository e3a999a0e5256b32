"""Acquisition that looks at an event's neighbours in the stream: ``density`` and ``error_reduction``. Pure.

``density``: the margin times how typical the event is (information density, Settles and Craven 2008): the mean cosine to the stream
of late, which for unit vectors is the cosine to their mean, so it costs one product per event.

``error_reduction``: by how much a label of this event is expected to lower the expected error over a sample of the stream (Roy
and McCallum 2001). To fit a model for each candidate and class is out of a stream's reach, so the label acts on the sample through a
kernel: ``p'(z) = (p(z) + w e_y) / (1 + w)`` with ``w = max(0, cos)^4``, a Parzen window as in Kottke et al. 2021. Only a shortlist is
looked at: events whose margin is among the highest ``SHORTLIST`` of late; the others have 0.

Both are ranks within a moving window, so in (0, 1), and comparable across model swaps whatever the space or the temperature. What they
are compared with is fixed per block of ``BLOCK`` events from the start of the stream: how it is cut into batches does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.tensors import FloatArray, product
from tiebreak.sampling.diversity import unit_rows

Floats = NDArray[np.float64]

KINDS = frozenset({"density", "error_reduction"})
BLOCK = 64
WINDOW = 256  # past values that a rank is taken in
WARM = 64  # values before a rank means anything: until then it is a half
FORGETS = 1024.0  # events over which the mean of the stream is taken
SAMPLE = 64  # events of the stream over which the error is expected
SAMPLED = 1.0 / 16.0  # of the events join that sample
SHORTLIST = 0.2
LABELS = 3  # the likeliest answers: the rest changes the expectation by next to nothing


@dataclass(frozen=True, slots=True)
class Stream:
    """``since`` events of the open block have been seen. ``centre`` ``(d,)`` sums unit vectors, ``weight`` of them; ``values`` and
    ``margins`` are the windows of ranks; ``units`` ``(s, d)`` and ``posteriors`` ``(s, k)`` the sample. ``new_...``: the open block's.
    """

    since: int = 0
    centre: Floats = field(default_factory=lambda: np.zeros(0))
    weight: float = 0.0
    values: Floats = field(default_factory=lambda: np.zeros(0))
    margins: Floats = field(default_factory=lambda: np.zeros(0))
    units: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    posteriors: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    new_centre: Floats = field(default_factory=lambda: np.zeros(0))
    new_values: Floats = field(default_factory=lambda: np.zeros(0))
    new_margins: Floats = field(default_factory=lambda: np.zeros(0))
    new_units: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    new_posteriors: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))


@dataclass(frozen=True, slots=True)
class Seen:
    """A batch: ``margin`` ``(n,)``, ``features`` ``(n, d)``, ``p`` ``(n, k)``; ``chance`` ``(n,)``: a number of each event's own."""

    margin: Floats
    features: FloatArray
    p: FloatArray
    chance: Floats


def rank(kind: str, stream: Stream, seen: Seen) -> tuple[Floats, Stream]:
    """``(n,)`` utilities in [0, 1] of kind ``kind`` (one of ``KINDS``), and the stream after the batch."""
    units = unit_rows(seen.features)
    stream = _fitted(stream, units.shape[1], seen.p.shape[1])
    utility = np.zeros(len(units))
    start = 0
    while start < len(units):
        if stream.since == BLOCK:
            stream = _closed(stream)
        rows = slice(start, min(len(units), start + BLOCK - stream.since))
        part = Seen(seen.margin[rows], units[rows], seen.p[rows], seen.chance[rows])
        utility[rows], stream = _density(stream, part) if kind == "density" else _reduction(stream, part)
        start = rows.stop
    return utility, stream


def ranks(window: Floats, values: Floats) -> Floats:
    """The part of ``window`` that each value is above, ties half, in (0, 1); a half while the window is young.

    >>> ranks(np.arange(99.0), np.array([-1.0, 49.0, 200.0])).tolist()
    [0.005, 0.5, 0.995]
    """
    if len(window) < WARM:
        return np.full(len(values), 0.5)
    ordered = np.sort(window)
    below, upto = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((0.5 * (below + upto) + 0.5) / (len(window) + 1))


def expected_reduction(p: FloatArray, cosines: Floats, sample: FloatArray) -> Floats:
    """``(c,)``: by how much the mean of ``1 - max p`` over ``sample`` ``(s, k)`` is expected to fall with the label of each candidate.

    ``p`` ``(c, k)`` says how likely each label is, ``cosines`` ``(c, s)`` how near each candidate is to each of the sample.

    >>> even = np.full((2, 2), 0.5, np.float32)
    >>> expected_reduction(even, np.array([[1.0], [0.0]]), even[:1]).tolist()
    [0.25, 0.0]
    """
    weight = np.maximum(0.0, cosines) ** 4
    best = sample.max(axis=1).astype(np.float64)
    likeliest = np.argsort(-p, axis=1, kind="stable")[:, :LABELS]
    likely = np.take_along_axis(p, likeliest, axis=1).astype(np.float64)
    likely /= np.maximum(likely.sum(axis=1, keepdims=True), 1e-12)
    expected = np.zeros(len(p))
    for turn in range(likeliest.shape[1]):
        said = sample[:, likeliest[:, turn]].T
        sure = np.maximum(best, said + weight) / (1.0 + weight)
        expected += likely[:, turn] * (sure - best).mean(axis=1)
    return expected


def _density(stream: Stream, part: Seen) -> tuple[Floats, Stream]:
    centre = (stream.centre / max(1.0, stream.weight)).astype(np.float32)
    similar = product(part.features, centre[:, None])[:, 0].astype(np.float64)
    after = replace(
        stream,
        since=stream.since + len(similar),
        new_centre=stream.new_centre + part.features.sum(axis=0, dtype=np.float64),
        new_values=np.concatenate([stream.new_values, similar]),
    )
    return part.margin * ranks(stream.values, similar), after


def _reduction(stream: Stream, part: Seen) -> tuple[Floats, Stream]:
    short = np.flatnonzero(ranks(stream.margins, part.margin) >= 1.0 - SHORTLIST)
    if len(stream.margins) < WARM:
        short = np.arange(len(part.margin))
    cosines = product(part.features[short], stream.units.T).astype(np.float64)
    none = np.zeros(len(short))
    p = np.nan_to_num(part.p[short])
    value = expected_reduction(p, cosines, stream.posteriors) if len(stream.units) and len(short) else none
    utility = np.zeros(len(part.margin))
    # Without any doubt there is no error to reduce: a row that is no distribution, or is sure, keeps 0.
    utility[short] = np.where(part.margin[short] > 0.0, ranks(stream.values, value), 0.0)
    drawn = np.flatnonzero((part.chance < SAMPLED) & np.isfinite(part.p).all(axis=1))
    after = replace(
        stream,
        since=stream.since + len(utility),
        new_values=np.concatenate([stream.new_values, value]),
        new_margins=np.concatenate([stream.new_margins, part.margin]),
        new_units=np.concatenate([stream.new_units, part.features[drawn]]),
        new_posteriors=np.concatenate([stream.new_posteriors, part.p[drawn]]),
    )
    return utility, after


def _fitted(stream: Stream, width: int, classes: int) -> Stream:
    """Features of another width, or classes of another number, start anew what they are part of."""
    if len(stream.centre) != width:
        none = np.zeros((0, width), np.float32)
        stream = replace(stream, centre=np.zeros(width), weight=0.0, new_centre=np.zeros(width), units=none)
        stream = replace(stream, posteriors=stream.posteriors[:0], new_units=none, new_posteriors=stream.posteriors[:0])
    if stream.posteriors.shape[1] != classes or stream.new_posteriors.shape[1] != classes:
        none = np.zeros((0, classes), np.float32)
        stream = replace(stream, units=stream.units[:0], posteriors=none)
        stream = replace(stream, new_units=stream.new_units[:0], new_posteriors=none)
    return stream


def _closed(stream: Stream) -> Stream:
    """The open block's part joins the rest."""
    kept = exp(-stream.since / FORGETS)
    return Stream(
        since=0,
        centre=stream.centre * kept + stream.new_centre,
        weight=stream.weight * kept + stream.since,
        values=np.concatenate([stream.values, stream.new_values])[-WINDOW:],
        margins=np.concatenate([stream.margins, stream.new_margins])[-WINDOW:],
        units=np.concatenate([stream.units, stream.new_units])[-SAMPLE:],
        posteriors=np.concatenate([stream.posteriors, stream.new_posteriors])[-SAMPLE:],
        new_centre=np.zeros_like(stream.new_centre),
        new_units=stream.new_units[:0],
        new_posteriors=stream.new_posteriors[:0],
    )
