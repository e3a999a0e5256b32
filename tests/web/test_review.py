"""What a reviewer sees of a dispute on the page, for every kind of answer, and the two keys that settle it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.async_api import Route, expect

from tests.support.disputes import PEOPLE, Says, disagree, disputed_project
from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import Office, claim, submit, withdraw
from tests.web.conftest import Desk, Open, png, text
from tiebreak.contracts.messages import LabelMethod, Payload, PayloadKind
from tiebreak.contracts.project import Answer, AnswerKind, Project
from tiebreak.labeling.access import Role
from tiebreak.labeling.port import Reopen

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
PETS = a_project()
BAD = '<img src=x onerror="document.title = 1"><script>document.title = 2</script>'
WORDS = "Ann Smith flew from Lisbon to Porto \U0001f6e9 with Bob."


def after(*said: Says, tasks: int = 1) -> Callable[[Office], Awaitable[None]]:
    async def before(office: Office) -> None:
        await disagree(office, *said, tasks=tasks)

    return before


async def review(
    open_desk: Open,
    project: Project,
    payload: Payload,
    *said: object,
    dark: bool = False,
    role: Role = Role.REVIEWER,
) -> Desk:
    """Somebody who may review at the page, whose task these answers are about."""
    says = [one if isinstance(one, Says) else Says(one) for one in said]
    desk: Desk = await open_desk(project, payload, role=role, before=after(*says), dark=dark)
    await expect(desk.page.locator("#dispute")).to_be_visible()
    return desk


async def settled(desk: Desk) -> object:
    """What the reviewer's answer came to."""
    (label,) = await desk.labels(1)
    assert label.method is LabelMethod.ADJUDICATED
    return label.value


async def test_who_said_what_is_seen_and_two_keys_settle_it(open_desk: Open) -> None:
    """Letters, answers, shares, notes, flags, reasons of skips, no names; shift + C takes over what C said, Enter sends it."""
    said = Says("cat", "The ears."), Says(None, "Too dark to tell.", flagged=True), Says("dog")
    desk = await review(open_desk, disputed_project(PETS), text("It purrs, then it barks."), *said)
    one = desk.page.locator("#said .one")
    await expect(desk.page.locator("#dispute-says")).to_have_text("2 answers, 1 skip. What you say settles it.")
    await expect(one.locator(".who")).to_have_text(["A", "B", "C"])
    await expect(one.nth(0)).to_contain_text("cat")
    await expect(one.nth(0).locator(".remark")).to_have_text("The ears.")
    await expect(one.nth(1)).to_contain_text("skipped")
    await expect(one.nth(1).locator(".remark")).to_have_text("Too dark to tell.")
    await expect(one.nth(1).locator(".tag")).to_have_text(["flagged"])
    await expect(desk.page.locator("#shares li")).to_have_text(["cat50 %", "dog50 %"])
    await expect(desk.page.locator("#status")).to_have_text("In dispute. A: cat; B: skipped; C: dog")
    assert "-said" not in await desk.page.locator("body").inner_text()
    await desk.press("h")
    await expect(desk.page.locator("#key-list")).to_contain_text("take over what A, B, … said")
    await desk.press("Escape")
    await desk.shot("review")
    await desk.press("Shift+B", "c")  # a skip is nothing to take over, and a letter alone is not a person's
    await expect(desk.page.locator("#taken")).to_be_hidden()
    await desk.press("Shift+C")
    await expect(desk.page.locator('#classes [aria-pressed="true"]')).to_have_text(["2dog"])
    await desk.shot("review taken")
    await desk.press("Enter")
    await expect(desk.page.locator("#dispute")).to_be_hidden()
    assert await settled(desk) == "dog"


async def test_an_answer_of_ones_own_needs_one_key_as_ever(open_desk: Open) -> None:
    """A digit answers at once, whatever was taken over before; Escape lets go of that."""
    desk = await review(open_desk, disputed_project(PETS), text("first"), "cat", "dog", None)
    await desk.press("Shift+A", "Escape", "Enter")
    await expect(desk.page.locator("#taken")).to_be_hidden()
    await desk.press("Shift+A", "3")
    assert await settled(desk) == "bird"


async def test_markup_in_a_note_is_text_and_a_huge_one_stays_in_its_place(open_desk: Open) -> None:
    """Nothing of it runs; 2,000 characters without a space neither widen the page nor push the others out of sight."""
    said = Says("cat", BAD), Says("dog", "x" * 2000), Says("bird", "\n".join("many lines" for _ in range(100)))
    desk = await review(open_desk, disputed_project(PETS), text("first"), *said)
    remarks = desk.page.locator(".remark")
    await expect(remarks.nth(0)).to_have_text(BAD)
    await expect(desk.page.locator("#dispute img, #dispute script")).to_have_count(0)
    heights = [box["height"] for box in [await remarks.nth(i).bounding_box() for i in range(3)] if box]
    assert max(heights) < 160
    for wide in (1100, 360):
        await desk.page.set_viewport_size({"width": wide, "height": 820})
        assert await desk.page.evaluate("document.documentElement.scrollWidth") <= wide
        await desk.shot(f"review notes {wide}")
    assert "pets" in await desk.page.title()


