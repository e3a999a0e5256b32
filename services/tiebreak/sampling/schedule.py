"""How large a share of the stream to ask about now: the budget as a rate, early labels first, bursts, and what is owed for them.

The budget is in labels per hour and a threshold needs a share, so the arrival rate of events is estimated here:
``share = min(target_share, labels_per_hour * fleet / events_per_hour)``, where ``fleet`` is this replica's part of the partitions.
What is asked beyond that share, at the start and in bursts, is a debt, and half of the share pays it back, as in the bucket
(``budget.py``): two rates would have the bucket refuse what the schedule asks for. No debt outgrows the past it follows, so a
stream that ends soon after has spent its budget all the same: early labels are few, bursts are a part of what was planned so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil, exp

from tiebreak.contracts.project import Burst, Sampling
from tiebreak.sampling.budget import REPAYMENT
from tiebreak.sampling.knowing import MOST

MEMORY_S = 30.0  # time constant of the arrival rate
LONGEST_GAP_S = 60.0  # a longer gap between two batches is a stop or a jump of the clock, and says nothing of the rate
BLOCK, LONGEST_BLOCK = 64, 1024  # events for which share and levels are fixed
RARE = 1.0 / 16.0  # labels expected in a block, at most, for it to be longer than usual
EARLY_LABELS = 16  # asked ahead of plan while the model is young: a label is worth most then
EARLY_MULTIPLIER = 4.0
BURST_PART = 0.25  # of the labels planned so far, at most, go into bursts
LEAST_BURST = 8.0  # labels of a burst on a young stream
LEAST_REST_S, LONGEST_REST_S = 60.0, 86_400.0  # for which a burst is that of all replicas
LISTENS_S = 86_400.0  # for which a burst that asks no more waits for its answers
ANSWERED = 0.9  # of them are enough: some are never answered, and those few would narrow the interval by a twentieth
KNOWN, LABELS, TIME, REPLACED = "known", "labels", "time", "replaced"  # why a burst is over
SQUEEZED, EASED, LEAST_SQUEEZE = 0.9, 1.02, 0.1


@dataclass(frozen=True, slots=True)
class OpenBurst:
    """A burst while ``burst_id`` is not empty: from event number ``opens_at``, until its ``size`` labels are spent
    (``labels`` are left), ``ends_at``, or the error since the alarm is ``known`` as well as was asked for. ``part``: what moved.
    ``own``: an alarm of this replica opened it, so that this one tells of its end; others joined.

    ``whole`` is ``size`` over all replicas. ``stopped`` says why it asks no more, since ``stopped_s``: it then listens until most of
    the labels that tell of the error (``telling``, of this replica) have ``told`` of it."""

    burst_id: str = ""
    size: int = 0
    labels: float = 0.0
    opens_at: int = 0
    ends_at: int = 0
    part: str = ""
    known: bool = False
    own: bool = True
    whole: int = 0
    telling: int = 0
    told: int = 0
    stopped: str = ""
    stopped_s: float = 0.0

    @property
    def answered(self) -> bool:
        """Whether there is nothing to wait for: every replica has asked in proportion to its part, as far as this one knows."""
        asked = self.telling * max(1.0, self.whole / max(1, self.size))
        return self.told >= ANSWERED * min(MOST, asked)


@dataclass(frozen=True, slots=True)
class Plan:
    """State of the schedule. ``share`` holds for the current block; ``early``, ``debt`` and ``planned`` are in labels.

    ``planned`` is what the base share has amounted to so far, ``in_bursts`` what was asked in bursts.

    ``squeeze`` in [0.1, 1] follows refusals of the shared budget (another replica or a full queue used it): a higher threshold
    that picks the best is better than taking whoever comes first until the bucket is empty.
    """

    share: float = 0.0
    early: float = float(EARLY_LABELS)
    debt: float = 0.0
    planned: float = 0.0
    in_bursts: int = 0
    squeeze: float = 1.0
    arrived: float = 0.0
    elapsed_s: float = 0.0
    last_s: float = -1.0
    burst: OpenBurst = field(default_factory=OpenBurst)


def arrive(plan: Plan, events: int, now_s: float) -> Plan:
    """Count a batch for the arrival rate. A clock that jumps (back, or by more than a minute) adds no time."""
    gap = now_s - plan.last_s if plan.last_s >= 0.0 else 0.0
    gap = gap if 0.0 <= gap <= LONGEST_GAP_S else 0.0
    kept = exp(-gap / MEMORY_S)
    # The first batch only starts the clock: its events arrived in a time nobody measured.
    counted = 0 if plan.last_s < 0.0 else events
    return replace(plan, arrived=plan.arrived * kept + counted, elapsed_s=plan.elapsed_s * kept + gap, last_s=now_s)


def base_share(plan: Plan, sampling: Sampling, per_hour: float, fleet: float) -> float:
    """The share that ``per_hour`` labels allow, at most ``target_share``. Until a second has been watched it is ``target_share``."""
    share = sampling.target_share
    if plan.elapsed_s >= 1.0 and plan.arrived > 0.0:
        share = min(share, per_hour / 3600.0 * fleet * plan.elapsed_s / plan.arrived)
    return share * plan.squeeze


def next_block(plan: Plan, base: float, events: int, seen: int, burst: Burst) -> Plan:
    """Fix the share of the next block of ``events``; ``seen`` is the number of events before it."""
    plan = _eased(_end_burst(plan, seen, burst), base * events)
    share, early = base, plan.early
    if in_force(plan, seen):
        share = base * burst.multiplier
    elif early > 0.0:
        share = base + min(base * (EARLY_MULTIPLIER - 1.0), early / events)
        early -= (min(1.0, share) - base) * events
    elif plan.debt > 0.0:
        # No more than is owed: what the last block paid too much would never be asked.
        share = base - min(base * REPAYMENT, plan.debt / events)
    share = min(1.0, share)
    debt = max(0.0, plan.debt + (share - base) * events)
    return replace(plan, share=share, early=max(0.0, early), debt=debt, planned=plan.planned + base * events)


def block_length(plan: Plan, base: float) -> int:
    """How many events the next block has at the base share ``base``: ``BLOCK``, or more of them while labels are rare.

    Levels are renewed per block. Where hardly a block in sixteen has a label, the same level for sixteen blocks is as good and costs a
    sixteenth. A burst that asks keeps them short.

    >>> block_length(Plan(), 0.05), block_length(Plan(), 1e-6), block_length(Plan(burst=OpenBurst("b")), 1e-6)
    (64, 1024, 64)
    >>> block_length(Plan(burst=OpenBurst("b", stopped=LABELS)), 1e-6)
    1024
    """
    if plan.burst.burst_id and not plan.burst.stopped:
        return BLOCK
    length = BLOCK
    while length < LONGEST_BLOCK and 2 * length * base <= RARE:
        length *= 2
    return length


def closes_at(plan: Plan, seen: int, until: int) -> int:
    """Where a block that would last from ``seen`` until event number ``until`` ends: sooner where a burst opens in it."""
    if not plan.burst.burst_id or plan.burst.opens_at <= seen:
        return until
    return min(until, -(-plan.burst.opens_at // BLOCK) * BLOCK)


def in_force(plan: Plan, seen: int) -> bool:
    """Whether a burst raises the rate at event number ``seen``."""
    return bool(plan.burst.burst_id) and plan.burst.opens_at <= seen and not plan.burst.stopped


def burst_in_force(plan: Plan, seen: int) -> str:
    """The id of the burst that raises the rate at event number ``seen``; empty where none does."""
    return plan.burst.burst_id if in_force(plan, seen) else ""


def rest_s(plan: Plan, burst: Burst) -> float:
    """How long a burst is the project's: the rest after an alarm, in seconds of this replica's traffic."""
    per_s = plan.arrived / plan.elapsed_s if plan.elapsed_s >= 1.0 and plan.arrived > 0.0 else 0.0
    if not burst.cooldown_events:
        return 0.0
    return min(LONGEST_REST_S, max(LEAST_REST_S, burst.cooldown_events / per_s)) if per_s else LEAST_REST_S


def open_burst(plan: Plan, opened: OpenBurst, burst: Burst, base: float) -> Plan:
    """Open a burst from its event number on. It ends after its labels, or after four times the events they should take.

    While one is in force the newer takes its place: it is about the newer change.
    """
    expected = opened.size / max(min(1.0, base * burst.multiplier), 1e-6)
    ends_at = opened.opens_at + max(1, int(min(4.0 * expected, 1e9)))
    return replace(plan, burst=replace(opened, labels=float(opened.size), ends_at=ends_at))


def burst_labels(plan: Plan, labels: float, fleet: float) -> int:
    """This replica's part of a burst of ``labels`` opened now: its part of the partitions, or what earlier bursts have left of a
    quarter of the labels planned so far, less what is owed still.

    Alarm after alarm would else borrow faster than half of the share pays back, and a stream that ends soon after the last owe it. One
    label is left at least: that a burst opened is what the trainer goes by.
    """
    if labels <= 0:
        return 0
    most = min(ceil(labels * fleet), int(max(LEAST_BURST, BURST_PART * plan.planned - plan.in_bursts)))
    return max(1, most - ceil(plan.debt))


def spent(plan: Plan, labels: int, seen: int, telling: int = 0) -> Plan:
    """Charge ``labels`` to the burst in force, if there is one; ``telling`` of them will tell of the error since the alarm."""
    if not labels or not in_force(plan, seen):
        return plan
    burst = plan.burst
    burst = replace(burst, labels=burst.labels - labels, telling=burst.telling + telling)
    return replace(plan, burst=burst, in_bursts=plan.in_bursts + labels)


def answered(plan: Plan, wanted: int, granted: int) -> Plan:
    """Follow the shared budget: ask for a tenth less after a refusal, for a fiftieth more after each label granted in full."""
    if granted < wanted:
        return replace(plan, squeeze=max(LEAST_SQUEEZE, plan.squeeze * SQUEEZED))
    return replace(plan, squeeze=min(1.0, plan.squeeze * EASED**wanted))


def _eased(plan: Plan, labels: float) -> Plan:
    """Forget refusals as time goes by, too: a squeezed share is granted few labels, and would recover by them hardly at all."""
    if plan.squeeze >= 1.0:
        return plan
    return replace(plan, squeeze=min(1.0, plan.squeeze * EASED ** (labels / plan.squeeze)))


def ended(plan: Plan, seen: int, burst: Burst) -> str:
    """Why the burst is over at event number ``seen``; empty while it is not, or none has begun.

    One that asks no more goes on listening for its answers, where ``burst.known_to`` says that they matter.
    """
    one = plan.burst
    if not one.burst_id or one.opens_at > seen:
        return ""
    if one.known:
        return KNOWN
    why = one.stopped or _stopped(one, seen)
    listens = burst.known_to is not None and not one.answered
    late = one.stopped and not 0.0 <= plan.last_s - one.stopped_s <= LISTENS_S
    return "" if listens and not late else why


def _stopped(burst: OpenBurst, seen: int) -> str:
    if burst.labels <= 0.0:
        return LABELS
    return TIME if seen >= burst.ends_at else ""


def _end_burst(plan: Plan, seen: int, burst: Burst) -> Plan:
    if ended(plan, seen, burst):
        return replace(plan, burst=OpenBurst())
    if in_force(plan, seen) and (why := _stopped(plan.burst, seen)):
        return replace(plan, burst=replace(plan.burst, stopped=why, stopped_s=plan.last_s))
    return plan
