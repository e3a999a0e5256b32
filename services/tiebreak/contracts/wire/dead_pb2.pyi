from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeadReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEAD_REASON_UNSPECIFIED: _ClassVar[DeadReason]
    DEAD_REASON_UNDECODABLE: _ClassVar[DeadReason]
    DEAD_REASON_EMPTY: _ClassVar[DeadReason]
    DEAD_REASON_OVERSIZED: _ClassVar[DeadReason]
    DEAD_REASON_UNKNOWN_PROJECT: _ClassVar[DeadReason]
    DEAD_REASON_WRONG_TENSOR: _ClassVar[DeadReason]
    DEAD_REASON_NOT_FINITE: _ClassVar[DeadReason]
    DEAD_REASON_DUPLICATE_ID: _ClassVar[DeadReason]
    DEAD_REASON_UNKNOWN_CLASS: _ClassVar[DeadReason]
    DEAD_REASON_UNKNOWN_TASK: _ClassVar[DeadReason]
    DEAD_REASON_MODEL_FAILED: _ClassVar[DeadReason]
DEAD_REASON_UNSPECIFIED: DeadReason
DEAD_REASON_UNDECODABLE: DeadReason
DEAD_REASON_EMPTY: DeadReason
DEAD_REASON_OVERSIZED: DeadReason
DEAD_REASON_UNKNOWN_PROJECT: DeadReason
DEAD_REASON_WRONG_TENSOR: DeadReason
DEAD_REASON_NOT_FINITE: DeadReason
DEAD_REASON_DUPLICATE_ID: DeadReason
DEAD_REASON_UNKNOWN_CLASS: DeadReason
DEAD_REASON_UNKNOWN_TASK: DeadReason
DEAD_REASON_MODEL_FAILED: DeadReason

class DeadLetter(_message.Message):
    __slots__ = ("project", "topic", "partition", "offset", "reason", "detail", "raw", "sha256", "time_ms")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    project: str
    topic: str
    partition: int
    offset: int
    reason: DeadReason
    detail: str
    raw: bytes
    sha256: str
    time_ms: int
    def __init__(self, project: _Optional[str] = ..., topic: _Optional[str] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ..., reason: _Optional[_Union[DeadReason, str]] = ..., detail: _Optional[str] = ..., raw: _Optional[bytes] = ..., sha256: _Optional[str] = ..., time_ms: _Optional[int] = ...) -> None: ...