async def test_several_classes_are_taken_over_and_changed(open_desk: Open) -> None:
    """What one person chose is chosen, and can be toggled before it is sent; what people share can be taken over too."""
    project = disputed_project(
        PETS, "billing", "delivery", "refund", answer=Answer(kind=AnswerKind.MULTI), agreement=0.9
    )
    desk = await review(open_desk, project, text("first"), ["billing"], ["billing", "refund"], [])
    await expect(desk.page.locator("#said .one").nth(1).locator(".chip")).to_have_text(["billing", "refund"])
    await expect(desk.page.locator("#said .one").nth(2)).to_contain_text("nothing")
    await desk.shot("review multi")
    await desk.press("Shift+B", "2")
    await expect(desk.page.locator('#classes [aria-pressed="true"]')).to_have_text(["1billing", "2delivery", "3refund"])
    await desk.page.get_by_role("button", name="Take over: what most say").click()
    await expect(desk.page.locator('#classes [aria-pressed="true"]')).to_have_text(["1billing"])
    await desk.press("Enter")
    assert await settled(desk) == '["billing"]'


async def test_a_level_is_taken_over(open_desk: Open) -> None:
    """On a scale, as with classes; a manager sees names beside the letters."""
    project = disputed_project(PETS, "bad", "fine", "good", answer=Answer(kind=AnswerKind.ORDINAL), agreement=0.9)
    desk = await review(open_desk, project, text("first"), "bad", "good", "fine", role=Role.MANAGER)
    for place, name in enumerate(PEOPLE):
        await expect(desk.page.locator("#said .facts").nth(place)).to_contain_text(f"{name} · 0 s")
    await desk.shot("review ordinal")
    await desk.press("Shift+B")
    await expect(desk.page.locator('#classes [aria-pressed="true"]')).to_have_text(["3good"])
    await desk.press("Enter")
    assert await settled(desk) == "good"


async def test_a_number_is_taken_over_or_typed_anew(open_desk: Open) -> None:
    """The first digit after it begins a number of one's own."""
    answer = Answer(kind=AnswerKind.NUMERIC, least=0, most=100, step=0.5, unit="years")
    desk = await review(open_desk, disputed_project(PETS, answer=answer), text("first"), 1, 50.5, 99)
    await desk.press("Shift+B")
    await expect(desk.page.locator(".number")).to_have_text("50.5 years")
    await expect(desk.page.locator("#shares li")).to_contain_text("In the middle: 50.5")
    await desk.shot("review numeric")
    await desk.press("7", "ArrowUp")
    await expect(desk.page.locator(".number")).to_have_text("7.5 years")
    await desk.press("Shift+C", "Enter")
    assert await settled(desk) == "99"


async def test_a_preference_is_taken_over(open_desk: Open) -> None:
    """Of two panes."""
    project = disputed_project(PETS, "left", "right", "tie", answer=Answer(kind=AnswerKind.PAIRWISE), payload="table")
    row = {"answer A": "Sure, it ships on day 3.", "answer B": "It ships when it ships."}
    payload = Payload(PayloadKind.TABLE, "application/json", json.dumps(row).encode())
    desk = await review(open_desk, project, payload, "left", "tie", "right")
    await desk.shot("review pairwise")
    await desk.press("Shift+A", "Enter")
    assert await settled(desk) == "left"


async def test_spans_are_taken_over_and_completed(open_desk: Open) -> None:
    """The words that each person marked, beyond an emoji too; one's own marks come beside what was taken over."""
    project = disputed_project(PETS, "person", "place", answer=Answer(kind=AnswerKind.SPANS), agreement=0.9)
    bob = WORDS.index("Bob")
    ann = {"start": 0, "end": 9, "label": "person"}
    said: tuple[object, ...] = [ann, {"start": bob, "end": bob + 3, "label": "place"}], [{**ann, "end": 3}], []
    desk = await review(open_desk, project, text(WORDS), *said)
    await expect(desk.page.locator("#said .one").nth(0).locator(".chip")).to_have_text(
        ["Ann Smith · person", "Bob · place"]
    )
    await desk.shot("review spans")
    await desk.press("Shift+B")
    await expect(desk.page.locator("#classes .chip")).to_have_text([re.compile("^Ann · person")])
    await desk.press("Shift+A")
    await expect(desk.page.locator("#classes .chip")).to_have_text(
        [re.compile("^Ann Smith · person"), re.compile("^Bob · place")]
    )
    await desk.press("Delete", "Enter")
    assert json.loads(str(await settled(desk))) == [ann]


