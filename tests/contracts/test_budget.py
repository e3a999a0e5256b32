"""One contract for budgets and snapshots: the in-memory twin and Redis answer alike."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import redis.asyncio

from tests.support.eventually import eventually
from tests.support.sampling import project
from tiebreak.contracts.errors import SlowDown
from tiebreak.contracts.ports import Budget, Grant, Lent, Snapshots
from tiebreak.contracts.project import Budget as BudgetSection
from tiebreak.contracts.project import Labeling, Project
from tiebreak.sampling.memory import MemoryBudget, MemorySnapshots
from tiebreak.sampling.redis import RedisBudget, RedisSnapshots

HOURLY = 3600.0


@dataclass(frozen=True)
class Adapter:
    """A way to make budgets of one project, and to say how many tasks are open in it."""

    budget: Callable[[Project], Budget]
    open_tasks: Callable[[int], Awaitable[None]]
    settled: Callable[[int], Awaitable[None]]
    snapshots: Callable[[Project], Snapshots]


def in_memory() -> Adapter:
    waiting = done = 0

    async def open_tasks(count: int) -> None:
        nonlocal waiting
        waiting = count

    async def settled(count: int) -> None:
        nonlocal done
        done = count

    budget = lambda made: MemoryBudget(made, lambda: waiting, lambda: done)  # noqa: E731
    return Adapter(budget, open_tasks, settled, lambda _: MemorySnapshots())


def in_redis(client: redis.asyncio.Redis) -> Adapter:
    async def open_tasks(count: int) -> None:
        await client.set("tb:{p}:open_tasks", count)

    async def settled(count: int) -> None:
        await client.set("tb:{p}:settled_tasks", count)

    return Adapter(
        lambda made: RedisBudget(client, made, server_clock=False),
        open_tasks,
        settled,
        lambda made: RedisSnapshots(client, made),
    )


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def adapter(request: pytest.FixtureRequest) -> Adapter:
    return in_memory() if request.param == "memory" else in_redis(request.getfixturevalue("redis_client"))


def made(*, rate: float = HOURLY, carry_over: int = 10, max_open: int = 1000) -> Project:
    """A project that earns ``rate`` labels an hour: one a second by default."""
    return project(budget=BudgetSection(labels_per_hour=rate, carry_over=carry_over, max_open_tasks=max_open))


async def test_a_new_budget_starts_with_its_carry_over(adapter: Adapter) -> None:
    """Ten labels are there at once, the eleventh is refused."""
    budget = adapter.budget(made())
    assert await budget.take(8, 100.0, "b1") == Grant(8, 0)
    assert await budget.take(8, 100.0, "b2") == Grant(2, 0)
    assert await budget.take(1, 100.0, "b3") == Grant(0, 0)


async def test_time_earns_labels_up_to_the_carry_over(adapter: Adapter) -> None:
    """Three seconds earn three labels; an hour earns the carry-over, not 3,600."""
    budget = adapter.budget(made())
    await budget.take(10, 100.0, "b1")
    assert await budget.take(100, 103.0, "b2") == Grant(3, 0)
    assert await budget.take(100, 3703.0, "b3") == Grant(10, 0)


async def test_small_refills_add_up(adapter: Adapter) -> None:
    """A tenth of a label ten times over is one label, rounding or not."""
    budget = adapter.budget(made())
    await budget.take(10, 100.0, "b")
    for tenth in range(1, 10):
        assert (await budget.take(1, 100.0 + tenth / 10, f"t{tenth}")).granted == 0
    assert (await budget.take(1, 101.0, "t10")).granted == 1


async def test_a_replayed_batch_is_charged_once(adapter: Adapter) -> None:
    """The same batch key gets its first answer, with an empty bucket and with a full one, and pays once."""
    budget = adapter.budget(made())
    assert await budget.take(4, 100.0, "b1") == Grant(4, 0)
    assert await budget.take(4, 100.0, "b1") == Grant(4, 0)
    assert await budget.take(10, 100.0, "b2") == Grant(6, 0)
    assert await budget.take(10, 200.0, "b2") == Grant(6, 0)
    assert await budget.take(2, 200.0, "b2") == Grant(2, 0)


async def test_a_full_queue_refuses(adapter: Adapter) -> None:
    """No more than the queue has room for is granted, and the answer says how many tasks wait."""
    budget = adapter.budget(made(max_open=20))
    await adapter.open_tasks(17)
    assert await budget.take(10, 100.0, "b1") == Grant(3, 17)
    await adapter.open_tasks(25)
    assert await budget.take(10, 100.0, "b2") == Grant(0, 25)


async def test_nothing_wanted_is_nothing_granted(adapter: Adapter) -> None:
    """Zero and less take nothing, answer nothing, and do not settle the batch."""
    budget = adapter.budget(made())
    assert await budget.take(0, 100.0, "b1") == Grant(0, 0)
    assert await budget.take(-5, 100.0, "b1") == Grant(0, 0)
    assert await budget.take(3, 100.0, "b1") == Grant(3, 0)


async def test_a_clock_that_goes_back_earns_nothing(adapter: Adapter) -> None:
    """After an hour back no label is earned for it, and the seconds from there on count again."""
    budget = adapter.budget(made())
    await budget.take(10, 5000.0, "b1")
    assert (await budget.take(5, 1400.0, "b2")).granted == 0
    assert (await budget.take(5, 1402.0, "b3")).granted == 2


async def test_a_burst_borrows_once_and_pays_back(adapter: Adapter) -> None:
    """Twenty borrowed labels are there at once, once per burst; half of each refill then goes to the debt."""
    budget = adapter.budget(made())
    await budget.take(10, 100.0, "b1")
    await budget.borrow(Lent("burst-1", 20), 100.0)
    await budget.borrow(Lent("burst-1", 20), 100.0)
    assert (await budget.take(100, 100.0, "b2")).granted == 20
    assert (await budget.take(100, 110.0, "b3")).granted == 5
    assert (await budget.take(100, 140.0, "b4")).granted == 10
    assert (await budget.take(100, 145.0, "b5")).granted == 5


async def test_replicas_share_one_burst(adapter: Adapter) -> None:
    """While a burst is open whoever asks for another gets it, with nothing lent twice; each id has its answer again in a replay."""
    first = adapter.budget(made())
    # The twin is one object for all; in Redis each replica has its own.
    second = first if isinstance(first, MemoryBudget) else adapter.budget(made())
    await first.take(10, 100.0, "b1")
    ours = Lent("burst-1", 20, "slice old", 3)
    assert await first.borrow(ours, 100.0, 3600.0) == ours
    assert await second.borrow(Lent("burst-2", 30, "predicted a"), 101.0, 3600.0) == ours
    assert await second.take(100, 101.0, "b2") == Grant(20, 0, ours)
    assert await first.borrow(ours, 102.0, 3600.0) == ours
    assert await second.borrow(Lent("burst-2", 30, "predicted a"), 103.0, 3600.0) == ours


async def test_a_batch_that_comes_again_is_told_of_the_burst_of_then(adapter: Adapter) -> None:
    """What was open when it came first, or that nothing was; whatever is open by now."""
    budget = adapter.budget(made())
    ours = Lent("burst-1", 20, "slice old")
    assert await budget.take(3, 100.0, "before") == Grant(3, 0, Lent())
    await budget.borrow(ours, 100.0, 3600.0)
    assert await budget.take(2, 100.0, "after") == Grant(2, 0, ours)
    assert await budget.take(3, 101.0, "before") == Grant(3, 0, Lent())
    assert await budget.take(2, 101.0, "after") == Grant(2, 0, ours)


@pytest.mark.redis
async def test_a_burst_that_borrowed_before_bursts_were_shared_borrows_no_more(
    redis_client: redis.asyncio.Redis,
) -> None:
    """A replay of it after an upgrade gets its own burst back, and no labels."""
    budget = RedisBudget(redis_client, made(), server_clock=False)
    await budget.take(10, 100.0, "b1")
    await budget.borrow(Lent("burst-1", 20), 100.0)
    key = next(key for key in [key async for key in redis_client.scan_iter()] if b":burst:" in key)
    await redis_client.set(key, 1)
    assert await budget.borrow(Lent("burst-1", 20), 100.0) == Lent("burst-1", 20)
    assert (await budget.take(100, 100.0, "b2")).granted == 20


async def test_a_burst_is_shared_no_longer_than_its_rest(adapter: Adapter) -> None:
    """Once its rest is over another burst is lent, and a take tells of no burst any more."""
    budget = adapter.budget(made())
    await budget.borrow(Lent("burst-1", 5), 100.0, 0.2)
    now = 100.0

    async def over() -> bool:
        nonlocal now
        now += 0.05
        return (await budget.take(0, now, "b")).burst == Lent()

    await eventually(over)
    assert await budget.borrow(Lent("burst-2", 7), now, 10.0) == Lent("burst-2", 7)


async def test_a_burst_before_the_first_batch_adds_to_the_carry_over(adapter: Adapter) -> None:
    """Borrowing from a budget nobody has used yet gives carry-over and loan; a negative loan gives nothing."""
    budget = adapter.budget(made())
    await budget.borrow(Lent("burst-1", 5), 0.0)
    await budget.borrow(Lent("burst-2", -7), 0.0)
    assert (await budget.take(100, 100.0, "b1")).granted == 15


async def test_over_any_span_no_more_is_spent_than_earned(adapter: Adapter) -> None:
    """Greedy takes at random times: every window's grants stay within carry-over, rate times span, and what was borrowed."""
    budget = adapter.budget(made(rate=2 * HOURLY, carry_over=7))
    chance = random.Random(5)
    now, spent, loans = 0.0, [], []
    for turn in range(200):
        now += chance.expovariate(3.0)
        if turn % 60 == 59:
            await budget.borrow(Lent(f"burst-{turn}", 9), now)
            loans.append((now, 9))
        grant = await budget.take(chance.randrange(6), now, f"b{turn}")
        spent.append((now, grant.granted))
    for first, (start, _) in enumerate(spent):
        total = 0
        for end, granted in spent[first:]:
            total += granted
            borrowed = sum(labels for _, labels in loans)
            assert total <= 7 + 2.0 * (end - start) + borrowed + 1e-6
    # Half of the refills pays the loans back: the whole run costs no more than carry-over, refills and open debt.
    assert sum(granted for _, granted in spent) <= 7 + 2.0 * now + 27


