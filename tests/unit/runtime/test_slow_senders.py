"""Connections that send a request byte by byte, or none: they are hung up on, and whoever waits for an answer is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.support.eventually import PATIENCE_S
from tiebreak.runtime.http_protocol import AtTheDoor
from tiebreak.runtime.ops_http import HttpServer, bind

WHOLE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
SLOW = {
    "nothing": b"",
    "one byte": b"P",
    "half a head": b"POST / HTTP/1.1\r\nHost: x\r\nX-",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{}",
    "half a chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}",
}


class Hasty(AtTheDoor):
    receive_s = 0.2


@pytest.fixture
def less_hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a whole request must arrive in time: a busy machine may stand still between its connection and its bytes."""
    monkeypatch.setattr(Hasty, "receive_s", 1.5)


@dataclass
class Door:
    """A server whose answers wait for ``open``."""

    port: int
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def knock(self, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        return reader, writer


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async def answer(request: Request) -> Response:
        await request.body()
        await made.open.wait()
        return PlainTextResponse("told")

    sock = bind("127.0.0.1", 0)
    made = Door(sock.getsockname()[1])
    server = HttpServer(Starlette(routes=[Route("/", answer, methods=["POST"])]), sock, protocol=Hasty)
    await server.start()
    yield made
    made.open.set()
    await server.stop(2.0)


@pytest.mark.parametrize("sent", SLOW.values(), ids=list(SLOW))
async def test_a_request_that_does_not_arrive_ends_its_connection(door: Door, sent: bytes) -> None:
    """Whatever is missing of it."""
    door.open.set()
    reader, writer = await door.knock(sent)
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.usefixtures("less_hasty")
async def test_what_was_asked_before_half_a_request_is_answered_first(door: Door) -> None:
    """A whole request and the beginning of the next: one answer, and then the end."""
    door.open.set()
    reader, writer = await door.knock(WHOLE + b"POST / HT")
    async with asyncio.timeout(PATIENCE_S):
        assert (await reader.read()).count(b"told") == 1
    writer.close()


@pytest.mark.usefixtures("less_hasty")
async def test_who_waits_for_an_answer_or_has_had_one_is_not_hung_up_on(door: Door) -> None:
    """A long poll outlives the time that a request has to arrive in; a connection kept for the next request does too."""
    reader, writer = await door.knock(WHOLE)
    slow, _ = await door.knock(b"P")
    async with asyncio.timeout(PATIENCE_S):
        assert await slow.read() == b""
        door.open.set()
        assert b"told" in await reader.readuntil(b"told")
        slow, _ = await door.knock(b"P")
        assert await slow.read() == b""
        writer.write(WHOLE)
        assert b"told" in await reader.readuntil(b"told")
    writer.close()
