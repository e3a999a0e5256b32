"""Choosing by a published rule (``rules.py``) instead of the adaptive threshold; the audit slice stays as it is. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiebreak.contracts.messages import Reason, Selection
from tiebreak.contracts.tensors import Form
from tiebreak.sampling import rules
from tiebreak.sampling.appraisal import Appraisal, Policy, Scored, Why, selection_of, utilities
from tiebreak.sampling.audit_slice import AuditSlice
from tiebreak.sampling.decision import Allowance, Decision
from tiebreak.sampling.rules import Seen, Verdict
from tiebreak.sampling.state import SamplerState, digest


def choose_by_rule(
    policy: Policy, state: SamplerState, batch: Scored, appraisal: Appraisal, allowance: Allowance
) -> tuple[Decision, SamplerState]:
    """Rows of an appraised batch, in stream order, as far as ``allowance`` goes; what it refuses the rule has not spent."""
    rule, share = policy.sampling.rule, appraisal.share
    part = AuditSlice(policy, state, batch, appraisal.audit)
    part.open(share)
    drawn, budget = part.rows(0, len(batch)), share - part.share - part.contrast.part
    audits, others, ruling = allowance.audits, allowance.others, state.rule
    began, confidences, sound = digest(state), _confidences(batch).tolist(), appraisal.sound.tolist()
    rows: list[int] = []
    selections: list[Selection] = []
    for row in range(len(batch)):
        if row in batch.replayed:
            continue
        coin, audit = part.coin(row), row in drawn
        if audit:
            chosen, audits = audits > 0, audits - 1
            verdict = Verdict(chosen, coin, 0.0)
        elif not sound[row]:
            continue  # as everywhere: only the audit slice asks about a row that is no distribution
        else:
            verdict, ruling = rules.judge(rule, ruling, _seen(batch, appraisal, confidences, row), budget)
            chosen = verdict.ask and others > 0
            if verdict.ask and not chosen:
                ruling = rules.refused(rule, ruling)
            others -= chosen
            verdict = replace(verdict, probability=(1.0 - coin) * verdict.probability)
        if chosen:
            rows.append(row)
            why = _why(batch, appraisal, (row, audit, rule), verdict, began)
            why = replace(why, audited=(part.weight(row), part.challenger(row))) if audit else why
            selections.append(selection_of(policy, batch, row, why))
    decision = Decision(
        kind=appraisal.kind,
        utility=appraisal.utility,
        rows=tuple(rows),
        selections=tuple(selections),
        records=appraisal.records,
        audits=sum(s.audit for s in selections),
    )
    part.seen(0, len(batch))
    after = replace(state, seen=state.seen + len(batch), rule=ruling, plan=replace(state.plan, share=share))
    return decision, replace(after, contrast=part.contrast, origins=part.origins)


def _confidences(batch: Scored) -> NDArray[np.floating]:
    """``(n,)``: each row's highest posterior."""
    p = batch.probabilities
    if batch.values is not None:
        # The published rules know posteriors alone: of a number, what its committee leaves certain stands for one.
        return np.asarray(1.0 - utilities("variance", batch)[1])
    if batch.form is Form.MULTI:
        return np.asarray(np.maximum(p, 1.0 - p).min(axis=1))
    if p.shape[1] == 0:
        return np.zeros(len(batch))
    return np.asarray(np.nan_to_num(p).max(axis=1))


def _seen(batch: Scored, appraisal: Appraisal, confidences: list[float], row: int) -> Seen:
    first, second, third = appraisal.draws[row].tolist()
    return Seen(confidences[row], float(appraisal.utility[row]), (first, second, third), batch.probabilities.shape[1])


def _why(batch: Scored, appraisal: Appraisal, about: tuple[int, bool, str], verdict: Verdict, began: str) -> Why:
    row, audit, rule = about
    cold = batch.probabilities.shape[1] == 0 and batch.values is None
    return Why(
        reason=Reason.AUDIT if audit else Reason.COLD_START if cold else Reason.UNCERTAIN,
        strategy=appraisal.kind if audit else rule,
        value=float(appraisal.utility[row]),
        needed=0.0 if audit else verdict.needed,
        probability=verdict.probability,
        state_digest=began,
    )
