"""A batch is appraised: utilities, draws and the share to aim at, and what drift makes of it. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.hashing import AUDIT_COIN
from tiebreak.contracts.tensors import Form
from tiebreak.sampling import acquisition, acquisition_forms, bandit, chance, neighbours, schedule, typicality
from tiebreak.sampling.alarms import heed
from tiebreak.sampling.appraisal import (
    Appraisal,
    Moment,
    Policy,
    Scored,
    cold,
    names_of,
    utilities,
)
from tiebreak.sampling.mixing import Mixture, mix
from tiebreak.sampling.neighbours import Seen
from tiebreak.sampling.pricing import Tariff, affordable_labels
from tiebreak.sampling.state import SamplerState

Floats = NDArray[np.float64]


def appraise(policy: Policy, state: SamplerState, batch: Scored, moment: Moment) -> tuple[Appraisal, SamplerState]:
    """Utilities, draws and drift of a batch of at least one event."""
    kind, utility = utilities(policy.sampling.strategy, batch)
    audit, draws = chance.draws(policy.sampling.seed, AUDIT_COIN, batch.ids, 4 if policy.groups else 3)
    plan = schedule.arrive(state.plan, len(batch), moment.now_s)
    per_hour = affordable_labels(policy.budget, policy.tariff, state.spending)
    share = schedule.base_share(plan, policy.sampling, per_hour, moment.fleet)
    state, heeded = heed(policy, replace(state, plan=plan), batch, (utility, share), moment)
    around, learner, mixture = state.around, state.bandit, None
    prices = _prices(policy.tariff, batch, utility)
    if policy.sampling.strategy in neighbours.KINDS and batch.features is not None and _tells_classes(batch):
        # The detectors have had the margin: the mean of ranks hardly moves, whatever happens.
        kind, seen = policy.sampling.strategy, Seen(utility, batch.features, batch.probabilities, draws[:, 2])
        utility, around = neighbours.rank(kind, around, seen)
    if policy.arms:
        learner = bandit.learned(learner, policy.arms, moment.returned, alarm=heeded.alarm)
        if _tells_classes(batch):
            mixture, learner = _mixed(policy, learner, batch, utility, draws)
            kind, utility = "bandit", mixture.chosen
    crowd, typical = state.crowd, None
    if _looks_around(policy, batch) and batch.features is not None:
        typical, crowd = typicality.weigh(crowd, batch.features)
    appraisal = Appraisal(
        kind=kind,
        utility=utility,
        sound=_sound(batch),
        audit=audit,
        draws=draws,
        share=share,
        records=heeded.records,
        bursts=heeded.bursts,
        prices=prices,
        mixture=mixture,
        typical=typical,
    )
    return appraisal, replace(state, version=batch.version, around=around, bandit=learner, crowd=crowd)


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


def _looks_around(policy: Policy, batch: Scored) -> bool:
    """Whether typical events are preferred: of embeddings, whose cosines mean something; chance that is asked for stays chance."""
    sampling, features = policy.sampling, batch.features
    wanted = (
        sampling.typicality > 0.0
        and sampling.strategy != "random"
        and sampling.rule == "adaptive"
        and batch.values is None
    )
    return wanted and features is not None and features.shape[1] >= typicality.WIDE


def _tells_classes(batch: Scored) -> bool:
    return not cold(batch) and batch.values is None and batch.form is Form.CLASSES