async def test_snapshots_come_back_as_they_went(adapter: Adapter) -> None:
    """Bytes are kept per key, the newest wins, and an unknown key is None."""
    snapshots = adapter.snapshots(made())
    assert await snapshots.load("0-1") is None
    await snapshots.save("0-1", b"\x00old")
    await snapshots.save("0-1", b"\x00new\xff")
    await snapshots.save("latest", b"other")
    assert (await snapshots.load("0-1"), await snapshots.load("latest")) == (b"\x00new\xff", b"other")


@pytest.mark.redis
async def test_twin_and_redis_agree_step_by_step(redis_client: redis.asyncio.Redis) -> None:
    """Five hundred random takes, loans, replays and backlogs get the same answers from both."""
    chance = random.Random(11)
    pair = (in_memory(), in_redis(redis_client))
    twin, real = (adapter.budget(made(rate=5000.0, carry_over=13, max_open=40)) for adapter in pair)
    now = 1000.0
    for turn in range(500):
        now += chance.choice((0.0, 0.01, 0.5, 3.0, -1.0))
        if chance.random() < 0.1:
            for budget in (twin, real):
                await budget.borrow(Lent(f"burst-{turn // 3}", turn % 17), now)
        if chance.random() < 0.2:
            waiting = chance.randrange(50)
            for adapter in pair:
                await adapter.open_tasks(waiting)
        wanted, key = chance.randrange(-1, 9), f"b{turn - chance.randrange(3)}"
        assert await twin.take(wanted, now, key) == await real.take(wanted, now, key), turn


