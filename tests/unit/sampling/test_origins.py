"""Who sends odd events cannot have all the questions."""

from __future__ import annotations

import numpy as np
import pytest

from tiebreak.contracts.messages import Selection
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


AUDIT_CAP = 0.3


def audits(share: float, cuts: int, model: str = "", rule: str = "adaptive") -> list[tuple[int, Selection]]:
    """Audit questions of a stream in which one key sends half of the events, from the 4,000th on."""
    made = Policy.of(
        Project.model_validate(
            {
                "project": "p",
                "input": {"tensors": [{"name": "x", "shape": [2]}]},
                "classes": {"names": ["a", "b"]},
                "sampling": {"target_share": 0.3, "audit_share": 0.5, "origin_share": share, "rule": rule},
                "budget": {"labels_per_hour": 1e9},
                "drift": {"burst": {"labels": 0}},
            }
        )
    )
    state, found = initial(made), list[tuple[int, Selection]]()
    for start in range(0, N, cuts):
        size = min(cuts, N - start)
        batch = Scored(
            [b"f%d" % i for i in range(start, start + size)],
            "v1",
            P[start : start + size],
            origin_of=lambda row, s=start: (None, b"flooder" if sends(s + row) else b"%d" % (s + row)),  # type: ignore[misc]
            challenger=model,
            differs=(np.arange(start, start + size) % 10 == 0).astype(np.int8) if model else None,
        )
        decision, state = decide(made, state, batch, Grant(10**9, 0), Moment(float(start)))
        found += [(start + row, s) for row, s in zip(decision.rows, decision.selections, strict=True) if s.audit]
        state = restore(snapshot(state, "f"), initial(made), "f")
    return found


def sends(row: int) -> bool:
    return row >= 4000 and row % 2 == 1


@pytest.mark.parametrize("rule", ["adaptive", "variable"])
def test_a_flooder_has_its_share_of_the_audit_slice_and_weights_undo_it(rule: str) -> None:
    """Uncapped it has the half of the slice that it sends; capped, its share, and the weighted slice is the traffic."""
    late = [(at, s) for at, s in audits(AUDIT_CAP, 500, rule=rule) if at > 5000]
    flooders = np.array([sends(at) for at, _ in late])
    weights = np.array([s.weight for _, s in late])
    plain = [sends(at) for at, _ in audits(1.0, 500, rule=rule) if at > 5000]
    assert 0.45 < np.mean(plain) < 0.55
    assert np.mean(flooders) < 0.42  # 0.3 of the events drawn, of 0.8 that are asked about
    assert ((weights > 0.0) & (weights <= 1.0)).all()
    assert weights[flooders].sum() / weights.sum() == pytest.approx(0.5, abs=0.04)


def test_the_cap_of_the_audit_slice_does_not_depend_on_how_a_stream_is_cut() -> None:
    """Batches of 500, of 61 and of 1,000, restored from a snapshot after each: the same questions with the same probabilities."""
    found = [[(at, s.propensity, s.weight) for at, s in audits(AUDIT_CAP, cuts)] for cuts in (500, 61, 1000)]
    assert found[0] == found[1] == found[2]


def test_nobody_is_held_where_nobody_sends_too_much() -> None:
    """Before the flood the slice is uniform, and its labels have no weight."""
    assert {s.weight for at, s in audits(AUDIT_CAP, 500) if at < 4000} == {0.0}


def test_a_rollouts_questions_keep_their_pair_under_a_cap() -> None:
    """Where two models differ the label says so by its challenger; where they agree a weight below 1 is the cap's, and names none."""
    late = [(at, s) for at, s in audits(AUDIT_CAP, 500, model="v2") if at > 5000]
    differ = [s for at, s in late if at % 10 == 0]
    agree = [s for at, s in late if at % 10]
    assert {s.challenger for s in differ} == {"v2"}
    assert all(s.challenger == "" for s in agree if s.weight < 1.0)
    assert np.mean([s.weight for s in differ]) < np.mean([s.weight for s in agree])
