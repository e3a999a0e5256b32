"""Records and a small project input, for tests of whatever reads a log."""

from __future__ import annotations

import numpy as np

from tiebreak.contracts.log import Headers, StoredRecord
from tiebreak.contracts.project import Input, TensorSpec

VECTOR = Input(tensors=(TensorSpec(name="x", shape=(3,)),), max_record_bytes=4096)
NAMED = Input(tensors=(TensorSpec(name="row", shape=(2,)),), fields=("amount", "hour"), max_record_bytes=4096)


def record(
    value: bytes | None,
    content_type: str = "",
    *,
    key: bytes | None = b"k1",
    headers: Headers = (),
    timestamp: int = 1_700_000_000_000,
) -> StoredRecord:
    """Offset 41 of partition 3 of ``tiebreak.p.events``."""
    given = [("content-type", content_type.encode())] if content_type else []
    return StoredRecord("tiebreak.p.events", 3, 41, timestamp, key, value, [*given, *headers])


def floats(*values: float) -> bytes:
    """Little-endian 32-bit floats."""
    return np.array(values, "<f4").tobytes()