@pytest.mark.redis
async def test_by_default_the_servers_clock_counts(redis_client: redis.asyncio.Redis) -> None:
    """A replica whose clock is a day ahead earns nothing by it."""
    budget = RedisBudget(redis_client, made(rate=1.0))
    assert (await budget.take(10, 0.0, "b1")).granted == 10
    assert (await budget.take(10, 86_400.0, "b2")).granted == 0


@pytest.mark.redis
async def test_an_absent_redis_means_slow_down(redis_url: str) -> None:
    """While Redis is away every call raises SlowDown, so that the batch is offered again, never skipped."""
    client = redis.asyncio.Redis.from_url(redis_url + ".gone")
    budget, snapshots = RedisBudget(client, made()), RedisSnapshots(client, made())
    for call in (
        budget.take(1, 0.0, "b"),
        budget.borrow(Lent("x", 1), 0.0),
        snapshots.load("k"),
        snapshots.save("k", b""),
    ):
        with pytest.raises(SlowDown):
            await call
    await client.aclose()


@pytest.mark.redis
async def test_all_keys_of_a_project_share_one_hash_tag(redis_client: redis.asyncio.Redis) -> None:
    """A cluster can run the scripts: every key written has the project's tag."""
    budget = RedisBudget(redis_client, made())
    await budget.take(1, 0.0, "b")
    await budget.borrow(Lent("x", 1), 0.0)
    await RedisSnapshots(redis_client, made()).save("0", b"s")
    keys = [key async for key in redis_client.scan_iter()]
    assert len(keys) == 4
    assert all(key.startswith(b"tb:{p}:") for key in keys)


