"""The Python client against the real application on a real Redis: what it is for, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.support.api_server import ApiServer
from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task
from tiebreak.client import (
    ApiError,
    AsyncClient,
    Client,
    Conflict,
    Denied,
    Invalid,
    NotFound,
    Retries,
    Standing,
    Unavailable,
)
from tiebreak.labeling.access import Role

pytestmark = pytest.mark.redis
HASTY = Retries(attempts=3, first_s=0.001, most_s=0.002)


@contextmanager
def serving(redis_url: str, **labeling: float) -> Iterator[ApiServer]:
    """A project with three tasks and open classes."""
    project = a_project(is_open=True)
    project = project.model_copy(update={"labeling": project.labeling.model_copy(update=labeling)})
    with ApiServer(project, redis_url) as server:
        server.offer(*(a_task(i) for i in range(3)))
        yield server


@pytest.fixture
def api(redis_url: str) -> Iterator[ApiServer]:
    """Nobody's lease ends while a test runs, however slow the machine."""
    with serving(redis_url) as server:
        yield server


@pytest.fixture
def hasty_api(redis_url: str) -> Iterator[ApiServer]:
    """Leases of three seconds: a heartbeat comes each second, and may come two seconds late."""
    with serving(redis_url, lease_s=3.0) as server:
        yield server


def _client(api: ApiServer, name: str = "ann", role: Role = Role.ANNOTATOR, **more: object) -> Client:
    return Client(api.url, token=api.token(name, role), project="pets", retries=HASTY, **more)  # type: ignore[arg-type]


class Unlucky(httpx.HTTPTransport):
    """A network that loses some answers after the server has given them, and counts what was sent."""

    def __init__(self, losing: int, path_end: str) -> None:
        super().__init__()
        self.losing = losing
        self.path_end = path_end
        self.keys: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if request.url.path.endswith(self.path_end):
            self.keys.append(request.headers.get("idempotency-key", ""))
            if self.losing:
                self.losing -= 1
                answer.close()
                raise httpx.ReadError("the answer was lost")
        return answer


def test_everything_a_person_can_do(api: ApiServer) -> None:
    """Look, claim, answer, take back, answer again, skip, give back, add a class: all typed, all on the server."""
    with _client(api) as ann:
        project = ann.project()
        assert (project.question, project.classes, project.open_tasks) == (
            "Which class is this?",
            ("cat", "dog", "bird"),
            3,
        )
        assert (ann.me().name, ann.me().role) == ("ann", "annotator")
        first, second, third = ann.claim(3).tasks
        assert (first.payload.kind, first.payload.text) == ("text", "what is 0?")
        made = ann.submit(first, "cat", lead_time_s=0.01, comment="sure", flagged=True)
        assert (made.task_id, made.value, made.state, made.revision) == (first.task_id, "cat", "submitted", 1)
        undone = ann.undo(made)
        assert undone.state == "withdrawn"
        assert undone.task is not None
        assert ann.submit(undone.task, "dog").revision == 3
        assert ann.skip(second, "dark").state == "skipped"
        ann.release(third)
        assert ann.add_class("  Ferret ") == "Ferret"
        old = ann.submit(ann.claim().tasks[0], "bird")
        taken = ann.withdraw(old)
        assert (taken.annotation_id, taken.state, taken.task) == (old.annotation_id, "withdrawn", None)
        history = ann.history()
        assert [(d.task_id, d.value) for d in history.annotations if d.value] == [(first.task_id, "dog")]
        assert history.answered == 1  # a skip is none


