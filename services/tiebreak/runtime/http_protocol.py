"""uvicorn's HTTP/1.1 protocol with two things more: requests that are answered at the door, and an end to requests that never do.

The ordinary way makes a scope, a cycle, an event and two channels for a request, and looks at every header of every answer (as text, by
regular expression): more than half of what a small request costs. An application with a :class:`Door` gets the requests that it knows
whole, and its answers are written as they are. And a connection that sends a request byte by byte, or nothing at all, would be held for
as long as its other end likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle


class Asked(NamedTuple):
    """A whole request. Of several headers of one name the first is here; names are in lower case."""

    url: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    address: str


class Reply(NamedTuple):
    """An answer: ``head`` is its header lines, each with its CRLF, but for Content-Length."""

    status: int
    head: bytes
    body: bytes


Answer = Callable[[Asked], Awaitable[Reply | None]]


class Door(Protocol):
    """What an application has as its attribute ``door`` to answer some requests before they are made into ASGI.

    ``most`` bytes of a body come this far; ``behind`` answers what is longer, and what the door leaves to it.
    """

    most: int
    behind: ASGIApp

    def answer_to(self, url: bytes, headers: list[tuple[bytes, bytes]]) -> Answer | None:
        """What answers a POST; None where it is none of ours. An answer of None leaves the request to ``behind``; it does not raise."""


class AtTheDoor(HttpToolsProtocol):
    """Offers POST requests to the application's :class:`Door`, if it has one.

    A request has ``receive_s`` to arrive, from its first byte to its last; the first one of a connection, from the connection.
    """

    receive_s = 20.0  # bodies have 64 KiB at most: 4 KiB/s is enough

    cycle: Any  # the newest request's: uvicorn's own or a `_Caller`, None before the first
    _arriving = True
    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._door: Door | None = getattr(self.app, "door", None)

    # -- the time that a request has ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_message_begin(self) -> None:
        self._arriving = True
        super().on_message_begin()

    def _arrived(self) -> None:
        # Here and not after the bytes: the next request, which may have begun with them, has a time of its own.
        self._arriving = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch(self) -> None:
        if self._arriving and self._deadline is None:
            self._deadline = self.loop.call_later(self.receive_s, self._overdue)

    def _overdue(self) -> None:
        self._deadline = None
        if self.flow.read_paused:
            self._watch()  # it is we who do not read
        else:
            self.transport.close()

    # -- the door -----------------------------------------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        answer = self._answer()
        if answer is None:
            super().on_headers_complete()
        else:
            self.cycle = _Caller(self.scope, self.url, answer)

    def _answer(self) -> Answer | None:
        door, parser = self._door, self.parser
        if door is None or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return None
        if not parser.should_keep_alive() or parser.should_upgrade() or self.expect_100_continue:
            return None
        if self.cycle is not None and not self.cycle.response_complete:
            return None  # sent before the last one was answered: it has to wait in line
        return door.answer_to(self.url, self.headers)

    def on_body(self, body: bytes) -> None:
        caller = self.cycle
        if not isinstance(caller, _Caller):
            super().on_body(body)
            return
        caller.body += body
        if self._door is not None and len(caller.body) > self._door.most:
            cycle = self._shown_in(caller)
            cycle.message_event.set()  # it is too long already: whoever waits for the rest may wait for ever
            self._start_asgi_task(cycle, self._door.behind)  # type: ignore[arg-type]  # as below

    def on_message_complete(self) -> None:
        self._arrived()
        caller = self.cycle
        if not isinstance(caller, _Caller):
            super().on_message_complete()
            return
        task = self.loop.create_task(self._attend(caller))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _attend(self, caller: _Caller) -> None:
        headers = dict(reversed(caller.scope["headers"]))
        address = self.client[0] if self.client else ""
        try:
            reply = await caller.answer(Asked(caller.url, headers, bytes(caller.body), address))
            if reply is not None and self.flow.write_paused:
                await self.flow.drain()
        except BaseException:
            self.transport.close()
            raise
        if reply is None and self._door is not None:
            cycle = self._shown_in(caller)
            cycle.more_body = False
            cycle.message_event.set()
            await cycle.run_asgi(self._door.behind)  # type: ignore[arg-type]  # two libraries' words for one thing
        elif reply is not None and not caller.disconnected:
            self._write(caller, reply)

    def _write(self, caller: _Caller, reply: Reply) -> None:
        lines = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        if not caller.keep_alive:  # the server stops
            lines.append(b"connection: close\r\n")
        status, head, body = reply
        first = STATUS_LINE[status]
        self.transport.write(b"%b%b%bcontent-length: %d\r\n\r\n%b" % (first, b"".join(lines), head, len(body), body))
        caller.response_complete = True
        if not caller.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _shown_in(self, caller: _Caller) -> RequestResponseCycle:
        """The ordinary cycle of a request that the door does not answer, with what has arrived of its body."""
        path, _, query = caller.url.partition(b"?")
        scope = caller.scope
        scope |= {"method": "POST", "path": path.decode("ascii"), "raw_path": path, "query_string": query}
        cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=caller.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body += caller.body
        cycle.disconnected = caller.disconnected
        if self.cycle is caller:
            self.cycle = cycle
        return cycle


class _Caller:
    """A request at the door, as far as uvicorn looks at it."""

    __slots__ = ("answer", "body", "disconnected", "keep_alive", "response_complete", "scope", "url")

    def __init__(self, scope: Any, url: bytes, answer: Answer) -> None:
        self.scope = scope
        self.url = url
        self.answer = answer
        self.body = bytearray()
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> _Caller:
        """Nobody waits for the rest of it."""
        return self

    def set(self) -> None:
        """See :attr:`message_event`."""
