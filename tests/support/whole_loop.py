"""The whole loop as real processes on a small project of digits: load on it, faults into it, and its evidence afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from tests.support.auditor import Evidence, bound
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.evidence import Traces, gather
from tests.support.journal import Journal
from tests.support.people import Office, Person
from tests.support.producing import Producer
from tests.support.witness import Witness
from tiebreak.apps.admitting import admit
from tiebreak.apps.demo.digits import digits_world
from tiebreak.apps.demo.world import World, WorldSettings
from tiebreak.apps.stream import MODELS_FOLDER
from tiebreak.apps.train import ledger_path
from tiebreak.apps.up import Running
from tiebreak.apps.wiring import open_log
from tiebreak.contracts.log import Log
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic
from tiebreak.deployment.files import FileModelStore
from tiebreak.labeling.access import Role
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.redis_server import RedisServer
from tiebreak.runtime.settings import Options, Settings, resolve
from tiebreak.training.sqlite import Ledger

PEOPLE = 6
PROJECT = """
partitions: 2
input: {tensors: [{name: pixels, shape: [64]}], max_record_bytes: 16384}
classes: {names: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]}
scoring: {max_batch: 256, max_bad_share: 0.9}
sampling: {target_share: 0.04}
budget: {labels_per_hour: 36000, max_open_tasks: 100}
labeling: {payload: image, lease_s: 3}
training: {step_labels: 40, step_s: 2, committee: 3, hidden: 64}
"""
QUIET_POLLS = 5
# Each process with the topic that it writes or, for Redis, that nobody writes without it. The order lets the ten seconds that
# a group waits for a dead member pass while another is killed.
VICTIMS = {"stream": Topic.PREDICTIONS, "train": Topic.LABELS, "label": Topic.ANNOTATIONS, "redis": Topic.TASKS}
# Generous: another engineer's test suite may have the processor.
HEALED_S = 150.0


@dataclass(frozen=True, slots=True)
class Site:
    """Where a scenario lives: its project file, its data folder, its journal, and how its processes find their servers."""

    folder: Path
    project: Project
    project_file: Path
    settings: Settings

    @property
    def journal(self) -> Path:
        """What the people were told."""
        return self.folder / "journal.jsonl"

    @property
    def ledger(self) -> Path:
        """The trainer's file."""
        return ledger_path(self.project.project, self.settings)


def site(folder: Path, name: str, kafka: str = "", port: int = 0) -> Site:
    """A project called ``name`` on Redis Streams, or on Kafka at this address; the queue is an embedded Redis in both."""
    file = folder / "project.yaml"
    file.write_text(yaml.safe_dump({"project": name, **yaml.safe_load(PROJECT)}))
    options = Options(kafka=kafka, redis="", data=str(folder / "data"), port=port, stop_timeout_s=20.0)
    return Site(folder, load_project(file), file, resolve(options, {}))


def world_of(events: int, seed: int) -> World:
    """Digits that drift half way, as in the demo, with enough events for a long run."""
    return digits_world(WorldSettings(events=events, seed=seed))


@dataclass(frozen=True, slots=True)
class Load:
    """Events on their way in and people at work, and who watches."""

    site: Site
    witness: Witness
    producer: Producer
    people: Sequence[Person]
    tasks: Sequence[asyncio.Task[None]]
    feeding: asyncio.Event

    async def seen(self, topic: Topic, more: int, deadline_s: float = HEALED_S) -> None:
        """Wait until ``more`` further records are on a topic."""
        wanted = self.witness.counts[topic] + more

        def there() -> bool:
            self.check()
            return self.witness.counts[topic] >= wanted

        await eventually(there, deadline_s, what=f"{more} more records on {topic}")

    async def settled(self) -> None:
        """No more events; wait until each has its outcome, each task its label, and each label its place in the ledger (I7)."""
        self.feeding.set()

        def done() -> bool:
            self.check()
            assert self.witness.counts[Topic.EVENTS] >= self.producer.sent
            owed = self.witness.owed()
            assert not owed, owed
            # Nobody is about to change their mind, and what they said last has been read.
            assert not any(person.busy for person in self.people)
            assert self.witness.quiet >= QUIET_POLLS
            assert labels_in(self.site.ledger) == len(self.witness.revisions)
            return True

        await eventually(done, HEALED_S, what="every event an outcome, every task a label, every label in the ledger")

    def check(self) -> None:
        """Pass on what went wrong in the producer, a person or the witness."""
        for task in self.tasks:
            if task.done() and (error := task.exception()) is not None:
                raise RuntimeError(f"{task.get_name()} broke down") from error


