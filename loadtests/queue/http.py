"""The measured processes (`tiebreak label`, and an application with one empty route), and a client that is lighter than they are."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import uvloop
from fastapi import FastAPI

from loadtests.speed.ground import cores, pin
from tiebreak.runtime.ops_http import HttpServer, bind

_START_S = 90.0
_PATIENCE_S = 30.0
_POLITE = 5


class Connection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection of one person, one request at a time. No more is read of an answer than is needed."""

    def __init__(self, address: str, token: str = "") -> None:
        where = urlsplit(address)
        self._host, self._port = where.hostname or "", where.port or 80
        self._head = f"Host: {where.netloc}\r\nContent-Type: application/json\r\n"
        if token:
            self._head += f"Authorization: Bearer {token}\r\n"
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._heard = b""

    async def request(self, method: str, path: str, body: bytes = b"", more: str = "") -> tuple[int, bytes]:
        """Status and body. Raises OSError or TimeoutError; the connection is not to be used after that."""
        loop = asyncio.get_running_loop()
        if self._transport is None:
            self._transport, _ = await loop.create_connection(lambda: self, self._host, self._port)
        self._heard, self._answer = b"", loop.create_future()
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{more}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)
        guard = loop.call_later(_PATIENCE_S, self._give_up)
        try:
            return await self._answer
        finally:
            guard.cancel()

    def data_received(self, data: bytes) -> None:
        self._heard += data
        end = self._heard.find(b"\r\n\r\n")
        if end < 0 or self._answer is None or self._answer.done():
            return
        _, _, rest = self._heard[: end + 2].lower().partition(b"\r\ncontent-length: ")
        length = int(rest.split(b"\r\n", 1)[0]) if rest else 0
        body = self._heard[end + 4 :]
        if len(body) >= length:
            self._answer.set_result((int(self._heard[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("The server hung up."))

    def _give_up(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(TimeoutError())

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


@dataclass(slots=True)
class Tally:
    """What a run of some seconds came to. Seconds per request; ``odd`` are statuses that nobody wanted.

    ``processor_s`` took the server, ``spent_s`` each process (:func:`spent_s`).
    """

    seconds: float = 0.0
    done: int = 0
    claims: list[float] = field(default_factory=list)
    submits: list[float] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)
    processor_s: float = 0.0
    spent_s: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Requests, or claim and submit pairs, per second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def cost_us(self) -> float:
        """Processor time of the server for one of them, in microseconds."""
        return 1e6 * self.processor_s / self.done if self.done else 0.0


async def knock(address: str, people: int, seconds: float) -> Tally:
    """``people`` connections post to the empty route for ``seconds``."""
    tally, began = Tally(), time.perf_counter()

    async def one() -> None:
        line = Connection(address)
        while time.perf_counter() - began < seconds:
            status, _ = await line.request("POST", "/empty", b"{}")
            tally.odd += [status] if status != 200 else []
            tally.done += 1
        line.close()

    await asyncio.gather(*(one() for _ in range(people)))
    tally.seconds = time.perf_counter() - began
    return tally


async def annotate(address: str, project: str, tokens: Sequence[str], seconds: float) -> Tally:
    """Each holder of a token claims a task, answers it, and claims the next, for ``seconds``."""
    tally, keys, began = Tally(), count(), time.perf_counter()
    run = f"{time.time_ns():x}"

    async def one(token: str) -> None:
        line = Connection(address, token)
        while (start := time.perf_counter()) - began < seconds:
            status, body = await claim(line, project)
            claimed = time.perf_counter()
            tasks = orjson.loads(body)["tasks"] if status == 200 else []
            if not tasks:
                tally.odd.append(status)
                break
            status, _ = await vote(line, tasks[0], f"{run}-{next(keys)}")
            tally.odd += [status] if status != 201 else []
            tally.claims.append(claimed - start)
            tally.submits.append(time.perf_counter() - claimed)
            tally.done += 1
        line.close()

    await asyncio.gather(*(one(token) for token in tokens))
    tally.seconds = time.perf_counter() - began
    return tally


async def annotate_on(address: str, project: str, tokens: Sequence[str], seconds: float) -> Tally:
    """The same with one request per task: each answer brings the next task (``?next=1``)."""
    tally, keys, began = Tally(), count(), time.perf_counter()
    run = f"{time.time_ns():x}"

    async def one(token: str) -> None:
        line = Connection(address, token)
        status, body = await claim(line, project)
        tasks = orjson.loads(body)["tasks"] if status == 200 else []
        while tasks and (start := time.perf_counter()) - began < seconds:
            status, body = await vote(line, tasks[0], f"{run}-{next(keys)}", "?next=1")
            tally.submits.append(time.perf_counter() - start)
            tally.done += 1
            tasks = orjson.loads(body)["next"]["tasks"] if status == 201 else []
        tally.odd += [status] if not tasks else []
        line.close()

    await asyncio.gather(*(one(token) for token in tokens))
    tally.seconds = time.perf_counter() - began
    return tally


async def claim_and_vote(line: Connection, project: str, key: str) -> int:
    """One pair; the status of the answer, or of the claim where that gave nothing."""
    status, body = await claim(line, project)
    tasks = orjson.loads(body)["tasks"] if status == 200 else []
    return (await vote(line, tasks[0], key))[0] if tasks else status


async def claim(line: Connection, project: str) -> tuple[int, bytes]:
    """Ask for one task."""
    return await line.request("POST", f"/v1/projects/{project}/tasks:claim", b'{"max":1}')


async def vote(line: Connection, task: Mapping[str, Any], key: str, query: str = "") -> tuple[int, bytes]:
    """Answer a claimed task."""
    body = b'{"lease_token":%d,"value":"cat","lead_time_s":0.0}' % task["lease"]["token"]
    path = f"/v1/tasks/{task['task_id']}/annotations{query}"
    return await line.request("POST", path, body, f"Idempotency-Key: {key}\r\n")


async def served_within(address: str, request: str, share: float) -> float:
    """Seconds within which the API served that share of its claims (``claim``) or answers (``submit``), by its own histogram.

    Interpolated in the bucket, as Prometheus does; NaN before the first.
    """
    line = Connection(address)
    _, text = await line.request("GET", "/metrics")
    line.close()
    pattern = rf'^tiebreak_labeling_request_seconds_bucket{{le="([^"]+)"[^}}]*request="{request}"}} (\S+)$'
    buckets = sorted((float(le), float(n)) for le, n in re.findall(pattern, text.decode(), re.MULTILINE))
    wanted = share * buckets[-1][1] if buckets else 0.0
    low, below = 0.0, 0.0
    for high, n in buckets:
        if wanted and n >= wanted:
            return low if high == float("inf") else low + (high - low) * (wanted - below) / (n - below)
        low, below = high, n
    return float("nan")


@contextmanager
def process(arguments: Sequence[str], log: Path, *, beside: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A child on the core of what is measured; or ``beside`` it: on whatever is free, and giving way. Ended at the end.

    What it says goes to ``log``, which is shown if it failed.
    """
    servers, own = cores()
    os.sched_setaffinity(0, {servers, own} if beside else {own})
    with log.open("wb") as said:
        child = subprocess.Popen([sys.executable, *arguments], stdout=said, stderr=said)
    if beside:  # what nobody waits for gives way to what somebody waits for
        os.setpriority(os.PRIO_PROCESS, child.pid, os.getpriority(os.PRIO_PROCESS, 0) + _POLITE)
    pin(servers)
    try:
        yield child
    except RuntimeError:
        print(log.read_text(errors="replace")[-2000:], file=sys.stderr)
        raise
    finally:
        child.terminate()
        try:
            child.wait(30.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def processor_s(child: subprocess.Popen[bytes]) -> float:
    """Processor seconds that a child has used so far (Linux), all its threads together."""
    fields = Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spent_s() -> dict[str, float]:
    """Processor seconds so far of this process (``client``) and of each process that it started, by what it is (Linux)."""
    found: dict[str, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            words = (folder / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue  # it has ended
        if str(os.getpid()) in (folder.name, fields[1]):
            name = "client" if int(folder.name) == os.getpid() else _name_of(words)
            seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            found[name] = found.get(name, 0.0) + seconds
    return found


def _name_of(words: Sequence[str]) -> str:
    if "--role" in words:
        return words[words.index("--role") + 1]
    program = Path(words[0]).name
    return "kafka" if program == "java" else "redis" if program.startswith("redis") else "empty"


async def ready(address: str, path: str, child: subprocess.Popen[bytes]) -> None:
    """Return once ``path`` answers 200. Raises RuntimeError when the child ends, or does not get there in time."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if child.poll() is not None:
            raise RuntimeError(f"The process ended with {child.returncode} while it was starting.")
        line = Connection(address)
        try:
            if (await line.request("GET", path))[0] == 200:
                return
        except (OSError, EOFError, TimeoutError):
            pass
        finally:
            line.close()
        await asyncio.sleep(0.2)
    raise RuntimeError("The process did not become ready in time.")


def empty_app() -> FastAPI:
    """One route that reads nothing and says nothing: what a request costs before any work of ours."""
    app = FastAPI(openapi_url=None)

    @app.post("/empty")
    async def empty() -> dict[str, str]:
        return {}

    @app.get("/ready")
    async def is_ready() -> dict[str, str]:
        return {}

    return app


async def serve_empty(port: int) -> None:
    """Serve :func:`empty_app` as we serve our own, until the process is ended."""
    server = HttpServer(empty_app(), bind("127.0.0.1", port))
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve_empty(int(sys.argv[1])))
