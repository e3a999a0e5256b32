"""Choosing rows of an appraised batch, block by block: the scratch work behind ``policy.choose``. Pure."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import DriftRecord, Reason, Selection
from tiebreak.contracts.tensors import FloatArray
from tiebreak.sampling import diversity, origins, schedule, threshold
from tiebreak.sampling.aiming import aimed
from tiebreak.sampling.appraisal import (
    Appraisal,
    Policy,
    Scored,
    Why,
    askable,
    by_chance,
    floors,
    selection_of,
    temper_of,
)
from tiebreak.sampling.audit_slice import AuditSlice
from tiebreak.sampling.budget import HAIR
from tiebreak.sampling.chance import clears, gumbel, gumbel_level
from tiebreak.sampling.decision import Allowance, Decision
from tiebreak.sampling.diversity import Memory
from tiebreak.sampling.drift_records import closed
from tiebreak.sampling.novelty import Novelty
from tiebreak.sampling.schedule import BLOCK
from tiebreak.sampling.state import SamplerState, digest
from tiebreak.sampling.typicality import weight

Floats = NDArray[np.float64]

CATCH_UP = 2.0 * BLOCK  # events within which labels that are behind the plan are asked for
LOG_FLOOR = 1e-3  # a utility of 0 stays comparable: ln(1e-3)
CHANCE_TEMPER = 1.0  # of cold starts, of strategy `random`, and at least that of bursts
NOVEL_SHARE = 0.05  # of the budget, for events far from everything asked so far: more of it buys out-of-scope traffic
COVERAGE = 128
ASKED_LEAST = 16  # questions before "unlike any of them" means anything


class _Row(NamedTuple):
    """A row on its visit: ``base`` is its log utility less what resemblance and price cost (``lost``), ``noise`` its luck."""

    row: int
    unit: FloatArray | None
    base: float
    lost: float
    noise: float


class Chooser:
    """Scratch of one choice: mutable for speed, never kept, never shared.

    ``open_block`` where ``until`` is reached, ``block`` for the rows up to the next, then ``decision`` and ``state``.
    """

    def __init__(
        self, policy: Policy, state: SamplerState, batch: Scored, appraisal: Appraisal, allowance: Allowance
    ) -> None:
        self._policy, self._sampling, self._near = policy, policy.sampling, policy.sampling.near_duplicates
        self._batch, self._appraisal, self._began = batch, appraisal, state
        self.seen, self._asked, self._balance = state.seen, state.asked, state.balance
        self._regime, self._plan, self._origins = state.regime, state.plan, state.origins
        self._slice = AuditSlice(policy, state, batch, appraisal.audit)
        self._scores, self._novelty = state.scores, Novelty(batch, appraisal, state.novelties)
        self._recent, self._coverage, self._waiting = state.recent, state.coverage, state.waiting
        self._audits, self._others = allowance.audits, allowance.others
        self._log_utility = np.log(appraisal.utility + LOG_FLOOR)
        # Utility per price, in logarithms. Chance that is asked for stays chance.
        prices = None if policy.sampling.strategy == "random" else appraisal.prices
        self._log_price = None if prices is None else np.log(prices)
        self._noise = gumbel(appraisal.draws[:, 0])
        self._askable = askable(policy, batch, appraisal)
        self.until = schedule.closes_at(state.plan, state.seen, state.until)
        self._floors = floors(policy, state, batch, appraisal)
        self._owing: set[int] = set()
        self._rows: list[int] = []
        self._selections: list[Selection] = []
        self._records: list[DriftRecord] = list(appraisal.records)
        self._digest = ""
        self._set_rates()

    # -- per block ---------------------------------------------------------------------------------------------

    def open_block(self) -> None:
        """Fix what holds for the next block: share, regime, coverage, levels."""
        burst, over = self._plan.burst, schedule.ended(self._plan, self.seen, self._policy.drift.burst)
        chance = by_chance(self._policy, self._batch)
        length = BLOCK if chance else schedule.block_length(self._plan, self._appraisal.share)
        self.until = self.seen + length
        self._plan = schedule.next_block(self._plan, self._appraisal.share, length, self.seen, self._policy.drift.burst)
        if over and burst.own:
            why = over, self._began.known
            self._records.append(closed(self._policy.project, self._batch, burst, why, self._plan.last_s))
        self._enter(self._next_regime(chance))
        for unit in self._waiting.units:
            self._coverage = diversity.cover(self._coverage, unit, COVERAGE, self._near.similarity)
        self._asked, self._waiting = self._asked + len(self._waiting), Memory()
        if self._floors is not None:
            self._floors.open_block(self._plan.share, length)
        self._slice.open(self._plan.share)
        self._set_rates()
        due = threshold.due(BLOCK, self._sampling.window)
        if length >= due or self.seen % due == 0 or not self._scores.usable:
            # The audit slice has had its part of the events already.
            left = max(1e-9, 1.0 - self._slice.share - self._slice.contrast.part)
            # Scores fall while a model learns, and yesterday's quantile then asks too little: what is missing is caught up with.
            behind = max(0.0, self._balance) / CATCH_UP
            self._scores = threshold.relevel(self._scores, (self._uncertain_share + behind) / left)
        # Resemblance hardly ever raises a score: below this, a row need not be looked at.
        most = self._balance + self._plan.share * length
        self._scores = threshold.bounded(self._scores, most, 2.0 * diversity.FLOOR)
        self._novelty.relevel(self._novel_share)

    def block(self, start: int, stop: int) -> None:
        """Visit the rows of a block that could be selected; push every score."""
        base, scores = self._luck(start, stop)
        self._owing = set() if self._floors is None else self._floors.rows(start, stop)
        novel = self._novelty.rows(start, stop, self._coverage) if self._novel_share else self._novelty.none()
        rows = self._slice.rows(start, stop) | novel | self._near_threshold(scores, start)
        rows |= self._owing
        reached = self._walk(sorted(rows - self._batch.replayed), base, scores, start) if rows else start - 1
        self._accrue(stop - 1 - reached)
        self._slice.seen(start, stop)
        self.seen += stop - start
        self._scores = threshold.push(self._scores, scores, self._sampling.window)

    def _luck(self, start: int, stop: int) -> tuple[Floats, Floats]:
        """The rows' log utilities, and those with noise added."""
        base = np.zeros(stop - start) if self._regime == "chance" else self._log_utility[start:stop]
        if self._log_price is not None:
            base = base - self._log_price[start:stop]
        for more in (self._aim, self._typical):
            base = base if more is None else base + more[start:stop]
        return base, base + self._temper * self._noise[start:stop]

    def _walk(self, rows: list[int], base: Floats, scores: Floats, start: int) -> int:
        """Visit ``rows`` in stream order; their scores lose what resemblance costs. Returns the last row that was accrued for."""
        reached = start - 1
        if self._audits <= 0 and self._others <= 0:
            return reached  # nobody can be selected: only the scores count
        units = self._units_of(rows)
        lost = self._resemblances(units, len(rows))
        for at, row in enumerate(rows):
            self._accrue(row - reached)
            reached = row
            own = float(lost[at])
            score = scores[row - start] = float(scores[row - start]) + own
            unit = None if units is None else units[at]
            other = own - (0.0 if self._log_price is None else float(self._log_price[row]))
            other += sum(float(more[row]) for more in (self._aim, self._typical) if more is not None)
            one = _Row(row, unit, float(base[row - start]) + own, other, float(self._noise[row]))
            before = self._recent
            self._visit(one, score)
            if self._recent is not before and units is not None:
                lost[at + 1 :] = self._resemblances(units[at + 1 :], len(rows) - at - 1)
        return reached

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
        return replace(
            self._began,
            seen=self.seen,
            asked=self._asked,
            until=self.until,
            regime=self._regime,
            balance=self._balance,
            scores=self._scores,
            novelties=self._novelty.window,
            recent=self._recent,
            coverage=self._coverage,
            waiting=self._waiting,
            plan=self._plan,
            origins=replace(self._slice.origins, asked=self._origins.asked),
            floors=self._began.floors if self._floors is None else self._floors.state(),
            contrast=self._slice.contrast,
        )

    # -- rates -------------------------------------------------------------------------------------------------

    def _next_regime(self, chance: bool) -> str:
        if chance:
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
        share, audit, own = self._plan.share, self._sampling.audit_share, temper_of(self._policy, self._batch)
        ordered = self._sampling.strategy != "random"
        novel = self._sampling.novelty and ordered and self._asked >= ASKED_LEAST and len(self._coverage) > 0
        self._slice.fix(share)
        self._novel_share = NOVEL_SHARE * (1.0 - audit) * share if novel else 0.0
        others = self._novel_share + self._slice.contrast.part + (0.0 if self._floors is None else self._floors.part())
        self._uncertain_share = max(0.0, share - self._slice.share - others)
        self._temper = own if self._regime == "model" else max(own, CHANCE_TEMPER)
        self._apart = ordered and self._near.memory > 0
        self._inside, self._aim = aimed(self._policy, self._plan, self.seen, self._batch)
        self._aim = self._aim if self._regime.startswith("burst") and ordered else None
        self._typical = None
        if self._appraisal.typical is not None and self._regime != "chance":
            part = weight(self._sampling.typicality, self._batch.probabilities.shape[1], self._asked)
            self._typical = part * self._appraisal.typical

    def _accrue(self, events: int) -> None:
        # What the budget refuses is not owed: the balance would lower the threshold, and whoever comes first after a refusal be asked.
        most = threshold.BEHIND if self._others > 0 else 0.0
        self._balance = min(most, self._balance + self._plan.share * events)

    # -- candidates --------------------------------------------------------------------------------------------

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

    def _units_of(self, rows: list[int]) -> FloatArray | None:
        features = self._batch.features
        return None if features is None else diversity.unit_rows(features[rows])

    # -- one row -----------------------------------------------------------------------------------------------

    def _resemblances(self, units: FloatArray | None, count: int) -> Floats:
        """``(count,)`` what each row loses by being like what was selected lately."""
        if units is None or not self._apart:
            return np.zeros(count)
        return diversity.penalties(diversity.nearest_each(self._recent, units), self._near.similarity)

    def _visit(self, one: _Row, score: float) -> None:
        coin = self._slice.coin(one.row)
        if self._appraisal.audit[one.row] < coin:
            if self._audits > 0:
                self._audits -= 1
                asked = coin + (self._otherwise(one, score) if self._plan.burst.burst_id else 0.0)
                self._add(one.row, Reason.AUDIT, (self._appraisal.kind, self._utility(one), 0.0), coin, asked)
            return
        if not self._able(one.row):
            return
        must, chosen = self._uncertain(one, score)
        wanted = chosen or one.row in self._novelty.found or one.row in self._owing
        if not wanted or self._crowded(one.row):
            return
        probability = self._probability(one, must)
        if one.row in self._novelty.found:
            self._take(one, Reason.NOVEL, ("novelty", *self._novelty.told(one.row)), probability)
        elif not chosen and self._floors is not None:
            self._take(one, Reason.RARE, (f"floor: {self._floors.name(one.row)}", self._utility(one), 0.0), probability)
        else:
            chance = self._regime == "chance"
            needed = 0.0 if chance else exp(min(1.0, must - self._temper * one.noise - one.lost))
            kind = "random" if chance else self._appraisal.kind_of(one.row)
            self._take(one, self._reason(), (kind, self._utility(one), needed), probability)

    def _able(self, row: int) -> bool:
        """Whether the plan, the budget and the row itself allow of a question outside the audit slice."""
        # Sums of shares differ in their last bits with how a stream is cut; a whole label must not hang on those.
        return self._balance > HAIR - threshold.AHEAD and self._others > 0 and bool(self._askable[row])

    def _crowded(self, row: int) -> bool:
        return origins.crowded(self._origins, self._batch.origin_of, row, self._sampling.origin_share)

    def _otherwise(self, one: _Row, score: float) -> float:
        """The probability that an audited row is not audited and asked about all the same."""
        if not self._able(one.row) or self._crowded(one.row):
            return 0.0
        return self._either(one, self._probability(one, self._uncertain(one, score)[0]))

    def _either(self, one: _Row, probability: float) -> float:
        """The probability that a row is no audit and is asked about in one way or another; ``probability`` for its uncertainty."""
        if one.unit is not None and self._novel_share:
            novel = self._novelty.probability(self._coverage, one.unit)
            probability = 1.0 - (1.0 - probability) * (1.0 - novel)
        if self._floors is not None:
            probability = 1.0 - (1.0 - probability) * (1.0 - self._floors.chance(one.row))
        return (1.0 - self._slice.coin(one.row)) * probability

    def _uncertain(self, one: _Row, score: float) -> tuple[float, bool]:
        """The threshold, and whether the score reaches it."""
        if self._uncertain_share <= 0.0:
            return float("inf"), False
        if self._plan.share >= 1.0:
            return float("-inf"), True
        if not self._scores.usable:
            # Too few scores for a quantile: chance alone, at the share itself.
            return float("-inf"), one.noise >= gumbel_level(self._uncertain_share)
        must = threshold.threshold(self._scores, self._balance)
        return must, score >= must

    def _probability(self, one: _Row, must: float) -> float:
        """The probability that a row of this utility reaches the threshold ``must``."""
        share = self._uncertain_share
        if share <= 0.0 or self._plan.share >= 1.0:
            return 0.0 if share <= 0.0 else 1.0
        if not self._scores.usable:
            return min(1.0, share)
        mixture = self._appraisal.mixture if self._regime != "chance" else None
        if mixture is None:
            return clears(one.base, must, self._temper)
        return mixture.clears(one.row, one.lost, must, (self._temper, LOG_FLOOR))

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
        self._origins = origins.remember(self._origins, self._batch.origin_of, one.row, self._sampling.origin_share)
        propensity = self._either(one, probability)
        if self._floors is not None:
            self._floors.took(one.row)
        self._add(one.row, reason, why, propensity, self._slice.coin(one.row) + propensity)
        if one.unit is not None:
            self._recent = diversity.remember(self._recent, one.unit, self._near.memory)
            self._waiting = diversity.remember(self._waiting, one.unit, BLOCK)

    def _add(self, row: int, reason: Reason, why: tuple[str, float, float], propensity: float, asked: float) -> None:
        self._digest = self._digest or digest(self._began)
        kind, value, needed = why
        burst = schedule.burst_in_force(self._plan, self.seen)
        audited = (self._slice.weight(row), self._slice.challenger(row)) if reason is Reason.AUDIT else (0.0, "")
        tells = burst and asked > 0.0 and (self._inside is None or self._inside[row])
        in_burst = min(1.0, self._slice.least / asked) if tells else 0.0
        told = Why(reason, kind, value, needed - LOG_FLOOR, propensity, self._digest, burst, audited, in_burst)
        self._rows.append(row)
        self._selections.append(selection_of(self._policy, self._batch, row, told))
        self._balance -= 1.0
        self._plan = schedule.spent(self._plan, 1, self.seen, int(in_burst > 0.0))
