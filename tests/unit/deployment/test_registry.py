"""The history of models as a fold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

from tiebreak.contracts.messages import ModelEvent, ModelRecord
from tiebreak.deployment.registry import Registry


def record(event: ModelEvent, version: str) -> ModelRecord:
    return ModelRecord("tests", version, event, "", "", 1, (), "", "ann", 1)


def registry_of(records: Iterable[ModelRecord]) -> Registry:
    return reduce(Registry.after, records, Registry())


def line(*steps: tuple[ModelEvent, str]) -> tuple[str, ...]:
    return registry_of(record(event, version) for event, version in steps).line


UP, BACK, HELD, NEW = ModelEvent.PROMOTED, ModelEvent.ROLLED_BACK, ModelEvent.HELD, ModelEvent.CANDIDATE


def test_the_line_of_champions_follows_promotions_and_rollbacks() -> None:
    """A rollback goes down the line, twice goes further; candidates and held models are not on it; repeats change nothing."""
    assert line() == ()
    assert line((NEW, "1"), (UP, "1"), (UP, "1"), (NEW, "2"), (HELD, "2")) == ("1",)
    assert line((UP, "1"), (UP, "2"), (UP, "3"), (BACK, "2"), (BACK, "2")) == ("1", "2")
    assert line((UP, "1"), (UP, "2"), (UP, "3"), (BACK, "2"), (BACK, "1")) == ("1",)
    assert line((UP, "1"), (UP, "2"), (BACK, "1"), (UP, "3")) == ("1", "3")
    assert line((UP, "2"), (BACK, "0")) == ("2", "0")


def test_labels_speak_of_a_champion_from_the_beginning_of_its_rollout_on() -> None:
    """Shadow at 3, a canary at 5, promoted at 9: since 3; without a rollout of its own since its promotion."""

    def at(event: ModelEvent, version: str, time_ms: int) -> ModelRecord:
        return replace(record(event, version), time_ms=time_ms)

    trying = registry_of([at(UP, "1", 1), at(ModelEvent.SHADOW, "2", 3), at(ModelEvent.CANARY, "2", 5)])
    assert trying.rollout is not None
    assert (trying.rollout.since_ms, trying.rollout.began_ms, trying.since_ms) == (5, 3, 1)
    assert trying.after(at(UP, "2", 9)).since_ms == 3
    assert trying.after(at(UP, "7", 9)).since_ms == 9
    assert trying.after(at(BACK, "1", 9)).since_ms == 1


def test_champion_previous_verdicts_and_pin_are_what_happened_last() -> None:
    """The fold knows who serves, what is before it, which versions were judged, and who pinned."""
    done = registry_of(
        [record(UP, "1"), record(UP, "2"), record(HELD, "3"), record(NEW, "4"), record(ModelEvent.PINNED, "2")]
    )
    assert (done.champion, done.previous, done.pinned) == ("2", "1", "ann")
    assert done.judged == {"1", "2", "3"}
    assert done.known == {"1", "2", "3", "4"}
    assert done.after(record(ModelEvent.UNPINNED, "2")).pinned == ""
    assert (registry_of([]).champion, registry_of([]).previous) == ("", "")


def test_the_reference_is_what_was_accepted_last_and_the_line_left_it_when_another_took_its_place() -> None:
    """The first champion; then whom a record names, or a person promotes; a rollback below it brings back the one before it."""

    def at(event: ModelEvent, version: str, time_ms: int, by: str = "gate", reference: str = "") -> ModelRecord:
        return replace(record(event, version), time_ms=time_ms, decided_by=by, reference=reference)

    def held_to(*steps: ModelRecord) -> tuple[str, int]:
        found = registry_of(steps)
        return found.reference, found.left_ms

    first = at(UP, "1", 1)
    assert held_to() == ("", 0)
    assert held_to(first, at(NEW, "2", 2)) == ("1", 0)
    assert held_to(first, at(UP, "2", 2), at(UP, "3", 3), at(HELD, "4", 4)) == ("1", 2)
    assert held_to(first, at(UP, "2", 2), at(UP, "3", 3, reference="3")) == ("3", 0)
    assert held_to(first, at(UP, "2", 2), at(UP, "3", 3, reference="3"), at(UP, "4", 4)) == ("3", 4)
    assert held_to(first, at(UP, "2", 2), at(UP, "3", 3, by="ann")) == ("3", 0)
    assert held_to(first, at(UP, "2", 2, reference="2"), at(UP, "3", 3), at(BACK, "2", 4)) == ("2", 0)
    assert held_to(first, at(UP, "2", 2, reference="2"), at(UP, "3", 3), at(BACK, "1", 4)) == ("1", 0)
    assert held_to(first, at(UP, "2", 2), at(UP, "3", 3), at(BACK, "2", 4)) == ("1", 2)
    assert held_to(at(BACK, "0", 1), at(UP, "1", 2)) == ("0", 2)


def test_a_rollback_makes_no_reference_of_a_model_that_nobody_accepted() -> None:
    """The model gone back to is held to what it was held to while it served, since then; also if it served twice, or never before."""

    def at(event: ModelEvent, version: str, time_ms: int, by: str = "gate", reference: str = "") -> ModelRecord:
        return replace(record(event, version), time_ms=time_ms, decided_by=by, reference=reference)

    def held_to(*steps: ModelRecord) -> tuple[str, int]:
        found = registry_of((at(UP, "a", 1), at(UP, "b", 2), *steps))
        return found.reference, found.left_ms

    accepted = at(UP, "c", 3, reference="c")
    assert held_to(accepted, at(BACK, "b", 4)) == ("a", 2)
    assert held_to(accepted, at(BACK, "b", 4), at(UP, "d", 5)) == ("a", 2)
    assert held_to(at(UP, "c", 3, by="ann"), at(BACK, "b", 4)) == ("a", 2)
    assert held_to(accepted, at(UP, "d", 4), at(UP, "e", 5, reference="e"), at(BACK, "d", 6)) == ("c", 4)
    assert held_to(accepted, at(UP, "b", 4, by="ann"), at(BACK, "c", 5)) == ("c", 0)
    assert held_to(accepted, at(BACK, "z", 4)) == ("c", 4)
    assert held_to(at(UP, "b", 3, by="ann"), at(UP, "c", 4), at(BACK, "b", 5)) == ("b", 0)


def test_a_rollout_carries_its_acceptance_to_its_end() -> None:
    """What the gate accepted is the reference once it serves, not while it is a shadow."""
    shadow = replace(record(ModelEvent.SHADOW, "2"), decided_by="gate", reference="2")
    trying = registry_of([replace(record(UP, "1"), decided_by="gate"), shadow, record(ModelEvent.CANARY, "2")])
    assert trying.reference == "1"
    assert trying.rollout is not None
    assert trying.rollout.reference == "2"