async def test_everybodys_boxes_are_over_the_picture(open_desk: Open) -> None:
    """Dashed, with a letter each; taken over they are one's own, to move and to send."""
    project = disputed_project(
        PETS, "car", "truck", answer=Answer(kind=AnswerKind.BOXES), agreement=0.9, payload="image"
    )
    car = {"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4, "label": "car"}
    said = [car], [{**car, "x": 0.12, "label": "truck"}], [{**car, "x": 0.6}]
    desk = await review(open_desk, project, png(np.tile(np.linspace(40, 220, 300), (200, 1))), *said)
    await expect(desk.page.locator(".ghost b")).to_have_text(["A", "B", "C"])
    await desk.shot("review boxes")
    await desk.press("Shift+B")
    await expect(desk.page.locator(".layer .box b")).to_have_text(["truck"])
    await desk.press(".", "1", "Enter")
    assert json.loads(str(await settled(desk))) == [{**car, "x": 0.12}]


async def test_a_task_that_is_answered_blind_shows_nothing_to_a_reviewer(open_desk: Open) -> None:
    """One that still wants answers: as an annotator sees it, and shift with a letter is the letter."""
    desk = await open_desk(disputed_project(PETS, lease_s=2.0), text("first"), role=Role.REVIEWER)
    await desk.sees("first")
    asked: list[str] = []
    desk.page.on("request", lambda request: asked.append(request.url))
    await desk.page.reload()
    await desk.sees("first")
    async with desk.page.expect_response(lambda response: response.url.endswith(":renew")):
        await desk.sees("first")
    assert [url for url in asked if url.endswith("/answers")] == []
    await expect(desk.page.locator("#dispute")).to_be_hidden()
    await desk.press("Shift+F")
    await expect(desk.page.locator("#flag")).to_have_attribute("aria-pressed", "true")


async def test_an_annotator_asks_for_nothing(open_desk: Open) -> None:
    """Nobody without the right is told, and their page does not even ask."""
    desk = await open_desk(disputed_project(PETS), text("first"))
    asked: list[str] = []
    desk.page.on("request", lambda request: asked.append(request.url))
    await desk.sees("first")
    await desk.press("1")
    await expect(desk.page.locator("#answered")).to_have_text("1")
    assert [url for url in asked if url.endswith("/answers")] == []


async def test_what_comes_late_or_is_taken_back_shows_with_the_next_heartbeat(open_desk: Open) -> None:
    """A late answer has the next letter; of one that is taken back a word is said, what was taken over from it is let go, and the

    others keep their letters. Where too few are left to disagree nothing is shown any more, and the reviewer answers as anybody.
    """
    people: dict[str, httpx.AsyncClient] = {}
    held: list[Any] = []

    async def before(office: Office) -> None:
        lou = people["lou-said"] = await office.client("lou-said")
        held.extend((await claim(lou, wait_ms=20_000))["tasks"])
        people.update(await disagree(office, Says("cat"), Says("dog"), Says("bird")))

    async def take_back(name: str) -> None:
        (line,) = (await people[name].get("/v1/me/annotations")).json()["annotations"]
        assert (await withdraw(people[name], line["annotation_id"], name)).status_code == 200

    desk = await open_desk(
        disputed_project(PETS, lease_s=2.0, agreement=0.7), text("first"), role=Role.REVIEWER, before=before
    )
    await expect(desk.page.locator("#said .who")).to_have_text(["A", "B", "C"])
    assert (await submit(people["lou-said"], held[0], "bird")).json()["state"] == "late"
    await expect(desk.page.locator("#said .who")).to_have_text(["A", "B", "C", "D"])
    await expect(desk.page.locator("#said .one").nth(3).locator(".tag")).to_have_text(["late"])
    await desk.press("Shift+A")
    await expect(desk.page.locator("#taken")).to_be_visible()
    await take_back("zoe-said")
    await expect(desk.page.locator("#notice")).to_have_text("A took their answer back.")
    await expect(desk.page.locator("#said .who")).to_have_text(["B", "C", "D"])
    await expect(desk.page.locator("#taken")).to_be_hidden()
    await desk.press("Shift+D")
    await take_back("bob-said")
    await expect(desk.page.locator("#notice")).to_contain_text("not in dispute any more")
    for gone in ("#dispute", "#taken"):
        await expect(desk.page.locator(gone)).to_be_hidden()
    await desk.press("2")

    async def heard() -> bool:
        newest = (await desk.office.annotations())[-1]
        return (newest.annotator, newest.value, newest.reviewer) == ("ann", "dog", False)

    await eventually(heard)


async def test_what_goes_to_review_on_the_screen_is_shown_with_the_next_heartbeat(open_desk: Open) -> None:
    """The reviewer claimed it as any other, and an answer that came late disagreed with one that was there."""
    desk = await open_desk(disputed_project(PETS, lease_s=2.0), text("first"), role=Role.REVIEWER)
    await desk.sees("first")
    await expect(desk.page.locator("#dispute")).to_be_hidden()
    (task,) = (await desk.office.queue.page(0, 10)).tasks
    await desk.office.queue.reopen([Reopen(task.task_id, 0, review=True)])
    await expect(desk.page.locator("#dispute-says")).to_have_text("Nobody answered. What you say settles it.")


async def test_what_went_to_review_behind_the_screen_is_shown_with_the_next_claim(open_desk: Open) -> None:
    """It was at hand for after the first, as any other, and is on the screen before the claim says so."""
    project = disputed_project(PETS, lease_s=600.0)
    desk = await open_desk(project, text("first"), text("second"), role=Role.REVIEWER)
    await desk.sees("first")

    async def both() -> bool:
        return (await desk.office.queue.stats()).leased == 2

    await eventually(both)
    second = a_task(1)
    await desk.office.queue.reopen([Reopen(second.task_id, 0, review=True)])
    await desk.press("1")
    await desk.sees("second")
    await expect(desk.page.locator("#dispute-says")).to_have_text("Nobody answered. What you say settles it.")


async def test_a_word_taken_back_is_in_dispute_again(open_desk: Open) -> None:
    """After an undo the question is on the screen with what people said, also where the log brings it after the page has asked."""
    project = disputed_project(PETS, undo_s=60.0, lease_s=600.0)  # no heartbeat comes in between
    five = [
        text(words) for words in ("first", "second", "third", "fourth", "fifth")
    ]  # enough at hand: no claim comes either
    said = after(Says("cat"), Says("dog"), Says(None), tasks=len(five))
    desk = await open_desk(project, *five, role=Role.REVIEWER, before=said)
    await expect(desk.page.locator("#dispute")).to_be_visible()
    shown = await desk.page.locator("#payload").inner_text()
    await desk.press("Shift+A", "Enter")
    await desk.labels(1)

    async def too_early(route: Route) -> None:
        problem = {"type": "urn:tiebreak:problem:not_in_review", "title": "Conflict", "status": 409, "detail": "Early."}
        await route.fulfill(status=409, content_type="application/problem+json", body=json.dumps(problem))

    await desk.page.route("**/answers", too_early, times=1)
    await desk.press("Backspace")
    await desk.sees(shown)
    await expect(desk.page.locator("#said .who")).to_have_text(["A", "B", "C"])
    await desk.press("Shift+B", "Enter")

    async def newest() -> bool:
        return [label.value for label in await desk.office.labels()][-1:] == ["dog"]

    await eventually(newest)


async def test_the_second_tab_learns_that_the_first_has_settled_it(open_desk: Open) -> None:
    """Both tabs of one person show the same dispute; an answer in one takes it from the other, in words."""
    desk = await review(open_desk, disputed_project(PETS, lease_s=2.0), text("first"), "cat", "dog", None)
    token = await desk.page.evaluate("sessionStorage.getItem('tiebreak.token')")
    second = await desk.page.context.new_page()
    await second.goto(f"{desk.page.url}#token={token}")
    await expect(second.locator("#said .who")).to_have_text(["A", "B", "C"])
    await desk.press("Shift+A", "Enter")
    await desk.labels(1)
    await second.bring_to_front()
    await expect(second.locator("#dispute")).to_be_hidden()
    await expect(second.locator("#notice")).to_be_visible()


async def test_narrow_and_dark(open_desk: Open) -> None:
    """On a telephone what was said stands between the question and the classes, and a tap takes it over."""
    said = Says("cat", "The ears, and it hides."), Says("dog", flagged=True), Says(None, "Too dark.")
    desk = await review(open_desk, disputed_project(PETS), text("It purrs, then it barks."), *said, dark=True)
    await desk.page.set_viewport_size({"width": 360, "height": 740})
    places = [
        await desk.page.locator(part).bounding_box() for part in ("#payload", "#dispute", "#classes", "#work .tools")
    ]
    tops = [place["y"] for place in places if place]
    assert (len(tops), tops) == (4, sorted(tops))
    if await desk.page.evaluate("document.documentElement.scrollWidth") > 360:
        raise AssertionError("wider than the screen")
    await desk.shot("review narrow")
    await desk.page.get_by_role("button", name="Take over: what A said").click()
    await desk.page.get_by_role("button", name="Send “cat”").click()
    assert await settled(desk) == "cat"
