"""The same machine on the real engines: Kafka, Valkey and Cassandra, with a scope for each run.

Events are appended to topics of a prefix of their own and read back; units, readers and gateways
run in this process over the real clients, each process of the model by connections that can be cut
off after any operation. Keys begin with the scope, ids are fresh, and tables are shared with the
other tests. What differs from memory: a run costs seconds, and requests take the time that they
take, so `all_at_once` is mixed by the engines as well as by its seed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from secrets import randbits
from typing import Any, ClassVar
from zlib import crc32

from confluent_kafka.admin import AdminClient

from events.admin import Admin
from events.cassandra import Statements
from events.log import Log
from events.position import Position
from events.types import Event
from infra import compose
from infra.compose import Engines as Clients
from infra.demo.convergence import LogView, Offsets, open_view
from infra.settings import Settings
from projections.bus import Command, RedisBus, Reply
from projections.engagement.layout import Limits
from projections.store import Row, Store
from tests.memory.line import Line
from tests.model.life import BASE_BITS
from tests.model.log import PARTITIONS, MemoryLog
from tests.model.machine import Murmuration, town_on
from tests.model.processes import SMALL
from tests.model.town import Town

SCAN = 10_000


def _tables_of(generation: str) -> str:
    """Returns whose tables a run's generation has: t1 for the first, t2 for ``g2_…``."""
    number = generation[1:].partition("_")[0] if generation.startswith("g") else "1"
    return f"t{number}"


