"""Publishing rows as events: in chunks, each acknowledged before it counts; bad rows are told and skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from tiebreak.apps.row_files import Row
from tiebreak.apps.rows import message_of
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import BadRecord, PublishFailed, Unreachable
from tiebreak.contracts.log import Message, Outputs, Writer
from tiebreak.contracts.project import Project

_CHUNK = 500
_log = structlog.get_logger("tiebreak.produce")


@dataclass(slots=True)
class Produced:
    """How far it got. ``sent`` events are acknowledged by the log."""

    sent: int = 0
    bad: int = 0
    done: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """``rate`` events per second at most (0: as fast as the log takes them). ``patience_s``: how long a chunk is sent again."""

    rate: float = 0.0
    limit: int = 0
    patience_s: float = 30.0


async def produce(
    rows: Iterator[Row],
    project: Project,
    writer: Writer,
    clock: Clock,
    pace: Pace,
    tell: Callable[[Produced, Row | None], None],
) -> Produced:
    """Publish all good rows. ``tell`` hears of each bad row, and of the progress after each chunk.

    Raises Unreachable, with how far it came, when the log has not acknowledged a chunk for ``pace.patience_s``.
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
            await _send(chunk, produced, writer, clock, pace)
            tell(produced, None)
            if full:
                break
            if pace.rate:
                await clock.sleep(max(0.0, started + produced.sent / pace.rate - clock.monotonic()))
    await _send(chunk, produced, writer, clock, pace)
    tell(produced, None)
    return produced


async def _send(chunk: list[Message], produced: Produced, writer: Writer, clock: Clock, pace: Pace) -> None:
    began = clock.monotonic()
    pause = 0.1
    while chunk:
        try:
            await writer.publish(Outputs(tuple(chunk)))
        except PublishFailed as error:
            # The outcome is unknown: the same ids again are harmless.
            waited_s = clock.monotonic() - began
            if waited_s > pace.patience_s:
                raise Unreachable(
                    f"The log has not acknowledged anything for {waited_s:.0f} s: {produced.sent} events are written for sure,"
                    f" and of the next {len(chunk)} it is not known.",
                    fix="Once the log is well, run the same command again: what is written already is a replay and changes nothing.",
                ) from error
            _log.warning("not_acknowledged", written=produced.sent, waited_s=round(waited_s), error=str(error))
            await clock.sleep(pause)
            pause = min(pause * 2, 5.0)
        else:
            produced.sent += len(chunk)
            chunk.clear()
