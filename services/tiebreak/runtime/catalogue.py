"""Every metric there is, declared once. ``docs/metrics.md``, the dashboards and the alert rules are checked against this file.

Labels come from closed sets; ``project`` is always one of them. Never an offset, an event id, an annotator or a path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One time series family. ``action`` says what to do when it moves."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    action: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = LATENCY_BUCKETS_S


EVENTS = (
    Metric(
        "tiebreak_events_consumed_total",
        "counter",
        "Records handed out by the log.",
        "Flat with lag: see the runbook.",
        ("stage",),
    ),
    Metric(
        "tiebreak_events_dead_total",
        "counter",
        "Records set aside on `dead`, by reason.",
        "Read them with `tiebreak dead`; one reason rising means a producer changed its format.",
        ("stage", "reason"),
    ),
    Metric("tiebreak_events_lag_records", "gauge", "Records not yet committed.", "Rising: add a replica.", ("stage",)),
)

RUNTIME = (
    Metric(
        "tiebreak_runtime_ready_ratio",
        "gauge",
        "1 while the process answered its last readiness probe with yes, else 0.",
        "Ask `/health/ready`: it names the check that is not well.",
    ),
)

CATALOGUE: tuple[Metric, ...] = (
    *EVENTS,
    *RUNTIME,
)
