"""Messages as protobuf. A dataclass and its wire message share their field names, so one table serves both directions.

Encoding refuses what decoding would refuse: whatever was published can be read back.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as WireMessage

from tiebreak.contracts import codec_fields as cross
from tiebreak.contracts import errors
from tiebreak.contracts import messages as m
from tiebreak.contracts.codec_fields import Convert, Refused
from tiebreak.contracts.codec_json import dump_json, parse_json
from tiebreak.contracts.errors import BadRecord, DeadReason, Invalid
from tiebreak.contracts.tensors import Form, Tensor
from tiebreak.contracts.wire import annotation_pb2 as annotation
from tiebreak.contracts.wire import audit_pb2 as audit
from tiebreak.contracts.wire import dead_pb2 as dead
from tiebreak.contracts.wire import drift_pb2 as drift
from tiebreak.contracts.wire import event_pb2 as event
from tiebreak.contracts.wire import label_pb2 as label
from tiebreak.contracts.wire import model_pb2 as model
from tiebreak.contracts.wire import payload_pb2 as payload
from tiebreak.contracts.wire import prediction_pb2 as prediction
from tiebreak.contracts.wire import selection_pb2 as selection
from tiebreak.contracts.wire import task_pb2 as task
from tiebreak.contracts.wire import tensor_pb2 as tensor

T = TypeVar("T")

# Above what any adapter is set to carry: a bound, so that nothing is ever parsed without one.
MAX_MESSAGE_BYTES = 64 * 2**20

WIRE: Mapping[type, type[WireMessage]] = {
    Tensor: tensor.Tensor,
    m.Payload: payload.Payload,
    m.Event: event.Event,
    m.Selection: selection.Selection,
    m.Prediction: prediction.Prediction,
    m.Task: task.Task,
    m.Annotation: annotation.Annotation,
    m.Vote: label.Vote,
    m.Label: label.Label,
    m.ModelRecord: model.ModelRecord,
    m.Manifest: model.Manifest,
    m.DriftRecord: drift.DriftRecord,
    m.DeadLetter: dead.DeadLetter,
    m.AuditRecord: audit.AuditRecord,
}

ENUMS: Mapping[type[StrEnum], Any] = {
    Form: model.Form,
    m.PayloadKind: payload.PayloadKind,
    m.Reason: selection.Reason,
    m.AnnotationState: annotation.AnnotationState,
    m.LabelMethod: label.LabelMethod,
    m.ModelEvent: model.ModelEvent,
    m.DriftEvent: drift.DriftEvent,
    errors.DeadReason: dead.DeadReason,
}

# Without these a message names nothing. Protobuf cannot tell "absent" from "empty", so empty is refused.
REQUIRED: Mapping[type, tuple[str, ...]] = {
    Tensor: ("name", "datatype"),
    m.Prediction: ("event_id",),
    m.Task: ("task_id", "project", "event_id"),
    m.Annotation: ("annotation_id", "task_id", "project", "annotator"),
    m.Vote: ("annotation_id", "annotator"),
    m.Label: ("label_id", "task_id", "event_id", "project"),
    m.ModelRecord: ("project", "version"),
    m.Manifest: ("project", "version", "sha256"),
    m.DriftRecord: ("project",),
    m.DeadLetter: ("project", "topic"),
    m.AuditRecord: ("project",),
}


@dataclass(frozen=True, slots=True)
class Crossing:
    """One field of a dataclass and its counterpart. ``presence``: absent on the wire is None here."""

    name: str
    wire_name: str
    to_wire: Convert
    from_wire: Convert
    presence: bool = False


def encode(message: object) -> bytes:
    """The message as protobuf. Raises Invalid, naming the field, for what :func:`decode` would refuse."""
    if isinstance(message, m.Event) and message.fields is not None:
        # A decoded event has its tensor beside the fields it was made from; the wire holds one of the two.
        message = replace(message, inputs=())
    try:
        raw: bytes = _to_wire(message).SerializeToString(deterministic=True)
    except (ValueError, TypeError) as error:
        raise Invalid(f"{type(message).__name__} cannot be encoded: {error}") from error
    if len(raw) > MAX_MESSAGE_BYTES:
        raise Invalid(f"{type(message).__name__} has {len(raw)} bytes, above {MAX_MESSAGE_BYTES}")
    return raw


def decode(kind: type[T], raw: bytes | None) -> T:
    """The message of type ``kind``. Raises BadRecord (EMPTY, OVERSIZED, NOT_FINITE or UNDECODABLE) and nothing else."""
    return cast("T", _read(kind, raw, _from_wire))


def peek(kind: type, raw: bytes | None, *names: str) -> tuple[Any, ...]:
    """Some fields of a message of type ``kind``, at the cost of those alone. Raises BadRecord as :func:`decode` does for them."""

    def some(kind: type, wire: WireMessage) -> tuple[Any, ...]:
        wanted = _plan(kind).by_name
        return tuple([_field_of(wire, wanted[name]) for name in names])

    return _read(kind, raw, some)


def _read(kind: type, raw: bytes | None, what: Callable[[type, WireMessage], T]) -> T:
    if not raw:
        raise BadRecord(DeadReason.EMPTY, "no bytes")
    if len(raw) > MAX_MESSAGE_BYTES:
        raise BadRecord(DeadReason.OVERSIZED, f"{len(raw)} bytes, above {MAX_MESSAGE_BYTES}")
    try:
        return what(kind, WIRE[kind].FromString(raw))
    except Refused as error:
        raise BadRecord(error.reason, error.detail) from error
    except (DecodeError, ValueError) as error:
        raise BadRecord(DeadReason.UNDECODABLE, f"not a protobuf {kind.__name__}") from error


def _field_of(wire: WireMessage, crossing: Crossing) -> Any:
    if crossing.presence and not wire.HasField(crossing.wire_name):
        return None
    return crossing.from_wire(getattr(wire, crossing.wire_name))


def _to_wire(message: object) -> WireMessage:
    kind = type(message)
    if kind not in WIRE:
        raise TypeError("it is not a message of ours")
    return WIRE[kind](**_given(message))


def _given(message: object) -> dict[str, Any]:
    """What a wire message is made from. Its parts are mappings: a part that is a message would be written and read to be copied."""
    kind: type = type(message)
    plan = _plan(kind)
    values = list(plan.of_ours(message))
    plan.check(values)
    for place, convert in plan.to_wire:
        # To protobuf None is "not given".
        if values[place] is not None:
            values[place] = convert(values[place])
    return dict(zip(plan.wire_names, values, strict=True))


def _from_wire(kind: type, wire: WireMessage) -> object:
    plan = _plan(kind)
    values = list(plan.of_wire(wire))
    for place, name, convert in plan.from_wire:
        values[place] = None if name and not wire.HasField(name) else convert(values[place])
    plan.check(values)
    message: object = kind(*values)
    return message


@dataclass(frozen=True, slots=True)
class _Plan:
    """One kind's table, taken apart: all fields are fetched by one call, and only those are converted that differ on the two sides."""

    kind: type
    by_name: Mapping[str, Crossing]
    wire_names: tuple[str, ...]
    of_ours: Callable[[object], tuple[Any, ...]]
    of_wire: Callable[[WireMessage], tuple[Any, ...]]
    to_wire: tuple[tuple[int, Convert], ...]
    from_wire: tuple[tuple[int, str, Convert], ...]  # the wire's name where absent is None, else empty
    filled: tuple[tuple[int, str], ...]
    parts: tuple[tuple[int, str], ...]

    def check(self, values: Sequence[Any]) -> None:
        """Raise Refused where a field is missing without which the message names nothing."""
        for place, name in self.filled:
            if not values[place]:
                raise Refused(DeadReason.UNDECODABLE, f"{self.kind.__name__}.{name} is empty")
        for place, name in self.parts:
            if values[place] is None:
                raise Refused(DeadReason.UNDECODABLE, f"{self.kind.__name__}.{name} is missing")


