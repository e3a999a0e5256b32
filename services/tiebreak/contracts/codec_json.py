"""JSON from strangers, read strictly: what one reader takes one way and another reader another way is refused.

orjson refuses NaN, Infinity, numbers that overflow to infinity, lone surrogates, invalid UTF-8 and a byte order mark. Added here:
duplicate keys (orjson keeps the last one silently), a bound on size, and a bound on depth well below the recursion limit.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import orjson

from tiebreak.contracts.errors import BadRecord, DeadReason, Invalid

MAX_DEPTH = 32

_KEY_LIKE = re.compile(rb'"[ \t\r\n]*:')
_CONTAINERS = frozenset({dict, list, tuple})


def parse_json(raw: bytes, max_bytes: int) -> Any:
    """The value in ``raw``. Raises BadRecord: EMPTY, OVERSIZED (above ``max_bytes``) or UNDECODABLE. Never echoes the input.

    >>> parse_json(b'{"id": "e1", "data": [1, 2.5]}', 100)
    {'id': 'e1', 'data': [1, 2.5]}
    >>> parse_json(b'{"id": "e1", "id": "e2"}', 100)
    Traceback (most recent call last):
    tiebreak.contracts.errors.BadRecord: undecodable: JSON with a duplicate key
    """
    if not raw:
        raise BadRecord(DeadReason.EMPTY, "no bytes")
    if len(raw) > max_bytes:
        raise BadRecord(DeadReason.OVERSIZED, f"{len(raw)} bytes, above {max_bytes}")
    try:
        value = orjson.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRecord(DeadReason.UNDECODABLE, "not strict JSON in UTF-8") from error
    keys = _count_keys(value)
    if repeated_key(raw, keys) is not None:
        raise BadRecord(DeadReason.UNDECODABLE, "JSON with a duplicate key")
    return value


def repeated_key(raw: bytes, keys: int) -> str | None:
    """A key that an object in ``raw`` (JSON) gives twice, or None. ``keys``: how many keys its readers found in it; a guess is fine.

    >>> repeated_key(b'{"a": {"b": 1, "b": 2}}', 2), repeated_key(b'{"a": "b\\":"}', 1)
    ('b', None)
    """
    # Every key of the text matches, and perhaps some text inside strings: equal counts prove that no key was dropped.
    # Only where they differ is the slow, exact reading worth its price.
    if len(_KEY_LIKE.findall(raw)) == keys:
        return None
    found: list[str] = []

    def look(pairs: Sequence[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(raw, object_pairs_hook=look)
    return found[0] if found else None


def dump_json(value: object) -> bytes:
    """``value`` as JSON that :func:`parse_json` reads back. Raises Invalid for what it would refuse (orjson writes NaN as null)."""
    _refuse_not_finite(value)
    try:
        raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        _count_keys(orjson.loads(raw))
    except (TypeError, ValueError, BadRecord) as error:
        raise Invalid(f"not a JSON value: {error}") from error
    return raw


def no_more(where: str, keys: AbstractSet[str], known: frozenset[str]) -> None:
    """Raise BadRecord where the object ``where`` has keys beyond ``known``: a misspelt key must not be silently without effect."""
    if keys - known:
        raise BadRecord(DeadReason.UNDECODABLE, f"{where} has keys beyond {', '.join(sorted(known))}")


def typed(body: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    """``body[name]`` of exactly type ``kind`` (true is no integer), or ``default`` where it is absent. Raises BadRecord."""
    value = body.get(name, default)
    if type(value) is not kind:
        raise BadRecord(DeadReason.UNDECODABLE, f"{name} is not of type {kind.__name__}")
    return value


def _count_keys(value: object) -> int:
    """How many keys all objects of ``value`` hold together. Raises BadRecord below ``MAX_DEPTH`` levels."""
    keys = 0
    stack = [(value, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise BadRecord(DeadReason.UNDECODABLE, f"JSON nested deeper than {MAX_DEPTH}")
        if isinstance(node, dict):
            keys += len(node)
            stack.extend((child, depth + 1) for child in node.values() if type(child) in _CONTAINERS)
        # A long list of numbers is the common case: its types are looked at in one pass in C.
        elif isinstance(node, list) and not _CONTAINERS.isdisjoint(map(type, node)):
            stack.extend((child, depth + 1) for child in node if type(child) in _CONTAINERS)
    return keys


def _refuse_not_finite(value: object) -> None:
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, float) and not math.isfinite(node):
            raise Invalid("not a JSON value: a number is not finite")
        if isinstance(node, Mapping):
            stack.extend(node.values())
        elif isinstance(node, list | tuple):
            stack.extend(node)
