"""The codec under Hypothesis: what is written is read back, and no bytes at all can make it fail in an unforeseen way."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.messages import KINDS, json_values, messages
from tiebreak.contracts import codec
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.messages import Event


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@given(data=st.data())
def test_what_is_encoded_is_read_back_whole(kind: type, data: st.DataObject) -> None:
    """Every message comes back equal, field for field."""
    message = data.draw(messages(kind))

    assert codec.decode(kind, codec.encode(message)) == message


@given(event=messages(Event), fields=st.dictionaries(st.text("abc", max_size=3), json_values, max_size=4))
def test_named_fields_come_back_as_the_same_json(event: Event, fields: dict[str, Any]) -> None:
    """An event with named JSON values keeps them exactly: integers stay integers, text stays text."""
    event = replace(event, inputs=(), fields=fields)

    assert codec.decode(Event, codec.encode(event)) == event


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@given(raw=st.binary(max_size=200))
def test_random_bytes_raise_only_bad_record(kind: type, raw: bytes) -> None:
    """Bytes from nowhere are a bad record or a message, never another error."""
    with suppress(BadRecord):
        assert isinstance(codec.decode(kind, raw), kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@given(data=st.data())
def test_a_damaged_message_raises_only_bad_record(kind: type, data: st.DataObject) -> None:
    """A good message with bytes flipped, cut or inserted is a bad record or another message, never another error."""
    raw = bytearray(codec.encode(data.draw(messages(kind))) or b"\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(raw) - 1, 0)))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    with suppress(BadRecord):
        decoded: object = codec.decode(kind, bytes(raw))
        # What was accepted can also be published again.
        assert codec.decode(kind, codec.encode(decoded)) == decoded
