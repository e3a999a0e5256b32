"""How far the timers of `privacy.retention` have come: an order on the audit trail, as an erasure is, by age and not by person. Pure.

A *horizon* is a moment (Unix ms): what is older is gone, for everybody and for ever. It moves in steps, so that processes that look
at their clocks at about the same time order the same, and so that a ledger is not changed every minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from tiebreak.contracts.audit import Action
from tiebreak.contracts.messages import AuditRecord
from tiebreak.contracts.topics import Topic

# The topics whose records are ended on the trail: stores are built from them, so that age alone must not decide what those hold.
ORDERED = (Topic.TASKS, Topic.ANNOTATIONS, Topic.LABELS)
_STEPS = 8
_BEFORE = "before "


def horizon_ms(kept_ms: int, now_ms: int) -> int:
    """What is older than this is not kept any more: ``kept_ms`` ago, or up to an eighth of it earlier.

    >>> [horizon_ms(800, now) for now in (1000, 1099, 1100)]
    [200, 200, 300]
    """
    step = step_ms(kept_ms)
    return (now_ms - kept_ms) // step * step


def step_ms(kept_ms: int) -> int:
    """Every horizon of what is kept for so long is a multiple of this."""
    return max(1, kept_ms // _STEPS)


def topic_ms(kept_ms: int) -> int:
    """For how long the log keeps the records themselves: never a shorter time than it takes the horizon to pass them.

    A reader would take what left the topic before it was ordered for something that never was.
    """
    return kept_ms + kept_ms // 4


def order_of(before_ms: int) -> str:
    """What the trail says of a horizon, for people too.

    >>> order_of(86_400_000)
    'before 1970-01-02T00:00:00.000+00:00'
    """
    return _BEFORE + datetime.fromtimestamp(before_ms / 1000, UTC).isoformat(timespec="milliseconds")


def horizons_in(records: Iterable[AuditRecord]) -> dict[Topic, int]:
    """The newest horizon of each topic that these records of the trail order."""
    found: dict[Topic, int] = {}
    for record in records:
        topic = next((t for t in ORDERED if t.value == record.target), None)
        before_ms = _ms(record.detail) if record.action == Action.RETENTION_ENDED else None
        if topic is not None and before_ms is not None:
            found[topic] = max(before_ms, found.get(topic, 0))
    return found


def later(known: Mapping[Topic, int], new: Mapping[Topic, int]) -> dict[Topic, int]:
    """Of each topic the later horizon.

    >>> later({Topic.TASKS: 5}, {Topic.TASKS: 3, Topic.LABELS: 4}) == {Topic.TASKS: 5, Topic.LABELS: 4}
    True
    """
    return {**known, **{topic: max(before_ms, known.get(topic, 0)) for topic, before_ms in new.items()}}


def _ms(detail: str) -> int | None:
    if not detail.startswith(_BEFORE):
        return None
    try:
        return round(datetime.fromisoformat(detail.removeprefix(_BEFORE)).timestamp() * 1000)
    except ValueError:
        return None
