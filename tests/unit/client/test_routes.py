"""Every route of the OpenAPI document has a method of the client, in both clients alike."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tiebreak.client import AsyncClient, Client, Lease, NotFound, Payload, Retries, Task, Unavailable
from tiebreak.client.calls import SLOW_S
from tiebreak.client.models import Annotation

DOCUMENT = json.loads((Path(__file__).parents[3] / "schemas/openapi.json").read_text("utf-8"))
# Route: why no program of a user's needs it.
WITHOUT: Mapping[str, str] = {}

TASK = Task("t1", Lease("t1.5", 5, 0, 0, 60.0), Payload("text", "text/plain", "hello", b"", ()), 1, "1")
MADE = Annotation("a1", "t1", "cat", "submitted", 1, 0, 60.0, None)
# What each method is called with here.
CALLS: Mapping[str, tuple[Any, ...]] = {
    "claim": (),
    "submit": (TASK, "cat"),
    "submit_and_claim": (TASK, "cat"),
    "skip": (TASK,),
    "undo": (MADE,),
    "withdraw": (MADE,),
    "answers": (TASK,),
    "renew": (TASK,),
    "release": (TASK,),
    "me": (),
    "history": (),
    "project": (),
    "resume": ("ann",),
    "reopen": ("ann", "a bad day"),
    "add_class": ("ferret",),
    "crowd": (),
    "keep_gold": (TASK, "cat"),
    "gold_proposals": (),
    "decline_gold": ("t1",),
    "reveal": (TASK, "a complaint"),
    "models": (),
    "served": (datetime(2026, 11, 27, tzinfo=UTC),),
    "model": ("v1",),
    "diff": ("v1", "v2"),
    "promote": ("v1", "a word"),
    "rollback": ("a word",),
    "pin": ("a word",),
    "unpin": ("a word",),
}
# The server may read a topic from its beginning for these.
SLOW = frozenset({"withdraw", "reopen", "keep_gold", "gold_proposals"})


def routes() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Each route of the document, and what its requests look like. Literal ones before those with a value in the same place."""
    every = [(f"{method.upper()} {path}", path) for path, of in DOCUMENT["paths"].items() for method in of]
    for route, path in sorted(every, key=lambda r: r[1].count("{")):
        pattern = "[^/:]+".join(re.escape(part) for part in re.split(r"\{[^}]+\}", path))
        yield route, re.compile(f"{route.split()[0]} {pattern}")


def route_of(request: httpx.Request) -> str:
    """The route that a request takes."""
    asked = f"{request.method} {request.url.path}"
    return next((route for route, pattern in routes() if pattern.fullmatch(asked)), asked)


class Recorder(httpx.BaseTransport):
    """A server that has nothing, or is too busy; it remembers what it was asked for."""

    def __init__(self, status: int = 404) -> None:
        self.status = status
        self.asked: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(self.status, json={"type": "urn:tiebreak:problem:x", "title": "x", "detail": "x"})


def methods(client: type[Client | AsyncClient]) -> dict[str, inspect.Signature]:
    """What a client can do, but for its own life and for `keep`, which is made of the others."""
    found = inspect.getmembers(client, inspect.isfunction)
    return {n: inspect.signature(f) for n, f in found if not n.startswith("_") and n not in {"close", "keep"}}


def requests() -> list[httpx.Request]:
    """What the methods ask for."""
    recorder = Recorder()
    with Client("http://tiebreak.test", token="tb_x", project="pets", transport=recorder) as client:
        for name, arguments in CALLS.items():
            with pytest.raises(NotFound):
                getattr(client, name)(*arguments)
    return recorder.asked


def test_every_route_has_a_method() -> None:
    """A new route without one fails here, and so does a method that asks for what the document does not have."""
    taken = {route_of(request) for request in requests()}
    assert taken == {route for route, _ in routes()} - WITHOUT.keys()


def test_every_body_has_the_fields_of_its_schema() -> None:
    """A field that the server does not know is a 422, and so is one that it misses."""
    for request in requests():
        method, path = route_of(request).split()
        said = DOCUMENT["paths"][path][method.lower()]
        sent = json.loads(request.content) if request.content else {}
        known, required = _fields(said.get("requestBody", {}))
        assert (set(sent) - known, required - set(sent)) == (set(), set()), path
        assert set(request.url.params) <= {p["name"] for p in said.get("parameters", ()) if p["in"] == "query"}, path
        takes_key = any(p["name"] == "Idempotency-Key" for p in said.get("parameters", ()))
        assert takes_key == bool(request.headers.get("idempotency-key")), path


def _fields(body: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    schema = body.get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return set(schema.get("properties", ())), set(schema.get("required", ()))


def test_both_clients_can_do_the_same() -> None:
    """The same methods with the same parameters and results; each is called above."""
    assert methods(Client) == methods(AsyncClient)
    assert methods(Client).keys() == CALLS.keys()


def test_the_server_has_time_to_read_its_log() -> None:
    """A limit that is right for all else would end what is well under way."""
    waits = zip(CALLS, requests(), strict=True)
    assert {name for name, request in waits if request.extensions["timeout"]["read"] >= SLOW_S} == SLOW


WRITES = sorted(name for name, request in zip(CALLS, requests(), strict=True) if request.method != "GET")


@pytest.mark.parametrize("status", [503, 429])
@pytest.mark.parametrize("name", WRITES)
def test_every_attempt_of_a_write_has_one_key(name: str, status: int) -> None:
    """The server may have done it before it failed: by the key it knows that it is the same. The next call has another."""
    hasty, recorder = Retries(attempts=3, first_s=0.001, most_s=0.002), Recorder(status)
    client = Client("http://tiebreak.test", token="tb_x", project="pets", retries=hasty, transport=recorder)
    with client:
        for _ in range(2):
            with pytest.raises(Unavailable):
                getattr(client, name)(*CALLS[name])
    keys = [request.headers["idempotency-key"] for request in recorder.asked]
    assert [len(keys), len(set(keys[:3])), len(set(keys))] == [6, 1, 2]


def test_a_key_of_ones_own_is_sent_as_it_is() -> None:
    """Who keeps it over a restart of their program may ask again: each method that takes one passes it on."""
    recorder = Recorder()
    with Client("http://tiebreak.test", token="tb_x", project="pets", transport=recorder) as client:
        taking = [name for name, of in methods(Client).items() if "key" in of.parameters]
        for name in taking:
            with pytest.raises(NotFound):
                getattr(client, name)(*CALLS[name], key="my-own")
    assert {request.headers.get("idempotency-key") for request in recorder.asked} == {"my-own"}
    assert set(WRITES) - set(taking) == {"claim", "renew", "release"}  # the same again does no more, with any key
