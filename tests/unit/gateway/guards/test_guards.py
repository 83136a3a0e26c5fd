"""The guarded ports over fakes of what they wrap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from events.errors import StoreUnavailable
from events.idempotency import CassandraIdempotency
from gateway.guards.breaker import State, Thresholds
from gateway.guards.bus import GuardedBus
from gateway.guards.guard import EngineAway, Guard, engine_away
from gateway.guards.store import GuardedStatements, GuardedStore
from gateway.metrics import GatewayMetrics
from projections.base import PartlyRead, RetryableError
from projections.bus import Command, RedisBus, Reply
from projections.cache import Cache
from projections.keys import Keys
from projections.store import Row, Store
from projections.timelines import marked
from tests.unit.waiting import until

SECONDS_MAX = 0.1
PATIENT_SECONDS = 60.0


class Engine:
    """Answers, fails or hangs; counts what it was asked."""

    def __init__(self) -> None:
        self.mode = "well"
        self.asked = 0
        self.probes = 0

    async def ask(self, answer: Callable[[], Any]) -> Any:
        self.asked += 1
        if self.mode == "hangs":
            await asyncio.Event().wait()
        if self.mode == "fails":
            raise RetryableError("away")
        return answer()

    async def probe(self) -> None:
        self.probes += 1
        if self.mode != "well":
            raise RetryableError("away")


@pytest.fixture
def metrics() -> GatewayMetrics:
    return GatewayMetrics(CollectorRegistry())


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def guard(engine: Engine, metrics: GatewayMetrics) -> AsyncIterator[Guard]:
    guard = Guard("store", Thresholds(), engine.probe, metrics, probe_seconds=SECONDS_MAX)
    yield guard
    await guard.close()


class FakeStore(GuardedStore):
    """A guarded store whose driver is an :class:`Engine`."""

    def __init__(self, engine: Engine, guard: Guard, metrics: GatewayMetrics) -> None:
        super().__init__(None, "k", "g1", guard, metrics, seconds_max=SECONDS_MAX)
        self.engine = engine


@pytest.fixture
def store(
    engine: Engine, guard: Guard, metrics: GatewayMetrics, monkeypatch: pytest.MonkeyPatch
) -> FakeStore:
    async def ask(_self: Store, _statement: Any, _seconds_max: float) -> list[Row]:
        found: list[Row] = await engine.ask(lambda: [(1,)])
        return found

    class Prepared:
        def bind(self, _values: Sequence[Any]) -> Any:
            return self

    async def prepare(_self: Store, _cql: str) -> Any:
        return Prepared()

    monkeypatch.setattr(Store, "_ask", ask)
    monkeypatch.setattr(Store, "prepare", prepare)
    return FakeStore(engine, guard, metrics)


async def test_the_store_refuses_at_once_while_open_and_comes_back(
    store: FakeStore, engine: Engine, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert await store.execute("SELECT") == [(1,)]
    engine.mode = "hangs"
    while not guard.away:
        with pytest.raises(RetryableError, match=r"within 0\.1 s"):
            await store.execute("SELECT")
    asked = engine.asked
    for _ in range(100):
        with pytest.raises(EngineAway) as away:
            await store.execute("SELECT")
        assert away.value.retry_after_seconds >= 1
    assert engine.asked == asked
    assert "breaker store: closed -> open" in caplog.text
    engine.mode = "well"
    await until(lambda: not guard.away)
    assert await store.execute("SELECT") == [(1,)]
    assert "breaker store: half_open -> closed" in caplog.text


async def test_a_read_that_fails_fast_is_tried_once_more_and_within_the_budget(
    store: FakeStore, engine: Engine, guard: Guard, metrics: GatewayMetrics
) -> None:
    store._seconds_max = PATIENT_SECONDS  # there is time for a retry, on a busy machine as well
    engine.mode = "fails"
    with pytest.raises(RetryableError):
        await store.execute("SELECT")
    assert engine.asked == 2
    calls = 0
    while not guard.away:
        with pytest.raises(RetryableError):
            await store.execute("SELECT")
        calls += 1
    assert engine.asked <= 2 + 2 * calls
    assert metrics.store_retries._value.get() <= 1 + calls


async def test_nothing_is_tried_again_once_the_breaker_opened(
    store: FakeStore, engine: Engine, guard: Guard
) -> None:
    engine.mode = "fails"
    reading = asyncio.create_task(store.execute("SELECT"))
    await until(lambda: engine.asked == 1)
    while not guard.away:
        guard.failed("others met it too")
    with pytest.raises(RetryableError):
        await reading
    assert engine.asked == 1


async def test_the_gateway_cannot_write_facts(store: FakeStore) -> None:
    with pytest.raises(TypeError, match="writes no facts"):
        await store.write([])


async def test_a_lightweight_transaction_is_not_tried_again(
    engine: Engine, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(*_args: Any, **_options: Any) -> Any:
        return await engine.ask(list)

    monkeypatch.setattr("gateway.guards.store.Statements.run", run)
    keys = CassandraIdempotency(GuardedStatements(None, "k", guard, seconds_max=SECONDS_MAX))
    engine.mode = "hangs"
    while not guard.away:
        before = engine.asked
        with pytest.raises(StoreUnavailable):
            await keys.get("key")
        assert engine.asked == before + 1
    with pytest.raises(StoreUnavailable) as refused:
        await keys.get("key")
    assert engine_away(refused.value) is not None


class FakeRedis(RedisBus):
    """A Redis in a dictionary, as far as caches and marked timelines need one."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.values: dict[bytes, bytes] = {}
        self.libraries: list[str] = []

    def use_library(self, source: str) -> None:
        self.libraries.append(source)

    async def calls(self, commands: Sequence[Command]) -> list[Reply]:
        return [await self.engine.ask(partial(self._run, command)) for command in commands]

    def _run(self, command: Command) -> Reply:
        name, *rest = command
        if name == "MGET":
            return [self.values.get(key) for key in rest]  # type: ignore[arg-type]
        if name == "GET":
            return self.values.get(rest[0])  # type: ignore[arg-type]
        if name == "FCALL" and str(rest[0]).startswith("murmur_lease"):
            return [self._lease(key, rest[-2]) for key in rest[2 : 2 + int(rest[1])]]
        if name == "FCALL" and str(rest[0]).startswith("murmur_fill"):
            return self._fill(rest[2 : 2 + int(rest[1])], rest[2 + int(rest[1]) :])
        if name == "DEL":
            return [self.values.pop(key, None) for key in rest]  # type: ignore[arg-type]
        raise AssertionError(f"{command!r} is not known here")

    def _lease(self, key: Any, token: Any) -> Any:
        if key in self.values:
            return [self.values[key]]
        if key + b":lease" in self.values:
            return 0
        self.values[key + b":lease"] = token.encode()
        return 1

    def _fill(self, keys: Any, args: Any) -> int:
        filled = 0
        for key, value in zip(keys, args[2:], strict=True):
            if self.values.get(key + b":lease") == args[0].encode():
                del self.values[key + b":lease"]
                self.values[key] = value
                filled += 1
        return filled


