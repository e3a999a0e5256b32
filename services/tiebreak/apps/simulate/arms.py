"""The policies that a simulation compares, as text: ``margin``, ``entropy:temper=0``, ``margin:near_duplicates.memory=128``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from tiebreak.apps.simulate.selecting import PeriodicSelector, PolicySelector, Selector, UniformSelector
from tiebreak.contracts.errors import ConfigError
from tiebreak.contracts.project import Project, Sampling

# Baselines without a policy: each event with the same chance, and every so many events one.
UNIFORM, PERIODIC = "uniform", "periodic"
DEFAULT = "default"
# Policies named after a published rule; the strategy then says only what `biqf` ranks by.
RULES = frozenset({"fixed", "variable", "randomised", "split", "biqf"})


@dataclass(frozen=True, slots=True)
class Arm:
    """One policy at one budget (a share of the events), with one seed."""

    policy: str
    budget: float
    seed: int


def sampling_of(base: Sampling, policy: str) -> Sampling:
    """The sampling section that ``STRATEGY[:key=value,...]`` stands for; ``default`` keeps the strategy, a published
    rule's name (``split``) keeps it too and puts the rule in place of the adaptive threshold. Raises ConfigError.

    >>> sampling_of(Sampling(), "entropy:near_duplicates.memory=8").near_duplicates.memory
    8
    """
    strategy, _, changes = policy.partition(":")
    merged: dict[str, Any] = base.model_dump()
    if strategy in RULES:
        merged["rule"] = strategy
    elif strategy != DEFAULT:
        merged["strategy"] = strategy
    for change in filter(None, changes.split(",")):
        path, equals, value = change.partition("=")
        if not equals:
            raise ConfigError(f"--policy {policy}: {change!r} is no key=value.")
        *folders, key = path.strip().split(".")
        section: Any = merged
        for folder in folders:
            section = section.get(folder) if isinstance(section, dict) else None
        if not isinstance(section, dict) or key not in section:
            raise ConfigError(f"--policy {policy}: sampling has no key {path!r}.", fix=f"Keys: {', '.join(merged)}.")
        section[key] = yaml.safe_load(value)
    try:
        return Sampling.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"--policy {policy}: {where + ': ' if where else ''}{first['msg']}.") from error


def selector_of(project: Project, arm: Arm) -> Selector:
    """Who chooses in an arm. Raises ConfigError."""
    if arm.policy == UNIFORM:
        return UniformSelector(arm.budget, arm.seed)
    if arm.policy == PERIODIC:
        return PeriodicSelector(arm.budget)
    sampling = sampling_of(project.sampling, arm.policy)
    own = sampling.model_copy(update={"target_share": arm.budget, "seed": arm.seed})
    return PolicySelector(project.model_copy(update={"sampling": own, "budget": _unbounded(project)}))


def checked(project: Project, policies: Sequence[str], budgets: Sequence[float]) -> None:
    """Raises ConfigError for a policy or a budget that cannot be, before an hour is spent on the others."""
    for budget in budgets:
        if not 0.0 < budget <= 1.0:
            raise ConfigError(f"--budget {budget:g} is no share of the events from above 0 to 1.")
    for policy in policies:
        selector_of(project, Arm(policy, budgets[0], 0))
        if policy not in {UNIFORM, PERIODIC}:
            _fits(project, policy)


def _fits(project: Project, policy: str) -> None:
    """What the project as a whole has to say of a policy: floors need slices, a bandit single classes."""
    sampling = sampling_of(project.sampling, policy).model_dump()
    try:
        Project.model_validate(project.model_dump() | {"sampling": sampling})
    except ValidationError as error:
        raise ConfigError(f"--policy {policy}: {error.errors()[0]['msg']}.") from error


def grouped(arms: Sequence[Arm]) -> Mapping[tuple[str, float], list[int]]:
    """The places of the arms that differ in their seed alone."""
    groups: dict[tuple[str, float], list[int]] = {}
    for place, arm in enumerate(arms):
        groups.setdefault((arm.policy, arm.budget), []).append(place)
    return groups


def _unbounded(project: Project) -> Any:
    # The share is the budget here: a rate per hour would bind by the pace of a replay, which is none.
    return project.budget.model_copy(update={"labels_per_hour": 1e9, "money_per_hour": None})
