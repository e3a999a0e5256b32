"""Giving a person a token: made here, shown once, kept as a hash, on record in the audit trail."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tiebreak.apps.auditing import open_trail, whoever_runs_this
from tiebreak.apps.wiring import open_redis
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.project import Project
from tiebreak.labeling.access import Role
from tiebreak.labeling.redis_tokens import RedisTokens
from tiebreak.labeling.stage_tokens import Doorkeeper
from tiebreak.labeling.tokens import RANDOM_BYTES, TokenRecord, mint
from tiebreak.runtime.settings import Settings


@asynccontextmanager
async def open_door(project: Project, settings: Settings, clock: Clock) -> AsyncIterator[Doorkeeper]:
    """What makes and ends the project's tokens."""
    async with open_trail(project, settings, clock) as trail, open_redis(settings) as client:
        yield Doorkeeper(RedisTokens(client, project.project), trail)


async def admit(
    project: Project, settings: Settings, name: str, role: Role, hours: float, clock: Clock
) -> tuple[str, TokenRecord]:
    """The token and its record. Raises Invalid for a name that is none, Unreachable when Redis or the log is away."""
    now_ms = int(clock.wall() * 1000)
    text, record = mint(secrets.token_bytes(RANDOM_BYTES), name, role, now_ms, int(hours * 3_600_000))
    async with open_door(project, settings, clock) as door:
        await door.admit(record, whoever_runs_this())
    return text, record
