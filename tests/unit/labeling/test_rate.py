"""Rate limits: a fast annotator never meets them, a runaway script and a guesser do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.labeling import a_project
from tests.support.labeling_api import Office, claim, open_office, submit
from tiebreak.contracts.project import Access
from tiebreak.labeling.rate import Buckets


@given(st.floats(0.1, 1000), st.integers(1, 100), st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=200))
def test_nobody_gets_more_than_the_burst_and_the_rate(per_s: float, burst: int, gaps: list[float]) -> None:
    """Whatever the times between requests: at most burst + rate x time are granted; a refusal says when to come back."""
    bucket, now, granted = Buckets(per_s, burst), 0.0, 0
    for gap in gaps:
        now += gap
        wait_s = bucket.take("ann", now)
        granted += not wait_s
        assert 0.0 <= wait_s <= 1.0 / per_s + 1e-9
    assert granted <= burst + per_s * now + 1e-6


def test_one_person_does_not_spend_anothers() -> None:
    """Buckets are apart; a clock that jumps back gives nothing and takes nothing; memory is bounded."""
    bucket = Buckets(1.0, 1, max_keys=2)
    assert [bucket.take(who, 10.0) for who in ("ann", "ann", "bob")] == [0.0, 1.0, 0.0]
    assert bucket.take("bob", 5.0) == 1.0
    assert bucket.take("cyd", 10.0) == 0.0
    assert bucket.take("ann", 10.0) == 0.0  # forgotten, since it was quiet for longest


async def _office(**access: float) -> Office:
    project = a_project().model_copy(update={"access": Access.model_validate(access)})
    return await open_office(project)


async def test_a_runaway_script_is_told_when_to_come_back(office: Office) -> None:
    """429 with Retry-After as a problem document; another person is not touched by it."""
    office = await _office(requests_per_s=0.01, request_burst=3)
    ann, bob = await office.client("ann"), await office.client("bob")
    answers = [await ann.get("/v1/me") for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert answers[3].json()["type"] == "urn:tiebreak:problem:too_many_requests"
    assert answers[3].headers["content-type"] == "application/problem+json"
    assert 1 <= int(answers[3].headers["retry-after"]) <= 100
    assert (await bob.get("/v1/me")).status_code == 200


async def test_guessing_tokens_is_slowed_down_and_harms_nobody_else(office: Office) -> None:
    """After a hundred guesses of one address 429 instead of 401; a good token from the same address goes on."""
    ann = await office.client("ann")
    async with office.bare_client() as guesser:
        answers = [await guesser.get("/v1/me", headers={"authorization": f"Bearer tb_{i:043d}"}) for i in range(400)]
    codes = [a.status_code for a in answers]
    assert set(codes) == {401, 429}
    assert codes[:100] == [401] * 100
    assert (await ann.get("/v1/me")).status_code == 200


async def test_the_fastest_annotator_meets_no_limit(office: Office) -> None:
    """Claim and answer without a pause, as no hand can: nothing is refused."""
    ann = await office.client("ann")
    for _ in range(3):
        (task,) = (await claim(ann))["tasks"]
        assert (await submit(ann, task)).status_code == 201
    assert {(await ann.get("/v1/me")).status_code for _ in range(300)} == {200}
