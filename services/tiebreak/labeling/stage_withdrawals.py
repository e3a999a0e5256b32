"""Answers taken back at any time after they were given: by their author one by one, by a manager all those of a bad day.

A withdrawal goes the way of every answer: promised by the queue, published on ``annotations``, folded by the settler, which withdraws
the label that counted it and offers the task to others. Content that the queue has dropped is read from ``tasks`` first, so a queue
that is built anew after a loss comes to the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tiebreak.contracts.errors import Conflict, NotFound
from tiebreak.contracts.messages import Annotation
from tiebreak.labeling.access import Principal, Role
from tiebreak.labeling.port import Act, Queue, Refusal, Refused
from tiebreak.labeling.refusals import no_answer, refused
from tiebreak.labeling.stage_answers import Accepted, Desk, Submission
from tiebreak.labeling.stage_recall import Recall

_HISTORY = 200


@dataclass(frozen=True, slots=True)
class Reopened:
    """How many answers were taken back, and how many could not be: changed meanwhile, or their content is gone for good."""

    withdrawn: int
    refused: int


class Withdrawals:
    """Takes answers back. ``recall`` None: this process cannot read the topics, and takes back only what the queue knows."""

    def __init__(self, desk: Desk, queue: Queue, recall: Recall | None) -> None:
        self._desk = desk
        self._queue = queue
        self._recall = recall

    async def own(self, name: str, annotation_id: str, key: str) -> Accepted:
        """A person takes an answer of their own back. Raises NotFound (also for what is not theirs), Refused, and as the desk."""
        lines = await self._queue.history(name, _HISTORY)
        task = next((line.task_id for line in lines if line.annotation_id == annotation_id), None)
        if task is None:
            found = await self._topics().answer(annotation_id)
            if found is None or found.annotator != name:
                raise no_answer()
            task = found.task_id
        return await self.take_back(name, Submission(Act.WITHDRAW, task, key))

    async def take_back(self, name: str, said: Submission) -> Accepted:
        """Durable when it returns, like any answer. Raises Refused where the task's content is gone for good."""
        author = Principal(name, Role.ANNOTATOR)
        try:
            return await self._desk.accept(author, said)
        except Refused as error:
            if error.refusal is not Refusal.SETTLED:
                raise
        known = await self._topics().task(said.task_id)
        if known is None or not await self._queue.restore(known):
            raise refused(Refusal.CONTENT_GONE)
        return await self._desk.accept(author, said)

    async def answers_of(self, person: str) -> Sequence[Annotation]:
        """:meth:`Recall.answers_of`. Raises Conflict where this process cannot read the topics."""
        return await self._topics().answers_of(person)

    async def reopen(self, by: str, votes: Sequence[Annotation], deed: str) -> Reopened:
        """Take ``votes`` of people back on behalf of ``by``, all of them or as many as can be. Again: no change.

        ``deed``: what their keys begin with (``reopening.Deed.prefix``).

        Raises SlowDown, PublishFailed or Unreachable, after which some are taken back: ask again.
        """
        done = await asyncio.gather(*(self._reopen(by, vote, deed) for vote in votes), return_exceptions=True)
        errors = [outcome for outcome in done if isinstance(outcome, BaseException)]
        worse = next((error for error in errors if not isinstance(error, NotFound | Refused)), None)
        if worse is not None:
            raise worse
        return Reopened(len(done) - len(errors), len(errors))

    async def _reopen(self, by: str, vote: Annotation, deed: str) -> None:
        # Whoever repeats it for this revision gets the same receipt.
        key = f"{deed}{vote.revision}/{vote.task_id}"
        await self.take_back(vote.annotator, Submission(Act.WITHDRAW, vote.task_id, key, comment=f"taken back by {by}"))

    def _topics(self) -> Recall:
        if self._recall is None:
            raise Conflict("This process does not read the topics.", fix="`tiebreak label` does.")
        return self._recall
