"""The fast lane for events as protobuf: the few fields that a batch needs, cut out of the bytes where they lie. Pure.

Writers put fields in the order of their numbers, so an event is an id, its tensors with the very names, datatypes and shapes of the
project, and little more: what stands before a tensor's data is known in advance to the byte. The lane answers only for this
form and leaves all else, good or bad, to the codec's generated parser: a property test holds the two together.
Encoding: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tiebreak.contracts.codec import decode
from tiebreak.contracts.codec_headers import MAX_TIME_MS, is_id
from tiebreak.contracts.codec_payload import check_payload
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.messages import Payload
from tiebreak.contracts.project import Input, TensorSpec
from tiebreak.contracts.tensors import NUMPY_OF
from tiebreak.contracts.wire.event_pb2 import Event
from tiebreak.contracts.wire.tensor_pb2 import Tensor

_ONE_BYTE = 0x80  # lengths below it are one byte
_LONGEST_TEXT = 1024
_LONGEST_VARINT = 8  # a time takes seven bytes at most
_NUMBER_OF = {name: field.number for name, field in Event.DESCRIPTOR.fields_by_name.items()}
_ID = _NUMBER_OF["event_id"] << 3 | 2
_PAYLOAD = _NUMBER_OF["payload"] << 3 | 2
_TEXTS = frozenset(_NUMBER_OF[name] << 3 | 2 for name in ("subject", "source"))
_TIME = _NUMBER_OF["time_ms"] << 3


class ProtobufLane:
    """The lane of one project."""

    def __init__(self, spec: Input) -> None:
        self._max_bytes = spec.max_record_bytes
        self._tensors = [(_heads(each), _size(each)) for each in spec.tensors]
        # What bytes a string or a boolean may have is the codec's to say, and a tensor without bytes is not on the wire.
        self._usable = all(size > 0 for _, size in self._tensors)

    def read(self, value: bytes | None) -> tuple[bytes, Sequence[bytes]] | None:
        """The event's own id (empty: it names none) and its tensors' bytes, in the project's order; None where the codec must look.

        Floats may be anything: whoever joins them to a column sees at once whether all are finite.
        """
        if not self._usable or not value or not 2 <= len(value) <= self._max_bytes:
            return None
        at, event_id = 0, b""
        if value[0] == _ID:
            at = 2 + value[1]
            event_id = value[2:at]
            if value[1] >= _ONE_BYTE or (event_id and not _names(event_id)):
                return None
        parts: list[bytes] = []
        for heads, size in self._tensors:
            head = next((each for each in heads if value.startswith(each, at)), None)
            if head is None:
                return None
            at += len(head) + size
            parts.append(value[at - size : at])
        if at > len(value) or (at < len(value) and not _is_harmless(value, at)):
            return None
        return event_id, parts


def _size(spec: TensorSpec) -> int:
    return 0 if spec.datatype in {"BYTES", "BOOL"} else prod(spec.shape) * NUMPY_OF[spec.datatype].itemsize


def _heads(spec: TensorSpec) -> Sequence[bytes]:
    """All that stands before the tensor's data, its tag and length in the event included: without a batch axis, and with one."""
    size = _size(spec)
    heads = []
    for shape in (spec.shape, (1, *spec.shape)):
        tensor = Tensor(name=spec.name, datatype=spec.datatype, shape=shape, data=bytes(size))
        heads.append(Event(inputs=[tensor]).SerializeToString()[: -size or None])
    return heads


def _names(raw: bytes) -> bool:
    try:
        return is_id(raw.decode())
    except UnicodeDecodeError:
        return False


def _is_harmless(value: bytes, at: int) -> bool:
    """Whether what follows the tensors is a payload, a subject, a source and a time at most, each once and as the codec wants it."""
    last = 0
    while at < len(value):
        tag = value[at]
        number, at = _varint(value, at + 1)
        if tag <= last or number < 0:
            return False
        last = tag
        if tag == _TIME:
            if number > MAX_TIME_MS:
                return False
            continue
        part = value[at : at + number]
        at += number
        if at > len(value) or not (_is_payload(part) if tag == _PAYLOAD else tag in _TEXTS and _is_text(part)):
            return False
    return True


def _varint(value: bytes, at: int) -> tuple[int, int]:
    """The number at ``at`` and where it ends; -1 where it does not end in time."""
    number = shift = 0
    for byte in value[at : at + _LONGEST_VARINT]:
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < _ONE_BYTE:
            return number, at
        shift += 7
    return -1, at


def _is_text(part: bytes) -> bool:
    try:
        return len(part.decode()) <= _LONGEST_TEXT
    except UnicodeDecodeError:
        return False


def _is_payload(part: bytes) -> bool:
    try:
        check_payload(decode(Payload, part))
    except BadRecord:
        return False
    return True
