"""An engine slow, silent or cut off for one gateway: what its clients see, and that it is right.

The workers, on the other side of the proxies, go on; so what is deleted and blocked meanwhile is so
in the facts while the gateway cannot read them, which is when something could leak.

For every fault: the breaker opens, once, and operators see it; from then on nobody waits for the
engine and the store is asked nothing; reads are answered within their deadline; an answer that
comes from what Redis holds says so; nothing deleted or blocked is shown, and nothing that exists is
said not to; with the log away commands are refused at once and nothing that was refused is in the
log; all is well again afterwards; and at the end every home timeline, read over HTTP, is the
oracle's.

A fault goes from step to step as the gateway and its clients do, not by the clock, so that a busy
machine only takes longer. The two bounds in seconds are deadlines of the gateway's own, beside what
the same requests took just before the fault.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.limits import READ_SECONDS_MAX, REDIS_SECONDS_MAX, STORE_SLOW_SECONDS
from infra.settings import Settings
from tests.faults.clients import Told, median, of, p99
from tests.faults.figures import Figures, record
from tests.faults.outcomes import check_outcomes, sent_again, until_well
from tests.faults.proxy import Proxy
from tests.faults.town import Town, taken_for_absent
from tests.faults.town import town as opened

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.timeout(400),
]

READING = ("home", "tweet", "user")
READS = 40
POSTS = 6
"""Answers that are waited for: before the fault, once the breaker is open, and after changes."""
STEP_S_MAX = 60.0
"""From a fault to the open breaker, and until operators see it."""
logger = logging.getLogger(__name__)


@pytest.fixture(scope="module")
async def town(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    async with opened(stack, tmp_path_factory.mktemp("degraded")) as found:
        await found.clients.homes()  # so that Redis holds them; the end of each test does it again
        yield found


FAULTS: dict[str, tuple[str, Callable[[Proxy], None]]] = {
    "store-cut": ("store", lambda proxy: proxy.cut()),
    "store-silent": ("store", lambda proxy: proxy.silence()),
    "store-slow": ("store", lambda proxy: proxy.slow(0.55 * STORE_SLOW_SECONDS)),
    "redis-cut": ("redis", lambda proxy: proxy.cut()),
    "redis-silent": ("redis", lambda proxy: proxy.silence()),
    "log-cut": ("log", lambda proxy: proxy.cut()),
    "log-silent": ("log", lambda proxy: proxy.silence()),
}
ALWAYS = ("store-silent", "redis-cut", "log-silent")
"""One an engine: deadlines and stale answers, the store in place of Redis, unknown outcomes."""


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=() if fault in ALWAYS else pytest.mark.long)
        for fault in ("control", *FAULTS)
    ],
)
async def test_a_gateway_without_an_engine(town: Town, fault: str) -> None:
    clients = town.clients
    engine, harm = FAULTS.get(fault, ("", lambda _: None))
    changes = await town.planned()
    openings = await town.shown("breaker_opened_total")
    async with clients.running(fault):
        await clients.until_told(READS, POSTS, time.monotonic())
        began = time.monotonic()
        try:
            if engine:
                harm(town.proxies[engine])
                await until_away(town, engine)
            away = time.monotonic()
            await clients.until_told(READS, POSTS, away)
            asked = await town.shown("store_reads_total")
            await town.apply(changes)
            applied = time.monotonic()
            await clients.until_told(READS, POSTS, applied)
            asked_away = (await town.shown("store_reads_total"))[""] - asked[""]
            await until_told_to_operators(town, engine)
            opened_now = await town.shown("breaker_opened_total")
        finally:
            for proxy in town.proxies.values():
                proxy.heal()
        healed = time.monotonic()
        await until_well(town)
        recovered = time.monotonic() - healed
    told = [*clients.told, *await sent_again(town)]
    during = [one for one in clients.told if began <= one.began < healed]
    settled = [one for one in during if one.began >= away and one.ended < healed]
    summary(fault, clients.told, settled, (began, away, recovered))
    oracle = await town.converged()
    assert town.leaks([one for one in told if one.began >= applied], oracle) == []
    assert taken_for_absent(told, oracle) == []
    usual = p99([one for one in of(clients.told, *READING) if one.ended < began])
    check_reads(engine, during, settled, usual)
    check_writes(engine, during, settled, usual)
    if engine:
        assert opened_now[engine] == openings[engine] + 1
    if engine == "store":
        assert asked_away == 0
    compared = await check_outcomes(town, told, oracle)
    name = f"gateway without the {engine}: {fault.partition('-')[2]}" if engine else ""
    more = f"breaker open after {away - began:.1f} s" if engine else ""
    refused = len(of(during, *READING, "post", where=lambda one: one.status >= 500))
    events = await town.here.events()
    record(
        Figures(
            name or "gateway without an engine: control",
            town.seed,
            recovered,
            events,
            compared,
            errors_5xx=refused,
            more=more,
        )
    )


async def until_away(town: Town, engine: str) -> None:
    """Waits for the open breaker."""
    deadline = time.monotonic() + STEP_S_MAX
    while (await town.shown("breaker_state"))[engine] == 0:
        assert time.monotonic() < deadline, f"the breaker of {engine} did not open"
        await asyncio.sleep(0.02)


async def until_told_to_operators(town: Town, engine: str) -> None:
    """Waits until ``/readyz`` and the metrics say that this engine is away, and no other."""
    expected = {name: (name != engine, name != engine) for name in town.proxies}
    deadline = time.monotonic() + STEP_S_MAX
    while (found := await town.engines()) != expected:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)


def check_reads(engine: str, during: list[Told], settled: list[Told], usual: float) -> None:
    reads = of(during, *READING)
    homes = of(settled, "home")
    served = [one for one in homes if one.status == 200]
    assert {one.status for one in reads} <= {200, 404, 503}
    slowest = p99(reads)
    assert slowest <= READ_SECONDS_MAX + REDIS_SECONDS_MAX + 2 * usual
    half_settled = median(of(settled, *READING))
    assert half_settled < REDIS_SECONDS_MAX + 2 * usual  # the shortest deadline of an engine
    for one in reads:
        if one.status == 503:
            assert one.answer.headers["content-type"] == "application/problem+json"
            assert int(one.answer.headers["retry-after"]) >= 1
    count, half = len(served), len(homes) / 2
    assert count > half
    if engine == "store":
        assert all(one.stale and one.page().meta.stale for one in served)
    else:
        assert not any(one.stale for one in served)
        assert not any(one.page().meta.incomplete for one in served)
    if engine in ("", "log"):
        assert {one.status for one in reads} <= {200, 404}


def check_writes(engine: str, during: list[Told], settled: list[Told], usual: float) -> None:
    posts = of(settled, "post")
    assert {one.status for one in of(during, "post")} <= {201, 503, 504}
    if engine == "":
        assert {one.status for one in posts} == {201}
    if engine == "log":
        assert {one.status for one in posts} == {503}
        half_posts = median(posts)
        assert half_posts < REDIS_SECONDS_MAX + 2 * usual
        assert all(int(one.answer.headers["retry-after"]) >= 1 for one in posts)


def summary(
    fault: str, told: list[Told], settled: list[Told], at: tuple[float, float, float]
) -> None:
    """One line for each kind of request, for whoever reads the log."""
    began, away, recovered = at
    logger.warning("%s: open after %.1f s, well after %.1f s", fault, away - began, recovered)
    for kind in (*READING, "post"):
        before = [one for one in of(told, kind) if one.ended < began]
        during = [one for one in of(told, kind) if began <= one.began < away]
        open_ = of(settled, kind)
        figures = [f"{p99(some):.3f}" if some else "-" for some in (before, during, open_)]
        statuses = dict(sorted(Counter(one.status for one in open_).items()))
        logger.warning(
            "%s %s: p99 before, until open, once open %s s; %s",
            fault,
            kind,
            ", ".join(figures),
            statuses,
        )
