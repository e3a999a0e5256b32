"""Measure the labeling queue: pairs against an empty route, claims as it grows, a crowd, a rebuild (real Kafka and Redis)"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from statistics import median
from subprocess import Popen

import numpy as np
import uvloop
from redis.asyncio import BlockingConnectionPool, Redis

from loadtests.figures import Figure, judged, save, show
from loadtests.queue import depth, label_studio, losing
from loadtests.queue.held import CannotHold, held
from loadtests.queue.http import (
    Tally,
    annotate,
    annotate_on,
    knock,
    process,
    processor_s,
    ready,
    served_within,
    spent_s,
)
from loadtests.queue.open_loop import offer
from loadtests.queue.tasks import CALM, built, fill, make_topics, project_of, tokens, write
from loadtests.speed.ground import Ground, cores, ground, pin
from scripts.kafka import free_port, missing_tools
from tiebreak.contracts.project import Project
from tiebreak.labeling.redis import RedisQueue

PEOPLE, CLAIMERS = 50, 200
# People who warm a server up.
WARM = 5
# More than the people of the first case can answer, of all that they do in turn.
TASKS_PER_S = 12_000
# Of one core, so that the servers behind the API have what they ask for on two.
HELD_TO = 0.4
PEOPLE_DO = ("claim", "answer, next=1", "undo", "skip")


@dataclass(frozen=True, slots=True)
class Served:
    """A running API with people who may use it, and the process beside it that settles."""

    address: str
    process: Popen[bytes]
    settler: Popen[bytes]
    tokens: Sequence[str]


@dataclass(frozen=True, slots=True)
class Size:
    """How long and how much. ``deep``: tasks waiting in the larger queue; ``judge``: whether a miss is an error."""

    seconds: float
    turns: int
    shallow: int
    deep: int
    claims: int
    crowd: int
    rates: tuple[float, ...] = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0)
    judge: bool = True
    peer_tasks: int = 10_000
    settled: int = 500_000


FULL = Size(seconds=10.0, turns=3, shallow=10_000, deep=1_000_000, claims=5_000, crowd=50_000)
QUICK = Size(
    seconds=3.0,
    turns=2,
    shallow=2_000,
    deep=20_000,
    claims=1_000,
    crowd=1_000,
    rates=(50.0, 200.0),
    judge=False,
    settled=20_000,
)


@asynccontextmanager
async def labeling(where: Ground, client: Redis, project: Project, tasks: int) -> AsyncIterator[Served]:
    """`tiebreak label` with the API on a core of its own and settling beside it; tasks wait, and people have tokens."""
    await make_topics(where.kafka, project)
    api, settling = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    command = ["-m", "tiebreak.apps.cli", "label", str(write(project, where.folder)), "--kafka", where.kafka]
    command += ["--redis", where.redis, "--data", str(where.folder)]

    def half(role: str, address: str) -> AbstractContextManager[Popen[bytes]]:
        arguments = [*command, "--role", role, "--port", address.rpartition(":")[2]]
        return process(arguments, where.folder / f"{project.project}-{role}.log", beside=role == "settle")

    with half("settle", settling) as settler, half("api", api) as server:
        await ready(settling, "/health/ready", settler)
        await ready(api, "/health/ready", server)
        queue = RedisQueue(client, project)
        await built(queue)
        await fill(queue, project.project, range(tasks))
        yield Served(api, server, settler, await tokens(client, project.project, CLAIMERS))


async def pairs(where: Ground, client: Redis, size: Size) -> list[Figure]:
    """`tiebreak label` and the empty route take turns under the same client."""
    project = project_of("pairs")
    bare = f"http://127.0.0.1:{free_port()}"
    empty_route = ("-m", "loadtests.queue.http", bare.rpartition(":")[2])
    tasks = int(size.seconds * size.turns * TASKS_PER_S)
    with process(empty_route, where.folder / "empty.log") as b:
        await ready(bare, "/ready", b)
        async with labeling(where, client, project, tasks) as served:
            ours = served.address
            await knock(bare, PEOPLE, 1.0)
            await annotate(ours, project.project, served.tokens[:PEOPLE], 1.0)
            done = await _turns(size, project.project, (bare, b), served)
            inside = [
                Figure(f"{request} inside the API: p{share * 100:g} (ms)", 1000 * took, "", None, "its own histogram")
                for request in ("claim", "submit")
                for share in (0.5, 0.99)
                for took in [await served_within(ours, request, share)]
            ]
            alone = await _held(size, project.project, (bare, b), served)
    return [*_compared(size, done), *inside, *alone]


@dataclass(frozen=True, slots=True)
class Turns:
    """What the people did in turn: empty posts, pairs, and answers that bring the next task."""

    empty: Sequence[Tally]
    people: Sequence[Tally]
    onward: Sequence[Tally]

    @property
    def rates(self) -> tuple[float, float, float]:
        """The median of each, per second."""
        empty, people, onward = (median(t.rate for t in kind) for kind in (self.empty, self.people, self.onward))
        return empty, people, onward

    @property
    def odd(self) -> list[int]:
        """Statuses that nobody wanted."""
        return [status for tally in (*self.empty, *self.people, *self.onward) for status in tally.odd]


async def _turns(size: Size, name: str, bare: tuple[str, Popen[bytes]], served: Served) -> Turns:
    empty, people, onward = [], [], []
    (address, server), annotators = bare, served.tokens[:PEOPLE]
    for _ in range(size.turns):
        empty.append(await clocked(server, knock(address, PEOPLE, size.seconds)))
        people.append(await clocked(served.process, annotate(served.address, name, annotators, size.seconds)))
        onward.append(await clocked(served.process, annotate_on(served.address, name, annotators, size.seconds)))
    return Turns(empty, people, onward)


async def _held(size: Size, name: str, bare: tuple[str, Popen[bytes]], served: Served) -> list[Figure]:
    """The same with either server held to a share of its core, so that it alone is what limits."""
    names = [f"{what} / empty posts, the API alone at its limit" for what in ("pairs", "answers with ?next=1")]
    try:
        with held(bare[1].pid, HELD_TO) as one, held(served.process.pid, HELD_TO) as other:
            done = await _turns(size, name, bare, served)
            limited = f"stopped for it in {one.throttled():.0%} and {other.throttled():.0%} of the spans of 10 ms"
    except CannotHold as error:
        return [judged("queue", name, None, f"not measured: {error}") for name in names]
    base, *rates = done.rates
    how = f"the empty route and the API held to {HELD_TO:g} of a core each, {limited}; {base:,.0f} empty posts, "
    return [
        judged("queue", name, rate / base, f"{how}{rate:,.0f} per second", judge=size.judge)
        for name, rate in zip(names, rates, strict=True)
    ] + [judged("queue", "odd answers", len(done.odd), "of those that were held")]


def _compared(size: Size, done: Turns) -> list[Figure]:
    empty, people, onward = done.empty, done.people, done.onward
    base, rate, on = done.rates
    odd = done.odd
    how = f"median of {size.turns} turns of {size.seconds:g} s, {PEOPLE} annotators, one API process, Kafka and Redis"
    waits = [second for tally in people for second in tally.claims]
    answers = [second for tally in people for second in tally.submits]
    return [
        judged("queue", "pairs / empty posts", rate / base, how, judge=size.judge),
        judged("queue", "answers with ?next=1 / empty posts", on / base, how, judge=size.judge),
        Figure("claim and submit pairs per second", rate, "", None, how),
        Figure("answers per second, each with the next task", on, "", None, "one request per task (?next=1)"),
        Figure("empty posts per second", base, "", None, "the same client, the same server settings"),
        *_costs(empty, people, onward),
        Figure("claim over HTTP: p50 (ms)", 1000 * float(np.percentile(waits, 50)), "", None),
        Figure("claim over HTTP: p99 (ms)", 1000 * float(np.percentile(waits, 99)), "", None),
        Figure("submit over HTTP: p99 (ms)", 1000 * float(np.percentile(answers, 99)), "", None),
        judged("queue", "odd answers", len(odd), f"statuses {sorted(set(odd))}" if odd else ""),
    ]


async def limits(where: Ground, client: Redis, size: Size) -> list[Figure]:
    """An open loop: pairs come at a fixed rate, each timed from when it was due."""
    project = project_of("limits")
    figures: list[Figure] = []
    async with labeling(where, client, project, int(1.2 * sum(size.rates) * size.seconds) + TASKS_PER_S) as served:
        await annotate(served.address, project.project, served.tokens, 1.0)
        for rate in size.rates:
            seen = await offer(served.address, project.project, served.tokens, rate, size.seconds)
            how = f"{seen.due:,} due in {size.seconds:g} s, {len(seen.waits):,} answered, {CLAIMERS} people"
            p50, p99 = (1000 * float(np.percentile(seen.waits or [np.inf], q)) for q in (50, 99))
            name = f"pair at {rate:,.0f} per second offered"
            figures += [
                Figure(f"{name}: p50 (ms)", p50, "", None, how),
                Figure(f"{name}: p99 (ms)", p99, "", None, how),
            ]
            if not seen.kept_up:
                break
    return figures


async def people(where: Ground, client: Redis, size: Size) -> list[Figure]:
    """Locust: people who look, skip, take back and walk off."""
    project, crowd_size = project_of("people"), 4 * PEOPLE
    async with labeling(where, client, project, int(crowd_size * size.seconds * 20)) as served:
        file, stem = where.folder / "tokens.txt", where.folder / "locust"
        file.write_text("\n".join(served.tokens), encoding="ascii")
        locust = ["-m", "locust", "-f", "loadtests/queue/people.py", "--headless", "--only-summary", "--csv", str(stem)]
        locust += ["-u", str(crowd_size), "-r", str(crowd_size), "-t", f"{4 * size.seconds:g}s", "-H", served.address]
        environ = {**os.environ, "TOKENS": str(file), "PROJECT": project.project, "THINK_S": "1"}
        child = await asyncio.create_subprocess_exec(
            sys.executable, *locust, env=environ, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        await child.wait()
    with (where.folder / "locust_stats.csv").open(encoding="utf-8") as lines:
        rows = {row["Name"]: row for row in csv.DictReader(lines)}
    how = f"{crowd_size} people, one second on a task in the median, {4 * size.seconds:g} s"
    everything = rows["Aggregated"]
    return [
        judged("queue", "people-shaped: requests refused", float(everything["Failure Count"]), how),
        Figure("people-shaped: requests per second", float(everything["Requests/s"]), "", None, how),
        *(Figure(f"people-shaped: {n}, p95 (ms)", float(rows[n]["95%"]), "", None) for n in PEOPLE_DO if n in rows),
    ]


def _costs(empty: Sequence[Tally], people: Sequence[Tally], onward: Sequence[Tally]) -> list[Figure]:
    """What a busy machine changes least: processor time of the API process, settling and intake included."""
    base, pair, on = (median(tally.cost_us for tally in tallies) for tallies in (empty, people, onward))
    how = f"{base:.0f} us per empty post, {pair:.0f} us per pair, {on:.0f} us per answer with the next task"
    return [
        Figure("by processor time: empty post / pair", base / pair, "", None, how),
        Figure("by processor time: empty post / answer with ?next=1", base / on, "", None, how),
        *(_costs_all(name, tallies) for name, tallies in (("pair", people), ("answer with ?next=1", onward))),
    ]


def _costs_all(name: str, tallies: Sequence[Tally]) -> Figure:
    done = sum(tally.done for tally in tallies)
    each = {who: 1e6 * sum(t.spent_s.get(who, 0.0) for t in tallies) / done for who in tallies[0].spent_s}
    how = ", ".join(f"{who} {us:.0f}" for who, us in sorted(each.items(), key=lambda item: -item[1]))
    return Figure(f"processor time of all processes per {name} (us)", sum(each.values()), "", None, how)


async def clocked(server: Popen[bytes], run: Awaitable[Tally]) -> Tally:
    """The run's tally with the processor time that ``server``, and every other process, took meanwhile."""
    before, spent = processor_s(server), spent_s()
    tally = await run
    tally.processor_s = processor_s(server) - before
    tally.spent_s = {name: seconds - spent.get(name, 0.0) for name, seconds in spent_s().items()}
    return tally


