"""People of a scenario: they claim and answer over HTTP, err, dawdle, walk off, change their minds, and keep a journal.

Whoever gets no answer repeats the very request until there is one: that is what the page does, and what the promises rest on.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from tests.support.journal import Call, Journal, Outcome, Verb
from tiebreak.apps.demo.people import answer_of, recognise
from tiebreak.runtime.clock import SystemClock

_WAIT_MS = 1000
_TIMEOUT_S = 10.0
_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Manners:
    """Shares of the tasks on which a person errs, walks off, answers after the lease has ended, or takes an answer back."""

    error: float = 0.05
    walk_off: float = 0.02
    dawdle: float = 0.02
    undo: float = 0.03
    think_s: float = 0.1


@dataclass(frozen=True, slots=True)
class Office:
    """What all people share. ``truths``: fingerprint of an image to its class. ``lease_s`` is the project's."""

    address: str
    project: str
    truths: Mapping[bytes, str]
    journal: Journal
    lease_s: float
    manners: Manners = Manners()


class Person:
    """One annotator with a token. Chance comes from ``seed``; ``run`` ends with the task in hand answered.

    ``busy`` from a claim that gave something to the last word about it.
    """

    def __init__(self, office: Office, name: str, token: str, seed: int) -> None:
        self.busy = False
        self._office, self._name = office, name
        self._rng = np.random.default_rng(seed)
        self._client = httpx.AsyncClient(
            base_url=office.address,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``."""
        async with self._client:
            while not stop.is_set():
                for task in await self._claim(stop):
                    self.busy = True
                    await self._work_on(task, stop)
                self.busy = False

    async def _claim(self, stop: asyncio.Event) -> list[dict[str, Any]]:
        journal = self._office.journal
        number = journal.begin(Call(Verb.CLAIM, self._name))
        path = f"/v1/projects/{self._office.project}/tasks:claim"
        status, body = await self._post(path, {"max": 1, "wait_ms": _WAIT_MS})
        if status != 200:
            journal.end(number, _outcome(status))
            await _pause(stop, _AGAIN_S)
            return []
        tasks: list[dict[str, Any]] = body["tasks"]
        for task in tasks:
            journal.end(number, Outcome.OK, task_id=task["task_id"], token=task["lease"]["token"])
        if not tasks:
            journal.end(number, Outcome.FAIL)
        return tasks

    async def _work_on(self, task: dict[str, Any] | None, stop: asyncio.Event) -> None:
        manners = self._office.manners
        while task is not None:
            await _pause(stop, manners.think_s * float(self._rng.exponential()))
            mood = float(self._rng.random())
            if mood < manners.walk_off + manners.dawdle:
                # Longer than the lease: the task goes to somebody else meanwhile.
                await _pause(stop, self._office.lease_s * 1.5)
            if mood < manners.walk_off:
                return
            accepted = await self._answer(task)
            task = None
            if accepted and float(self._rng.random()) < manners.undo:
                task = await self._undo(accepted)

    async def _answer(self, task: dict[str, Any]) -> dict[str, Any] | None:
        truth = recognise(self._office.truths, b64decode(task["payload"]["image"]))
        assert truth is not None, "a task shows an image that no event had"
        value = answer_of(truth, self._office.manners.error, float(self._rng.random()))
        token: int = task["lease"]["token"]
        call = Call(Verb.SUBMIT, self._name, task["task_id"], key=self._key(), value=value, token=token)
        body = {"lease_token": token, "value": value}
        status, answer = await self._until_known(call, f"/v1/tasks/{call.task_id}/annotations", body)
        return answer if status == 201 else None

    async def _undo(self, accepted: dict[str, Any]) -> dict[str, Any] | None:
        call = Call(Verb.UNDO, self._name, accepted["task_id"], key=self._key())
        again = self._office.journal.begin(Call(Verb.CLAIM, self._name, call.task_id))
        status, answer = await self._until_known(call, f"/v1/annotations/{accepted['annotation_id']}:undo", {})
        task: dict[str, Any] | None = answer.get("task") if status == 200 else None
        if task is None:
            self._office.journal.end(again, Outcome.FAIL)
        else:
            self._office.journal.end(again, Outcome.OK, token=task["lease"]["token"])
        return task

    async def _until_known(self, call: Call, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The same request with the same key until somebody says how it went."""
        while True:
            number = self._office.journal.begin(call)
            status, answer = await self._post(path, body, {"Idempotency-Key": call.key})
            outcome = _outcome(status)
            self._office.journal.end(number, outcome)
            if outcome is not Outcome.INFO:
                return status, answer
            await SystemClock().sleep(_AGAIN_S)

    async def _post(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        try:
            response = await self._client.post(path, json=body, headers=headers)
            return response.status_code, response.json()
        except (httpx.HTTPError, ValueError):
            return 0, {}

    def _key(self) -> str:
        return uuid.UUID(bytes=self._rng.bytes(16)).hex


def _outcome(status: int) -> Outcome:
    # A 5xx says nothing: the answer may have been accepted before something else broke. An answer in progress is a 409 of
    # its own that settles nothing either, but the one who sends a key twice is always ourselves, after a lost answer.
    if 200 <= status < 300:
        return Outcome.OK
    return Outcome.FAIL if 400 <= status < 500 else Outcome.INFO


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