class LinedBus(RedisBus):
    """The shared client, as one process of the model reaches it."""

    def __init__(self, inner: RedisBus, line: Line) -> None:
        super().__init__("redis://shared")
        self._inner = inner
        self._line = line

    def use_library(self, source: str) -> None:
        self._inner.use_library(source)

    def by_owner(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        return self._inner.by_owner(keys)

    async def scan(self, pattern: str, count: int = SCAN) -> AsyncIterator[list[bytes]]:
        await self._line.pause()
        async for found in self._inner.scan(pattern, count):
            yield found

    async def calls(self, commands: Sequence[Command]) -> list[Reply]:
        if not commands:
            return []
        await self._line.pause()
        done = self._line.admit(len(commands))
        replies = await self._inner.calls(commands[:done])
        self._line.check(whole=done == len(commands))
        await self._line.pause()
        return replies


class LinedStore(Store):
    """The shared tables, as one process of the model reaches them."""

    def __init__(self, inner: Store, line: Line) -> None:
        self._inner = inner
        self._line = line
        self.generation = inner.generation

    def of(self, generation: str) -> LinedStore:
        """Returns the tables that stand for a generation: those of a number are every run's."""
        return LinedStore(self._inner.of(_tables_of(generation)), self._line)

    async def drop(self, name: str) -> None:
        """Leaves the table, which is every run's; the rows are of ids that no other run has."""

    async def create(self, name: str, ddl: str) -> None:
        await self._inner.create(name, ddl)

    async def add_columns(self, name: str, columns: Mapping[str, str]) -> None:
        await self._inner.add_columns(name, columns)

    async def execute(self, cql: str, values: Sequence[Any] = ()) -> list[Row]:
        await self._line.pause()
        done = self._line.admit(1)
        rows = await self._inner.execute(cql, values) if done else []
        self._line.check(whole=done == 1)
        await self._line.pause()
        return rows

    async def write(self, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        await self._line.pause()
        done = self._line.admit(len(rows))
        if done:
            await self._inner.write(rows[:done])
        if rows:
            self._line.check(whole=done == len(rows))
        await self._line.pause()


class LinedStatements(Statements):
    """Statements about the registry's tables, as one process of the model runs them."""

    def __init__(self, inner: Statements, line: Line) -> None:
        self._inner = inner
        self._line = line

    async def create(self, cql: str) -> None:
        await self._inner.create(cql)

    async def run(
        self, cql: str, values: Sequence[Any] = (), *, serial: bool = False
    ) -> list[Mapping[str, Any]]:
        await self._line.pause()
        done = self._line.admit(1)
        rows = await self._inner.run(cql, values, serial=serial) if done else []
        self._line.check(whole=done == 1)
        await self._line.pause()
        return rows


class KafkaLog(MemoryLog):
    """What was read back of a run's topics, and what is still to be appended.

    What nobody is to be able to read is an event to Kafka as well: it is this log that garbles it.
    """

    def __init__(self, clients: Clients) -> None:
        super().__init__({topic: clients.topics.partitions(topic) for topic in PARTITIONS})
        self.pending: list[tuple[Event, bool]] = []

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def append(self, event: Event, gap: int = 0, *, garbled: bool = False) -> None:
        self.pending.append((event, garbled))


class RealEngines:
    """:class:`tests.model.processes.Engines`; open it, and close it at the end."""

    def __init__(self, clients: Clients, limits: Limits) -> None:
        number = randbits(34)
        self.base = number << BASE_BITS
        self.limits = limits
        self.settings = clients.settings.model_copy(
            update={
                **{name: getattr(SMALL, name) for name in SMALL.model_fields_set},
                "topic_prefix": f"m{number}-",
                "generation": f"m{number}",
            }
        )
        self._clients = replace(clients, settings=self.settings)
        self._statements = Statements(clients.session, self.settings.keyspace)
        self._appended = KafkaLog(self._clients)
        self.log: MemoryLog = self._appended
        self._closing = AsyncExitStack()
        self._producer: Log
        self._view: LogView
        self._snapshot: dict[bytes, tuple[bytes, int]] = {}
        self._syncing = asyncio.Lock()

    async def open(self) -> None:
        """Makes the run's topics."""
        settings = self._clients.settings
        admin = Admin(settings.kafka_bootstrap, self._clients.topics, settings.kafka_options)
        await admin.ensure_topics(1)
        self._producer = await self._closing.enter_async_context(compose.open_log(self._clients))
        self._view = open_view(self._clients)
        self._closing.callback(self._view.close)

    async def close(self) -> None:
        """Drops topics and keys; the rows of fresh ids stay."""
        await self._closing.aclose()
        topics = self._clients.topics
        names = [topics.name(topic) for topic in PARTITIONS]
        admin = AdminClient({"bootstrap.servers": self._clients.settings.kafka_bootstrap})
        for deleted in admin.delete_topics(names).values():
            await asyncio.wrap_future(deleted)
        await self.forget_all()

    def bus(self, line: Line) -> RedisBus:
        return LinedBus(self._clients.bus, line)

    def store(self, line: Line) -> Store:
        return LinedStore(self._clients.store, line)

    def statements(self, line: Line) -> Statements:
        return LinedStatements(self._statements, line)

    async def sync(self) -> None:
        # One consumer reads back: two workers that append chunks at once take turns.
        async with self._syncing:
            await self._synced()

    async def _synced(self) -> None:
        pending, self._appended.pending = self._appended.pending, []
        if not pending:
            return
        end: Offsets = {}
        garbled: set[Position] = set()
        positions = await self._producer.append_many([event for event, _ in pending])
        for position, (_, is_garbled) in zip(positions, pending, strict=True):
            source = position.topic, position.partition
            end[source] = max(end.get(source, 0), position.offset + 1)
            if is_garbled:
                garbled.add(position)
        start = {source: self.log.end(source) for source in end}
        async for record in self._view.records(start, end):
            place = Position(record.topic, record.partition, record.offset)
            self.log.take(record, garbled=place in garbled)

    # --- Redis ---

    async def remember(self, positions: Sequence[bytes]) -> None:
        keys = await self._keys()
        if not set(positions) <= set(keys):
            return
        bus = self._clients.bus
        values = await bus.calls_strict([("DUMP", key) for key in keys])
        lives = await bus.calls_strict([("PTTL", key) for key in keys])
        self._snapshot = {
            key: (value, max(0, life))
            for key, value, life in zip(keys, values, lives, strict=True)
            if value is not None
        }

    async def forget(self, lost: Callable[[bytes], bool]) -> None:
        bus = self._clients.bus
        await bus.calls_strict([("DEL", key) for key in await self._keys() if lost(key)])
        await bus.calls_strict(
            [
                ("RESTORE", key, life, value)
                for key, (value, life) in self._snapshot.items()
                if lost(key)
            ]
        )

    async def forget_all(self) -> None:
        """Drops every key of the run."""
        await self._clients.bus.calls_strict([("DEL", key) for key in await self._keys()])

    async def evict(self, picked: Callable[[int], bool]) -> None:
        bus, keys = self._clients.bus, await self._keys()
        lives = await bus.calls_strict([("PTTL", key) for key in keys])
        mortal = [key for key, life in zip(keys, lives, strict=True) if life >= 0]
        await bus.calls_strict([("DEL", key) for at, key in enumerate(mortal) if picked(at)])

    async def later(self, seconds: int) -> None:
        bus, keys = self._clients.bus, await self._keys()
        lives = await bus.calls_strict([("PTTL", key) for key in keys])
        gone = [key for key, life in zip(keys, lives, strict=True) if 0 <= life <= seconds * 1000]
        await bus.calls_strict([("DEL", key) for key in gone])

    async def _keys(self) -> list[bytes]:
        """Returns every key of the run, sorted."""
        scope = self.settings.topic_prefix
        names = f"{self.settings.generation}:*", f"*_{crc32(scope.encode()):08x}:*"
        bus = self._clients.bus
        return sorted({k for n in names async for found in bus.scan(n, SCAN) for k in found})


class EngineMurmuration(Murmuration):
    """One run on the real engines; those are connected to once."""

    settings: ClassVar[Settings]
    """Of the engines; set before the first run."""

    _clients: ClassVar[Clients | None] = None
    _shared_loop: ClassVar[asyncio.AbstractEventLoop] = asyncio.new_event_loop()
    _connections: ClassVar[AsyncExitStack] = AsyncExitStack()

    def loop(self) -> asyncio.AbstractEventLoop:
        return self._shared_loop

    def town_of(self, members: int, limits: Limits) -> Town:
        on = RealEngines(self._connected(), limits)
        self.run(on.open())
        return town_on(on, members)

    def end(self) -> None:
        on = self.town.on
        assert isinstance(on, RealEngines)
        self.run(on.close())

    def _connected(self) -> Clients:
        cls = EngineMurmuration
        if cls._clients is None:
            opening = cls._connections.enter_async_context(compose.engines(cls.settings))
            cls._clients = self.run(opening)
        return cls._clients

    @classmethod
    def disconnect(cls) -> None:
        """Closes the connections."""
        cls._shared_loop.run_until_complete(cls._connections.aclose())
        cls._shared_loop.close()
