"""The labeling API on a real address with a real Redis behind it, on a thread of its own: for clients that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import redis.asyncio

from tests.support.eventually import PATIENCE_S
from tests.support.labeling_api import Office, open_office, running
from tiebreak.contracts.messages import Task
from tiebreak.contracts.project import Project
from tiebreak.labeling.access import Role
from tiebreak.labeling.redis import RedisQueue
from tiebreak.labeling.stage_people import Around, People
from tiebreak.runtime.ops_http import HttpServer, bind

T = TypeVar("T")


class ApiServer:
    """Use as a context manager. ``url`` is where it listens; ``office`` belongs to the thread's loop, see :meth:`call`."""

    url: str
    office: Office

    def __init__(self, project: Project, redis_url: str) -> None:
        self._project = project
        self._redis_url = redis_url
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S), "the server did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` where the application runs."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def token(self, name: str, role: Role = Role.ANNOTATOR) -> str:
        """A token for a person."""
        return self.call(self.office.person(name, role))

    def offer(self, *tasks: Task) -> None:
        """Put tasks on the queue."""
        self.call(self.office.queue.add(tasks))

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with redis.asyncio.Redis.from_url(self._redis_url) as client:
            queue = RedisQueue(client, self._project)
            builder = await queue.begin_build()
            if builder is not None:
                await builder.end_build([])
            self.office = office = await open_office(self._project, queue)
            around = Around(office.log, office.log.writer(), office.metrics, office.clock, lambda: 0.5)
            office.keep_record()
            office.watch(People(self._project, queue, around))
            server = HttpServer(self.office.app, bind("127.0.0.1", 0))
            async with running(self.office):
                await server.start()
                self.url = server.address
                self._ready.set()
                await self._stop.wait()
                self.office.doorbell.close()
                await server.stop(2.0)
