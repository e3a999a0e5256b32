"""Drift: river's detectors by name on what the stream shows, a vote among them, and an alarm that opens a burst.

Detectors see one number per signal and block of ``BLOCK`` events, in units of the signal's own spread over its first
``BASELINE`` blocks. Signals that a model makes start anew with each version: a better model's lower uncertainty is no drift.
What the hour of the day adds to a number is learnt (``seasons.py``) and taken off before.

river's objects cannot be taken back or written down without pickle, so the truth is the log of numbers a watch has seen,
bounded; the live object is a cache beside it, rebuilt from the log wherever the two do not match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product as product_of
from math import isfinite
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from river.drift import ADWIN, KSWIN, PageHinkley

from tiebreak.contracts.project import Detector, Drift
from tiebreak.sampling import seasons
from tiebreak.sampling.mistakes import LEAST_LEVEL, Checked, Mistakes, heard
from tiebreak.sampling.projections import PROJECTIONS
from tiebreak.sampling.seasons import Seasons

Floats = NDArray[np.float64]

BLOCK = 32
BASELINE = 24
LOG_BLOCKS = 2048
KEPT_BLOCKS = 512  # what a detector is told again when its log is full
APART = 60  # blocks by which the logs of two watches differ: all told again at once would be 15 ms that a batch waits
CLIP = 6.0
RESEASONED = 0.25  # of a number's spread, by which another shape of the day is another number
SHARES_MEMORY = 64.0  # blocks over which the usual shares of predicted classes are learnt

# KSWIN sorts its window at every number: fed every eighth, it stays within the cost of the others.
STRIDE: Mapping[Detector, int] = {Detector.ADWIN: 1, Detector.KSWIN: 8, Detector.PAGE_HINKLEY: 1}
LABEL_ERROR = "label_error"
CUSUM = "CUSUM"  # what records and metrics name as its detector
OF_MODEL = frozenset({"uncertainty", "predicted_class"})
_COLUMNS = {
    ("uncertainty", 0): 0,
    ("predicted_class", 0): 1,
    **{("input", number): 2 + number for number in range(PROJECTIONS + 1)},
    ("audit_error", 0): 3 + PROJECTIONS,
}
# How many numbers a watch's log may hold, by detector and number: no two the same.
_ROOM = {
    (detector, *number): LOG_BLOCKS - APART * place
    for place, (number, detector) in enumerate(product_of(_COLUMNS, STRIDE))
}


class _RiverDetector(Protocol):
    @property
    def drift_detected(self) -> bool: ...
    def update(self, x: float) -> object: ...


@dataclass(slots=True)
class _Live:
    """A river object, the numbers it has seen (``numbers[:seen]``, only ever appended to), and their baseline."""

    detector: _RiverDetector
    numbers: Floats
    seen: int = 0
    usual: float = 0.0
    spread: float = 1.0


@dataclass(frozen=True, slots=True)
class Watch:
    """One detector on one number of one signal; ``log`` is what it was fed since its last start."""

    detector: Detector
    signal: str
    number: int
    log: Floats = field(default_factory=lambda: np.zeros(0))
    skipped: int = 0
    live: _Live | None = field(default=None, compare=False, metadata={"cache": True})


@dataclass(frozen=True, slots=True)
class DriftState:
    """``votes`` ``(v, 2)``: event number and index of each watch that fired within the vote window."""

    watches: tuple[Watch, ...]
    votes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    quiet_until: int = 0
    sums: Floats = field(default_factory=lambda: np.zeros(0))
    predicted: Floats = field(default_factory=lambda: np.zeros(0))
    held: int = 0
    usual: Floats = field(default_factory=lambda: np.zeros(0))
    usual_blocks: int = 0
    mistakes: Mistakes = field(default_factory=Mistakes)
    seasons: Seasons = field(default_factory=Seasons)


@dataclass(frozen=True, slots=True)
class Observed:
    """What a batch shows. ``uncertainty`` ``(n,)`` and ``predicted`` ``(n,)`` class indices are None without a model.

    ``time_of`` tells when a row happened, in milliseconds of Unix time (none: 0, or below); without it no hour is known.
    """

    events: int
    classes: int
    uncertainty: Floats | None
    predicted: NDArray[np.int64] | None
    inputs: Floats | None
    time_of: Callable[[int], int] | None = None


@dataclass(frozen=True, slots=True)
class Fired:
    """A watch fired at event number ``at`` with the latest number in units of its spread; ``alarm``: enough of them agree."""

    at: int
    detector: str
    signal: str
    statistic: float
    alarm: bool


def fresh(drift: Drift) -> DriftState:
    """Watches for every detector on every number of every signal."""
    return DriftState(
        tuple(
            Watch(detector, signal, number)
            for signal in drift.signals
            if signal != LABEL_ERROR
            for number in range(_numbers(signal))
            for detector in drift.detectors
        )
    )


def new_model(state: DriftState, *, inputs_too: bool) -> DriftState:
    """Forget what an earlier model version showed; ``inputs_too`` where the inputs seen are that model's embeddings."""
    stale = OF_MODEL | ({"input"} if inputs_too else set())
    state = _turned(state, state.seasons.day)
    watches = tuple(_restarted(w) if w.signal in stale else w for w in state.watches)
    return replace(state, watches=watches, held=0, usual_blocks=0)


