from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Prediction(_message.Message):
    __slots__ = ("event_id", "model_version", "label", "probabilities", "uncertainty", "uncertainty_kind", "selected", "source_partition", "source_offset", "time_ms", "values")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTY_KIND_FIELD_NUMBER: _ClassVar[int]
    SELECTED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PARTITION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    model_version: str
    label: str
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    uncertainty: float
    uncertainty_kind: str
    selected: bool
    source_partition: int
    source_offset: int
    time_ms: int
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, event_id: _Optional[str] = ..., model_version: _Optional[str] = ..., label: _Optional[str] = ..., probabilities: _Optional[_Iterable[float]] = ..., uncertainty: _Optional[float] = ..., uncertainty_kind: _Optional[str] = ..., selected: _Optional[bool] = ..., source_partition: _Optional[int] = ..., source_offset: _Optional[int] = ..., time_ms: _Optional[int] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...
