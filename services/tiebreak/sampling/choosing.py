"""Choosing rows of an appraised batch, block by block: the scratch work behind ``policy.choose``. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import DriftEvent, DriftRecord, Reason, Selection
from tiebreak.contracts.ports import Grant
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling import diversity, schedule, threshold
from tiebreak.sampling.appraisal import Appraisal, Policy, Scored, by_chance
from tiebreak.sampling.chance import clears, gumbel, gumbel_level
from tiebreak.sampling.diversity import Memory
from tiebreak.sampling.state import SamplerState, digest

Floats = NDArray[np.float64]

BLOCK = 64
LOG_FLOOR = 1e-3  # a utility of 0 stays comparable: ln(1e-3)
CHANCE_TEMPER = 1.0  # of cold starts, of strategy `random`, and at least that of bursts
NOVEL_SHARE = 0.1  # of the budget, for events far from everything asked so far: more of it buys out-of-scope traffic
NOVEL_EXAMINED = 0.25  # of the events: a new class sends many, and comparing each with the whole coverage costs
NOVEL_TEMPER = 0.1
NOVEL_WINDOW = 256
COVERAGE = 128
ASKED_LEAST = 16  # questions before "unlike any of them" means anything
LEAST_PROPENSITY = 1e-9


@dataclass(frozen=True, slots=True)
class Decision:
    """``rows`` ascending, one selection each, ``audits`` of them audit tasks. ``utility`` ``(n,)`` is of kind ``kind``."""

    kind: str
    utility: Floats
    rows: tuple[int, ...]
    selections: tuple[Selection, ...]
    records: tuple[DriftRecord, ...]
    audits: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a budget allows of a batch: audits first, since a thinned audit slice is no longer uniform."""

    audits: int
    others: int

    @classmethod
    def of(cls, grant: Grant, wanted: Decision) -> Allowance:
        """Split a grant that is smaller than what was wanted."""
        audits = min(grant.granted, wanted.audits)
        return cls(audits, grant.granted - audits)