def observe(state: DriftState, seen: Observed, drift: Drift, at: int) -> tuple[DriftState, tuple[Fired, ...]]:
    """Feed a batch whose first event has number ``at``; the answer does not depend on how a stream is cut into batches."""
    starts = [0, *range(BLOCK - state.held, seen.events, BLOCK)]
    sums, counts = _parts(seen, starts)
    if state.held:
        sums[0] += state.sums
        counts[0] += state.predicted if len(state.predicted) == counts.shape[1] else 0.0
    ends = at + np.asarray([*starts[1:], seen.events])
    left = (ends[-1] - at + state.held) % BLOCK
    whole = len(starts) - (1 if left else 0)
    fired: list[Fired] = []
    times = None if seen.time_of is None else [seen.time_of(end - 1) for end in (ends[:whole] - at).tolist()]
    row = 0
    while row < whole:
        state, stop = _of_a_day(state, times, row, whole)
        state, values = _values(state, seen, sums[row:stop] / BLOCK, counts[row:stop])
        part = None if times is None else times[row:stop]
        state, new, used = _feed(state, _without_hour(state, values, part), ends[row:stop].tolist(), drift)
        if part is not None:
            own = values[:used, : seasons.NUMBERS]
            state = replace(state, seasons=seasons.counted(state.seasons, own, part[:used]))
        if new and new[-1].alarm:
            state = alarmed(state, drift, new[-1].at)
        fired.extend(new)
        row += used
    rest = (sums[-1], counts[-1]) if left else (np.zeros(0), np.zeros(0))
    return replace(state, held=int(left), sums=rest[0], predicted=rest[1]), tuple(fired)


def observe_error(state: DriftState, wrong: bool, drift: Drift, at: int) -> tuple[DriftState, Sequence[Fired]]:
    """Feed one audit label: whether the prediction it checks was wrong."""
    values = np.full((1, len(_COLUMNS)), np.nan)
    values[0, _COLUMNS["audit_error", 0]] = float(wrong)
    state, fired, _ = _feed(state, values, [at], drift)
    return (alarmed(state, drift, at) if fired and fired[-1].alarm else state), fired


def observe_label(
    state: DriftState, checked: Checked, drift: Drift, at: int, level: float = LEAST_LEVEL
) -> tuple[DriftState, tuple[Fired, ...]]:
    """Feed one label of whatever reason. It needs no vote: what adds up here is the model's error, and no sign of one."""
    mistakes, changed = heard(state.mistakes, checked.uncertainty, wrong=checked.wrong, level=level)
    if not changed:
        return replace(state, mistakes=mistakes), ()
    fired = Fired(at, CUSUM, LABEL_ERROR, level, alarm=at >= state.quiet_until)
    return (alarmed(state, drift, at) if fired.alarm else replace(state, mistakes=mistakes)), (fired,)


def _numbers(signal: str) -> int:
    return PROJECTIONS + 1 if signal == "input" else 1


def _parts(seen: Observed, starts: Sequence[int]) -> tuple[Floats, Floats]:
    """Per part of the batch: the sums ``(parts, 5)`` of uncertainty and inputs, and the counts ``(parts, k)`` of predicted classes."""
    columns = np.zeros((seen.events, 1 + PROJECTIONS + 1))
    if seen.uncertainty is not None:
        columns[:, 0] = seen.uncertainty
    if seen.inputs is not None:
        columns[:, 1:] = seen.inputs
    sums = np.add.reduceat(columns, starts, axis=0)
    if seen.predicted is None:
        return sums, np.zeros((len(starts), 0))
    part = np.repeat(np.arange(len(starts)), np.diff([*starts, seen.events]))
    counts = np.bincount(part * seen.classes + seen.predicted, minlength=len(starts) * seen.classes)
    return sums, counts.reshape(len(starts), seen.classes).astype(np.float64)


