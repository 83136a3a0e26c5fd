"""Doing once what many ask for at the same time, and not too much at once.

- :class:`Flights`: of several who ask for the same thing, one does it and the others share.
- :class:`Gathered`: of several who load entries by id, those who come while loads are under way are
  gathered into one load, each id once.
- :class:`Bulkhead`: so many at a time, so many waiting, the rest refused at once.

Keeps true: nobody is given what was begun before he asked. Whoever finds work under way shares the
*next* one, which begins when that ends. So a read still sees every write that was acknowledged
before it, and a lease taken before it still guards the fill (``projections.cache``): with the usual
single flight, which lets everybody join what is under way, a cache could be filled with what is
older than the commit that has just emptied it.

So N readers who come at once cost two times the work, not N times.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from types import TracebackType
from typing import Generic, TypeVar

from projections.base import Overloaded, PartlyRead

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Flight(Generic[V]):
    """One doing of the work of a key, and the one that follows it, if anybody waits for it."""

    __slots__ = ("following", "landed")

    def __init__(self) -> None:
        self.landed = asyncio.Event()
        self.following: asyncio.Task[V] | None = None


class Flights(Generic[K, V]):
    """Shares work by key; at most one doing of a key's work at a time."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    async def run(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Returns what ``work`` returns, or what another's work for this key does.

        That other one began after this call.
        """
        flight = self._flights.get(key)
        if flight is None:
            return await self._fly(key, work)
        if flight.following is None:
            flight.following = asyncio.create_task(self._follow(key, flight, work))
        # One who gives up does not take the others' flight down.
        return await asyncio.shield(flight.following)

    async def _follow(self, key: K, flight: _Flight[V], work: Callable[[], Awaitable[V]]) -> V:
        await flight.landed.wait()
        return await self._fly(key, work)

    async def _fly(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        flight: _Flight[V] = _Flight()
        self._flights[key] = flight
        try:
            return await work()
        finally:
            flight.landed.set()
            if flight.following is None:
                del self._flights[key]


class _Load(Generic[V]):
    """Ids that wait for one load, together."""

    __slots__ = ("found", "ids")

    def __init__(self) -> None:
        self.ids: dict[int, None] = {}
        self.found: asyncio.Future[dict[int, V]] = asyncio.get_running_loop().create_future()


class Gathered(Generic[V]):
    """Loads entries by id for many askers.

    Args:
        load: Loads entries; an id without one is left out of the answer.
        loads_max: Loads under way at a time. A hot id is asked for by that many at most, and once
            more by the load that follows.
        ids_max: Ids that are gathered into one load.
        waiting_max: Loads that wait.
    """

    def __init__(
        self,
        load: Callable[[Sequence[int]], Awaitable[dict[int, V]]],
        *,
        loads_max: int,
        ids_max: int,
        waiting_max: int,
    ) -> None:
        self._load = load
        self._loads_max = loads_max
        self._ids_max = ids_max
        self._waiting_max = waiting_max
        self._waiting: deque[_Load[V]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0

    async def __call__(self, ids: Sequence[int]) -> dict[int, V]:
        """Returns the entries of ids.

        Raises:
            Overloaded: too many loads wait.
            PartlyRead: some could not be loaded.
        """
        if self._under_way < self._loads_max:
            self._under_way += 1
            try:
                return await self._load(ids)
            finally:
                self._landed()
        load = self._joined(ids)
        try:
            found = await asyncio.shield(load.found)
        except PartlyRead as partly:
            missing = partly.missing.intersection(ids)
            own = {i: partly.found[i] for i in ids if i in partly.found}
            if missing:
                raise PartlyRead(str(partly), own, missing) from partly
            return own
        return {i: found[i] for i in ids if i in found}

    def _joined(self, ids: Sequence[int]) -> _Load[V]:
        last = self._waiting[-1] if self._waiting else None
        if last is None or len(last.ids) + len(ids) > self._ids_max:
            if len(self._waiting) >= self._waiting_max:
                raise Overloaded("too many loads wait for the store")
            last = _Load()
            self._waiting.append(last)
        last.ids.update(dict.fromkeys(ids))
        return last

    def _landed(self) -> None:
        self._under_way -= 1
        if self._waiting:
            self._under_way += 1
            task = asyncio.create_task(self._run(self._waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, load: _Load[V]) -> None:
        try:
            load.found.set_result(await self._load(list(load.ids)))
        except Exception as error:
            load.found.set_exception(error)  # told to everybody who waits for it
            load.found.exception()  # whoever waited may be gone
        finally:
            self._landed()


class Bulkhead:
    """So many at a time: ``async with bulkhead``.

    Args:
        places: How many.
        waiting_max: How many wait for a place.
    """

    def __init__(self, places: int, waiting_max: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._waiting_max = waiting_max
        self._waiting = 0

    async def __aenter__(self) -> None:
        """Takes a place.

        Raises:
            Overloaded: too many wait for one.
        """
        if not self._places.locked():
            await self._places.acquire()
            return
        if self._waiting >= self._waiting_max:
            raise Overloaded("too many wait to read from the store")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives it back."""
        self._places.release()
