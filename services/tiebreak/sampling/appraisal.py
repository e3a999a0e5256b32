"""What can be said of a scored batch before any money is spent: utilities, draws, the share to aim at, drift and its bursts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import DriftEvent, DriftRecord, Reason, Selection
from tiebreak.contracts.project import Budget, Drift, Project, Sampling
from tiebreak.contracts.tensors import FloatArray, Form
from tiebreak.sampling import acquisition, acquisition_forms, bandit, chance, drift, neighbours, schedule
from tiebreak.sampling.balance import Floors, Group, groups_of
from tiebreak.sampling.bandit import Returned
from tiebreak.sampling.differing import Differs
from tiebreak.sampling.drift import DriftState, Fired
from tiebreak.sampling.drift_records import moved, record
from tiebreak.sampling.mistakes import Checked, level_at
from tiebreak.sampling.mixing import Mixture, mix
from tiebreak.sampling.neighbours import Seen
from tiebreak.sampling.origins import OriginOf
from tiebreak.sampling.pricing import Tariff, affordable_labels, tariff_of
from tiebreak.sampling.schedule import Plan
from tiebreak.sampling.state import SamplerState

Floats = NDArray[np.float64]

EMBEDDING = 64  # columns from which on features are taken for an embedding
EMBEDDING_TEMPER, TABLE_TEMPER = 0.25, 2.0
LEAST_PROPENSITY = 1e-9


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of one project, frozen."""

    project: str
    sampling: Sampling
    budget: Budget
    drift: Drift
    groups: tuple[Group, ...] = ()
    tariff: Tariff | None = None
    compared: float = 0.0

    @classmethod
    def of(cls, project: Project) -> Policy:
        """The policy that a project file asks for."""
        return cls(
            project.project,
            project.sampling,
            project.budget,
            project.drift,
            groups_of(project),
            tariff_of(project),
            project.gate.canary.compared,
        )

    @property
    def arms(self) -> tuple[str, ...]:
        """The acquisitions that a bandit chooses among; none without one."""
        return self.sampling.arms if self.sampling.strategy == "bandit" else ()

    @property
    def fingerprint(self) -> str:
        """Names the settings: a state made under others is not restored."""
        return blake2b(repr(self).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Scored:
    """A scored batch as arrays of ``n`` rows; see :class:`tiebreak.contracts.tensors.Scores` for the shapes.

    ``features`` ``(n, d)`` is what diversity compares, ``inputs`` ``(n, e)`` what the drift detectors watch, each None where there is
    none; ``embedded`` says that ``inputs`` were made by the model. ``replayed`` rows are never selected.
    ``form`` MULTI: each probability is of its own. ``values`` ``(n,)`` and ``members`` ``(m, n, 1)`` of a regressor are shares of
    the declared range. ``classes`` are the names of the columns; ``kilobytes`` ``(n,)`` how long events are, where that has a price.
    ``origin_of`` tells a row's source and key. ``partition`` and ``offset`` are those of the last row. ``differs`` ``(n,)``: where the
    answers of ``challenger`` differ from these.
    """

    ids: Sequence[bytes]
    version: str
    probabilities: FloatArray
    members: FloatArray | None = None
    features: FloatArray | None = None
    inputs: FloatArray | None = None
    embedded: bool = False
    replayed: frozenset[int] = frozenset()
    partition: int = 0
    offset: int = 0
    origin_of: OriginOf | None = None
    form: Form = Form.CLASSES
    values: FloatArray | None = None
    classes: Sequence[str] = ()
    kilobytes: Floats | None = None
    challenger: str = ""
    differs: Differs | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What can be said of a batch before any budget: per row the utility and its draws, for the batch the share to aim at.

    ``sound`` ``(n,)`` says which rows are what their form says they are (see :func:`askable`).
    ``bursts`` are those opened now, with their labels; ``prices`` ``(n,)`` in ordinary answers, where they differ.
    ``mixture``: the arms of a bandit, where one chooses among acquisitions.
    ``draws`` ``(n, 3)``: noise for uncertainty, noise for novelty, and whether to examine the row for novelty at all; a fourth column
    where there are floors, the coin of ``balance``.
    """

    kind: str
    utility: Floats
    sound: NDArray[np.bool_]
    audit: Floats
    draws: Floats
    share: float
    records: tuple[DriftRecord, ...]
    bursts: tuple[tuple[str, int], ...]
    prices: Floats | None = None
    mixture: Mixture | None = None

    @property
    def malformed(self) -> int:
        """How many rows are not sound."""
        return int((~self.sound).sum())

    def kind_of(self, row: int) -> str:
        """What decided about a row: of a bandit, its arm."""
        return self.kind if self.mixture is None else self.mixture.name(row)


@dataclass(frozen=True, slots=True)
class Moment:
    """What surrounds a batch: Unix time, this replica's part of the project's partitions in (0, 1], and the audit labels that
    came back since the last batch (whether the prediction each one checks was wrong). ``returned``: all labels, for a bandit;
    ``checked``: all of them, as far as mistakes go."""

    now_s: float
    fleet: float = 1.0
    errors: tuple[bool, ...] = ()
    returned: tuple[Returned, ...] = ()
    checked: tuple[Checked, ...] = ()


_BY_COMMITTEE: Mapping[str, Callable[[FloatArray], Floats]] = {
    "vote_entropy": acquisition.vote_entropy,
    "bald": acquisition.bald,
    "kl": acquisition.kl_to_consensus,
}
_BY_PROBABILITIES: Mapping[str, Callable[[FloatArray], Floats]] = {
    "least_confidence": acquisition.least_confidence,
    "entropy": acquisition.entropy,
    # Without the length of the features: divided by the largest, it would depend on what else is in the batch.
    "expected_gradient_length": acquisition.expected_gradient_length,
}


def initial(policy: Policy) -> SamplerState:
    """The state before the first event."""
    return SamplerState(drift.fresh(policy.drift), bandit=bandit.fresh(len(policy.arms)))


def appraise(policy: Policy, state: SamplerState, batch: Scored, moment: Moment) -> tuple[Appraisal, SamplerState]:
    """Utilities, draws and drift of a batch of at least one event."""
    kind, utility = utilities(policy.sampling.strategy, batch)
    audit, draws = chance.draws(policy.sampling.seed, "audit", batch.ids, 4 if policy.groups else 3)
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


def utilities(strategy: str, batch: Scored) -> tuple[str, Floats]:
    """The kind of utility and its values ``(n,)``.

    A committee strategy without a committee of two at least in the graph falls back to margin, as do ``density`` and
    ``error_reduction`` here, since they look at the stream (:func:`appraise`); ``random`` reports the margin too (for
    predictions and drift; it decides nothing). Without a model all is equally unknown: 1.
    """
    if batch.values is not None:
        return acquisition_forms.of_numbers(strategy, batch.values, batch.members)
    if batch.probabilities.shape[1] == 0:
        return strategy, np.ones(len(batch))
    if batch.form is Form.MULTI:
        return acquisition_forms.of_several(strategy, batch.probabilities, batch.members)
    if batch.members is not None and len(batch.members) > 1 and strategy in _BY_COMMITTEE:
        return strategy, _BY_COMMITTEE[strategy](batch.members)
    by_rows = _BY_PROBABILITIES.get(strategy)
    return (
        ("margin", acquisition.margin(batch.probabilities))
        if by_rows is None
        else (strategy, by_rows(batch.probabilities))
    )


def temper_of(policy: Policy, batch: Scored) -> float:
    """How much chance joins the log utility: what the project file says, else by whether features are embeddings or a table."""
    if policy.sampling.temper is not None:
        return policy.sampling.temper
    table = batch.features is not None and batch.features.shape[1] < EMBEDDING
    return TABLE_TEMPER if table else EMBEDDING_TEMPER


def by_chance(policy: Policy, batch: Scored) -> bool:
    """Whether utilities decide nothing: strategy ``random``, or no model that tells classes apart."""
    return policy.sampling.strategy == "random" or _cold(batch)


def askable(policy: Policy, batch: Scored, appraisal: Appraisal) -> NDArray[np.bool_]:
    """``(n,)``: which rows may be asked about outside the audit slice: sound ones; all of them where chance decides."""
    return np.ones(len(batch), dtype=np.bool_) if by_chance(policy, batch) else appraisal.sound


def floors(policy: Policy, state: SamplerState, batch: Scored, appraisal: Appraisal) -> Floors | None:
    """The floors of a choice; None where the project has none."""
    if not policy.groups:
        return None
    classes = 0 if _cold(batch) else batch.probabilities.shape[1]
    return Floors(
        policy.groups,
        state.floors,
        _predicted(batch) if classes else None,
        classes,
        None if batch.embedded else batch.inputs,
        appraisal.sound,
        appraisal.draws[:, 3],
    )


@dataclass(frozen=True, slots=True)
class Why:
    """What a choice says of a row that it takes: its value of the kind ``strategy`` and what that had to reach, the probability (by
    its own account, which rounding may put outside of (0, 1]), the state and the burst that it was taken in, and an audit's weight."""

    reason: Reason
    strategy: str
    value: float
    needed: float
    probability: float
    state_digest: str
    burst_id: str = ""
    weight: float = 0.0


def selection_of(policy: Policy, batch: Scored, row: int, why: Why) -> Selection:
    """The selection of a row, with its price where prices differ."""
    selection = Selection(
        strategy=why.strategy,
        uncertainty=why.value,
        threshold=min(why.value, max(0.0, why.needed)),
        propensity=min(1.0, max(LEAST_PROPENSITY, why.probability)),
        reason=why.reason,
        audit=why.reason is Reason.AUDIT,
        model_version=batch.version,
        state_digest=why.state_digest,
        burst_id=why.burst_id,
        weight=why.weight,
        challenger=batch.challenger if why.weight else "",
    )
    if policy.tariff is None:
        return selection
    predicted = _names(batch, batch.probabilities[row : row + 1])
    kilobytes = 0.0 if batch.kilobytes is None else float(batch.kilobytes[row])
    return replace(selection, price=policy.tariff.price(selection, "".join(predicted), kilobytes))


def _mixed(
    policy: Policy, learner: bandit.Bandit, batch: Scored, margin: Floats, draws: Floats
) -> tuple[Mixture, bandit.Bandit]:
    around = None if batch.features is None else Seen(margin, batch.features, batch.probabilities, draws[:, 2])
    turn, _ = chance.draws(policy.sampling.seed, "arm", batch.ids, 0)
    return mix(policy.arms, learner, (margin, around), lambda arm: utilities(arm, batch), turn)


def _prices(tariff: Tariff | None, batch: Scored, utility: Floats) -> Floats | None:
    if tariff is None or not tariff.differs:
        return None
    return tariff.prices(utility, _names(batch, batch.probabilities) if tariff.by_class else [], batch.kilobytes)


def _names(batch: Scored, probabilities: FloatArray) -> list[str]:
    """The predicted class of each of ``probabilities`` ``(m, k)``; nothing where events have none, or their names are not known."""
    columns = _columns(batch)
    return [columns[best] for best in drift.finite(probabilities).argmax(axis=1).tolist()] if columns else []


def _columns(batch: Scored) -> Sequence[str]:
    """The names of the columns, where an event has one class and names are known."""
    named = batch.form is Form.CLASSES and 0 < len(batch.classes) == batch.probabilities.shape[1]
    return batch.classes if named else ()


def _sound(batch: Scored) -> NDArray[np.bool_]:
    if _cold(batch):
        return np.ones(len(batch), dtype=np.bool_)
    if batch.form is Form.MULTI:
        return acquisition_forms.well_formed(batch.probabilities)
    return acquisition.well_formed(batch.probabilities)


def _cold(batch: Scored) -> bool:
    least = 1 if batch.form is Form.MULTI else 2
    return batch.values is None and bool(batch.probabilities.shape[1] < least)


def _tells_classes(batch: Scored) -> bool:
    return not _cold(batch) and batch.values is None and batch.form is Form.CLASSES


def _observed(policy: Policy, batch: Scored, utility: Floats) -> drift.Observed:
    modelled = not _cold(batch) and len(batch) > 0
    return drift.Observed(
        events=len(batch),
        classes=batch.probabilities.shape[1] if batch.values is None else acquisition_forms.BANDS,
        uncertainty=utility if modelled else None,
        predicted=_predicted(batch) if modelled else None,
        inputs=None if batch.inputs is None else drift.input_statistics(batch.inputs, policy.sampling.seed),
    )


def _predicted(batch: Scored) -> NDArray[np.int64]:
    if batch.values is not None:
        return acquisition_forms.bands(batch.values)
    return np.asarray(drift.finite(batch.probabilities).argmax(axis=1))


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
        known = state.drift.usual_blocks > 0 and batch.version == state.version and not _cold(batch)
        part = moved(state.drift.usual, _predicted(batch), _columns(batch)) if known else ""
        records.append(record(policy.project, batch, DriftEvent.ALARM, one, now_s, (burst_id, size, part)))
        if size:
            plan = schedule.open_burst(plan, burst_id, one.at, burst, share)
            bursts.append((burst_id, size))
            records.append(record(policy.project, batch, DriftEvent.BURST_OPENED, one, now_s, (burst_id, size, part)))
    return tuple(records), tuple(bursts), plan
