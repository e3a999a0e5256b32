"""The gate's rules over many rollouts of known worth: the benchmark's simulations (`SECTIONS=rollouts`), fewer runs of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtests.models import disagreements, lines, numbers, rollouts
from tiebreak.contracts.candidate import Paired
from tiebreak.contracts.confidence import running_evidence_above
from tiebreak.contracts.project import Gate
from tiebreak.deployment.gate import Verdict, judge_serving

GATE = Gate()


def test_a_flattered_challenger_is_never_promoted_from_twenty_audit_labels_on() -> None:
    """10 points are promised, audit labels are 10 points worse: 200 rollouts where they are fewest, 50 each where they are more.

    One that is better by 2 is mostly let through.
    """
    many = ((200, 20), (50, 30), (50, 60), (50, 300))
    assert [rollouts.flattered(runs, GATE, audit, 0.1) for runs, audit in many] == [0, 0, 0, 0]
    assert rollouts.fair(50, GATE, 60, rollouts.Worth(0.02)) > 40


@pytest.mark.parametrize("more", [0.2, 1.0, 5.0])
def test_a_model_as_good_is_hardly_ever_rolled_back_where_labels_are_looked_for(more: float) -> None:
    """1,000 A/A rollouts, however many labels are looked for, each looked at after every one of 400 labels: 5 % at most."""
    seen = disagreements.peek(1000, 400, 0.0, GATE.alpha, more)
    assert 0.005 < seen.worse <= 0.05
    assert 0.005 < seen.better <= 0.05


@pytest.mark.parametrize("more", [0.0, 1.0])
def test_a_model_that_gives_numbers_goes_back_when_it_is_worse_and_hardly_ever_else(more: float) -> None:
    """Its error is larger by five hundredths of the range: always seen within 800 labels; as good: 5 % at most of 500 rollouts."""
    same = numbers.peek(500, 2000, 0.0, GATE.alpha, more)
    assert 0.0 < same.worse <= 0.05
    assert 0.0 < same.better <= 0.05
    worse = numbers.peek(100, 800, 0.05, GATE.alpha, more)
    assert (worse.worse, worse.better) == (1.0, 0.0)


def test_the_rule_that_is_simulated_is_the_rule_that_decides() -> None:
    """Label by label, the gate says "roll back" where the simulated wealth is large enough, and nowhere else."""
    rng = np.random.default_rng(2)
    drawn, apart = disagreements.drawn(rng, (40, 60), 0.1, 1.0)
    odds = running_evidence_above(-drawn, 0.0)
    for gains, differ, wealth in zip(drawn, apart, odds, strict=True):
        given = disagreements.paired(rng, gains, differ, 1.0)
        assert (judge_serving(given, GATE).verdict is Verdict.ROLL_BACK) is bool(wealth[-1] >= 1.0 / GATE.alpha)


def test_the_rule_that_is_simulated_for_numbers_is_the_rule_that_decides() -> None:
    """The same of labels of a uniform slice, each of which earns something between nothing and all."""
    drawn = numbers.drawn(np.random.default_rng(3), (40, 250), 0.02, 0.0)
    said = []
    for gains in drawn:
        old, new = tuple((0.5 - gains / 2.0).tolist()), tuple((0.5 + gains / 2.0).tolist())
        given = Paired(tuple(map(str, range(len(gains)))), ("",) * len(gains), old, new, (1.0,) * len(gains))
        said.append(judge_serving(given, GATE).verdict is Verdict.ROLL_BACK)
    assert said == (running_evidence_above(-drawn, 0.0)[:, -1] >= 1.0 / GATE.alpha).tolist()
    assert set(said) == {True, False}


def test_steps_too_small_to_be_seen_do_not_add_up() -> None:
    """120 steps of a third of a point down, 40 in all: what serves in the end has lost a fifth of that, or two thirds where the members

    left out never lose; lines as good as their reference are hardly ever taken back. Without a reference: 10 and 38 points lost.
    """
    down = lines.Line(-1 / 300)
    for line, least in ((down, 0.77), (replace(down, flattered=True), 0.58)):
        told = lines.follow(line, GATE, runs=3, steps=120)
        assert told.newest < 0.46
        assert told.served > least
    same = lines.follow(lines.Line(0.0), GATE, runs=3, steps=120)
    assert same.held < 0.35
    assert same.rolled_back == 0.0
