"""Snowflake ids: unique, ordered by time, minted without asking anybody.

Layout, from the highest bit (Twitter's, and the brief's)::

    0 | 41 bits: milliseconds since EPOCH_MS | 5 bits: datacenter | 5 bits: worker | 12 bits:
    sequence

Datacenter and worker together are the machine id. It is leased (``events.leases``), and a lease is
a range of time: its holder mints only ids whose milliseconds lie in ``[from_ms, until_ms]``, and
the ranges granted for one machine id never overlap. So ids are unique whatever clocks do, and
whoever is late: a paused holder that wakes up mints inside its old range or not at all.

Keeps true:
- Ids of one minter increase. A clock that goes back is refused, with the drift in the error.
- A holder stops ``margin_ms`` before its lease ends, measured on the monotonic clock from before
  the lease was asked for, so that no two processes use one machine id at one time either.
- No more than 4,096 ids a millisecond: the next one waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from events import metrics
from events.errors import ClockWentBack, LeaseLost, RetryableError

EPOCH_MS = 1288834974657  # 2010-11-04T01:42:54.657Z, Twitter's
SEQUENCE_BITS = 12
MACHINE_BITS = 10
WORKER_BITS = 5
TIME_SHIFT = MACHINE_BITS + SEQUENCE_BITS
SEQUENCE_MAX = (1 << SEQUENCE_BITS) - 1
MACHINES = 1 << MACHINE_BITS
TIME_MS_MAX = EPOCH_MS + (1 << 41) - 1  # 2080-07-10

LEASE_MS = 60_000
MARGIN_MS = 10_000

_logger = logging.getLogger(__name__)


def wall_clock_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


class Parts(msgspec.Struct, frozen=True):
    """What an id is made of.

    Attributes:
        time_ms: Milliseconds since the Unix epoch.
        datacenter: 0 to 31.
        worker: 0 to 31.
        sequence: 0 to 4,095.
    """

    time_ms: int
    datacenter: int
    worker: int
    sequence: int


def compose(time_ms: int, machine: int, sequence: int) -> int:
    """The id of a millisecond since the Unix epoch, a machine id and a sequence number."""
    return (time_ms - EPOCH_MS) << TIME_SHIFT | machine << SEQUENCE_BITS | sequence


def parts_of(snowflake: int) -> Parts:
    """Take an id apart."""
    machine = (snowflake >> SEQUENCE_BITS) & (MACHINES - 1)
    return Parts(
        time_of(snowflake),
        machine >> WORKER_BITS,
        machine & ((1 << WORKER_BITS) - 1),
        snowflake & SEQUENCE_MAX,
    )


def time_of(snowflake: int) -> int:
    """When an id was minted, in milliseconds since the Unix epoch."""
    return (snowflake >> TIME_SHIFT) + EPOCH_MS


class Lease(msgspec.Struct, frozen=True):
    """The right to mint ids of one machine id in a range of time.

    Attributes:
        machine: Machine id, 0 to 1,023.
        holder: Unique text of this holding.
        from_ms: First millisecond since the Unix epoch that may be minted.
        until_ms: Last one, that one included.
    """

    machine: int
    holder: str
    from_ms: int
    until_ms: int


class LeaseStore(Protocol):
    """Grants ranges of time. Those granted for one machine id never overlap, whatever fails."""

    async def claim(self, now_ms: int, lease_ms: int) -> Lease:
        """Take a machine id whose last range is over.

        Raises:
            RetryableError: The store is away, or every machine id is held.
        """
        ...

    async def extend(self, lease: Lease, until_ms: int) -> Lease | None:
        """Move the end of a range; ``None`` when somebody else has the machine id now.

        Raises:
            RetryableError: The store is away; the old end holds.
        """
        ...

    async def release(self, lease: Lease, used_until_ms: int) -> None:
        """Give a machine id back, with the last millisecond that was used.

        Raises:
            RetryableError: The store is away; the machine id comes free when its range is over.
        """
        ...


class SnowflakeMinter:
    """Mints ids under a lease; ``await open()`` first, ``await close()`` last.

    Args:
        store: Where machine ids are leased.
        lease_ms: Length of a lease; a machine id that was not given back is free after it.
        margin_ms: Minting stops this long before the lease ends; also covers slow requests.
        clock_ms: Milliseconds since the Unix epoch.
        monotonic: Seconds on a clock that only goes forward.
    """

    def __init__(
        self,
        store: LeaseStore,
        *,
        lease_ms: int = LEASE_MS,
        margin_ms: int = MARGIN_MS,
        clock_ms: Callable[[], int] = wall_clock_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < margin_ms < lease_ms:
            raise ValueError(f"margin_ms must lie between 0 and lease_ms, {lease_ms}")
        self._store = store
        self._lease_ms = lease_ms
        self._margin_ms = margin_ms
        self._clock_ms = clock_ms
        self._monotonic = monotonic
        self._lease: Lease | None = None
        self._stop_at = 0.0
        self._machine = 0
        self._last_ms = 0
        self._sequence = 0
        self._renewing = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._open = False

    @property
    def machine(self) -> int | None:
        """The machine id held, if any."""
        return None if self._lease is None else self._lease.machine

    async def open(self) -> None:
        """Take a lease and keep it.

        Raises:
            RetryableError: The store is away, or every machine id is held.
        """
        async with self._renewing:
            await self._renew()
        self._open = True
        self._keeper = asyncio.create_task(self._keep(), name="snowflake lease")

    async def close(self) -> None:
        """Give the lease back; no id is minted afterwards."""
        self._open = False
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        async with self._renewing:
            lease, self._lease = self._lease, None
            if lease is None:
                return
            try:
                await self._store.release(lease, max(self._last_ms, lease.from_ms - 1))
            except RetryableError as error:
                _logger.warning("machine id %d comes free late: %s", lease.machine, error)

    async def mint(self) -> int:
        """A new id, greater than any that this minter made before.

        Raises:
            ClockWentBack: The clock is behind the last id.
            LeaseLost: No machine id is held, and none could be had.
        """
        while True:
            now_ms = self._clock_ms()
            if not self._may_mint(now_ms):
                await self._acquire()
                continue
            snowflake = self._next(now_ms)
            if snowflake is not None:
                metrics.IDS_MINTED.inc()
                return snowflake
            await self._next_millisecond()

    async def mint_many(self, count: int) -> list[int]:
        """``count`` new ids, ascending; about 4,096 a millisecond.

        Raises:
            ClockWentBack: The clock is behind the last id.
            LeaseLost: No machine id is held, and none could be had.
        """
        minted: list[int] = []
        while len(minted) < count:
            now_ms = self._clock_ms()
            if not self._may_mint(now_ms):
                await self._acquire()
                continue
            while len(minted) < count:
                snowflake = self._next(now_ms)
                if snowflake is None:
                    break
                minted.append(snowflake)
            else:
                break
            await self._next_millisecond()
        metrics.IDS_MINTED.inc(count)
        return minted

    def _next(self, now_ms: int) -> int | None:
        """An id of this millisecond; ``None`` when all of them are used."""
        if now_ms > self._last_ms:
            self._last_ms, self._sequence = now_ms, 0
        elif now_ms < self._last_ms:
            drift_ms = self._last_ms - now_ms
            metrics.CLOCK_WENT_BACK.inc()
            metrics.CLOCK_DRIFT_MS.set(drift_ms)
            raise ClockWentBack(drift_ms)
        elif self._sequence == SEQUENCE_MAX:
            return None
        else:
            self._sequence += 1
        return compose(now_ms, self._machine, self._sequence)

    async def _next_millisecond(self) -> None:
        metrics.SEQUENCE_WAITS.inc()
        used = self._last_ms
        while self._clock_ms() == used:  # noqa: ASYNC110  (a clock has no event to wait for)
            await asyncio.sleep(0.0002)

    async def _acquire(self) -> None:
        async with self._renewing:
            if not self._open:
                raise LeaseLost("no ids can be minted: the minter is closed")
            if not self._may_mint(self._clock_ms()):  # somebody else may have just done it
                try:
                    await self._renew()
                except RetryableError as error:
                    raise LeaseLost(f"no ids can be minted: {error}") from error
        if not self._may_mint(self._clock_ms()):
            raise LeaseLost("no ids can be minted: the clock is outside of the lease just taken")

    def _may_mint(self, now_ms: int) -> bool:
        lease = self._lease
        return lease is not None and now_ms <= lease.until_ms and self._monotonic() < self._stop_at

    async def _renew(self) -> None:
        """Extend the lease, or take another when it is lost. The caller holds the lock."""
        asked_at = self._monotonic()
        now_ms = self._clock_ms()
        lease = self._lease
        if lease is not None:
            lease = await self._store.extend(lease, max(lease.until_ms, now_ms + self._lease_ms))
            if lease is None:
                metrics.LEASES_LOST.inc()
                _logger.warning("the lease of machine id %s was lost", self.machine)
                self._lease = None
        if lease is None:
            lease = await self._store.claim(now_ms, self._lease_ms)
            # The new machine id may be the smaller one: go on in a later millisecond.
            self._last_ms = max(self._last_ms, lease.from_ms - 1)
            self._sequence = SEQUENCE_MAX
        self._lease = lease
        self._machine = lease.machine
        self._stop_at = asked_at + (self._lease_ms - self._margin_ms) / 1000

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            try:
                async with self._renewing:
                    await self._renew()
            except RetryableError as error:
                _logger.warning("the lease could not be extended yet: %s", error)
