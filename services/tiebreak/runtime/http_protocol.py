"""uvicorn's HTTP/1.1 protocol with two things more: whole answers as they are, and an end to requests that never do.

The ordinary way looks at every header of every answer (as text, by regular expression) and writes head and body by themselves: half of
what a small request costs. An answer handed over here is made by us, and its head is always the same. And a connection that sends a
request byte by byte, or nothing at all, would be held for as long as its other end likes.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

_WHOLE = "tiebreak.whole"


class WholeAnswers(HttpToolsProtocol):
    """Offers every HTTP request the extension that :func:`whole_answer` looks for.

    A request has ``receive_s`` to arrive, from its first byte to its last; the first one of a connection, from the connection.
    """

    receive_s = 20.0  # bodies have 64 KiB at most: 4 KiB/s is enough

    _arriving = True
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arriving = False
        self._watch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_message_begin(self) -> None:
        self._arriving = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._arriving = False
        super().on_message_complete()

    def _watch(self) -> None:
        if self._arriving and self._deadline is None:
            self._deadline = self.loop.call_later(self.receive_s, self.transport.close)
        elif self._deadline is not None and not self._arriving:
            self._deadline.cancel()
            self._deadline = None

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        # The request's task has not run yet. Its own cycle: another request of this connection may follow before it is answered.
        self.scope["extensions"] = {_WHOLE: {_WHOLE: partial(_answer, self.cycle)}}


def whole_answer(scope: Scope, status: int, head: bytes, body: bytes) -> bool:
    """Answer a request with ``head`` (header lines, each with its CRLF, without Content-Length) and ``body`` in one write.

    False, and nothing is done, where the server does not offer it or the client does not read: send the answer the ordinary way.
    """
    offered = scope.get("extensions", {}).get(_WHOLE)
    return offered is not None and bool(offered[_WHOLE](status, head, body))


def _answer(cycle: Any, status: int, head: bytes, body: bytes) -> bool:
    assert isinstance(cycle, RequestResponseCycle)  # noqa: S101 - what it is made with
    if cycle.flow.write_paused or cycle.response_started or not cycle.keep_alive:
        return False
    if not cycle.disconnected:
        own = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
        first = STATUS_LINE[status]
        cycle.transport.write(b"%b%b%bcontent-length: %d\r\n\r\n%b" % (first, own, head, len(body), body))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()
    return True
