"""The keeper of the tiers: promotes and demotes authors so that no reader misses or loses a tweet.

One process at a time keeps (a lease in Redis); what it does is fenced by the rows themselves, each
step taken only from the state that the step before left. A keeper that dies leaves an author in a
state in which all is right, and the next one goes on from there.

Promotion, of an author with at least the threshold's followers:

1. ``promoting``: workers still push, and add to his cached timeline;
2. forget that timeline: one of an earlier time lacks what came between;
3. ``celebrity``: readers pull, workers stop pushing.

Demotion, of one with fewer than ``HYSTERESIS`` of it:

1. ``demoting``: workers push again, readers still pull;
2. backfill his recent tweets into his followers' timelines, by chunks;
3. fill his cached timeline if it is cold, then ``draining``: what he posts from now on is pushed
   only;
4. wait until every slice that was in hand at 3 is applied, and every chunk that was appended by
   then is delivered, and every read that began before has ended;
5. no state: readers stop pulling. What they pulled, they now find pushed.

The threshold follows the backlog (:class:`Threshold`): while chunks wait for longer than is good,
more authors are pulled; when the backlog is gone, fewer.

Bounded by: ``AUTHORS_MAX`` authors changed at a time; large accounts are counted chunk by chunk.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, Protocol

import msgspec

from events.snowflake import compose
from projections.base import RetryableError
from projections.bus import RedisBus
from projections.keys import Keys
from projections.positions import AppliedPositions, reached
from projections.store import Store
from projections.timelines.audience import ChunkLog, backfill_chunk
from projections.timelines.chunks import CHUNK_FOLLOWERS_MAX, Chunks
from projections.timelines.layout import CELEBRITY
from projections.timelines.read import TimelinesReader
from projections.timelines.tiers import Row, State, Tiers

HYSTERESIS = 0.8
"""Share of the threshold under which a celebrity is demoted: who hovers around it stays."""

AUTHORS_MAX = 100
"""Authors that are on their way at once."""

LEASE_SECONDS = 15
POLL_SECONDS = 0.05

log = logging.getLogger(__name__)


class KeeperSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When authors change tier.

    Attributes:
        celebrity_threshold: Followers from which on tweets are pulled.
        popular_threshold: The least that the threshold is lowered to.
        survey_seconds: How often the large accounts are counted.
        backlog_seconds: How often the backlog is looked at.
        backlog_chunks_max: Chunks that may wait before the threshold is lowered.
        read_seconds_max: Longest that a reader may take, from its look at the tiers to its end.
    """

    celebrity_threshold: int
    popular_threshold: int
    survey_seconds: float = 3600.0
    backlog_seconds: float = 5.0
    backlog_chunks_max: int = 2_000
    read_seconds_max: float = 5.0


class Flow(Protocol):
    """Where the log is, and how far the units have come."""

    async def ends(self, topic: str) -> dict[str, int]:
        """Returns the next offset of each partition of a topic, by ``topic/partition``.

        Raises:
            RetryableError: the log is away.
        """
        ...


