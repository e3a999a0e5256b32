"""A typed Python client of the labeling API, for programs that answer tasks: oracles, tools, bridges to other queues.

>>> from tiebreak.client import Client
>>> client = Client("http://127.0.0.1:8080", token="tb_...", project="digits")
>>> client.close()

:class:`Client` blocks, :class:`AsyncClient` awaits; they have the same methods. Retries carry the same Idempotency-Key, so that
nothing counts twice.
"""

from tiebreak.client.aio import AsyncClient
from tiebreak.client.errors import ApiError, Conflict, Denied, Invalid, NotFound, Unavailable
from tiebreak.client.models import (
    Annotation,
    Claim,
    Done,
    History,
    Lease,
    Me,
    Payload,
    ProjectInfo,
    Renewed,
    Reopened,
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
    "Denied",
    "Done",
    "History",
    "Invalid",
    "Lease",
    "Me",
    "NotFound",
    "Payload",
    "ProjectInfo",
    "Renewed",
    "Reopened",
    "Retries",
    "Task",
    "Unavailable",
]