def labels_in(ledger: Path) -> int:
    """How many label revisions the ledger holds, those kept aside included."""
    found = Ledger(ledger)
    try:
        return found.dataset_version() + len(found.aside())
    finally:
        found.close()


@asynccontextmanager
async def load_on(site: Site, address: str, world: World, seed: int) -> AsyncIterator[Load]:
    """Start to produce, to answer and to watch; people finish what they hold on leaving."""
    feeding, working, watching = asyncio.Event(), asyncio.Event(), asyncio.Event()
    truths = await asyncio.to_thread(world.truth_by_image)
    journal = Journal(site.journal)
    name = site.project.project
    async with open_log(site.settings) as log:
        witness = Witness(log, name)
        producer = Producer(log, name, world, site.project.input.max_record_bytes, seed)
        office = Office(address, name, truths, journal, site.project.labeling.lease_s)
        people = [await _person(site, office, number, seed) for number in range(1, PEOPLE + 1)]
        work = [
            asyncio.create_task(witness.watch(watching), name="witness"),
            asyncio.create_task(producer.run(feeding), name="producer"),
            *(asyncio.create_task(person.run(working), name="person") for person in people),
        ]
        try:
            yield Load(site, witness, producer, people, work, feeding)
            working.set()
            await asyncio.wait(work[2:], timeout=PATIENCE_S)
        finally:
            feeding.set()
            watching.set()
            _, late = await asyncio.wait(work[:2], timeout=PATIENCE_S)
            for task in (*late, *work[2:]):
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            journal.close()


async def _person(site: Site, office: Office, number: int, seed: int) -> Person:
    name = f"person-{number}"
    token, _ = await admit(site.project, site.settings, name, Role.ANNOTATOR, 1.0, SystemClock())
    return Person(office, name, token, seed * 100 + number)


async def kill(up: Running, *victims: str) -> None:
    """``kill -9`` processes of a running supervisor at once, and wait until others have taken their places."""
    pids = {victim: await _running_pid(up, victim) for victim in victims}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    for victim, first in pids.items():
        await eventually(partial(_replaced, up, victim, first), HEALED_S, what=f"{victim} started again")


def _replaced(up: Running, victim: str, first: int) -> bool:
    return pid_of(up, victim) not in {None, first}


async def _running_pid(up: Running, victim: str) -> int:
    # It may be between two lives: after a death of Redis, others may end by themselves.
    pid = await eventually(lambda: pid_of(up, victim), HEALED_S, what=f"{victim} running")
    assert pid is not None
    return pid


def pid_of(up: Running, victim: str) -> int | None:
    """The process id of a stage's process or of the embedded Redis, while it runs."""
    if victim != "redis":
        return up.children[victim].pid
    assert up.redis is not None
    return up.redis.pid


async def evidence_of(site: Site) -> Evidence:
    """Everything that is left once all processes have ended: read from the disk, after a start of Redis that nobody disturbs."""
    server = RedisServer(site.settings.data_dir)
    await asyncio.to_thread(server.start)
    try:
        async with open_log(site.settings) as log:
            return await _gathered(site, log)
    finally:
        await asyncio.to_thread(server.stop)


async def _gathered(site: Site, log: Log) -> Evidence:
    scratch = site.folder / "clean-pass"
    scratch.mkdir()
    store = FileModelStore(site.settings.data_dir / MODELS_FOLDER)
    group = f"tiebreak.{site.project.project}.scoring"
    return await gather(log, site.project, Traces(site.ledger, [site.journal], scratch, group, store, disturbed=True))


def lost_nothing(e: Evidence) -> str:
    """What an audit without findings says, with its bound (3/n at 95 %)."""
    answers = len({a.idempotency_key for a in e.annotations})
    counts = {"events": len(e.places), "answers": answers, "labels": len(e.ledger)}
    return "\n".join(
        f"0 of {count} {name} lost or doubled: at most {bound(0, count):.1e} of them, at 95 %"
        for name, count in counts.items()
    )
