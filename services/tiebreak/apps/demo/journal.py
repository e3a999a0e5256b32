"""What the clients of a run say happened to each of their calls: the auditor's half of the evidence (invariants I1 and I3).

``ok``: the server said that it is done. ``fail``: the server said that it is not. ``info``: nobody knows (no answer, or one that
says nothing of the outcome); such a call may have taken effect or not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


class Known(StrEnum):
    """What the client knows of a call's outcome."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Entry:
    """One call. ``token`` is the lease's; ``key`` the Idempotency-Key, the same for each retry; ``status`` 0: no answer came."""

    at_ms: int
    annotator: str
    call: str
    outcome: Known
    status: int = 0
    task_id: str = ""
    token: int = 0
    key: str = ""
    value: str = ""


@dataclass(slots=True)
class Journal:
    """The entries in the order in which the outcomes became known."""

    entries: list[Entry] = field(default_factory=list)

    def note(self, entry: Entry) -> None:
        """Add one."""
        self.entries.append(entry)

    def count(self, call: str, outcome: Known | None = None) -> int:
        """How many calls of a kind, of one outcome or of all."""
        return sum(1 for e in self.entries if e.call == call and (outcome is None or e.outcome is outcome))

    def tasks(self, call: str, outcome: Known) -> Counter[str]:
        """How often each task had such a call."""
        return Counter(e.task_id for e in self.entries if e.call == call and e.outcome is outcome)

    def write(self, path: Path) -> None:
        """As JSON Lines."""
        path.write_text("".join(json.dumps(asdict(e)) + "\n" for e in self.entries), encoding="utf-8")


def read(lines: Iterable[str]) -> Journal:
    """The journal that :meth:`Journal.write` wrote."""
    rows = (json.loads(line) for line in lines if line.strip())
    return Journal([Entry(**{**row, "outcome": Known(row["outcome"])}) for row in rows])


def outcome_of(status: int, problem: str = "") -> Known:
    """What a status says about a call's effect; 0 stands for no answer, ``problem`` is the type of the problem document.

    A 5xx says nothing: the answer may have been accepted before something else broke. Nor does the conflict with an earlier
    try under the same key that is not over yet.

    >>> [outcome_of(status).value for status in (201, 409, 503, 0)]
    ['ok', 'fail', 'info', 'info']
    >>> outcome_of(409, "urn:tiebreak:problem:in_progress").value
    'info'
    """
    if problem.endswith(":in_progress"):
        return Known.INFO
    if 200 <= status < 300:
        return Known.OK
    return Known.FAIL if 400 <= status < 500 else Known.INFO
