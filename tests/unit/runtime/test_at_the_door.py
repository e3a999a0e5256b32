"""Requests that are answered at the door: what the client sees is HTTP as ever, whoever answers and however the bytes come."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.eventually import PATIENCE_S
from tiebreak.runtime import http_protocol
from tiebreak.runtime.http_protocol import Answer, Asked, AtTheDoor, Reply
from tiebreak.runtime.ops_http import HttpServer, bind

HEAD = b"POST /%b HTTP/1.1\r\nHost: x\r\nX-Twice: first\r\nX-Twice: second\r\nContent-Length: %d\r\n\r\n"


def asking(what: bytes, body: bytes = b"") -> bytes:
    """A request on the wire."""
    return HEAD % (what, len(body)) + body


@dataclass
class Porter:
    """Answers `/known` with what it was asked, once ``open``; leaves `/unsure?...` to the framework; knows nothing else."""

    behind: ASGIApp
    most: int = 8
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def answer_to(self, url: bytes, headers: list[tuple[bytes, bytes]]) -> Answer | None:
        assert (b"host", b"x") in headers
        return {b"/known": self._known, b"/unsure?sure=no": self._unsure}.get(url)

    async def _known(self, asked: Asked) -> Reply:
        await self.open.wait()
        return Reply(201, b"x-by: porter\r\n", b"porter %b %b" % (asked.headers[b"x-twice"], asked.body))

    async def _unsure(self, _: Asked) -> None:
        await self.open.wait()


class Patient(AtTheDoor):
    receive_s = PATIENCE_S  # a short one would end requests wherever the machine is slow


@dataclass
class House:
    """A server with a porter."""

    server: HttpServer
    porter: Porter

    async def ask(self, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which ``sent`` was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.server.address.rpartition(":")[2]))
        writer.write(sent)
        return reader, writer


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async def answer(request: Request) -> Response:
        body = (await request.body()).decode()
        return PlainTextResponse(f"framework {request.url.path} {request.url.query} {body}")

    app = Starlette(routes=[Route("/{rest:path}", answer, methods=["POST"])])
    porter = Porter(app)
    app.door = porter  # type: ignore[attr-defined]  # as an application of ours has it
    server = HttpServer(app, bind("127.0.0.1", 0), protocol=Patient)
    await server.start()
    yield House(server, porter)
    porter.open.set()
    await server.stop(2.0)


async def told(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Status line and body of the next answer."""
    async with asyncio.timeout(PATIENCE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = dict(line.split(b": ", 1) for line in head[:-4].split(b"\r\n")[1:])
        assert b"date" in lines
        return head.split(b"\r\n")[0], await reader.readexactly(int(lines[b"content-length"]))


CREATED, OK = b"HTTP/1.1 201 Created", b"HTTP/1.1 200 OK"
ANSWERS = {
    "at the door": (asking(b"known", b"12345678"), (CREATED, b"porter first 12345678")),
    "left to the framework": (asking(b"unsure?sure=no", b"1234"), (OK, b"framework /unsure sure=no 1234")),
    "longer than the door takes": (asking(b"known", b"123456789"), (OK, b"framework /known  123456789")),
    "of the framework's own": (asking(b"other", b"1234"), (OK, b"framework /other  1234")),
}


@pytest.mark.parametrize(("sent", "answer"), ANSWERS.values(), ids=list(ANSWERS))
@pytest.mark.parametrize("pieces", [1, 1000])
async def test_a_request_is_answered_whoever_does_it(
    house: House, sent: bytes, answer: tuple[bytes, bytes], pieces: int
) -> None:
    """In one piece, and byte by byte; and so is the next one on the connection."""
    house.porter.open.set()
    reader, writer = await house.ask(b"")
    for _ in range(2):
        for start in range(0, len(sent), step := -(-len(sent) // pieces)):
            writer.write(sent[start : start + step])
            await writer.drain()
            await asyncio.sleep(0)
        assert await told(reader) == answer
    writer.close()


async def test_a_sender_that_waits_after_too_much_is_answered(house: House) -> None:
    """A body without a stated length passes the limit in a piece that is not its last, and its sender waits for what we say."""

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while len(body) <= house.porter.most:
            body += (await receive())["body"]
        await PlainTextResponse("too much", 413)(scope, receive, send)

    house.porter.behind = limited
    begun = b"POST /known HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n"
    reader, writer = await house.ask(begun)
    await _connection(house)
    writer.write(b"5\r\n56789\r\n")
    status, said = await told(reader)
    assert (status.split()[1], said) == (b"413", b"too much")
    writer.close()


async def test_requests_sent_in_a_row_are_answered_in_their_order(house: House) -> None:
    """Those at the door and those of the framework, while the first one still waits."""
    sent, answers = zip(*ANSWERS.values(), strict=True)
    reader, writer = await house.ask(b"".join(sent))
    house.porter.open.set()
    found = [await told(reader) for _ in answers]
    # Whatever waits in line goes the ordinary way.
    assert found[0] == answers[0]
    assert found[1:] == list(answers[1:])
    writer.close()


async def test_a_stopping_server_answers_and_hangs_up(house: House) -> None:
    """Who waits at the door when the server is told to stop gets the answer, and is told that it is the last one."""
    reader, writer = await house.ask(asking(b"known"))
    other, _ = await house.ask(b"")
    stopping = asyncio.create_task(house.server.stop(PATIENCE_S))
    async with asyncio.timeout(PATIENCE_S):
        assert await other.read() == b""  # nobody waits on that one: so the stop has come to the connections
        house.porter.open.set()
        last = await reader.read()
    assert last.startswith(CREATED)
    assert b"connection: close\r\n" in last
    assert last.endswith(b"porter first ")
    await stopping
    writer.close()


async def test_a_request_has_its_time_whatever_came_before_it(house: House) -> None:
    """The first one took most of the time that a request may take, and brought the beginning of the second with it."""
    house.porter.open.set()
    loop, sent = asyncio.get_running_loop(), asking(b"known", b"1")
    reader, writer = await house.ask(sent[:4])
    connection = await _connection(house)
    deadline = connection._deadline
    assert deadline is not None
    writer.write(sent[4:] + sent[:4])
    assert (await told(reader))[0] == CREATED
    later = connection._deadline
    assert deadline.cancelled()
    assert later is not None
    assert deadline.when() < later.when() <= loop.time() + Patient.receive_s
    writer.close()


async def _connection(house: House) -> AtTheDoor:
    """The server's side of the only connection, once it has begun to read a request."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            for found in list(house.server._server.server_state.connections):
                assert isinstance(found, AtTheDoor)
                if found._deadline is not None and found.scope is not None:
                    return found
            await asyncio.sleep(0)


async def test_an_answered_request_is_gone_without_a_search_for_garbage(house: House) -> None:
    """No ring of references keeps it: the search for those stops the process for a fifth of a second, every few thousand of them."""
    house.porter.open.set()
    gc.collect()
    gc.disable()
    try:
        reader, writer = await house.ask(b"")
        for _ in range(20):
            writer.write(asking(b"known", b"1"))
            await told(reader)
        callers = sum(type(found) is http_protocol._Caller for found in gc.get_objects())
    finally:
        gc.enable()
    assert callers <= 1
    writer.close()
