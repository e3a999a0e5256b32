"""What a trained model thinks of waiting tasks: the features that a task carries are all that its head needs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tiebreak.contracts.errors import ModelRefused, NotFound
from tiebreak.contracts.messages import Task
from tiebreak.contracts.ports import ModelStore
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import Form
from tiebreak.labeling.stage_rescoring import Opinion
from tiebreak.sampling import neighbours
from tiebreak.sampling.acquisition_forms import shares_of
from tiebreak.sampling.appraisal import Scored, utilities
from tiebreak.training.export import read_back
from tiebreak.training.learner import asking


class HeadOpinions:
    """The trainer's models of a store, as opinions about tasks (``labeling.stage_rescoring.Opinions``)."""

    def __init__(self, project: Project, store: ModelStore) -> None:
        self._project = project
        self._store = store

    async def of(self, version: str) -> Opinion | None:
        """None for a version that is gone, torn, not of our trainer's making, or does not tell classes apart."""
        try:
            _, data = await self._store.get(self._project.project, version)
            found = await asyncio.to_thread(read_back, data)
        except (NotFound, ModelRefused, OSError):
            return None
        if found is None:
            return None
        model, temperature = found
        strategy = self._project.sampling.strategy

        def opinion(tasks: Sequence[Task]) -> Sequence[float | None]:
            # What was ranked among its neighbours in the stream is not told by the task alone: it keeps its place.
            fitting = [
                place
                for place, task in enumerate(tasks)
                if len(task.features) == model.width and task.selection.strategy not in neighbours.KINDS
            ]
            said: list[float | None] = [None] * len(tasks)
            if fitting:
                x = np.array([tasks[place].features for place in fitting], dtype=np.float32)
                said_of = asking(model, x, temperature)
                ids = [tasks[place].task_id.encode() for place in fitting]
                scored = _scored(Scored(ids, version, said_of, model.members(x, temperature)), self._project)
                for place, utility in zip(fitting, utilities(strategy, scored)[1].tolist(), strict=True):
                    said[place] = utility
            return said

        return opinion if len(model.classes) >= self._project.labeling.answer.kind.least_classes else None


def _scored(plain: Scored, project: Project) -> Scored:
    """As the scorers would have it: of a regressor the numbers, as shares of their range."""
    answer = project.labeling.answer
    if answer.kind.form is not Form.VALUES:
        return replace(plain, form=answer.kind.form)
    numbers, none = plain.probabilities, plain.probabilities[:, :0]
    members, values = shares_of(plain.members, answer), shares_of(numbers[:, 0], answer)
    return replace(plain, probabilities=none, members=members, values=values, form=Form.VALUES)