KEYS = Keys("g1", "tweets", 4)


class Facts:
    """What a cache loads from."""

    def __init__(self) -> None:
        self.away = False
        self.loads: list[list[int]] = []

    async def load(self, ids: Sequence[int]) -> dict[int, bytes]:
        self.loads.append(list(ids))
        await asyncio.sleep(0)
        if self.away:
            raise RetryableError("the store is away")
        return {i: b"fact %d" % i for i in ids}


async def test_redis_away_is_read_past_and_nothing_is_filled(engine: Engine, guard: Guard) -> None:
    facts, redis = Facts(), FakeRedis(engine)
    cache = Cache(GuardedBus(redis, guard, seconds_max=SECONDS_MAX), KEYS, "tweet", facts.load)
    engine.mode = "fails"
    for n in range(20):
        assert await cache.get([n]) == {n: b"fact %d" % n}
    assert guard.away
    assert redis.values == {}
    asked = engine.asked
    assert await cache.get([1, 2]) == {1: b"fact 1", 2: b"fact 2"}
    assert engine.asked == asked
    engine.mode = "well"
    await until(lambda: not guard.away)
    await cache.get([1])
    assert redis.values == {cache.key(1): b"fact 1"}


async def test_what_asks_nothing_says_nothing_of_the_engine(
    engine: Engine, metrics: GatewayMetrics
) -> None:
    guard = Guard("redis", Thresholds(bad_min=100, bad_in_a_row=5), engine.probe, metrics)
    bus = GuardedBus(FakeRedis(engine), guard, seconds_max=SECONDS_MAX)
    engine.mode = "fails"
    for _ in range(5):
        assert not guard.away
        assert await bus.calls([("GET", b"{1}:x")]) == [None]
        assert await bus.calls([]) == []
    assert guard.away
    await guard.close()


