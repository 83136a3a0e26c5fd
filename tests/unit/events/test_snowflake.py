"""Ids: their layout, their order, and when none is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from events.errors import ClockWentBack, LeaseLost
from events.snowflake import (
    EPOCH_MS,
    SEQUENCE_MAX,
    TIME_MS_MAX,
    LeaseStore,
    Parts,
    SnowflakeMinter,
    compose,
    parts_of,
    time_of,
)
from tests.unit.events.doubles import MemoryLeases
from tests.unit.events.lease_suite import LEASE, NOW, LeaseSuite

MARGIN = 10_000


class TestLeasesInMemory(LeaseSuite):
    @pytest.fixture
    def leases(self) -> LeaseStore:
        return MemoryLeases(machines=2)


class Clocks:
    """A wall clock and a monotonic one, moved by hand; ``ticking`` moves both when read."""

    def __init__(self) -> None:
        self.now_ms = NOW
        self.seconds = 1000.0
        self.ticking_from: int | None = None
        self.reads = 0

    def wall(self) -> int:
        self.reads += 1
        if self.ticking_from is not None and self.reads > self.ticking_from:
            self.now_ms += 1
        return self.now_ms

    def monotonic(self) -> float:
        return self.seconds

    def pass_ms(self, ms: int) -> None:
        self.now_ms += ms
        self.seconds += ms / 1000


def minter_of(store: LeaseStore, clocks: Clocks) -> SnowflakeMinter:
    return SnowflakeMinter(
        store, lease_ms=LEASE, margin_ms=MARGIN, clock_ms=clocks.wall, monotonic=clocks.monotonic
    )


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def store() -> MemoryLeases:
    return MemoryLeases()


@pytest.fixture
async def minter(store: MemoryLeases, clocks: Clocks) -> AsyncIterator[SnowflakeMinter]:
    opened = minter_of(store, clocks)
    await opened.open()
    yield opened
    store.away = False
    await opened.close()


def test_a_known_id_comes_apart_as_twitter_made_it() -> None:
    # https://twitter.com/Wikipedia/status/1541815603606036480, 2022-06-28T16:07:40.105Z
    assert parts_of(1541815603606036480) == Parts(1656432460105, 11, 26, 0)


def test_bits_are_where_the_layout_says() -> None:
    assert compose(EPOCH_MS + 1, 0, 0) == 1 << 22
    assert compose(EPOCH_MS, 1 << 5, 0) == 1 << 17
    assert compose(EPOCH_MS, 1, 0) == 1 << 12
    assert compose(EPOCH_MS, 0, 4095) == 4095
    assert compose(TIME_MS_MAX, 1023, 4095) == 2**63 - 1


@given(
    st.integers(EPOCH_MS, TIME_MS_MAX),
    st.integers(0, 31),
    st.integers(0, 31),
    st.integers(0, SEQUENCE_MAX),
)
def test_parts_come_back(time_ms: int, datacenter: int, worker: int, sequence: int) -> None:
    snowflake = compose(time_ms, datacenter << 5 | worker, sequence)
    assert parts_of(snowflake) == Parts(time_ms, datacenter, worker, sequence)
    assert time_of(snowflake) == time_ms


async def test_ids_increase_and_carry_time_and_machine(
    minter: SnowflakeMinter, clocks: Clocks
) -> None:
    one, two = await minter.mint(), await minter.mint()
    clocks.pass_ms(1)
    three = await minter.mint()
    assert one < two < three
    assert [time_of(one), time_of(three)] == [NOW, NOW + 1]
    assert parts_of(two).worker == minter.machine


async def test_a_used_up_millisecond_makes_the_next_one_wait(
    minter: SnowflakeMinter, clocks: Clocks
) -> None:
    used = await minter.mint_many(SEQUENCE_MAX + 1)
    waiting = asyncio.create_task(minter.mint())
    reads = clocks.reads
    while clocks.reads < reads + 5:  # noqa: ASYNC110  (until it has looked at the clock)
        await asyncio.sleep(0)
    assert not waiting.done()
    clocks.pass_ms(1)
    after = await asyncio.wait_for(waiting, 5)
    assert {time_of(each) for each in used} == {NOW}
    assert (time_of(after), parts_of(after).sequence) == (NOW + 1, 0)
    assert after > used[-1]


async def test_many_ids_span_milliseconds_in_order(minter: SnowflakeMinter, clocks: Clocks) -> None:
    clocks.ticking_from = clocks.reads
    minted = await asyncio.wait_for(minter.mint_many(10_000), 10)
    assert minted == sorted(set(minted))
    assert len(minted) == 10_000


async def test_a_clock_that_goes_back_is_refused_with_the_drift(
    minter: SnowflakeMinter, clocks: Clocks
) -> None:
    before = await minter.mint()
    refused = REGISTRY.get_sample_value("murmur_snowflake_clock_went_back_total") or 0
    clocks.now_ms -= 250
    with pytest.raises(ClockWentBack, match="250 ms") as caught:
        await minter.mint()
    assert caught.value.drift_ms == 250
    with pytest.raises(ClockWentBack):
        await minter.mint_many(2)
    assert REGISTRY.get_sample_value("murmur_snowflake_clock_drift_ms") == 250
    assert REGISTRY.get_sample_value("murmur_snowflake_clock_went_back_total") == refused + 2
    clocks.now_ms += 250
    assert await minter.mint() > before


async def test_a_holder_stops_before_its_lease_ends_and_goes_on_when_it_is_extended(
    minter: SnowflakeMinter, clocks: Clocks, store: MemoryLeases
) -> None:
    store.away = True
    clocks.pass_ms(LEASE - MARGIN - 1)
    await minter.mint()
    clocks.pass_ms(1)
    with pytest.raises(LeaseLost):
        await minter.mint()
    store.away = False
    assert time_of(await minter.mint()) == clocks.now_ms


async def test_the_monotonic_clock_stops_a_holder_whose_wall_clock_stands_still(
    minter: SnowflakeMinter, clocks: Clocks, store: MemoryLeases
) -> None:
    store.away = True
    clocks.seconds += (LEASE - MARGIN) / 1000
    with pytest.raises(LeaseLost):
        await minter.mint()


async def test_a_wall_clock_that_jumps_past_the_lease_mints_nothing_unleased(
    minter: SnowflakeMinter, clocks: Clocks, store: MemoryLeases
) -> None:
    store.away = True
    clocks.now_ms += 2 * LEASE
    with pytest.raises(LeaseLost):
        await minter.mint()


async def test_a_slow_request_shortens_the_lease(clocks: Clocks) -> None:
    class Slow(MemoryLeases):
        async def claim(self, now_ms: int, lease_ms: int):  # type: ignore[no-untyped-def]
            lease = await super().claim(now_ms, lease_ms)
            clocks.pass_ms(LEASE - MARGIN)
            self.away = True
            return lease

    slow = Slow()
    minter = minter_of(slow, clocks)
    await minter.open()
    with pytest.raises(LeaseLost):
        await minter.mint()
    slow.away = False
    await minter.close()


async def test_a_holder_that_woke_up_late_takes_another_machine_and_never_repeats_an_id(
    store: MemoryLeases, clocks: Clocks
) -> None:
    paused, others = minter_of(store, clocks), [minter_of(store, clocks) for _ in range(2)]
    await paused.open()
    minted = await paused.mint_many(3)
    machine = paused.machine
    clocks.pass_ms(LEASE + 1)
    await others[0].open()
    assert others[0].machine == machine
    minted += await others[0].mint_many(3)
    minted += await paused.mint_many(3)
    assert paused.machine != machine
    assert len(set(minted)) == len(minted)
    for each in (paused, *others):
        await each.close()


async def test_a_minter_that_was_closed_leaves_its_machine_to_the_next_at_once(
    store: MemoryLeases, clocks: Clocks
) -> None:
    first = minter_of(store, clocks)
    await first.open()
    last, machine = await first.mint(), first.machine
    await first.close()
    assert first.machine is None
    clocks.pass_ms(1)
    second = minter_of(store, clocks)
    await second.open()
    assert second.machine == machine
    assert await second.mint() > last
    await second.close()


async def test_a_closed_minter_mints_nothing_and_takes_no_lease(
    store: MemoryLeases, clocks: Clocks
) -> None:
    minter = minter_of(store, clocks)
    with pytest.raises(LeaseLost, match="closed"):
        await minter.mint()
    await minter.open()
    await minter.close()
    await minter.close()
    with pytest.raises(LeaseLost, match="closed"):
        await minter.mint()
    assert [holder for holder, _ in store.rows.values()] == [""]


async def test_a_margin_that_leaves_nothing_is_refused(store: MemoryLeases) -> None:
    with pytest.raises(ValueError, match="margin_ms"):
        SnowflakeMinter(store, lease_ms=10, margin_ms=10)
