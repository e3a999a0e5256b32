"""The annotators' page in a real browser: keys, prefetch, undo, and what happens when things go wrong."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.async_api import expect

from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task
from tests.support.labeling_api import claim, submit
from tests.web.conftest import Desk, Open, png, text
from tiebreak.contracts.messages import Payload, PayloadKind
from tiebreak.contracts.project import Classes, Project
from tiebreak.labeling.memory import MemoryQueue

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def digits() -> Project:
    project = a_project("digits")
    classes = Classes(names=tuple("0123456789"))
    return project.model_copy(update={"classes": classes})


async def test_a_key_answers_and_the_next_task_is_there(open_desk: Open) -> None:
    """One keystroke per answer, in the order of the queue; each becomes a label with the class of the key."""
    desk = await open_desk(a_project(), text("first"), text("second"), text("third"))
    await desk.sees("first")
    await desk.shot("text")
    await desk.press("2")
    await desk.sees("second")
    await desk.press("1")
    await desk.sees("third")
    await desk.press("3")
    labels = await desk.labels(3)
    assert sorted((x.event_id, x.value) for x in labels) == [
        ("event-0", "dog"),
        ("event-1", "cat"),
        ("event-2", "bird"),
    ]
    await expect(desk.page.locator("#answered")).to_have_text("3")
    await expect(desk.page.locator("#resting-title")).to_have_text("All decided")
    await desk.shot("done")


async def test_the_token_leaves_the_address_at_once(open_desk: Open) -> None:
    """It is in neither the address nor the history of the page, and is kept for the tab alone."""
    desk = await open_desk(a_project(), text("first"))
    await desk.sees("first")
    assert "token" not in desk.page.url
    assert await desk.page.evaluate("localStorage.length") == 0
    assert await desk.page.evaluate("sessionStorage.getItem('tiebreak.token').startsWith('tb_')")


async def test_backspace_takes_the_last_answer_back(open_desk: Open) -> None:
    """The task is on the screen again; the second answer is the one that stands."""
    desk = await open_desk(a_project(), text("first"), text("second"))
    await desk.sees("first")
    await desk.press("1")
    await desk.sees("second")
    await desk.shot("undo")
    await desk.press("Backspace")
    await desk.sees("first")
    await desk.press("2")
    await desk.sees("second")

    async def settled() -> bool:
        newest = {x.event_id: x for x in sorted(await desk.office.labels(), key=lambda x: x.revision)}
        return bool(newest) and newest["event-0"].value == "dog" and not newest["event-0"].withdrawn

    await eventually(settled)
    await expect(desk.page.locator("#answered")).to_have_text("1")


async def test_an_answer_brings_the_tasks_after_it(open_desk: Open) -> None:
    """While there is enough to do, each answer is one request: nobody claims beside it."""
    names = [f"task {number}." for number in range(8)]
    desk = await open_desk(a_project(), *(text(name) for name in names))
    await desk.sees(names[0])
    asked: list[str] = []
    desk.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    for number in range(4):
        async with desk.page.expect_response(lambda response: "annotations?next=" in response.url):
            await desk.press("1")
        await desk.sees(names[number + 1])
    assert [path.partition("?")[0] for path in asked] == ["annotations"] * 4


async def test_space_skips_and_f_flags(open_desk: Open) -> None:
    """A skip is on the log without a class; a flag travels with the next answer and no further."""
    desk = await open_desk(a_project(), text("first"), text("second"), text("third"))
    await desk.sees("first")
    await desk.press("Space")
    await desk.sees("second")
    await desk.press("f", "1")
    await desk.sees("third")
    await desk.press("1")

    async def all_there() -> bool:
        return len(await desk.office.annotations()) == 3

    await eventually(all_there)
    votes = await desk.office.annotations()
    assert sorted((v.state.value, v.value, v.flagged) for v in votes) == [
        ("skipped", "", False),
        ("submitted", "cat", False),
        ("submitted", "cat", True),
    ]


async def test_digits_are_crisp_and_their_keys_are_their_names(open_desk: Open) -> None:
    """An 8 by 8 picture grows by a whole factor with hard edges; where classes are digits, the key 7 means 7."""
    picture = np.zeros((8, 8))
    picture[1, 2:6] = picture[2:7, 5] = 255
    desk = await open_desk(digits(), png(picture))
    image = desk.page.locator("#payload img")
    await expect(image).to_have_class("pixels")
    size = await image.bounding_box()
    assert size is not None
    assert (size["width"], size["height"]) == (288, 288)
    await desk.shot("digit")
    await desk.press("7")
    assert [x.value for x in await desk.labels(1)] == ["7"]


async def test_a_table_shows_every_column(open_desk: Open) -> None:
    """Named values in rows, a missing one as a dash."""
    row = Payload(PayloadKind.TABLE, "application/json", b'{"amount": 129.5, "country": "PT", "device": null}')
    desk = await open_desk(a_project(), row, dark=True)
    await expect(desk.page.locator("#payload tr")).to_have_text(["amount129.5", "countryPT", "device\N{EN DASH}"])
    await desk.shot("table-dark")


async def test_many_classes_are_found_by_typing(open_desk: Open) -> None:
    """Slash, a few letters, Enter: the best match is the answer."""
    names = ("oak", "ash", "elm", "fir", "yew", "pine", "lime", "beech", "birch", "maple", "cedar", "larch", "hazel")
    project = a_project("trees").model_copy(update={"classes": Classes(names=names)})
    desk = await open_desk(project, text("which tree?"), text("and this?"))
    await desk.sees("which tree?")
    await desk.press("/")
    await desk.page.keyboard.type("haz")
    await desk.shot("search")
    await desk.press("Enter")
    await desk.sees("and this?")
    assert [x.value for x in await desk.labels(1)] == ["hazel"]


async def test_a_new_class_can_be_added_while_the_stream_runs(open_desk: Open) -> None:
    """In an open set, what no class is called is added and chosen in one go, and has a key from then on."""
    desk = await open_desk(a_project("open-pets", is_open=True), text("first"), text("second"))
    await desk.sees("first")
    await desk.press("/")
    await desk.page.keyboard.type("otter")
    await desk.press("Enter")
    await desk.sees("second")
    await desk.shot("open")
    await desk.press("4")
    assert [x.value for x in await desk.labels(2)] == ["otter", "otter"]


async def test_a_class_that_somebody_else_added_comes_with_the_next_tasks(open_desk: Open) -> None:
    """The page reads the project anew, and each answer says which classes were in front of its author."""
    desk = await open_desk(a_project("open-pets", is_open=True), *(text(f"number {i}") for i in range(4)))
    await desk.sees("number 0")
    async with await desk.office.client("bob") as bob:
        added = await bob.post("/v1/projects/open-pets/classes", json={"name": "otter"})
        assert added.status_code == 201
    await desk.press("1")
    await expect(desk.page.locator("#classes")).to_contain_text("otter")
    await desk.press("4")
    assert [x.value for x in await desk.labels(2)] == ["cat", "otter"]
    said = {a.value: (a.schema_version, a.schema_added) for a in await desk.office.annotations()}
    assert said == {"cat": (1, 0), "otter": (1, 1)}


async def test_hostile_text_is_shown_and_not_run(open_desk: Open) -> None:
    """Markup, scripts and handlers in a task's text, in a table and in a class name are text."""
    evil = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>{{7*7}}'
    row = Payload(
        PayloadKind.TABLE, "application/json", b'{"<svg onload=window.ran=1>": "<script>window.ran=1</script>"}'
    )
    project = a_project("odd").model_copy(update={"classes": Classes(names=("<b onclick=window.ran=1>x</b>", "dog"))})
    desk = await open_desk(project, text(evil), row)
    await desk.sees(evil)
    await desk.press("1")
    await expect(desk.page.locator("#payload th")).to_have_text("<svg onload=window.ran=1>")
    assert await desk.page.evaluate("window.ran === undefined")


