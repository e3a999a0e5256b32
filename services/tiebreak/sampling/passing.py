"""Events that pass by while others are asked about: bare features that go along with a question, and teach without a label. Pure.

They travel on the task and then on its label, so that replaying `labels` still rebuilds every model (ADR 0023). An event about somebody
(one with a subject) is never taken along: erasing a person needs to look at nobody else's labels.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from tiebreak.contracts.codec import decode_event
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.ids import unit_hash
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import EventColumns, Scores
from tiebreak.sampling.features import feature_row

KEPT = 64


class Passing:
    """Draws ``training.unlabelled`` events for each question, from its batch and from one event each of the batches before.

    One that was kept goes along once: with another label it would teach nothing more. Which ones is chance that hangs on the event
    asked about, and on what was in its batch; a restart forgets the batches before.
    """

    def __init__(self, project: Project) -> None:
        self._project, self._most = project, project.training.unlabelled
        self._kept: deque[bytes] = deque(maxlen=KEPT)

    def beside(self, event_id: str, columns: EventColumns, scores: Scores, row: int) -> bytes:
        """For the question about ``row``: at most so many events, each once, as little-endian float32 one after another."""
        found: dict[bytes, None] = {}
        for turn in range(self._most):
            at = int(self._chance(f"{event_id}/{turn}") * (len(columns) + len(self._kept)))
            features = self._of(columns, scores, at) if at < len(columns) else self._taken(at - len(columns))
            if features and at != row:
                found[features] = None
        return b"".join(found)

    def see(self, columns: EventColumns, scores: Scores) -> None:
        """Keep one event of a batch for the questions of later ones: where events come one by one, a batch has no others."""
        if not self._most or not len(columns):
            return
        at = int(self._chance(columns.ids[0].decode("utf-8", "replace")) * len(columns))
        features = self._of(columns, scores, at)
        if features and (not self._kept or len(features) == len(self._kept[-1])):
            self._kept.append(features)

    def _taken(self, place: int) -> bytes:
        features = self._kept[place]
        del self._kept[place]
        return features

    def _of(self, columns: EventColumns, scores: Scores, row: int) -> bytes:
        try:
            event = decode_event(columns.records[row], self._project.input)
        except BadRecord:
            return b""
        features = np.asarray(feature_row(columns, scores, row), "<f4")
        return b"" if event.subject or not np.isfinite(features).all() else features.tobytes()

    def _chance(self, key: str) -> float:
        return unit_hash(self._project.training.seed, "unlabelled", key)
