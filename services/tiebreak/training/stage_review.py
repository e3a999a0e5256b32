"""What new audit labels say of the model that serves, or is on its way to, brought to deployment, which may roll it back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from tiebreak.contracts.candidate import Champion, Paired, ServingJudge
from tiebreak.contracts.errors import ModelRefused
from tiebreak.training.dataset import Row
from tiebreak.training.evaluation import Contender, compare
from tiebreak.training.export import read_back
from tiebreak.training.recall import Recall
from tiebreak.training.targets import CLASSES, Target

Compute = Callable[[Callable[[], Paired]], Awaitable[Paired]]


class Reviewer:
    """Compares the serving model with the one before it and with the reference, and a challenger in a rollout with the champion.

    On the audit labels settled since its service or its rollout began, or since the line left the reference. Only those: the labels
    before helped to choose it, and would speak for it whatever it is worth.
    """

    def __init__(self, judge: ServingJudge, target: Target = CLASSES, recall: Recall | None = None) -> None:
        self._judge, self._target, self._recall = judge, target, recall
        self._read: dict[str, Contender] = {}

    async def review(self, audit: Sequence[Row], era_ms: int, compute: Compute) -> None:
        """``audit``: all standing audit labels; those settled before ``era_ms`` are about another world.

        ``compute`` runs a function where it may take its time.
        """
        known = await self._judge.incumbents()
        read = {model.version: self._contender(model) for one in known for model in (one.previous, one.serving)}
        self._read = {version: contender for version, contender in read.items() if contender is not None}
        for one in known:
            since = [row for row in audit if row.settled_ms >= max(one.since_ms, era_ms)]
            previous, serving = read[one.previous.version], read[one.serving.version]
            if since and previous is not None and serving is not None:
                pair = (one.previous.version, one.serving.version)
                await self._judge.review(one, await compute(partial(compare, previous, serving, since, pair)))

    def _contender(self, model: Champion) -> Contender | None:
        if model.version in self._read:
            return self._read[model.version]
        try:
            ours = read_back(model.model) if model.model is not None else None
        except ModelRefused:
            return None  # torn: it cannot be judged on features, and serving is what the scorers make of it
        return Contender(*ours, target=self._target, recall=self._recall) if ours is not None else None
