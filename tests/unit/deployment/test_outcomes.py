"""What became of the models, as a fold over the topic `models`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import reduce

import pytest

from tiebreak.contracts.messages import ModelEvent, ModelRecord
from tiebreak.deployment.outcomes import Outcomes, Promoted

UP, BACK, HELD, SHADOW = ModelEvent.PROMOTED, ModelEvent.ROLLED_BACK, ModelEvent.HELD, ModelEvent.SHADOW


def record(event: ModelEvent, version: str, parent: str = "", **metrics: float) -> ModelRecord:
    report = json.dumps({"metrics": metrics}) if metrics else ""
    return ModelRecord("tests", version, event, "", parent, 1, (), report, "gate", 1)


def outcomes_of(records: Iterable[ModelRecord]) -> Outcomes:
    return reduce(Outcomes.after, records, Outcomes())


def test_success_and_regret_count_each_model_once() -> None:
    """Four judged, three served, one of them taken back, and back again by hand: a record again changes nothing."""
    happened = [record(UP, "1"), record(UP, "2"), record(HELD, "3"), record(BACK, "1", "2"), record(UP, "4")]
    found = outcomes_of(happened)
    assert (found.retrain_success, found.serving) == (0.75, "4")
    assert found.regret == pytest.approx(1 / 3)
    again = outcomes_of([r for r in happened for _ in range(2)])
    assert again == found
    assert found.after(record(UP, "2")).retrain_success == 0.75
    assert (Outcomes().retrain_success, Outcomes().regret, Outcomes().median_entropy_drop) == (None, None, None)


def test_a_rollout_that_ends_early_is_no_regret_and_one_that_ends_well_keeps_its_figures() -> None:
    """The stages are there to find out: only what served all alone can be taken back; figures are those of the verdict."""
    tried = [record(UP, "1"), record(SHADOW, "2", nll=0.4, entropy=0.3, champion_entropy=0.6)]
    ended = outcomes_of([*tried, record(BACK, "1", "2")])
    assert (ended.regret, ended.retrain_success) == (0.0, 0.5)
    served = outcomes_of([*tried, record(ModelEvent.CANARY, "2"), record(UP, "2", "1")])
    assert served.promoted == (Promoted("1", None, None), Promoted("2", 0.4, 0.5))


def test_the_median_drop_is_over_the_models_that_say_one() -> None:
    """The first has no model before it; one rose; what somebody else wrote on the topic is no figure and no fault."""
    found = outcomes_of(
        [
            record(UP, "1", nll=1.0, entropy=1.0),
            record(UP, "2", nll=0.8, entropy=0.75, champion_entropy=1.0),
            record(UP, "3", nll=0.9, entropy=0.9, champion_entropy=0.75),
            *(ModelRecord("tests", v, UP, "", "", 1, (), v, "gate", 1) for v in ("{", "[]", '{"metrics": 1}')),
            *(
                record(UP, str(v), nll=v, entropy=v, champion_entropy=1.0)
                for v in (10**400, float("nan"), float("inf"))
            ),
        ]
    )
    assert found.median_entropy_drop == pytest.approx(0.5 * (0.25 - 0.2))
    assert [one.nll for one in found.promoted] == [1.0, 0.8, 0.9, *[None] * 6]
