"""Leases put back into an index that was built again (`regrant.lua`, ADR 0040)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from redis.exceptions import ResponseError

from tiebreak.labeling.grants import Grant, Grants
from tiebreak.labeling.redis_wire import Argument
from tiebreak.runtime.metrics import Metrics

_log = structlog.get_logger("tiebreak.labeling")
_FIX = "Each of their tasks is offered again. Look at the Redis of the queue: is it ours alone, and is every API of one version?"

Run = Callable[[str, Sequence[Argument]], Awaitable[list[Any]]]


async def put_back(run: Run, grants: Grants, chunks: Sequence[Sequence[Grant]], metrics: Metrics | None) -> None:
    """Put back ``chunks`` of ``grants``. One that the script itself fails for is dropped, told and counted, and the rest goes on.

    Nothing is asked of a new index before this returns: an error that came every time would shut everybody out. Raises what
    passes: Unreachable, and SlowDown while the index is built.
    """
    for chunk in chunks:
        if await _failed(run, chunk) is None:
            continue
        lost = [(grant, error) for grant in chunk if (error := await _failed(run, [grant])) is not None]
        for grant, _ in lost:
            grants.end(grant.annotator, grant.task_id)
        if lost:
            _log.error(
                "leases_not_put_back", leases=len(lost), task=lost[0][0].task_id, error=str(lost[0][1]), fix=_FIX
            )
            if metrics is not None:
                metrics.count("tiebreak_labeling_leases_dropped_total", len(lost))


async def _failed(run: Run, grants: Sequence[Grant]) -> ResponseError | None:
    try:
        await run("regrant", [value for grant in grants for value in grant])
    except ResponseError as error:
        # Any other refusal of Redis (busy, moved, no permission) is not about these leases.
        if "user_script" not in str(error):
            raise
        return error
    return None
