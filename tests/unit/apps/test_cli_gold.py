"""`tiebreak gold` against the real application on a real Redis: a reviewer's yes and no, and what goes wrong on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.api_server import ApiServer
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.labeling import a_project, a_task
from tiebreak.client import Client
from tiebreak.contracts.audit import words_of
from tiebreak.contracts.messages import AuditRecord, Payload, PayloadKind
from tiebreak.labeling.access import Role

pytestmark = pytest.mark.redis
TEXT = "project: pets\ninput: {tensors: [{name: x, shape: [3]}]}\nclasses: {names: [cat, dog, bird]}\n"
SHOWN = Payload(PayloadKind.TEXT, "text/plain", b"[bold]It purrs.\x1b[2J")


@pytest.fixture
def api(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """Three settled tasks that two people called a cat, and a reviewer at the terminal."""
    with ApiServer(a_project(votes=2), redis_url) as server:
        server.offer(*(a_task(i, payload=SHOWN) for i in range(3)))
        for name in ("ann", "bob"):
            with Client(server.url, token=server.token(name), project="pets") as person:
                for task in person.claim(3, wait_s=20.0).tasks:
                    person.submit(task, "cat")
        monkeypatch.setenv("TIEBREAK_URL", server.url)
        monkeypatch.setenv("TIEBREAK_TOKEN", server.token("rita", Role.REVIEWER))

        async def all_proposed() -> bool:
            assert server.office.people is not None
            return len(list(server.office.people.proposed())) == 3

        server.call(eventually(all_proposed))
        yield server


def on_record(api: ApiServer) -> Sequence[AuditRecord]:
    async def read() -> Sequence[AuditRecord]:
        return (await api.office.trail().read())[0]

    return api.call(read())


def listed(tiebreak: CommandLine, project: Path) -> list[dict[str, object]]:
    ended = tiebreak("gold", "list", project, "--json")
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


def test_a_reviewer_says_yes_and_no_with_reasons(tiebreak: CommandLine, project: Path, api: ApiServer) -> None:
    """What was decided is not proposed again, and who decided it and why is on record. Said again, nothing changes."""
    found = listed(tiebreak, project)
    assert {(p["answer"], p["votes"], p["confidence"]) for p in found} == {("cat", 2, 1.0)}
    assert found[0]["payload"] == {"kind": "text", "text": SHOWN.data.decode()}
    yes, no, left = (str(p["task_id"]) for p in found)
    accepted = tiebreak("gold", "accept", project, yes, "--reason", 'all said "cat"')
    assert (accepted.code, accepted.err) == (0, "")
    piece = accepted.out.removeprefix(f"{yes} is gold now, with the answer cat: ").strip()
    assert len(piece) == 32
    declined = tiebreak("gold", "decline", project, no, "--reason", "two answers would do")
    assert (declined.code, declined.out) == (0, f"{no} is declined.\n")
    assert [p["task_id"] for p in listed(tiebreak, project)] == [left]

    assert tiebreak("gold", "accept", project, yes, "--answer", "cat").out == accepted.out
    assert tiebreak("gold", "decline", project, no).code == 0
    made, refused = on_record(api)
    assert (made.actor, made.target) == ("rita", yes)
    assert words_of(made).endswith('because "all said \\"cat\\"": cat')
    assert (refused.actor, refused.target, words_of(refused)) == ("rita", no, "two answers would do")


@pytest.mark.usefixtures("api")
def test_the_list_shows_what_people_saw_as_it_is_and_nothing_of_it_steers_the_terminal(
    tiebreak: CommandLine, project: Path
) -> None:
    """Markup is text, and control characters are gone; when nothing is left it says so."""
    shown = tiebreak("gold", "list", project)
    assert shown.code == 0
    assert shown.out.count("[bold]It purrs. [2J") == 3
    assert "\x1b" not in shown.out
    for proposal in listed(tiebreak, project):
        assert tiebreak("gold", "decline", project, proposal["task_id"]).code == 0
    left = tiebreak("gold", "list", project)
    assert (left.code, left.out) == (0, "")
    assert left.err.startswith("Nothing is proposed")


def test_what_cannot_be_done_is_one_clear_line(
    tiebreak: CommandLine, project: Path, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is not proposed, another answer than it has, too little a role, no token, no address, nobody there."""
    yes, other, *_ = (str(p["task_id"]) for p in listed(tiebreak, project))
    assert tiebreak("gold", "accept", project, yes).code == 0
    unknown = tiebreak("gold", "accept", project, other, yes)
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err.startswith(f"error: {yes} is not among the newest 100 proposals.")
    changed = tiebreak("gold", "accept", project, yes, "--answer", "dog")
    assert changed.err.startswith("error: This task is gold already, with the answer 'cat'.")
    assert (
        tiebreak("gold", "decline", project, "0" * 32).err
        == "error: There is no such task. `tiebreak explain` tells the id of an event's task.\n"
    )

    monkeypatch.setenv("TIEBREAK_TOKEN", api.token("ann"))
    assert tiebreak("gold", "list", project).err.startswith("error: ")
    monkeypatch.delenv("TIEBREAK_TOKEN")
    assert tiebreak("gold", "list", project).err.startswith("error: TIEBREAK_TOKEN: there is no token.")
    assert tiebreak("gold", "list", project, "--url", "here").err.startswith("error: --url: 'here' is no address.")
