from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_UNCERTAIN: _ClassVar[Reason]
    REASON_NOVEL: _ClassVar[Reason]
    REASON_RARE: _ClassVar[Reason]
    REASON_BURST: _ClassVar[Reason]
    REASON_AUDIT: _ClassVar[Reason]
    REASON_COLD_START: _ClassVar[Reason]
    REASON_RANDOM: _ClassVar[Reason]
REASON_UNSPECIFIED: Reason
REASON_UNCERTAIN: Reason
REASON_NOVEL: Reason
REASON_RARE: Reason
REASON_BURST: Reason
REASON_AUDIT: Reason
REASON_COLD_START: Reason
REASON_RANDOM: Reason

class Selection(_message.Message):
    __slots__ = ("strategy", "uncertainty", "threshold", "propensity", "reason", "audit", "model_version", "state_digest", "burst_id", "price", "weight", "challenger", "burst_weight")
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BURST_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CHALLENGER_FIELD_NUMBER: _ClassVar[int]
    BURST_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    strategy: str
    uncertainty: float
    threshold: float
    propensity: float
    reason: Reason
    audit: bool
    model_version: str
    state_digest: str
    burst_id: str
    price: float
    weight: float
    challenger: str
    burst_weight: float
    def __init__(self, strategy: _Optional[str] = ..., uncertainty: _Optional[float] = ..., threshold: _Optional[float] = ..., propensity: _Optional[float] = ..., reason: _Optional[_Union[Reason, str]] = ..., audit: _Optional[bool] = ..., model_version: _Optional[str] = ..., state_digest: _Optional[str] = ..., burst_id: _Optional[str] = ..., price: _Optional[float] = ..., weight: _Optional[float] = ..., challenger: _Optional[str] = ..., burst_weight: _Optional[float] = ...) -> None: ...
