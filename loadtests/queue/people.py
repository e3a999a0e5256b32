"""Locust: people as they are. They look before they answer, skip, change their minds, and some walk off with a task in hand.

Run by `make bench-queue` (section ``people``), or by hand against any server:

    TOKENS=tokens.txt PROJECT=pets locust -f loadtests/queue/people.py --host http://127.0.0.1:8080

``TOKENS`` is a file with one bearer token a line; each person takes the next. ``THINK_S`` is the median time on a task (2 s).
"""

from __future__ import annotations

import os
import random
import uuid
from itertools import count
from pathlib import Path
from typing import Any

from locust import HttpUser, task

_people = count()
# Shares of the tasks, as seen in crowds: most are answered.
_WALK_OFF, _SKIP, _UNDO = 0.02, 0.05, 0.03


class Person(HttpUser):
    """One annotator."""

    def on_start(self) -> None:
        tokens = Path(os.environ["TOKENS"]).read_text(encoding="ascii").split()
        self.client.headers["Authorization"] = f"Bearer {tokens[next(_people) % len(tokens)]}"
        self.project = os.environ["PROJECT"]
        self.in_hand: dict[str, Any] | None = None

    def wait_time(self) -> float:  # locust calls it between two tasks
        """Log-normal, as people's times are."""
        return random.lognormvariate(0.0, 0.6) * float(os.environ.get("THINK_S", "2"))

    @task
    def work(self) -> None:
        """One task from the look at it to the word about it."""
        if self.in_hand is None:
            self.in_hand = self._claimed()
            return
        mood = random.random()
        leased, self.in_hand = self.in_hand, None
        if mood < _WALK_OFF:
            return
        if mood < _WALK_OFF + _SKIP:
            self._say(f"/v1/tasks/{leased['task_id']}:skip", "skip", {"lease_token": leased["lease"]["token"]})
            return
        vote = {"lease_token": leased["lease"]["token"], "value": random.choice(self.classes())}
        said = self._say(f"/v1/tasks/{leased['task_id']}/annotations?next=1", "answer, next=1", vote)
        following = (said.get("next") or {}).get("tasks") or [None]
        self.in_hand = following[0]
        if said and random.random() < _UNDO:
            again = self._say(f"/v1/annotations/{said['annotation_id']}:undo", "undo", None)
            self.in_hand = again.get("task") or self.in_hand

    def classes(self) -> list[str]:
        """The project's classes, asked for once."""
        if not hasattr(self, "_classes"):
            answer = self.client.get(f"/v1/projects/{self.project}", name="project").json()
            self._classes: list[str] = answer["classes"]
        return self._classes

    def _claimed(self) -> dict[str, Any] | None:
        path = f"/v1/projects/{self.project}/tasks:claim"
        answer = self.client.post(path, json={"max": 1, "wait_ms": 2000}, name="claim")
        tasks = answer.json()["tasks"] if answer.status_code == 200 else []
        return tasks[0] if tasks else None

    def _say(self, path: str, name: str, body: dict[str, Any] | None) -> dict[str, Any]:
        key = {"Idempotency-Key": uuid.uuid4().hex}
        answer = self.client.post(path, json=body, headers=key, name=name)
        return answer.json() if answer.ok else {}