def _values(state: DriftState, seen: Observed, means: Floats, counts: Floats) -> tuple[DriftState, Floats]:
    """One row per whole block and one column per number; NaN where a signal says nothing."""
    values = np.full((len(means), len(_COLUMNS)), np.nan)
    if seen.uncertainty is not None:
        values[:, _COLUMNS["uncertainty", 0]] = means[:, 0]
    if seen.inputs is not None:
        values[:, _COLUMNS["input", 0] :][:, : PROJECTIONS + 1] = means[:, 1:]
    if seen.predicted is None:
        return state, values
    usual, blocks = state.usual, state.usual_blocks
    for row, now in enumerate(counts / BLOCK):
        # A new version starts the usual shares anew, so both have the classes of one model.
        usual = usual if blocks and len(usual) == len(now) else now
        moved = now - usual
        if blocks >= BASELINE:
            values[row, _COLUMNS["predicted_class", 0]] = 0.5 * float(np.abs(moved).sum())
        usual = usual + moved / min(SHARES_MEMORY, blocks + 1.0)
        blocks += 1
    return replace(state, usual=usual, usual_blocks=blocks), values


def _of_a_day(state: DriftState, times: Sequence[int] | None, row: int, whole: int) -> tuple[DriftState, int]:
    """Up to which block those from ``row`` on are of one day; the state is of that day then."""
    if times is None:
        return state, whole
    days = seasons.of_day(times[row:whole])
    if days[0] not in {-1, state.seasons.day}:
        state = _turned(state, days[0])
    return state, next((row + n for n, day in enumerate(days) if day not in {-1, state.seasons.day}), whole)


def _turned(state: DriftState, day: int) -> DriftState:
    """Another stretch of time. A watch on a number that looks different without the hour, as now known, learns its baseline anew."""
    after = seasons.turned(state.seasons, day)
    moved = np.sqrt(np.square(after.shape - state.seasons.shape).mean(axis=1))
    return replace(state, seasons=after, watches=tuple(_reseasoned(w, moved) for w in state.watches))


def _reseasoned(watch: Watch, moved: Floats) -> Watch:
    column = _COLUMNS[watch.signal, watch.number]
    if column >= len(moved) or not moved[column]:
        return watch
    young = len(watch.log) < BASELINE
    return _restarted(watch) if young or moved[column] > RESEASONED * watch.log[:BASELINE].std() else watch


def _without_hour(state: DriftState, values: Floats, times: Sequence[int] | None) -> Floats:
    if times is None or not state.seasons.shape.any():
        return values
    values = values.copy()
    values[:, : seasons.NUMBERS] -= seasons.usual(state.seasons, times)
    return values


def _feed(state: DriftState, values: Floats, ats: Sequence[int], drift: Drift) -> tuple[DriftState, list[Fired], int]:
    """Feed rows of numbers, seen at events ``ats``; answer how many were used: an alarm ends the feed."""
    columns = values.T.tolist()
    fired: list[tuple[int, int, float]] = []
    watches = []
    for index, watch in enumerate(state.watches):
        fed, own = _fed(watch, columns[_COLUMNS[watch.signal, watch.number]])
        watches.append(fed)
        fired += [(row, index, statistic) for row, statistic in own]
    if not fired:
        return replace(state, watches=tuple(watches)), [], len(ats)
    votes, found = _vote(state, sorted(fired), ats, drift)
    used = len([at for at in ats if at <= found[-1].at]) if found[-1].alarm else len(ats)
    return replace(state, watches=tuple(watches), votes=votes), found, used


