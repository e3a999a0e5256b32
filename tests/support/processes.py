"""A service of the command line as a process of its own, with its health on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from scripts.kafka import free_port
from tiebreak.apps.children import Child, Part
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.settings import Settings


@asynccontextmanager
async def process(command: str, file: Path, settings: Settings, *options: str) -> AsyncIterator[Child]:
    """One process, ready (``part.address`` has its health); it has stopped on leaving."""
    port = free_port()
    log = ("--kafka", settings.kafka) if settings.kafka else ()
    own = ("--redis", settings.redis, *log, "--data", str(settings.data_dir), "--port", str(port), *options)
    log_file = settings.data_dir / f"{command}.log"
    part = Part(command, (command, str(file), *own), f"http://127.0.0.1:{port}", log_file=log_file)
    child, stop = Child(part, SystemClock(), stop_timeout_s=20.0), asyncio.Event()
    keeping = asyncio.create_task(child.keep(stop))
    try:
        await asyncio.wait_for(child.until_ready(), 120.0)
        yield child
    finally:
        stop.set()
        await asyncio.wait_for(keeping, 60.0)
