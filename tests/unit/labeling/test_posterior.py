"""Online Dawid-Skene: what is learned of people, what a reviewer's word does, and when it asks, settles or gives up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.crowds import CLASSES, habits, votes
from tiebreak.contracts.messages import AnnotationState
from tiebreak.labeling.consensus import Ask, Ballot, DawidSkene, Review, Rule, Settle, WeightedVote, weighted
from tiebreak.labeling.posterior import Belief, Crowd, CrowdSettings, Said

SURE = Rule(votes=1, max_votes=4, agreement=0.6, confidence=0.9)
PAIRS = {"p0": "ant", "p1": "bee", "p2": "ant", "p3": "bee"}


def ballots(*values: str) -> list[Ballot]:
    """One per person p0, p1, ...; '-' is a skip, capitals come from a reviewer."""
    return [
        Ballot(
            f"a{i}",
            f"p{i}",
            "" if value == "-" else value.lower(),
            1,
            AnnotationState.SKIPPED if value == "-" else AnnotationState.SUBMITTED,
            i,
            reviewer=value.isupper(),
            sequence=i + 1,
        )
        for i, value in enumerate(values)
    ]


def judge(*values: str, crowd: Crowd | None = None) -> DawidSkene:
    crowd = crowd or Crowd(CLASSES)
    said = {f"p{i}": v.lower() for i, v in enumerate(values) if v != "-" and v.islower()}
    return DawidSkene(crowd.belief(said), crowd.belief)


def test_accuracies_are_found_without_knowing_the_truth() -> None:
    """After 600 tasks of three answers, each person's accuracy is estimated within a few points, the random one's too."""
    real = (0.95, 0.9, 0.8, 0.7, 0.6, 0.25)
    crowd = Crowd(CLASSES)
    for task, person, value in votes(3, 600, [habits(a) for a in real], 3).said:
        crowd.observe(task, person, Said(value))
    found = crowd.accuracies()
    assert np.abs(np.array([found[f"p{i}"] for i in range(6)]) - real).max() < 0.06


def test_a_reviewers_word_is_the_truth_and_teaches_about_the_others() -> None:
    """The task's class is certain, and people who said something else lose weight until the reviewer takes it back."""
    crowd = Crowd(CLASSES, CrowdSettings(again=0))
    crowd.observe("x", "ann", Said("ant"))
    before = crowd.observe("x", "bob", Said("bee"))
    told = crowd.observe("x", "rev", Said(None, 1, truth="bee"))
    trusted = crowd.accuracies()
    taken_back = crowd.observe("x", "rev", Said(None, 2))
    assert told.distribution == {"ant": 0.0, "bee": 1.0, "cow": 0.0, "dog": 0.0}
    assert trusted["ann"] < trusted["bob"]
    assert taken_back == before


def test_a_class_nobody_heard_of_is_learned_when_it_is_said() -> None:
    """An open set: the new class has a probability from then on, and the tasks before it are not upset."""
    crowd = Crowd(())
    for i in range(12):
        crowd.observe("x", f"p{i}", Said(f"class-{i}"))
    belief = crowd.observe("y", "p0", Said("class-3"))
    assert belief.best[0] == "class-3"
    assert list(belief.distribution) == [f"class-{i}" for i in range(12)]


def test_an_answer_that_comes_again_is_known_though_a_class_came_since() -> None:
    """Sent twice, it is on the log twice: its task, not looked at meanwhile, has nothing of the class that others named."""
    crowd = Crowd(("ant", "bee"))
    first = crowd.observe("x", "ann", Said("ant", truth="ant"))
    crowd.observe("y", "bob", Said("cow"))
    assert crowd.observe("x", "ann", Said("ant", truth="ant")).distribution == {**first.distribution, "cow": 0.0}


def test_old_tasks_are_forgotten_but_not_what_they_taught() -> None:
    """The window bounds the memory; what people did before it still counts."""
    crowd = Crowd(CLASSES, CrowdSettings(window=5))
    for i in range(50):
        crowd.observe(f"t{i}", "ann", Said("ant"))
        crowd.observe(f"t{i}", "bob", Said("ant"))
        crowd.observe(f"t{i}", "eve", Said(CLASSES[i % 4]))
    assert len(crowd) == 5
    accuracy = crowd.accuracies()
    assert accuracy["eve"] < 0.5
    assert accuracy["ann"] > 0.9


def test_a_known_person_settles_alone_and_an_unknown_one_does_not() -> None:
    """Asking stops when it is sure: one answer of somebody who was always right, two of strangers."""
    crowd = Crowd(CLASSES)
    for i in range(60):
        for who in ("p0", "p1", "p2"):
            crowd.observe(f"t{i}", who, Said(CLASSES[i % 4]))
    alone = judge("ant", crowd=crowd).decide(ballots("ant"), SURE)
    assert isinstance(alone, Settle)
    assert (alone.value, alone.confidence > 0.9, len(alone.ballots)) == ("ant", True, 1)
    assert alone.weights == (crowd.belief({"p0": "ant"}).weights["p0"],)
    assert judge("ant").decide(ballots("ant"), SURE) == Ask()
    assert isinstance(judge("ant", "ant").decide(ballots("ant", "ant"), SURE), Settle)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), Ask()),
        (("ant", "bee"), Ask()),
        (("ant", "bee", "ant", "bee"), Review(Crowd(CLASSES).belief(PAIRS).distribution)),
        (("-", "-", "-", "-"), Review()),
        (("ant", "-", "bee", "-"), Review(Crowd(CLASSES).belief({"p0": "ant", "p2": "bee"}).distribution)),
    ],
)
def test_ambiguity_is_asked_about_and_then_reviewed(values: tuple[str, ...], expected: object) -> None:
    """People who disagree are joined by others up to `max_votes`; then a reviewer decides, who is told how sure their answers are."""
    assert judge(*values).decide(ballots(*values), SURE) == expected


