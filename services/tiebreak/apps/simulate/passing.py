"""The events that go along with a question in a replay, as the sampler has them go (``sampling/passing.py``). Pure."""

from __future__ import annotations

from collections import deque

from tiebreak.contracts.ids import unit_hash
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling.passing import KEPT


class PassingBy:
    """Draws ``most`` of the events ``x`` ``(n, d)`` for each question, from its batch and from one each of the batches before."""

    def __init__(self, x: FloatArray, most: int, seed: int) -> None:
        self._x, self._most, self._seed = x, most, seed
        self._kept: deque[int] = deque(maxlen=KEPT)

    def beside(self, at: int, batch: range) -> bytes:
        """For the question about event ``at`` of a batch, whose events follow one another."""
        found: dict[int, None] = {}
        for turn in range(self._most):
            place = int(self._chance(f"{at}/{turn}") * (len(batch) + len(self._kept)))
            if place < len(batch):
                found[batch[place]] = None
            else:
                found[self._kept[place - len(batch)]] = None
                del self._kept[place - len(batch)]
        found.pop(at, None)
        return b"".join(self._x[other].astype("<f4").tobytes() for other in found)

    def see(self, batch: range) -> None:
        """Keep one event of a batch for the questions of later ones."""
        if self._most:
            self._kept.append(batch[int(self._chance(str(batch[0])) * len(batch))])

    def _chance(self, key: str) -> float:
        return unit_hash(self._seed, "unlabelled", key)