@cache
def _plan(kind: type) -> _Plan:
    table = crossings(kind)
    place_of = {crossing.name: place for place, crossing in enumerate(table)}
    wire_names = tuple(crossing.wire_name for crossing in table)
    return _Plan(
        kind,
        {crossing.name: crossing for crossing in table},
        wire_names,
        attrgetter(*place_of),
        attrgetter(*wire_names),
        tuple((place, c.to_wire) for place, c in enumerate(table) if c.to_wire is not cross.same),
        tuple(
            (place, c.wire_name if c.presence else "", c.from_wire)
            for place, c in enumerate(table)
            if c.presence or c.from_wire is not cross.same
        ),
        tuple((place_of[name], name) for name in REQUIRED.get(kind, ())),
        tuple((place_of[name], name) for name in _required_parts(kind)),
    )


@cache
def _required_parts(kind: type) -> tuple[str, ...]:
    return tuple(name for name, hint in get_type_hints(kind).items() if is_dataclass(hint))


def required_fields(kind: type) -> tuple[str, ...]:
    """What a record of ``kind`` must have on the wire: names, parts, and values of closed sets without a default."""
    enums = tuple(f.name for f in fields(kind) if get_type_hints(kind)[f.name] in ENUMS and f.default is MISSING)
    return (*REQUIRED.get(kind, ()), *_required_parts(kind), *enums)


