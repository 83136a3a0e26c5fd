"""Sharing work: nobody is given what was begun before he asked, and N askers cost two doings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from projections.base import Overloaded, PartlyRead, RetryableError
from projections.flights import Bulkhead, Flights, Gathered


class Fact:
    """A value that changes, and a slow way to read it."""

    def __init__(self) -> None:
        self.value = 0
        self.reads = 0
        self.go = asyncio.Event()
        self.away = False

    async def read(self) -> int:
        self.reads += 1
        found = self.value
        await self.go.wait()
        if self.away:
            raise RetryableError("away")
        return found

    async def load(self, ids: Sequence[int]) -> dict[int, int]:
        found = await self.read()
        return dict.fromkeys(ids, found)


async def asked(tasks: int = 1) -> None:
    for _ in range(3 * tasks):
        await asyncio.sleep(0)


async def test_who_comes_later_shares_a_reading_that_begins_later() -> None:
    fact, flights = Fact(), Flights[str, int]()
    first = asyncio.create_task(flights.run("k", fact.read))
    await asked()
    fact.value = 1
    later = [asyncio.create_task(flights.run("k", fact.read)) for _ in range(1_000)]
    await asked()
    fact.go.set()
    assert await first == 0
    assert set(await asyncio.gather(*later)) == {1}
    assert fact.reads == 2
    assert not flights._flights


async def test_keys_do_not_wait_for_each_other() -> None:
    fact, flights = Fact(), Flights[str, int]()
    both = [asyncio.create_task(flights.run(key, fact.read)) for key in "ab"]
    await asked()
    assert fact.reads == 2
    fact.go.set()
    await asyncio.gather(*both)


async def test_a_failure_is_told_to_all_and_one_who_gives_up_takes_nobody_down() -> None:
    fact, flights = Fact(), Flights[str, int]()
    tasks = [asyncio.create_task(flights.run("k", fact.read)) for _ in range(3)]
    await asked()
    tasks[0].cancel()
    tasks[1].cancel()
    await asked()
    fact.go.set()
    assert await tasks[2] == 0
    fact.away = True
    results = await asyncio.gather(
        *(flights.run("k", fact.read) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(result, RetryableError) for result in results)
    assert not flights._flights


async def test_gathered_loads_are_few_fresh_and_hold_each_id_once() -> None:
    fact = Fact()
    gathered = Gathered(fact.load, loads_max=2, ids_max=100, waiting_max=2)
    first = [asyncio.create_task(gathered([1])) for _ in range(2)]
    await asked()
    fact.value = 1
    later = [asyncio.create_task(gathered([1, 2 + n % 5])) for n in range(500)]
    await asked()
    fact.go.set()
    assert await asyncio.gather(*first) == [{1: 0}, {1: 0}]
    found = await asyncio.gather(*later)
    assert all(set(one.values()) == {1} and len(one) == 2 for one in found)
    assert fact.reads == 3


async def test_gathered_loads_that_wait_are_bounded() -> None:
    fact = Fact()
    gathered = Gathered(fact.load, loads_max=1, ids_max=2, waiting_max=1)
    under_way = [asyncio.create_task(gathered([n])) for n in range(3)]
    await asked()
    with pytest.raises(Overloaded):
        await gathered([9])
    fact.go.set()
    await asyncio.gather(*under_way)
    assert await gathered([9]) == {9: 0}


async def test_of_a_gathered_load_everybody_misses_only_his_own() -> None:
    held = asyncio.Event()

    async def load(ids: Sequence[int]) -> dict[int, int]:
        await held.wait()
        raise PartlyRead("away", {i: i for i in ids if i < 10}, [i for i in ids if i >= 10])

    gathered = Gathered(load, loads_max=1, ids_max=100, waiting_max=1)
    tasks = [asyncio.create_task(gathered(ids)) for ids in ([10], [1, 2], [3, 11])]
    await asked()
    held.set()
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, PartlyRead)
    assert second == {1: 1, 2: 2}
    assert isinstance(third, PartlyRead)
    assert third.found == {3: 3}
    assert third.missing == {11}


async def test_a_bulkhead_holds_so_many_and_refuses_who_would_wait_too_long() -> None:
    bulkhead, inside, most = Bulkhead(2, 3), 0, 0
    go = asyncio.Event()

    async def work() -> None:
        nonlocal inside, most
        async with bulkhead:
            inside += 1
            most = max(most, inside)
            await go.wait()
            inside -= 1

    tasks = [asyncio.create_task(work()) for _ in range(10)]
    await asked(10)
    assert sum(task.done() for task in tasks) == 5
    go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(result, Overloaded) for result in results) == 5
    assert most == 2
