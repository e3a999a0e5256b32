"""A burst about a declared slice asks within it. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiebreak.sampling import parts, schedule
from tiebreak.sampling.appraisal import Policy, Scored
from tiebreak.sampling.schedule import Plan

# Added to the log utility: more than utility and luck can make up for. What a small slice cannot take of the burst is for others.
AIM = 12.0


def aimed(
    policy: Policy, plan: Plan, seen: int, batch: Scored
) -> tuple[NDArray[np.bool_] | None, NDArray[np.float64] | None]:
    """``(n,)`` each: which events are in the slice of the burst in force, and what that adds; None without such a burst."""
    if not policy.parts or not schedule.in_force(plan, seen):
        return None, None
    inside = parts.inside(policy.parts, plan.burst.part, None if batch.embedded else batch.inputs, len(batch))
    return inside, None if inside is None else AIM * inside.astype(np.float64)
