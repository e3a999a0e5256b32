"""Hypothesis strategies for every message, made from the dataclasses themselves."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

from hypothesis import strategies as st

from tiebreak.contracts import messages as m
from tiebreak.contracts.codec_messages import WIRE
from tiebreak.contracts.tensors import Tensor

KINDS = tuple(WIRE)

float32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
float64 = st.floats(allow_nan=False, allow_infinity=False)
# What UTF-8 can hold: everything but lone surrogates.
text = st.text(st.characters(codec="utf-8"), max_size=20)
name = text.filter(bool)
int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
vector = st.lists(float32, max_size=8).map(tuple)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | float64 | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)

_INT32 = {"source_partition", "partition", "votes_wanted", "schema_version", "schema_added", "revision"}
_SPECIAL: dict[tuple[type, str], st.SearchStrategy[Any]] = {
    (m.Event, "fields"): st.none(),
    (Tensor, "shape"): st.lists(st.integers(0, 2**31), max_size=3).map(tuple),
    (m.Manifest, "inputs"): st.dictionaries(text, st.tuples(text, st.lists(int32, max_size=3).map(tuple)), max_size=3),
}


def messages(kind: type) -> st.SearchStrategy[Any]:
    """Any encodable message of ``kind``."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{f.name: _value(kind, f.name, hints[f.name]) for f in fields(kind)})


def _value(kind: type, field: str, hint: Any) -> st.SearchStrategy[Any]:
    if (kind, field) in _SPECIAL:
        return _SPECIAL[kind, field]
    if hint is str:
        return name
    if hint is int:
        return int32 if field in _INT32 else int64
    if hint is float:
        return float64
    if hint in KINDS:
        return messages(hint)
    return _composite(hint)


def _composite(hint: Any) -> st.SearchStrategy[Any]:
    by_text = {
        "tuple[float, ...]": vector,
        "tuple[str, ...]": st.lists(text, max_size=3).map(tuple),
        "collections.abc.Mapping[str, float]": st.dictionaries(text, float64, max_size=3),
    }
    if str(hint) in by_text:
        return by_text[str(hint)]
    for kind in KINDS:
        if str(hint) == f"tuple[{kind.__module__}.{kind.__name__}, ...]":
            return st.lists(messages(kind), max_size=2).map(tuple)
        if hint == kind | None:
            return st.none() | messages(kind)
    return st.from_type(hint)
