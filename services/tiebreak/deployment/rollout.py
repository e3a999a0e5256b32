"""What becomes of a rollout: the next stage, the promotion, or the way back, with every reason. Pure.

The guards need no statistics and no labels, so they act within seconds; what labels say of a model that serves is
``gate.judge_serving``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tiebreak.contracts.comparison import Comparison, quantile
from tiebreak.contracts.messages import ModelEvent
from tiebreak.contracts.project import Gate
from tiebreak.deployment.registry import Rollout

# Fewer events or runs than these say little, whatever they say.
_FEWEST_EVENTS, _FEWEST_RUNS = 100, 300
_NOTICEABLE_S = 1e-3


@dataclass(frozen=True, slots=True)
class Stage:
    """What the rollout's next record says. ``rolled_back``: the champion answers alone again. ``share``: of a ``canary``."""

    event: ModelEvent
    reasons: tuple[str, ...]
    share: float = 0.0


def next_stage(rollout: Rollout, gate: Gate, now_ms: int) -> Stage | None:
    """None while the stage lasts: without events compared, nothing goes further and nothing is promoted."""
    counted = rollout.counted
    if broken := tuple(_guards(counted, gate)):
        return Stage(ModelEvent.ROLLED_BACK, broken)
    canary = gate.canary
    if counted.rows < canary.events or now_ms - rollout.since_ms < 1000.0 * canary.seconds:
        return None
    where = f"at {100 * rollout.share:g} % of the events" if rollout.share else "as a shadow"
    seen = f"{where}: {counted.rows} events compared, {counted.disagreed} answered otherwise, class shift {counted.shift:.3f}"
    larger = [share for share in canary.shares if share > rollout.share]
    if not larger:
        return Stage(ModelEvent.PROMOTED, (seen,), 1.0)
    return Stage(ModelEvent.CANARY, (seen,), larger[0])


def _guards(counted: Comparison, gate: Gate) -> Iterator[str]:
    if counted.failed:
        yield f"it failed, or gave NaN, {counted.failed} times where the champion answered"
    if counted.rows >= _FEWEST_EVENTS and counted.shift > gate.canary.max_shift:
        bound = f"gate.canary.max_shift = {gate.canary.max_shift:g}"
        yield f"on {counted.rows} events its classes shift by {counted.shift:.3f}, more than {bound}"
    if counted.rows >= _FEWEST_EVENTS and counted.disagreed > gate.canary.max_disagreement * counted.rows:
        bound = f"gate.canary.max_disagreement = {gate.canary.max_disagreement:g}"
        yield f"it answers {counted.disagreed} of {counted.rows} events otherwise, more than {bound} of them"
    before_s, after_s = quantile(counted.champion_times, 0.99), quantile(counted.challenger_times, 0.99)
    runs = sum(counted.challenger_times.values())
    slow = after_s > gate.max_latency_ratio * before_s and after_s - before_s > _NOTICEABLE_S
    if runs >= _FEWEST_RUNS and slow:
        bound = f"gate.max_latency_ratio = {gate.max_latency_ratio:g}"
        yield f"over {runs} runs its p99 is {1e3 * after_s:.1f} ms, the champion's {1e3 * before_s:.1f} ms: more than {bound} times"
