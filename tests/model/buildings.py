"""Generations in the model: built beside the one in service, put into it, back, and dropped.

The registry, the beginning of a replay, promotion, roll-back and what a drop removes are the
product's (`projections.generations`, `infra.replay`), and so is what gateways follow by. What is
the model's: worker processes are objects that it moves slice by slice, so that a replay can be cut
off anywhere, and a generation's consumer group is whoever of them there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from events.position import Position
from infra import compose
from infra.compose import Engines as Clients
from infra.generations import now_ms, state_of
from infra.replay import lifecycle
from infra.replay.rebuild import begin, begin_fan_out, hand_on_large
from projections.base import RetryableError
from projections.generations import Generation, GenerationError, State
from projections.positions import reached
from tests.memory.line import Crashed
from tests.model.log import TOPIC_ID
from tests.model.processes import STATES, UNITS, Process, process, unit_of
from tests.model.reader import MemoryGateway
from tests.model.worker import Worker

if TYPE_CHECKING:
    from tests.model.town import Town

GENERATIONS_MAX = 3
"""Generations of a unit that a run begins, the first among them."""

LAYOUT = 1


class TownGenerations:
    """The generations of a town.

    Args:
        town: The town, whose workers and gateways come and go with them.
    """

    def __init__(self, town: Town) -> None:
        self._town = town
        self._operator = process(town.on)
        self.audit: list[tuple[str, str, str]] = []
        self.several: tuple[str, ...] = ()
        """Units that have more than one generation."""

    async def begin(self) -> None:
        """Every unit begins with its first."""
        registry = self._operator.generations
        await registry.create()
        shape = LAYOUT, self._town.on.settings.buckets
        await registry.register_first(dict.fromkeys(STATES, shape), now_ms=now_ms())
        for unit in STATES:
            await self._feed(unit, registry.first)

    async def ready(self, unit: str) -> list[str]:
        """Returns the generations of a unit that are fed for good, the oldest first."""
        there = await self._operator.generations.of(unit)
        return [one.name for one in there if one.state is State.READY]

    # --- building ---

    async def replay(self, unit: str, slices: int, breaks: int | None) -> None:
        """A replay begins, or goes on, and applies some slices; it may be cut off while it begins.

        Whoever feeds it is among the town's workers from then on, until it is stopped or ends.
        """
        there = await self._operator.generations.of(unit)
        building = next((one for one in there if one.state is State.BUILDING), None)
        if building is None and await self._begun(unit) >= GENERATIONS_MAX:
            return
        at_work = process(self._town.on)
        _break(at_work, breaks)
        try:
            building = await begin(at_work, unit)
        except (Crashed, RetryableError):
            return
        builders = await self._builders(building)
        for number in range(slices):
            worker = builders[number % len(builders)]
            for source in worker.lags[:1]:
                await worker.go(source, 1 + number % 4)

    async def stop(self, unit: str, *, knows: bool) -> None:
        """A replay is stopped; its processes end, or go on without their partitions."""
        there = await self._operator.generations.of(unit)
        for one in there:
            if one.state is State.BUILDING:
                self._leave(one, knows=knows)

    async def finish(self, unit: str, breaks: int | None, *, knows: bool) -> None:
        """A replay reaches the live end and says so; it may be cut off before it has."""
        there = await self._operator.generations.of(unit)
        building = next((one for one in there if one.state is State.BUILDING), None)
        if building is None:
            return
        for worker in await self._builders(building):
            await self._town.catch_up(worker)
        at_work = process(self._town.on)
        _break(at_work, breaks)
        try:
            await self._say_ready(at_work, building)
        except (Crashed, RetryableError):
            return
        self._leave(building, knows=knows)
        await self._feed(unit, building.name)

    async def _say_ready(self, on: Process, one: Generation) -> None:
        """What `infra.replay.rebuild` does when the live end is reached."""
        if one.unit == "timelines":
            there = on.at({one.unit: one.name})
            serving = (await on.generations.pointer(one.unit)).serving
            log = self._town.on.log
            for topic in unit_of(there, "fan-out").topics:
                bounds = await log.bounds(topic)
                ends = {partition: end for partition, (_, end) in bounds.items()}
                await begin_fan_out(there, topic, ends, TOPIC_ID)
            await hand_on_large(on.at({one.unit: serving}), there)
        await on.generations.ready(one)

    async def count(self) -> None:
        """Notes which units have several generations."""
        there = [one.unit for one in await self._operator.generations.all()]
        self.several = tuple(unit for unit in STATES if there.count(unit) > 1)

    async def _begun(self, unit: str) -> int:
        rows = await self._operator.generations._rows()
        return sum(one.unit == unit for one in rows)

    async def _builders(self, one: Generation) -> list[Worker]:
        """Returns the processes of a replay; they are started where there are none."""
        found = self._workers(one)
        if not found:
            found = [
                Worker(self._town.on, one.unit, one.name, (member, self._town.members))
                for member in range(self._town.members)
            ]
            for worker in found:
                await worker.start()
            self._town.workers += found
        return found

    async def _feed(self, unit: str, name: str) -> None:
        """Starts the standing workers of a generation."""
        members = self._town.members
        made = [
            Worker(self._town.on, one, name, (member, members))
            for one in UNITS
            if state_of(one) == unit
            for member in range(members)
        ]
        for worker in made:
            await worker.start()
        self._town.workers += made

    def _workers(self, one: Generation) -> list[Worker]:
        return [w for w in self._town.workers if (w.state, w.generation) == (one.unit, one.name)]

    def _leave(self, one: Generation, *, knows: bool) -> None:
        """The workers of a generation end; those who do not know of it are zombies."""
        for worker in self._workers(one):
            self._town.workers.remove(worker)
            if not knows:
                worker.depose()
                self._town.zombies.append(worker)

    # --- serving ---

    async def promote(self, unit: str, pick: int) -> None:
        """An engineer puts a generation into service, if it has applied what the present one has.

        It is refused in every other case: none is ready, or it lags.
        """
        on = self._operator
        names = [None, *(one.name for one in await on.generations.of(unit))]
        try:
            to = await lifecycle.candidate(on, unit, names[pick % len(names)])
        except GenerationError:
            return
        await self._put(unit, to, "promote")

    async def roll_back(self, unit: str) -> None:
        """An engineer puts the generation back into service that served before."""
        try:
            to = await lifecycle.before(self._operator, unit)
        except GenerationError:
            return
        await self._put(unit, to, "rollback")

    async def _put(self, unit: str, to: Generation, action: str) -> None:
        on = self._operator
        assert to.state is State.READY, to
        serving = (await on.generations.pointer(unit)).serving
        here, there = on.at({unit: serving}), on.at({unit: to.name})
        passed = reached(await there.applied(unit).all(), await here.applied(unit).all())
        try:
            await lifecycle.promote(
                on, unit, to, self._note, compare=None, action=action, ends=self._ends
            )
        except GenerationError:
            assert not passed, f"{to.name} of {unit} could have been put into service"
        else:
            assert passed, f"{to.name} of {unit} lagged, and was put into service"
        assert (await on.generations.pointer(unit)).serving == (to.name if passed else serving)

    async def _ends(self, on: Clients, unit: str) -> dict[str, int]:
        log = self._town.on.log
        sources = log.sources(compose.UNITS[unit](on).topics)
        return {f"{topic}/{partition}": log.end((topic, partition)) for topic, partition in sources}

    async def look(self, gateways: Sequence[MemoryGateway] | None = None) -> None:
        """Gateways change over to what is in service."""
        pointers = await self._operator.generations.pointers()
        for gateway in gateways if gateways is not None else self._town.gateways:
            await gateway.look()
            for unit, pointer in pointers.items():
                assert gateway.reads.generation(unit) == pointer.serving, unit

    async def drop(self, unit: str, pick: int, breaks: int | None, *, knows: bool) -> None:
        """An engineer drops a generation that does not serve, ready, half built or half dropped."""
        on = process(self._town.on)
        there = await on.generations.of(unit)
        one = there[pick % len(there)]
        serves = one.name == (await on.generations.pointer(unit)).serving
        await self._note("drop", unit=unit, generation=one.name, detail="")
        try:
            await on.generations.dropping(one)
        except GenerationError:
            assert serves, f"{one.name} of {unit} could have been dropped"
            return
        assert not serves, f"{one.name} of {unit} serves, and was dropped"
        await self.look()  # a drop waits until no request can be in it
        self._leave(one, knows=knows)
        _break(on, breaks)
        try:
            await lifecycle.remove(on.at({unit: one.name}), unit)
            await on.generations.dropped(one)
        except (Crashed, RetryableError):
            return  # it is dropped again

    async def views(self) -> list[MemoryGateway]:
        """Returns gateways that read, between them, every ready generation beside those in
        service."""
        pointers = await self._operator.generations.pointers()
        first = self._operator.generations.first
        beside = {
            unit: [
                name
                for name in await self.ready(unit)
                if name != (pointers[unit].serving if unit in pointers else first)
            ]
            for unit in STATES
        }
        serving = {unit: pointer.serving for unit, pointer in pointers.items()}
        return [
            gateway.begin(
                self._town.on,
                serving | {unit: names[at] for unit, names in beside.items() if at < len(names)},
            )
            for at, gateway in enumerate(self._town.spare[: max(map(len, beside.values()))])
        ]

    async def _note(self, action: str, *, unit: str, generation: str, detail: str) -> Position:
        self.audit.append((action, unit, generation))
        return Position("audit", 0, len(self.audit) - 1)


def _break(on: Process, breaks: int | None) -> None:
    if breaks is not None:
        on.line.breaks_after(breaks // 2, kills=breaks % 2 == 0)