async def test_without_redis_nobody_builds_a_timeline_and_unknown_commands_are_refused(
    engine: Engine, guard: Guard
) -> None:
    bus = GuardedBus(FakeRedis(engine), guard, seconds_max=SECONDS_MAX)
    engine.mode = "fails"
    assert await marked.begin(bus, b"{1}:home") is None
    assert await marked.finish(bus, b"{1}:home", b"t", 1, [], 60) is False
    await marked.collect(bus, b"{1}:home", [1])
    with pytest.raises(RetryableError, match="cannot be done without it"):
        await bus.call("INCR", b"{1}:n")


async def test_a_store_that_is_away_leaves_what_is_cached_and_caches_nothing(
    engine: Engine,
) -> None:
    facts, redis = Facts(), FakeRedis(engine)
    cache = Cache(redis, KEYS, "tweet", facts.load)
    await cache.get([1, 2])
    held = dict(redis.values)
    facts.away = True
    with pytest.raises(PartlyRead) as partly:
        await cache.get([1, 2, 3, 4])
    assert partly.value.found == {1: b"fact 1", 2: b"fact 2"}
    assert partly.value.missing == {3, 4}
    assert redis.values == held  # the leases too were given back
    facts.away = False
    assert (await cache.get([3]))[3] == b"fact 3"
    assert redis.values[cache.key(3)] == b"fact 3"


async def test_cold_readers_of_one_entry_are_a_few_loads_and_one_fill(engine: Engine) -> None:
    facts, redis = Facts(), FakeRedis(engine)
    cache = Cache(redis, KEYS, "tweet", facts.load)
    found = await asyncio.gather(*(cache.get([7]) for _ in range(2_000)))
    assert all(one == {7: b"fact 7"} for one in found)
    assert len(facts.loads) <= 5
    assert redis.values == {cache.key(7): b"fact 7"}


async def test_a_probe_that_shows_less_than_a_call_does_not_close(
    engine: Engine, metrics: GatewayMetrics
) -> None:
    at = Thresholds(bad_min=1, bad_share=0.0, successes_min=1)
    guard = Guard("log", at, engine.probe, metrics, probe_closes=False)
    guard.failed("no broker")
    assert guard.refuses
    await until(lambda: engine.probes >= 3)
    assert guard.state is State.HALF_OPEN
    with guard.admitted():
        guard.answered(0.0)
    assert not guard.away
    await guard.close()


async def test_a_suspicion_opens_only_if_a_probe_fails_too(engine: Engine, guard: Guard) -> None:
    guard.suspect("late")
    await until(lambda: engine.probes > 0)
    assert not guard.away
    engine.mode = "fails"
    await asyncio.sleep(0)
    guard.suspect("late")
    await until(lambda: guard.away)
