"""May the wire change this way? Records are kept for ever, so a reader of today must read a log of years ago and back.

Allowed: new messages, new fields, new values of a closed set. Refused: what removes, renames, renumbers or retypes anything, and
what makes a field required that old records do not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

# Of messages: per name and field its number, its type, and whether it is required. Of enums: per name and value its number.
Description = Mapping[str, Mapping[str, Mapping[str, Any]]]

_TYPE_NAMES = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}


def describe(files: Iterable[Any], required: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
    """What readers rely on in these file descriptors, as plain values.

    ``required``: per message, the fields without which the codec refuses a record.
    """
    messages: dict[str, Any] = {}
    enums: dict[str, Any] = {}
    for file in files:
        for message in file.message_types_by_name.values():
            messages[message.name] = {
                field.name: {
                    "number": field.number,
                    "type": _type(field),
                    "required": field.name in required.get(message.name, ()),
                }
                for field in message.fields
            }
        for enum in file.enum_types_by_name.values():
            enums[enum.name] = {value.name: value.number for value in enum.values}
    return {"messages": dict(sorted(messages.items())), "enums": dict(sorted(enums.items()))}


def breaks(old: Description, new: Description) -> list[str]:
    """Each way in which ``new`` cannot live with what was written under ``old``, in words; empty when it can."""
    found = []
    for message, fields in old["messages"].items():
        if message not in new["messages"]:
            found.append(f"message {message} was removed")
        else:
            found.extend(_field_breaks(message, fields, new["messages"][message]))
    for enum, values in old["enums"].items():
        if enum not in new["enums"]:
            found.append(f"enum {enum} was removed")
        else:
            found.extend(_value_breaks(enum, values, new["enums"][enum]))
    return found


def _field_breaks(message: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    found = []
    for name, was in old.items():
        where = f"{message}.{name}"
        if name not in new:
            found.append(f"{where} was removed or renamed")
            continue
        found.extend(
            f"{where}: {part} {was[part]} became {new[name][part]}"
            for part in ("number", "type")
            if new[name][part] != was[part]
        )
        if new[name]["required"] and not was["required"]:
            found.append(f"{where} became required")
    found.extend(f"{message}.{name} is new and required" for name in new if name not in old and new[name]["required"])
    return found


def _value_breaks(enum: str, old: Mapping[str, int], new: Mapping[str, int]) -> list[str]:
    found = []
    for name, number in old.items():
        if name not in new:
            found.append(f"{enum}.{name} was removed or renamed")
        elif new[name] != number:
            found.append(f"{enum}.{name}: number {number} became {new[name]}")
    return found


def _type(field: Any) -> str:
    target = field.message_type or field.enum_type
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[part] for part in ("key", "value"))
        return f"map<{_type(key)}, {_type(value)}>"
    name = target.name if target is not None else _TYPE_NAMES[field.type]
    if field.is_repeated:
        return f"repeated {name}"
    return f"optional {name}" if field.has_presence and field.message_type is None else name