def _vote(
    state: DriftState, fired: Sequence[tuple[int, int, float]], ats: Sequence[int], drift: Drift
) -> tuple[NDArray[np.int64], list[Fired]]:
    """Count the votes in order, up to the first alarm."""
    votes = state.votes
    found: list[Fired] = []
    for row, index, statistic in fired:
        at, watch = ats[row], state.watches[index]
        recent = votes[votes[:, 0] > at - drift.vote_window]
        votes = np.concatenate([recent, np.asarray([[at, index]], dtype=np.int64)])
        # Four input numbers move together: a detector has one vote per signal.
        agreeing = {(state.watches[i].detector, state.watches[i].signal) for i in votes[:, 1].tolist()}
        alarm = at >= state.quiet_until and len(agreeing) >= drift.votes
        found.append(Fired(at, watch.detector, watch.signal, statistic, alarm))
        if alarm:
            break
    return votes, found


def alarmed(state: DriftState, drift: Drift, at: int) -> DriftState:
    """After an alarm at event number ``at``, this replica's or one that it heard of: the same change is no second one."""
    # What was usual is over: every watch learns its baseline anew, on the new concept.
    known = state.seasons
    return replace(
        state,
        watches=tuple(_restarted(w) for w in state.watches),
        votes=state.votes[:0],
        quiet_until=at + drift.burst.cooldown_events,
        usual_blocks=0,
        mistakes=Mistakes(),
        # A change moves the level. While no cycle is known it may be the cycle's own, which alarms at the same hours would hide.
        seasons=seasons.turned(known, known.day) if known.shape.any() else known,
    )


def _restarted(watch: Watch) -> Watch:
    return Watch(watch.detector, watch.signal, watch.number)


def _fed(watch: Watch, values: Sequence[float]) -> tuple[Watch, list[tuple[int, float]]]:
    """The watch after more numbers, and where it fired with which statistic (it starts anew each time)."""
    stride, skipped, live = STRIDE[watch.detector], watch.skipped, watch.live
    room = _ROOM[watch.detector, watch.signal, watch.number]
    fired: list[tuple[int, float]] = []
    if live is None or live.seen != len(watch.log):
        live = _replayed(watch.detector, watch.log)
    for at, value in enumerate(values):
        if not isfinite(value):
            continue
        skipped += 1
        if skipped < stride:
            continue
        skipped = 0
        if live.seen >= room:
            live = _replayed(watch.detector, live.numbers[live.seen - KEPT_BLOCKS : live.seen])
        if live.seen < BASELINE:
            statistic = _append(live, value)
            if statistic is None:
                continue
        else:
            # _append without its questions: this is the line that runs for every block of every watch.
            live.numbers[live.seen] = value
            live.seen += 1
            statistic = _scaled(live, value)
            live.detector.update(statistic)
        if live.detector.drift_detected:
            fired.append((at, statistic))
            live = _replayed(watch.detector, live.numbers[:0])
    return Watch(watch.detector, watch.signal, watch.number, live.numbers[: live.seen], skipped, live), fired


def _replayed(detector: Detector, log: Floats) -> _Live:
    live = _Live(_make(detector), np.zeros(LOG_BLOCKS))
    for value in log[:BASELINE].tolist():
        _append(live, value)
    for value in log[BASELINE:].tolist():
        live.detector.update(_scaled(live, value))
    live.numbers[: len(log)] = log
    live.seen = len(log)
    return live


def _append(live: _Live, value: float) -> float | None:
    """Show the detector one more number; None while the baseline is being learnt."""
    live.numbers[live.seen] = value
    live.seen += 1
    if live.seen < BASELINE:
        return None
    if live.seen == BASELINE:
        base = live.numbers[:BASELINE]
        live.usual = float(base.mean())
        # A constant signal has no spread of its own: a thousandth of its size keeps rounding from looking like a change.
        live.spread = max(float(base.std()), 1e-3 * abs(live.usual), 1e-6)
        for early in base[:-1].tolist():
            live.detector.update(_scaled(live, early))
    scaled = _scaled(live, value)
    live.detector.update(scaled)
    return scaled


def _scaled(live: _Live, value: float) -> float:
    scaled = (value - live.usual) / live.spread
    return scaled if -CLIP <= scaled <= CLIP else CLIP if scaled > 0.0 else -CLIP


def _make(detector: Detector) -> _RiverDetector:
    if detector is Detector.ADWIN:
        made: _RiverDetector = ADWIN(delta=1e-4, clock=1, grace_period=5)  # type: ignore[no-untyped-call]
    elif detector is Detector.KSWIN:
        made = KSWIN(alpha=1e-4, window_size=60, stat_size=15, seed=1)
    else:
        made = PageHinkley(min_instances=16, delta=0.5, threshold=24.0)
    return made