def test_a_reviewer_settles_alone_and_the_least_number_of_votes_is_kept() -> None:
    """Sure or not: no label before `votes` answers, and the reviewer's word is final."""
    settled = judge("ant", "bee", "BEE").decide(ballots("ant", "bee", "BEE"), SURE)
    assert isinstance(settled, Settle)
    assert (settled.value, settled.confidence, settled.method) == ("bee", 1.0, "adjudicated")
    assert judge("ant", "ant").decide(ballots("ant", "ant"), Rule(3, 5, 0.6, 0.9)) == Ask()


def test_a_belief_about_other_answers_than_those_of_the_task_is_formed_again() -> None:
    """The queue knew of a newer answer than the log so far: what counts is what the task has."""
    crowd = Crowd(CLASSES)
    stale = DawidSkene(crowd.belief({"p0": "ant"}), crowd.belief)
    settled = stale.decide(ballots("bee", "bee", "bee"), SURE)
    assert isinstance(settled, Settle)
    assert settled.value == "bee"


def test_weighted_votes_follow_the_accuracy_of_people() -> None:
    """One person of 95 % outweighs two of 60 %: ln(19 x 3) against twice ln(1.5 x 3)."""
    belief = Belief({}, dict.fromkeys(CLASSES, 0.25), {"p0": 0.95, "p1": 0.6, "p2": 0.6})
    decision = weighted(belief, 4).decide(ballots("ant", "bee", "bee"), Rule(3, 3, 0.55))
    assert isinstance(weighted(belief, 4), WeightedVote)
    assert isinstance(decision, Settle)
    assert (decision.value, round(decision.confidence, 3)) == ("ant", 0.573)


def test_answers_given_under_suspicion_weigh_as_much_as_one_of_them_together() -> None:
    """Three who say the same are as sure as one of them; whoever is beside them counts in full, and alone they settle nothing."""
    crowd = Crowd(CLASSES)
    trio = {"p0": "ant", "p1": "ant", "p2": "ant"}
    one, all_three = crowd.belief({"p0": "ant"}), crowd.belief(trio, trio)
    assert all_three.distribution == pytest.approx(one.distribution)
    assert crowd.belief({**trio, "p3": "bee"}, trio).distribution == pytest.approx(
        crowd.belief({"p0": "ant", "p3": "bee"}).distribution
    )
    together = [replace(b, suspect=True) for b in ballots("ant", "ant", "ant")]
    believed = DawidSkene(crowd.belief(trio), crowd.belief)
    assert isinstance(believed.decide(together[:2], SURE), Ask)
    assert isinstance(believed.decide([*together, replace(together[0], annotator="p9", value="ant")], SURE), Review)
    alone = DawidSkene(crowd.belief({}), crowd.belief).decide(ballots("-", "-", "-", "ant"), Rule(3, 4, 0.6, 0.5))
    assert alone == Review(crowd.belief({"p3": "ant"}).distribution)  # sure enough, but of too few
    beside = [*together, *ballots("-", "-", "-", "ant")[3:]]
    said = {b.annotator: b.value for b in beside}
    settled = DawidSkene(crowd.belief(said, trio), crowd.belief).decide(beside, replace(SURE, confidence=0.8))
    assert isinstance(settled, Settle)
    assert settled.confidence == pytest.approx(crowd.belief({"p0": "ant", "p3": "ant"}).best[1])


def test_under_suspicion_an_answer_weighs_the_same_in_the_log_as_asked_anew() -> None:
    """What the crowd makes of the log answer by answer is what it makes of the ballots; an honest revision counts in full again."""
    crowd = Crowd(CLASSES, CrowdSettings(again=0))
    crowd.observe("t", "p0", Said("ant", suspect=True))
    heard = crowd.observe("t", "p1", Said("ant", suspect=True))
    assert heard.suspects == frozenset({"p0", "p1"})
    assert heard.best[1] == pytest.approx(Crowd(CLASSES).belief({"p0": "ant"}).best[1], abs=0.02)
    assert crowd.observe("t", "p1", Said("ant", revision=2)).best[1] > heard.best[1] + 0.05


def test_in_a_majority_those_under_suspicion_have_one_vote_together() -> None:
    """Two who answer together do not outvote one; alone they ask for somebody else, and at the most answers for a reviewer."""
    rule = Rule(votes=1, max_votes=4, agreement=0.6)
    pair = [replace(b, suspect=True) for b in ballots("ant", "ant")]
    assert isinstance(WeightedVote().decide(pair, rule), Ask)
    honest = ballots("-", "-", "bee", "bee")[2:]
    assert isinstance(WeightedVote().decide([*pair, honest[0]], rule), Ask)
    settled = WeightedVote().decide([*pair, *honest], rule)
    assert isinstance(settled, Settle)
    assert (settled.value, settled.weights) == ("bee", (0.5, 0.5, 1.0, 1.0))
    assert isinstance(WeightedVote().decide([*pair, *pair], rule), Review)