async def growth(_: Ground, client: Redis, size: Size) -> list[Figure]:
    """A small and a large queue side by side on one server."""
    small, large = (RedisQueue(client, project_of(name), CALM) for name in ("small", "large"))
    await fill(small, "small", range(size.shallow), mixed=True)
    beyond = await depth.weight(client, large, "large", range(size.deep))
    await depth.claims((small, large), 200)
    low, high = (1000 * float(np.percentile(found, 99)) for found in await depth.claims((small, large), size.claims))
    how = f"{size.deep:,} waiting tasks against {size.shallow:,}, {size.claims:,} claims each in turns, one at a time"
    return [
        judged("queue", "claim p99: many waiting / few waiting", high / low, how, judge=size.judge),
        Figure(f"claim p99 with {size.shallow:,} waiting (ms)", low, "", None, "queue alone"),
        Figure(f"claim p99 with {size.deep:,} waiting (ms)", high, "", None, "queue alone"),
        judged("queue", "bytes per waiting task beyond the task", beyond, "used_memory, without the encoded task"),
    ]


async def crowd(_: Ground, client: Redis, size: Size) -> list[Figure]:
    """Everybody at once, two votes to a task."""
    seen = await depth.crowd(client, CLAIMERS, size.crowd, 2)
    how = f"{CLAIMERS} concurrent claimers, {size.crowd:,} tasks of 2 votes, {seen.seconds:.0f} s"
    return [
        judged("queue", "people beyond the votes wanted", seen.beyond, how),
        Figure("claims", seen.claims, f"= {2 * size.crowd:,}", seen.claims == 2 * size.crowd, how),
        Figure("tasks settled", seen.labels, f"= {size.crowd:,}", seen.labels == size.crowd, how),
    ]


