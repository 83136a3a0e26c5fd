"""The demo: a whole Murmuration under a simulated population, compared with the oracle at the end.

Steps
1. A local stack, unless one runs; topics; a worker for each unit; a gateway.
2. The population acts for so many seconds while clients read home timelines and search over HTTP.
3. The producer stops; every unit reaches lag zero.
4. The oracle is fed from the log; whole home timelines and notifications of sampled users, the
   counts of as many sampled tweets, and as many searches, are read over HTTP and compared with
   the oracle's.
5. One projection is rebuilt from the log during traffic, compared and promoted.

Keeps true: whatever happens, what was started here is stopped; a stack that ran before goes on.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random

import httpx
import msgspec
from rich.console import Console

from infra import compose, settings
from infra.compose import Engines
from infra.demo.check import (
    CountsOutcome,
    Outcome,
    compare,
    compare_counts,
    compare_told,
    explain,
    sample_tweets,
)
from infra.demo.children import STACK_GRACE_S, GatewayProcess, Worker, start_stack
from infra.demo.convergence import Lag, LogView, Offsets, feed, open_view
from infra.demo.reading import HomeReader, ReadFailed
from infra.demo.rebuilding import Rebuilt, rebuild
from infra.demo.searching import SearchOutcome, compare_searches, queries, sample_queries
from infra.demo.summary import Summary
from infra.demo.trends import TrendsOutcome, TrendsWatch, scaled
from infra.demo.view import Numbers, View
from infra.gateway import open_tokens
from infra.prepare import prepare_on
from infra.settings import Origin
from infra.simulate.appender import Appender
from infra.simulate.generator import Plan
from infra.simulate.words import HASHTAGS, WORDS
from infra.tasks import cancelled

GATEWAY_READY_S = 60.0
LAG_ZERO_S = 300.0
LOOK_EVERY_S = 1.0
DRAW_EVERY_S = 0.5
READS_PER_SECOND = 40.0
SEARCHES_PER_SECOND = 5.0
ASKED_SHOWN_MAX = 5
MOST_FOLLOWED_CHECKED = 10
DAY_S = 60.0  # a demo of the usual length shows a whole day
DELIVERIES_METRIC = "murmur_deliveries_total"


Checked = tuple[Outcome, CountsOutcome, SearchOutcome, CountsOutcome, TrendsOutcome]
"""What was found of home timelines, counts, searches, notifications and trends."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to show.

    Attributes:
        seconds: Length of the simulation; 0 is until Ctrl-C.
        users: Size of the population.
        rate: Events a second on average; 0 is as fast as the log takes them.
        seed: Of the population.
        check: How many users' home timelines are compared, tweets' counts, and searches.
    """

    seconds: float = 60.0
    users: int = 500
    rate: float = 1_000.0
    seed: int = 1
    check: int = 100


@dataclass(frozen=True)
class Stage:
    """Everything that runs, ready for use."""

    on: Engines
    workers: Sequence[Worker]
    reader: HomeReader
    view: LogView
    client: httpx.AsyncClient
    trends: TrendsWatch


@asynccontextmanager
async def stage(options: Options, console: Console) -> AsyncIterator[Stage]:
    """Step 1; takes down what it put up.

    Raises:
        ChildFailed, RetryableError: Something does not start.
    """
    async with AsyncExitStack() as closing:
        before = settings.load()
        if not settings.addresses_in(before.settings.data_dir):
            console.print("starting the local stack (the first time it is downloaded)")
            stack = await start_stack(before.settings.data_dir, before.settings.stack_ready_s)
            closing.push_async_callback(stack.stop, STACK_GRACE_S)
        loaded = settings.load()
        chosen = loaded.settings
        env: dict[str, str] = {}
        if loaded.origins["celebrity_threshold"] is Origin.DEFAULT:
            # Five hundred users have no million followers: scaled down, so that all tiers show.
            env["MURMUR_CELEBRITY_THRESHOLD"] = str(max(20, options.users // 10))
            env["MURMUR_POPULAR_THRESHOLD"] = str(max(10, options.users // 20))
            env["MURMUR_TIER_SURVEY_S"] = "5"
        few = scaled(chosen, loaded.origins, options.users)
        env |= {f"MURMUR_{name.upper()}": str(value) for name, value in few.items()}
        chosen = chosen.model_copy(update=few)
        on = await closing.enter_async_context(compose.engines(chosen))
        await prepare_on(on)
        logs = chosen.data_dir / "logs"
        workers = [Worker(unit, logs, env) for unit in compose.UNITS]
        gateway = GatewayProcess(chosen.gateway_port, logs, env)
        client = await closing.enter_async_context(httpx.AsyncClient())
        for child in (*workers, gateway):
            closing.push_async_callback(child.stop)
            await child.start()
        await gateway.until_ready(client, GATEWAY_READY_S)
        reader = await closing.enter_async_context(HomeReader(gateway.url, open_tokens(chosen)))
        view = open_view(on)
        closing.callback(view.close)
        yield Stage(on, workers, reader, view, client, TrendsWatch(reader, chosen))


class Demo:
    """Steps 2 to 4 on a stage.

    Attributes:
        numbers: The state of the run, for the view.
        differences: Lines about timelines that differ, with the events that explain them.
        username: Somebody of the population, to look around as.
    """

    def __init__(self, options: Options, on_stage: Stage, console: Console) -> None:
        self.numbers = Numbers()
        self.differences: list[str] = []
        self.username = ""
        self._options = options
        self._stage = on_stage
        self._console = console
        self._lag = Lag(on_stage.on, on_stage.view, compose.UNITS)
        self._stop = asyncio.Event()
        self._started = time.monotonic()
        self._pushed: dict[str, float] = {}
        self._read_failures = 0

    def stop(self) -> None:
        """End the simulation now; what follows goes on."""
        self._stop.set()

    async def run(self) -> Summary:
        """Do all steps, and look after the workers meanwhile.

        Raises:
            ChildFailed, NotConverged, ReadFailed, RetryableError, KafkaException: It cannot go on.
        """
        work = asyncio.create_task(self._run())
        watching = [asyncio.create_task(worker.supervise()) for worker in self._stage.workers]
        try:
            done, _ = await asyncio.wait({work, *watching}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {work}:
                await task
            return await work
        finally:
            await cancelled(work, *watching)

    async def _run(self) -> Summary:
        with View(self._console) as view:
            drawing = asyncio.create_task(self._draw(view))
            try:
                start = await self._stage.view.ends()
                appender, seconds, drain_s = await self._simulate()
                checked = await self._check(appender, start)
                rebuilt = await self._rebuild()
            finally:
                await cancelled(drawing)
        return self._summary(appender, seconds, drain_s, checked, rebuilt)

    # --- 2. and 3. ---

    async def _simulate(self) -> tuple[Appender, float, float]:
        options, on = self._options, self._stage.on
        plan = Plan(users=options.users, seed=options.seed, follows_mean=15.0, day_seconds=DAY_S)
        async with compose.open_log(on) as log, compose.open_minter(on) as minter:
            appender = await Appender.open(log, minter, plan)
            self._introduce(appender)
            self.numbers.phase = "simulating"
            self._started = time.monotonic()
            side = [
                asyncio.create_task(self._observe(appender)),
                asyncio.create_task(self._read(appender)),
                asyncio.create_task(self._search(appender)),
            ]
            if options.seconds:
                asyncio.get_running_loop().call_later(options.seconds, self._stop.set)
            try:
                await appender.run(rate=options.rate, events=None, stop=self._stop)
                ended = time.monotonic()
                self.numbers.phase = "waiting for lag zero"
                await self._lag.until_zero(LAG_ZERO_S)
                drained = time.monotonic()
                await self._look(appender)
            finally:
                await cancelled(*side)
        return appender, drained - self._started, drained - ended

    def _introduce(self, appender: Appender) -> None:
        """Say how to look in from outside meanwhile."""
        person, reader = appender.simulation.people[0], self._stage.reader
        self.username = person.username
        self._console.print(
            f"the gateway answers at {reader.url}; @{person.username} reads with\n"
            f"  curl -H 'Authorization: Bearer {reader.token(person.user_id)}' "
            f"{reader.url}/api/timeline/home",
            markup=False,
        )

    async def _read(self, appender: Appender) -> None:
        """Clients that open their home timelines, each user in turn, at a steady pace."""
        people = appender.simulation.people
        for turn in itertools.count():
            person = people[turn % len(people)]
            try:
                await self._stage.reader.page(person.user_id)
            except ReadFailed:
                self._read_failures += 1
            await asyncio.sleep(1 / READS_PER_SECOND)

    async def _search(self, appender: Appender) -> None:
        """A search box's worth of queries, of the words that the population uses."""
        people = appender.simulation.people
        texts = [" ".join((*words, tag)) for words in WORDS.values() for tag in HASHTAGS]
        names = [person.username for person in people]
        for turn, query in enumerate(queries(texts, names, Random(self._options.seed))):
            person = people[turn % len(people)]
            try:
                ids, _ = await self._stage.reader.search_page(person.user_id, query)
            except ReadFailed:
                self._read_failures += 1
            else:
                asked = [*self.numbers.asked, (query, len(ids))]
                self.numbers.asked = asked[-ASKED_SHOWN_MAX:]
            await asyncio.sleep(1 / SEARCHES_PER_SECOND)

    async def _observe(self, appender: Appender) -> None:
        while True:
            await self._look(appender)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, appender: Appender) -> None:
        numbers, reader = self.numbers, self._stage.reader
        now = time.monotonic() - self._started
        for worker in self._stage.workers:
            pushed = (await worker.metrics(self._stage.client)).get(DELIVERIES_METRIC)
            if pushed is not None:
                # A worker that was started anew counts from zero.
                self._pushed[f"{worker.unit} {worker.restarts}"] = pushed
        deliveries = int(sum(self._pushed.values()))
        passed = max(now - numbers.seconds, 0.001)
        numbers.events_rate = (appender.appended - numbers.events) / passed
        numbers.deliveries_rate = (deliveries - numbers.deliveries) / passed
        numbers.seconds, numbers.events, numbers.deliveries = now, appender.appended, deliveries
        numbers.load = appender.simulation.load
        numbers.lag = await self._lag.by_unit()
        somebody = appender.simulation.people[0].user_id
        numbers.trends = await self._stage.trends.look(somebody)
        numbers.reads = reader.reads
        numbers.read_p50_ms = reader.percentile_ms(0.5)
        numbers.read_p99_ms = reader.percentile_ms(0.99)
        numbers.searches = reader.searches
        numbers.search_p50_ms = reader.search_percentile_ms(0.5)
        numbers.search_p99_ms = reader.search_percentile_ms(0.99)

    async def _draw(self, view: View) -> None:
        while True:
            view.show(self.numbers)
            await asyncio.sleep(DRAW_EVERY_S)

    # --- 4. ---

    async def _check(self, appender: Appender, start: Offsets) -> Checked:
        from tests.oracle import Oracle  # noqa: PLC0415 - see infra.demo.convergence

        stage = self._stage
        self.numbers.phase = "feeding the oracle from the log"
        end = await stage.view.ends()
        oracle = Oracle()
        await feed(oracle, stage.view, start, end)
        users = [p.user_id for p in appender.simulation.people if oracle.visible(p.user_id)]
        users.sort(key=oracle.followers_count, reverse=True)
        most, others = users[:MOST_FOLLOWED_CHECKED], users[MOST_FOLLOWED_CHECKED:]
        Random(self._options.seed).shuffle(others)
        sample = (most + others)[: self._options.check]

        def progress(done: int) -> None:
            self.numbers.detail = f": {done} of {len(sample)}"

        self.numbers.phase = "comparing home timelines with the oracle's"
        with stage.reader.unmeasured():
            outcome = await compare(oracle, stage.reader, sample, progress)
            self.numbers.phase, self.numbers.detail = "comparing counts with the oracle's", ""
            tweets = sample_tweets(oracle, Random(self._options.seed), self._options.check)
            counts = await compare_counts(oracle, stage.reader, users[0], tweets)
            self.numbers.phase = "comparing searches with the oracle's"
            names = [person.username for person in appender.simulation.people]
            asked = sample_queries(oracle, names, Random(self._options.seed), self._options.check)
            searched = await compare_searches(oracle, stage.reader, users[0], asked)
            self.numbers.phase = "comparing notifications with the oracle's"
            told = await compare_told(oracle, stage.reader, sample)
        self.numbers.phase = "comparing trends with the oracle's"
        trends = await stage.trends.check(stage.view)
        self.differences = await explain(stage.view, start, end, outcome.differences)
        self.differences += counts.differences + searched.differences + told.differences
        self.differences += trends.differences
        return outcome, counts, searched, told, trends

    # --- 5. ---

    async def _rebuild(self) -> Rebuilt:
        self.numbers.phase = "rebuilding a projection from the log, during traffic"
        on = self._stage.on
        logs = on.settings.data_dir / "logs"
        return await rebuild(on, logs, self._stage.reader.url, self._options.seed)

    def _summary(
        self,
        appender: Appender,
        seconds: float,
        drain_s: float,
        checked: Checked,
        rebuilt: Rebuilt,
    ) -> Summary:
        numbers, (outcome, counts, searched, told, trends) = self.numbers, checked
        return Summary(
            events=appender.appended,
            deliveries=numbers.deliveries,
            seconds=round(seconds, 3),
            lag=sum(numbers.lag.values()),
            timelines_checked=outcome.checked,
            timelines_different=len(outcome.differences),
            tweets_compared=outcome.tweets,
            counts_checked=counts.checked,
            counts_different=len(counts.differences),
            searches_checked=searched.checked,
            searches_different=len(searched.differences),
            searched_tweets=searched.found,
            notifications_checked=told.checked,
            notifications_different=len(told.differences),
            trends_checked=trends.windows,
            trends_different=len(trends.differences),
            trends_found=trends.trends,
            events_per_second=round(appender.appended / seconds, 1),
            deliveries_per_second=round(numbers.deliveries / seconds, 1),
            seconds_to_lag_zero=round(drain_s, 3),
            reads=numbers.reads,
            read_failures=self._read_failures,
            read_p50_ms=numbers.read_p50_ms,
            read_p99_ms=numbers.read_p99_ms,
            searches=numbers.searches,
            search_p50_ms=numbers.search_p50_ms,
            search_p99_ms=numbers.search_p99_ms,
            rebuilt=rebuilt,
            users=self._options.users,
            seed=self._options.seed,
        )
