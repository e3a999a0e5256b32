"""The simulated people at work: over the real HTTP API, each with a token of their own."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from tiebreak.apps.demo.journal import Entry, Journal, Known, outcome_of
from tiebreak.apps.demo.people import Habits, answer_of, recognise, think_s
from tiebreak.contracts.clock import Clock

_WAIT_MS = 2000
_TIMEOUT_S = 10.0
_AGAIN_S = 0.5
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Workplace:
    """What all annotators share. ``truths`` maps an image's fingerprint to its class; ``journal`` is written by all.

    ``transport`` replaces the network, for an application in this process.
    """

    address: str
    project: str
    truths: Mapping[bytes, str]
    journal: Journal
    clock: Clock
    habits: Habits
    transport: httpx.AsyncBaseTransport | None = None


class Annotator:
    """One person: claims a task, looks, thinks, answers (sometimes wrongly), and now and then walks off with a lease.

    Who walks off is away for ``Habits.away_s``, without a word to the server. ``name`` must be the token's; chance comes from ``seed``.
    """

    def __init__(self, place: Workplace, name: str, token: str, seed: int) -> None:
        self._place = place
        self._name = name
        self._rng = np.random.default_rng(seed)
        self._headers = {"Authorization": f"Bearer {token}"}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``; a task in hand is finished first. A server that is away is tried again."""
        async with httpx.AsyncClient(
            base_url=self._place.address,
            headers=self._headers,
            timeout=_TIMEOUT_S,
            trust_env=False,
            transport=self._place.transport,
        ) as client:
            while not stop.is_set():
                task = await self._claim(client, stop)
                if task is not None and not await self._work_on(client, task):
                    await _first_of(stop, self._place.habits.away_s)

    async def _claim(self, client: httpx.AsyncClient, stop: asyncio.Event) -> dict[str, Any] | None:
        body = {"max": 1, "wait_ms": _WAIT_MS}
        status, answer = await self._post(client, f"/v1/projects/{self._place.project}/tasks:claim", body)
        if status != 200:
            self._note("claim", status)
            await _first_of(stop, _AGAIN_S)
            return None
        tasks: Sequence[dict[str, Any]] = answer["tasks"]
        if not tasks:
            return None
        self._note("claim", status, tasks[0])
        return tasks[0]

    async def _work_on(self, client: httpx.AsyncClient, task: dict[str, Any]) -> bool:
        """False when they walked off instead of answering."""
        habits = self._place.habits
        seconds = think_s(habits, float(self._rng.standard_normal()))
        await self._place.clock.sleep(seconds)
        if self._rng.random() < habits.walk_off_rate:
            self._note("walk_off", 0, task, outcome=Known.OK)
            return False
        truth = recognise(self._place.truths, b64decode(task["payload"]["image"]))
        key = uuid.UUID(bytes=self._rng.bytes(16)).hex
        if truth is None:
            body: dict[str, Any] = {"lease_token": task["lease"]["token"], "reason": "unknown image"}
            await self._answer(client, "skip", f"/v1/tasks/{task['task_id']}:skip", (task, key, body))
            return True
        value = answer_of(truth, habits.error_rate, float(self._rng.random()))
        body = {"lease_token": task["lease"]["token"], "value": value, "lead_time_s": round(seconds, 3)}
        await self._answer(client, "submit", f"/v1/tasks/{task['task_id']}/annotations", (task, key, body))
        return True

    async def _answer(
        self, client: httpx.AsyncClient, call: str, path: str, said: tuple[dict[str, Any], str, dict[str, Any]]
    ) -> None:
        task, key, body = said
        for _ in range(_TRIES):
            status, answer = await self._post(client, path, body, {"Idempotency-Key": key})
            outcome = outcome_of(status, str(answer.get("type", "")))
            self._note(call, status, task, key=key, value=str(body.get("value", "")), outcome=outcome)
            if outcome is not Known.INFO:
                return
            # Nobody knows whether it was taken: the same key again is harmless.
            await self._place.clock.sleep(_AGAIN_S)

    async def _post(
        self, client: httpx.AsyncClient, path: str, body: dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        try:
            response = await client.post(path, json=body, headers=headers)
            return response.status_code, response.json()
        except (httpx.HTTPError, ValueError):
            return 0, {}

    def _note(
        self,
        call: str,
        status: int,
        task: dict[str, Any] | None = None,
        *,
        key: str = "",
        value: str = "",
        outcome: Known | None = None,
    ) -> None:
        place = self._place
        place.journal.note(
            Entry(
                at_ms=int(place.clock.wall() * 1000),
                annotator=self._name,
                call=call,
                outcome=outcome or outcome_of(status),
                status=status,
                task_id=task["task_id"] if task else "",
                token=task["lease"]["token"] if task else 0,
                key=key,
                value=value,
            )
        )


async def _first_of(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