def test_a_manager_takes_answers_back_and_lets_people_go_on(api: ApiServer) -> None:
    """Typed counts; an unknown person is NotFound, an annotator is Denied."""
    with _client(api) as ann, _client(api, "boss", Role.MANAGER) as boss:
        ann.submit(ann.claim().tasks[0], "cat")

        async def heard() -> bool:
            assert api.office.people is not None
            return "ann" in api.office.people.figures.names()

        api.call(eventually(heard))
        done = boss.reopen("ann", "a bad day", since_ms=0, last=5)
        assert (done.withdrawn, done.refused, done.left) == (1, 0, 0)
        boss.resume("ann")
        with pytest.raises(NotFound):
            boss.reopen("nobody", "who is it")
        with pytest.raises(Denied):
            ann.resume("ann")


def test_figures_and_gold(api: ApiServer) -> None:
    """A reviewer makes gold of a task, a manager reads the figures of the project and of people: typed, None where nothing is known."""
    with (
        _client(api) as ann,
        _client(api, "rita", Role.REVIEWER) as rita,
        _client(api, "boss", Role.MANAGER) as boss,
    ):
        first, second = ann.claim(2).tasks
        ann.submit(first, "cat")
        piece = rita.keep_gold(second, "dog")
        assert piece not in {first.task_id, second.task_id}
        with pytest.raises(Invalid):
            rita.keep_gold(second.task_id, "no such class")
        assert rita.gold_proposals(5) == ()
        with pytest.raises(NotFound):
            rita.decline_gold(second.task_id)

        async def known() -> bool:
            return "ann" in {p.name for p in await asyncio.to_thread(lambda: boss.crowd().people)}

        api.call(eventually(known))
        crowd = boss.crowd()
        assert (crowd.answers, crowd.gold, crowd.cost_cap) == (1, Standing(0, 0, 0.0, 1.0), None)
        assert [(p.name, p.answers, p.gold.asked, p.paused, p.suspected) for p in crowd.people] == [
            ("ann", 1, 0, False, ())
        ]
        with pytest.raises(Denied):
            ann.crowd()


def test_an_answer_brings_the_next_task_and_at_the_end_why_there_is_none(api: ApiServer) -> None:
    """One claim, then one request per task until all are answered; a retry of the last one changes nothing."""
    with _client(api) as ann:
        (task,), seen = ann.claim().tasks, []
        while True:
            made = ann.submit_and_claim(task, "cat", key=f"key-{task.task_id}")
            seen.append(made.task_id)
            assert made.next is not None
            if not made.next.tasks:
                break
            (task,) = made.next.tasks
        again = ann.submit_and_claim(task, "cat", key=f"key-{task.task_id}")
        assert (again.revision, again.next and again.next.tasks) == (1, ())
    assert len(set(seen)) == len(seen) == 3


def test_a_lost_answer_is_asked_for_again_and_counts_once(api: ApiServer) -> None:
    """The server took the vote, the network lost its answer twice: the same key thrice, one vote."""
    network = Unlucky(2, "/annotations")
    with _client(api, transport=network) as ann:
        (task,) = ann.claim().tasks
        assert ann.submit(task, "cat").revision == 1
    assert len(network.keys) == 3
    assert len(set(network.keys)) == 1
    # The log may hold it more than once, as the same revision of the same annotation: consumers are a union over ids.
    assert {a.revision for a in api.call(api.office.annotations())} == {1}
    assert {a.idempotency_key for a in api.call(api.office.annotations())} == set(network.keys)


def test_errors_say_what_to_do(api: ApiServer) -> None:
    """Each kind is a class of its own, with a code for programs and words for people."""
    with _client(api) as ann, _client(api, "vera", Role.VIEWER) as viewer:
        (task,) = ann.claim().tasks
        ann.submit(task, "cat")
        with pytest.raises(Conflict) as stale:
            ann.submit(task, "dog")
        assert (stale.value.status, stale.value.code) == (409, "already_answered")
        with pytest.raises(Denied) as denied:
            viewer.claim()
        assert (denied.value.status, denied.value.code, denied.value.fix) == (
            403,
            "forbidden",
            "It needs the right to annotate.",
        )
        with pytest.raises(Invalid) as invalid:
            ann.claim(99)
        assert invalid.value.fields == (("body.max", "less_than_equal"),)
        assert invalid.value.fix.startswith("Correct the fields")
    elsewhere = Client(api.url, token=api.token("ann"), project="cars", retries=HASTY)
    with elsewhere, pytest.raises(NotFound):
        elsewhere.project()
    with pytest.raises(Denied), Client(api.url, token="tb_nobody", project="pets") as nobody:
        nobody.me()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("token", ["", "  \n", "tb_a b", "tb_\u00fc", "tb_a\nb"])
