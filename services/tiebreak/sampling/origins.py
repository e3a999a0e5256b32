"""No origin drains the budget: of the last questions, one source and one key may have caused a share at most. Pure.

Somebody who sends odd events is asked about as often as chance and model will have it; past ``sampling.origin_share`` the rest of the
budget is for others. In the audit slice, which is uniform over the traffic, whoever sends more than that share of the events is drawn
with so much less probability that it has the share; what that is, is known, and undone by weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

# ``(source, key)`` of a row, each None where there is none.
OriginOf = Callable[[int], tuple[bytes | None, bytes | None]]

REMEMBERED = 200  # questions
NOBODY = 0
LEAST_DRAWN = 50  # events before their origins say who sends how much


@dataclass(frozen=True, slots=True)
class Origins:
    """``asked`` ``(m, 2)`` hashes of source and key of the last questions, oldest first; 0 where there was none. ``drawn`` the same
    of events that chance alone drew. In the open block ``held`` ``(k, 2)`` are origins (0 for a source, 1 for a key, and the hash) that
    are drawn with ``parts`` ``(k,)`` of the slice's probability."""

    asked: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    drawn: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    held: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    parts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def crowded(origins: Origins, origin_of: OriginOf | None, row: int, share: float) -> bool:
    """Whether the source or the key of ``row`` has had its ``share`` of the last ``REMEMBERED`` questions, or one at least."""
    if origin_of is None or share >= 1.0:
        return False
    most = max(1, int(share * REMEMBERED))
    # What the next question pushes out no longer counts.
    recent = origins.asked[-(REMEMBERED - 1) :]
    return any(
        own != NOBODY and np.count_nonzero(recent[:, column] == own) >= most
        for column, own in enumerate(_hashes(origin_of(row)))
    )


def remember(origins: Origins, origin_of: OriginOf | None, row: int, share: float) -> Origins:
    """Count a question about ``row``; nothing is kept where nothing is capped."""
    if origin_of is None or share >= 1.0:
        return origins
    newest = np.array([_hashes(origin_of(row))], dtype=np.int64)
    return replace(origins, asked=np.concatenate([origins.asked, newest])[-REMEMBERED:])


def drew(origins: Origins, origin_of: OriginOf | None, row: int) -> Origins:
    """Count an event that chance drew for the slice, whether or not its origin lets it in."""
    if origin_of is None:
        return origins
    newest = np.array([_hashes(origin_of(row))], dtype=np.int64)
    return replace(origins, drawn=np.concatenate([origins.drawn, newest])[-REMEMBERED:])


def held(origins: Origins, share: float) -> Origins:
    """Hold each origin that sends more than ``share`` of the events to that share, for a block."""
    found: list[tuple[int, int]] = []
    parts: list[float] = []
    if (total := len(origins.drawn)) >= LEAST_DRAWN:
        for column in (0, 1):
            names, counts = np.unique(origins.drawn[:, column], return_counts=True)
            for name, count in zip(names.tolist(), counts.tolist(), strict=True):
                if name != NOBODY and count > share * total:
                    found.append((column, name))
                    parts.append(share * total / count)
    return replace(origins, held=np.array(found, dtype=np.int64).reshape(-1, 2), parts=np.array(parts))


def part(origins: Origins, origin_of: OriginOf | None, row: int) -> float:
    """Of the slice's probability, how much a row's origin has in the open block."""
    if origin_of is None or not len(origins.parts):
        return 1.0
    own = enumerate(_hashes(origin_of(row)))
    mine = [origins.parts[(origins.held[:, 0] == column) & (origins.held[:, 1] == name)] for column, name in own]
    return float(min((parts.min() for parts in mine if len(parts)), default=1.0))


def least(origins: Origins) -> float:
    """The smallest such part of any origin."""
    return float(origins.parts.min()) if len(origins.parts) else 1.0


def _hashes(origin: tuple[bytes | None, bytes | None]) -> list[int]:
    return [
        NOBODY if not name else int.from_bytes(blake2b(name, digest_size=8).digest(), "little", signed=True) or 1
        for name in origin
    ]
