"""Which line a task waits in, and who is served from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from tests.support.labeling import a_task
from tiebreak.contracts.errors import Invalid
from tiebreak.contracts.messages import Reason, Task
from tiebreak.contracts.project import Labeling, RoutingRule
from tiebreak.labeling.routing import route_of, routed, routes_of, skills_of

LABELING = Labeling(
    rules=(
        RoutingRule(uncertainty_over=0.6, lane="triage"),
        RoutingRule(predicted=("bird",), skill="birds"),
        RoutingRule(reasons=(Reason.NOVEL,), lane="backfill"),
    ),
    skills={"birds": ("ann", "bob")},
)


def task(
    *,
    uncertainty: float = 0.1,
    predicted: str = "cat",
    reason: Reason = Reason.UNCERTAIN,
    lane: str = "normal",
    audience: str = "",
) -> Task:
    plain = replace(a_task(1), predicted=predicted, lane=lane, audience=audience)
    return replace(plain, selection=replace(plain.selection, uncertainty=uncertainty, reason=reason))


@pytest.mark.parametrize(
    ("given", "route"),
    [
        (task(), "normal"),
        (task(uncertainty=0.7), "triage"),
        (task(uncertainty=0.6), "normal"),
        (task(predicted="bird"), "normal+birds"),
        (task(predicted="bird", uncertainty=0.9, reason=Reason.NOVEL), "triage+birds"),
        (task(reason=Reason.NOVEL), "backfill"),
        (task(lane="backfill"), "backfill"),
        (task(lane="no such lane"), "normal"),
        (task(uncertainty=0.9, audience="ann"), "to:ann"),
    ],
)
def test_the_first_rule_that_speaks_of_a_lane_or_a_skill_decides_it(given: Task, route: str) -> None:
    """What the model was unsure of goes first; what few can judge goes to them; what is one person's stays theirs."""
    assert route_of(routed(given, LABELING)) == route


def test_a_rule_gives_a_deadline_and_a_tasks_own_one_stands() -> None:
    """So long after the task was made; the first matching rule that says, as for lanes; without one there is none."""
    rules = (RoutingRule(predicted=("bird",), lane="triage"), RoutingRule(uncertainty_over=0.6, answer_within_s=90))
    soon = Labeling(rules=rules)
    made = task(uncertainty=0.7, predicted="bird")
    due = [routed(t, soon).deadline_ms for t in (made, replace(made, deadline_ms=7), task())]
    assert due == [made.created_ms + 90_000, 7, 0]
    assert route_of(routed(made, soon)) == "triage"


def test_a_person_is_served_their_own_then_disputes_then_lane_by_lane() -> None:
    """Within a lane, work for which a skill is needed comes first; of several skills, the ones that were asked for."""
    mine = skills_of("ann", LABELING)
    assert routes_of("ann", mine, review=True, personal=True) == (
        "to:ann",
        "review",
        "triage+birds",
        "triage",
        "normal+birds",
        "normal",
        "backfill+birds",
        "backfill",
    )
    assert routes_of("cyd", skills_of("cyd", LABELING)) == ("triage", "normal", "backfill")
    many = Labeling(skills={"birds": ("ann",), "cars": ("ann",)})
    assert (skills_of("ann", many), skills_of("ann", many, ["cars"])) == (("birds", "cars"), ("cars",))


@pytest.mark.parametrize(
    ("name", "fix"), [("ann", "Use birds, or none."), ("cyd", "Leave skills out, or ask a manager for it.")]
)
def test_a_skill_that_a_person_does_not_have_is_refused_with_what_to_do(name: str, fix: str) -> None:
    """A typo in a skill's name must not leave somebody waiting for tasks that never come."""
    with pytest.raises(Invalid) as refused:
        skills_of(name, LABELING, ["cars"])
    assert (refused.value.message, refused.value.fix) == (f"skills: {name} does not have cars.", fix)


def test_a_rule_for_a_skill_that_nobody_has_is_refused() -> None:
    """Its tasks would wait for ever."""
    with pytest.raises(ValidationError, match="nobody has the skill 'cars'"):
        Labeling(rules=(RoutingRule(predicted=("cat",), skill="cars"),))
