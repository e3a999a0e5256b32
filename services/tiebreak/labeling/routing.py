"""Which way a task waits, and which ways a person is served. Pure.

A route is the name of a line in the queue: a lane (``normal``), a lane for people with a skill (``normal+birds``), or one person's
own (``to:ann``, ``for:ann``). A person is served from the lines they may take, in order; nobody else is even looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tiebreak.contracts.errors import Invalid
from tiebreak.contracts.messages import Task
from tiebreak.contracts.project import Labeling, RoutingRule
from tiebreak.labeling.lifecycle import REVIEW, Lane, lane_of, rank

_PERSONAL = "to:"
_KEPT = "for:"
_SKILL = "+"
# Members of an enumeration are slow to walk through, and this happens at every claim.
_LANES = tuple(str(lane) for lane in Lane)
_TEN_YEARS_MS = 10 * 365 * 86_400_000


def routed(task: Task, labeling: Labeling) -> Task:
    """The task in the lane (with the skill, and the deadline) that the project's rules give it: of each, the first rule that says.

    A deadline of the task's own stands.
    """
    if task.audience:
        return task
    matching = [rule for rule in labeling.rules if _applies(rule, task)]
    lane = next((rule.lane for rule in matching if rule.lane), lane_of(task.lane))
    skill = next((rule.skill for rule in matching if rule.skill), "")
    within_s = next((rule.answer_within_s for rule in matching if rule.answer_within_s), 0.0)
    due_ms = task.deadline_ms or (task.created_ms + round(within_s * 1000) if within_s and task.created_ms else 0)
    return replace(task, lane=f"{lane}{_SKILL}{skill}" if skill else str(lane), deadline_ms=due_ms)


def _applies(rule: RoutingRule, task: Task) -> bool:
    uncertainty = task.selection.uncertainty
    return (
        (rule.uncertainty_over is None or uncertainty > rule.uncertainty_over)
        and (not rule.predicted or task.predicted in rule.predicted)
        and (not rule.reasons or task.selection.reason in rule.reasons)
    )


def route_of(task: Task) -> str:
    """The line in which a task waits; an unknown lane is the normal one, since a typo must not hide a task."""
    if task.audience:
        return _PERSONAL + task.audience
    lane, plus, skill = task.lane.partition(_SKILL)
    return f"{lane_of(lane)}{plus}{skill}" if skill else str(lane_of(lane))


def lane_start(route: str, head_start_ms: int) -> int | None:
    """How much later (ms) than a normal one a lane's task of the same age is served; less than 0 is sooner. None for what is no lane.

    >>> [lane_start(route, 100) for route in ("triage+birds", "normal", "backfill", "to:ann")]
    [-100, 0, 100, None]
    """
    lane = route.partition(_SKILL)[0]
    return (_LANES.index(lane) - 1) * head_start_ms if lane in _LANES else None


def place_of(task: Task, head_start_ms: int) -> float:
    """The rank of a task in its line: by age and priority, and early enough for its deadline.

    A task with a deadline is served as a triage task that waits since two head starts before it: one head start before its end
    nothing fresh comes before it, whatever its lane.
    """
    place = rank(task.created_ms, task.priority)
    start = lane_start(route_of(task), head_start_ms)
    if not task.deadline_ms or start is None:
        return place
    return min(place, float(task.deadline_ms - 2 * head_start_ms - start))


def expires_from(task: Task) -> int:
    """When a task's time to live begins (Unix ms; 0: now). What waits for one person has ten years: nobody else can take it."""
    return task.created_ms + _TEN_YEARS_MS if task.audience else task.created_ms


def is_personal(route: str) -> bool:
    """Whether it is one person's own line, on which gold waits."""
    return route.startswith(_PERSONAL)


def kept_for(name: str) -> str:
    """The line of tasks that are kept for a person for a while, since nobody would tell more about them."""
    return _KEPT + name


def routes_of(
    name: str, skills: Sequence[str], *, review: bool = False, personal: bool = False, best: bool = False
) -> tuple[str, ...]:
    """The lines a person is served from, first served first. Within a lane, work that few can do comes before anybody's.

    ``best``: also what is kept for them (:func:`kept_for`).

    >>> routes_of("ann", ["birds"], personal=True)[:3]
    ('to:ann', 'triage+birds', 'triage')
    """
    own = (_PERSONAL + name,) if personal else ()
    disputed = (REVIEW,) if review else ()
    kept = (kept_for(name),) if best else ()
    lanes = [route for lane in _LANES for route in (*(f"{lane}{_SKILL}{skill}" for skill in skills), lane)]
    return (*own, *disputed, *kept, *lanes)


def may_take(task: Task, labeling: Labeling) -> Callable[[str], bool]:
    """Whether a person (by name) is served from the line of ``task``, as far as skills say."""
    skill = task.lane.partition(_SKILL)[2]
    people = labeling.skills.get(skill, ()) if skill else None
    return lambda name: people is None or name in people


Usher = Callable[[str, int, bool, Sequence[str]], Sequence[str]]
"""Which lines a person (by name), who wants so many tasks, may or may not review, and names the skills to use (none: all of
theirs), is served from."""


def everybody(name: str, _want: int, review: bool, _skills: Sequence[str]) -> Sequence[str]:
    """The usher of a project without skills and without gold."""
    return routes_of(name, (), review=review)


def skills_of(name: str, labeling: Labeling, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The skills that the project grants a person; of these only the wanted ones where any are named.

    Raises Invalid for a wanted skill that is not granted: nobody should wait for tasks that can never come.
    """
    if not labeling.skills and not wanted:
        return ()
    granted = [skill for skill, people in labeling.skills.items() if name in people]
    missing = sorted(set(wanted) - set(granted))
    if missing:
        raise Invalid(
            f"skills: {name} does not have {', '.join(missing)}.",
            fix=f"Use {', '.join(granted)}, or none." if granted else "Leave skills out, or ask a manager for it.",
        )
    return tuple(skill for skill in granted if not wanted or skill in wanted)
