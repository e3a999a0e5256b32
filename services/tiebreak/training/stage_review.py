"""What new audit labels say of the model that serves, brought to deployment, which may roll it back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tiebreak.contracts.candidate import Champion, Paired, ServingJudge
from tiebreak.contracts.errors import ModelRefused
from tiebreak.training.dataset import Row
from tiebreak.training.evaluation import Contender, compare
from tiebreak.training.export import read_back
from tiebreak.training.recall import Recall
from tiebreak.training.targets import CLASSES, Target

Compute = Callable[[Callable[[], Paired]], Awaitable[Paired]]


class Reviewer:
    """Compares the serving model with the one before it on the audit labels settled since it serves.

    Only those: the labels before helped to choose it, and would speak for it whatever it is worth.
    """

    def __init__(self, judge: ServingJudge, target: Target = CLASSES, recall: Recall | None = None) -> None:
        self._judge, self._target, self._recall = judge, target, recall
        self._read: dict[str, Contender] = {}

    async def review(self, audit: Sequence[Row], era_ms: int, compute: Compute) -> None:
        """``audit``: all standing audit labels; those settled before ``era_ms`` are about another world. ``compute`` runs a function

        where it may take its time.
        """
        known = await self._judge.incumbents()
        if known is None:
            return
        since = [row for row in audit if row.settled_ms >= max(known.since_ms, era_ms)]
        previous, serving = self._contender(known.previous), self._contender(known.serving)
        if previous is None or serving is None:
            return
        self._read = {known.previous.version: previous, known.serving.version: serving}
        if since:
            await self._judge.review(known, await compute(lambda: compare(previous, serving, since)))

    def _contender(self, model: Champion) -> Contender | None:
        if model.version in self._read:
            return self._read[model.version]
        try:
            ours = read_back(model.model) if model.model is not None else None
        except ModelRefused:
            return None  # torn: it cannot be judged on features, and serving is what the scorers make of it
        return Contender(*ours, target=self._target, recall=self._recall) if ours is not None else None
