"""Messages as plain JSON: webhooks, the manifest beside a model, exports, the terminal. ``schemas/`` describes exactly this form.

Names are the dataclass's, times are Unix milliseconds, sets of names are their values, bytes are base64, vectors are lists.
"""

from __future__ import annotations

import base64
import binascii
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import orjson

from tiebreak.contracts.codec_json import parse_json
from tiebreak.contracts.codec_messages import MAX_MESSAGE_BYTES, decode, encode
from tiebreak.contracts.errors import BadRecord, DeadReason, Invalid

T = TypeVar("T")


def to_json(message: object) -> bytes:
    """The message as JSON, fields in their declared order. Raises Invalid where :func:`encode` would."""
    encode(message)  # what the wire refuses (NaN, an empty id) has no JSON either; orjson would write null
    try:
        return orjson.dumps(message, default=_base64)
    except orjson.JSONEncodeError as error:
        raise Invalid(f"{type(message).__name__} has no JSON form: {error}") from error


def from_json(kind: type[T], raw: bytes) -> T:
    """The inverse of :func:`to_json`. Keys that are not ours (from a newer writer) are ignored. Raises BadRecord."""
    message = cast("T", _build(kind.__name__, kind, parse_json(raw, MAX_MESSAGE_BYTES)))
    try:
        return decode(kind, encode(message))
    except Invalid as error:
        raise BadRecord(DeadReason.UNDECODABLE, error.message) from error


def _base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _build(where: str, hint: Any, value: object) -> Any:
    if get_origin(hint) in {Union, types.UnionType}:
        inner = next(argument for argument in get_args(hint) if argument is not types.NoneType)
        return None if value is None else _build(where, inner, value)
    if get_origin(hint) is tuple:
        return _tuple(where, get_args(hint), value)
    if get_origin(hint) is not None:
        return _mapping(where, get_args(hint)[1], value)
    if is_dataclass(hint):
        return _dataclass(where, cast("type", hint), value)
    return _scalar(where, hint, value)


def _dataclass(where: str, kind: type, value: object) -> object:
    if not isinstance(value, dict):
        raise _wrong(where, "an object")
    hints = get_type_hints(kind)
    values = {}
    for f in fields(kind):
        if f.name in value:
            values[f.name] = _build(f"{where}.{f.name}", hints[f.name], value[f.name])
        elif f.default is MISSING and f.default_factory is MISSING:
            raise _wrong(f"{where}.{f.name}", "present")
    made: object = kind(**values)
    return made


def _tuple(where: str, items: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(where, "a list")
    if items[-1] is ...:
        return tuple(_build(where, items[0], each) for each in value)
    if len(value) != len(items):
        raise _wrong(where, f"a list of {len(items)}")
    return tuple(_build(where, item, each) for item, each in zip(items, value, strict=True))


def _mapping(where: str, item: Any, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object")
    return dict(value) if item is object else {name: _build(where, item, each) for name, each in value.items()}


def _scalar(where: str, hint: type, value: object) -> object:
    if hint is float and type(value) is int and math.isfinite(value):
        return float(value)
    if hint is bytes and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _wrong(where, "base64") from error
    if issubclass(hint, StrEnum):
        if value not in [member.value for member in hint]:
            raise _wrong(where, f"one of {', '.join(hint)}")
        return hint(value)
    # By exact type: true is no integer.
    if type(value) is not hint:
        raise _wrong(where, f"of type {hint.__name__}")
    return value


def _wrong(where: str, wanted: str) -> BadRecord:
    return BadRecord(DeadReason.UNDECODABLE, f"{where} must be {wanted}")
