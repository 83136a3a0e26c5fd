"""A Murmuration in memory, and what can be done to it and to its engines.

Keeps true: whatever was done, :meth:`Town.settle` brings it to lag zero, every worker having said
so to every bucket. Then every read has one right answer (:meth:`Town.differences`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple
from unittest import mock

import msgspec

from infra import following, trending
from infra.replay import lifecycle
from projections import positions
from projections.base import RetryableError
from projections.engagement import likes
from projections.timelines import authors, chunks, fan_out, keeper
from projections.timelines.tiers import Tiers
from tests.memory.line import Crashed
from tests.model.buildings import TownGenerations
from tests.model.compare import Comparison, TrendsShown
from tests.model.desk import Desk
from tests.model.life import Life
from tests.model.log import Source
from tests.model.processes import Engines, mixed
from tests.model.processes import keeper as made_keeper
from tests.model.reader import MemoryGateway, errors
from tests.model.trending import TownTrends
from tests.model.worker import Worker
from tests.oracle import Oracle

ROUNDS_MAX = 60
INTERNAL_ERROR = 500
SLICE_MAX = 1000
BEATS = 0.3
"""Share of the workers that say where they are while slices are in hand."""


@contextmanager
def small_bounds() -> Iterator[None]:
    """Lets five people reach what takes thousands: chunks that grow, calls that are cut."""
    with (
        mock.patch.object(chunks, "CHUNK_FOLLOWERS", 1),
        mock.patch.object(chunks, "CHUNK_FOLLOWERS_MAX", 2),
        mock.patch.object(keeper, "CHUNK_FOLLOWERS_MAX", 2),
        mock.patch.object(keeper, "POLL_SECONDS", 0),
        mock.patch.object(fan_out, "BACKFILL_TWEETS", 3),
        mock.patch.object(authors, "FIRST_ROUND_ROWS", 4),
        mock.patch.object(authors, "ROWS_PER_AUTHOR_MAX", 4),
        mock.patch.object(positions, "ARGUMENTS_PER_CALL_MAX", 6),
        mock.patch.object(likes, "ARGUMENTS_PER_CALL_MAX", 6),
        mock.patch.object(lifecycle, "ANNOUNCED_MS", 0),
        mock.patch.object(lifecycle, "CHANGE_SECONDS", 0.0),
        mock.patch.object(lifecycle, "CAUGHT_UP_SECONDS_MAX", -1.0),
        mock.patch.object(following, "BEHIND_SECONDS_MAX", -1.0),
    ):
        yield


class Move(NamedTuple):
    """A worker takes its next slice, of a partition, so long at most.

    ``breaks`` cuts it off after so many operations: for good if even, for once if odd; None does
    not.
    """

    worker: int
    partition: int
    longest: int
    breaks: int | None


async def _done(work: Coroutine[Any, Any, bool]) -> None:
    await work


class Read(NamedTuple):
    """Somebody asks for something; ``breaks`` cuts his gateway off, after one operation less."""

    who: int
    what: int
    breaks: int = 0


class Town:
    """Everything at hand.

    Args:
        on: The engines.
        gateways: Gateway processes on them.
        spare: Others, for generations that do not serve.
        members: Worker processes of each unit, which share its partitions.
    """

    def __init__(
        self,
        on: Engines,
        gateways: Sequence[MemoryGateway],
        spare: Sequence[MemoryGateway],
        members: int = 1,
    ) -> None:
        self.on = on
        self.gateways = gateways
        self.spare = spare
        self.life = Life(on.log.append, on.log.now_ms, on.base)
        self.desk = Desk(on.log, self.life.say)
        self.members = members
        self.workers: list[Worker] = []
        self.zombies: list[Worker] = []
        self.generations = TownGenerations(self)
        self.trends = TownTrends(self)
        self.since: dict[int, tuple[str, int]] = {}
        self._compared = 0

    @property
    def compared(self) -> int:
        """Returns how many reads, and windows with trends, were compared."""
        return self._compared + self.trends.compared

    async def begin(self) -> None:
        """Starts the workers."""
        await self.generations.begin()

    # --- workers ---

    def worker(self, number: int) -> Worker:
        return self.workers[number % len(self.workers)]

    async def move(self, move: Move, source: Source | None = None) -> None:
        """One worker goes one slice on, of that partition or one that lags."""
        worker = self.worker(move.worker)
        behind = worker.lags
        if source is None:
            source = behind[move.partition % len(behind)] if behind else None
        if source is None or source not in behind:
            return
        line = worker.process.line
        if move.breaks is not None:
            line.breaks_after(move.breaks // 2, kills=move.breaks % 2 == 0)
        if await worker.go(source, move.longest):
            line.mend()

    async def together(self, moves: Sequence[Move], reads: Sequence[Read], seed: int) -> None:
        """Moves and reads side by side, mixed by a seed; those of one partition in order."""
        chance = Random(seed)
        by_partition: dict[tuple[Worker, Source], list[Move]] = {}
        for move in moves:
            worker = self.worker(move.worker)
            source = worker.sources[move.partition % len(worker.sources)]
            by_partition.setdefault((worker, source), []).append(move)

        async def one_after_another(worker: Worker, source: Source, found: list[Move]) -> None:
            for move in found:
                mixed(chance, worker.process.line)
                await self.move(move, source)
            if chance.random() < BEATS:
                await self._beat(worker)

        lines = [gateway.reads.line for gateway in self.gateways]
        mixed(chance, *lines)
        await asyncio.gather(
            *(one_after_another(*one, found) for one, found in by_partition.items()),
            *(self.read(read) for read in reads),
        )
        mixed(None, *lines, *(worker.process.line for worker in self.workers))

    async def depose(self, number: int) -> None:
        """A worker's partitions go to another process, and it does not know it yet."""
        old = self.worker(number)
        old.depose()
        self.zombies.append(old)
        new = self.workers[self.workers.index(old)] = old.successor()
        await new.start()

    async def zombie(self, number: int, partition: int, longest: int) -> None:
        """One who lost its partitions goes on with what it had fetched."""
        if not self.zombies:
            return
        zombie = self.zombies[number % len(self.zombies)]
        source = zombie.sources[partition % len(zombie.sources)]
        piece = zombie.next(source, longest)
        lives = await zombie.beat() if piece is None else await zombie.apply(piece)
        if not lives:
            self.zombies.remove(zombie)

    async def again(self, number: int, partition: int, back: int, longest: int) -> None:
        """A slice of long ago comes again, in another cut."""
        worker = self.worker(number)
        source = worker.sources[partition % len(worker.sources)]
        at = worker.at[source]
        piece = self.on.log.slice(source, max(0, at - back), longest, at)
        if piece is not None and not await worker.apply(piece):
            await worker.restart()

    async def clear(self) -> None:
        """Returns at lag zero, when every unit was told what any was told about a record."""
        await self.settle()
        while await self.desk.clear():
            await self.on.sync()
            await self.settle()

    async def catch_up(self, worker: Worker) -> None:
        """Returns when a worker has applied all there is."""
        while await self._round(worker):
            pass

    async def settle(self) -> None:
        """Returns at lag zero, every bucket having been told."""
        for _ in range(ROUNDS_MAX):
            if not [worker.name for worker in self.workers if await self._round(worker)]:
                return
        raise AssertionError("the workers never come to an end")

    async def _round(self, worker: Worker) -> bool:
        """Returns whether there was anything to do."""
        busy = False
        for source in worker.sources:
            while (lives := await worker.go(source, SLICE_MAX)) is not None:
                busy = True
                if not lives:
                    return True
        return not await self._beat(worker) or busy

    async def _beat(self, worker: Worker) -> bool:
        """A worker says where it is; returns whether it had not to start anew."""
        loop = worker.loop
        if await worker.beat():
            return True
        await worker.restart(loop)
        return False

    # --- tiers ---

    async def keep(self, act: int, author: int, generation: str, breaks: int | None) -> None:
        """A keeper surveys, promotes or demotes, or everybody is pulled or pushed again.

        The workers go on meanwhile. It may be cut off in the middle.
        """
        process, at_work = made_keeper(self.on, generation)
        work: Coroutine[Any, Any, None]
        match act % 5:
            case 0:
                work = at_work.survey()
            case 1:
                work = at_work.promote({author})
            case 2:
                work = at_work.demote([author])
            case pulled:
                tiers = Tiers(process.bus, process.store_of("timelines"), process.keys("timelines"))
                work = _done(tiers.pull_only(pulled == 3))
        if breaks is not None:
            process.line.breaks_after(breaks // 2, kills=breaks % 2 == 0)
        task = asyncio.create_task(work)
        for _ in range(ROUNDS_MAX):
            await asyncio.wait({task}, timeout=0)
            if task.done():
                break
            await self.settle()
        assert task.done(), "the keeper never comes to an end"
        try:
            task.result()
        except (Crashed, RetryableError):
            return

    async def remember(self) -> None:
        """What Redis holds now is what it may go back to.

        Not a moment in which a bucket was empty and no worker had begun it again: what readers
        filled by then is what `projections.positions` says it cannot tell from what is right.
        """
        await self.on.remember(
            [
                keys.positions(bucket)
                for keys in (worker.process.keys(worker.name) for worker in self.workers)
                for bucket in range(keys.buckets)
            ]
        )

    # --- readers ---

    async def read(self, read: Read) -> None:
        """Somebody reads something, perhaps by a gateway that is cut off in the middle."""
        kind, about = read.what % 11, read.what // 11
        user, gateway = (
            self.life.user(read.who),
            self.gateways[(read.who + about) % len(self.gateways)],
        )
        post = self.life.post_of(about)
        other = self.life.user(about)
        subject = post.tweet_id if post is not None else 0
        path = (
            "/api/timeline/home",
            "/api/timeline/home",
            f"/api/users/{other}/tweets",
            f"/api/tweets/{subject}",
            f"/api/users/{other}",
            f"/api/tweets/{subject}/conversation",
            f"/api/users/{user}/mentions",
            f"/api/users/{other}/lists",
            "/api/notifications",
            "/api/trends",
            "/api/trends/personal",
        )[kind]
        if self.life.lists and kind == 7:
            path = f"/api/lists/{self.life.lists[about % len(self.life.lists)][0]}/tweets"
        line = gateway.reads.line
        if read.breaks:
            line.breaks_after(read.breaks - 1, kills=False)
        status, body = await gateway.get(user, path, count=3)
        line.mend()
        assert status != INTERNAL_ERROR, f"{path}: {errors}"
        if path == "/api/timeline/home" and status == 200:
            page = msgspec.json.decode(body)
            if page["data"]:
                cursor = page["meta"]["newest_cursor"]
                self.since[user] = (cursor, int(page["data"][0]["id"]))

    async def differences(self, gateways: Sequence[MemoryGateway]) -> list[str]:
        """Compares every read of every user with the oracle; at lag zero there are none."""

        async def get(user: int, path: str, **query: object) -> tuple[int, bytes]:
            gateway = gateways[(user + len(path)) % len(gateways)]
            status, body = await gateway.get(user, path, **query)
            assert status != INTERNAL_ERROR, f"{path}: {errors}"
            return status, body

        trends = None
        if self.desk.is_undecided:
            done = await trending.reader(gateways[0].reads).done()
            trends = TrendsShown(self.trends.oracle(), done)
        comparison = Comparison(Oracle(self.desk.told()), get, trends)
        await comparison.all(self.since)
        self._compared += comparison.compared
        return comparison.differences
