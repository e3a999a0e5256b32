"""Events that pass by while others are asked about: bare features that go along with a question, and teach without a label. Pure.

They travel on the task and then on its label, so that replaying `labels` still rebuilds every model (ADR 0023). An event about somebody
(one with a subject) is never taken along: erasing a person needs to look at nobody else's labels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np

from tiebreak.contracts.codec import decode_event
from tiebreak.contracts.errors import BadRecord
from tiebreak.contracts.ids import unit_hash
from tiebreak.contracts.project import Project
from tiebreak.contracts.tensors import EventColumns, Scores
from tiebreak.sampling.features import feature_row

KEPT = 64


class PassingBy:
    """Draws ``most`` rows for each question, from its batch and from one row each of the batches before.

    One that was kept goes along once: with another label it would teach nothing more. Which ones is chance that hangs on the event
    asked about, and on what was in its batch; a restart forgets the batches before. ``features`` of a row are little-endian
    float32, and empty where it may not go along.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most, self._seed = most, seed
        self._kept: deque[bytes] = deque(maxlen=KEPT)

    def beside(self, key: str, row: int, rows: int, features: Callable[[int], bytes]) -> bytes:
        """For the question about ``row`` of a batch of ``rows``, whose event is ``key``: each once, one after another."""
        found: dict[bytes, None] = {}
        for turn in range(self._most):
            at = int(self._chance(f"{key}/{turn}") * (rows + len(self._kept)))
            drawn = features(at) if at < rows else self._taken(at - rows)
            if drawn and at != row:
                found[drawn] = None
        return b"".join(found)

    def see(self, key: str, rows: int, features: Callable[[int], bytes]) -> None:
        """Keep one row of a batch, whose first event is ``key``: where events come one by one, a batch has no others."""
        if not self._most:
            return
        drawn = features(int(self._chance(key) * rows))
        if drawn and (not self._kept or len(drawn) == len(self._kept[-1])):
            self._kept.append(drawn)

    def _taken(self, place: int) -> bytes:
        features = self._kept[place]
        del self._kept[place]
        return features

    def _chance(self, key: str) -> float:
        return unit_hash(self._seed, "unlabelled", key)


class Passing:
    """:class:`PassingBy` over events: ``training.unlabelled`` of them for each question."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._by = PassingBy(project.training.unlabelled, project.training.seed)

    def beside(self, event_id: str, columns: EventColumns, scores: Scores, row: int) -> bytes:
        """What goes along with the question about ``row``."""
        return self._by.beside(event_id, row, len(columns), partial(self._of, columns, scores))

    def see(self, columns: EventColumns, scores: Scores) -> None:
        """This batch is over."""
        if len(columns):
            first = columns.ids[0].decode("utf-8", "replace")
            self._by.see(first, len(columns), partial(self._of, columns, scores))

    def _of(self, columns: EventColumns, scores: Scores, row: int) -> bytes:
        try:
            event = decode_event(columns.records[row], self._project.input)
        except BadRecord:
            return b""
        features = np.asarray(feature_row(columns, scores, row), "<f4")
        return b"" if event.subject or not np.isfinite(features).all() else features.tobytes()
