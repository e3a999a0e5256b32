"""Typical events first: what stands alone waits while labels are few, and how a stream is cut changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.sampling import PLENTY, chosen, pieces, policy, probabilities, run, scored
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling.appraisal import Moment, initial
from tiebreak.sampling.policy import decide
from tiebreak.sampling.state import restore, snapshot
from tiebreak.sampling.typicality import COLUMNS, FEW, WIDE, Crowd, weigh, weight


def odd_among_many(events: int, width: int, seed: int = 1) -> tuple[FloatArray, np.ndarray]:
    """Events of ten kinds, and one of five that resembles nothing; which are those."""
    rng = np.random.default_rng(seed)
    odd = rng.random(events) < 0.2
    kinds = rng.normal(size=(10, width))[rng.integers(0, 10, events)] + 0.5 * rng.normal(size=(events, width))
    return np.where(odd[:, None], rng.normal(size=(events, width)), kinds).astype(np.float32), odd


def share_of_odd(width: int, **sampling: object) -> float:
    """The part of the questions that are about odd events, of a model that is equally unsure of all."""
    features, odd = odd_among_many(4000, width)
    lean = np.random.default_rng(2).uniform(0.5, 0.7, 4000)
    p = np.column_stack([lean, 1.0 - lean, *np.zeros((98, 4000))]).astype(np.float32)
    made = policy(
        target_share=0.05, novelty=False, audit_share=0.0, near_duplicates={"memory": 0}, temper=0.25, **sampling
    )
    decision, _ = decide(made, initial(made), scored(p, features=features), PLENTY, Moment(0.0))
    assert decision.rows
    return float(np.mean(odd[list(decision.rows)]))


@pytest.mark.parametrize("more", [{}, {"window_s": 1.0}], ids=["event by event", "in a window"])
def test_what_stands_alone_is_asked_less(more: dict[str, object]) -> None:
    """A fifth of the events is odd, and so is a fifth of the questions without it; half as many with it."""
    assert share_of_odd(WIDE, typicality=0.0, **more) > 0.15
    assert share_of_odd(WIDE, **more) < 0.1


@pytest.mark.parametrize(
    ("width", "sampling"), [(WIDE - 1, {}), (WIDE, {"strategy": "random"}), (WIDE, {"rule": "biqf"})]
)
def test_tables_chance_and_published_rules_are_left_alone(width: int, sampling: dict[str, object]) -> None:
    """What is no embedding, chance that was asked for, and a rule that somebody published ask as they did."""
    assert share_of_odd(width, **sampling) == share_of_odd(width, typicality=0.0, **sampling)


def test_the_weight_fades_with_labels() -> None:
    """Whole up to so many labels for each class, then one over their number; half of it at twice as many."""
    assert weight(0.5, 20, 0) == weight(0.5, 20, int(20 * FEW)) == 0.5
    assert weight(0.5, 20, int(40 * FEW)) == 0.25


def test_what_resembles_nothing_is_among_the_least_typical() -> None:
    """Of late events nearly all odd ones rank below nearly all others, a row without a direction below all."""
    features, odd = odd_among_many(2000, WIDE)
    features[-1] = np.nan
    logs, _ = weigh(Crowd(), features)
    late = slice(1000, 1999)
    assert np.quantile(logs[late][odd[late]], 0.9) < np.quantile(logs[late][~odd[late]], 0.1)
    assert logs[-1] == pytest.approx(np.log(0.1), abs=0.02)


def test_how_events_are_cut_into_batches_does_not_matter() -> None:
    """One by one, in sevens or at once: the same to the bit, the crowd afterwards included."""
    features, _ = odd_among_many(700, WIDE)
    whole, after = weigh(Crowd(), features)
    for size in (1, 7, 100):
        crowd, parts = Crowd(), []
        for start in range(0, 700, size):
            logs, crowd = weigh(crowd, features[start : start + size])
            parts.append(logs)
        assert np.array_equal(np.concatenate(parts), whole)
        for name in ("units", "values", "new_units", "new_values"):
            assert np.array_equal(getattr(crowd, name), getattr(after, name))


def test_decisions_do_not_depend_on_the_cut_either() -> None:
    """The same events are asked about with the same propensities, and a state restored halfway goes on as if nothing had been."""
    features, _ = odd_among_many(1500, WIDE)
    whole = scored(probabilities(np.random.default_rng(3), 1500, classes=20), features=features)
    made, cut = policy(target_share=0.1), list(pieces(whole, [37]))
    first, halfway = run(made, cut[:20])
    restored = restore(snapshot(halfway, made.fingerprint), initial(made), made.fingerprint)
    second, _ = run(made, cut[20:], restored)
    assert chosen(cut, [*first, *second]) == chosen([whole], run(made, [whole])[0])


def test_vectors_of_another_width_start_a_new_crowd() -> None:
    """Another encoder's vectors are compared with its own alone."""
    features, _ = odd_among_many(700, WIDE + 88)
    _, crowd = weigh(Crowd(), odd_among_many(700, WIDE)[0])
    logs, _ = weigh(crowd, features)
    assert np.array_equal(logs, weigh(Crowd(), features)[0])


def test_wide_embeddings_are_thinned() -> None:
    """What is compared, and kept in every snapshot, stays as narrow whatever the encoder."""
    for width in (WIDE, 384, 768, 4096):
        _, crowd = weigh(Crowd(), odd_among_many(200, width)[0])
        assert COLUMNS // 2 < crowd.units.shape[1] <= COLUMNS
