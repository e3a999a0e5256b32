"""A typed Python client of the labeling API, for programs: oracles, tools, bridges to other queues, reports.

>>> from tiebreak.client import Client
>>> client = Client("http://127.0.0.1:8080", token="tb_...", project="digits")
>>> client.close()

:class:`Client` blocks, :class:`AsyncClient` awaits; they have the same methods. Retries carry the same Idempotency-Key, so that
nothing counts twice.
"""

from tiebreak.client.aio import AsyncClient
from tiebreak.client.disputes import Dispute, DisputedAnswer
from tiebreak.client.errors import ApiError, Conflict, Denied, Invalid, NotFound, Unavailable
from tiebreak.client.models import (
    Annotation,
    Claim,
    Crowd,
    Decision,
    Diff,
    Done,
    History,
    Lease,
    Me,
    Model,
    Models,
    Payload,
    Person,
    ProjectInfo,
    Proposal,
    Renewed,
    Reopened,
    Revealed,
    Standing,
    Task,
)
from tiebreak.client.retries import Retries
from tiebreak.client.sync import Client

__all__ = [
    "Annotation",
    "ApiError",
    "AsyncClient",
    "Claim",
    "Client",
    "Conflict",
    "Crowd",
    "Decision",
    "Denied",
    "Diff",
    "Dispute",
    "DisputedAnswer",
    "Done",
    "History",
    "Invalid",
    "Lease",
    "Me",
    "Model",
    "Models",
    "NotFound",
    "Payload",
    "Person",
    "ProjectInfo",
    "Proposal",
    "Renewed",
    "Reopened",
    "Retries",
    "Revealed",
    "Standing",
    "Task",
    "Unavailable",
]
