"""``/health/live``, ``/health/ready`` and ``/metrics`` over HTTP, and a server that a process starts and stops itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tiebreak.contracts.errors import ConfigError
from tiebreak.runtime.health import Health, Report
from tiebreak.runtime.http_protocol import AtTheDoor
from tiebreak.runtime.metrics import Metrics
from tiebreak.runtime.settings import Tls

_NO_STORE = {"cache-control": "no-store"}
# People look at a task for longer than the usual five seconds: their next request would meet a connection that is just being closed.
_KEEP_ALIVE_S = 75


def ops_routes(health: Health, metrics: Metrics) -> list[Route]:
    """The three routes, for the ops server and for an application that has routes of its own."""

    async def live(_request: Request) -> Response:
        return _answer(await health.live())

    async def ready(_request: Request) -> Response:
        report = await health.ready()
        metrics.set("tiebreak_runtime_ready_ratio", float(report.ok))
        return _answer(report)

    async def exposition(_request: Request) -> Response:
        return Response(metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST, **_NO_STORE})

    return [
        Route("/health/live", live, methods=["GET"], include_in_schema=False),
        Route("/health/ready", ready, methods=["GET"], include_in_schema=False),
        Route("/metrics", exposition, methods=["GET"], include_in_schema=False),
    ]


def ops_app(health: Health, metrics: Metrics) -> Starlette:
    """An application with nothing but the three routes."""
    return Starlette(routes=ops_routes(health, metrics))


def _answer(report: Report) -> Response:
    body = {"status": "ok" if report.ok else "fail", "state": report.state.value, "checks": dict(report.checks)}
    return JSONResponse(body, status_code=200 if report.ok else 503, headers=_NO_STORE)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: ``lifecycle`` decides the order in which things stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening address, taken before anything else is started. Raises ConfigError with one clear line when it is taken."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {host}: {error.strerror or error}.", fix="Name an address of this machine."
        ) from error
    sock = socket.socket(family, kind, proto)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error.strerror}.", fix="Name another with --port, or 0 for any free one."
        ) from error
    return sock


class HttpServer:
    """One application on one socket. ``start`` returns once it answers; ``stop`` lets open requests finish, within a time."""

    def __init__(
        self, app: ASGIApp, sock: socket.socket, tls: Tls | None = None, protocol: type[AtTheDoor] = AtTheDoor
    ) -> None:
        host, port = sock.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        self.address = f"{'https' if tls else 'http'}://{name}:{port}"
        self._socket = sock
        self._config = uvicorn.Config(
            app,
            http=protocol,
            timeout_keep_alive=_KEEP_ALIVE_S,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ssl_certfile=tls.cert if tls else None,
            ssl_keyfile=tls.key if tls else None,
            lifespan="on" if _has_lifespan(app) else "off",
        )
        self._server = _Server(self._config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Accept requests. Raises what the application's own start-up raised."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="http")
        while not self._server.started:
            done, _ = await asyncio.wait({self._task}, timeout=0.01)
            if done:
                await self._task
                raise ConfigError("The HTTP server ended while it was starting.")

    async def stop(self, timeout_s: float) -> None:
        """Close the door, finish open requests for at most ``timeout_s``, then drop them."""
        if self._task is None:
            self._socket.close()
            return
        # Half for the requests, half for the application's own shutdown.
        self._config.timeout_graceful_shutdown = max(1, int(timeout_s / 2))
        self._server.should_exit = True
        await asyncio.wait({self._task}, timeout=timeout_s)
        if not self._task.done():
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None


def _has_lifespan(app: ASGIApp) -> bool:
    return hasattr(app, "router")
