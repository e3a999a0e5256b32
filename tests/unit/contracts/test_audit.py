"""The audit chain: whatever is changed, left out, put in or moved is found, and the first such record is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.contracts.audit import Action, Broken, Chain, Head, digest_of, linked, links
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
    with pytest.raises(Broken) as broken:
        links("pets", _raw(records))
    assert broken.value.offset == index


def test_a_record_that_was_rewritten_with_its_digest_breaks_the_next() -> None:
    """Who changes a record and makes its digest anew must make all later ones anew."""
    records = _chain(5)
    changed = replace(records[2], target="nobody", digest="")
    records[2] = replace(changed, digest=digest_of(changed))
    with pytest.raises(Broken) as broken:
        links("pets", _raw(records))
    assert (broken.value.offset, broken.value.why) == (3, "(sequence 4) does not follow the record before it")


@given(st.permutations(range(6)))
def test_any_other_order_is_found(order: list[int]) -> None:
    """Records that were moved: every order but the one they were written in."""
    records = _chain(6)
    if order == sorted(order):
        assert links("pets", _raw(records))[1].head.sequence == 6
        return
    with pytest.raises(Broken):
        links("pets", _raw([records[i] for i in order]))


@pytest.mark.parametrize("gone", range(4))
def test_a_record_that_was_left_out_is_found(gone: int) -> None:
    """The one after the gap is named."""
    records = _chain(5)
    del records[gone]
    with pytest.raises(Broken) as broken:
        links("pets", _raw(records))
    assert (broken.value.offset, broken.value.why) == (gone, f"has sequence {gone + 2} where {gone + 1} was due")


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
    """Garbage, nothing, and a tombstone."""
    with pytest.raises(Broken, match=why):
        links("pets", [*_raw(_chain(2)), (2, raw)])


def test_a_record_of_another_project_breaks_the_chain() -> None:
    """However well it is linked."""
    with pytest.raises(Broken, match="another project"):
        links("pets", _raw([linked(_record("x", "cars"), Head())]))


def test_of_two_that_link_to_the_same_record_the_first_counts() -> None:
    """Two writers at once, and a record that was written twice: superseded, not broken; the loser links again."""
    first, second = _chain(2)
    rival = linked(_record("rival"), Head(1, first.digest))
    again = linked(_record("rival"), Head(2, second.digest))
    found, chain = links("pets", _raw([first, second, rival, second, again]))
    assert (found, chain.superseded) == ([first, second, again], 2)


def test_a_chain_that_was_found_broken_stays_where_it_was() -> None:
    """A writer goes on from the last good record."""
    chain, (first, second, third) = Chain("pets"), _chain(3)
    chain.read(0, encode(first))
    with pytest.raises(Broken):
        chain.read(1, encode(third))
    assert chain.head == Head(1, first.digest)
    assert chain.read(2, encode(second)) == second
