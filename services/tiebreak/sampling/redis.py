"""The budget and the snapshots in Redis. All keys of a project share one hash tag, so a cluster keeps them on one node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from importlib.resources import files
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.ports import Grant, Lent
from tiebreak.contracts.project import Project
from tiebreak.sampling import budget
from tiebreak.sampling.budget import REPAYMENT, Limits
from tiebreak.sampling.pricing import purse_limits

GRANT_TTL_MS = (
    6 * 3_600_000
)  # a batch is replayed within minutes of a crash; a later replay is charged anew, never given more
BURST_TTL_MS = 7 * 86_400_000
SNAPSHOT_TTL_MS = 7 * 86_400_000


class RedisBudget:
    """One bucket for all replicas of a project, on the server's clock; raises SlowDown while Redis does not answer.

    ``server_clock=False`` believes the caller's ``now_s`` instead (simulation and tests).
    """

    def __init__(self, client: Redis, project: Project, *, server_clock: bool = True) -> None:
        self._base = f"tb:{{{project.project}}}"
        self._limits, self._purse = Limits.of(project.budget), purse_limits(project.budget)
        self._server_clock = server_clock
        self._pacing: tuple[float | str, ...] = ("", "", "", "", "")
        if (age_s := self._limits.queue_age_s) is not None:
            self._pacing = (age_s, budget.HEADROOM, budget.LEAST_OPEN, budget.memory_s(self._limits), budget.PRIOR)
        self._take = client.register_script(_script("budget_take"))
        self._borrow = client.register_script(_script("budget_borrow"))

    async def take(self, wanted: int, now_s: float, batch_key: str, bill: Sequence[float] = ()) -> Grant:
        """Take up to ``wanted`` labels, once per ``batch_key``: a replayed batch gets its first answer again."""
        keys = [f"{self._base}:budget", f"{self._base}:budget:batch:{_short(batch_key)}", f"{self._base}:open_tasks"]
        keys += [f"{self._base}:settled_tasks", f"{self._base}:budget:burst"]
        limits = self._limits
        now = "" if self._server_clock else repr(now_s)
        args: list[int | float | str] = [
            wanted,
            limits.per_s,
            limits.carry_over,
            limits.max_open,
            REPAYMENT,
            GRANT_TTL_MS,
            now,
            *self._pacing,
        ]
        if self._purse is not None:
            args += [self._purse.per_s, self._purse.carry_over, *bill]
        try:
            granted, open_tasks, burst = cast("tuple[int, int, bytes | str]", await self._take(keys=keys, args=args))
        except (RedisError, OSError) as error:
            raise SlowDown(f"the budget in Redis does not answer: {error}", fix="Is Redis up?") from error
        return Grant(int(granted), int(open_tasks), _lent(burst))

    async def borrow(self, burst: Lent, now_s: float, rest_s: float = 0.0, money: float = 0.0) -> Lent:
        """A burst's extra labels, paid back from later refills, once per burst of the project; answers which that is now.

        Whether one is open is a matter of this server's clock, whatever ``now_s``.
        """
        del now_s
        keys = [
            f"{self._base}:budget",
            f"{self._base}:budget:burst:{_short(burst.burst_id)}",
            f"{self._base}:budget:burst",
        ]
        told = json.dumps([burst.burst_id, burst.labels, burst.part, burst.partition])
        args: list[float | str] = [burst.labels, self._limits.carry_over, BURST_TTL_MS, told, int(1000.0 * rest_s)]
        if self._purse is not None:
            args += [money, self._purse.carry_over]
        try:
            return _lent(cast("bytes | str", await self._borrow(keys=keys, args=args)))
        except (RedisError, OSError) as error:
            raise SlowDown(f"the budget in Redis does not answer: {error}", fix="Is Redis up?") from error


class RedisSnapshots:
    """Sampler snapshots of a project, kept for a week after the last save. Raises SlowDown while Redis does not answer.

    The client must answer bytes (no ``decode_responses``).
    """

    def __init__(self, client: Redis, project: Project) -> None:
        self._client = client
        self._base = f"tb:{{{project.project}}}:sampler"

    async def load(self, key: str) -> bytes | None:
        try:
            value = cast("bytes | None", await self._client.get(f"{self._base}:{key}"))
        except (RedisError, OSError) as error:
            raise SlowDown(f"the snapshots in Redis do not answer: {error}", fix="Is Redis up?") from error
        return value

    async def save(self, key: str, value: bytes) -> None:
        try:
            await self._client.set(f"{self._base}:{key}", value, px=SNAPSHOT_TTL_MS)
        except (RedisError, OSError) as error:
            raise SlowDown(f"the snapshots in Redis do not answer: {error}", fix="Is Redis up?") from error


def _lent(told: bytes | str) -> Lent:
    return Lent(*json.loads(told)) if told else Lent()


def _script(name: str) -> str:
    return (files("tiebreak.sampling") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def _short(key: str) -> str:
    return blake2b(key.encode(), digest_size=16).hexdigest()
