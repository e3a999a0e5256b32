"""The log's contract on groups, over memory, Redis Streams and Kafka alike: who owns what, and what a crash leaves behind."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from tests.support.eventually import eventually
from tests.support.log_clients import fresh_topic, messages, publish, reading, take, values
from tiebreak.contracts.errors import NotAssigned
from tiebreak.contracts.log import Log, Message, Outputs, Partition


@dataclass
class Register:
    """Who owns what, as the listeners are told; a second owner is recorded as a clash."""

    owners: dict[Partition, str] = field(default_factory=dict)
    clashes: list[tuple[Partition, str, str]] = field(default_factory=list)

    def member(self, name: str) -> Member:
        return Member(name, self)

    def shares(self) -> list[int]:
        """How many partitions each owner has, least first."""
        owned = list(self.owners.values())
        return sorted(owned.count(name) for name in set(owned))


@dataclass
class Member:
    """A listener that writes into the register."""

    name: str
    register: Register

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        for partition in partitions:
            owner = self.register.owners.setdefault(partition, self.name)
            if owner != self.name:
                self.register.clashes.append((partition, owner, self.name))

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        for partition in partitions:
            del self.register.owners[partition]


async def test_every_partition_has_one_owner_while_members_come_and_go(log: Log) -> None:
    """One, two, three members, then two again: all partitions covered each time, dealt out evenly, none ever owned by two."""
    topic = await fresh_topic(log, 6)
    register = Register()
    async with AsyncExitStack() as members:
        for count, shares in ((1, [6]), (2, [3, 3]), (3, [2, 2, 2])):
            await members.enter_async_context(reading(log, topic, "g", register.member(str(count))))
            await eventually(lambda expected=shares: register.shares() == expected, what=f"shares {shares}")  # type: ignore[misc]
        last = await members.enter_async_context(reading(log, topic, "g", register.member("4")))
        await eventually(lambda: len(register.shares()) == 4)
        await last.close(5.0)
        await eventually(lambda: register.shares() == [2, 2, 2])
    assert (register.owners, register.clashes) == ({}, [])


async def test_members_share_the_records_and_repeat_none_that_is_committed(log: Log) -> None:
    """Two members read a topic together; when one leaves, the other goes on at its committed positions."""
    topic = await fresh_topic(log, 2)
    await publish(log, Outputs([Message(topic, b"k", b"%d" % i, (), i % 2) for i in range(10)]))
    async with reading(log, topic, "g") as first:
        async with reading(log, topic, "g") as second:
            await eventually(lambda: len(first.assignment()) == len(second.assignment()) == 1)
            mine, theirs = await take(first, 5), await take(second, 5)
            assert sorted(values([*mine, *theirs]), key=int) == [str(i) for i in range(10)]
            await first.commit({Partition(topic, mine[0].partition): 5})
            await second.commit({Partition(topic, theirs[0].partition): 3})
        await eventually(lambda: len(first.assignment()) == 2)
        assert values(await take(first, 2)) == values(theirs[3:])


async def test_a_commit_for_a_partition_that_moved_on_is_refused(log: Log) -> None:
    """After a rebalance the former owner cannot move the position, and the new owner's position stands."""
    topic = await fresh_topic(log, 2)
    await publish(log, Outputs([Message(topic, b"k", b"v", (), i % 2) for i in range(8)]))
    async with reading(log, topic, "g") as first:
        await take(first, 8)
        async with reading(log, topic, "g") as second:
            await eventually(lambda: len(first.assignment()) == len(second.assignment()) == 1)
            (moved,) = second.assignment()
            await second.commit({moved: 4})
            with pytest.raises(NotAssigned):
                await first.commit({moved: 1})
            assert await second.committed() == {moved: 4}


async def test_a_crash_between_publish_and_commit_repeats_the_batch(log: Log) -> None:
    """Outputs acknowledged, position not yet committed, reader gone: the next owner is given the same records again."""
    topic = await fresh_topic(log)
    out = await fresh_topic(log, project=topic.split(".")[1], name="predictions")
    await publish(log, messages(topic, ["a", "b"]))
    for _ in range(2):
        async with reading(log, topic, "g") as reader:
            batch = await take(reader, 2)
            await publish(log, messages(out, values(batch)))
    async with reading(log, topic, "g") as reader:
        await take(reader, 2)
        await reader.commit({Partition(topic, 0): 2})
    async with reading(log, topic, "g") as reader:
        assert await reader.poll(10, 0.3) == {}
    async with reading(log, out, None) as reader:
        assert values(await take(reader, 4)) == ["a", "b", "a", "b"]
