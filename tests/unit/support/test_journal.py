"""The clients' journal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.support.journal import Call, Journal, Outcome, Verb, calls_of

SUBMIT = Call(Verb.SUBMIT, "ann", "t1", key="k1", value="cat", token=3)


def test_a_call_that_never_ended_is_unknown(tmp_path: Path) -> None:
    """A client killed between asking and hearing knows nothing; a torn last line is a call that never went out."""
    journal = Journal(tmp_path / "ann.jsonl")
    journal.end(journal.begin(SUBMIT), Outcome.OK)
    journal.begin(replace(SUBMIT, key="k2"))
    journal.begin(replace(SUBMIT, key="k3"))
    journal.close()
    torn = (tmp_path / "ann.jsonl").read_text()[:-5]

    calls = calls_of(torn.splitlines(keepends=True))

    plain = [replace(call, began_s=0.0, ended_s=min(call.ended_s, 1e12)) for call in calls]
    assert [replace(call, ended_s=0.0) for call in plain] == [
        replace(SUBMIT, outcome=Outcome.OK, ended_s=0.0),
        replace(SUBMIT, key="k2", ended_s=0.0),
    ]
    assert calls[0].began_s <= calls[0].ended_s < calls[1].ended_s == float("inf")


def test_one_claim_may_give_several_leases(tmp_path: Path) -> None:
    """Each lease of one claim is a call of its own in the journal."""
    journal = Journal(tmp_path / "ann.jsonl")
    number = journal.begin(Call(Verb.CLAIM, "ann"))
    journal.end(number, Outcome.OK, task_id="t1", token=1)
    journal.end(number, Outcome.OK, task_id="t2", token=2)
    journal.close()

    calls = calls_of((tmp_path / "ann.jsonl").read_text().splitlines(keepends=True))

    assert [(c.task_id, c.token, c.outcome) for c in calls] == [("t1", 1, Outcome.OK), ("t2", 2, Outcome.OK)]
