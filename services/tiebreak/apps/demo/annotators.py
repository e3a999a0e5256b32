"""The simulated people at work: over the real HTTP API, each with a token of their own."""

from __future__ import annotations

import asyncio
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
from tiebreak.runtime.tasks import pause

_WAIT_MS = 2000
_TIMEOUT_S = 10.0
_AGAIN_S = 0.5
_TRIES = 8


def client_of(address: str, people: int) -> httpx.AsyncClient:
    """A client for that many people: each may wait for a task on a connection of their own."""
    limits = httpx.Limits(max_connections=max(1, people), max_keepalive_connections=max(1, people))
    return httpx.AsyncClient(base_url=address, timeout=_TIMEOUT_S, limits=limits, trust_env=False)


@dataclass(frozen=True, slots=True)
class Workplace:
    """What all annotators share. ``client`` knows the API's address and stays the caller's to close; ``truths`` maps an image's
    fingerprint to its class; ``journal`` is written by all.
    """

    client: httpx.AsyncClient
    project: str
    truths: Mapping[bytes, str]
    journal: Journal
    clock: Clock
    habits: Habits


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
        while not stop.is_set():
            task = await self._claim(stop)
            if task is not None and not await self._work_on(task):
                await pause(stop, self._place.habits.away_s)

    async def _claim(self, stop: asyncio.Event) -> dict[str, Any] | None:
        body = {"max": 1, "wait_ms": _WAIT_MS}
        status, answer = await self._post(f"/v1/projects/{self._place.project}/tasks:claim", body)
        if status != 200:
            self._note("claim", status)
            await pause(stop, _AGAIN_S)
            return None
        tasks: Sequence[dict[str, Any]] = answer["tasks"]
        if not tasks:
            return None
        self._note("claim", status, tasks[0])
        return tasks[0]

    async def _work_on(self, task: dict[str, Any]) -> bool:
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
            await self._answer("skip", f"/v1/tasks/{task['task_id']}:skip", (task, key, body))
            return True
        value = answer_of(truth, habits.error_rate, float(self._rng.random()))
        body = {"lease_token": task["lease"]["token"], "value": value, "lead_time_s": round(seconds, 3)}
        await self._answer("submit", f"/v1/tasks/{task['task_id']}/annotations", (task, key, body))
        return True

    async def _answer(self, call: str, path: str, said: tuple[dict[str, Any], str, dict[str, Any]]) -> None:
        task, key, body = said
        for _ in range(_TRIES):
            status, answer = await self._post(path, body, {"Idempotency-Key": key})
            outcome = outcome_of(status, str(answer.get("type", "")))
            self._note(call, status, task, key=key, value=str(body.get("value", "")), outcome=outcome)
            if outcome is not Known.INFO:
                return
            # Nobody knows whether it was taken: the same key again is harmless.
            await self._place.clock.sleep(_AGAIN_S)

    async def _post(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        try:
            response = await self._place.client.post(path, json=body, headers={**self._headers, **(headers or {})})
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
