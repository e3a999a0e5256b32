"""`tiebreak erase`: on the audit trail first, then out of the queue, the ledger and every later export; what is kept is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.command_line import CommandLine, Ended
from tests.support.eventually import eventually
from tests.support.labeling import a_task
from tests.support.labels import blob_labels
from tests.support.training import Running, log_for, publish_labels
from tiebreak.apps.erasing import Order, places
from tiebreak.apps.striking import follow_trail, heed_trail
from tiebreak.contracts.audit import Action
from tiebreak.contracts.codec import encode
from tiebreak.contracts.erasure import digests_of, subject_digest
from tiebreak.contracts.errors import Unreachable
from tiebreak.contracts.ids import pseudonym
from tiebreak.contracts.log import Message, Outputs
from tiebreak.contracts.messages import Label, Task
from tiebreak.contracts.project import Project
from tiebreak.contracts.topics import Topic, specs_for
from tiebreak.deployment.files import FileModelStore
from tiebreak.events.redis_streams import RedisLog
from tiebreak.labeling.port import Stats
from tiebreak.labeling.redis import RedisQueue
from tiebreak.runtime.audit_trail import AuditTrail
from tiebreak.runtime.clock import SystemClock
from tiebreak.runtime.lifecycle import ExitCode
from tiebreak.runtime.project_file import load_project
from tiebreak.runtime.redis_server import RedisServer
from tiebreak.runtime.settings import Options, resolve
from tiebreak.training.sqlite import Ledger

pytestmark = pytest.mark.redis
TEXT = """\
project: tests
input: {tensors: [{name: x, shape: [2]}]}
classes: {names: [a, b, c]}
training: {min_labels: 10, committee: 3, step_s: 0.05, step_labels: 10}
"""
WORD = "a-very-telling-word"


@dataclass
class Site:
    """A project with a queue, and the trail, on the embedded Redis of ``data``."""

    path: Path
    data: Path
    project: Project
    log: RedisLog
    queue: RedisQueue
    tiebreak: CommandLine

    async def run(self, *arguments: object) -> Ended:
        """A command, off this test's event loop."""
        command, *more = arguments
        words = command if isinstance(command, tuple) else (command,)
        return await asyncio.to_thread(self.tiebreak, *words, self.path, *more, "--data", self.data)

    @property
    def ledger(self) -> Path:
        return self.data / "ledger" / "tests.sqlite"

    @property
    def trail(self) -> AuditTrail:
        return AuditTrail(self.log, "tests", SystemClock())

    async def asks(self, *tasks: Task) -> None:
        """On `tasks` and on the queue."""
        topic = Topic.TASKS.of("tests")
        await self.log.writer().publish(Outputs([Message(topic, t.task_id.encode(), encode(t)) for t in tasks]))
        await self.queue.add(tasks)

    async def trained(self, labels: list[Label]) -> None:
        """The ledger has them, and a model that learned from them is in the store."""
        log = await log_for(self.project)
        async with Running(self.project, log, self.ledger) as run:
            await publish_labels(log, self.project, labels)
            await run.trains(len(labels))
        last = run.candidates[-1]
        await FileModelStore(self.data / "models").put(last.manifest, last.model)

    def on_disk(self) -> bytes:
        """Every byte of the ledger and what SQLite keeps beside it."""
        return b"".join(file.read_bytes() for file in self.ledger.parent.iterdir())


def about(subject: str, count: int = 60) -> list[Label]:
    """Labels, every fourth about this person, whose first one holds a word of theirs."""
    labels = [replace(x, subject=subject if i % 4 == 0 else "") for i, x in enumerate(blob_labels(count))]
    labels[0] = replace(labels[0], predicted=WORD)
    return labels


@pytest.fixture
async def site(tmp_path: Path, embedded_redis: RedisServer, tiebreak: CommandLine) -> AsyncIterator[Site]:
    path = tmp_path / "project.yaml"
    path.write_text(TEXT)
    project = load_project(path)
    client = redis.asyncio.Redis.from_url(embedded_redis.url)
    log, queue = RedisLog(client), RedisQueue(client, project)
    await log.ensure_topics(specs_for("tests", 1))
    builder = await queue.begin_build()
    assert builder is not None
    await builder.end_build([])
    yield Site(path, tmp_path / "data", project, log, queue, tiebreak)
    await client.aclose()


