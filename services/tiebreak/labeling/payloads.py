"""What an annotator is shown of a task, and nothing else: never the prediction, the score, the reason, audit or gold. Pure."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Literal

from tiebreak.contracts.codec import dump_json, parse_json
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.messages import Payload, PayloadKind

# SVG is left out: it is a document that can hold scripts and links.
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})
Cell = str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One of ``text``, ``image`` (base64) or ``columns`` is filled, by ``kind``; ``none`` when there is nothing to show."""

    kind: Literal["text", "image", "table", "none"]
    media_type: str = ""
    text: str = ""
    image: str = ""
    columns: tuple[tuple[str, Cell], ...] = ()


def shown(payload: Payload | None) -> Shown:
    """The payload for a person's eyes. Whatever is malformed becomes plain text: a page must never fail on a task's content.

    >>> shown(Payload(PayloadKind.TABLE, "application/json", b'{"amount": 3.5}')).columns
    (('amount', 3.5),)
    >>> shown(Payload(PayloadKind.IMAGE, "image/svg+xml", b"<svg/>")).kind
    'none'
    """
    if payload is None:
        return Shown("none")
    match payload.kind:
        case PayloadKind.IMAGE if payload.media_type in IMAGE_TYPES:
            return Shown("image", payload.media_type, image=b64encode(payload.data).decode("ascii"))
        case PayloadKind.IMAGE:
            return Shown("none", payload.media_type)
        case PayloadKind.TABLE:
            return _table(payload)
        case PayloadKind.TEXT:
            return Shown("text", payload.media_type, text=payload.data.decode("utf-8", "replace"))


def _table(payload: Payload) -> Shown:
    try:
        row = parse_json(payload.data, max_bytes=len(payload.data))
    except BadRecord:
        row = None
    if not isinstance(row, dict):
        return Shown("text", "text/plain", text=payload.data.decode("utf-8", "replace"))
    return Shown("table", payload.media_type, columns=tuple((str(name), _cell(value)) for name, value in row.items()))


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, str | float | int | bool):
        return value
    return dump_json(value).decode()