class Threshold:
    """Followers from which on an author is a celebrity, as the backlog demands.

    Args:
        highest: Without a backlog.
        lowest: Never less.
        backlog_max: Chunks that may wait.
    """

    PATIENCE = 3
    """Looks in a row that must say the same: a burst is not a backlog."""

    CALM = 4
    """The threshold is raised again when the backlog is under this part of what may wait."""

    def __init__(self, highest: int, lowest: int, backlog_max: int) -> None:
        self._highest, self._lowest, self._max = highest, min(lowest, highest), backlog_max
        self._above = self._below = 0
        self.now = highest

    def observe(self, backlog: int) -> bool:
        """Takes one look at the backlog; True when the threshold has changed."""
        self._above = self._above + 1 if backlog > self._max else 0
        self._below = self._below + 1 if backlog * self.CALM <= self._max else 0
        before = self.now
        if self._above >= self.PATIENCE:
            self.now, self._above = max(self._lowest, self.now // 2), 0
        elif self._below >= self.PATIENCE:
            self.now, self._below = min(self._highest, self.now * 2), 0
        return self.now != before


class Keeper:
    """Moves authors between the tiers.

    Args:
        bus: The cluster.
        store: The generation's tables.
        keys: Names of the timelines unit.
        reader: Reads timelines, to fill a celebrity's.
        chunk_log: Where backfills are appended.
        flow: Where the log is.
        timelines: How far the timelines unit is.
        fan_out: How far the chunks are delivered.
        settings: When authors change tier.
    """

    def __init__(
        self,
        bus: RedisBus,
        store: Store,
        keys: Keys,
        *,
        reader: TimelinesReader,
        chunk_log: ChunkLog,
        flow: Flow,
        timelines: AppliedPositions,
        fan_out: AppliedPositions,
        settings: KeeperSettings,
    ) -> None:
        self._bus = bus
        self._keys = keys
        self._reader = reader
        self._log = chunk_log
        self._flow = flow
        self._timelines = timelines
        self._fan_out = fan_out
        self._settings = settings
        self._chunks = Chunks(bus, store, keys)
        self._tiers = Tiers(bus, store, keys)
        self._lease = f"{keys.generation}:{{{keys.unit}-tiers}}:keeper".encode()
        self._token = secrets.token_hex(8)
        self.threshold = Threshold(
            settings.celebrity_threshold,
            settings.popular_threshold,
            settings.backlog_chunks_max,
        )

    async def run(self) -> None:
        """Keeps for as long as nobody else does, until cancelled; an engine may be away."""
        surveyed = -self._settings.survey_seconds
        while True:
            try:
                if await self._leads():
                    changed = self.threshold.observe(await self.backlog())
                    due = time.monotonic() - surveyed >= self._settings.survey_seconds
                    if changed or due:
                        surveyed = time.monotonic()
                        await self._while_leading(self.survey())
            except RetryableError as error:
                log.warning("tiers are kept again when the engines answer: %s", error)
            await asyncio.sleep(self._settings.backlog_seconds)

    async def close(self) -> None:
        """Closes the log of chunks."""
        await self._log.close()

    async def _while_leading(self, work: Coroutine[Any, Any, None]) -> None:
        """Does work for as long as the lease is held."""
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait({task}, timeout=LEASE_SECONDS / 3))[0]:
                if not await self._leads():
                    return
            task.result()
        finally:
            task.cancel()

    async def _leads(self) -> bool:
        """Takes or keeps the lease."""
        holder = await self._bus.call(
            "SET", self._lease, self._token, "NX", "GET", "PX", LEASE_SECONDS * 1000
        )
        if holder is not None and holder != self._token.encode():
            return False
        await self._bus.call("PEXPIRE", self._lease, LEASE_SECONDS * 1000)
        return True

    async def backlog(self) -> int:
        """Returns how many chunks wait to be delivered."""
        ends, applied = await self._flow.ends("fan-out"), await self._fan_out.all()
        return sum(max(0, end - applied.get(source, 0)) for source, end in ends.items())

    async def survey(self) -> None:
        """Finishes what an earlier keeper began, counts the large accounts, and moves authors."""
        await self._tiers.touch()
        rows = await self._tiers.rows()
        await self._promote([row for row in rows if row.state is State.PROMOTING])
        await self._demote([row for row in rows if row.state in (State.DEMOTING, State.DRAINING)])
        counts = await self._counted()
        celebrities = {row.author_id for row in await self._tiers.rows()}
        rising = [author for author, count in counts.items() if count >= self.threshold.now]
        enough = HYSTERESIS * self.threshold.now
        falling = [author for author in celebrities if counts.get(author, 0) < enough]
        for start in range(0, len(rising), AUTHORS_MAX):
            await self.promote(set(rising[start : start + AUTHORS_MAX]) - celebrities)
        for start in range(0, len(falling), AUTHORS_MAX):
            await self.demote(falling[start : start + AUTHORS_MAX])

    async def promote(self, authors: Collection[int]) -> None:
        """Makes authors celebrities; those who have a state already are left as they are."""
        cuts = await self._chunks.cuts(authors)
        for author in authors:
            if not cuts[author].active:  # a demotion backfills by chunks
                await self._chunks.enlarge(author)
        entered = [await self._tiers.enter(author, State.PROMOTING) for author in authors]  # 1
        await self._promote([row for row in entered if row is not None])

    async def demote(self, authors: Collection[int]) -> None:
        """Makes celebrities ordinary again; those who are not celebrities are left as they are."""
        wanted = set(authors)
        celebrities = [
            row
            for row in await self._tiers.rows()
            if row.author_id in wanted and row.state is State.CELEBRITY
        ]
        moved = [await self._tiers.move(row, State.DEMOTING) for row in celebrities]  # 1
        await self._demote([row for row in moved if row is not None])

    async def _promote(self, rows: Sequence[Row]) -> None:
        for row in rows:
            await self._bus.call("DEL", self._keys.of(CELEBRITY, row.author_id))  # 2
            if await self._tiers.move(row, State.CELEBRITY):  # 3
                log.info("author %d is a celebrity: tweets are pulled", row.author_id)

    async def _demote(self, rows: Sequence[Row]) -> None:
        draining = [row for row in rows if row.state is State.DRAINING]
        demoting = [row for row in rows if row.state is State.DEMOTING]
        if demoting:
            await self._backfill([row.author_id for row in demoting])  # 2
            await self._reader.warm_celebrities([row.author_id for row in demoting])  # 3
            moved = [await self._tiers.move(row, State.DRAINING) for row in demoting]
            draining += [row for row in moved if row is not None]
        if not draining:
            return
        await self._until(self._timelines, await self._flow.ends("new-tweets"))  # 4
        await self._until(self._fan_out, await self._flow.ends("fan-out"))
        await asyncio.sleep(self._settings.read_seconds_max)
        for row in draining:
            if await self._tiers.leave(row):  # 5
                log.info("author %d is no celebrity any more: tweets are pushed", row.author_id)

    async def _backfill(self, authors: Sequence[int]) -> None:
        now_ms = int(time.time() * 1000)
        event_id = compose(now_ms, 0, 0)
        cuts = await self._chunks.cuts(authors)
        for author in authors:
            await self._log.append(
                [
                    backfill_chunk(author, event_id, now_ms, first, end)
                    for first, end in cuts[author].ranges()
                ]
            )

    async def _counted(self) -> dict[int, int]:
        """Returns the followers of every large account, and cuts the chunks that have grown."""
        authors = await self._chunks.large_authors()
        counts: dict[int, int] = {}
        for start in range(0, len(authors), AUTHORS_MAX):
            cuts = await self._chunks.cuts(authors[start : start + AUTHORS_MAX])
            for (author, first, end), size in (await self._chunks.sizes(cuts)).items():
                counts[author] = counts.get(author, 0) + size
                if size > CHUNK_FOLLOWERS_MAX:
                    await self._chunks.cut(author, first, end)
        return counts

    async def _until(self, unit: AppliedPositions, ends: dict[str, int]) -> None:
        """Returns once a unit has applied everything up to ``ends``."""
        while True:
            if reached(await unit.all(), ends):
                return
            await asyncio.sleep(POLL_SECONDS)
