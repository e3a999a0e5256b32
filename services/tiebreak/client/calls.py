"""The requests of the API, described once for both clients. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar
from urllib.parse import quote

from tiebreak.client import models as m
from tiebreak.client.disputes import Dispute, dispute_of

T = TypeVar("T")
SLOW_S = 300.0
"""For what makes the server read its log again."""


def bearer(token: str) -> dict[str, str]:
    """The header that says who asks. Raises ValueError, without it: the transport's own error would read as a server that is away."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("token: is empty, or holds what no token can")
    return {"authorization": f"Bearer {token}"}


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request and how its answer is read. ``wait_s``: how long the server may think beyond the usual.

    ``key``: the Idempotency-Key of every attempt; whatever changes something has one of its own where none is given, so that whoever
    does not know how it ended may ask again.
    """

    method: str
    path: str
    read: Callable[[m.Json], T]
    body: Mapping[str, object] | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    wait_s: float = 0.0

    def __post_init__(self) -> None:
        if self.method != "GET" and not self.key:
            object.__setattr__(self, "key", str(uuid.uuid4()))

    def headers(self) -> dict[str, str]:
        """The same key for every attempt."""
        return {"Idempotency-Key": self.key} if self.key else {}


def claim(project: str, want: int, wait_s: float, skills: Sequence[str]) -> Call[m.Claim]:
    """Hold tasks."""
    body = {"max": want, "wait_ms": round(wait_s * 1000), **({"skills": list(skills)} if skills else {})}
    return Call("POST", f"{_project(project)}/tasks:claim", m.claim_of, body, wait_s=wait_s)


def submit(
    task: m.Task, answer: object, key: str, further: int = 0, /, **more: str | float | bool | None
) -> Call[m.Annotation]:
    """Answer a task with a class, or with other JSON; hold ``further`` tasks after it."""
    said = {"value": answer} if isinstance(answer, str) else {"answer": answer}
    more["answer_schema_version"] = task.answer_schema_version
    body = {"lease_token": task.lease.token, **said, **{k: v for k, v in more.items() if v not in (None, "", False)}}
    onward = {"next": str(further)} if further else {}
    return Call("POST", f"/v1/tasks/{task.task_id}/annotations", m.annotation_of, body, onward, key)


def skip(task: m.Task, reason: str, flagged: bool, key: str) -> Call[m.Annotation]:
    """Pass a task on."""
    body = {"lease_token": task.lease.token, "reason": reason, "flagged": flagged}
    return Call("POST", f"/v1/tasks/{task.task_id}:skip", m.annotation_of, body, key=key)


def undo(annotation_id: str, key: str) -> Call[m.Annotation]:
    """Take an answer back."""
    return Call("POST", f"/v1/annotations/{quote(annotation_id, safe='')}:undo", m.annotation_of, key=key)


def withdraw(annotation_id: str, key: str) -> Call[m.Annotation]:
    """Take an answer back, however old it is."""
    path = f"/v1/annotations/{quote(annotation_id, safe='')}:withdraw"
    return Call("POST", path, m.annotation_of, key=key, wait_s=SLOW_S)


def resume(project_name: str, person: str, key: str) -> Call[None]:
    """Let a paused person go on."""
    return Call("POST", f"{_person(project_name, person)}:resume", m.nothing_of, key=key)


def reopen(
    project_name: str, person: str, reason: str, since_ms: int | None, last: int | None, key: str
) -> Call[m.Reopened]:
    """Take a person's recent answers back."""
    given = {"since_ms": since_ms, "last": last}
    body = {"reason": reason, **{name: value for name, value in given.items() if value is not None}}
    return Call("POST", f"{_person(project_name, person)}:reopen", m.reopened_of, body, key=key, wait_s=SLOW_S)


def _project(name: str) -> str:
    return f"/v1/projects/{quote(name, safe='')}"


def _task_id(task: m.Task | m.Proposal | str) -> str:
    return task if isinstance(task, str) else task.task_id


def _person(project_name: str, person: str) -> str:
    return f"{_project(project_name)}/people/{quote(person, safe='')}"


