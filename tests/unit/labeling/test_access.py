"""Tokens, roles and where the API may listen."""

from __future__ import annotations

import pytest

from tiebreak.contracts.errors import ConfigError, Invalid
from tiebreak.labeling.access import Principal, Right, Role, check_exposure
from tiebreak.labeling.lifecycle import TaskState, class_of, may_follow, rank
from tiebreak.labeling.tokens import TokenRecord, bearer_of, digest_of, mint, principal_of


def test_a_token_is_shown_once_and_stored_as_a_digest() -> None:
    """Nothing that is stored holds the token; the token finds its record, another does not."""
    text, record = mint(bytes(range(32)), "ann", Role.ANNOTATOR, 1000, 500)
    assert record == TokenRecord(digest_of(text), "ann", Role.ANNOTATOR, 1000, 1500)
    assert text not in repr(record)
    assert digest_of(text[:-1] + "!") != record.digest


@pytest.mark.parametrize(("now_ms", "valid"), [(1000, True), (1499, True), (1500, False), (9999, False)])
def test_a_token_ends_at_its_expiry(now_ms: int, valid: bool) -> None:
    """At the very millisecond, by the server's clock."""
    _, record = mint(bytes(32), "ann", Role.REVIEWER, 1000, 500)
    assert principal_of(record, now_ms) == (Principal("ann", Role.REVIEWER) if valid else None)


@pytest.mark.parametrize("name", ["", " ann", "a|b", "a:b", "{a}", "a" * 65, "ä", "a\n", "-a"])
def test_a_name_cannot_break_a_key_or_a_line(name: str) -> None:
    """Names go into Redis keys, packed fields and logs."""
    with pytest.raises(Invalid):
        mint(bytes(32), name, Role.ANNOTATOR, 0, 0)


@pytest.mark.parametrize("random", [b"", bytes(31), bytes(33)])
def test_a_token_needs_all_its_randomness(random: bytes) -> None:
    """A short read of the random source is refused instead of making a weak token."""
    with pytest.raises(Invalid):
        mint(random, "ann", Role.ANNOTATOR, 0, 0)


def test_bearer_headers() -> None:
    """Only the bearer scheme, whatever its case, and nothing overlong."""
    headers = ["Bearer x", "bearer x", "BEARER  x ", "Basic x", "x", "", None, "Bearer " + "x" * 500]
    assert [bearer_of(h) for h in headers] == ["x", "x", "x", None, None, None, None, None]


def test_rights_grow_with_the_role() -> None:
    """The whole table, so that a change of it is seen."""
    rights = {role: "".join(r.value[:2] for r in Right if Principal("x", role).may(r)) for role in Role}
    assert rights == {
        Role.VIEWER: "re",
        Role.ANNOTATOR: "rean",
        Role.REVIEWER: "reanre",
        Role.MANAGER: "reanrema",
        Role.ADMIN: "reanremaad",
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    """Nobody else can listen in."""
    check_exposure(host, tls=False, behind_proxy=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "example.org", "", "127.0.0.1.example.org"])  # noqa: S104
def test_every_other_host_needs_tls_or_a_declared_proxy(host: str) -> None:
    """Tokens never cross a network in the clear by accident."""
    with pytest.raises(ConfigError, match="without TLS"):
        check_exposure(host, tls=False, behind_proxy=False)
    check_exposure(host, tls=True, behind_proxy=False)
    check_exposure(host, tls=False, behind_proxy=True)


@pytest.mark.parametrize("priority", [float("nan"), float("inf"), float("-inf"), 1e300, -1e300])
def test_no_priority_breaks_the_order(priority: float) -> None:
    """A priority that is no number, or absurd, still gives a finite rank that keeps milliseconds apart."""
    assert rank(1_700_000_000_000, priority) < rank(1_700_000_000_001, priority) < float("inf")


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\x00b", "a\u202eb"])
def test_a_class_name_is_printable_and_short(name: str) -> None:
    """Control characters and direction marks would mislead the people who choose."""
    with pytest.raises(Invalid):
        class_of(name, ())


def test_there_are_only_so_many_classes() -> None:
    """A mistake cannot fill the page for everybody."""
    with pytest.raises(Invalid):
        class_of("one more", tuple(f"c{i}" for i in range(1000)))


def test_the_states_that_may_follow_each_other() -> None:
    """An ended task stays ended; a settled one opens again only when an answer is taken back; all but an erased one may be erased."""
    table = {before: {after for after in TaskState if may_follow(before, after)} for before in TaskState}
    assert table[TaskState.EXPIRED] == table[TaskState.WITHDRAWN] == {TaskState.ERASED}
    assert table[TaskState.ERASED] == set()
    assert table[TaskState.SETTLED] == {TaskState.OPEN, TaskState.LEASED, TaskState.ERASED}
    assert TaskState.SETTLED in table[TaskState.LEASED]
