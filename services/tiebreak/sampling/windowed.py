"""Choosing the best of a window instead of deciding event by event (``sampling.window_s``). Pure.

Among a window's candidates, those most worth asking, greedy k-center (Gonzalez 1985; Sener and Savarese 2018) places as many centres as
there are labels to spend; each candidate belongs to its nearest centre, and of each such cluster one event is drawn, the more uncertain
the likelier (margin within clusters, after Citovsky et al. 2021): ``p = exp(s / temper) / sum exp(s / temper)`` over the cluster, ``s``
the log utility less price and resemblance to what was asked lately. The clusters hold no chance, so this is the propensity.

Floors (``balance.py``) have their coins here too. A coin that falls takes its event, and the rest of the labels goes to the clusters of
the others: given how the other coins fell, the chance of an event is ``coin + (1 - coin) p``, ``p`` being as if its own had not fallen.

A window is a batch: how the stream is cut decides what competes with what. Novelty has no part of its own: the centres spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, floor, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import Reason, Selection
from tiebreak.contracts.tensors import FloatArray, product
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
from tiebreak.sampling.chance import gumbel
from tiebreak.sampling.choosing import CHANCE_TEMPER, LOG_FLOOR
from tiebreak.sampling.decision import Allowance, Decision
from tiebreak.sampling.drift_records import closed
from tiebreak.sampling.state import SamplerState, digest
from tiebreak.sampling.typicality import weight

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CANDIDATES = 8  # per label: k-center over everything would ask about outliers
MOST = 256  # labels of one window; a larger one is cut, since the cost grows with their square
MOST_FLOORED = 64  # with floors each coin that fell costs as much again
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
    most = MOST_FLOORED if policy.groups else MOST
    length = max(1, int(most / max(1e-9, appraisal.share)))
    for start in range(0, len(batch), length):
        window.choose(start, min(len(batch), start + length))
    return window.decision(), window.state


@dataclass(frozen=True, slots=True)
class _Worth:
    """Rows side by side: what each is worth (``base``), its luck (``noise``) and what price and resemblance cost it (``lost``)."""

    rows: list[int]
    base: Floats
    noise: Floats
    units: FloatArray | None
    temper: float
    lost: Floats

    def part(self, places: Sequence[int]) -> tuple[Floats, Floats, FloatArray | None, float]:
        """What :func:`winners` looks at, of some of the rows."""
        at = np.asarray(places, np.int64)
        return self.base[at], self.noise[at], None if self.units is None else self.units[at], self.temper


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
        self._floors = floors(policy, state, batch, appraisal)
        self._slice = AuditSlice(policy, state, batch, appraisal.audit)
        self._inside: NDArray[np.bool_] | None = None
        self._aim: Floats | None = None

    def choose(self, start: int, stop: int) -> None:
        """Choose among the rows from ``start`` to before ``stop``."""
        policy, state = self._policy, self.state
        burst, was_burst = state.plan.burst, schedule.in_force(state.plan, state.seen)
        over = schedule.ended(state.plan, state.seen, policy.drift.burst)
        share = self._appraisal.share
        plan = schedule.next_block(state.plan, share, stop - start, state.seen, policy.drift.burst)
        if over and burst.own:
            self._records.append(closed(policy.project, self._batch, burst, (over, state.known), plan.last_s))
        recent = state.recent
        if schedule.in_force(plan, state.seen) and not was_burst:
            recent = diversity.Memory()  # after a change, what resembles old questions is worth asking again
        most = threshold.BEHIND + plan.share * (stop - start) if self._others > 0 else 0.0
        balance = min(most, state.balance + plan.share * (stop - start))
        self.state = replace(state, plan=plan, balance=balance, recent=recent)
        self._inside, self._aim = aimed(policy, plan, state.seen, self._batch)
        self._slice.open(plan.share)
        drawn = self._slice.rows(start, stop)
        self.state = replace(self.state, origins=replace(self._slice.origins, asked=state.origins.asked))
        for row in sorted(drawn - self._batch.replayed):
            if self._audits > 0:
                self._audits -= 1
                self._add(row, Reason.AUDIT, (0.0, self._slice.coin(row)))
        rest: list[int] = (np.flatnonzero(self._askable[start:stop]) + start).tolist()
        rest = [row for row in rest if row not in drawn and row not in self._batch.replayed]
        if self._floors is None:
            self._spend(rest, [])
        else:
            self._floors.open_block(plan.share, stop - start)
            owing = self._floors.rows(start, stop)
            self._spend([row for row in rest if row not in owing], [row for row in rest if row in owing])
            self.state = replace(self.state, floors=self._floors.state())
        seen = state.seen + stop - start
        self._slice.seen(start, stop)
        self.state = replace(self.state, seen=seen, until=seen, contrast=self._slice.contrast)

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

    def _spend(self, rows: list[int], owing: list[int]) -> None:
        """Take those ``owing`` whose coin fell, and with what is left the best of ``rows``."""
        labels = max(0, min(self._others, floor(self.state.balance + HAIR), len(rows) + len(owing)))
        if not labels:
            return
        owing = [row for row in owing[:labels] if not self._crowded(row)]
        worth = self._worth([*rows, *owing])
        left = labels - len(owing)
        taken: list[tuple[int, Reason, float, float]] = []
        for at in range(len(rows), len(rows) + len(owing)):
            # As if its own coin had not fallen: one label more for the others, and it among them.
            places = sorted([*range(len(rows)), at], key=worth.rows.__getitem__)
            taken.append((at, Reason.RARE, 0.0, chance_in(worth.part(places), left + 1, places.index(at))))
        others = worth.part(range(len(rows)))
        for at, probability, runner_up in winners(*others, left) if left else ():
            needed = 0.0 if self._chance else exp(min(1.0, runner_up - worth.temper * worth.noise[at] - worth.lost[at]))
            taken.append((at, self._reason(), needed, probability))
        # In stream order, as questions are counted for the cap of an origin.
        for at, reason, needed, probability in sorted(taken, key=lambda one: worth.rows[one[0]]):
            row = worth.rows[at]
            if self._crowded(row):
                continue
            coin, name = 0.0, ""
            if self._floors is not None:
                coin, name = self._floors.chance(row), self._floors.name(row)
                self._floors.took(row)
            self._others -= 1
            either = coin + (1.0 - coin) * probability
            self._add(row, reason, (needed, (1.0 - self._slice.coin(row)) * either), f"floor: {name}")
            self._remember(row, None if worth.units is None else worth.units[at])

    def _worth(self, rows: list[int]) -> _Worth:
        policy, sampling, features = self._policy, self._policy.sampling, self._batch.features
        chance, ordered = self._chance, self._policy.sampling.strategy != "random"
        least = CHANCE_TEMPER if chance or schedule.in_force(self.state.plan, self.state.seen) else 0.0
        units = None if features is None else diversity.unit_rows(features[rows])
        lost = np.zeros(len(rows))
        if self._appraisal.prices is not None and ordered:
            lost -= np.log(self._appraisal.prices[rows])
        if units is not None and sampling.near_duplicates.memory and ordered:
            similar = diversity.nearest(self.state.recent, units)
            lost += diversity.penalties(similar, sampling.near_duplicates.similarity)
        if self._aim is not None and ordered and not chance:
            lost += self._aim[rows]
        if self._appraisal.typical is not None and not chance:
            part = weight(sampling.typicality, self._batch.probabilities.shape[1], self.state.asked)
            lost += part * self._appraisal.typical[rows]
        base = lost + (0.0 if chance else np.log(self._appraisal.utility[rows] + LOG_FLOOR))
        noise = gumbel(self._appraisal.draws[rows, 0])
        return _Worth(rows, base, noise, units, max(temper_of(policy, self._batch), least), lost)

    @property
    def _chance(self) -> bool:
        return by_chance(self._policy, self._batch)

    def _reason(self) -> Reason:
        if self._chance:
            return Reason.RANDOM if self._policy.sampling.strategy == "random" else Reason.COLD_START
        return Reason.BURST if schedule.in_force(self.state.plan, self.state.seen) else Reason.UNCERTAIN

    def _crowded(self, row: int) -> bool:
        return origins.crowded(self.state.origins, self._batch.origin_of, row, self._policy.sampling.origin_share)

    def _remember(self, row: int, unit: FloatArray | None) -> None:
        limit, memory = self._policy.sampling.origin_share, self._policy.sampling.near_duplicates.memory
        self.state = replace(
            self.state, origins=origins.remember(self.state.origins, self._batch.origin_of, row, limit)
        )
        if unit is not None:
            recent = diversity.remember(self.state.recent, unit, memory)
            self.state = replace(self.state, recent=recent, asked=self.state.asked + 1)

    def _add(self, row: int, reason: Reason, why: tuple[float, float], owed: str = "") -> None:
        state, (needed, probability) = self.state, why
        value = float(self._appraisal.utility[row])
        by_chance_alone = reason in {Reason.COLD_START, Reason.RANDOM}
        strategy = owed if reason is Reason.RARE else "random" if by_chance_alone else self._appraisal.kind
        burst = schedule.burst_in_force(state.plan, state.seen)
        audited = (self._slice.weight(row), self._slice.challenger(row)) if reason is Reason.AUDIT else (0.0, "")
        # How likely an audited event was to be chosen of its window is not known: the slice alone tells of the error since the alarm.
        tells = reason is Reason.AUDIT and burst and (self._inside is None or self._inside[row])
        in_burst = min(1.0, self._slice.least / probability) if tells else 0.0
        told = Why(reason, strategy, value, needed - LOG_FLOOR, probability, self._digest, burst, audited, in_burst)
        self._chosen.append((row, selection_of(self._policy, self._batch, row, told)))
        plan = schedule.spent(state.plan, 1, state.seen, int(in_burst > 0.0))
        self.state = replace(state, balance=state.balance - 1.0, plan=plan)


def winners(base: Floats, noise: Floats, units: FloatArray | None, temper: float, labels: int) -> list[_Winner]:
    """At most ``labels`` rows, one of each cluster: ``base`` ``(n,)`` is what each is worth, ``noise`` ``(n,)`` its Gumbel noise.

    Without ``units`` ``(n, d)`` the clusters are dealt out by rank, one candidate after another.
    """
    found = []
    for members in _clusters(base, units, labels):
        scores = base[members] + temper * noise[members]
        order = np.argsort(-scores, kind="stable")
        winner = int(members[order[0]])
        runner_up = float(scores[order[1]]) if len(order) > 1 else log(LOG_FLOOR)
        found.append(_Winner(winner, _wins(base[members], int(order[0]), temper), runner_up))
    return found


def chance_in(those: tuple[Floats, Floats, FloatArray | None, float], labels: int, at: int) -> float:
    """The probability that row ``at`` is among the winners."""
    base, _, units, temper = those
    for members in _clusters(base, units, labels):
        place = np.flatnonzero(members == at)
        if len(place):
            return _wins(base[members], int(place[0]), temper)
    return 0.0


def _clusters(base: Floats, units: FloatArray | None, labels: int) -> list[Ints]:
    # Ties are broken by place: no chance may decide who is a candidate.
    candidates = np.argsort(-base, kind="stable")[: CANDIDATES * labels]
    if not len(candidates):
        return []
    if units is None:
        cluster: Ints = np.arange(len(candidates)) % labels
    else:
        cluster = k_center(units[candidates], labels)
    return [candidates[cluster == number] for number in range(int(cluster.max()) + 1)]


def _wins(base: Floats, at: int, temper: float) -> float:
    """The probability that one of a cluster draws the highest score."""
    if temper <= 0.0:
        return 1.0 if at == int(base.argmax()) else 0.0
    relative = (base - base[at]) / temper
    return float(1.0 / np.exp(np.clip(relative, -700.0, 700.0)).sum())


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
