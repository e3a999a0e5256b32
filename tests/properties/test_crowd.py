"""What holds of the posterior whatever the crowd says: properties, not examples."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.crowds import CLASSES, habits, votes
from tiebreak.labeling.posterior import Belief, Crowd, Said

seeds = st.integers(0, 2**16)
ballots = st.dictionaries(st.sampled_from([f"p{i}" for i in range(6)]), st.sampled_from(CLASSES), max_size=6)


def taught(seed: int, tasks: int = 60) -> Crowd:
    """A crowd that has seen six people of different accuracy."""
    crowd = Crowd(CLASSES)
    for task, person, value in votes(seed, tasks, [habits(a) for a in (0.95, 0.9, 0.8, 0.7, 0.5, 0.25)], 3).said:
        crowd.observe(task, person, Said(value))
    return crowd


def same(one: Belief, other: Belief) -> bool:
    return all(math.isclose(p, other.distribution[c], rel_tol=1e-9) for c, p in one.distribution.items())


@settings(deadline=None, max_examples=40)
@given(seed=seeds, said=ballots)
def test_a_belief_is_a_distribution_and_the_order_of_people_does_not_matter(seed: int, said: dict[str, str]) -> None:
    """Probabilities of all classes, summing to 1; the same answers from last to first amount to the same, to the bit."""
    crowd = taught(seed)
    belief = crowd.belief(said)
    assert set(belief.distribution) == set(CLASSES)
    assert math.isclose(sum(belief.distribution.values()), 1.0, rel_tol=1e-9)
    assert all(0.0 < p < 1.0 for p in belief.distribution.values())
    assert crowd.belief(dict(reversed(list(said.items())))) == belief


@settings(deadline=None, max_examples=40)
@given(seed=seeds, said=ballots, value=st.sampled_from(CLASSES))
def test_one_more_person_who_agrees_makes_it_surer(seed: int, said: dict[str, str], value: str) -> None:
    """A person who is better than chance and says a class never makes that class less likely."""
    crowd = taught(seed)
    assert crowd.belief(said | {"new": value}).distribution[value] >= crowd.belief(said).distribution[value]


@settings(deadline=None, max_examples=25)
@given(seed=seeds)
def test_names_of_people_and_of_tasks_mean_nothing(seed: int) -> None:
    """The same log with everybody and everything renamed leads to the same beliefs."""
    told = votes(seed, 40, [habits(a) for a in (0.9, 0.8, 0.6)], 3).said
    one, other = Crowd(CLASSES), Crowd(CLASSES)
    for task, person, value in told:
        first = one.observe(task, person, Said(value))
        second = other.observe(f"other-{task[::-1]}", f"zz{person}", Said(value))
        assert first.distribution == second.distribution


@settings(deadline=None, max_examples=15)
@given(seed=seeds, shift=st.integers(1, 3))
def test_classes_do_not_change_places(seed: int, shift: int) -> None:
    """Renamed classes are renamed in the labels, and people who answer with another class are not believed by the rest."""
    liar = [[0.0] * 4 for _ in range(4)]
    for k in range(4):
        liar[k][(k + shift) % 4] = 1.0
    people = [habits(0.85)] * 5 + [habits(0.25) * 0 + liar] * 2
    made = votes(seed, 150, people, 3)
    crowd, renamed = Crowd(CLASSES), Crowd([name.upper() for name in CLASSES])
    latest: dict[str, Belief] = {}
    for task, person, value in made.said:
        latest[task] = crowd.observe(task, person, Said(value))
        there = renamed.observe(task, person, Said(value.upper()))
        assert same(Belief({}, {c.lower(): p for c, p in there.distribution.items()}, {}), latest[task])
    right = sum(latest[t].best[0] == truth for t, truth in made.truth.items())
    accuracy = crowd.accuracies()
    assert right >= 0.7 * len(made.truth)
    assert max(accuracy["p5"], accuracy["p6"]) < min(accuracy[f"p{i}"] for i in range(5))


@settings(deadline=None, max_examples=25)
@given(seed=seeds, cut=st.integers(0, 119))
def test_a_replayed_stretch_of_the_log_changes_nothing(seed: int, cut: int) -> None:
    """Revisions seen before are known: folding part of the log twice leaves every belief as it was, to the bit."""
    said = votes(seed, 40, [habits(a) for a in (0.9, 0.8, 0.6)], 3).said
    once, twice = Crowd(CLASSES), Crowd(CLASSES)
    for i, (task, person, value) in enumerate(said):
        once.observe(task, person, Said(value))
        twice.observe(task, person, Said(value))
        if i == cut:
            for before in said[: cut + 1]:
                twice.observe(before[0], before[1], Said(before[2]))
    assert [twice.observe(t, p, Said(v)) for t, p, v in said] == [once.observe(t, p, Said(v)) for t, p, v in said]


@pytest.mark.parametrize("take_back", [True, False])
def test_an_answer_taken_back_or_changed_counts_as_if_it_had_never_been(take_back: bool) -> None:
    """What remains is what the other answers amount to."""
    crowd = taught(7)
    said = {"p0": "ant", "p1": "bee"}
    crowd.observe("x", "p0", Said("ant"))
    crowd.observe("x", "p1", Said("cow", revision=1))
    later = crowd.observe("x", "p1", Said(None if take_back else "bee", revision=2))
    assert later.votes == ({"p0": "ant"} if take_back else said)
    assert crowd.observe("x", "p1", Said("cow", revision=1)).votes == later.votes
