"""The leases that one process gave, for as long as they last: an index that is built again knows of none of them. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple


class Grant(NamedTuple):
    """A task in one person's hands until ``deadline_ms``."""

    annotator: str
    task_id: str
    token: int
    claimed_ms: int
    deadline_ms: int


class Grants:
    """What was given last of each task to each person. Bounded: what ended is dropped at the next grant.

    >>> grants = Grants()
    >>> grants.give(Grant("ann", "t1", 7, 0, 1000), now_ms=0)
    >>> grants.give(Grant("ann", "t2", 8, 0, 1000), now_ms=0)
    >>> grants.end("ann", "t1")
    >>> grants.standing()
    [Grant(annotator='ann', task_id='t2', token=8, claimed_ms=0, deadline_ms=1000)]
    """

    def __init__(self) -> None:
        # By deadline, as all leases of a project are of one length.
        self._given: OrderedDict[tuple[str, str], Grant] = OrderedDict()

    def __len__(self) -> int:
        return len(self._given)

    def give(self, grant: Grant, now_ms: int) -> None:
        """A lease was given or renewed."""
        place = grant.annotator, grant.task_id
        self._given[place] = grant
        self._given.move_to_end(place)
        while self._given and next(iter(self._given.values())).deadline_ms <= now_ms:
            self._given.popitem(last=False)

    def end(self, annotator: str, task_id: str) -> None:
        """It was answered or given back."""
        self._given.pop((annotator, task_id), None)

    def standing(self) -> Sequence[Grant]:
        """The newest first: of two people who were given one task, the later one holds it. Some may have ended meanwhile."""
        return sorted(self._given.values(), key=lambda grant: -grant.token)
