"""No origin drains the budget: of the last questions, one source and one key may have caused a share at most. Pure.

Somebody who sends odd events is asked about as often as chance and model will have it; past ``sampling.origin_share`` the rest of the
budget is for others. The audit slice takes no part: it is uniform over the traffic, whoever sends it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

# ``(source, key)`` of a row, each None where there is none.
OriginOf = Callable[[int], tuple[bytes | None, bytes | None]]

REMEMBERED = 200  # questions
NOBODY = 0


@dataclass(frozen=True, slots=True)
class Origins:
    """``(m, 2)`` hashes of source and key of the last questions, oldest first; 0 where there was none."""

    asked: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))


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
    return Origins(np.concatenate([origins.asked, newest])[-REMEMBERED:])


def _hashes(origin: tuple[bytes | None, bytes | None]) -> list[int]:
    return [
        NOBODY if not name else int.from_bytes(blake2b(name, digest_size=8).digest(), "little", signed=True) or 1
        for name in origin
    ]
