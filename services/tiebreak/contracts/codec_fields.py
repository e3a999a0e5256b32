"""How one field of a message crosses the wire: a pair of functions chosen from the field's type."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from tiebreak.contracts.errors import DeadReason

Convert = Callable[[Any], Any]

_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Refused(ValueError):
    """A value that may not cross. The text names the field and never repeats the value, which may be personal."""

    def __init__(self, reason: DeadReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def same(value: Any) -> Any:
    """Text, bytes, integers and booleans have one form on both sides."""
    return value


def finite(where: str) -> Convert:
    """A 64-bit float that is neither infinite nor NaN."""

    def check(value: float) -> float:
        if not math.isfinite(value):
            raise Refused(DeadReason.NOT_FINITE, f"{where} is not finite")
        return value

    return check


def finite_vector(where: str) -> Convert:
    """A tuple of finite 32-bit floats, from the wire."""

    def check(values: Iterable[float]) -> tuple[float, ...]:
        vector = tuple(values)
        # No message holds enough 32-bit floats for their sum to leave the range of a 64-bit one.
        if not math.isfinite(sum(vector)):
            raise Refused(DeadReason.NOT_FINITE, f"{where} has a value that is not a finite 32-bit float")
        return vector

    return check


def narrow_vector(where: str) -> Convert:
    """A tuple of numbers that are finite as 32-bit floats, to the wire."""

    def check(values: Iterable[float]) -> tuple[float, ...]:
        vector = tuple(values)
        # NaN fails every comparison but hides from min and max, so it is caught by the sum.
        if vector and not (math.isfinite(sum(vector)) and max(vector) <= _FLOAT32_MAX and min(vector) >= -_FLOAT32_MAX):
            raise Refused(DeadReason.NOT_FINITE, f"{where} has a value that is not a finite 32-bit float")
        return vector

    return check


def finite_map(where: str) -> Convert:
    """A mapping of text to finite 64-bit floats, in the order of its keys."""

    def check(values: Mapping[str, float]) -> dict[str, float]:
        if not all(map(math.isfinite, values.values())):
            raise Refused(DeadReason.NOT_FINITE, f"{where} has a value that is not finite")
        # A wire map has no order of its own: sorted, so that every replay walks it the same way.
        return dict(sorted(values.items()))

    return check


def enum(where: str, members: type[StrEnum], wire: EnumTypeWrapper, default: StrEnum | None) -> tuple[Convert, Convert]:
    """A closed set of names. On the wire ``Reason.AUDIT`` is ``REASON_AUDIT``.

    0 (unspecified: written before the field existed) becomes ``default``; without one it is refused, as unknown numbers are.
    """
    prefix = "".join(f"_{c}" if c.isupper() else c for c in members.__name__).strip("_").upper()
    number_of = {member: wire.Value(f"{prefix}_{member.name}") for member in members}
    member_of = {number: member for member, number in number_of.items()}
    if default is not None:
        member_of[0] = default

    def to_wire(value: StrEnum) -> int:
        return number_of[members(value)]

    def from_wire(number: int) -> StrEnum:
        if number not in member_of:
            raise Refused(DeadReason.UNDECODABLE, f"{where} is unspecified, or newer than this reader")
        return member_of[number]

    return to_wire, from_wire


def many(convert: Convert) -> Convert:
    """Each item of a repeated field."""

    def each(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(map(convert, values))

    return each