async def test_answers_given_offline_are_sent_when_the_server_is_back(open_desk: Open) -> None:
    """The log is away: the page says so, keeps the answer, and sends it once, without a key pressed again."""
    desk = await open_desk(a_project(), text("first"), text("second"))
    await desk.sees("first")
    await desk.page.context.set_offline(True)
    await desk.press("1")
    await desk.sees("second")
    await expect(desk.page.locator("#link")).to_contain_text("1 to send")
    await desk.shot("offline")
    await desk.page.context.set_offline(False)
    assert [x.value for x in await desk.labels(1)] == ["cat"]
    await expect(desk.page.locator("#link")).to_be_hidden()
    assert len(await desk.office.annotations()) == 1


async def test_a_task_that_others_settled_is_passed_over_with_a_word(open_desk: Open) -> None:
    """The lease was lost and somebody else answered: the page says that this answer does not count, and goes on."""
    desk = await open_desk(a_project(), text("first"), text("second"))
    await desk.sees("first")
    first = a_task(0).task_id
    async with await desk.office.client("ann") as tab, await desk.office.client("bob") as bob:
        held = {t["task_id"]: t for t in (await claim(tab, max=2))["tasks"]}
        await tab.post(f"/v1/leases/{held[first]['lease']['id']}:release")
        (task,) = (await claim(bob))["tasks"]
        assert task["task_id"] == first
        await submit(bob, task, "dog")
        assert [x.value for x in await desk.labels(1)] == ["dog"]
    await desk.press("1")
    await desk.sees("second")
    await expect(desk.page.locator("#notice")).to_contain_text("settled meanwhile")
    await desk.shot("settled")
    await desk.press("1")
    assert sorted(x.value for x in await desk.labels(2)) == ["cat", "dog"]