def crowd(project_name: str) -> Call[m.Crowd]:
    """Figures of the project and of people."""
    return Call("GET", f"{_project(project_name)}/crowd", m.crowd_of)


def keep_gold(project_name: str, task: m.Task | m.Proposal | str, answer: str, reason: str, key: str) -> Call[str]:
    """Make gold of a task."""
    body = {"task_id": _task_id(task), "answer": answer, **({"reason": reason} if reason else {})}
    return Call("POST", f"{_project(project_name)}/gold", m.gold_of, body, key=key, wait_s=SLOW_S)


def gold_proposals(project_name: str, limit: int) -> Call[tuple[m.Proposal, ...]]:
    """What gold could be made of."""
    path = f"{_project(project_name)}/gold/proposals"
    return Call("GET", path, m.proposals_of, params={"limit": str(limit)}, wait_s=SLOW_S)


def decline_gold(project_name: str, proposal: m.Proposal | str, reason: str, key: str) -> Call[None]:
    """Make no gold of a proposed task."""
    path = f"{_project(project_name)}/gold/proposals/{quote(_task_id(proposal), safe='')}:decline"
    return Call("POST", path, m.nothing_of, {"reason": reason} if reason else None, key=key)


def reveal(task: m.Task | str, reason: str, key: str) -> Call[m.Revealed]:
    """See an original."""
    return Call(
        "POST", f"/v1/tasks/{quote(_task_id(task), safe='')}:reveal", m.revealed_of, {"reason": reason}, key=key
    )


def models(project_name: str) -> Call[m.Models]:
    """What serves, and what was decided."""
    return Call("GET", f"{_project(project_name)}/models", m.models_of)


def served(project_name: str, at: datetime | None) -> Call[m.Decision]:
    """By which decision a model served at a time."""
    when = {} if at is None else {"time": at.isoformat()}
    return Call("GET", f"{_project(project_name)}/models:at", m.decision_of, params=when)


def model(project_name: str, version: str) -> Call[m.Model]:
    """One model."""
    return Call("GET", _version(project_name, version), m.model_of)


def diff(project_name: str, version: str, other: str) -> Call[m.Diff]:
    """Two models."""
    return Call("GET", f"{_version(project_name, version)}/diff/{quote(other, safe='')}", m.diff_of)


def promote(project_name: str, version: str, reason: str, key: str) -> Call[str]:
    """Let a version serve."""
    return Call("POST", f"{_version(project_name, version)}:promote", m.serves_of, {"reason": reason}, key=key)


def word_on_models(project_name: str, deed: str, reason: str, key: str) -> Call[str]:
    """``rollback``, ``pin`` or ``unpin``."""
    return Call("POST", f"{_project(project_name)}/models:{deed}", m.serves_of, {"reason": reason}, key=key)


def _version(project_name: str, version: str) -> str:
    return f"{_project(project_name)}/models/{quote(version, safe='')}"


def answers(task: m.Task | str) -> Call[Dispute]:
    """What is in dispute."""
    return Call("GET", f"/v1/tasks/{quote(_task_id(task), safe='')}/answers", dispute_of)


def renew(task: m.Task) -> Call[m.Renewed]:
    """The heartbeat."""
    return Call("POST", f"/v1/leases/{task.lease.id}:renew", m.renewed_of)


def release(task: m.Task) -> Call[None]:
    """Give a task back."""
    return Call("POST", f"/v1/leases/{task.lease.id}:release", m.nothing_of)


def me() -> Call[m.Me]:
    """Who one is."""
    return Call("GET", "/v1/me", m.me_of)


def history(limit: int) -> Call[m.History]:
    """One's own answers."""
    return Call("GET", "/v1/me/annotations", m.history_of, params={"limit": str(limit)})


def project(name: str) -> Call[m.ProjectInfo]:
    """The project."""
    return Call("GET", _project(name), m.project_of)


def add_class(project_name: str, name: str, key: str) -> Call[str]:
    """Add a class to an open set."""
    return Call("POST", f"{_project(project_name)}/classes", m.class_of, {"name": name}, key=key)
