"""Giving a person a token: made here, shown once, kept as a hash."""

from __future__ import annotations

import secrets

from tiebreak.apps.wiring import open_redis
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.project import Project
from tiebreak.labeling.access import Role
from tiebreak.labeling.redis_tokens import RedisTokens
from tiebreak.labeling.tokens import RANDOM_BYTES, TokenRecord, mint
from tiebreak.runtime.settings import Settings


async def admit(
    project: Project, settings: Settings, name: str, role: Role, hours: float, clock: Clock
) -> tuple[str, TokenRecord]:
    """The token and its record. Raises Invalid for a name that is none, Unreachable when Redis is away."""
    now_ms = int(clock.wall() * 1000)
    text, record = mint(secrets.token_bytes(RANDOM_BYTES), name, role, now_ms, int(hours * 3_600_000))
    async with open_redis(settings) as client:
        await RedisTokens(client, project.project).put(record)
    return text, record
