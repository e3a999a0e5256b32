"""Decided batches on their way: published side by side, committed in order while the next is decided."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.log import Partition, Positions, Record
from tiebreak.runtime.tasks import end

# What a crash repeats is bounded in batches too, should commits be slow.
_MOST_UNCOMMITTED = 32


@dataclass(frozen=True, slots=True)
class Done:
    """Batches that are published, acknowledged and committed: the positions after them, the records that they set aside."""

    positions: Positions
    dead: Sequence[tuple[Record, BadRecord]]


@dataclass(frozen=True, slots=True)
class _Flying:
    positions: Positions
    dead: Sequence[tuple[Record, BadRecord]]
    publishing: asyncio.Task[None]


@dataclass(frozen=True, slots=True)
class _Committing:
    """One request for the oldest ``batches`` batches."""

    batches: int
    positions: Positions
    task: asyncio.Task[None]


class InFlight:
    """Used by one task at a time. ``stir`` is called whenever :meth:`advance` may have something to tell.

    At least ``gap_s`` lie between the beginnings of two commits: a commit costs the log as much as a batch does, and the newest
    one says all that those before it said. After a pause it begins at once.
    """

    def __init__(
        self, commit: Callable[[Positions], Coroutine[Any, Any, None]], stir: Callable[[], None], gap_s: float = 0.0
    ) -> None:
        self._commit = commit
        self._stir = stir
        self._gap_s = gap_s
        self._due = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._flying: deque[_Flying] = deque()
        self._committing: _Committing | None = None

    def __len__(self) -> int:
        return len(self._flying)

    @property
    def unacknowledged(self) -> int:
        """Batches that the log has not taken whole."""
        return sum(not flying.publishing.done() for flying in self._flying)

    def has_room(self, depth: int) -> bool:
        """Whether one more batch may fly beside at most ``depth`` unacknowledged ones."""
        return self.unacknowledged < depth and len(self._flying) < _MOST_UNCOMMITTED

    def add(
        self, positions: Positions, dead: Sequence[tuple[Record, BadRecord]], publish: Coroutine[Any, Any, None]
    ) -> None:
        """Begin to publish the newest batch."""
        self._flying.append(_Flying(positions, dead, self._begin(publish)))

    def advance(self) -> Done | None:
        """What the log has taken since the last call; where it has taken nothing, begin to commit what was acknowledged since.

        Raises what publishing the oldest batch, or committing, raised.
        """
        done = self._taken()
        # One or the other: a batch that failed raises, and the handler would not hear of the ones before it.
        if done is None and self._committing is None and self._flying and self._flying[0].publishing.done():
            self._commit_when_due()
        return done

    async def wait(self) -> None:
        """Until :meth:`advance` has something to do. Whoever runs out of time here cancels neither publishing nor committing.

        Nobody who waits here is made to wait for the gap between commits.
        """
        self._due = 0.0
        if self._flying:
            await asyncio.wait({self._committing.task if self._committing else self._flying[0].publishing})

    async def finish_commit(self) -> Done | None:
        """The commit on its way, to its end: what the log has stored the handler must hear of. Raises what it raised."""
        if self._committing is not None:
            await asyncio.wait({self._committing.task})
        return self._taken()

    async def drop(self) -> None:
        """Forget everything; the outcome of what was on its way is unknown."""
        committing, self._committing = self._committing, None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        await end(*(flying.publishing for flying in self._flying), committing.task if committing else None)
        self._flying.clear()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._stir())
        return task

    def _taken(self) -> Done | None:
        committing = self._committing
        if committing is None or not committing.task.done():
            return None
        self._committing = None
        committing.task.result()
        dead = [each for _ in range(committing.batches) for each in self._flying.popleft().dead]
        return Done(committing.positions, dead)

    def _commit_when_due(self) -> None:
        self._flying[0].publishing.result()
        loop = asyncio.get_running_loop()
        if loop.time() >= self._due:
            self._due = loop.time() + self._gap_s
            self._commit_acknowledged()
        elif self._alarm is None:
            self._alarm = loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._stir()

    def _commit_acknowledged(self) -> None:
        """Up to the first batch that is not acknowledged, or failed: that one is the next call's."""
        positions: dict[Partition, int] = {}
        batches = 0
        for flying in self._flying:
            if not flying.publishing.done() or flying.publishing.exception() is not None:
                break
            positions |= flying.positions
            batches += 1
        self._committing = _Committing(batches, positions, self._begin(self._commit(positions)))
