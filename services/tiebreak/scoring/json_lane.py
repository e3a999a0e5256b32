"""The fast lane for JSON events: the common shapes, straight to the tensor's bytes. Pure.

It answers only where it is sure of what the codec would say, and leaves all else to the codec, good or bad: a property test
holds the two together. The shapes: ``{"f1": 1.5, "f2": 2, ...}`` with exactly the project's fields, and Open Inference Protocol's
``{"inputs": [{"name", "datatype", "shape", "data"}]}`` with flat data; either with ``id`` and ``time_ms`` or without.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from math import prod
from operator import itemgetter
from typing import Any

import orjson

from tiebreak.contracts.codec_headers import MAX_TIME_MS, is_id
from tiebreak.contracts.project import Input, TensorSpec

# struct's codes; it refuses what does not fit, where numpy would wrap around or give infinity.
_CODES = {"FP32": "f", "FP64": "d", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B"}
_WHOLE = frozenset({int})
_NUMBERS = frozenset({int, float})
_ANOTHER_SHAPE = (ValueError, KeyError, TypeError, AttributeError, struct.error, OverflowError, RecursionError)
_NOT_FIELDS = frozenset({"id", "payload", "subject", "source", "time_ms"})


class JsonLane:
    """The lane of one project, for records whose headers say that they are JSON and nothing of the event."""

    def __init__(self, spec: Input) -> None:
        self._only = spec.tensors[0]
        self._fields = frozenset(spec.fields)
        self._max_bytes = spec.max_record_bytes
        self._pack = _packer(spec)
        self._types = _NUMBERS if self._only.datatype.startswith("FP") else _WHOLE
        self._pick = _picker(spec)

    def read(self, value: bytes | None) -> tuple[bytes, Sequence[bytes]] | None:
        """The event's own id (empty: it names none) and the bytes of its one tensor; None where the codec must look."""
        if not value or len(value) > self._max_bytes or self._pack is None:
            return None
        try:
            body = orjson.loads(value)
            keys = len(body)
            event_id, time_ms = body.pop("id", ""), body.pop("time_ms", 0)
            numbers, inner = self._numbers(body)
            # Each key brings a colon, so as many colons as keys prove that no key was given twice and dropped.
            sure = value.count(b":") == keys + inner and self._types.issuperset(map(type, numbers))
            data = self._pack(*numbers) if sure else b""
        except _ANOTHER_SHAPE:
            return None
        if type(event_id) is not str or type(time_ms) is not int or not 0 <= time_ms <= MAX_TIME_MS:
            return None
        return (event_id.encode(), (data,)) if sure and (not event_id or is_id(event_id)) else None

    def _numbers(self, body: dict[str, Any]) -> tuple[Sequence[Any], int]:
        """The tensor's numbers, and how many keys lie deeper than the body's own. Raises KeyError where the shape is another."""
        if self._pick is not None and len(body) == len(self._fields):
            return self._pick(body), 0
        (tensor,) = body["inputs"]
        if len(body) != 1 or "inputs" in self._fields or len(tensor) != 4 or not _matches(tensor, self._only):
            raise KeyError("inputs")
        numbers = tensor["data"]
        if type(numbers) is not list:
            raise KeyError("data")
        return numbers, 4


def _matches(tensor: dict[str, Any], spec: TensorSpec) -> bool:
    shape = tensor["shape"]
    return (
        tensor["name"] == spec.name
        and tensor["datatype"] == spec.datatype
        and type(shape) is list
        and {int}.issuperset(map(type, shape))
        and tuple(shape) in (spec.shape, (1, *spec.shape))
    )


def _packer(spec: Input) -> Callable[..., bytes] | None:
    only = spec.tensors[0]
    if len(spec.tensors) != 1 or only.datatype not in _CODES or not _NOT_FIELDS.isdisjoint(spec.fields):
        return None
    return struct.Struct(f"<{prod(only.shape)}{_CODES[only.datatype]}").pack


def _picker(spec: Input) -> Callable[[dict[str, Any]], Sequence[Any]] | None:
    if not spec.fields:
        return None
    pick = itemgetter(*spec.fields)
    if len(spec.fields) > 1:
        return pick
    return lambda body: (pick(body),)
