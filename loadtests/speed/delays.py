"""The section of waits: from the moment an event is due to its prediction, beside a bare echo, and while models are swapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from loadtests.figures import Figure, judged
from loadtests.speed import worker
from loadtests.speed.clocked import Measured
from loadtests.speed.ground import Ground, cores
from loadtests.speed.runs import filled
from loadtests.speed.sizes import Size
from tiebreak.contracts.topics import Topic

SWAP_EVERY_S = 2.0
AROUND_S = 60.0  # starting, warming up, and late answers


def latency(where: Ground, size: Size) -> list[Figure]:
    """At half of the peak that both carry: the echo, the pipeline, and the pipeline with a new model every two seconds, in turns."""
    ours, bare = _peaks(where, size)
    rate = 0.5 * min(ours, bare)
    turns = [
        {name: _asked(where, f"{name}{turn}", name, rate, size.latency_s) for name in ("echo", "calm", "swaps")}
        for turn in range(size.turns)
    ]
    at = f"at {rate:,.0f} events/s, half of the lower peak (echo {bare:,.0f}, pipeline {ours:,.0f})"
    return [
        _held(turns, "p50", at, judge=size.judge),
        _held(turns, "p99", at, judge=size.judge),
        *_swaps(turns, judge=size.judge),
    ]


def _peaks(where: Ground, size: Size) -> tuple[float, float]:
    """Events per second that the pipeline and the echo answer while as many are sent as they take: medians of three.

    With sender, broker and receiver at work beside them, as they are when waits are measured: without a third core that is less than
    what either makes of a topic that lies full. The first answers make the broker compile itself, and so do not count.
    """
    sides: dict[str, list[float]] = {"calm": [], "echo": []}
    for turn in range(min(4, size.turns + 1)):
        for side, rates in sides.items():
            measured = _asked(where, f"{side}-peak-{turn}", side, 0.0, size.latency_s / 2)
            rates.extend([measured.rate] if turn else [])
    return median(sides["calm"]), median(sides["echo"])


def _held(turns: Sequence[Mapping[str, Measured]], part: str, at: str, *, judge: bool) -> Figure:
    ours, bare = _of(turns, "calm", part), _of(turns, "echo", part)
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    how = (
        f"{median(ours):.1f} against {median(bare):.1f} ms {at}; {len(turns)} turns, "
        f"ratios {min(ratios):.2f} to {max(ratios):.2f}"
    )
    return judged("speed", f"latency {part}: pipeline / echo", median(ratios), how, judge=judge)


def _swaps(turns: Sequence[Mapping[str, Measured]], *, judge: bool) -> list[Figure]:
    lost, events = sum(_of(turns, "swaps", "lost")), sum(seen["swaps"].events for seen in turns)
    longest, calm, still = _of(turns, "swaps", "max"), _of(turns, "calm", "p99"), _of(turns, "calm", "max")
    ratios = [a / b for a, b in zip(longest, calm, strict=True)]
    how = f"of {events:,}; without swaps {sum(_of(turns, 'calm', 'lost')):.0f} of {sum(seen['calm'].events for seen in turns):,}"
    wait = (
        f"{median(longest):.1f} ms, p99 {median(_of(turns, 'swaps', 'p99')):.1f} ms; without swaps the longest "
        f"{median(still):.1f} ms, p99 {median(calm):.1f} ms; {len(turns)} turns, ratios {min(ratios):.2f} to {max(ratios):.2f}"
    )
    return [
        judged("speed", "swap: events that failed or got lost", lost, how),
        judged("speed", "swap: longest wait / p99 without", median(ratios), wait, judge=judge),
    ]


def _of(turns: Sequence[Mapping[str, Measured]], side: str, part: str) -> list[float]:
    return [seen[side].notes[part] for seen in turns]


def _asked(where: Ground, topic: str, side: str, rate: float, seconds: float) -> Measured:
    """A probe's figures of a side, on topics that nobody used before: no answer is taken for another's."""
    made = filled(where, f"speed-{topic}", "raw", 0)
    topics: dict[str, Any] = {"source": Topic.EVENTS.of(made.project), "target": Topic.PREDICTIONS.of(made.project)}
    client: dict[str, Any] = {"kafka": where.kafka, "group": topic, "seconds": seconds + AROUND_S}
    if side == "echo":
        answering = worker.begin("echo", **client, **topics)
    else:
        swap_s = SWAP_EVERY_S if side == "swaps" else 0.0
        answering = worker.begin(
            "serve", **client, redis=where.redis, project_json=made.model_dump_json(), swap_s=swap_s
        )
    try:
        # The probe shares the servers' core: the measured side keeps its own.
        return worker.measure("probe", core=cores()[0], kafka=where.kafka, rate=rate, seconds=seconds, **topics)
    finally:
        answering.stop()
