"""`tiebreak up`: all processes of a project on one machine, and the Redis they need, supervised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from tiebreak.apps.children import Child, ChildEnded, Part, options_of
from tiebreak.apps.wiring import open_log, open_redis, specs_of
from tiebreak.contracts.clock import Clock
from tiebreak.contracts.errors import TiebreakError
from tiebreak.contracts.project import Project
from tiebreak.labeling.access import check_exposure
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.health import Health
from tiebreak.runtime.lifecycle import ExitCode, Lifecycle, Phase, Run
from tiebreak.runtime.ops_http import bind
from tiebreak.runtime.redis_server import RedisServer
from tiebreak.runtime.settings import Settings
from tiebreak.runtime.tasks import pause

log = structlog.get_logger(__name__)

_REDIS_CHECK_S = 0.5
_READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """What is up. ``children`` in flow order; ``redis_pid`` None when the server is not ours."""

    settings: Settings
    children: dict[str, Child]
    life: Lifecycle
    redis: RedisServer | None


def parts_of(project: Project, project_file: Path, settings: Settings) -> list[Part]:
    """The processes in flow order, each with an address of its own. Raises ConfigError when the label port is taken."""
    check_exposure(settings.host, tls=settings.tls is not None, behind_proxy=settings.behind_proxy)
    shared = _shared_options(settings)
    scheme = "https" if settings.tls else "http"
    parts = []
    for name in ("stream", "label", "train"):
        if name == "train" and not project.has_trainer:
            continue  # the model is the user's own, or no model learns from such answers
        labels = name == "label"
        port = _free_port(settings, settings.port if labels else 0)
        host = settings.host if labels else "127.0.0.1"
        shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
        own = options_of({"--host": host, "--port": str(port)})
        arguments = (name, str(project_file), *shared, *own)
        parts.append(Part(name, arguments, f"{scheme}://{shown}:{port}", _environment(settings)))
    return parts


def _shared_options(settings: Settings) -> tuple[str, ...]:
    return options_of(
        {
            "--kafka": settings.kafka,
            "--redis": settings.redis,
            "--data": str(settings.data_dir),
            "--stop-timeout": f"{settings.stop_timeout_s:g}",
        }
    )


def _environment(settings: Settings) -> dict[str, str]:
    """What only some commands have an option for, and all processes take from the environment."""
    told = {"TIEBREAK_BEHIND_PROXY": str(settings.behind_proxy).lower()}
    if settings.tls:
        told |= {"TIEBREAK_TLS_CERT": settings.tls.cert, "TIEBREAK_TLS_KEY": settings.tls.key}
    return told


def _free_port(settings: Settings, wanted: int) -> int:
    # Asked for before any child starts: a taken port is one clear line and not a child that dies again and again.
    sock = bind(settings.host if wanted else "127.0.0.1", wanted)
    with sock:
        return int(sock.getsockname()[1])


@asynccontextmanager
async def running(
    project: Project, project_file: Path, settings: Settings, logs: Path | None = None
) -> AsyncIterator[Running]:
    """Everything started; stopped on leaving: children first, then Redis. The caller waits on ``life``.

    ``logs`` is a folder for one log file per child; None: they write where we write.
    """
    clock = SystemClock()
    parts = parts_of(project, project_file, settings)
    if logs is not None:
        parts = [replace(part, log_file=logs / f"{part.name}.log") for part in parts]
    redis = RedisServer(settings.data_dir) if settings.embedded else None
    if redis is not None:
        await asyncio.to_thread(redis.start)
    # Children get their own deadline inside ours.
    life = Lifecycle(clock, Health(), settings.stop_timeout_s + 5.0)
    try:
        # Every server answers once before a child starts: a wrong address is one clear line, and what a child misses later is late.
        async with open_redis(settings):
            await ensure_topics(project, settings)
        children = {part.name: Child(part, clock, settings.stop_timeout_s) for part in parts}
        for child in children.values():
            life.run(Phase.SOURCES, child.part.name, child.keep)
        if redis is not None:
            life.run(Phase.WORK, "redis", _keep_redis(redis, clock))
        yield Running(settings, children, life, redis)
    finally:
        await life.stop()
        if redis is not None:
            await asyncio.to_thread(redis.stop)


async def ensure_topics(project: Project, settings: Settings) -> None:
    """Create the project's topics where they are missing, and give those there the retention that the project file asks for."""
    kept = project.privacy.retention.of_topics()
    specs = specs_of(project)
    async with open_log(settings) as stream_log:
        await stream_log.ensure_topics(specs)
        await stream_log.retain([spec for spec in specs if spec.name in {topic.of(project.project) for topic in kept}])


async def until_ready(up: Running, within_s: float = _READY_S) -> bool:
    """Whether all children became ready in time; also False when the life ended first."""
    ready = asyncio.create_task(_all_ready(up))
    ending = asyncio.create_task(up.life.stopping.wait())
    waits: set[asyncio.Task[bool]] = {ready, ending}
    await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    answer = ready.done() and not ending.done()
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)
    return answer


async def _all_ready(up: Running) -> bool:
    await asyncio.gather(*(child.until_ready() for child in up.children.values()))
    return True


async def run_up(
    project: Project, project_file: Path, settings: Settings, announce: Callable[[Running], Awaitable[None]]
) -> ExitCode:
    """Start all, tell ``announce`` once all are ready, run until a signal. The exit code is the first hopeless child's."""
    async with running(project, project_file, settings) as up:
        ready = asyncio.create_task(announced(up, announce), name="announce")
        try:
            code = await up.life.until_stopped()
        finally:
            ready.cancel()
    if isinstance(up.life.error, ChildEnded):
        return ExitCode(up.life.error.code) if up.life.error.code in set(ExitCode) else ExitCode.FAILED
    return code


async def announced(up: Running, announce: Callable[[Running], Awaitable[None]], every_s: float = _READY_S) -> None:
    """Call ``announce`` once all are ready, however late; warn each ``every_s`` until then."""
    while not await until_ready(up, every_s):
        if up.life.stopping.is_set():
            return
        log.warning("not_ready", after_s=every_s)
    await announce(up)


def _keep_redis(redis: RedisServer, clock: Clock) -> Run:
    async def keep(stop: asyncio.Event) -> None:
        while not stop.is_set():
            code = redis.exit_code()
            if code is not None:
                log.error("redis_died", exit_code=code)
                try:
                    await asyncio.to_thread(_again, redis)
                except TiebreakError as error:
                    log.error("redis_start_failed", error=str(error))
                    await clock.sleep(5.0)
            await pause(stop, _REDIS_CHECK_S)

    return keep


def _again(redis: RedisServer) -> None:
    redis.stop()
    redis.start()
