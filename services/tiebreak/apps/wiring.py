"""What every process of ours is made of: connections, metrics, health, a life cycle, and one HTTP address."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, RedisError
from starlette.types import ASGIApp

from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import ConfigError, Unreachable
from tiebreak.contracts.log import Log
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import TopicSpec, specs_for
from tiebreak.events.kafka import KafkaLog
from tiebreak.events.redis_streams import RedisLog
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.health import Health
from tiebreak.runtime.lifecycle import PARENT_PIPE, ExitCode, Lifecycle, Phase, stop_with_parent
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.ops_http import HttpServer, bind, ops_app
from tiebreak.runtime.sandbox import Sandbox
from tiebreak.runtime.settings import Settings

log = structlog.get_logger(__name__)

# Longer than the log's blocking reads (1 s), short enough that a dead server is noticed.
_SOCKET_TIMEOUT_S = 5.0
# A healthy loop polls twice a second. Above every wait of its own: publishing (30 s), draining, backing off.
_STUCK_S = 120.0


class Consuming(Protocol):
    """A consuming loop, as far as its watcher is concerned."""

    @property
    def last_progress(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Process:
    """What a stage's wiring gets to work with."""

    project: Project
    settings: Settings
    clock: Clock
    metrics: Metrics
    health: Health
    life: Lifecycle
    redis: Redis
    log: Log

    def watch_loop(self, name: str, loop: Consuming) -> None:
        """Ask for a restart when ``loop`` has had no answer from the log, nor a commit, for a while though the log is there."""

        async def progress() -> str:
            age = self.clock.monotonic() - loop.last_progress
            if age <= _STUCK_S:
                return ""
            try:
                await self.log.ping()
            except Unreachable:
                return ""  # a restart brings no broker back
            return f"no progress for {age:.0f} s"

        self.health.live_while(name, progress)


def specs_of(project: Project) -> tuple[TopicSpec, ...]:
    """The project's topics, kept for as long as its file says."""
    return specs_for(project.project, project.partitions, project.privacy.retention.of_topics())


def open_sandbox(life: Lifecycle) -> Sandbox:
    """Where models are checked, ready at once; it ends with the process."""
    sandbox = Sandbox(keep=True)
    sandbox.prepare()

    async def close(_timeout_s: float) -> None:
        await sandbox.close()

    life.on_stop(Phase.SINKS, "model sandbox", close)
    return sandbox


Assemble = Callable[[Process], Awaitable[ASGIApp | None]]
"""Registers a stage's tasks and checks on the process; answers the application to serve, or None for health alone."""


def address_of(url: str) -> str:
    """A server's address without its password, for messages.

    >>> address_of("redis://user:secret@db:6379/0")
    'redis://db:6379/0'
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[Redis]:
    """A client that has been answered once. Raises Unreachable, saying what to do."""
    pool = BlockingConnectionPool.from_url(
        settings.redis,
        max_connections=64,
        timeout=_SOCKET_TIMEOUT_S,
        socket_timeout=_SOCKET_TIMEOUT_S,
        socket_connect_timeout=_SOCKET_TIMEOUT_S,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
    )
    client = Redis(connection_pool=pool)
    try:
        await _answered(client, settings)
        yield client
    finally:
        await client.aclose()
        await pool.aclose()


async def _answered(client: Redis, settings: Settings) -> None:
    try:
        await client.ping()
    except AuthenticationError as error:
        raise ConfigError(
            f"Redis at {address_of(settings.redis)} refuses the password.", fix="Correct it in --redis."
        ) from error
    except (RedisError, OSError) as error:
        fix = (
            f"Is `tiebreak up` running on --data {settings.data_dir}? Or name a server with --redis."
            if settings.embedded
            else "Start it, or correct --redis."
        )
        raise Unreachable(f"Redis at {address_of(settings.redis)} does not answer.", fix=fix) from error


@asynccontextmanager
async def open_log(settings: Settings) -> AsyncIterator[Log]:
    """The log alone, answered once: Kafka where it is named, else Redis Streams. Raises Unreachable."""
    if settings.kafka:
        kafka = KafkaLog(settings.kafka)
        try:
            await kafka.ping()
            yield kafka
        finally:
            await kafka.close()
        return
    async with open_redis(settings) as client:
        yield RedisLog(client)


async def run_process(name: str, project: Project, settings: Settings, assemble: Assemble) -> ExitCode:
    """One process from its first connection to its exit code. What keeps it from starting is raised as a TiebreakError."""
    # The address first: a taken port is the commonest mistake, and nothing needs undoing yet.
    sock = bind(settings.host, settings.port)
    try:
        async with open_redis(settings) as client, _log_beside(settings, client) as stream_log:
            clock, health = SystemClock(), Health()
            life = Lifecycle(clock, health, settings.stop_timeout_s)
            process = Process(project, settings, clock, Metrics(project.project), health, life, client, stream_log)
            _watch_servers(process)
            if PARENT_PIPE in os.environ:
                stop_with_parent(life, sys.stdin.fileno())
            try:
                app = await assemble(process)
                server = HttpServer(app or ops_app(health, process.metrics), sock, settings.tls)
                await server.start()
            except BaseException:
                await life.stop()
                raise
            life.on_stop(Phase.SOURCES, "http", server.stop)
            log.info("started", address=server.address, stage=name, project=project.project)
            code = await life.until_stopped()
            log.info("stopped", exit_code=int(code))
            return code
    finally:
        sock.close()


@asynccontextmanager
async def _log_beside(settings: Settings, client: Redis) -> AsyncIterator[Log]:
    if settings.kafka:
        async with open_log(settings) as kafka:
            yield kafka
    else:
        yield RedisLog(client)


def _watch_servers(process: Process) -> None:
    async def redis() -> str:
        try:
            await process.redis.ping()
        except RedisError as error:
            return f"Redis does not answer: {error}"
        return ""

    async def stream_log() -> str:
        await process.log.ping()
        return ""

    process.health.ready_when("redis", redis)
    process.health.ready_when("log", stream_log)
