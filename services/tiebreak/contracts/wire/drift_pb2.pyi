from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DriftEvent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRIFT_EVENT_UNSPECIFIED: _ClassVar[DriftEvent]
    DRIFT_EVENT_WARNING: _ClassVar[DriftEvent]
    DRIFT_EVENT_ALARM: _ClassVar[DriftEvent]
    DRIFT_EVENT_BURST_OPENED: _ClassVar[DriftEvent]
    DRIFT_EVENT_BURST_CLOSED: _ClassVar[DriftEvent]
DRIFT_EVENT_UNSPECIFIED: DriftEvent
DRIFT_EVENT_WARNING: DriftEvent
DRIFT_EVENT_ALARM: DriftEvent
DRIFT_EVENT_BURST_OPENED: DriftEvent
DRIFT_EVENT_BURST_CLOSED: DriftEvent

class DriftRecord(_message.Message):
    __slots__ = ("project", "event", "detector", "signal", "statistic", "slice", "burst_id", "burst_size", "partition", "offset", "time_ms", "ended", "error_low", "error_high", "error_labels")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    STATISTIC_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    BURST_ID_FIELD_NUMBER: _ClassVar[int]
    BURST_SIZE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    ERROR_LOW_FIELD_NUMBER: _ClassVar[int]
    ERROR_HIGH_FIELD_NUMBER: _ClassVar[int]
    ERROR_LABELS_FIELD_NUMBER: _ClassVar[int]
    project: str
    event: DriftEvent
    detector: str
    signal: str
    statistic: float
    slice: str
    burst_id: str
    burst_size: int
    partition: int
    offset: int
    time_ms: int
    ended: str
    error_low: float
    error_high: float
    error_labels: int
    def __init__(self, project: _Optional[str] = ..., event: _Optional[_Union[DriftEvent, str]] = ..., detector: _Optional[str] = ..., signal: _Optional[str] = ..., statistic: _Optional[float] = ..., slice: _Optional[str] = ..., burst_id: _Optional[str] = ..., burst_size: _Optional[int] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ..., time_ms: _Optional[int] = ..., ended: _Optional[str] = ..., error_low: _Optional[float] = ..., error_high: _Optional[float] = ..., error_labels: _Optional[int] = ...) -> None: ...