async def rebuild(where: Ground, client: Redis, size: Size) -> list[Figure]:
    """Redis forgets everything, with so much on the topics: until the queue is whole again, by itself."""
    seen = await losing.rebuild(where, client, size.settled)
    how = f"{size.settled:,} settled tasks, each with its answer and label, and {seen.waiting:,} that wait"
    return [
        Figure(
            "rebuild after FLUSHALL, per million settled tasks (s)", 1e6 * seen.took_s / size.settled, "", None, how
        ),
        Figure("the same: processor time of who builds (s)", 1e6 * seen.spent_s / size.settled, "", None, how),
        Figure("tasks that wait again", seen.found, f"= {seen.waiting:,}", seen.found == seen.waiting, how),
        Figure(
            "an API that starts then is ready after (s)", seen.start_s, "", None, f"behind {size.settled:,} answers"
        ),
    ]


async def peer(where: Ground, client: Redis, size: Size) -> list[Figure]:
    """Label Studio, then ours: the same loop, the same people, tasks of one vote."""
    name = "pairs / Label Studio's"
    reason = label_studio.missing()
    if reason:
        print(f"peer: not compared: {reason}", file=sys.stderr, flush=True)
        return [judged("queue", name, None, reason)]
    project, keys, run = project_of("peer"), count(), f"{time.time_ns():x}"
    with label_studio.label_studio(where.folder, PEOPLE, size.peer_tasks) as people:
        await label_studio.work(people[:WARM], 3.0)
        theirs = await label_studio.work(people, 3 * size.seconds)
    pin(cores()[0])
    async with labeling(where, client, project, size.peer_tasks) as served:
        ours_people = [
            label_studio.OurAnnotator(served.address, project.project, token, lambda: f"{run}-{next(keys)}")
            for token in served.tokens[:PEOPLE]
        ]
        await label_studio.work(ours_people[:WARM], 1.0)
        ours = await label_studio.work(ours_people, size.seconds / 2)
    how = f"{PEOPLE} annotators, {size.peer_tasks:,} tasks of one vote, {theirs.seconds:.0f} s and {ours.seconds:.0f} s"
    return [
        judged("queue", name, ours.rate / theirs.rate, how, judge=size.judge),
        judged("queue", "tasks given to two people", ours.duplicates, f"of {ours.handed.total():,} claims"),
        Figure(
            "Label Studio: pairs per second", theirs.rate, "", None, f"{theirs.pairs} pairs, {theirs.failed} failed"
        ),
        Figure("ours: pairs per second", ours.rate, "", None, f"{ours.pairs:,} pairs, {ours.failed} failed"),
        Figure("Label Studio: claim p50 (ms)", 1000 * float(np.percentile(theirs.claims, 50)), "", None),
        Figure("ours: claim p50 (ms)", 1000 * float(np.percentile(ours.claims, 50)), "", None),
        Figure("Label Studio: tasks given to two people", theirs.duplicates, "", None),
    ]


