"""Who sends odd events cannot have all the questions."""

from __future__ import annotations

import numpy as np

from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import Budget, Drift, Project, Sampling
from tiebreak.sampling import origins as o
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.policy import decide
from tiebreak.sampling.state import restore, snapshot

N, SHARE, CAP = 12_000, 0.1, 0.15
RNG = np.random.default_rng(2)
FLOODER = RNG.random(N) < 0.2
P = np.where(FLOODER[:, None], [0.5, 0.5], np.column_stack([u := 0.6 + 0.4 * RNG.random(N), 1 - u])).astype(np.float32)


def policy(origin_share: float) -> Policy:
    return Policy.of(Project.model_validate({
        "project": "p", "input": {"tensors": [{"name": "x", "shape": [2]}]}, "classes": {"names": ["a", "b"]},
        "sampling": Sampling(target_share=SHARE, origin_share=origin_share), "budget": Budget(labels_per_hour=1e9),
        "drift": Drift.model_validate({"burst": {"labels": 0}}),
    }))  # fmt: skip


def flood(made: Policy, column: int, restart: bool = False) -> tuple[list[int], list[bool]]:
    """The rows asked about, and which of them are audits, where a fifth of the events come from one source or under one key."""
    state, rows, audits = initial(made), [], []

    def origin(row: int, start: int) -> tuple[bytes | None, bytes | None]:
        name = b"flooder" if FLOODER[start + row] else b"other %d" % (row % 40)
        return (name, None) if column == 0 else (None, name)

    for start in range(0, N, 500):
        ids = [b"f%d" % i for i in range(start, start + 500)]
        batch = Scored(ids, "v1", P[start : start + 500], origin_of=lambda row, s=start: origin(row, s))  # type: ignore[misc]
        decision, state = decide(made, state, batch, Grant(10**9, 0), Moment(float(start)))
        rows += [start + row for row in decision.rows]
        audits += [s.audit for s in decision.selections]
        state = restore(snapshot(state, "f"), initial(made), "f") if restart else state
    return rows, audits


def flooders(found: tuple[list[int], list[bool]]) -> list[bool]:
    return [bool(FLOODER[row]) for row, audit in zip(*found, strict=True) if not audit]


def test_a_flooder_gets_its_share_and_the_rest_goes_to_others() -> None:
    """Uncapped, most questions are about one sender of undecidable events; capped, a share of any 200, and the budget is spent."""
    assert np.mean(flooders(flood(policy(1.0), 0))) > 0.5
    for column in (0, 1):
        capped = flood(policy(CAP), column)
        theirs = flooders(capped)
        assert max(sum(theirs[at : at + 200]) for at in range(len(theirs) - 199)) == CAP * 200
        assert abs(len(capped[0]) - SHARE * N) <= 0.01 * SHARE * N


def test_a_cap_survives_a_restart() -> None:
    """Restored after every batch, a sampler asks about the same events: what was asked of whom is in the snapshot."""
    assert flood(policy(CAP), 0, restart=True) == flood(policy(CAP), 0)


def test_an_event_without_origin_is_never_crowded() -> None:
    """Neither a source nor a key: nobody to cap. A tiny share still leaves everybody one question."""
    asked = o.Origins()
    for _ in range(300):
        assert not o.crowded(asked, lambda _: (None, None), 0, 0.01)
        asked = o.remember(asked, lambda _: (None, None), 0, 0.01)
    assert len(asked.asked) == o.REMEMBERED
    assert not o.crowded(asked, lambda _: (b"a", None), 0, 1e-6)
    assert o.crowded(o.remember(asked, lambda _: (b"a", None), 0, 1e-6), lambda _: (b"a", None), 0, 1e-6)
