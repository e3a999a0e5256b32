"""What became of the models that were made: figures folded from the topic `models`. Pure.

*Retrain success* is the share of judged models that came to serve; *deployment regret* the share of those that serve or served
which were taken back again, by the gate or by people. A rollout that ends before its model serves all alone is no regret: the
stages are there for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from statistics import median

from tiebreak.contracts.messages import ModelEvent, ModelRecord

_JUDGED = frozenset({ModelEvent.PROMOTED, ModelEvent.HELD, ModelEvent.SHADOW})


@dataclass(frozen=True, slots=True)
class Promoted:
    """A model that came to serve: on the audit labels of its day, its NLL (nats), and the share by which mean entropy fell.

    None where no audit label was there to say, or no model before it.
    """

    version: str
    nll: float | None
    entropy_drop: float | None


@dataclass(frozen=True, slots=True)
class Outcomes:
    """``judged`` versions with a verdict, ``promoted`` those that came to serve, in that order; ``regretted`` those taken back."""

    judged: frozenset[str] = frozenset()
    promoted: tuple[Promoted, ...] = ()
    regretted: frozenset[str] = frozenset()
    serving: str = ""
    _tried: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def retrain_success(self) -> float | None:
        """In [0, 1]; None before the first verdict."""
        return len(self.served) / len(self.judged | self.served) if self.judged or self.promoted else None

    @property
    def regret(self) -> float | None:
        """In [0, 1]; None before the first promotion."""
        return len(self.regretted) / len(self.served) if self.promoted else None

    @property
    def served(self) -> frozenset[str]:
        """The versions that came to serve."""
        return frozenset(one.version for one in self.promoted)

    @property
    def median_entropy_drop(self) -> float | None:
        """Over the promoted models that say one."""
        drops = [one.entropy_drop for one in self.promoted if one.entropy_drop is not None]
        return median(drops) if drops else None

    def after(self, record: ModelRecord) -> Outcomes:
        """The figures once ``record`` has happened; a record again changes nothing."""
        judged = self.judged | {record.version} if record.event in _JUDGED else self.judged
        match record.event:
            case ModelEvent.SHADOW:
                # The record that ends a rollout carries no report: the one that began it does.
                return replace(self, judged=judged, _tried={record.version: record.report})
            case ModelEvent.PROMOTED if record.version != self.serving:
                report = record.report or self._tried.get(record.version, "")
                new = () if record.version in self.served else (_promoted(record.version, report),)
                return replace(self, judged=judged, promoted=(*self.promoted, *new), serving=record.version, _tried={})
            case ModelEvent.ROLLED_BACK if record.version != self.serving:
                taken = {self.serving} & self.served
                return replace(self, regretted=self.regretted | taken, serving=record.version, _tried={})
            case _:
                return replace(self, judged=judged)


def _promoted(version: str, report: str) -> Promoted:
    figures = _figures(report)
    before, now = figures.get("champion_entropy"), figures.get("entropy")
    return Promoted(version, figures.get("nll"), 1.0 - now / before if before and now is not None else None)


def _figures(report: str) -> dict[str, float]:
    # A record on the topic may have been written by anybody: what is not a figure is none.
    try:
        said = json.loads(report or "{}", parse_int=float)
    except (ValueError, RecursionError):
        return {}
    found = said.get("metrics", {}) if isinstance(said, dict) else {}
    return {k: v for k, v in found.items() if isinstance(v, float) and isfinite(v)} if isinstance(found, dict) else {}