CASES: Mapping[str, Callable[[Ground, Redis, Size], Awaitable[list[Figure]]]] = {
    "pairs": pairs,
    "limits": limits,
    "people": people,
    "growth": growth,
    "crowd": crowd,
    "rebuild": rebuild,
    "peer": peer,
}


async def measure(where: Ground, wanted: Sequence[str], size: Size) -> list[Figure]:
    """The figures of the cases named in ``wanted``; each begins with an empty Redis."""
    figures: list[Figure] = []
    pool = BlockingConnectionPool.from_url(where.redis, max_connections=64, timeout=60.0)
    async with Redis(connection_pool=pool) as client:
        for name in wanted:
            await client.flushall()
            figures += await CASES[name](where, client, size)
            print(f"{name}: done", file=sys.stderr, flush=True)
    await pool.aclose()
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases, print the table, write the results. 1 when a full run misses a reach, 2 when it cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench_queue", description=__doc__)
    sections = os.environ.get("SECTIONS", "")
    parser.add_argument("--only", default=sections, help=f"comma separated (or SECTIONS=): {', '.join(CASES)}")
    options = parser.parse_args(argv)
    reason = missing_tools()
    if reason:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    size = QUICK if os.environ.get("QUICK", "") not in {"", "0"} else FULL
    with ground() as where:
        figures = uvloop.run(measure(where, [n for n in options.only.split(",") if n] or list(CASES), size))
    server, own = cores()
    show(f"Labeling queue: servers and client on core {server}, the API on core {own}", figures)
    if not options.only:
        save("queue", figures)
    return 1 if any(figure.ok is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
