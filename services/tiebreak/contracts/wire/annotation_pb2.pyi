from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AnnotationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANNOTATION_STATE_UNSPECIFIED: _ClassVar[AnnotationState]
    ANNOTATION_STATE_SUBMITTED: _ClassVar[AnnotationState]
    ANNOTATION_STATE_WITHDRAWN: _ClassVar[AnnotationState]
    ANNOTATION_STATE_LATE: _ClassVar[AnnotationState]
    ANNOTATION_STATE_SKIPPED: _ClassVar[AnnotationState]
ANNOTATION_STATE_UNSPECIFIED: AnnotationState
ANNOTATION_STATE_SUBMITTED: AnnotationState
ANNOTATION_STATE_WITHDRAWN: AnnotationState
ANNOTATION_STATE_LATE: AnnotationState
ANNOTATION_STATE_SKIPPED: AnnotationState

class Annotation(_message.Message):
    __slots__ = ("annotation_id", "task_id", "project", "annotator", "revision", "state", "value", "lease_token", "lead_time_s", "claimed_ms", "submitted_ms", "schema_version", "comment", "flagged", "idempotency_key", "reviewer", "schema_added", "suspect")
    ANNOTATION_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEAD_TIME_S_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_MS_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_MS_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    FLAGGED_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REVIEWER_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_ADDED_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_FIELD_NUMBER: _ClassVar[int]
    annotation_id: str
    task_id: str
    project: str
    annotator: str
    revision: int
    state: AnnotationState
    value: str
    lease_token: int
    lead_time_s: float
    claimed_ms: int
    submitted_ms: int
    schema_version: int
    comment: str
    flagged: bool
    idempotency_key: str
    reviewer: bool
    schema_added: int
    suspect: bool
    def __init__(self, annotation_id: _Optional[str] = ..., task_id: _Optional[str] = ..., project: _Optional[str] = ..., annotator: _Optional[str] = ..., revision: _Optional[int] = ..., state: _Optional[_Union[AnnotationState, str]] = ..., value: _Optional[str] = ..., lease_token: _Optional[int] = ..., lead_time_s: _Optional[float] = ..., claimed_ms: _Optional[int] = ..., submitted_ms: _Optional[int] = ..., schema_version: _Optional[int] = ..., comment: _Optional[str] = ..., flagged: _Optional[bool] = ..., idempotency_key: _Optional[str] = ..., reviewer: _Optional[bool] = ..., schema_added: _Optional[int] = ..., suspect: _Optional[bool] = ...) -> None: ...