def priced(*, money: float = 3600.0) -> Project:
    """A project that earns a unit of money a second, an hour's worth at most, and labels without end."""
    section = BudgetSection(labels_per_hour=1e6, carry_over=1000, money_per_hour=money)
    return project(budget=section, labeling=Labeling(cost_per_answer=1.0))


async def test_money_buys_what_it_buys(adapter: Adapter) -> None:
    """Of a bill only the tasks from the first on that the purse pays for are granted; time earns more; a replay pays nothing."""
    budget = adapter.budget(priced())
    assert await budget.take(3, 100.0, "b1", [2000.0, 1500.0, 200.0]) == Grant(2, 0)
    assert await budget.take(3, 100.0, "b1", [2000.0, 1500.0, 200.0]) == Grant(2, 0)
    assert await budget.take(2, 100.0, "b2", [90.0, 20.0]) == Grant(1, 0)
    assert await budget.take(2, 115.0, "b3", [20.0, 10.0]) == Grant(1, 0)
    assert await budget.take(2, 140.0, "b4", [20.0, 10.0]) == Grant(2, 0)


async def test_a_task_dearer_than_the_purse_is_bought_by_a_full_one(adapter: Adapter) -> None:
    """It would else stand in the way of all that come after it; what it cost too much is earned before anything else is bought."""
    budget = adapter.budget(priced())
    assert await budget.take(2, 100.0, "b1", [5000.0, 1.0]) == Grant(1, 0)
    assert await budget.take(1, 1400.0, "b2", [1.0]) == Grant(0, 0)
    assert await budget.take(1, 1502.0, "b3", [1.0]) == Grant(1, 0)


async def test_money_and_labels_bind_together(adapter: Adapter) -> None:
    """Whichever runs out first refuses, and what the other had not to give is not paid."""
    section = BudgetSection(labels_per_hour=1.0, carry_over=2, money_per_hour=3600.0)
    budget = adapter.budget(project(budget=section, labeling=Labeling(cost_per_answer=1.0)))
    assert await budget.take(3, 100.0, "b1", [1000.0] * 3) == Grant(2, 0)
    assert await budget.take(1, 3701.0, "b2", [3600.0]) == Grant(1, 0)


