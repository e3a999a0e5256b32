"""Masking of any text whatever: nothing personal is left, nothing else is lost, and no payload stops the stream."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.privacy_corpus import corpus
from tiebreak.contracts.messages import Payload, PayloadKind
from tiebreak.contracts.project import Privacy
from tiebreak.runtime.masks import masked
from tiebreak.runtime.presidio_mask import Masker

MASKER = Masker(Privacy(mask=True))
VALUES = sorted({value for item in corpus() for _, value in item.personal})
# Around a value: anything but what would make it part of a longer word or number.
AROUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
KINDS = st.sampled_from([PayloadKind.TEXT, PayloadKind.TABLE, PayloadKind.IMAGE])


@settings(max_examples=150, deadline=None)
@given(before=AROUND, value=st.sampled_from(VALUES), after=AROUND)
def test_a_value_is_covered_whatever_stands_around_it(before: str, value: str, after: str) -> None:
    """Between two line breaks a labelled value never survives, whatever the lines before and after hold."""
    shown = MASKER.mask(Payload(PayloadKind.TEXT, "text/plain", f"{before}\n{value}\n{after}".encode()))
    assert f"\n{value}\n" not in shown.data.decode()


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=300))
def test_what_is_not_masked_stays_as_it_is(text: str) -> None:
    """Taking the masks out again gives the rest of the text, character by character, invisible ones too."""
    spans = MASKER.find(text)

    class Nameless:
        """Masks of no length."""

        def of(self, _entity: str, _value: str) -> str:
            return ""

    rest = masked(text, spans, Nameless())  # type: ignore[arg-type]  # only `of` is asked for
    kept, end = [], 0
    for span in spans:
        kept.append(text[end : span.start])
        end = span.end
    assert rest == "".join([*kept, text[end:]])
    assert all(a.end <= b.start for a, b in pairwise(spans))


@settings(max_examples=200, deadline=None)
@given(kind=KINDS, data=st.binary(max_size=400) | st.text(max_size=200).map(lambda s: s.encode("utf-8", "replace")))
def test_any_bytes_become_a_payload_that_can_be_shown(kind: PayloadKind, data: bytes) -> None:
    """Broken UTF-8, broken JSON, a picture of nothing: words or a table come out, and no exception."""
    shown = MASKER.mask(Payload(kind, "", data))
    assert shown.kind in {PayloadKind.TEXT, PayloadKind.TABLE}
    shown.data.decode()


NUMBERS = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(row=st.dictionaries(st.text(max_size=8), JSON, min_size=1, max_size=6))
def test_a_table_keeps_its_shape(row: dict[str, object]) -> None:
    """Keys, nesting and everything that is neither text nor number are the same after masking."""
    shown = MASKER.mask(Payload(PayloadKind.TABLE, "application/json", json.dumps(row).encode()))
    if shown.kind is PayloadKind.TABLE:
        assert _shape(json.loads(shown.data)) == _shape(row)


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return value if value is None or isinstance(value, bool) else "leaf"
