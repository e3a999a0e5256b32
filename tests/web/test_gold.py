"""A reviewer makes gold of what people are sure of, or not, on the page and by keys alone."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.support.eventually import eventually
from tests.support.labeling import a_project
from tests.support.labeling_api import Office, claim, submit
from tests.web.conftest import Open, text
from tiebreak.contracts.audit import words_of
from tiebreak.labeling.access import Role

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def all_say_cat(office: Office) -> None:
    """Bob and Cyd settle every task, and the process that serves the page has read so."""
    for name in ("bob", "cyd"):
        client = await office.client(name)
        for _ in range(3):
            (task,) = (await claim(client, wait_ms=20_000))["tasks"]
            assert (await submit(client, task, "cat")).status_code == 201

    async def proposed() -> bool:
        assert office.people is not None
        return len(list(office.people.proposed())) == 3

    await eventually(proposed)


async def test_a_reviewer_keeps_declines_and_leaves_proposals_by_keys(open_desk: Open) -> None:
    """Each as people saw it, with their answer; what was decided is on record with the reason, what was not comes again."""
    desk = await open_desk(
        a_project(votes=2),
        text("It purrs."),
        text("It meows."),
        text("A tail."),
        role=Role.REVIEWER,
        before=all_say_cat,
    )
    await expect(desk.page.locator("#resting-title")).to_have_text("All decided")
    shown, reason = desk.page.locator("#gold-payload"), desk.page.locator("#gold-reason")
    await desk.press("g")
    await expect(shown).not_to_be_empty()
    await expect(desk.page.locator("#gold-answer")).to_contain_text("2 people said “cat”")
    left = await shown.inner_text()
    await desk.shot("gold")
    await desk.press("Space")
    await expect(shown).not_to_have_text(left)
    kept = await shown.inner_text()
    await reason.fill("nobody could say dog")
    await desk.press("Enter", "a")
    await expect(reason).to_have_value("")
    assert {left, kept, await shown.inner_text()} == {"It purrs.", "It meows.", "A tail."}
    await desk.press("x")
    await expect(desk.page.locator("#gold-said")).to_contain_text("Nothing is proposed now")
    await desk.press("Escape", "g")
    await expect(shown).to_have_text(left)
    await expect(desk.page.locator("#gold-answer")).to_contain_text("0 more")
    records, _ = await desk.office.trail().read()
    made, declined = records
    assert words_of(made).endswith('because "nobody could say dog": cat')
    assert (declined.actor, declined.action, words_of(declined)) == ("ann", "gold.declined", "")


async def test_an_annotators_page_does_not_speak_of_gold(open_desk: Open) -> None:
    """Neither a button nor a key nor a line in the help."""
    desk = await open_desk(a_project(), text("first"))
    await desk.sees("first")
    await desk.press("g")
    await expect(desk.page.locator("#gold")).to_be_hidden()
    await expect(desk.page.locator("#open-gold")).to_be_hidden()
    await desk.press("h")
    await expect(desk.page.locator("#key-list")).not_to_contain_text("Gold")
    await expect(desk.page.locator("#key-list")).to_contain_text("Skip")
