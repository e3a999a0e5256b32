"""Publishing rows as events: in chunks, each acknowledged before it counts; bad rows are told and skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tiebreak.apps.row_files import Row
from tiebreak.apps.rows import message_of
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import BadRecord, PublishFailed
from tiebreak.contracts.log import Message, Outputs, Writer
from tiebreak.contracts.project import Project

_CHUNK = 500
_RETRY_S = 30.0


@dataclass(slots=True)
class Produced:
    """How far it got. ``sent`` events are acknowledged by the log."""

    sent: int = 0
    bad: int = 0
    done: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """``rate`` events per second at most (0: as fast as the log takes them)."""

    rate: float = 0.0
    limit: int = 0


async def produce(
    rows: Iterator[Row],
    project: Project,
    writer: Writer,
    clock: Clock,
    pace: Pace,
    tell: Callable[[Produced, Row | None], None],
) -> Produced:
    """Publish all good rows. ``tell`` hears of each bad row, and of the progress after each chunk.

    Raises PublishFailed when the log has not acknowledged a chunk for 30 s; publishing the file again is harmless.
    """
    produced, chunk = Produced(), list[Message]()
    size = _CHUNK if not pace.rate else max(1, min(_CHUNK, round(pace.rate / 10)))
    started = clock.monotonic()
    for row in rows:
        produced.done = row.done
        if isinstance(row.event, BadRecord):
            produced.bad += 1
            tell(produced, row)
            continue
        chunk.append(message_of(row.event, project))
        full = pace.limit and produced.sent + len(chunk) >= pace.limit
        if full or len(chunk) == size:
            await _send(chunk, produced, writer, clock)
            tell(produced, None)
            if full:
                break
            if pace.rate:
                await clock.sleep(max(0.0, started + produced.sent / pace.rate - clock.monotonic()))
    await _send(chunk, produced, writer, clock)
    tell(produced, None)
    return produced


async def _send(chunk: list[Message], produced: Produced, writer: Writer, clock: Clock) -> None:
    deadline = clock.monotonic() + _RETRY_S
    pause = 0.1
    while chunk:
        try:
            await writer.publish(Outputs(tuple(chunk)))
        except PublishFailed:
            # The outcome is unknown: the same ids again are harmless.
            if clock.monotonic() > deadline:
                raise
            await clock.sleep(pause)
            pause = min(pause * 2, 5.0)
        else:
            produced.sent += len(chunk)
            chunk.clear()
