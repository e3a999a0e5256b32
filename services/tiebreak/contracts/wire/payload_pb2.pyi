from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PayloadKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAYLOAD_KIND_UNSPECIFIED: _ClassVar[PayloadKind]
    PAYLOAD_KIND_IMAGE: _ClassVar[PayloadKind]
    PAYLOAD_KIND_TEXT: _ClassVar[PayloadKind]
    PAYLOAD_KIND_TABLE: _ClassVar[PayloadKind]
PAYLOAD_KIND_UNSPECIFIED: PayloadKind
PAYLOAD_KIND_IMAGE: PayloadKind
PAYLOAD_KIND_TEXT: PayloadKind
PAYLOAD_KIND_TABLE: PayloadKind

class Payload(_message.Message):
    __slots__ = ("kind", "media_type", "data")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    kind: PayloadKind
    media_type: str
    data: bytes
    def __init__(self, kind: _Optional[_Union[PayloadKind, str]] = ..., media_type: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...
