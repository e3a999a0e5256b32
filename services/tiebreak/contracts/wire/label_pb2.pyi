from tiebreak.contracts.wire import selection_pb2 as _selection_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LabelMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_METHOD_UNSPECIFIED: _ClassVar[LabelMethod]
    LABEL_METHOD_CONSENSUS: _ClassVar[LabelMethod]
    LABEL_METHOD_ADJUDICATED: _ClassVar[LabelMethod]
    LABEL_METHOD_GOLD: _ClassVar[LabelMethod]
    LABEL_METHOD_AUTO: _ClassVar[LabelMethod]
LABEL_METHOD_UNSPECIFIED: LabelMethod
LABEL_METHOD_CONSENSUS: LabelMethod
LABEL_METHOD_ADJUDICATED: LabelMethod
LABEL_METHOD_GOLD: LabelMethod
LABEL_METHOD_AUTO: LabelMethod

class Vote(_message.Message):
    __slots__ = ("annotation_id", "annotator", "value", "revision", "weight")
    ANNOTATION_ID_FIELD_NUMBER: _ClassVar[int]
    ANNOTATOR_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    annotation_id: str
    annotator: str
    value: str
    revision: int
    weight: float
    def __init__(self, annotation_id: _Optional[str] = ..., annotator: _Optional[str] = ..., value: _Optional[str] = ..., revision: _Optional[int] = ..., weight: _Optional[float] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("label_id", "task_id", "event_id", "project", "revision", "value", "distribution", "confidence", "method", "votes", "features", "selection", "predicted", "event_time_ms", "settled_ms", "schema_version", "subject", "withdrawn", "unlabelled")
    class DistributionEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    LABEL_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    SETTLED_MS_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    UNLABELLED_FIELD_NUMBER: _ClassVar[int]
    label_id: str
    task_id: str
    event_id: str
    project: str
    revision: int
    value: str
    distribution: _containers.ScalarMap[str, float]
    confidence: float
    method: LabelMethod
    votes: _containers.RepeatedCompositeFieldContainer[Vote]
    features: _containers.RepeatedScalarFieldContainer[float]
    selection: _selection_pb2.Selection
    predicted: str
    event_time_ms: int
    settled_ms: int
    schema_version: int
    subject: str
    withdrawn: bool
    unlabelled: bytes
    def __init__(self, label_id: _Optional[str] = ..., task_id: _Optional[str] = ..., event_id: _Optional[str] = ..., project: _Optional[str] = ..., revision: _Optional[int] = ..., value: _Optional[str] = ..., distribution: _Optional[_Mapping[str, float]] = ..., confidence: _Optional[float] = ..., method: _Optional[_Union[LabelMethod, str]] = ..., votes: _Optional[_Iterable[_Union[Vote, _Mapping]]] = ..., features: _Optional[_Iterable[float]] = ..., selection: _Optional[_Union[_selection_pb2.Selection, _Mapping]] = ..., predicted: _Optional[str] = ..., event_time_ms: _Optional[int] = ..., settled_ms: _Optional[int] = ..., schema_version: _Optional[int] = ..., subject: _Optional[str] = ..., withdrawn: _Optional[bool] = ..., unlabelled: _Optional[bytes] = ...) -> None: ...
