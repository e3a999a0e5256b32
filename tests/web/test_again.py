"""What the page sends again by itself, so that nobody has to look: an answer whose lease was renewed under it, a claim refused."""

from __future__ import annotations

import pytest
from playwright.async_api import Request, Route, expect

from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task
from tests.web.conftest import Open, text
from tiebreak.labeling.memory import MemoryQueue

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
AWAY = "() => { const real = Date.now; Date.now = () => real() + 1e7; }"


@pytest.mark.parametrize("told_first", [True, False])
async def test_an_answer_whose_question_came_anew_meanwhile_counts(open_desk: Open, told_first: bool) -> None:
    """Who comes back after their leases ran out wakes the page with the very key that answers: its claim gives the question anew,

    and the answer comes with the old lease, before or after the page has heard of the new one. It is sent again with that.
    """
    desk = await open_desk(a_project(), text("first"), text("second"))
    await desk.sees("first")
    queue, first = desk.office.queue, a_task(0).task_id
    assert isinstance(queue, MemoryQueue)
    entry = queue._state.tasks[first]
    old = entry.token
    queue._state.leases[first] = 0
    await queue.sweep(10)
    told: list[str] = []

    async def late_answer(route: Route) -> None:
        await eventually(lambda: entry.token != old)
        said = await route.fetch()
        await eventually(lambda: not told_first or "claim" in told)
        await route.fulfill(response=said)
        told.append("answer")

    async def late_claim(route: Route) -> None:
        said = await route.fetch()
        await eventually(lambda: told_first or "answer" in told)
        await route.fulfill(response=said)
        told.append("claim")

    await desk.page.route("**/annotations*", late_answer)
    await desk.page.route("**/tasks:claim", late_claim)
    await desk.page.evaluate(AWAY)
    await desk.press("1")
    assert [(x.event_id, x.value) for x in await desk.labels(1)] == [("event-0", "cat")]
    await desk.sees("second")
    await expect(desk.page.locator("#answered")).to_have_text("1")
    await expect(desk.page.locator("#notice")).to_be_hidden()
    await desk.press("2")
    assert sorted(x.value for x in await desk.labels(2)) == ["cat", "dog"]
    # The labels may be there before the page has its last answer, and a claim waits: both end with the page.
    await desk.page.unroute_all(behavior="ignoreErrors")


async def test_after_a_refused_claim_the_page_asks_at_once_how_things_are(open_desk: Open) -> None:
    """A claim may wait 20 s at the server for something to do. The first one after a refusal does not: until it is answered the page

    says that it is turned away.
    """
    desk = await open_desk(a_project())
    refused, asked = list[int](), list[int]()

    async def turn_away(route: Route) -> None:
        wait_ms = waited(route.request)
        if refused:
            asked.append(wait_ms)
        if refused or wait_ms < 4000:
            await route.continue_()
            return
        refused.append(wait_ms)
        await route.fulfill(
            status=429, headers={"retry-after": "1"}, json={"type": "urn:tiebreak:too_fast", "detail": "x"}
        )

    await desk.page.route("**/tasks:claim", turn_away)
    await expect(desk.page.locator("#link")).to_have_text("Too fast · trying again")
    await expect(desk.page.locator("#link")).to_be_hidden()
    assert asked[0] == 0


def waited(request: Request) -> int:
    found: int = (request.post_data_json or {})["wait_ms"]
    return found