def hasty(lease_s: float = 1.0, **labeling: float) -> Project:
    """Pages look after their leases three times in ``lease_s``."""
    project = a_project()
    changed = project.labeling.model_copy(update={"lease_s": lease_s, **labeling})
    return project.model_copy(update={"labeling": changed})


# Somebody is in the middle of a word when the task under it goes: the rest of it comes at once after.
TYPED_ON = """new MutationObserver((_, watching) => {
  if (!document.body.classList.contains("deaf")) return;
  watching.disconnect();
  for (const key of ["1", "2", " "]) document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  window.typed = true;
}).observe(document.body, {attributes: true})"""


async def erase(desk: Desk, *numbers: int) -> None:
    """These tasks leave the queue as they do when the person they are about asks for it."""
    await desk.office.queue.erase([a_task(number).task_id for number in numbers])


async def test_a_task_that_is_erased_under_ones_eyes_leaves_the_screen(open_desk: Open) -> None:
    """Its content is gone within a third of a lease, with the reason, and a note that was being typed does not answer the next one."""
    desk = await open_desk(hasty(6.0), *(text(f"number {i}") for i in range(3)))
    await desk.sees("number 0")
    await desk.press("n")
    await desk.page.keyboard.type("is it")
    await desk.page.evaluate(TYPED_ON)
    await erase(desk, 0)
    await desk.sees("number 1")
    await expect(desk.page.locator("#notice")).to_have_text(
        "That question is gone: what it was about was erased. Here is the next one."
    )
    assert await desk.page.evaluate("window.typed")
    assert "number 0" not in await desk.page.content()
    await desk.shot("erased")
    await desk.sees("number 1")
    assert await desk.office.annotations() == []
    await expect(desk.page.locator("#note-row")).to_be_hidden()
    await expect(desk.page.locator("body.deaf")).to_have_count(0)
    await desk.press("2")
    await desk.sees("number 2")
    await desk.press("1")
    assert sorted((x.event_id, x.value) for x in await desk.labels(2)) == [("event-1", "dog"), ("event-2", "cat")]


