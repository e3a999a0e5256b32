"""Group membership by leases, for the logs that are ours (Redis Streams, memory).

A partition has one owner at a time, written in the log's store; a commit by anybody else is refused there, so a reader that
slept through its lease can do no harm. A partition changes hands only when its owner gives it up or its lease runs out.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiebreak.contracts.errors import ConfigError, PositionLost
from tiebreak.contracts.log import Partition


@dataclass(frozen=True, slots=True)
class Lease:
    """``session_s`` without a heartbeat and a member's partitions go to others; it beats every ``beat_s``.

    While partitions are changing hands it looks every ``settle_s``.
    """

    session_s: float = 10.0
    beat_s: float = 1.0
    settle_s: float = 0.05
    connect_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat's answer: what the member is due, and what the store has it down as the owner of."""

    due: frozenset[Partition]
    owned: frozenset[Partition]


def missing_topic(topic: str) -> ConfigError:
    """The error for a topic that nobody created."""
    return ConfigError(f"The topic {topic} does not exist.", fix="Create it with `tiebreak topics create`.")


def position_lost(partition: Partition, position: int, holds: str) -> PositionLost:
    """The error for a position that the log no longer (or not yet) has."""
    return PositionLost(
        f"Position {position} of {partition.topic}/{partition.index} is outside the log: {holds}.",
        fix="Records were removed before they were read, or the log was made anew. Move or delete the group's positions to go on.",
    )
