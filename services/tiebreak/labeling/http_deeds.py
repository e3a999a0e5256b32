"""The Idempotency-Key of a request, and the record of the audit trail by which a deed that comes again is known (ADR 0045)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header

from tiebreak.contracts.audit import Action, words_of
from tiebreak.contracts.errors import Invalid
from tiebreak.contracts.messages import AuditRecord
from tiebreak.labeling.access import Principal
from tiebreak.labeling.port import Refusal
from tiebreak.labeling.refusals import refused
from tiebreak.runtime.audit_trail import AuditTrail

_KEY = re.compile(r"[A-Za-z0-9._:-]{1,128}")

Key = Annotated[str, Header(alias="Idempotency-Key", max_length=128)]


def idempotency_key(text: str) -> str:
    """1 to 128 of ``A-Za-z0-9._:-``. Raises Invalid."""
    if not _KEY.fullmatch(text):
        raise Invalid("An Idempotency-Key has 1 to 128 letters, digits or ._:-", fix="A random UUID does.")
    return text


# Not a plain function: the framework would send those to a thread, once per request.
async def _given(
    idempotency: Annotated[str | None, Header(alias="Idempotency-Key", max_length=128)] = None,
) -> str:
    return "" if idempotency is None else idempotency_key(idempotency)


KeyIfAny = Annotated[str, Depends(_given)]
"""For what is safe to repeat without one, or takes one if it is given: empty where there is none."""


async def begun(trail: AuditTrail | None, who: Principal, action: Action, key: str) -> AuditRecord | None:
    """The record of the deed that this key was used for. Raises Unreachable."""
    return await trail.deed(who.name, action, key) if key and trail is not None else None


def check_same(before: AuditRecord | None, target: str, words: str = "") -> None:
    """Raise Refused where ``before``, which has this request's key, is about another target, or in other words."""
    if before is not None and (before.target, words_of(before)) != (target, words):
        raise refused(Refusal.KEY_REUSED)


async def on_record(
    trail: AuditTrail, who: Principal, action: Action, target: str, words: str, key: str
) -> AuditRecord:
    """The record of this deed: a new one, or the one that its key stands for.

    Raises Refused where the key was used for another deed, and what the trail raises: then nothing may be done.
    """
    record = await trail.append(who.name, action, target, words, key)
    check_same(record, target, words)
    return record
