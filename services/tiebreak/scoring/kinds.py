"""Which lane each record of a batch may take, by its headers alone. Pure.

Records of one producer have the same headers but for the trace, which is another one for each event: headers are looked at once per
batch and kind, with the trace set apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiebreak.contracts.codec_headers import envelope_of
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.log import Headers

# No lane: the headers are wrong, or say something of the event that only the codec takes in.
CODEC = "the codec's"
_TRACE = "traceparent"
_LONGEST_TRACE = b"0" * 55
_LONGEST_TEXT = 1024


def kinds_of(headers: Sequence[Headers]) -> Sequence[str]:
    """Per record its content type (empty: none is said), or :data:`CODEC`."""
    if not headers:
        return ()
    if headers.count(headers[0]) == len(headers):
        return [_kind(headers[0])] * len(headers)
    known: dict[Headers, str] = {}
    kinds: list[str] = []
    for each in headers:
        apart = _without_trace(each)
        kind = known.get(apart)
        if kind is None:
            kind = known[apart] = _kind(apart)
        kinds.append(kind)
    return kinds


def _without_trace(headers: Headers) -> Headers:
    """The headers with every trace of usual length made the same one: as many, and none shorter than it was."""
    return tuple(
        (name, _LONGEST_TRACE) if name == _TRACE and len(value) <= len(_LONGEST_TRACE) else (name, value)
        for name, value in headers
    )


def _kind(headers: Headers) -> str:
    try:
        envelope = envelope_of(headers)
    except BadRecord:
        return CODEC
    if envelope.event_id or max(len(envelope.source), len(envelope.subject)) > _LONGEST_TEXT:
        return CODEC
    return envelope.content_type
