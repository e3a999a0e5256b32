"""How much the speed benchmark measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """Events per turn and turns; ``judge`` False leaves times alone (a busy CI machine says nothing).

    ``latency_s`` is how long each side of the latency section is asked; ``laps`` of ``lap_events`` events and ``swaps`` are the
    memory section's.
    """

    turns: int
    raw: int
    json: int
    heavy: int
    peers: int
    latency_s: float
    laps: int
    lap_events: int
    swaps: int
    judge: bool


FULL = Size(5, 500_000, 150_000, 60_000, 40_000, 8.0, 20, 500_000, 500, judge=True)
QUICK = Size(1, 40_000, 20_000, 6_000, 4_000, 2.0, 2, 20_000, 2, judge=False)