async def test_a_burst_borrows_money_too(adapter: Adapter) -> None:
    """Once per burst; refills pay the loan back."""
    budget = adapter.budget(priced())
    assert await budget.take(1, 100.0, "b1", [3600.0]) == Grant(1, 0)
    await budget.borrow(Lent("burst", 2), 100.0, money=100.0)
    await budget.borrow(Lent("burst", 2), 100.0, money=100.0)
    assert await budget.take(2, 100.0, "b2", [50.0, 50.0]) == Grant(2, 0)
    assert await budget.take(1, 110.0, "b3", [6.0]) == Grant(0, 0)
    assert await budget.take(1, 112.0, "b4", [6.0]) == Grant(1, 0)


@pytest.mark.redis
async def test_twin_and_redis_agree_on_money_too(redis_client: redis.asyncio.Redis) -> None:
    """Four hundred random steps with bills and loans: the same grants from both."""
    rng = random.Random(11)
    money = Labeling(cost_per_answer=1.0)
    made_of = project(budget=BudgetSection(labels_per_hour=7200.0, carry_over=30, money_per_hour=36.0), labeling=money)
    twin, real = in_memory().budget(made_of), in_redis(redis_client).budget(made_of)
    now = 100.0
    for step in range(400):
        now += rng.choice([0.0, 0.3, 20.0, 700.0])
        bill = [rng.choice([0.01, 0.5, 3.0, 40.0]) for _ in range(rng.randrange(0, 6))]
        assert await twin.take(len(bill), now, f"s{step}", bill) == await real.take(len(bill), now, f"s{step}", bill)
        if rng.random() < 0.1:
            for budget in (twin, real):
                await budget.borrow(Lent(f"burst{step}", 3), now, money=2.5)


def aged(*, rate: float = 3600.0) -> Project:
    """A project whose tasks may wait 100 s, declared with one label a second, and labels to spare."""
    return project(budget=BudgetSection(labels_per_hour=rate, carry_over=1000, max_open_tasks=500, queue_age_s=100.0))


async def test_a_queue_is_as_long_as_people_settle_in_time(adapter: Adapter) -> None:
    """At the declared pace of one a second fifty may wait; where nobody settles, the ten that always may; where many do, more."""
    budget = adapter.budget(aged())
    assert (await budget.take(400, 100.0, "b0")).granted == 50
    await adapter.open_tasks(50)
    assert (await budget.take(400, 100.0, "b1")).granted == 0
    for minute in range(1, 10):
        await budget.take(1, 100.0 + 60 * minute, f"idle{minute}")
    await adapter.open_tasks(0)
    assert (await budget.take(400, 700.0, "b2")).granted == 10
    await adapter.settled(600)
    assert (await budget.take(400, 800.0, "b3")).granted > 200


async def test_a_count_that_fell_says_nothing_of_people(adapter: Adapter) -> None:
    """A queue built anew counts from 0: the pace is what it was, not negative, and goes on from there."""
    budget = adapter.budget(aged())
    await adapter.settled(1000)
    assert (await budget.take(400, 100.0, "b1")).granted == 50
    await adapter.settled(0)
    assert (await budget.take(400, 100.0, "b2")).granted == 50
    assert (await budget.take(400, 50.0, "b3")).granted == 50


@pytest.mark.redis
async def test_twin_and_redis_agree_on_the_pace_too(redis_client: redis.asyncio.Redis) -> None:
    """Four hundred random steps of people, queue and clock: the same grants from both."""
    rng = random.Random(5)
    both = in_memory(), in_redis(redis_client)
    now, done = 100.0, 0
    twin, real = (adapter.budget(aged()) for adapter in both)
    for step in range(400):
        now += rng.choice([0.0, 0.4, 30.0, -3.0])
        done = max(0, done + rng.choice([0, 1, 7, -40]))
        waiting = rng.randrange(0, 80)
        for adapter in both:
            await adapter.open_tasks(waiting)
            await adapter.settled(done)
        wanted = rng.randrange(0, 20)
        assert await twin.take(wanted, now, f"s{step}") == await real.take(wanted, now, f"s{step}")
