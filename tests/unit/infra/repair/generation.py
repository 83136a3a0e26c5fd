"""A generation of one unit in memory with its log, and what a repair finds in it and mends.

The steps are those of ``infra/repair/mend.py``, without engines, looks at caches and an audit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, cast

from events.partitioner import partition_of
from events.slices import LogRecord, Origin, Record, Slice
from events.types import Event
from infra.compose import Engines
from infra.demo.convergence import Offsets
from infra.repair.cells import Change, changes, written
from infra.repair.log import KeyLog, Place, order
from infra.repair.mend import kept, wanted
from infra.repair.rows import Rows
from infra.repair.searched import Fix, Searched
from infra.repair.targets import Target
from projections.bus import RedisBus
from projections.keys import Keys
from projections.store import Store
from projections.unit import StoredUnit
from streams.decisions import REDRIVE
from tests.memory.bus import MemoryBus
from tests.memory.redis import Redis
from tests.memory.store import Database, MemoryStore

PARTITIONS = 2
SLICE = 3
TRIES_MAX = 5

Made = Callable[[RedisBus, Store, Keys], StoredUnit]


class MemoryLog(KeyLog):
    """A log in memory; what an operator sent back was sent back as it was.

    Attributes:
        all: Its records, but for the requests of the operator.
        sent: Place in ``redrive`` by origin.
    """

    def __init__(self) -> None:
        self.all: list[LogRecord] = []
        self.sent: dict[tuple[str, int, int], tuple[int, int]] = {}

    def send_back(self, record: LogRecord) -> None:
        """Asks for a record that no worker could apply in its place."""
        self.sent[record[:3]] = (0, len(self.sent))

    def append(self, topic: str, key: object, event: Event, at_ms: int = 0) -> LogRecord:
        """Appends to the partition of a key."""
        ((_, partition),) = self.places(topic, [key])
        offset = sum(record[:2] == (topic, partition) for record in self.all)
        self.all.append(LogRecord(topic, partition, offset, event, at_ms))
        return self.all[-1]

    def places(self, topic: str, keys: Iterable[object]) -> set[Place]:
        return {(topic, partition_of(str(key).encode(), PARTITIONS)) for key in keys}

    def every(self, topic: str) -> set[Place]:
        return {(topic, number) for number in range(PARTITIONS)}

    async def ends(self, topics: Iterable[str]) -> Offsets:
        places = set().union(*map(self.every, topics))
        ends = {place: sum(record[:2] == place for record in self.all) for place in places}
        return ends | {(REDRIVE, 0): len(self.sent)} if (REDRIVE, 0) in places else ends

    async def since(self, topics: Iterable[str], at_ms: int) -> Offsets:
        return {
            place: min(
                (r.offset for r in self.all if r[:2] == place and r[4] >= at_ms), default=end
            )
            for place, end in (await self.ends(topics)).items()
        }

    def sent_back(self, record: LogRecord) -> tuple[int, int] | None:
        return self.sent.get(record[:3])

    async def read(
        self,
        places: Iterable[Place],
        ends: Offsets,
        speaks: Callable[[Event], bool],
        start: Offsets | None = None,
    ) -> list[LogRecord]:
        begin, wanted_places = start or {}, set(places)
        return sorted(
            (
                record
                for record in self.all
                if record[:2] in wanted_places
                and begin.get(record[:2], 0) <= record.offset < ends[record[:2]]
                and speaks(record.event)
            ),
            key=order,
        )


class Generation:
    """See the module.

    Args:
        name: Of the unit.
        made: Makes the unit.
    """

    def __init__(self, name: str, made: Made) -> None:
        self.log = MemoryLog()
        self.bus = MemoryBus(Redis())
        self.database = Database()
        self.store = MemoryStore(self.database, "t1")
        self.keys = Keys("t1", name, 2)
        self.unit = made(self.bus, self.store, self.keys)
        self.applied: Offsets = {}

    async def open(self) -> Generation:
        """Makes the tables, and begins every partition."""
        await self.unit.open()
        for topic in self.unit.topics:
            for number in range(PARTITIONS):
                await self.unit.resume(topic, number, "id")
        return self

    async def feed(self) -> None:
        """Applies what is not applied of the log, in slices of some records."""
        for place, end in (await self.log.ends(self.unit.topics - {REDRIVE})).items():
            of_place = [record for record in self.log.all if record[:2] == place]
            for at in range(self.applied.get(place, 0), end, SLICE):
                upto = min(at + SLICE, end)
                part = [one for one in of_place[at:upto] if self.log.sent_back(one) is None]
                await self.unit.apply(Slice(*place, "id", at, upto, _records(part)))
            self.applied[place] = end
        await self._feed_late()

    async def _feed_late(self) -> None:
        """Applies what was sent back, one by one."""
        place = (REDRIVE, 0)
        by_origin = {record[:3]: record for record in self.log.all}
        for at, origin in enumerate(self.log.sent):
            if at >= self.applied.get(place, 0):
                one = _records([by_origin[origin]])
                piece = Slice(*place, "id", at, at + 1, one, Origin(*origin[:2]))
                await self.unit.apply(piece)
        self.applied[place] = len(self.log.sent)

    def rows(self) -> Rows:
        """Returns the rows of the generation, by the definitions of its tables."""
        layouts = {}
        for name in self.unit.tables:
            said = self.database.table(self.store.table(name)).definition
            key = [SimpleNamespace(name=one) for one in said.partition_key + said.clustering]
            full = self.store.table(name).rpartition(".")[2]
            layouts[full] = SimpleNamespace(primary_key=key, columns=dict(said.columns))
        keyspace = SimpleNamespace(tables=layouts)
        cluster = SimpleNamespace(metadata=SimpleNamespace(keyspaces={"k": keyspace}))
        on: Any = SimpleNamespace(
            session=SimpleNamespace(cluster=cluster), settings=SimpleNamespace(keyspace="k")
        )
        return Rows(cast("Engines", on), self.store, self.unit.tables)

    async def wrong(self, target: Target) -> list[str]:
        """Returns what a look finds."""
        wrong, fixes, _ = await self._look(target, {})
        return [*(change.words() for change in wrong), *(fix.words for fix in fixes)]

    async def mend(self, target: Target) -> list[str]:
        """Repairs until a look finds nothing; returns what the first one found."""
        found = await self.wrong(target)
        tries: dict[Any, int] = {}
        for _ in range(TRIES_MAX):
            wrong, fixes, rows = await self._look(target, tries)
            if not wrong and not fixes:
                return found
            await rows.write(wrong)
            await self.bus.calls_strict([fix.command for fix in fixes])
            for change in wrong:
                tries[change.row, change.column] = tries.get((change.row, change.column), 0) + 1
        raise AssertionError(f"still wrong: {await self.wrong(target)}")

    async def _look(
        self, target: Target, tries: dict[Any, int]
    ) -> tuple[list[Change], list[Fix], Rows]:
        rows, ends = self.rows(), await self.log.ends(target.topics)
        records = await target.records(self.log, ends)
        known = {written(write, rows.keys).row for _, write in target.facts(records, {}, ends)}
        stored = await kept(target, rows, [row for row in known if target.owns(row)])
        if isinstance(target, Searched):
            await target.look()
        expected = wanted(target, self.log, records, stored, self.applied, ends, rows.keys)
        fixes = target.fixes(self.applied) if isinstance(target, Searched) else []
        return changes(expected, stored, tries, max(ends.values())), fixes, rows

    async def all(self, but: Sequence[str] = ("positions",)) -> dict[Any, Any]:
        """Returns every row of the unit as readers see it."""
        found = {}
        for name in self.unit.tables:
            if name not in but:
                columns = list(self.database.table(self.store.table(name)).definition.columns)
                rows = await self.store.execute(f"SELECT {', '.join(columns)} FROM {{{name}}}")
                found[name] = sorted(rows, key=repr)
        return found


def _records(of: Iterable[LogRecord]) -> list[Record]:
    return [Record(one.offset, one.appended_at, one.event) for one in of]
