"""The section of waits: from an event's sending to its prediction, beside a bare echo, and while models are swapped."""

from __future__ import annotations

from typing import Any

from loadtests.figures import Figure, judged
from loadtests.speed import worker
from loadtests.speed.clocked import Measured
from loadtests.speed.ground import Ground, cores
from loadtests.speed.runs import filled, pipeline
from loadtests.speed.sizes import Size
from tiebreak.contracts.topics import Topic

SWAP_EVERY_S = 2.0
AROUND_S = 60.0  # starting, warming up, and late answers


def latency(where: Ground, size: Size) -> list[Figure]:
    """At half of the peak rate: the echo, the pipeline, and the pipeline with a new model every two seconds."""
    peak = filled(where, "speed-peak", "raw", size.raw // 4)
    rate = 0.5 * pipeline(where, peak, size.raw // 4, "peak").rate
    echoed = _asked(where, "echo", {}, rate, size.latency_s)
    scored = _asked(where, "calm", {}, rate, size.latency_s)
    swapped = _asked(where, "swaps", {"swap_s": SWAP_EVERY_S}, rate, size.latency_s)
    return [
        _held(echoed, scored, "p50", rate, judge=size.judge),
        _held(echoed, scored, "p99", rate, judge=size.judge),
        *_swaps(scored, swapped, judge=size.judge),
    ]


def _held(echoed: Measured, scored: Measured, part: str, rate: float, *, judge: bool) -> Figure:
    ours, bare = scored.notes[part], echoed.notes[part]
    how = f"{ours:.1f} against {bare:.1f} ms at {rate:,.0f} events/s"
    return judged("speed", f"latency {part}: pipeline / echo", ours / bare, how, judge=judge)


def _swaps(scored: Measured, swapped: Measured, *, judge: bool) -> list[Figure]:
    longest, calm = swapped.notes["max"], scored.notes["p99"]
    lost = f"of {swapped.events:,}; without swaps {scored.notes['lost']:.0f} of {scored.events:,}"
    wait = (
        f"{longest:.1f} ms, p99 {swapped.notes['p99']:.1f} ms; without swaps the longest {scored.notes['max']:.1f} ms, "
        f"p99 {calm:.1f} ms"
    )
    return [
        judged("speed", "swap: events that failed or got lost", swapped.notes["lost"], lost),
        judged("speed", "swap: longest wait / p99 without", longest / calm, wait, judge=judge),
    ]


def _asked(where: Ground, name: str, more: dict[str, Any], rate: float, seconds: float) -> Measured:
    """A probe's figures of the side ``name``, on topics that nobody used before: no answer is taken for another's."""
    made = filled(where, f"speed-{name}", "raw", 0)
    topics: dict[str, Any] = {"source": Topic.EVENTS.of(made.project), "target": Topic.PREDICTIONS.of(made.project)}
    side: dict[str, Any] = {"kafka": where.kafka, "group": name, "seconds": seconds + AROUND_S, **more}
    if name == "echo":
        answering = worker.begin("echo", **side, **topics)
    else:
        answering = worker.begin("serve", **side, redis=where.redis, project_json=made.model_dump_json())
    try:
        # The probe shares the servers' core: the measured side keeps its own.
        return worker.measure("probe", core=cores()[0], kafka=where.kafka, rate=rate, seconds=seconds, **topics)
    finally:
        answering.stop()
