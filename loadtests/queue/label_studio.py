"""Label Studio as a queue beside ours: its own PostgreSQL, uwsgi as its makers deploy it, and one loop for both.

    python3.11 -m venv .cache/peers/label-studio
    .cache/peers/label-studio/bin/pip install label-studio==1.23.0 psycopg[binary] uwsgi     # LABEL_STUDIO names another environment

and a PostgreSQL of the system (`initdb` on the PATH or under /usr/lib/postgresql).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from loadtests.queue.http import Connection, claim, vote
from loadtests.speed.ground import cores
from scripts.kafka import free_port

SETUP = Path(__file__).with_name("label_studio_setup.py")
WORKERS = 4
_START_S = 300.0


class Annotator(Protocol):
    """One person at one of the queues. Both raise OSError or TimeoutError."""

    async def claim(self) -> str | None:
        """A task that is now theirs, None where there is none."""

    async def answer(self) -> bool:
        """Whether the answer to the newest claim was accepted."""


@dataclass(slots=True)
class Work:
    """What people came to. ``handed`` counts, per task, to how many it was given; seconds per request."""

    seconds: float = 0.0
    pairs: int = 0
    failed: int = 0
    handed: Counter[str] = field(default_factory=Counter)
    claims: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Pairs per second."""
        return self.pairs / self.seconds if self.seconds else 0.0

    @property
    def duplicates(self) -> int:
        """Claims that gave out a task which somebody had been given before."""
        return sum(self.handed.values()) - len(self.handed)


async def work(people: Sequence[Annotator], seconds: float) -> Work:
    """Everybody claims, answers and claims again until the time is over; a pair that was begun is finished and counts, time and all."""
    found, began = Work(), time.perf_counter()

    async def one(person: Annotator) -> None:
        while (start := time.perf_counter()) - began < seconds:
            try:
                task = await person.claim()
                if task is None:
                    break
                found.claims.append(time.perf_counter() - start)
                found.handed[task] += 1
                accepted = await person.answer()
            except (OSError, TimeoutError):
                accepted = False
            found.pairs, found.failed = found.pairs + accepted, found.failed + (not accepted)

    await asyncio.gather(*(one(person) for person in people))
    found.seconds = time.perf_counter() - began
    return found


class OurAnnotator:
    """A person at `tiebreak label`."""

    def __init__(self, address: str, project: str, token: str, key: Callable[[], str]) -> None:
        self._line = Connection(address, token)
        self._project = project
        self._key = key
        self._task: Mapping[str, Any] = {}

    async def claim(self) -> str | None:
        status, body = await claim(self._line, self._project)
        tasks = orjson.loads(body)["tasks"] if status == 200 else []
        self._task = tasks[0] if tasks else {}
        return str(self._task["task_id"]) if tasks else None

    async def answer(self) -> bool:
        status, _ = await vote(self._line, self._task, self._key())
        return status == 201


class TheirAnnotator:
    """A person at Label Studio. Its uwsgi ends the connection after each answer, so each request makes one."""

    def __init__(self, address: str, project: str, token: str) -> None:
        self._address = address
        self._next = f"/api/projects/{project}/next"
        self._authorization = f"Authorization: Token {token}\r\n"
        self._task = ""

    async def claim(self) -> str | None:
        status, body = await self._request("GET", self._next)
        if status != 200:
            return None
        self._task = str(orjson.loads(body)["id"])
        return self._task

    async def answer(self) -> bool:
        result = {"from_name": "class", "to_name": "text", "type": "choices", "value": {"choices": ["cat"]}}
        body = orjson.dumps({"result": [result], "lead_time": 0.0})
        return (await self._request("POST", f"/api/tasks/{self._task}/annotations", body))[0] == 201

    async def _request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        line = Connection(self._address)
        try:
            return await line.request(method, path, body, self._authorization)
        finally:
            line.close()


def missing() -> str:
    """What keeps Label Studio from running here and how to get it; "" where nothing does."""
    if not (_environment_bin() / "uwsgi").exists():
        return f"{_environment_bin()} has no Label Studio: see the head of loadtests/queue/label_studio.py, or set LABEL_STUDIO"
    return "" if _postgres_bin() is not None else "there is no PostgreSQL here: apt-get install postgresql"


@contextmanager
def label_studio(folder: Path, people: int, tasks: int) -> Iterator[list[TheirAnnotator]]:
    """A Label Studio of its own with that many tasks, and people at it; gone at the end, data and all."""
    environment_bin, address = _environment_bin(), f"127.0.0.1:{free_port()}"
    os.sched_setaffinity(0, set(cores()))  # it may have all there is: ours has the API on one core
    package = next(environment_bin.parent.glob("lib/python3*/site-packages/label_studio"))
    with ExitStack() as stack:
        environment = _settings(folder, stack.enter_context(_postgres(folder)))
        python = str(environment_bin / "python")
        _run([python, "manage.py", "migrate", "--noinput"], environment, package)
        said = _run([python, "-I", str(SETUP), str(people), str(tasks)], environment, package).split()
        uwsgi = [str(environment_bin / "uwsgi"), "--http-socket", address, "--module", "core.wsgi:application"]
        uwsgi += ["--pythonpath", str(package), "--virtualenv", str(environment_bin.parent), "--master", "--need-app"]
        uwsgi += ["--processes", str(WORKERS), "--die-on-term", "--disable-logging", "--listen", "100"]
        log = stack.enter_context((folder / "uwsgi.log").open("wb"))
        child = subprocess.Popen(uwsgi, env=environment, cwd=package, stdout=log, stderr=log)
        stack.callback(_end, child)
        yield [TheirAnnotator(f"http://{address}", said[0], token) for token in said[1:]]


def _settings(folder: Path, port: int) -> dict[str, str]:
    data = folder / "label-studio"
    data.mkdir()
    place = {
        "POSTGRE_HOST": "127.0.0.1",
        "POSTGRE_PORT": str(port),
        "POSTGRE_NAME": "postgres",
        "POSTGRE_USER": "bench",
    }
    quiet = {"COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_RATE": "0", "LOG_LEVEL": "ERROR"}
    own = {"DJANGO_DB": "default", "DJANGO_SETTINGS_MODULE": "core.settings.label_studio", "POSTGRE_PASSWORD": ""}
    return {**os.environ, **place, **quiet, **own, "LABEL_STUDIO_BASE_DATA_DIR": str(data)}


@contextmanager
def _postgres(folder: Path) -> Iterator[int]:
    """The port of a PostgreSQL with its defaults, fsync included."""
    programs, port, home = _postgres_bin(), free_port(), folder / "postgres"
    if programs is None:
        raise RuntimeError(missing())
    home.mkdir()
    # It refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    if user is not None:
        folder.chmod(0o755)
        shutil.chown(home, user)
    data = home / "data"
    subprocess.run(
        [programs / "initdb", "-D", data, "-A", "trust", "-U", "bench"],
        user=user,
        check=True,
        capture_output=True,
        cwd=home,
    )
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={home}"]
    with (folder / "postgres.log").open("wb") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-c", "max_connections=200", *options],
            user=user,
            cwd=home,
            stdout=log,
            stderr=log,
        )
    try:
        yield port
    finally:
        _end(server)


def _run(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> str:
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=_START_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"Label Studio: {' '.join(command[1:3])} failed: {done.stderr[-2000:]}")
    return done.stdout


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(30.0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _environment_bin() -> Path:
    return Path(os.environ.get("LABEL_STUDIO") or ".cache/peers/label-studio").resolve() / "bin"


def _postgres_bin() -> Path | None:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return newest[-1].parent if newest else None
