"""What the clients of a scenario believe: one line before each call and one after it, on disk before the call goes out.

A client that was killed between the two, or that saw no answer, does not know: its call is ``info``, neither ``ok`` nor ``fail``.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    """What a client knows of its call: it took effect, it certainly did not, or nothing."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


class Verb(StrEnum):
    """The calls that change something."""

    CLAIM = "claim"
    SUBMIT = "submit"
    SKIP = "skip"
    UNDO = "undo"
    RELEASE = "release"


ANSWERS = frozenset({Verb.SUBMIT, Verb.SKIP, Verb.UNDO})
"""What becomes a record on ``annotations``: each has an idempotency key of its own, and every retry of it the same."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call about one task. ``began_s`` and ``ended_s`` are monotonic; a call that never ended has infinity.

    ``key``: the idempotency key of an answer, and ``value`` its class. ``token``: the lease token that a claim gave, or that an
    answer used. An undo that gives the task back is a claim as well.
    """

    verb: Verb
    annotator: str
    task_id: str = ""
    outcome: Outcome = Outcome.INFO
    began_s: float = 0.0
    ended_s: float = float("inf")
    key: str = ""
    value: str = ""
    token: int = 0


class Journal:
    """Append-only, fsynced, one per client process. Safe to read while others write."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._numbers = itertools.count()

    def begin(self, call: Call) -> int:
        """Write down that ``call`` is about to go out; the number is for :meth:`end`."""
        number = next(self._numbers)
        self._write({"n": number, "call": asdict(call) | {"began_s": time.monotonic(), "ended_s": None}})
        return number

    def end(self, number: int, outcome: Outcome, **learned: Any) -> None:
        """Write down how it went, and what the answer told (``task_id`` and ``token`` of a claim)."""
        self._write({"n": number, "end": {"outcome": outcome.value, "ended_s": time.monotonic(), **learned}})

    def close(self) -> None:
        """Give the file up."""
        os.close(self._fd)

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._fd, json.dumps(line).encode() + b"\n")
        os.fsync(self._fd)


def calls_of(lines: Iterable[str]) -> list[Call]:
    """The calls in a journal. A torn last line (the client was killed while writing it) is a call that never went out."""
    begun: dict[int, dict[str, Any]] = {}
    ended: list[dict[str, Any]] = []
    for line in lines:
        if not line.endswith("\n"):
            break
        entry = json.loads(line)
        if "call" in entry:
            begun[entry["n"]] = entry["call"]
        else:
            # One claim may give several leases: each is an end of its own.
            ended.append(begun[entry["n"]] | entry["end"] | {"n": entry["n"]})
    open_numbers = begun.keys() - {entry["n"] for entry in ended}
    bodies = [{k: v for k, v in entry.items() if k != "n"} for entry in ended]
    bodies += [begun[n] | {"ended_s": float("inf")} for n in sorted(open_numbers)]
    return [Call(**body | {"verb": Verb(body["verb"]), "outcome": Outcome(body["outcome"])}) for body in bodies]
