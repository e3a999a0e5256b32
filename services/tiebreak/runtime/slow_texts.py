"""How a regular expression may harm: its size, and texts on which it may backtrack without end, made from itself. Pure.

A backtracking engine is slow where what repeats can be read in several ways, and what has to follow does not: so for each repetition
that can give back, a text is made that reaches it, repeats what it repeats, and then ends otherwise. No proof: a text that is not
among these may be slow yet (whoever runs the expression needs a time limit), but what is slow on one of them is slow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import chain, cycle, islice
from typing import Any

LENGTH = 4096
# The engine writes out what has to be repeated: a{4000000000} takes all memory there is.
_LARGEST = 100_000
_WAYS = 6
_MANY = 16
_END = "\x00"
_OF_CATEGORY = {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a"}
_COMMON = ("a", "1", "a1", "a ", "-", "aaaaaaaaa!", "x@", " ", "\t\n", "1.", "\u00e9")

Node = tuple[Any, Any]


def too_large(expression: str) -> str:
    """What is said of an expression that the engine could not hold; '' where it can. ``expression`` compiles."""
    size = _written_out(_parsed(expression))
    return (
        f"comes to {size} parts with its repetitions written out, and {_LARGEST} are the most"
        if size > _LARGEST
        else ""
    )


def _parsed(expression: str) -> list[Node]:
    # Python's own parser: the engine that runs the expression is another one, of the same language.
    return list(import_module("re._parser").parse(expression))


def _written_out(parsed: Any) -> int:
    """About how many parts an expression has once each repetition stands there as often as it must match."""
    match parsed:
        case (op, (int(least), _, body)) if str(op).endswith("REPEAT"):
            return max(1, least) * _written_out(body)
        case (_, int()):
            return 1
        case tuple() | list():
            return sum(map(_written_out, parsed))
        case _:
            return _written_out(parsed.data) if hasattr(parsed, "data") else 1


def slow_texts(expression: str) -> Iterator[tuple[str, str]]:
    """What is repeated, and the text, for each: those that are slow for many expressions first. ``expression`` compiles."""
    nodes = _parsed(expression)
    # An engine gives up at once on a text that lacks what a match must hold.
    whole = _ways(nodes)[0]
    made = (("", unit) for unit in _COMMON)
    for before, unit in dict.fromkeys(chain(made, _repeated(nodes, ""))):
        if unit:
            yield unit, before[:LENGTH] + unit * max(1, LENGTH // len(unit)) + _END + whole


def _repeated(nodes: Sequence[Node], before: str) -> Iterator[tuple[str, str]]:
    """What comes before each repetition that can give back, and ways to fill it."""
    for node in nodes:
        kind, inner = str(node[0]), node[1]
        if kind in {"MAX_REPEAT", "MIN_REPEAT"} and int(inner[1]) > _MANY:
            ways = _ways(list(inner[2]))
            yield from ((before, way) for way in (*ways, "".join(ways)))
        for part in _parts(kind, inner):
            yield from _repeated(part, before)
        before += _ways([node])[0]


def _parts(kind: str, inner: Any) -> Iterator[Sequence[Node]]:
    match kind:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            yield list(inner[2])
        case "SUBPATTERN":
            yield list(inner[3])
        case "BRANCH":
            yield from map(list, inner[1])
        case "ASSERT" | "ASSERT_NOT":
            yield list(inner[1])
        case "ATOMIC_GROUP":
            yield list(inner)
        case _:
            return


def _ways(nodes: Sequence[Node]) -> Sequence[str]:
    """Different short texts that the nodes match one after the other, as far as that can be told of each alone."""
    each = [_ways_of(*node) for node in nodes]
    turns = zip(*(cycle(ways) for ways in each), strict=True) if each else iter([("",)])
    return tuple(dict.fromkeys("".join(parts) for parts in islice(turns, _WAYS)))


def _ways_of(op: Any, inner: Any) -> Sequence[str]:
    match str(op):
        case "LITERAL":
            found: Sequence[str] = (chr(inner),)
        case "NOT_LITERAL":
            found = ("a" if inner != ord("a") else "b",)
        case "ANY":
            found = ("a", " ")
        case "IN":
            found = _members(inner)
        case "ASSERT" | "ASSERT_NOT":
            found = ("",)  # it takes nothing of the text
        case kind:
            times = min(max(int(inner[0]), 1), LENGTH) if kind.endswith("REPEAT") else 1
            found = tuple(way * times for part in _parts(kind, inner) for way in _ways(part))[:_WAYS]
    return found or ("",)


def _members(inner: Sequence[Node]) -> Sequence[str]:
    """Some characters of a set."""
    if str(inner[0][0]) == "NEGATE":
        taken = {char for node in inner[1:] for char in _members_of(*node)}
        return tuple(char for char in "a1 -.b" if char not in taken)[:_WAYS] or ("~",)
    return tuple(dict.fromkeys(char for node in inner for char in _members_of(*node)))[:_WAYS] or ("a",)


def _members_of(op: Any, inner: Any) -> Iterator[str]:
    match str(op):
        case "LITERAL":
            yield chr(inner)
        case "RANGE":
            yield chr(inner[0])
            yield chr(inner[1])
        case "CATEGORY":
            yield _OF_CATEGORY.get(str(inner), "~")
        case _:
            return
