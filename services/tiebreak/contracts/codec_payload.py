"""What people will look at, checked to be what it says: text is UTF-8, a table is a JSON object, a media type is one."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import replace

from tiebreak.contracts.codec_json import dump_json, no_more, parse_json, typed
from tiebreak.contracts.errors import BadRecord, DeadReason
from tiebreak.contracts.messages import Event, Payload, PayloadKind

_DEFAULT_MEDIA_TYPE = {
    PayloadKind.TEXT: "text/plain; charset=utf-8",
    PayloadKind.TABLE: "application/json",
    PayloadKind.IMAGE: "image/png",
}
# It becomes an HTTP header when the payload is shown: nothing that could end the header, no endless parameters.
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,80}(;[ -~]{0,80})?", re.ASCII)


def check_payload(payload: Payload) -> Payload:
    """``payload`` with a media type. Raises BadRecord (UNDECODABLE) where its data are not of its kind."""
    payload = replace(payload, media_type=payload.media_type or _DEFAULT_MEDIA_TYPE[payload.kind])
    if not _MEDIA_TYPE.fullmatch(payload.media_type):
        raise BadRecord(DeadReason.UNDECODABLE, "payload.media_type is not a media type")
    if payload.kind is PayloadKind.TEXT:
        try:
            payload.data.decode()
        except UnicodeDecodeError as error:
            raise BadRecord(DeadReason.UNDECODABLE, "payload.data is not UTF-8 text") from error
    if payload.kind is PayloadKind.TABLE and not isinstance(parse_json(payload.data, len(payload.data)), dict):
        raise BadRecord(DeadReason.UNDECODABLE, "payload.data is not a JSON object")
    return payload


def payload_of(event: Event) -> Payload | None:
    """What people look at: the event's payload, else its named fields as a table."""
    if event.payload is not None or event.fields is None:
        return event.payload
    data = json.dumps(dict(event.fields), ensure_ascii=False, separators=(",", ":"), default=str)
    return Payload(PayloadKind.TABLE, "application/json", data.encode("utf-8", "replace"))


def payload_from_json(body: object) -> Payload:
    """A payload from JSON: ``{"kind", "media_type", "data"}``, or bare text. ``data`` of an image is base64. Raises BadRecord."""
    if isinstance(body, str):
        body = {"kind": "text", "data": body}
    if not isinstance(body, dict):
        raise BadRecord(DeadReason.UNDECODABLE, "payload is neither text nor an object")
    no_more("payload", body.keys(), frozenset({"kind", "media_type", "data"}))
    kind = typed(body, "kind", str, "")
    if kind not in set(PayloadKind):
        raise BadRecord(DeadReason.UNDECODABLE, f"payload.kind is none of {', '.join(PayloadKind)}")
    data = _data(PayloadKind(kind), body.get("data"))
    return check_payload(Payload(PayloadKind(kind), typed(body, "media_type", str, ""), data))


def payload_to_json(payload: Payload) -> dict[str, object]:
    """The inverse of :func:`payload_from_json`."""
    data: object
    if payload.kind is PayloadKind.TABLE:
        data = parse_json(payload.data, len(payload.data))
    elif payload.kind is PayloadKind.TEXT:
        data = payload.data.decode("utf-8", "replace")
    else:
        data = base64.b64encode(payload.data).decode()
    return {"kind": payload.kind.value, "media_type": payload.media_type, "data": data}


def _data(kind: PayloadKind, data: object) -> bytes:
    if kind is PayloadKind.TABLE and isinstance(data, dict):
        return dump_json(data)
    if kind is PayloadKind.TEXT and isinstance(data, str):
        return data.encode()
    if kind is PayloadKind.IMAGE and isinstance(data, str):
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadRecord(DeadReason.UNDECODABLE, "payload.data is not base64") from error
    raise BadRecord(DeadReason.UNDECODABLE, f"payload.data does not fit kind {kind}")