async def test_an_answer_to_a_task_that_is_gone_says_so_and_goes_on(open_desk: Open) -> None:
    """Erased or expired before the answer came: one sentence each, nothing to take back, and the next key answers the next task."""
    desk = await open_desk(hasty(600.0), *(text(f"number {i}") for i in range(3)))
    await desk.sees("number 0")
    await erase(desk, 0)
    await desk.press("1")
    await desk.sees("number 1")
    await expect(desk.page.locator("#notice")).to_have_text(
        "That question is gone: what it was about was erased. Your answer to it does not count."
    )
    await expect(desk.page.locator("#undo")).to_be_disabled()
    await desk.press("3")
    await desk.sees("number 2")
    assert [(x.event_id, x.value) for x in await desk.labels(1)] == [("event-1", "bird")]
    await erase(desk, 2)
    await desk.press("1")
    await expect(desk.page.locator("#resting-title")).to_have_text("All decided")
    await desk.shot("erased-last")


async def test_a_task_that_expired_while_nobody_looked_is_not_called_somebody_elses(open_desk: Open) -> None:
    """The person was away longer than the task lived: on their first move the page says why it is gone."""
    desk = await open_desk(hasty(600.0), text("first"), text("second"))
    await desk.sees("first")
    queue = desk.office.queue
    assert isinstance(queue, MemoryQueue)
    state = queue._state
    # Of this one alone: a lease on the other that was given anew would race with the answer to it.
    state.leases[a_task(0).task_id] = 0
    await queue.sweep(10)
    state.expiry[a_task(0).task_id] = 0
    await queue.sweep(10)
    await desk.press("1")
    await expect(desk.page.locator("#notice")).to_have_text(
        "The time for that question is over. Your answer to it does not count."
    )
    await desk.sees("second")
    await desk.press("2")
    assert [(x.event_id, x.value) for x in await desk.labels(1)] == [("event-1", "dog")]


async def test_a_revoked_token_leads_back_to_the_door(open_desk: Open) -> None:
    """The page forgets the token, asks for another, and then sends the answer that was refused."""
    desk = await open_desk(a_project(), text("first"), text("second"))
    await desk.sees("first")
    await desk.office.tokens.revoke("ann")
    await desk.press("1")
    await expect(desk.page.locator("#token-problem")).to_contain_text("not valid")
    await desk.shot("sign-in")
    await desk.page.fill("#token", await desk.office.person("ann"))
    await desk.press("Enter")
    await desk.sees("second")
    assert [(x.value, x.votes[0].annotator) for x in await desk.labels(1)] == [("cat", "ann")]


async def test_help_explains_the_keys_and_lets_them_be_changed(open_desk: Open) -> None:
    """A key can be given to another action; it is remembered after a reload."""
    desk = await open_desk(a_project(), text("first"), text("second"))
    await desk.sees("first")
    await desk.press("h")
    await desk.shot("help")
    await desk.page.get_by_label("Change the key for: Skip").click()
    await desk.press("s")
    await desk.press("Escape")
    await desk.page.reload()
    await desk.sees("first")
    await desk.press("s")
    await desk.sees("second")


async def test_the_page_can_be_used_without_sight_or_mouse(open_desk: Open) -> None:
    """Every control has a name, the status is announced, and Tab reaches every class in order."""
    desk = await open_desk(a_project(), text("first"))
    await desk.sees("first")
    await expect(desk.page.locator("#status")).to_have_text("first")
    unnamed = await desk.page.evaluate(
        "[...document.querySelectorAll('button, input, img')].filter(e => e.checkVisibility() &&"
        " !(e.textContent.trim() || e.ariaLabel || e.labels?.length || e.hasAttribute('alt'))).length"
    )
    assert unnamed == 0
    reached = []
    for _ in range(12):
        await desk.press("Tab")
        reached.append(await desk.page.evaluate("document.activeElement.textContent.trim()"))
    start = reached.index("1cat")
    assert reached[start : start + 3] == ["1cat", "2dog", "3bird"]
