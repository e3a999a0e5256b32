"""Which answers of a person are taken back when a manager no longer trusts them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import inf

from tiebreak.contracts.messages import Annotation, AnnotationState
from tiebreak.labeling.consensus import COUNTS
from tiebreak.labeling.gold import Bank
from tiebreak.labeling.port import Refusal
from tiebreak.labeling.refusals import refused


@dataclass(frozen=True, slots=True)
class Deed:
    """What ``by`` means by one request, however often it is sent. ``key``: its Idempotency-Key; empty: it has none.

    ``began_ms``: when it was put on record, where it was sent before.
    """

    by: str
    key: str = ""
    since_ms: int | None = None
    last: int | None = None
    began_ms: float = inf

    @property
    def prefix(self) -> str:
        """What the keys of its withdrawals begin with. No key of a person's own has a slash, and a revision is a number."""
        if not self.key:
            return f"reopen/{self.by}/"
        return f"{self._of_key}{sha256(repr((self.since_ms, self.last)).encode()).hexdigest()[:8]}/"

    @property
    def _of_key(self) -> str:
        return f"reopen/{self.by}/of/{self.key}/"

    def done(self, answers: Sequence[Annotation]) -> Sequence[Annotation]:
        """Of all that one person said the withdrawals of this very deed. Raises Refused where its key was used for another one."""
        if not self.key:
            return ()
        taken = [a for a in answers if a.state is AnnotationState.WITHDRAWN]
        found = [a for a in taken if a.idempotency_key.startswith(self._of_key)]
        if not all(a.idempotency_key.startswith(self.prefix) for a in found):
            raise refused(Refusal.KEY_REUSED)
        return found


def to_reopen(answers: Sequence[Annotation], bank: Bank, deed: Deed) -> Sequence[Annotation]:
    """Of one person's ``answers`` (every revision, oldest first) those to take back, newest first.

    Those from ``since_ms`` on, at most the ``last`` newest; with neither, those after the gold that the person answered right last
    (all, if there is none). Gold itself stays: it is what the person is judged by. Skips and what was taken back are no answers.
    A deed that was begun before goes on where it was: what was said since is not its business. Raises as :meth:`Deed.done`.
    """
    done, since_ms = deed.done(answers), deed.since_ms
    taken = {(a.annotation_id, a.revision) for a in done}
    began_ms = min((a.submitted_ms for a in done), default=deed.began_ms)
    # A question may have come back to whoever answered it: what they say now is another answer.
    answers = _newest([a for a in answers if a.submitted_ms < began_ms or (a.annotation_id, a.revision) in taken])
    if since_ms is None and deed.last is None:
        passed = [a.submitted_ms for a in answers if a.value and a.value == bank.truth(a.task_id, a.annotator)]
        since_ms = 1 + max(passed, default=-1)
    votes = [a for a in answers if a.state in COUNTS and bank.truth(a.task_id, a.annotator) is None]
    recent = [a for a in reversed(votes) if a.submitted_ms >= (since_ms or 0)]
    return recent if deed.last is None else recent[: max(0, deed.last - len(done))]


def _newest(answers: Sequence[Annotation]) -> Sequence[Annotation]:
    """The newest revision of each, oldest first."""
    newest: dict[str, Annotation] = {}
    for a in answers:
        if a.revision > (newest[a.annotation_id].revision if a.annotation_id in newest else 0):
            newest[a.annotation_id] = a
    return sorted(newest.values(), key=lambda a: (a.submitted_ms, a.annotation_id))
