"""The audit chain: whatever is changed, left out, put in or moved is found, and the first such record is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.contracts.audit import Action, Fault, Head, digest_of, linked, links, target_of
from tiebreak.contracts.codec import encode
from tiebreak.contracts.messages import AuditRecord

Raw = list[tuple[int, bytes | None]]


def _record(target: str, project: str = "pets") -> AuditRecord:
    return AuditRecord(project, 0, "ann", Action.TOKEN_CREATED, target, "because", 1_000, "", "")


def _chain(count: int) -> list[AuditRecord]:
    found: list[AuditRecord] = []
    for i in range(count):
        head = Head(found[-1].sequence, found[-1].digest) if found else Head()
        found.append(linked(_record(f"target-{i}"), head))
    return found


def _raw(records: list[AuditRecord]) -> Raw:
    return [(offset, encode(record)) for offset, record in enumerate(records)]


def test_an_untouched_chain_is_whole() -> None:
    """All records come back, and the head is the last of them."""
    made = _chain(5)
    found, chain = links("pets", _raw(made))
    assert (found, chain.head, chain.superseded) == (made, Head(5, made[-1].digest), 0)
    assert links("pets", [])[1].head == Head()


@pytest.mark.parametrize("field", ["actor", "action", "target", "detail", "time_ms", "previous", "digest", "sequence"])
@pytest.mark.parametrize("index", [0, 2, 4])
def test_a_changed_field_names_its_record(field: str, index: int) -> None:
    """Whichever field of whichever record was changed."""
    records = _chain(5)
    old = getattr(records[index], field)
    changed: dict[str, Any] = {field: old + 1 if isinstance(old, int) else old + "x"}
    records[index] = replace(records[index], **changed)
    _, chain = links("pets", _raw(records))
    assert chain.faults[0].offset == index


def test_a_record_that_was_rewritten_with_its_digest_breaks_the_next() -> None:
    """Who changes a record and makes its digest anew must make all later ones anew."""
    records = _chain(5)
    changed = replace(records[2], target="nobody", digest="")
    records[2] = replace(changed, digest=digest_of(changed))
    found, chain = links("pets", _raw(records))
    (fault,) = chain.faults
    assert (fault.offset, fault.missing, fault.why) == (3, True, "(sequence 4) does not follow the record before it")
    assert [record.sequence for record in found] == [1, 2, 3, 4, 5]


@given(st.permutations(range(6)))
def test_any_other_order_is_found(order: list[int]) -> None:
    """Records that were moved: every order but the one they were written in."""
    records = _chain(6)
    if order == sorted(order):
        assert links("pets", _raw(records))[1].head.sequence == 6
        return
    assert links("pets", _raw([records[i] for i in order]))[1].faults


@pytest.mark.parametrize("gone", range(4))
def test_a_record_that_was_left_out_is_found(gone: int) -> None:
    """The one after the gap is named, and the chain goes on from it: what was ordered later is heeded."""
    records = _chain(5)
    del records[gone]
    found, chain = links("pets", _raw(records))
    (fault,) = chain.faults
    assert (fault.offset, fault.missing) == (gone, True)
    assert fault.why == f"has sequence {gone + 2} where {gone + 1} was due"
    assert found == records
    assert chain.head == Head(5, records[-1].digest)
    assert not chain.holds(Head(gone + 1, _chain(5)[gone].digest))


def test_a_cut_off_end_shows_against_an_earlier_head() -> None:
    """The chain that is left is whole, but it no longer holds what was its head."""
    records = _chain(5)
    _, whole = links("pets", _raw(records))
    _, cut = links("pets", _raw(records[:3]))
    assert whole.holds(Head(5, records[4].digest))
    assert whole.holds(Head(3, records[2].digest))
    assert not cut.holds(Head(5, records[4].digest))
    assert not whole.holds(Head(3, records[3].digest))


@pytest.mark.parametrize(
    ("raw", "why"), [(b"\xff", "cannot be read"), (None, "cannot be read"), (b"", "cannot be read")]
)
def test_bytes_that_are_no_record_break_the_chain(raw: bytes | None, why: str) -> None:
    """Garbage, nothing, and a tombstone: put in, and nothing is missing where the chain goes on."""
    first, second, third = _chain(3)
    found, chain = links("pets", [*_raw([first, second]), (2, raw), (3, encode(third))])
    (fault,) = chain.faults
    assert (fault.offset, fault.missing, fault.why[: len(why)]) == (2, False, why)
    assert found == [first, second, third]


def test_a_record_of_another_project_breaks_the_chain() -> None:
    """However well it is linked."""
    found, chain = links("pets", _raw([linked(_record("x", "cars"), Head())]))
    assert (found, chain.head, [fault.why for fault in chain.faults]) == ([], Head(), ["belongs to another project"])


def test_of_two_that_link_to_the_same_record_the_first_counts() -> None:
    """Two writers at once, and a record that was written twice: superseded, not broken; the loser links again."""
    first, second = _chain(2)
    rival = linked(_record("rival"), Head(1, first.digest))
    again = linked(_record("rival"), Head(2, second.digest))
    found, chain = links("pets", _raw([first, second, rival, second, again]))
    assert (found, chain.superseded) == ([first, second, again], 2)


@pytest.mark.parametrize("sequence", [2**40 + 10, 2**62, 0, -1])
def test_nobody_can_take_the_last_sequence_there_is(sequence: int) -> None:
    """Nothing could follow it: so far ahead of its offset a record is no link, and the next one follows the last that is."""
    first, second = _chain(2)
    forged = replace(_record("x"), sequence=sequence, previous="0" * 64)
    forged = replace(forged, digest=digest_of(forged))
    found, chain = links("pets", _raw([first, forged, second]))
    assert (found, [fault.offset for fault in chain.faults]) == ([first, second], [1])


def test_the_furthest_sequence_has_successors() -> None:
    """The bound moves with the offset."""
    furthest = replace(_record("x"), sequence=2**40, previous="0" * 64)
    furthest = replace(furthest, digest=digest_of(furthest))
    after = linked(_record("y"), Head(2**40, furthest.digest))
    assert links("pets", _raw([furthest, after]))[0] == [furthest, after]


def _accepting(faults: list[Fault], head: Head) -> AuditRecord:
    record = AuditRecord("pets", 0, "boss", Action.FAULTS_ACCEPTED, target_of(faults), "a test", 2_000, "", "")
    return linked(record, head)


def test_what_somebody_accepted_is_named_with_who_and_what_came_later_is_not_covered() -> None:
    """By what the records hold: an acceptance of other bytes, or of fewer records, accepts nothing."""
    first, second = _chain(2)
    raw: Raw = [(0, encode(first)), (1, b"\xff"), (2, b"\xfe"), (3, encode(second))]
    _, chain = links("pets", raw)
    one, both = chain.within(1, 1), chain.within(1, 2)
    other = [replace(one[0], digest="0" * 64)]
    for accepted, left in ((one, [2, 5]), (both, [5]), (other, [1, 2, 5])):
        record = _accepting(list(accepted), chain.head)
        _, later = links("pets", [*raw, (4, encode(record)), (5, b"\xff")])
        assert [fault.offset for fault in later.open_faults] == left
        assert len(later.faults) == 3
        assert {f.accepted for f in later.faults if f.offset not in left} <= {record}


def test_a_missing_record_can_be_accepted() -> None:
    """By the record that follows the gap."""
    first, _, third = _chain(3)
    raw = [(0, encode(first)), (1, encode(third))]
    _, chain = links("pets", raw)
    _, later = links("pets", [*raw, (2, encode(_accepting(chain.faults, chain.head)))])
    assert (later.open_faults, [fault.missing for fault in later.faults]) == ([], [True])
