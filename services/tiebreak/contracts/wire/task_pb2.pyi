from tiebreak.contracts.wire import payload_pb2 as _payload_pb2
from tiebreak.contracts.wire import selection_pb2 as _selection_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(_message.Message):
    __slots__ = ("task_id", "project", "event_id", "payload", "features", "predicted", "probabilities", "classes", "selection", "priority", "lane", "votes_wanted", "created_ms", "event_time_ms", "schema_version", "subject", "source_partition", "source_offset", "audience", "gold", "withdrawn_by", "deadline_ms", "unlabelled")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    VOTES_WANTED_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PARTITION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    GOLD_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_BY_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    UNLABELLED_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    project: str
    event_id: str
    payload: _payload_pb2.Payload
    features: _containers.RepeatedScalarFieldContainer[float]
    predicted: str
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    classes: _containers.RepeatedScalarFieldContainer[str]
    selection: _selection_pb2.Selection
    priority: float
    lane: str
    votes_wanted: int
    created_ms: int
    event_time_ms: int
    schema_version: int
    subject: str
    source_partition: int
    source_offset: int
    audience: str
    gold: str
    withdrawn_by: str
    deadline_ms: int
    unlabelled: bytes
    def __init__(self, task_id: _Optional[str] = ..., project: _Optional[str] = ..., event_id: _Optional[str] = ..., payload: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., features: _Optional[_Iterable[float]] = ..., predicted: _Optional[str] = ..., probabilities: _Optional[_Iterable[float]] = ..., classes: _Optional[_Iterable[str]] = ..., selection: _Optional[_Union[_selection_pb2.Selection, _Mapping]] = ..., priority: _Optional[float] = ..., lane: _Optional[str] = ..., votes_wanted: _Optional[int] = ..., created_ms: _Optional[int] = ..., event_time_ms: _Optional[int] = ..., schema_version: _Optional[int] = ..., subject: _Optional[str] = ..., source_partition: _Optional[int] = ..., source_offset: _Optional[int] = ..., audience: _Optional[str] = ..., gold: _Optional[str] = ..., withdrawn_by: _Optional[str] = ..., deadline_ms: _Optional[int] = ..., unlabelled: _Optional[bytes] = ...) -> None: ...
