"""What Redis' troubles mean to us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tiebreak.contracts.errors import Unreachable


@asynccontextmanager
async def reachable() -> AsyncIterator[None]:
    """Turn "no answer", "no memory" and "not the primary" into Unreachable: the outcome is unknown, the caller may repeat.

    Any other answer of Redis is a bug of ours and passes.
    """
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise Unreachable("Redis does not answer.", fix="Is it running, and is --redis right?") from error
    except OutOfMemoryError as error:
        raise Unreachable("Redis is out of memory.", fix="Raise maxmemory; nothing was lost.") from error
    except ReadOnlyError as error:
        raise Unreachable("This Redis is a read-only replica.", fix="Point --redis at the primary.") from error
