"""A proxy in front of a unix socket that brings every answer later, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_CHUNK = 1 << 16


class _Late:
    """Writes after a delay. The same delay for all, so the order stays."""

    def __init__(self, writer: asyncio.StreamWriter, delay_s: float) -> None:
        self._writer = writer
        self._delay_s = delay_s

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._delay_s, self._write, data)

    def _write(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data) if data else self._writer.close()


async def _pump(reader: asyncio.StreamReader, late: _Late) -> None:
    try:
        while data := await reader.read(_CHUNK):
            late.write(data)
    except ConnectionError:
        pass
    late.write(b"")


@asynccontextmanager
async def delayed(socket: Path, at: Path, delay_s: float) -> AsyncIterator[str]:
    """The address of a Redis behind the proxy that listens on ``at``."""
    pumps: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(str(socket))
        for source, sink in ((reader, _Late(there_writer, 0.0)), (there_reader, _Late(writer, delay_s))):
            pump = asyncio.create_task(_pump(source, sink))
            pumps.add(pump)
            pump.add_done_callback(pumps.discard)

    server = await asyncio.start_unix_server(serve, str(at))
    try:
        yield f"unix://{at}"
    finally:
        server.close()
        for pump in list(pumps):
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
