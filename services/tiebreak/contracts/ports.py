"""Ports other than the log. Each has an in-memory twin in its stage's ``memory.py`` and one contract suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tiebreak.contracts.log import Batch, Partition
from tiebreak.contracts.messages import Manifest


@dataclass(frozen=True, slots=True)
class Lent:
    """A burst of a project, over all its replicas: its id, all its labels, what it is about, and a partition of who opened it.

    No id: none. A partition below 0: it is not known.
    """

    burst_id: str = ""
    labels: int = 0
    part: str = ""
    partition: int = -1


NO_BURST = Lent()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a budget gave: ``granted`` labels of those wanted; ``open_tasks`` is the backlog people have not answered.

    ``burst``: the one that the project has open, as far as the budget knows.
    """

    granted: int
    open_tasks: int
    burst: Lent = NO_BURST


class Budget(Protocol):
    """A labelling budget shared by all replicas of a project."""

    async def take(self, wanted: int, now_s: float, batch_key: str, bill: Sequence[float] = ()) -> Grant:
        """Take up to ``wanted`` labels, once per ``batch_key``: a replayed batch gets its first answer again.

        ``bill``: what each of them costs, in the order in which they are wanted, where money is counted.
        """

    async def borrow(self, burst: Lent, now_s: float, rest_s: float = 0.0, money: float = 0.0) -> Lent:
        """A burst's extra labels, and what they cost, paid back from later refills; answers the burst that the project has now.

        For ``rest_s`` it is the project's: who else asks for one gets this one, and nothing more is lent. Idempotent per burst id.
        """


class Snapshots(Protocol):
    """Small state of a replica, keyed by project and partition set. Losing it costs a warm-up, never correctness."""

    async def load(self, key: str) -> bytes | None: ...
    async def save(self, key: str, value: bytes) -> None: ...


class History(Protocol):
    """What a topic held before a position."""

    def before(self, ranges: Mapping[Partition, tuple[int, int]]) -> AsyncIterator[Batch]:
        """The records from the first offset up to, but without, the second, where they are kept still.

        In order within a partition; some may come twice. Raises Unreachable.
        """


class ModelStore(Protocol):
    """``<project>/<version>/{model.onnx, manifest.json}``. A version, once written, never changes."""

    async def put(self, manifest: Manifest, model: bytes) -> None:
        """Durable when it returns. The same version with other bytes raises Conflict; a disk that refuses raises SlowDown."""

    async def manifest(self, project: str, version: str) -> Manifest:
        """Raises NotFound."""

    async def holds(self, project: str, version: str) -> bool:
        """Whether a model of this name is there, its bytes unread: :meth:`get` may still refuse them."""

    async def get(self, project: str, version: str) -> tuple[Manifest, bytes]:
        """The model with its sha256 verified; raises NotFound, or ModelRefused when the bytes do not match."""

    async def versions(self, project: str) -> tuple[str, ...]:
        """Oldest first."""
