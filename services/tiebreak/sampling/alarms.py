"""What a batch and the labels before it tell of drift: warnings, alarms, and the bursts that those open and end. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import DriftEvent, DriftRecord
from tiebreak.contracts.ports import Lent
from tiebreak.sampling import acquisition_forms, drift, drift_records, knowing, parts, projections, schedule
from tiebreak.sampling.appraisal import Appraisal, Moment, Policy, Scored, cold, columns_of, predicted_of
from tiebreak.sampling.drift import DriftState, Fired
from tiebreak.sampling.mistakes import band_of, level_at, usual
from tiebreak.sampling.parts import SLICE, Parts
from tiebreak.sampling.schedule import OpenBurst, Plan
from tiebreak.sampling.state import SamplerState

Floats = NDArray[np.float64]
OF_LABELS = frozenset({"audit_error", drift.LABEL_ERROR})


@dataclass(frozen=True, slots=True)
class Heeded:
    """What the topic ``drift`` is told, the bursts opened now with their labels, and whether there was an alarm."""

    records: tuple[DriftRecord, ...]
    bursts: tuple[Lent, ...]
    alarm: bool


def heed(
    policy: Policy, state: SamplerState, batch: Scored, seen: tuple[Floats, float], moment: Moment
) -> tuple[SamplerState, Heeded]:
    """Feed the detectors, open a burst for each alarm, and end one whose purpose is reached. ``seen``: utilities and base share."""
    utility, share = seen
    known = knowing.heard(state.known, state.plan.burst.burst_id, moment.in_burst)
    state = replace(state, known=known, plan=_informed(policy, state.plan, known))
    state, over = _joined(policy, state, batch, share, moment)
    watched, within, from_labels = _labels(policy, state, moment)
    if batch.version != state.version and state.version:
        watched, within = drift.new_model(watched, inputs_too=batch.embedded), parts.new_model(within)
    watched, from_batch = drift.observe(watched, _observed(policy, batch, utility), policy.drift, state.seen)
    named = [*from_labels, *((one, _slice(policy, within, batch, utility, (one, state.seen))) for one in from_batch)]
    records, bursts, plan = _react(policy, state, batch, (named, share), moment)
    alarms = [one.at for one, _ in named if one.alarm]
    heeded = Heeded((*over, *records), bursts, bool(alarms))
    within = _observe_parts(policy, within, batch, utility, (state.seen, max([*alarms, 0])))
    last = bursts[-1].burst_id if bursts else state.burst_id
    return replace(state, drift=watched, parts=within, plan=plan, burst_id=last), heeded


def lent(
    states: tuple[SamplerState, SamplerState], appraisal: Appraisal, asked: Lent, got: Lent
) -> tuple[SamplerState, Appraisal]:
    """What holds once the budget has said which burst the project has: the one ``asked`` for, or one that was open already.

    ``states``: before the batch, and now. A burst that this replica has taken part in goes on as it was, or is over for it.
    """
    if got.burst_id == asked.burst_id:
        return states[1], appraisal
    before, state = states
    earlier = any(one.event is DriftEvent.BURST_OPENED and one.burst_id == got.burst_id for one in appraisal.records)
    again = got.burst_id == before.burst_id
    burst, last = state.plan.burst, state.burst_id
    if burst.burst_id == asked.burst_id:
        taken = replace(burst, burst_id=got.burst_id, part=got.part, own=earlier, whole=got.labels)
        burst, last = (before.plan.burst if again else taken), got.burst_id
    # The one asked for never was; the other has been told as opened, by the one who opened it.
    gone = {(DriftEvent.BURST_OPENED, asked.burst_id), (DriftEvent.BURST_CLOSED, asked.burst_id)}
    if earlier or again:
        gone.add((DriftEvent.BURST_CLOSED, got.burst_id))
    records = tuple(
        replace(one, burst_id=got.burst_id) if one.burst_id == asked.burst_id else one
        for one in appraisal.records
        if (one.event, one.burst_id) not in gone
    )
    plan = replace(state.plan, burst=burst)
    return replace(state, plan=plan, burst_id=last), replace(appraisal, records=records)


def _joined(
    policy: Policy, state: SamplerState, batch: Scored, share: float, moment: Moment
) -> tuple[SamplerState, tuple[DriftRecord, ...]]:
    """Take part in a burst that another replica opened, once; one of this replica's own is over then.

    Where it was opened from a partition that is this replica's now, its opener has come again and cut its batches elsewhere, or is
    gone: nobody else tells of it, and it is told as opened once more.
    """
    ours, plan = moment.burst, state.plan
    if (
        not ours.burst_id
        or ours.burst_id in {plan.burst.burst_id, state.burst_id}
        or policy.sampling.rule != "adaptive"
    ):
        return state, ()
    own, mine = plan.burst, ours.partition in moment.partitions
    why = own.stopped or schedule.REPLACED
    over = drift_records.closed(policy.project, batch, own, (why, state.known), moment.now_s)
    size = schedule.burst_labels(plan, ours.labels, moment.fleet)
    opened = OpenBurst(ours.burst_id, size, opens_at=state.seen, part=ours.part, own=mine, whole=ours.labels)
    plan = schedule.open_burst(plan, opened, policy.drift.burst, share)
    watched = drift.alarmed(state.drift, policy.drift, state.seen)
    within = parts.fresh(len(policy.parts))
    told = [over] if own.burst_id and own.own else []
    if mine:
        again, about = Fired(state.seen, "", "", 0.0, alarm=True), (ours.burst_id, ours.labels, ours.part)
        event = DriftEvent.BURST_OPENED
        told.append(drift_records.record(policy.project, batch, event, again, moment.now_s, about))
    return replace(state, plan=plan, drift=watched, parts=within, burst_id=ours.burst_id), tuple(told)


def _informed(policy: Policy, plan: Plan, known: knowing.Known) -> Plan:
    wanted = policy.drift.burst.known_to
    if wanted is None or known.burst_id != plan.burst.burst_id:
        return plan
    return replace(plan, burst=replace(plan.burst, told=len(known.labels), known=bool(known.half_width <= wanted)))


def _labels(policy: Policy, state: SamplerState, moment: Moment) -> tuple[DriftState, Parts, list[tuple[Fired, str]]]:
    """Feed what labels tell; an alarm of theirs is about the slice in which mistakes are more than usual at that moment."""
    watched, within, named = state.drift, state.parts, list[tuple[Fired, str]]()

    def slice_of(fired: Sequence[Fired]) -> list[tuple[Fired, str]]:
        return [(one, _name(policy, parts.moved(within, mistakes=True)) if one.alarm else "") for one in fired]

    for wrong in moment.errors:
        watched, fired = drift.observe_error(watched, wrong, policy.drift, state.seen)
        named += slice_of(fired)
    level = level_at(policy.sampling.target_share)
    for checked in moment.checked if drift.LABEL_ERROR in policy.drift.signals else ():
        if len(checked.within) == len(policy.parts) > 0:
            rate = usual(watched.mistakes, band_of(checked.uncertainty))
            within = parts.mistaken(within, checked.within, rate, wrong=checked.wrong)
        watched, fired = drift.observe_label(watched, checked, policy.drift, state.seen, level)
        named += slice_of(fired)
    return watched, within, named


def _observed(policy: Policy, batch: Scored, utility: Floats) -> drift.Observed:
    modelled = not cold(batch) and len(batch) > 0
    return drift.Observed(
        events=len(batch),
        classes=batch.probabilities.shape[1] if batch.values is None else acquisition_forms.BANDS,
        uncertainty=utility if modelled else None,
        predicted=predicted_of(batch) if modelled else None,
        inputs=None if batch.inputs is None else projections.input_statistics(batch.inputs, policy.sampling.seed),
        time_of=batch.time_of,
    )


def _slice(policy: Policy, within: Parts, batch: Scored, utility: Floats, fired: tuple[Fired, int]) -> str:
    """The slice that an alarm of the batch is about, by what was seen up to its event."""
    one, seen = fired
    if not one.alarm or not policy.parts:
        return ""
    shown = _counted(policy, within, batch, utility, (seen, slice(0, one.at - seen)))
    return _name(policy, parts.moved(shown, mistakes=one.signal in OF_LABELS))


def _observe_parts(policy: Policy, within: Parts, batch: Scored, utility: Floats, at: tuple[int, int]) -> Parts:
    """Count the batch; what was before an alarm is not usual any more. ``at``: its first event's number, and that of the last alarm."""
    seen, alarm = at
    if not policy.parts:
        return within
    if not alarm:
        return _counted(policy, within, batch, utility, (seen, slice(0, len(batch))))
    return _counted(policy, parts.fresh(len(policy.parts)), batch, utility, (seen, slice(alarm - seen, len(batch))))


