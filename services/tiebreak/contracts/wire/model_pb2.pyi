from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Form(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FORM_UNSPECIFIED: _ClassVar[Form]
    FORM_CLASSES: _ClassVar[Form]
    FORM_MULTI: _ClassVar[Form]
    FORM_VALUES: _ClassVar[Form]

class ModelEvent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_EVENT_UNSPECIFIED: _ClassVar[ModelEvent]
    MODEL_EVENT_CANDIDATE: _ClassVar[ModelEvent]
    MODEL_EVENT_SHADOW: _ClassVar[ModelEvent]
    MODEL_EVENT_CANARY: _ClassVar[ModelEvent]
    MODEL_EVENT_PROMOTED: _ClassVar[ModelEvent]
    MODEL_EVENT_HELD: _ClassVar[ModelEvent]
    MODEL_EVENT_ROLLED_BACK: _ClassVar[ModelEvent]
    MODEL_EVENT_PINNED: _ClassVar[ModelEvent]
    MODEL_EVENT_UNPINNED: _ClassVar[ModelEvent]
    MODEL_EVENT_COMPARED: _ClassVar[ModelEvent]
FORM_UNSPECIFIED: Form
FORM_CLASSES: Form
FORM_MULTI: Form
FORM_VALUES: Form
MODEL_EVENT_UNSPECIFIED: ModelEvent
MODEL_EVENT_CANDIDATE: ModelEvent
MODEL_EVENT_SHADOW: ModelEvent
MODEL_EVENT_CANARY: ModelEvent
MODEL_EVENT_PROMOTED: ModelEvent
MODEL_EVENT_HELD: ModelEvent
MODEL_EVENT_ROLLED_BACK: ModelEvent
MODEL_EVENT_PINNED: ModelEvent
MODEL_EVENT_UNPINNED: ModelEvent
MODEL_EVENT_COMPARED: ModelEvent

class ModelRecord(_message.Message):
    __slots__ = ("project", "version", "event", "sha256", "parent", "dataset_version", "reasons", "report", "decided_by", "time_ms", "share", "reference", "order")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    project: str
    version: str
    event: ModelEvent
    sha256: str
    parent: str
    dataset_version: int
    reasons: _containers.RepeatedScalarFieldContainer[str]
    report: str
    decided_by: str
    time_ms: int
    share: float
    reference: str
    order: str
    def __init__(self, project: _Optional[str] = ..., version: _Optional[str] = ..., event: _Optional[_Union[ModelEvent, str]] = ..., sha256: _Optional[str] = ..., parent: _Optional[str] = ..., dataset_version: _Optional[int] = ..., reasons: _Optional[_Iterable[str]] = ..., report: _Optional[str] = ..., decided_by: _Optional[str] = ..., time_ms: _Optional[int] = ..., share: _Optional[float] = ..., reference: _Optional[str] = ..., order: _Optional[str] = ...) -> None: ...

class ModelInput(_message.Message):
    __slots__ = ("datatype", "shape")
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    datatype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, datatype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("project", "version", "sha256", "size_bytes", "inputs", "classes", "temperature", "dataset_version", "created_ms", "parent", "label_ids", "metrics", "form")
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ModelInput
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ModelInput, _Mapping]] = ...) -> None: ...
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LABEL_IDS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    project: str
    version: str
    sha256: str
    size_bytes: int
    inputs: _containers.MessageMap[str, ModelInput]
    classes: _containers.RepeatedScalarFieldContainer[str]
    temperature: float
    dataset_version: int
    created_ms: int
    parent: str
    label_ids: _containers.RepeatedScalarFieldContainer[str]
    metrics: _containers.ScalarMap[str, float]
    form: Form
    def __init__(self, project: _Optional[str] = ..., version: _Optional[str] = ..., sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., inputs: _Optional[_Mapping[str, ModelInput]] = ..., classes: _Optional[_Iterable[str]] = ..., temperature: _Optional[float] = ..., dataset_version: _Optional[int] = ..., created_ms: _Optional[int] = ..., parent: _Optional[str] = ..., label_ids: _Optional[_Iterable[str]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., form: _Optional[_Union[Form, str]] = ...) -> None: ...
