"""What travels in a record's headers: the content type, CloudEvents attributes (Kafka binary mode), W3C trace context.

Specs: CloudEvents Kafka protocol binding 1.0.2, section 3.2; W3C Trace Context level 1, section 3.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from tiebreak.contracts.errors import BadRecord, DeadReason
from tiebreak.contracts.log import Headers

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
OCTETS = "application/octet-stream"

MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 2**10
MAX_ID_BYTES = 512
MAX_TIME_MS = 253_402_300_799_999  # the end of year 9999

_ALIASES = {
    "application/protobuf": PROTOBUF,
    "application/vnd.google.protobuf": PROTOBUF,
}
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
# Control characters forge log lines and Redis keys; the separators U+2028 and U+2029 end a line for some readers.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Envelope:
    """The headers we act on; empty text and None where a header is absent."""

    content_type: str = ""
    event_id: str = ""
    source: str = ""
    subject: str = ""
    time_ms: int | None = None


_OURS = frozenset({"content-type", "ce_id", "ce_source", "ce_subject", "ce_time"})


def headers_for(
    content_type: str, *, traceparent: str = "", event_id: str = "", source: str = "", time_ms: int | None = None
) -> Headers:
    """The headers of a record to publish; what is empty is left out.

    >>> headers_for(OCTETS, event_id="e1")
    [('content-type', b'application/octet-stream'), ('ce_specversion', b'1.0'), ('ce_id', b'e1')]
    """
    headers = [("content-type", content_type.encode())]
    if event_id or source or time_ms is not None:
        headers.append(("ce_specversion", b"1.0"))
    if event_id:
        headers.append(("ce_id", event_id.encode()))
    if source:
        headers.append(("ce_source", source.encode()))
    if time_ms is not None:
        at = datetime.fromtimestamp(time_ms / 1000, UTC)
        headers.append(("ce_time", at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()))
    if traceparent:
        headers.append(("traceparent", traceparent.encode()))
    return headers


def traceparent_of(headers: Headers) -> str:
    """The W3C ``traceparent`` to carry on, or empty: a malformed or repeated one restarts the trace and harms nothing."""
    values = [value for name, value in headers if name == "traceparent"]
    if len(values) != 1 or len(values[0]) > 55:
        return ""
    text = values[0].decode("ascii", "replace")
    return text if _TRACEPARENT.fullmatch(text) else ""


def envelope_of(headers: Headers) -> Envelope:
    """The headers we act on. Raises BadRecord: OVERSIZED for too many or too long, UNDECODABLE for malformed or repeated."""
    if not headers:
        return Envelope()
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value or b"") for name, value in headers) > MAX_HEADER_BYTES:
        raise BadRecord(DeadReason.OVERSIZED, f"more than {MAX_HEADERS} headers, or {MAX_HEADER_BYTES} bytes of them")
    found: dict[str, str] = {}
    for name, value in headers:
        if name not in _OURS:
            continue
        if name in found:
            raise BadRecord(DeadReason.UNDECODABLE, f"header {name} is repeated")
        found[name] = _text(name, value)
    return Envelope(
        content_type=_content_type(found.get("content-type", "")),
        event_id=check_id("header ce_id", found["ce_id"]) if "ce_id" in found else "",
        source=found.get("ce_source", ""),
        subject=found.get("ce_subject", ""),
        time_ms=_time_ms(found["ce_time"]) if "ce_time" in found else None,
    )


def check_id(where: str, text: str) -> str:
    """``text`` when it may name an event. Raises BadRecord (UNDECODABLE) when it is empty, too long or has control characters."""
    if not is_id(text):
        raise BadRecord(
            DeadReason.UNDECODABLE, f"{where} is not 1 to {MAX_ID_BYTES} bytes of text without control characters"
        )
    return text


def is_id(text: str) -> bool:
    """Whether ``text`` may name an event: 1 to 512 bytes of UTF-8 without control characters.

    >>> is_id("e1"), is_id(""), is_id("e1\\n")
    (True, False, False)
    """
    # Four bytes at most per character, so short text needs no encoding to be known short.
    short = len(text) <= MAX_ID_BYTES // 4 or len(text.encode("utf-8", "surrogatepass")) <= MAX_ID_BYTES
    return bool(text) and short and not _CONTROL.search(text)


def check_time_ms(where: str, value: int) -> int:
    """A Unix time in milliseconds from 0 to the end of year 9999. Raises BadRecord (UNDECODABLE): nanoseconds fall outside."""
    if not 0 <= value <= MAX_TIME_MS:
        raise BadRecord(DeadReason.UNDECODABLE, f"{where} is not a Unix time in milliseconds")
    return value


def _text(name: str, value: bytes | None) -> str:
    try:
        return (value or b"").decode()
    except UnicodeDecodeError as error:
        raise BadRecord(DeadReason.UNDECODABLE, f"header {name} is not UTF-8") from error


def _content_type(text: str) -> str:
    """The media type in lower case, parameters dropped; another charset than UTF-8 is refused."""
    if not text:
        return ""
    media_type, _, parameters = text.lower().partition(";")
    media_type = media_type.strip()
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters)
    if charset and charset[1] not in {"utf-8", "utf8", "us-ascii"}:
        raise BadRecord(DeadReason.UNDECODABLE, "content-type names a charset other than UTF-8")
    return _ALIASES.get(media_type, media_type)


def _time_ms(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRecord(DeadReason.UNDECODABLE, "header ce_time is not an RFC 3339 time") from error
    if at.tzinfo is None:
        raise BadRecord(DeadReason.UNDECODABLE, "header ce_time has no zone")
    try:
        return check_time_ms("header ce_time", int(at.timestamp() * 1000))
    except OverflowError as error:
        raise BadRecord(DeadReason.UNDECODABLE, "header ce_time is out of range") from error