def _counted(policy: Policy, within: Parts, batch: Scored, utility: Floats, some: tuple[int, slice]) -> Parts:
    seen, rows = some
    if cold(batch) or rows.stop <= rows.start:
        return within
    inputs = None if batch.embedded or batch.inputs is None else batch.inputs[rows]
    members = parts.members(policy.parts, inputs, rows.stop - rows.start)
    return parts.observe(within, members, utility[rows], seen + rows.start)


def _name(policy: Policy, place: int | None) -> str:
    return "" if place is None else SLICE + policy.parts[place].name


def _react(
    policy: Policy,
    state: SamplerState,
    batch: Scored,
    seen: tuple[Sequence[tuple[Fired, str]], float],
    moment: Moment,
) -> tuple[tuple[DriftRecord, ...], tuple[Lent, ...], Plan]:
    """A warning for each watch that fired alone, and a burst for each alarm."""
    (named, share), now_s = seen, moment.now_s
    plan, burst, project = state.plan, policy.drift.burst, policy.project
    records: list[DriftRecord] = []
    bursts: list[Lent] = []
    for one, declared in named:
        if not one.alarm:
            records.append(drift_records.record(project, batch, DriftEvent.WARNING, one, now_s))
            continue
        row = min(max(0, one.at - state.seen - 1), len(batch) - 1)
        # Named after the event that raised it: a replay opens the same burst, and borrows for it once.
        burst_id = blake2b(batch.ids[row], digest_size=8, key=project.encode()[:64]).hexdigest()
        adaptive = policy.sampling.rule == "adaptive"
        size = schedule.burst_labels(plan, burst.labels, moment.fleet) if adaptive else 0
        about = burst_id, min(burst.labels, round(size / moment.fleet)), declared or _class(state, batch)
        records.append(drift_records.record(project, batch, DriftEvent.ALARM, one, now_s, about))
        if size:
            if plan.burst.burst_id and plan.burst.own:
                why = plan.burst.stopped or schedule.REPLACED, state.known
                records.append(drift_records.closed(project, batch, plan.burst, why, now_s))
            opened = OpenBurst(burst_id, size, opens_at=one.at, part=about[2], whole=about[1])
            plan = schedule.open_burst(plan, opened, burst, share)
            bursts.append(Lent(*about, batch.partition))
            records.append(drift_records.record(project, batch, DriftEvent.BURST_OPENED, one, now_s, about))
    return tuple(records), tuple(bursts), plan


def _class(state: SamplerState, batch: Scored) -> str:
    """The predicted class that an alarm is about, if any."""
    # The usual shares are of the model that served them, and known once a block of it is full.
    if state.drift.usual_blocks == 0 or batch.version != state.version or cold(batch):
        return ""
    return drift_records.moved(state.drift.usual, predicted_of(batch), columns_of(batch))
