"""Measure the labeling queue: pairs against an empty route, claims as it grows, weight of a task, a crowd (real Kafka and Redis)"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from subprocess import Popen

import numpy as np
import uvloop
from redis.asyncio import BlockingConnectionPool, Redis

from loadtests.figures import Figure, judged, save, show
from loadtests.queue import depth
from loadtests.queue.http import Tally, annotate, annotate_on, knock, process, processor_s, ready
from loadtests.queue.tasks import CALM, built, fill, project_of, tokens, write
from loadtests.speed.ground import Ground, cores, ground
from scripts.kafka import free_port, missing_tools
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import specs_for
from tiebreak.events.kafka import KafkaLog
from tiebreak.labeling.redis import RedisQueue

PEOPLE, CLAIMERS = 50, 200
# More than the people of the first case can answer.
TASKS_PER_S = 4000


@dataclass(frozen=True, slots=True)
class Size:
    """How long and how much. ``deep``: tasks waiting in the larger queue; ``judge``: whether a miss is an error."""

    seconds: float
    turns: int
    shallow: int
    deep: int
    claims: int
    crowd: int
    judge: bool = True


FULL = Size(seconds=10.0, turns=3, shallow=10_000, deep=1_000_000, claims=5_000, crowd=50_000)
QUICK = Size(seconds=3.0, turns=2, shallow=2_000, deep=20_000, claims=1_000, crowd=1_000, judge=False)


async def pairs(where: Ground, client: Redis, size: Size) -> list[Figure]:
    """`tiebreak label` and the empty route take turns under the same client."""
    project = project_of("pairs")
    await _make_topics(where, project)
    ours, bare = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    label: tuple[str, ...] = (
        "-m",
        "tiebreak.apps.cli",
        "label",
        str(write(project, where.folder)),
        "--kafka",
        where.kafka,
    )
    label += ("--redis", where.redis, "--port", ours.rpartition(":")[2], "--data", str(where.folder))
    empty_route = ("-m", "loadtests.queue.http", bare.rpartition(":")[2])
    with process(label, where.folder / "label.log") as a, process(empty_route, where.folder / "empty.log") as b:
        await ready(bare, "/ready", b)
        await ready(ours, "/health/ready", a)
        queue = RedisQueue(client, project)
        await built(queue)
        await fill(queue, project.project, range(int(size.seconds * size.turns * TASKS_PER_S)))
        held = await tokens(client, project.project, PEOPLE)
        await knock(bare, PEOPLE, 1.0)
        await annotate(ours, project.project, held, 1.0)
        empty: list[Tally] = []
        people: list[Tally] = []
        onward: list[Tally] = []
        for _ in range(size.turns):
            empty.append(await clocked(b, knock(bare, PEOPLE, size.seconds)))
            people.append(await clocked(a, annotate(ours, project.project, held, size.seconds)))
            onward.append(await clocked(a, annotate_on(ours, project.project, held, size.seconds)))
    odd = [status for tally in (*empty, *people, *onward) for status in tally.odd]
    base, rate = median(tally.rate for tally in empty), median(tally.rate for tally in people)
    on = median(tally.rate for tally in onward)
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


def _costs(empty: Sequence[Tally], people: Sequence[Tally], onward: Sequence[Tally]) -> list[Figure]:
    """What a busy machine changes least: processor time of the API process, settling and intake included."""
    base, pair, on = (median(tally.cost_us for tally in tallies) for tallies in (empty, people, onward))
    how = f"{base:.0f} us per empty post, {pair:.0f} us per pair, {on:.0f} us per answer with the next task"
    return [
        Figure("by processor time: empty post / pair", base / pair, "", None, how),
        Figure("by processor time: empty post / answer with ?next=1", base / on, "", None, how),
    ]


async def clocked(server: Popen[bytes], run: Awaitable[Tally]) -> Tally:
    """The run's tally with the processor time that ``server`` took meanwhile."""
    before = processor_s(server)
    tally = await run
    tally.processor_s = processor_s(server) - before
    return tally


async def _make_topics(where: Ground, project: Project) -> None:
    log = KafkaLog(where.kafka)
    try:
        await log.ensure_topics(specs_for(project.project, project.partitions))
    finally:
        await log.close()


async def growth(_: Ground, client: Redis, size: Size) -> list[Figure]:
    """A small and a large queue side by side on one server."""
    small, large = (RedisQueue(client, project_of(name), CALM) for name in ("small", "large"))
    await fill(small, "small", range(size.shallow))
    beyond = await depth.weight(client, large, "large", range(size.deep))
    await depth.claims((small, large), 200)
    low, high = (1000 * float(np.percentile(found, 99)) for found in await depth.claims((small, large), size.claims))
    how = f"{size.deep:,} waiting tasks against {size.shallow:,}, {size.claims:,} claims each in turns, one at a time"
    return [
        judged("queue", "claim p99: many waiting / few waiting", high / low, how, judge=size.judge),
        Figure(f"claim p99 with {size.shallow:,} waiting (ms)", low, "", None, "queue alone, fsync at every write"),
        Figure(f"claim p99 with {size.deep:,} waiting (ms)", high, "", None, "queue alone, fsync at every write"),
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


CASES: Mapping[str, Callable[[Ground, Redis, Size], Awaitable[list[Figure]]]] = {
    "pairs": pairs,
    "growth": growth,
    "crowd": crowd,
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
    parser.add_argument("--only", default="", help=f"comma separated: {', '.join(CASES)}")
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
