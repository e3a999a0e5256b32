"""The decision: which events of a scored batch to ask about. Pure: state, draws, money and time come in, a new state goes out.

Three ways lead to a task, in this order: the **audit** slice (uniform chance, for honest estimates; never trained on), **novelty**
(far from everything asked so far) and **uncertainty** (log utility plus tempered Gumbel noise, less what resembles recent
questions, against an adaptive quantile). Each way has chance of its own, so the probability of every selection is known.
Without a model, or with one that knows a single class, every event is equally worth asking: chance and diversity decide.
In a burst the noise is wider: after a change the model's own opinion of what is uncertain is worth less.

Numbers change per block of events counted from the start of the stream (``schedule.block_length``), not per batch: how a stream is cut
into batches changes no decision as long as the budget's rate does not bind.
"""

from __future__ import annotations

from dataclasses import replace

from tiebreak.contracts.ports import Grant
from tiebreak.sampling import schedule
from tiebreak.sampling.appraisal import Appraisal, Moment, Policy, Scored
from tiebreak.sampling.appraising import appraise
from tiebreak.sampling.choosing import Chooser
from tiebreak.sampling.decision import UNLIMITED, Allowance, Decision
from tiebreak.sampling.pricing import learned
from tiebreak.sampling.ruling import choose_by_rule
from tiebreak.sampling.state import SamplerState
from tiebreak.sampling.windowed import choose_in_window


def decide(
    policy: Policy, state: SamplerState, batch: Scored, grant: Grant, moment: Moment
) -> tuple[Decision, SamplerState]:
    """One whole step: appraise, choose, and choose again within ``grant`` where it is smaller than what was wanted.

    The shell takes the grant between the two choices, once it knows how many labels it wants; both ways give the same decision.
    """
    appraisal, state = appraise(policy, state, batch, moment)
    wanted, after = choose(policy, state, batch, appraisal)
    return within(policy, (state, after), batch, (appraisal, wanted), grant)


def within(
    policy: Policy,
    states: tuple[SamplerState, SamplerState],
    batch: Scored,
    proposal: tuple[Appraisal, Decision],
    grant: Grant,
) -> tuple[Decision, SamplerState]:
    """Hold a proposal to its grant. ``states`` are those before and after choosing, ``proposal`` what was chosen."""
    (before, after), (appraisal, wanted) = states, proposal
    count = len(wanted.rows)
    decision = wanted
    if grant.granted < count:
        decision, after = choose(policy, before, batch, appraisal, Allowance.of(grant, wanted))
    after = replace(after, plan=schedule.answered(after.plan, count, grant.granted))
    if policy.tariff is not None:
        after = replace(after, spending=learned(after.spending, [s.price for s in decision.selections]))
    return decision, after


def choose(
    policy: Policy, state: SamplerState, batch: Scored, appraisal: Appraisal, allowance: Allowance = UNLIMITED
) -> tuple[Decision, SamplerState]:
    """Select rows of an appraised batch, in stream order, as far as ``allowance`` goes."""
    if policy.sampling.rule != "adaptive":
        return choose_by_rule(policy, state, batch, appraisal, allowance)
    if policy.sampling.window_s:
        return choose_in_window(policy, state, batch, appraisal, allowance)
    chooser = Chooser(policy, state, batch, appraisal, allowance)
    start = 0
    while start < len(batch):
        if chooser.seen >= chooser.until:
            chooser.open_block()
        stop = min(len(batch), start + chooser.until - chooser.seen)
        chooser.block(start, stop)
        start = stop
    return chooser.decision(), chooser.state()