UNLIMITED = Allowance(2**62, 2**62)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that may be selected: ``base`` is its log utility less what resemblance costs, ``noise`` its luck."""

    row: int
    unit: FloatArray | None
    base: float
    lost: float
    noise: float


class Chooser:
    """Scratch of one choice: mutable for speed, never kept, never shared.

    ``open_block`` at every multiple of ``BLOCK`` events seen, ``block`` for the rows up to the next, then ``decision`` and ``state``.
    """

    def __init__(
        self, policy: Policy, state: SamplerState, batch: Scored, appraisal: Appraisal, allowance: Allowance
    ) -> None:
        self._policy, self._sampling, self._near = policy, policy.sampling, policy.sampling.near_duplicates
        self._batch, self._appraisal, self._began = batch, appraisal, state
        self.seen, self._asked, self._balance = state.seen, state.asked, state.balance
        self._regime, self._plan = state.regime, state.plan
        self._scores, self._novelties = state.scores, state.novelties
        self._recent, self._coverage, self._waiting = state.recent, state.coverage, state.waiting
        self._audits, self._others = allowance.audits, allowance.others
        self._log_utility = np.log(appraisal.utility + LOG_FLOOR)
        self._noise = gumbel(appraisal.draws[:, 0])
        self._novel: dict[int, tuple[float, float]] = {}
        self._rows: list[int] = []
        self._selections: list[Selection] = []
        self._records: list[DriftRecord] = list(appraisal.records)
        self._digest = ""
        self._set_rates()

    # -- per block ---------------------------------------------------------------------------------------------

    def open_block(self) -> None:
        """Fix what holds for the next block: share, regime, coverage, levels."""
        burst = self._plan.burst
        was_burst = schedule.in_force(self._plan, self.seen)
        self._plan = schedule.next_block(self._plan, self._appraisal.share, BLOCK, self.seen, self._policy.drift.burst)
        if was_burst and not self._plan.burst.burst_id:
            self._records.append(self._closed(burst.burst_id))
        self._enter(self._next_regime())
        for unit in self._waiting.units:
            self._coverage = diversity.cover(self._coverage, unit, COVERAGE, self._near.similarity)
        self._asked += len(self._waiting)
        self._waiting = Memory()
        self._set_rates()
        if self.seen % threshold.due(BLOCK, self._sampling.window) == 0 or not self._scores.usable:
            # The audit slice has had its part of the events already.
            left = max(1e-9, 1.0 - self._audit_share)
            self._scores = threshold.relevel(self._scores, self._uncertain_share / left)
        # Resemblance hardly ever raises a score: below this, a row need not be looked at.
        most = self._balance + self._plan.share * BLOCK
        self._scores = threshold.bounded(self._scores, most, 2.0 * diversity.FLOOR)
        self._novelties = threshold.relevel(self._novelties, self._novel_share / NOVEL_EXAMINED)

    def block(self, start: int, stop: int) -> None:
        """Visit the rows of a block that could be selected; push every score."""
        base = np.zeros(stop - start) if self._regime == "chance" else self._log_utility[start:stop]
        scores = base + self._temper * self._noise[start:stop]
        rows = self._audit_rows(start, stop) | self._novel_rows(start, stop) | self._near_threshold(scores, start)
        reached = start - 1
        for one in self._looked_at(sorted(rows - self._batch.replayed), base, start):
            self._accrue(one.row - reached)
            reached = one.row
            lost = self._resemblance(one)
            scores[one.row - start] += lost
            self._visit(replace(one, base=one.base + lost, lost=lost), float(scores[one.row - start]))
        self._accrue(stop - 1 - reached)
        self.seen += stop - start
        self._scores = threshold.push(self._scores, scores, self._sampling.window)

    def decision(self) -> Decision:
        """What was selected."""
        return Decision(
            kind=self._appraisal.kind,
            utility=self._appraisal.utility,
            rows=tuple(self._rows),
            selections=tuple(self._selections),
            records=tuple(self._records),
            audits=sum(s.audit for s in self._selections),
        )

    def state(self) -> SamplerState:
        """The state after the rows visited."""
        return SamplerState(
            drift=self._began.drift,
            seen=self.seen,
            asked=self._asked,
            version=self._began.version,
            regime=self._regime,
            balance=self._balance,
            scores=self._scores,
            novelties=self._novelties,
            recent=self._recent,
            coverage=self._coverage,
            waiting=self._waiting,
            plan=self._plan,
        )

    # -- rates -------------------------------------------------------------------------------------------------

    def _next_regime(self) -> str:
        if by_chance(self._policy, self._batch):
            return "chance"
        return f"burst {self._plan.burst.burst_id}" if schedule.in_force(self._plan, self.seen) else "model"

    def _enter(self, regime: str) -> None:
        if regime == self._regime:
            return
        # Scores of another regime are on another scale; after a change, what resembles old questions is worth asking again.
        self._regime, self._scores = regime, threshold.Window()
        if regime.startswith("burst"):
            self._recent = Memory()

    def _set_rates(self) -> None:
        share, audit, own = self._plan.share, self._sampling.audit_share, self._sampling.temper
        ordered = self._sampling.strategy != "random"
        novel = self._sampling.novelty and ordered and self._asked >= ASKED_LEAST and len(self._coverage) > 0
        self._audit_share = audit * share
        self._novel_share = NOVEL_SHARE * (1.0 - audit) * share if novel else 0.0
        self._uncertain_share = max(0.0, share - self._audit_share - self._novel_share)
        self._temper = own if self._regime == "model" else max(own, CHANCE_TEMPER)
        self._apart = ordered and self._near.memory > 0

    def _accrue(self, events: int) -> None:
        self._balance = min(threshold.BEHIND, self._balance + self._plan.share * events)

    # -- candidates --------------------------------------------------------------------------------------------

    def _audit_rows(self, start: int, stop: int) -> set[int]:
        drawn = np.flatnonzero(self._appraisal.audit[start:stop] < self._audit_share)
        return set((drawn + start).tolist())

    def _near_threshold(self, scores: Floats, start: int) -> set[int]:
        """Rows whose score could clear the lowest threshold this block can have."""
        if self._uncertain_share <= 0.0:
            return set()
        if self._plan.share >= 1.0:
            return set(range(start, start + len(scores)))
        if self._scores.usable:
            likely = scores >= self._scores.lowest
        else:
            likely = self._noise[start : start + len(scores)] >= gumbel_level(self._uncertain_share)
        return set((np.flatnonzero(likely) + start).tolist())

    def _novel_rows(self, start: int, stop: int) -> set[int]:
        """Examine a part of the rows for novelty; answer those that clear its level."""
        self._novel.clear()
        features = self._batch.features
        if features is None or self._novel_share == 0.0:
            return set()
        rows = np.flatnonzero(self._appraisal.draws[start:stop, 2] < NOVEL_EXAMINED) + start
        novelty = 1.0 - diversity.nearest(self._coverage, diversity.unit_rows(features[rows]))
        bases = np.log(novelty + LOG_FLOOR)
        scores = bases + NOVEL_TEMPER * gumbel(self._appraisal.draws[rows, 1])
        self._novelties = threshold.push(self._novelties, scores, NOVEL_WINDOW)
        if self._novelties.usable:
            for at in np.flatnonzero(scores >= self._novelties.level).tolist():
                self._novel[int(rows[at])] = float(bases[at]), float(scores[at])
        return set(self._novel)

    def _looked_at(self, rows: list[int], base: Floats, start: int) -> list[_Row]:
        features = self._batch.features
        units = None if features is None or not rows else diversity.unit_rows(features[rows])
        noise = self._noise
        return [
            _Row(row, None if units is None else units[at], float(base[row - start]), 0.0, float(noise[row]))
            for at, row in enumerate(rows)
        ]

    # -- one row -----------------------------------------------------------------------------------------------

    def _resemblance(self, one: _Row) -> float:
        if one.unit is None or not self._apart:
            return 0.0
        return diversity.penalty(diversity.nearest_one(self._recent, one.unit), self._near.similarity)

    def _visit(self, one: _Row, score: float) -> None:
        if self._appraisal.audit[one.row] < self._audit_share:
            if self._audits > 0:
                self._audits -= 1
                self._add(one.row, Reason.AUDIT, (self._appraisal.kind, self._utility(one), 0.0), self._audit_share)
            return
        if self._balance <= -threshold.AHEAD or self._others <= 0:
            return
        must, chosen, probability = self._uncertain(one, score)
        if one.row in self._novel:
            base, drawn = self._novel[one.row]
            value = exp(base) - LOG_FLOOR
            self._take(one, Reason.NOVEL, ("novelty", value, exp(self._novelties.level - drawn + base)), probability)
        elif chosen:
            chance = self._regime == "chance"
            needed = 0.0 if chance else exp(min(1.0, must - self._temper * one.noise - one.lost))
            kind = "random" if chance else self._appraisal.kind
            self._take(one, self._reason(), (kind, self._utility(one), needed), probability)

    def _uncertain(self, one: _Row, score: float) -> tuple[float, bool, float]:
        """The threshold, whether the score reaches it, and the probability that it would have."""
        share = self._uncertain_share
        if share <= 0.0:
            return float("inf"), False, 0.0
        if self._plan.share >= 1.0:
            return float("-inf"), True, 1.0
        if not self._scores.usable:
            # Too few scores for a quantile: chance alone, at the share itself.
            return float("-inf"), one.noise >= gumbel_level(share), min(1.0, share)
        must = threshold.threshold(self._scores, self._balance)
        return must, score >= must, clears(one.base, must, self._temper)

    def _novel_probability(self, unit: FloatArray | None) -> float:
        if unit is None or self._novel_share == 0.0 or not self._novelties.usable:
            return 0.0
        novelty = 1.0 - diversity.nearest_one(self._coverage, unit)
        return NOVEL_EXAMINED * clears(log(novelty + LOG_FLOOR), self._novelties.level, NOVEL_TEMPER)

    def _utility(self, one: _Row) -> float:
        return float(self._appraisal.utility[one.row])

    def _reason(self) -> Reason:
        if self._regime == "model":
            return Reason.UNCERTAIN
        if self._regime != "chance":
            return Reason.BURST
        return Reason.RANDOM if self._sampling.strategy == "random" else Reason.COLD_START

    # -- selecting ---------------------------------------------------------------------------------------------

    def _take(self, one: _Row, reason: Reason, why: tuple[str, float, float], probability: float) -> None:
        self._others -= 1
        either = 1.0 - (1.0 - probability) * (1.0 - self._novel_probability(one.unit))
        self._add(one.row, reason, why, (1.0 - self._audit_share) * either)
        if one.unit is not None:
            self._recent = diversity.remember(self._recent, one.unit, self._near.memory)
            self._waiting = diversity.remember(self._waiting, one.unit, BLOCK)

    def _add(self, row: int, reason: Reason, why: tuple[str, float, float], propensity: float) -> None:
        self._digest = self._digest or digest(self._began)
        kind, value, needed = why
        burst = self._plan.burst.burst_id if schedule.in_force(self._plan, self.seen) else ""
        self._rows.append(row)
        self._selections.append(
            Selection(
                strategy=kind,
                uncertainty=value,
                threshold=min(value, max(0.0, needed - LOG_FLOOR)),
                propensity=min(1.0, max(LEAST_PROPENSITY, propensity)),
                reason=reason,
                audit=reason is Reason.AUDIT,
                model_version=self._batch.version,
                state_digest=self._digest,
                burst_id=burst,
            )
        )
        self._balance -= 1.0
        self._plan = schedule.spent(self._plan, 1, self.seen)

    def _closed(self, burst_id: str) -> DriftRecord:
        return DriftRecord(
            project=self._policy.project,
            event=DriftEvent.BURST_CLOSED,
            detector="",
            signal="",
            statistic=0.0,
            slice="",
            burst_id=burst_id,
            burst_size=self._policy.drift.burst.labels,
            partition=self._batch.partition,
            offset=self._batch.offset,
            time_ms=int(max(0.0, self._plan.last_s) * 1000),
        )
