"""Every kind of answer on the page, by keys alone and by mouse, from the browser to the label."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from playwright.async_api import expect

from tests.support.eventually import eventually
from tests.support.labeling import a_project
from tests.web.conftest import Desk, Open, png, text
from tiebreak.contracts.messages import Payload, PayloadKind
from tiebreak.contracts.project import Answer, AnswerKind, Classes, Project
from tiebreak.contracts.project_access import Access

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
WORDS = "Ann Smith flew from Lisbon to Porto \U0001f6e9 with Bob."


def asking(name: str, answer: Answer, *classes: str, guidelines: str = "") -> Project:
    """A project that asks for this kind of answer."""
    project = a_project(name)
    labeling = project.labeling.model_copy(update={"answer": answer, "guidelines": guidelines, "schema_version": 2})
    return project.model_copy(update={"labeling": labeling, "classes": Classes(names=classes)})


async def answers(desk: Desk, count: int) -> list[object]:
    """What the labels say, by event."""

    async def there() -> bool:
        return len(await desk.office.labels()) >= count

    await eventually(there)
    return [label.value for label in sorted(await desk.office.labels(), key=lambda x: x.event_id)]


async def test_several_classes_are_chosen_by_keys_and_sent_with_enter(open_desk: Open) -> None:
    """Digits toggle, Enter sends what is chosen, nothing chosen is an answer too; an undo brings the question back."""
    project = asking("topics", Answer(kind=AnswerKind.MULTI), "billing", "delivery", "refund", "praise")
    desk = await open_desk(project, text("first"), text("second"))
    await desk.sees("first")
    await desk.press("3", "1", "2", "2")
    await expect(desk.page.locator('#classes [aria-pressed="true"]')).to_have_text(["1billing", "3refund"])
    await desk.shot("multi")
    await desk.press("Enter")
    await desk.sees("second")
    await expect(desk.page.locator("#toast-text")).to_have_text("billing, refund")
    await desk.press("Enter")
    assert await answers(desk, 2) == ['["billing","refund"]', "[]"]


async def test_how_many_classes_are_wanted_is_said(open_desk: Open) -> None:
    """Where none is no answer, the button does not offer it; Enter sends once there are enough; one too many is not taken."""
    project = asking(
        "topics", Answer(kind=AnswerKind.MULTI, least_choices=1, most_choices=2), "billing", "refund", "praise"
    )
    desk = await open_desk(project, text("first"), text("second"))
    await desk.sees("first")
    await expect(desk.page.locator("#classes .hint")).to_have_text("Choose 1 to 2.")
    await expect(desk.page.locator("#classes .send span")).to_have_text("Send 0 of 3")
    await desk.press("Enter", "1", "2", "3")
    await expect(desk.page.locator('#classes [aria-pressed="true"]')).to_have_text(["1billing", "2refund"])
    await desk.press("Enter")
    await desk.sees("second")


async def test_help_names_the_keys_of_the_kind(open_desk: Open) -> None:
    """What Enter, arrows and digits do here; not the keys for classes that are not heard here."""
    project = asking("ages", Answer(kind=AnswerKind.NUMERIC), guidelines="")
    desk = await open_desk(project, text("first"))
    await desk.sees("first")
    await desk.press("h")
    keys = desk.page.locator("#key-list li")
    await expect(keys.nth(0)).to_have_text(re.compile("^Type the number0 . 9 . -$"))
    await expect(keys.nth(2)).to_have_text("Sendenter")
    await expect(desk.page.locator("#key-list")).to_contain_text("Undo the last answer")
    await expect(desk.page.locator("#key-list")).not_to_contain_text("class")
    await desk.shot("help numeric")


async def test_a_number_is_typed_or_stepped(open_desk: Open) -> None:
    """Digits make the number, arrows step it, Backspace corrects it; what is out of range is not sent and says why."""
    project = asking("ages", Answer(kind=AnswerKind.NUMERIC, least=0, most=10, step=0.5, unit="years"))
    desk = await open_desk(project, text("first"), text("second"))
    await desk.sees("first")
    await desk.press("1", "2", "Enter")
    await expect(desk.page.locator(".hint")).to_have_text("From 0 to 10.")
    await desk.press("Backspace", "Backspace", "7", "ArrowUp")
    await expect(desk.page.locator(".number")).to_have_text("7.5 years")
    await desk.shot("numeric")
    await desk.press("Enter")
    await desk.sees("second")
    await desk.press("ArrowUp", "Enter")
    assert await answers(desk, 2) == ["7.5", "0.5"]


async def test_levels_stand_in_their_order(open_desk: Open) -> None:
    """A scale in one row, a digit or a click chooses."""
    project = asking("mood", Answer(kind=AnswerKind.ORDINAL), "very bad", "bad", "fine", "good", "very good")
    desk = await open_desk(project, text("first"), text("second"))
    await desk.sees("first")
    await desk.shot("ordinal")
    await desk.press("4")
    await desk.sees("second")
    await desk.page.get_by_role("button", name="very bad").click()
    assert await answers(desk, 2) == ["good", "very bad"]


async def test_two_panes_are_compared_with_the_arrows(open_desk: Open) -> None:
    """Left and right are where they are seen; down is a tie; a click on a pane prefers it."""
    project = asking("replies", Answer(kind=AnswerKind.PAIRWISE), "left", "right", "tie")
    rows = [{"answer A": f"Sure, it ships on day {i}.", "answer B": "It ships when it ships."} for i in range(3)]
    payloads = [Payload(PayloadKind.TABLE, "application/json", json.dumps(row).encode()) for row in rows]
    desk = await open_desk(project, *payloads)
    await desk.sees("day 0")
    await expect(desk.page.locator(".pane")).to_have_count(2)
    await desk.shot("pairwise")
    await desk.press("ArrowLeft")
    await desk.sees("day 1")
    await desk.press("ArrowDown")
    await desk.sees("day 2")
    await desk.page.locator(".pane").nth(1).click()
    assert await answers(desk, 3) == ["left", "tie", "right"]


async def test_spans_are_marked_by_keys_and_by_dragging(open_desk: Open) -> None:
    """Arrows walk the words, shift widens, a digit marks; dragging marks too. Offsets count code points, beyond an emoji too."""
    project = asking("names", Answer(kind=AnswerKind.SPANS), "person", "place")
    desk = await open_desk(project, text(WORDS))
    await desk.sees("Ann Smith")
    await desk.press("Shift+ArrowRight", "1", "ArrowRight", "ArrowRight", "ArrowRight", "2")
    await expect(desk.page.locator("#payload mark")).to_have_text(["Ann Smith", "Lisbon"])
    await desk.press("1")
    box = await desk.page.evaluate_handle(
        """() => {
          const at = [...document.querySelectorAll('.spans span')].at(-1).firstChild;
          const range = document.createRange();
          range.setStart(at, at.data.indexOf('Bob'));
          range.setEnd(at, at.data.indexOf('Bob') + 3);
          return range.getBoundingClientRect();
        }"""
    )
    place = await box.json_value()
    middle = place["y"] + place["height"] / 2
    await desk.page.mouse.move(place["x"] + 1, middle)
    await desk.page.mouse.down()
    await desk.page.mouse.move(place["x"] + place["width"] - 1, middle, steps=4)
    await desk.page.mouse.up()
    await expect(desk.page.locator("#payload mark")).to_have_count(3)
    await desk.shot("spans")
    await desk.press("Enter")
    (value,) = await answers(desk, 1)
    marked = [(WORDS[s["start"] : s["end"]], s["label"]) for s in json.loads(str(value))]
    assert marked == [("Ann Smith", "person"), ("Lisbon", "person"), ("Bob", "person")]


async def test_boxes_are_dragged_or_moved_by_keys(open_desk: Open) -> None:
    """A drag over the picture is a box in shares of it; + puts one in the middle, which the arrows move and size."""
    project = asking("cars", Answer(kind=AnswerKind.BOXES), "car", "truck")
    picture = np.tile(np.linspace(40, 220, 300), (200, 1))
    desk = await open_desk(project, png(picture))
    image = await desk.page.locator("#payload img").bounding_box()
    assert image is not None
    x, y, wide, high = image["x"], image["y"], image["width"], image["height"]
    await desk.page.mouse.move(x + 0.1 * wide, y + 0.2 * high)
    await desk.page.mouse.down()
    await desk.page.mouse.move(x + 0.3 * wide, y + 0.6 * high, steps=4)
    await desk.page.mouse.up()
    await desk.press("+", "2", "ArrowRight", "Shift+ArrowDown")
    await expect(desk.page.locator(".box")).to_have_count(2)
    await desk.shot("boxes")
    await desk.press("Enter")
    (value,) = await answers(desk, 1)
    found = sorted(json.loads(str(value)), key=lambda box: str(box["label"]))
    sides = [tuple(round(box[side], 2) for side in ("x", "y", "width", "height")) for box in found]
    assert [box["label"] for box in found] == ["car", "truck"]
    assert sides[0] == pytest.approx((0.1, 0.2, 0.2, 0.4), abs=0.02)
    assert sides[1] == (0.37, 0.35, 0.3, 0.32)


async def test_a_box_is_taken_in_hand_again(open_desk: Open) -> None:
    """A click on a box, or `.` and `,`, holds it: the digit names that one, and Delete removes it, whichever came last."""
    project = asking("cars", Answer(kind=AnswerKind.BOXES), "car", "truck")
    desk = await open_desk(project, png(np.tile(np.linspace(40, 220, 300), (200, 1))))
    await expect(desk.page.locator("#payload img")).to_be_visible()
    await desk.press("+", *["ArrowLeft"] * 16, "+")
    first, second = (desk.page.locator(".box").nth(i) for i in (0, 1))
    await expect(second).to_contain_class("held")
    place = await first.bounding_box()
    assert place is not None
    await desk.page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    await expect(first).to_contain_class("held")
    await desk.press("2")
    await expect(desk.page.locator(".box b")).to_have_text(["truck", "car"])
    await desk.press(".", "Delete", "Enter")
    (value,) = await answers(desk, 1)
    assert [box["label"] for box in json.loads(str(value))] == ["truck"]


async def test_guidelines_are_markdown_and_never_markup(open_desk: Open) -> None:
    """Headings, lists and emphasis are shown as such, with the examples of each class; tags and links stay text."""
    guidelines = "# How to choose\n\nBe **kind**.\n\n- one\n- two\n\n<img src=x onerror=window.ran=1> [x](javascript:window.ran=1)"
    project = asking("kinds", Answer(examples={"cat": ("It purrs.",)}), "cat", "dog", guidelines=guidelines)
    desk = await open_desk(project, text("first"))
    await desk.sees("first")
    await desk.press("h")
    box = desk.page.locator("#guidelines")
    await expect(box.locator("h3")).to_have_text(["How to choose", "cat"])
    await expect(box.locator("strong")).to_have_text("kind")
    await expect(box.locator("li")).to_have_text(["one", "two"])
    await expect(box.locator("blockquote")).to_have_text("It purrs.")
    await expect(box).to_contain_text("<img src=x")
    await desk.shot("guidelines")
    assert await desk.page.evaluate(
        "window.ran === undefined && !document.querySelector('#guidelines a, #guidelines img')"
    )


async def test_who_is_too_fast_is_told_so(open_desk: Open) -> None:
    """429 is no lost line: the page names what it is, whether answers wait or a claim does, and every answer arrives."""
    project = asking("kinds", Answer(), "cat", "dog")
    slow = project.model_copy(update={"access": Access(requests_per_s=1, request_burst=5)})
    desk = await open_desk(slow, *(text(f"number {i}") for i in range(4)))
    for i in range(3):
        await desk.sees(f"number {i}")
        await desk.press("1")
    await expect(desk.page.locator("#link")).to_have_text(re.compile("^Too fast . ([1-3] to send|trying again)$"))
    assert len(await desk.labels(3)) == 3