def test_what_cannot_be_a_token_is_said_at_once(kind: type[Client | AsyncClient], token: str) -> None:
    """The transport refuses such a header at each try, which would read as a server that is away; and the token is not repeated."""
    with pytest.raises(ValueError, match="token: is empty, or holds what no token can"):
        kind("http://127.0.0.1:9", token=token, project="tests")


def test_a_token_may_come_with_the_line_break_of_its_file(api: ApiServer) -> None:
    """`Path(...).read_text()` is how most programs have it."""
    with Client(api.url, token=f"{api.token('ann')}\n", project="pets") as client:
        assert client.me().name == "ann"


def test_a_server_that_is_away_is_unavailable_after_all_retries(api: ApiServer) -> None:
    """Nobody listens: three attempts, then one error that says so."""
    gone = Client("http://127.0.0.1:1", token="tb_x", project="pets", retries=HASTY)
    with gone, pytest.raises(Unavailable) as away:
        gone.me()
    assert (away.value.status, away.value.detail) == (0, "The server does not answer: ConnectError.")
    network = Unlucky(99, "/me")
    with _client(api, transport=network) as ann, pytest.raises(Unavailable):
        ann.me()
    assert len(network.keys) == HASTY.attempts


async def test_a_kept_task_outlives_its_lease(hasty_api: ApiServer) -> None:
    """Four heartbeats of a third of a lease each: longer than the lease, and the answer is in time."""
    network = Unlucky(0, ":renew")
    ann = await asyncio.to_thread(_client, hasty_api, transport=network)
    with ann:
        (task,) = ann.claim().tasks
        with ann.keep(task) as kept:
            await eventually(lambda: len(network.keys) >= 4, what="four heartbeats")
            assert not kept.lost
            assert ann.submit(task, "cat").state == "submitted"


def test_a_task_is_given_back_when_the_work_on_it_fails(api: ApiServer) -> None:
    """The block raises: the error goes on, and the task is free for the next."""
    with _client(api) as ann, _client(api, "bob") as bob:
        tasks = ann.claim(3).tasks
        with pytest.raises(ZeroDivisionError), ann.keep(tasks[0]):
            raise ZeroDivisionError
        assert [task.task_id for task in bob.claim(3).tasks] == [tasks[0].task_id]


async def test_the_client_that_awaits_does_the_same(api: ApiServer) -> None:
    """Claim, heartbeat, answer, history, errors."""
    token = await asyncio.to_thread(api.token, "ann")
    async with AsyncClient(api.url, token=token, project="pets", retries=HASTY) as ann:
        (first,) = (await ann.claim()).tasks
        async with ann.keep(first) as kept:
            deadline_ms = first.lease.deadline_ms
            renewed = await ann.renew(first)
            assert renewed.deadline_ms >= deadline_ms
            assert (await ann.submit(first, "bird")).value == "bird"
        assert not kept.lost
        assert (await ann.history()).answered == 1
        with pytest.raises(Conflict):
            await ann.submit(first, "cat")
        tasks = (await ann.claim(2)).tasks
        with pytest.raises(ZeroDivisionError):
            async with ann.keep(tasks[0]):
                raise ZeroDivisionError
        await ann.release(tasks[1])
        assert (await ann.project()).open_tasks == 2
        with pytest.raises(ApiError):
            await ann.undo((await ann.submit((await ann.claim()).tasks[0], "cat")), key="spaces are refused")
