"""The state machine: what people do, how workers get on with it, what goes wrong; then every read.

Hypothesis draws the rules and their arguments, and cuts a failure down to the few that matter.
Everything that is drawn is a small number, so that what is left of a failure can be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from math import prod
from random import Random
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from projections.engagement.layout import Limits
from tests.model.buildings import GENERATIONS_MAX
from tests.model.desk import WAYS, Way
from tests.model.life import KINDS, OFTEN, PEOPLE, Act
from tests.model.processes import STATES, Engines, MemoryEngines
from tests.model.reader import MemoryGateway
from tests.model.town import Move, Read, Town, small_bounds

GATEWAYS = 2

T = TypeVar("T")

_gateways: list[MemoryGateway] = []
"""Handed from run to run."""

FOLLOWS = 0.4
"""Share of pairs of whom one follows the other from the beginning; nobody does by the seed 0."""

SHOWN_MAX = 5
"""Differences that are told; the first is what matters."""

_small = st.integers(0, 15)
_who = st.integers(0, PEOPLE - 1)
_breaks = st.none() | st.integers(0, 60)
_seed = st.integers(0, 1 << 16)


@st.composite
def _drawn(draw: st.DrawFn, kind: Callable[..., T], *ranges: int) -> T:
    """Draws one number for all that a thing picks: a run draws hundreds, each costs."""
    number = draw(st.integers(0, prod(ranges) - 1))
    parts = []
    for size in ranges:
        number, part = divmod(number, size)
        parts.append(part)
    return kind(*parts)


def _act(kind: int, who: int, whom: int, what: int, odd: int) -> Act:
    return Act(_WEIGHED[kind], who, whom, what, odd)


def _move(worker: int, partition: int, longest: int, breaks: int) -> Move:
    return Move(worker, partition, 1 + longest, breaks if breaks < 60 else None)


_WEIGHED = OFTEN * 3 + KINDS + ("garble",) * 3
_acts = st.lists(_drawn(_act, len(_WEIGHED), PEOPLE, PEOPLE, 16, 16), min_size=3, max_size=16)
_moves = st.lists(_drawn(_move, 12, 6, 9, 120), min_size=1, max_size=10)
_safe_reads = st.lists(_drawn(Read, PEOPLE, 64), max_size=8)
_reads = _safe_reads | st.lists(_drawn(Read, PEOPLE, 64, 13), max_size=8)
_unit = st.sampled_from(("timelines", "engagement", *STATES))
_FAILURES = ("evicts", "goes back", "is asked later", "goes back whole")


def town_on(on: Engines, members: int) -> Town:
    """Returns a new town on some engines."""
    while len(_gateways) < GATEWAYS + GENERATIONS_MAX - 1:
        _gateways.append(MemoryGateway())
    gateways = [gateway.begin(on) for gateway in _gateways[:GATEWAYS]]
    return Town(on, gateways, _gateways[GATEWAYS:], members)


class Totals:
    """What a number of runs came to."""

    def __init__(self) -> None:
        self.runs = self.steps = self.compared = 0


class Murmuration(RuleBasedStateMachine):
    """One run."""

    totals: ClassVar[Totals] = Totals()

    def __init__(self) -> None:
        super().__init__()
        self._closing = ExitStack()
        self._closing.enter_context(small_bounds())
        self._loop = self.loop()
        self.town: Town
        self._steps = 0
        self._begun = False

    def loop(self) -> asyncio.AbstractEventLoop:
        """Returns what the run happens in; it is closed at the end."""
        return asyncio.new_event_loop()

    def town_of(self, members: int, limits: Limits) -> Town:
        """Returns a new town."""
        return town_on(MemoryEngines(limits), members)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs something to its end."""
        return self._loop.run_until_complete(work)

    # --- the beginning ---

    @initialize(
        members=st.integers(1, 2),
        hot=st.sampled_from([1_000_000, 1, 0]),
        registered=st.integers(3, PEOPLE),
        follows=_seed,
        settled=st.booleans(),
    )
    def begin(self, members: int, hot: int, registered: int, follows: int, settled: bool) -> None:
        """Some are registered and follow each other; maybe they have read their homes."""
        self.town = self.town_of(members, Limits(members_hot_max=hot))
        for user in range(registered):
            self.town.life.act(Act("register", user, 0, 0, 0))
        chance = Random(follows)
        for number in range(PEOPLE * PEOPLE if follows else 0):
            if chance.random() < FOLLOWS:
                self.town.life.act(Act("follow", number // PEOPLE, number % PEOPLE, 0, 0))
        self.run(self._begin(settled))
        self._begun = True

    async def _begin(self, settled: bool) -> None:
        await self.town.on.sync()
        await self.town.begin()
        if settled:
            await self._quiet()

    @invariant()
    def a_step_was_done(self) -> None:
        """Counts."""
        self._steps += 1

    # --- people ---

    @rule(acts=_acts)
    def people_act(self, acts: list[Act]) -> None:
        """Things happen, and are in the log."""
        for act in acts:
            self.town.life.act(act)
        self.run(self.town.on.sync())

    # --- workers ---

    @rule(moves=_moves)
    def workers_move(self, moves: list[Move]) -> None:
        """Workers go on, one after another, and may be cut off after any operation."""
        self.run(self._move(moves))

    async def _move(self, moves: list[Move]) -> None:
        for move in moves:
            await self.town.move(move)

    @rule(acts=_acts, moves=_moves, reads=_reads, cold=st.booleans(), seed=_seed)
    def all_at_once(
        self, acts: list[Act], moves: list[Move], reads: list[Read], cold: bool, seed: int
    ) -> None:
        """Things happen, and workers and readers are about them side by side."""
        self.people_act(acts)
        if cold:
            self.run(self.town.on.evict(lambda _place: True))
        self.run(self.town.together(moves, reads, seed))

    @rule(acts=_acts, reads=_reads, cold=st.booleans(), seed=_seed)
    def all_catch_up_at_once(
        self, acts: list[Act], reads: list[Read], cold: bool, seed: int
    ) -> None:
        """The same, and every worker takes all there is."""
        each = [
            Move(worker, partition, 9, None)
            for worker in range(len(self.town.workers))
            for partition in range(2)
        ]
        self.all_at_once(acts, each, reads, cold, seed)

    @rule(worker=st.integers(0, 11), knows=st.booleans())
    def a_worker_is_replaced(self, worker: int, knows: bool) -> None:
        """By another process; who does not know of it may go on."""
        if knows:
            self.run(self.town.worker(worker).restart())
        else:
            self.run(self.town.depose(worker))

    @precondition(lambda self: self.town.zombies)
    @rule(zombie=_small, partition=st.integers(0, 5), longest=st.integers(1, 9))
    def a_zombie_goes_on(self, zombie: int, partition: int, longest: int) -> None:
        """With a slice that it had fetched."""
        self.run(self.town.zombie(zombie, partition, longest))

    @rule(
        worker=st.integers(0, 11),
        partition=st.integers(0, 5),
        back=_small,
        longest=st.integers(1, 9),
    )
    def a_slice_comes_again(self, worker: int, partition: int, back: int, longest: int) -> None:
        """Redelivery."""
        self.run(self.town.again(worker, partition, back, longest))

    @rule()
    def a_quiet_moment(self) -> None:
        """Lag zero, and everybody reads his home timeline: from here on they are pushed to."""
        self.run(self._quiet())

    async def _quiet(self) -> None:
        await self.town.settle()
        await self._read([Read(user, 0) for user in range(PEOPLE)])

    @rule(act=st.integers(0, 4), author=_who, generation=_small, breaks=_breaks)
    def tiers_change(self, act: int, author: int, generation: int, breaks: int | None) -> None:
        """A keeper surveys, promotes or demotes, or everybody is pulled or pushed again."""
        ready = self.run(self.town.generations.ready("timelines"))
        of = ready[generation % len(ready)]
        self.run(self.town.keep(act, self.town.life.user(author), of, breaks))

    @rule(which=_small, generation=_small, breaks=_breaks)
    def trends_are_worked_out(self, which: int, generation: int, breaks: int | None) -> None:
        """By one of two processes, if it may lead; it may be cut off in the middle."""
        ready = self.run(self.town.generations.ready("trends"))
        self.run(self.town.trends.lead(ready[generation % len(ready)], which, breaks))

    # --- generations ---

    @rule(unit=_unit, slices=_small, breaks=_breaks, stops=st.booleans(), knows=st.booleans())
    def a_replay_goes_on(
        self, unit: str, slices: int, breaks: int | None, stops: bool, knows: bool
    ) -> None:
        """A unit's next generation is begun, or built further; the replay may be stopped then."""
        self.run(self.town.generations.replay(unit, slices, breaks))
        if stops:
            self.run(self.town.generations.stop(unit, knows=knows))
        self.run(self.town.generations.count())

    @rule(unit=_unit, breaks=_breaks, knows=st.booleans())
    def a_replay_ends(self, unit: str, breaks: int | None, knows: bool) -> None:
        """It has reached the live end: the generation is ready, and fed from then on."""
        self.run(self.town.generations.replay(unit, 0, None))
        self.run(self.town.generations.finish(unit, breaks, knows=knows))
        self.run(self.town.generations.count())

    @precondition(lambda self: self.town.generations.several)
    @rule(unit=_small, pick=_small, back=st.booleans(), looking=st.integers(0, GATEWAYS))
    def an_engineer_promotes(self, unit: int, pick: int, back: bool, looking: int) -> None:
        """Or rolls back; some gateways have looked since, and the others will."""
        generations = self.town.generations
        named = generations.several[unit % len(generations.several)]
        self.run(generations.roll_back(named) if back else generations.promote(named, pick))
        self.run(generations.look(self.town.gateways[:looking]))

    @precondition(lambda self: self.town.generations.several)
    @rule(unit=_small, pick=_small, breaks=_breaks, knows=st.booleans())
    def an_engineer_drops(self, unit: int, pick: int, breaks: int | None, knows: bool) -> None:
        """A generation goes that does not serve; a worker may not know of it."""
        generations = self.town.generations
        named = generations.several[unit % len(generations.several)]
        self.run(generations.drop(named, pick, breaks, knows=knows))
        self.run(generations.count())

    # --- dead letters ---

    @precondition(lambda self: self.town.on.log.letters)
    @rule(pick=_small, way=st.sampled_from(WAYS), twice=st.booleans())
    def an_operator_decides(self, pick: int, way: Way, twice: bool) -> None:
        """About a dead letter; perhaps another one does at the same moment."""
        self.run(self._decide(pick, way, twice))

    async def _decide(self, pick: int, way: Way, twice: bool) -> None:
        await self.town.desk.decide(pick, way, twice=twice)
        await self.town.on.sync()

    # --- readers ---

    @rule(reads=_safe_reads)
    def people_read(self, reads: list[Read]) -> None:
        """So that caches and timelines are warm, and hold what is of that moment."""
        self.run(self._read(reads))

    async def _read(self, reads: list[Read]) -> None:
        for read in reads:
            await self.town.read(read)

    # --- Redis ---

    @rule()
    def redis_is_remembered(self) -> None:
        """A replica, or a snapshot on disk, of this moment."""
        self.run(self.town.remember())

    @rule(how=st.sampled_from(_FAILURES), pick=_seed)
    def redis_fails(self, how: str, pick: int) -> None:
        """Entries expire or are evicted; buckets go back to what is remembered, or are empty."""
        on = self.town.on
        match how:
            case "evicts":
                self.run(on.evict(lambda place: bool(pick >> place % 16 & 1)))
            case "goes back":
                self.run(on.forget(_in_buckets(1 + pick % 7)))
            case "goes back whole":
                self.run(on.forget(lambda _key: True))
            case _:
                self.run(on.later((1, 11, 70, 90_000)[pick % 4]))

    # --- the end ---

    def teardown(self) -> None:
        """At lag zero every read is right; and again when the last zombie has had his say."""
        try:
            if self._begun:
                self.run(self._end())
        finally:
            self._close()

    async def _end(self) -> None:
        town = self.town
        await self._compare()
        if town.zombies:
            await self._bury()
            await self._compare()

    async def _compare(self) -> None:
        town = self.town
        await town.clear()
        await town.generations.look()
        _right(await town.trends.differences())
        _right(await town.differences(town.gateways))
        for beside in await town.generations.views():
            _right(await town.differences([beside]))

    async def _bury(self) -> None:
        for zombie in list(self.town.zombies):
            for source in zombie.sources:
                while (piece := zombie.next(source, 5)) is not None and await zombie.apply(piece):
                    pass

    def end(self) -> None:
        """Ends what :meth:`loop` and :meth:`town_of` began."""
        self._loop.close()

    def _close(self) -> None:
        totals = Murmuration.totals
        totals.runs += 1
        totals.steps += self._steps
        if self._begun:
            totals.compared += self.town.compared
        if left := asyncio.all_tasks(self._loop):
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(left))
        self.end()
        self._closing.close()


def _in_buckets(picked: int) -> Callable[[bytes], bool]:
    """Returns which keys are of the picked buckets; what is in none is of the first."""

    def lost(key: bytes) -> bool:
        tag = key[key.find(b"{") + 1 : key.find(b"}")]
        return bool(picked >> (int(tag) if tag.isdigit() else 0) & 1)

    return lost


def _right(differences: list[str]) -> None:
    assert not differences, "\n".join(
        [f"{len(differences)} reads differ from the oracle:", *differences[:SHOWN_MAX]]
    )
