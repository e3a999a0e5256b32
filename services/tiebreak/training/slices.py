"""Which labels belong to the declared slices of the stream. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tiebreak.contracts.project import Project
from tiebreak.training.dataset import Row


def slices_of(rows: Sequence[Row], project: Project) -> Mapping[str, tuple[bool, ...]]:
    """Per slice of ``gate.slices``: for each row whether it is in.

    Features are the fields themselves, since no encoder stands before them.
    """
    if not rows or not project.gate.slices:
        return {}
    table, columns = np.stack([row.features for row in rows]), project.input.fields
    found: dict[str, tuple[bool, ...]] = {}
    for cut in project.gate.slices:
        values = table[:, columns.index(cut.field)]
        low = -np.inf if cut.at_least is None else cut.at_least
        high = np.inf if cut.below is None else cut.below
        found[cut.name] = tuple(((values >= low) & (values < high)).tolist())
    return found
