"""A batch is appraised: utilities, draws and the share to aim at, and what the drift detectors make of it. Pure."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.hashing import AUDIT_COIN
from tiebreak.contracts.messages import DriftEvent, DriftRecord
from tiebreak.contracts.tensors import Form
from tiebreak.sampling import acquisition, acquisition_forms, bandit, chance, drift, neighbours, schedule
from tiebreak.sampling.appraisal import (
    Appraisal,
    Moment,
    Policy,
    Scored,
    cold,
    columns_of,
    names_of,
    predicted_of,
    utilities,
)
from tiebreak.sampling.drift import DriftState, Fired
from tiebreak.sampling.drift_records import moved, record
from tiebreak.sampling.mistakes import level_at
from tiebreak.sampling.mixing import Mixture, mix
from tiebreak.sampling.neighbours import Seen
from tiebreak.sampling.pricing import Tariff, affordable_labels
from tiebreak.sampling.schedule import Plan
from tiebreak.sampling.state import SamplerState

Floats = NDArray[np.float64]


def appraise(policy: Policy, state: SamplerState, batch: Scored, moment: Moment) -> tuple[Appraisal, SamplerState]:
    """Utilities, draws and drift of a batch of at least one event."""
    kind, utility = utilities(policy.sampling.strategy, batch)
    audit, draws = chance.draws(policy.sampling.seed, AUDIT_COIN, batch.ids, 4 if policy.groups else 3)
    plan = schedule.arrive(state.plan, len(batch), moment.now_s)
    per_hour = affordable_labels(policy.budget, policy.tariff, state.spending)
    share = schedule.base_share(plan, policy.sampling, per_hour, moment.fleet)
    watched, fired = _watch(policy, state, batch, utility, moment)
    records, bursts, plan = _react(policy, replace(state, plan=plan), batch, (fired, share), moment.now_s)
    around, learner, mixture = state.around, state.bandit, None
    prices = _prices(policy.tariff, batch, utility)
    if policy.sampling.strategy in neighbours.KINDS and batch.features is not None and _tells_classes(batch):
        # The detectors have had the margin: the mean of ranks hardly moves, whatever happens.
        kind, seen = policy.sampling.strategy, Seen(utility, batch.features, batch.probabilities, draws[:, 2])
        utility, around = neighbours.rank(kind, around, seen)
    if policy.arms:
        learner = bandit.learned(learner, policy.arms, moment.returned, alarm=any(one.alarm for one in fired))
        if _tells_classes(batch):
            mixture, learner = _mixed(policy, learner, batch, utility, draws)
            kind, utility = "bandit", mixture.chosen
    appraisal = Appraisal(
        kind=kind,
        utility=utility,
        sound=_sound(batch),
        audit=audit,
        draws=draws,
        share=share,
        records=records,
        bursts=bursts,
        prices=prices,
        mixture=mixture,
    )
    return appraisal, replace(state, plan=plan, drift=watched, version=batch.version, around=around, bandit=learner)


def _mixed(
    policy: Policy, learner: bandit.Bandit, batch: Scored, margin: Floats, draws: Floats
) -> tuple[Mixture, bandit.Bandit]:
    around = None if batch.features is None else Seen(margin, batch.features, batch.probabilities, draws[:, 2])
    turn, _ = chance.draws(policy.sampling.seed, "arm", batch.ids, 0)
    return mix(policy.arms, learner, (margin, around), lambda arm: utilities(arm, batch), turn)


def _prices(tariff: Tariff | None, batch: Scored, utility: Floats) -> Floats | None:
    if tariff is None or not tariff.differs:
        return None
    return tariff.prices(utility, names_of(batch, batch.probabilities) if tariff.by_class else [], batch.kilobytes)


def _sound(batch: Scored) -> NDArray[np.bool_]:
    if cold(batch):
        return np.ones(len(batch), dtype=np.bool_)
    if batch.form is Form.MULTI:
        return acquisition_forms.well_formed(batch.probabilities)
    return acquisition.well_formed(batch.probabilities)


def _tells_classes(batch: Scored) -> bool:
    return not cold(batch) and batch.values is None and batch.form is Form.CLASSES


def _observed(policy: Policy, batch: Scored, utility: Floats) -> drift.Observed:
    modelled = not cold(batch) and len(batch) > 0
    return drift.Observed(
        events=len(batch),
        classes=batch.probabilities.shape[1] if batch.values is None else acquisition_forms.BANDS,
        uncertainty=utility if modelled else None,
        predicted=predicted_of(batch) if modelled else None,
        inputs=None if batch.inputs is None else drift.input_statistics(batch.inputs, policy.sampling.seed),
    )


def _watch(
    policy: Policy, state: SamplerState, batch: Scored, utility: Floats, moment: Moment
) -> tuple[DriftState, tuple[Fired, ...]]:
    watched = state.drift
    fired: list[Fired] = []
    for wrong in moment.errors:
        watched, from_error = drift.observe_error(watched, wrong, policy.drift, state.seen)
        fired.extend(from_error)
    level = level_at(policy.sampling.target_share)
    for checked in moment.checked if drift.LABEL_ERROR in policy.drift.signals else ():
        watched, from_label = drift.observe_label(watched, checked, policy.drift, state.seen, level)
        fired.extend(from_label)
    if batch.version != state.version and state.version:
        watched = drift.new_model(watched, inputs_too=batch.embedded)
    watched, from_batch = drift.observe(watched, _observed(policy, batch, utility), policy.drift, state.seen)
    return watched, (*fired, *from_batch)


def _react(
    policy: Policy, state: SamplerState, batch: Scored, seen: tuple[tuple[Fired, ...], float], now_s: float
) -> tuple[tuple[DriftRecord, ...], tuple[tuple[str, int], ...], Plan]:
    """A warning for each watch that fired alone, and a burst for each alarm."""
    fired, share = seen
    plan, burst = state.plan, policy.drift.burst
    records: list[DriftRecord] = []
    bursts: list[tuple[str, int]] = []
    for one in fired:
        if not one.alarm:
            records.append(record(policy.project, batch, DriftEvent.WARNING, one, now_s))
            continue
        row = min(max(0, one.at - state.seen - 1), len(batch) - 1)
        # Named after the event that raised it: a replay opens the same burst, and borrows for it once.
        burst_id = blake2b(batch.ids[row], digest_size=8, key=policy.project.encode()[:64]).hexdigest()
        size = schedule.burst_labels(plan, burst) if policy.sampling.rule == "adaptive" else 0
        # The usual shares are of the model that served them, and known once a block of it is full.
        known = state.drift.usual_blocks > 0 and batch.version == state.version and not cold(batch)
        part = moved(state.drift.usual, predicted_of(batch), columns_of(batch)) if known else ""
        records.append(record(policy.project, batch, DriftEvent.ALARM, one, now_s, (burst_id, size, part)))
        if size:
            plan = schedule.open_burst(plan, burst_id, one.at, burst, share)
            bursts.append((burst_id, size))
            records.append(record(policy.project, batch, DriftEvent.BURST_OPENED, one, now_s, (burst_id, size, part)))
    return tuple(records), tuple(bursts), plan