@cache
def crossings(kind: type) -> tuple[Crossing, ...]:
    """The table of one message, made from its type hints when it is first needed."""
    hints = get_type_hints(kind)
    return tuple(_crossing(kind, f, hints[f.name]) for f in fields(kind))


def _crossing(kind: type, field: Field[Any], hint: Any) -> Crossing:
    name, where = field.name, f"{kind.__name__}.{field.name}"
    if (kind, name) == (m.Event, "fields"):
        return Crossing(name, "fields_json", _fields_to_wire, _fields_from_wire, presence=True)
    if (kind, name) == (m.Manifest, "inputs"):
        return Crossing(name, name, _inputs_to_wire, _inputs_from_wire)
    part = _part(hint)
    if part is not None:
        return Crossing(name, name, _given, _reader(part), presence=True)
    if hint in ENUMS:
        default = None if field.default is MISSING else field.default
        return Crossing(name, name, *cross.enum(where, hint, ENUMS[hint], default))
    to_wire, from_wire = _plain(where, hint)
    return Crossing(name, name, to_wire, from_wire)


def _part(hint: Any) -> type | None:
    """The dataclass behind ``X`` or ``X | None``; None for every other hint."""
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(argument for argument in get_args(hint) if argument is not types.NoneType)
    return hint if isinstance(hint, type) and is_dataclass(hint) else None


def _reader(kind: type) -> Convert:
    return lambda wire: _from_wire(kind, wire)


def _plain(where: str, hint: Any) -> tuple[Convert, Convert]:
    origin = get_origin(hint)
    if origin is tuple:
        return _repeated(where, get_args(hint)[0])
    if origin is not None:
        return cross.finite_map(where), cross.finite_map(where)
    if hint is float:
        return cross.finite(where), cross.finite(where)
    return cross.same, cross.same


def _repeated(where: str, item: type) -> tuple[Convert, Convert]:
    if is_dataclass(item):
        return cross.many(_given), cross.many(_reader(item))
    if item is float:
        return cross.narrow_vector(where), cross.finite_vector(where)
    return tuple, tuple


def _fields_to_wire(values: Mapping[str, object]) -> str:
    try:
        return dump_json(dict(values)).decode()
    except Invalid as error:
        raise Refused(DeadReason.UNDECODABLE, f"Event.fields: {error.message}") from error


def _fields_from_wire(text: str) -> Mapping[str, object]:
    try:
        values = parse_json(text.encode(), MAX_MESSAGE_BYTES)
    except BadRecord as error:
        raise Refused(error.reason, f"Event.fields: {error.detail}") from error
    if not isinstance(values, dict):
        raise Refused(DeadReason.UNDECODABLE, "Event.fields is not a JSON object")
    return values


def _inputs_to_wire(inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, model.ModelInput]:
    return {name: model.ModelInput(datatype=datatype, shape=shape) for name, (datatype, shape) in inputs.items()}


def _inputs_from_wire(inputs: Mapping[str, model.ModelInput]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (inputs[name].datatype, tuple(inputs[name].shape)) for name in sorted(inputs)}
