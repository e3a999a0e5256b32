"""Ports other than the log. Each has an in-memory twin in its stage's ``memory.py`` and one contract suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tiebreak.contracts.log import Batch, Partition
from tiebreak.contracts.messages import Manifest


@dataclass(frozen=True, slots=True)
class Grant:
    """What a budget gave: ``granted`` labels of those wanted; ``open_tasks`` is the backlog people have not answered."""

    granted: int
    open_tasks: int


class Budget(Protocol):
    """A labelling budget shared by all replicas of a project."""

    async def take(self, wanted: int, now_s: float, batch_key: str, bill: Sequence[float] = ()) -> Grant:
        """Take up to ``wanted`` labels, once per ``batch_key``: a replayed batch gets its first answer again.

        ``bill``: what each of them costs, in the order in which they are wanted, where money is counted.
        """

    async def borrow(self, labels: int, burst_id: str, money: float = 0.0) -> None:
        """A burst's extra labels, and what they cost, paid back from later refills. Idempotent per ``burst_id``."""


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
        """Durable when it returns. The same version with other bytes raises Conflict."""

    async def manifest(self, project: str, version: str) -> Manifest:
        """Raises NotFound."""

    async def holds(self, project: str, version: str) -> bool:
        """Whether a model of this name is there, its bytes unread: :meth:`get` may still refuse them."""

    async def get(self, project: str, version: str) -> tuple[Manifest, bytes]:
        """The model with its sha256 verified; raises NotFound, or ModelRefused when the bytes do not match."""

    async def versions(self, project: str) -> tuple[str, ...]:
        """Oldest first."""
