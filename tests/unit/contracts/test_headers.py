"""Headers: bounded, unambiguous, and harmless when they only carry a trace."""

from __future__ import annotations

import pytest

from tests.support.records import VECTOR, floats, record
from tiebreak.contracts import codec
from tiebreak.contracts.errors import BadRecord, DeadReason
from tiebreak.contracts.log import Headers

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_what_we_write_is_what_we_read() -> None:
    """Our own headers come back as the event's id, source and time, and as the trace to carry on."""
    headers = codec.headers_for(codec.OCTETS, traceparent=TRACE, event_id="ü1", source="/a", time_ms=1_795_424_400_007)

    event = codec.decode_event(record(floats(1, 2, 3), headers=headers), VECTOR)

    assert (event.event_id, event.source, event.time_ms) == ("ü1", "/a", 1_795_424_400_007)
    assert codec.traceparent_of(headers) == TRACE


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        pytest.param([("n", b"")] * 10_000, DeadReason.OVERSIZED, id="10,000 headers"),
        pytest.param([("traceparent", b"0" * 2**20)], DeadReason.OVERSIZED, id="a trace id of 1 MB"),
        pytest.param([("ce_id", b"a"), ("ce_id", b"b")], DeadReason.UNDECODABLE, id="two ids"),
        pytest.param([("content-type", b"application/json")], DeadReason.UNDECODABLE, id="two content types"),
        pytest.param([("ce_id", b"\xff")], DeadReason.UNDECODABLE, id="an id not UTF-8"),
        pytest.param([("ce_id", b"")], DeadReason.UNDECODABLE, id="an empty id"),
        pytest.param([("ce_id", b"a\x1b[31m")], DeadReason.UNDECODABLE, id="a terminal escape in the id"),
        pytest.param([("ce_id", "a\u2028b".encode())], DeadReason.UNDECODABLE, id="a line separator in the id"),
        pytest.param([("ce_id", ("ü" * 300).encode())], DeadReason.UNDECODABLE, id="600 bytes of id"),
        pytest.param([("ce_time", b"yesterday")], DeadReason.UNDECODABLE, id="no time"),
        pytest.param([("ce_time", b"2026-11-23T10:00:00")], DeadReason.UNDECODABLE, id="a time without a zone"),
        pytest.param([("ce_time", b"1969-12-31T23:59:59Z")], DeadReason.UNDECODABLE, id="before 1970"),
        pytest.param([("ce_time", b"0001-01-01T00:00:00+23:59")], DeadReason.UNDECODABLE, id="before year 1 in UTC"),
        pytest.param([("ce_source", b"s" * 1025)], DeadReason.OVERSIZED, id="a long source"),
    ],
)
def test_bad_headers_set_the_record_aside(headers: Headers, reason: DeadReason) -> None:
    """Headers that name the event twice, wrongly or endlessly are a bad record."""
    with pytest.raises(BadRecord) as caught:
        codec.decode_event(record(floats(1, 2, 3), codec.OCTETS, headers=headers), VECTOR)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("traceparent", b"")],
        [("traceparent", TRACE.upper().encode())],
        [("traceparent", b"ff" + TRACE[2:].encode())],
        [("traceparent", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01")],
        [("traceparent", TRACE.encode() + b"-")],
        [("traceparent", b"\xff" * 55)],
        [("traceparent", TRACE.encode())] * 2,
    ],
)
def test_a_broken_trace_restarts_and_harms_nothing(headers: Headers) -> None:
    """A trace context that breaks the W3C grammar is dropped, and its record is read as ever."""
    assert codec.traceparent_of(headers) == ""
    assert codec.decode_event(record(floats(1, 2, 3), codec.OCTETS, headers=headers), VECTOR).event_id == "k1"
