"""The codec: messages to bytes and back. The only door between our dataclasses and the wire.

``encode`` takes every message; each kind has its ``decode_<kind>``, which raises BadRecord for whatever is wrong with the
bytes and never anything else. Events come in more forms than protobuf: ``decode_event`` reads them all.
"""

from __future__ import annotations

from tiebreak.contracts import messages as m
from tiebreak.contracts.codec_events import decode_event, event_to_json
from tiebreak.contracts.codec_headers import JSON, OCTETS, PROTOBUF, headers_for, traceparent_of
from tiebreak.contracts.codec_json import dump_json, parse_json
from tiebreak.contracts.codec_messages import MAX_MESSAGE_BYTES, decode, encode, peek
from tiebreak.contracts.codec_plain import from_json, to_json

__all__ = [
    "JSON",
    "MAX_MESSAGE_BYTES",
    "OCTETS",
    "PROTOBUF",
    "decode",
    "decode_annotation",
    "decode_audit",
    "decode_dead",
    "decode_drift",
    "decode_event",
    "decode_label",
    "decode_manifest",
    "decode_model",
    "decode_prediction",
    "decode_task",
    "dump_json",
    "encode",
    "event_to_json",
    "from_json",
    "headers_for",
    "parse_json",
    "peek",
    "to_json",
    "traceparent_of",
]


def decode_prediction(raw: bytes | None) -> m.Prediction:
    """A record of topic ``predictions``. Raises BadRecord."""
    return decode(m.Prediction, raw)


def decode_task(raw: bytes | None) -> m.Task:
    """A record of topic ``tasks``. Raises BadRecord."""
    return decode(m.Task, raw)


def decode_annotation(raw: bytes | None) -> m.Annotation:
    """A record of topic ``annotations``. Raises BadRecord."""
    return decode(m.Annotation, raw)


def decode_label(raw: bytes | None) -> m.Label:
    """A record of topic ``labels``. Raises BadRecord."""
    return decode(m.Label, raw)


def decode_model(raw: bytes | None) -> m.ModelRecord:
    """A record of topic ``models``. Raises BadRecord."""
    return decode(m.ModelRecord, raw)


def decode_manifest(raw: bytes | None) -> m.Manifest:
    """A model's manifest as protobuf. Raises BadRecord."""
    return decode(m.Manifest, raw)


def decode_drift(raw: bytes | None) -> m.DriftRecord:
    """A record of topic ``drift``. Raises BadRecord."""
    return decode(m.DriftRecord, raw)


def decode_dead(raw: bytes | None) -> m.DeadLetter:
    """A record of topic ``dead``. Raises BadRecord."""
    return decode(m.DeadLetter, raw)


def decode_audit(raw: bytes | None) -> m.AuditRecord:
    """A record of topic ``audit``. Raises BadRecord."""
    return decode(m.AuditRecord, raw)