async def test_a_person_is_erased_from_queue_ledger_and_exports(site: Site) -> None:
    """One command: what was found and removed is said place by place, and a new export holds not a byte of them."""
    labels = about("ann-17")
    await site.trained(labels)
    await site.asks(
        a_task(1, "tests", subject="ann-17"), a_task(2, "tests", subject="ann-17"), a_task(3, "tests", subject="bob")
    )
    await site.queue.claim("cyd", 1)
    out = site.data / "labels.jsonl"
    await site.run(("dataset", "export"), out)
    assert WORD in out.read_text()
    ended = await site.run("erase", "--subject", "ann-17", "--by", "eve", "--reason", "they asked")
    assert ended.code == 0
    said = ended.out.splitlines()
    assert said[:3] == [
        "On the audit trail.",
        "queue    2 tasks (1 of them in people's hands), 0 answers and 0 lines of people's histories removed.",
        "ledger   15 labels overwritten.",
    ]
    assert said[3].startswith("models   v000060")
    assert "exports  1 made before are not reached" in said[4]
    assert "60 labels to labels.jsonl" in said[4]
    assert "kept are `tasks`, `annotations`, `labels` for ever, as they were sent" in said[6]
    assert await site.queue.stats() == Stats(open_tasks=1, waiting=1, leased=0, in_review=0)
    assert WORD.encode() not in site.on_disk()
    assert "45 labels written" in (await site.run(("dataset", "export"), out)).out
    gone = {(x.label_id, x.event_id, x.task_id) for x in labels if x.subject}
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert not gone & {(row["label_id"], row["event_id"], row["task_id"]) for row in rows}
    assert WORD not in out.read_text()
    tail = (await site.run(("audit", "tail"))).out
    assert [line.split()[2:5] for line in tail.splitlines()][1:3] == [
        ["eve", "subject.erased", digest] for digest in digests_of("tests", "ann-17")
    ]
    assert "ann-17" not in tail
    again = await site.run("erase", "--subject", "ann-17")
    assert "queue    0 tasks, 0 answers" in again.out
    assert "ledger   0 labels overwritten." in again.out


async def test_without_the_audit_trail_nothing_is_erased(site: Site, embedded_redis: RedisServer) -> None:
    """The log is away: the command says so and ends with its code, and the ledger, which is a file, is not touched."""
    await site.trained(about("ann-17"))
    before = site.on_disk()
    embedded_redis.stop()
    ended = await site.run("erase", "--subject", "ann-17")
    embedded_redis.start()
    assert ended.code == ExitCode.UNREACHABLE
    assert ended.err.startswith("Nothing was erased here: the audit trail must have it first")
    assert ended.out == ""
    assert site.on_disk() == before
    assert WORD.encode() in before
    assert "--subject: is empty" in (await site.run("erase", "--subject", "")).err


async def test_a_place_that_is_away_keeps_no_other_from_being_reached(site: Site, tmp_path: Path) -> None:
    """Once it is on record: the queue does not answer, the ledger is erased all the same, and the trouble is handed on."""
    await site.trained(about("ann-17"))
    settings = resolve(Options(redis=f"unix://{tmp_path / 'nobody.sock'}", data=str(site.data)), {})
    told = [place async for place in places(site.project, settings, Order("ann-17", "eve", "why"), [])]
    assert isinstance(told[0].trouble, Unreachable)
    assert told[1].said == "15 labels overwritten"
    assert [place.trouble for place in told[1:]] == [None] * (len(told) - 1)


async def test_a_queue_that_is_not_built_leaves_the_person_out_by_itself(site: Site) -> None:
    """No index, no ledger here: both are said, and neither is a failure, since whoever makes them reads the trail first."""
    await site.queue._client.delete("tb:{tests}:epoch")
    ended = await site.run("erase", "--subject", "ann-17")
    assert ended.code == 0
    assert "queue    not built at the moment; whoever builds it leaves this person out." in ended.out
    assert "ledger   none at " in ended.out


async def test_a_person_is_erased_by_the_original_where_masking_left_a_pseudonym(site: Site) -> None:
    """Labels from before and after masking was turned on: both are found, nobody else's, also by the pseudonym alone."""
    original = "ann@example.org"
    hers, other = (pseudonym("tests", subject) for subject in (original, "bob@example.org"))
    subjects = [original, hers, other, hers]
    await site.trained([replace(x, subject=subjects[i % 4]) for i, x in enumerate(blob_labels(40))])
    assert "ledger   30 labels overwritten." in (await site.run("erase", "--subject", original)).out
    assert "ledger   10 labels overwritten." in (await site.run("erase", "--subject", other)).out


async def test_a_trainer_follows_the_trail_and_a_new_ledger_ends_at_the_same_weights(site: Site) -> None:
    """An erasure from another machine reaches the ledger while it runs; one rebuilt from the topics comes to the same digest."""
    project, labels = site.project, about("ann-17")
    log, stop = await log_for(project), asyncio.Event()
    async with Running(project, log, site.ledger) as run, asyncio.TaskGroup() as group:
        heard = await heed_trail(run.ledger, site.trail)
        group.create_task(follow_trail(site.ledger, site.trail, heard, stop, after_s=0.0))
        await publish_labels(log, project, labels)
        await run.trains(60)
        await site.trail.append("eve", Action.SUBJECT_ERASED, subject_digest("tests", "ann-17"), "on request")
        await eventually(lambda: len(run.candidates[-1].manifest.label_ids) == 36)
        kept = run.candidates[-1].digest
        stop.set()
    assert WORD.encode() not in site.on_disk()
    rebuilt = site.data / "rebuilt.sqlite"
    ledger = Ledger(rebuilt)
    assert await heed_trail(ledger, site.trail) == 1
    ledger.close()
    async with Running(project, log, rebuilt) as run:
        await run.trains(60)
        assert run.candidates[-1].digest == kept
    assert WORD.encode() not in rebuilt.read_bytes()
