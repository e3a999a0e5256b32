"""Choosing the best of a window instead of deciding event by event (``sampling.window_s``). Pure.

Among a window's candidates, those most worth asking, greedy k-center (Gonzalez 1985; Sener and Savarese 2018) places as many centres as
there are labels to spend; each candidate belongs to its nearest centre, and of each such cluster one event is drawn, the more uncertain
the likelier (margin within clusters, after Citovsky et al. 2021): ``p = exp(s / temper) / sum exp(s / temper)`` over the cluster, ``s``
the log utility less price and resemblance to what was asked lately. The clusters hold no chance, so this is the propensity.

A window is a batch: how the stream is cut decides what competes with what. Novelty has no part of its own: the centres spread.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, floor, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import Reason, Selection
from tiebreak.contracts.tensors import FloatArray, product
from tiebreak.sampling import diversity, origins, schedule, threshold
from tiebreak.sampling.appraisal import (
    Appraisal,
    Policy,
    Scored,
    Why,
    askable,
    by_chance,
    selection_of,
    temper_of,
)
from tiebreak.sampling.budget import HAIR
from tiebreak.sampling.chance import gumbel
from tiebreak.sampling.choosing import CHANCE_TEMPER, LOG_FLOOR
from tiebreak.sampling.decision import Allowance, Decision
from tiebreak.sampling.drift_records import closed
from tiebreak.sampling.state import SamplerState, digest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CANDIDATES = 8  # per label: k-center over everything would ask about outliers
MOST = 256  # labels of one window; a larger one is cut, since the cost grows with their square
APART = 1e-4  # cosine distance below which two events are one


class _Winner(NamedTuple):
    """A row drawn from its cluster: with which probability, and which score the best of the others had."""

    row: int
    probability: float
    runner_up: float


def choose_in_window(
    policy: Policy, state: SamplerState, batch: Scored, appraisal: Appraisal, allowance: Allowance
) -> tuple[Decision, SamplerState]:
    """Rows of an appraised window, as far as ``allowance`` goes: each audit that chance draws, and the best of the rest."""
    window = Window(policy, state, batch, appraisal, allowance)
    length = max(1, int(MOST / max(1e-9, appraisal.share)))
    for start in range(0, len(batch), length):
        window.choose(start, min(len(batch), start + length))
    return window.decision(), window.state


class Window:
    """Scratch of one choice: ``choose`` each part, then read ``decision`` and ``state``."""

    def __init__(
        self, policy: Policy, state: SamplerState, batch: Scored, appraisal: Appraisal, allowance: Allowance
    ) -> None:
        self.state = state
        self._policy, self._batch, self._appraisal, self._digest = policy, batch, appraisal, digest(state)
        self._audits, self._others = allowance.audits, allowance.others
        self._chosen: list[tuple[int, Selection]] = []
        self._records = list(appraisal.records)
        self._askable = askable(policy, batch, appraisal)

    def choose(self, start: int, stop: int) -> None:
        """Choose among the rows from ``start`` to before ``stop``."""
        policy, state = self._policy, self.state
        burst, was_burst = state.plan.burst, schedule.in_force(state.plan, state.seen)
        share = self._appraisal.share
        plan = schedule.next_block(state.plan, share, stop - start, state.seen, policy.drift.burst)
        if was_burst and not plan.burst.burst_id:
            self._records.append(closed(policy.project, self._batch, burst, plan.last_s))
        recent = state.recent
        if schedule.in_force(plan, state.seen) and not was_burst:
            recent = diversity.Memory()  # after a change, what resembles old questions is worth asking again
        most = threshold.BEHIND + plan.share * (stop - start) if self._others > 0 else 0.0
        balance = min(most, state.balance + plan.share * (stop - start))
        self.state = replace(state, plan=plan, balance=balance, recent=recent)
        audit_share = policy.sampling.audit_share * plan.share
        audit = self._appraisal.audit[start:stop] < audit_share
        rows = [row for row in (np.flatnonzero(audit) + start).tolist() if row not in self._batch.replayed]
        for row in rows:
            if self._audits > 0:
                self._audits -= 1
                self._add(row, Reason.AUDIT, (0.0, audit_share))
        rest: list[int] = (np.flatnonzero(~audit & self._askable[start:stop]) + start).tolist()
        self._spend([row for row in rest if row not in self._batch.replayed], audit_share)
        self.state = replace(self.state, seen=state.seen + stop - start, until=state.seen + stop - start)

    def decision(self) -> Decision:
        """What was chosen."""
        self._chosen.sort(key=lambda one: one[0])
        return Decision(
            kind=self._appraisal.kind,
            utility=self._appraisal.utility,
            rows=tuple(row for row, _ in self._chosen),
            selections=tuple(selection for _, selection in self._chosen),
            records=tuple(self._records),
            audits=sum(selection.audit for _, selection in self._chosen),
        )

    def _spend(self, rows: list[int], audit_share: float) -> None:
        labels = max(0, min(self._others, floor(self.state.balance + HAIR), len(rows)))
        if not labels:
            return
        chance = by_chance(self._policy, self._batch)
        burst = schedule.in_force(self.state.plan, self.state.seen)
        temper = max(temper_of(self._policy, self._batch), CHANCE_TEMPER if chance or burst else 0.0)
        near, features = self._policy.sampling.near_duplicates, self._batch.features
        units = None if features is None else diversity.unit_rows(features[rows])
        lost = np.zeros(len(rows))
        if self._appraisal.prices is not None and self._policy.sampling.strategy != "random":
            lost -= np.log(self._appraisal.prices[rows])
        if units is not None and near.memory and self._policy.sampling.strategy != "random":
            lost += diversity.penalties(diversity.nearest(self.state.recent, units), near.similarity)
        base = lost + (0.0 if chance else np.log(self._appraisal.utility[rows] + LOG_FLOOR))
        noise = gumbel(self._appraisal.draws[rows, 0])
        cold = Reason.RANDOM if self._policy.sampling.strategy == "random" else Reason.COLD_START
        reason = cold if chance else Reason.BURST if burst else Reason.UNCERTAIN
        # In stream order, as questions are counted for the cap of an origin.
        for at, probability, runner_up in sorted(winners(base, noise, units, temper, labels)):
            row, limit = rows[at], self._policy.sampling.origin_share
            if origins.crowded(self.state.origins, self._batch.origin_of, row, limit):
                continue
            self._others -= 1
            needed = 0.0 if chance else exp(min(1.0, runner_up - temper * float(noise[at]) - float(lost[at])))
            self._add(row, reason, (needed, (1.0 - audit_share) * probability))
            asked = origins.remember(self.state.origins, self._batch.origin_of, row, limit)
            self.state = replace(self.state, origins=asked)
            if units is not None:
                recent = diversity.remember(self.state.recent, units[at], near.memory)
                self.state = replace(self.state, recent=recent, asked=self.state.asked + 1)

    def _add(self, row: int, reason: Reason, why: tuple[float, float]) -> None:
        state, (needed, probability) = self.state, why
        value = float(self._appraisal.utility[row])
        by_chance_alone = reason in {Reason.COLD_START, Reason.RANDOM}
        strategy = "random" if by_chance_alone else self._appraisal.kind
        burst = schedule.burst_in_force(state.plan, state.seen)
        told = Why(reason, strategy, value, needed - LOG_FLOOR, probability, self._digest, burst)
        self._chosen.append((row, selection_of(self._policy, self._batch, row, told)))
        self.state = replace(state, balance=state.balance - 1.0, plan=schedule.spent(state.plan, 1, state.seen))


def winners(base: Floats, noise: Floats, units: FloatArray | None, temper: float, labels: int) -> list[_Winner]:
    """At most ``labels`` rows, one of each cluster: ``base`` ``(n,)`` is what each is worth, ``noise`` ``(n,)`` its Gumbel noise.

    Without ``units`` ``(n, d)`` the clusters are dealt out by rank, one candidate after another.
    """
    # Ties are broken by place: no chance may decide who is a candidate.
    candidates = np.argsort(-base, kind="stable")[: CANDIDATES * labels]
    if units is None:
        cluster: Ints = np.arange(len(candidates)) % labels
    else:
        cluster = k_center(units[candidates], labels)
    found = []
    for number in range(int(cluster.max()) + 1):
        members = candidates[cluster == number]
        scores = base[members] + temper * noise[members]
        order = np.argsort(-scores, kind="stable")
        winner = int(members[order[0]])
        if temper > 0.0:
            relative = (base[members] - base[winner]) / temper
            probability = float(1.0 / np.exp(np.clip(relative, -700.0, 700.0)).sum())
        else:
            probability = 1.0
        runner_up = float(scores[order[1]]) if len(order) > 1 else log(LOG_FLOOR)
        found.append(_Winner(winner, probability, runner_up))
    return found


def k_center(units: FloatArray, centres: int) -> Ints:
    """``(n,)``: the nearest centre of each unit row, centres being placed greedily, each where the distance to the others is largest.

    The first row is the first centre. Fewer centres where no two rows are apart any more.

    >>> k_center(np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.0, 1.0]], np.float32), 3).tolist()
    [0, 1, 2, 1]
    """
    nearest = np.zeros(len(units), np.int64)
    distance = 1.0 - product(units, units[0][:, None])[:, 0]
    for number in range(1, centres):
        farthest = int(distance.argmax())
        if distance[farthest] < APART:
            break
        own = 1.0 - product(units, units[farthest][:, None])[:, 0]
        closer = own < distance
        closer[farthest] = True
        nearest[closer], distance = number, np.where(closer, own, distance)
    return nearest
