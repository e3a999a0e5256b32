"""The part of the queue's port that forgets people who asked for it. Over both adapters: ``tests/contracts/test_queue_erasing.py``.

A subject is named by its digest (``contracts.erasure.subject_digest``): the queue never learns whom it forgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure found and removed: ``tasks`` with content, ``leases`` on them, ``answers`` to them, ``lines`` of histories."""

    tasks: int = 0
    leases: int = 0
    answers: int = 0
    lines: int = 0

    def __add__(self, other: Erased) -> Erased:
        """Both together."""
        return Erased(
            self.tasks + other.tasks,
            self.leases + other.leases,
            self.answers + other.answers,
            self.lines + other.lines,
        )


class Erasing(Protocol):
    """First :meth:`begin_erasure`, then the tasks are looked for and erased, then :meth:`end_erasure`: none slips in meanwhile."""

    async def begin_erasure(self, subjects: Sequence[str]) -> None:
        """From now on nothing about these people is taken in (``contracts.erasure.subject_digest``)."""

    async def erase(self, task_ids: Sequence[str]) -> Erased:
        """Forget tasks for good, in whatever state they are, gold too; unknown ones will not be taken in either.

        Content, leases, answers, receipts, a label not published yet, and their lines in people's histories go; how many answers
        of a person stand is no different. Later acts upon them are refused. The only method that is not atomic: repeat it when it
        raises.
        """

    async def end_erasure(self, subjects: Sequence[str]) -> None:
        """All that was here about these people is gone."""

    async def forget_before(self, before_ms: int) -> Erased:
        """Forget the answers given before then: votes, receipts, notes, and their lines in people's histories; what was found.

        One that is on its way to the log stays. An open task goes on as if they had never been given; a label that stands, stands,
        and how many answers of a person stand is no different. ``lines`` counts notes too. Repeat it when it raises.
        """

    async def erased(self) -> frozenset[str]:
        """Those whose erasure ended, by digest. Lost with the store."""
