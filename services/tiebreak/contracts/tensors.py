"""Tensors and columns: what the hot path carries instead of an object per event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.log import Partition, Record

FloatArray = NDArray[np.float32]
Tensors = Mapping[str, NDArray[Any]]

# Open Inference Protocol v2 names (section "Tensor Data Types"); BYTES is a string tensor and has no numpy width.
NUMPY_OF: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}


class Form(StrEnum):
    """What a model answers with: one distribution over the classes, a probability for each class of its own, or a number."""

    CLASSES = "classes"
    MULTI = "multi"
    VALUES = "values"


def product(a: FloatArray, b: FloatArray) -> FloatArray:
    """``a @ b`` of finite arrays, without a warning.

    OpenBLAS' kernels may raise the flag for an invalid operation in lanes that they leave unused, whatever the operands
    (OpenMathLib/OpenBLAS#1924), and numpy makes a warning of the flag.
    """
    with np.errstate(invalid="ignore"):
        result: FloatArray = a @ b
    return result


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input tensor of one event: raw little-endian bytes, C order, *without* a batch axis.

    ``datatype`` is an Open Inference Protocol v2 name (``FP32``); BYTES elements are each preceded by their length as
    4 little-endian bytes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class EventColumns:
    """A decoded micro-batch: ``n`` good events as columns.

    ``inputs[name]`` has shape ``(n, *shape)``. ``records[i]`` is the raw record of row ``i`` (payloads are decoded from it only
    for the few events that become tasks). Rows of one partition are adjacent and in offset order; ``spans`` says where.
    ``replayed``: ascending rows whose event was seen before with the same bytes: predicted again, never selected again.
    ``traces[i]`` is the W3C ``traceparent`` of row ``i`` (empty: none); None when no event carries one.
    """

    ids: Sequence[bytes]
    inputs: Tensors
    records: Sequence[Record]
    spans: Sequence[tuple[Partition, slice]]
    replayed: Sequence[int] = ()
    traces: Sequence[bytes] | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model says of ``n`` events.

    ``probabilities`` ``(n, k)``, rows sum to 1 (where
    ``form`` is MULTI each entry is a probability of its own), columns in the order of ``classes``; ``k = 0`` while there is no model.
    ``members`` ``(m, n, k)`` from a committee head (numbers: ``(m, n, 1)``),
    ``embedding`` ``(n, d)``, ``values`` ``(n,)`` from a regressor: None when
    the graph has none. ``version`` names the model that made exactly these rows; those where ``by_challenger`` ``(n,)`` is True were
    made by ``challenger``, a model with the same classes. ``differs`` ``(n,)``, in a rollout: 1 where the two answer differently, 0
    where they agree, -1 where not both were asked. ``asking`` ``(n, k)``: the probabilities by which to choose whom to ask about, where
    the graph has others for that than those that it serves.
    """

    version: str
    classes: tuple[str, ...]
    probabilities: FloatArray
    members: FloatArray | None = None
    embedding: FloatArray | None = None
    values: FloatArray | None = None
    challenger: str = ""
    by_challenger: NDArray[np.bool_] | None = None
    form: Form = Form.CLASSES
    differs: NDArray[np.int8] | None = None
    asking: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.probabilities)
