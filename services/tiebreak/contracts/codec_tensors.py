"""Tensors of an event against what the project expects: names, datatypes, shapes, and only finite numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from tiebreak.contracts.errors import BadRecord, DeadReason
from tiebreak.contracts.project import Input, TensorSpec
from tiebreak.contracts.tensors import NUMPY_OF, Tensor

_NUMBERS = frozenset({int, float})
_ACCEPTED: Mapping[str, frozenset[type]] = {
    **{name: frozenset({int}) for name in ("UINT8", "INT8", "INT16", "INT32", "INT64")},
    **dict.fromkeys(("FP16", "FP32", "FP64"), _NUMBERS),
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str}),
}


def match_tensors(tensors: Sequence[Tensor], spec: Input) -> tuple[Tensor, ...]:
    """The tensors in the project's order and shapes. A batch axis of 1 in front is taken off.

    Raises BadRecord: WRONG_TENSOR for a name, datatype, shape or size that differs, NOT_FINITE for NaN and infinities.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    expected = {each.name for each in spec.tensors}
    if len(by_name) != len(tensors) or by_name.keys() != expected:
        raise BadRecord(DeadReason.WRONG_TENSOR, f"inputs must be exactly: {', '.join(sorted(expected))}")
    return tuple(match_tensor(by_name[each.name], each) for each in spec.tensors)


def match_tensor(tensor: Tensor, spec: TensorSpec) -> Tensor:
    """One tensor of :func:`match_tensors`."""
    if tensor.datatype != spec.datatype:
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name} must be {spec.datatype}")
    check_bytes(tensor.data, spec)
    if tensor.shape == spec.shape:
        return tensor
    if tensor.shape != (1, *spec.shape):
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name} must have shape {list(spec.shape)}")
    return Tensor(tensor.name, tensor.datatype, spec.shape, tensor.data)


def check_bytes(data: bytes, spec: TensorSpec) -> None:
    """The raw bytes of one tensor: their number, and that floats are finite and booleans 0 or 1. Raises BadRecord."""
    if spec.datatype == "BYTES":
        _check_strings(data, spec)
        return
    dtype = NUMPY_OF[spec.datatype]
    size = prod(spec.shape) * dtype.itemsize
    if len(data) != size:
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name} must have {size} bytes")
    if dtype.kind == "f" and not np.isfinite(np.frombuffer(data, dtype)).all():
        raise BadRecord(DeadReason.NOT_FINITE, f"{spec.name} has a value that is not finite")
    if dtype.kind == "b" and max(data) > 1:
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name} has a byte that is neither 0 nor 1")


def from_json(data: object, shape: Sequence[int], spec: TensorSpec) -> Tensor:
    """A tensor from JSON numbers (strings for BYTES), flat in C order or nested as ``shape`` says. Raises BadRecord."""
    if tuple(shape) not in {spec.shape, (1, *spec.shape)}:
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name} must have shape {list(spec.shape)}")
    values = _flat(data, tuple(shape), spec)
    # bool is an int to Python: compared by exact type, so that true is never taken for 1, nor "1".
    if not _ACCEPTED[spec.datatype].issuperset(map(type, values)):
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name} has a value that is not {spec.datatype}")
    return Tensor(spec.name, spec.datatype, spec.shape, _pack(values, spec))


def from_fields(fields: Mapping[str, object], spec: Input) -> Tensor:
    """The project's single tensor from named JSON numbers, in the order of ``spec.fields``. Raises BadRecord (WRONG_TENSOR)."""
    if not spec.fields:
        names = ", ".join(tensor.name for tensor in spec.tensors)
        raise BadRecord(DeadReason.WRONG_TENSOR, f"named fields, while this project takes tensors: inputs with {names}")
    if missing := [name for name in spec.fields if name not in fields]:
        raise BadRecord(DeadReason.WRONG_TENSOR, f"named fields: these are missing: {', '.join(missing)}")
    return from_json([fields[name] for name in spec.fields], spec.tensors[0].shape, spec.tensors[0])


def _flat(data: object, shape: tuple[int, ...], spec: TensorSpec) -> list[Any]:
    if not isinstance(data, list):
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name}.data is not a list")
    if len(shape) > 1 and data and type(data[0]) is list:
        rows = [_flat(row, shape[1:], spec) for row in data]
        if len(rows) != shape[0]:
            raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name}.data does not have its shape")
        return [value for row in rows for value in row]
    if len(data) != prod(shape):
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name} must have {prod(spec.shape)} values")
    return data


def _pack(values: Sequence[Any], spec: TensorSpec) -> bytes:
    if spec.datatype == "BYTES":
        encoded = [value.encode() for value in values]
        return b"".join(len(each).to_bytes(4, "little") + each for each in encoded)
    dtype = NUMPY_OF[spec.datatype]
    try:
        # Overflow to infinity is looked for below, so numpy need not warn of it.
        with np.errstate(over="ignore"):
            array = np.array(values, dtype)
    except OverflowError as error:
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name} has a value that is not {spec.datatype}") from error
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise BadRecord(DeadReason.NOT_FINITE, f"{spec.name} has a value beyond {spec.datatype}")
    return array.tobytes()


def to_json(tensor: Tensor) -> list[Any]:
    """The flat JSON values of a well-formed tensor: the inverse of :func:`from_json`."""
    if tensor.datatype == "BYTES":
        return _strings(tensor.data)
    values: list[Any] = np.frombuffer(tensor.data, NUMPY_OF[tensor.datatype]).tolist()
    return values


def _check_strings(data: bytes, spec: TensorSpec) -> None:
    wanted = prod(spec.shape)
    try:
        count = len(_strings(data))
    except ValueError as error:
        raise BadRecord(
            DeadReason.WRONG_TENSOR, f"{spec.name} is not UTF-8 strings, each preceded by its length"
        ) from error
    if count != wanted:
        raise BadRecord(DeadReason.WRONG_TENSOR, f"{spec.name} must have {wanted} strings")


def _strings(data: bytes) -> list[str]:
    """The elements of a BYTES tensor. Raises ValueError where lengths do not add up or a string is not UTF-8."""
    strings, at = [], 0
    while at < len(data):
        start = at + 4
        at = start + int.from_bytes(data[at:start], "little")
        if start > len(data) or at > len(data):
            raise ValueError("a string ends after the data")
        strings.append(data[start:at].decode())
    return strings
