"""Every level of degrading, in and out, as clients of a running system see it.

Orders are given by the command line; two levels are entered by measurement, of requests that wait
and of a worker that stands still. After each the system is what the oracle says of the log.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, closing
from typing import Any

import httpx
import pytest

from events.reader import Reader
from events.types import OperatorActed
from infra import compose
from infra.demo.children import GatewayProcess
from infra.demo.convergence import feed, open_view
from tests.end_to_end.town import READY_SECONDS_MAX, TIMEOUT_SECONDS, Person, Town
from tests.oracle import Oracle

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

REACHED_SECONDS_MAX = 60.0
HEADER = "x-degradation-level"
HELD = 8


async def murmur(here: Town, *arguments: str) -> str:
    """Runs the command line on the town; returns what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli.main", *arguments),
        env={**os.environ, **here.env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def until(
    client: httpx.AsyncClient, holds: Callable[[httpx.Response], bool]
) -> httpx.Response:
    """Waits until an answer of ``/readyz`` is as it should be."""
    deadline = time.monotonic() + REACHED_SECONDS_MAX
    while True:
        answer = await client.get("/readyz")
        if holds(answer):
            return answer
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.1)


async def until_level(client: httpx.AsyncClient, level: int) -> None:
    answer = await until(client, lambda found: int(found.headers.get(HEADER, "0")) == level)
    assert answer.status_code == 200
    checks = answer.json()["checks"]
    assert checks["level"]["ok"]
    deadline = time.monotonic() + REACHED_SECONDS_MAX
    while not checks["level"]["detail"].startswith(f"{level}: "):  # good for a second
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
        checks = (await client.get("/readyz")).json()["checks"]


async def until_pushed(here: Town, pushed: bool) -> None:
    """Waits until the timelines' workers stop pushing, or push again."""
    async with compose.engines(here.settings) as on:
        reader = compose.timelines_reader(on)
        async with asyncio.timeout(REACHED_SECONDS_MAX):
            while True:
                if (await reader._tiers.view()).pull_only is not pushed:
                    return
                await asyncio.sleep(0.1)


async def oracle_of(here: Town) -> Oracle:
    oracle = Oracle()
    async with compose.engines(here.settings) as on:
        with closing(open_view(on)) as view:
            await feed(oracle, view, {}, await view.ends())
    return oracle


async def every_home_is_the_oracles(here: Town, people: list[Person]) -> None:
    written = [position for person in people for position in person.written]
    for person in people:
        await person.until_applied(written)
    oracle = await oracle_of(here)
    for person in people:
        found = [int(tweet) for tweet in await person.pages("/api/timeline/home", 20)]
        assert found == oracle.home(int(person.id))


async def neighbours(here: Town) -> list[Person]:
    people = await here.people("ann", "bob", "cat")
    for person in people:
        for other in people:
            if other is not person:
                await person.relate("follow", other)
    return people


async def home(person: Person) -> tuple[httpx.Response, list[str]]:
    response = await person.send("GET", "/api/timeline/home")
    assert response.status_code == 200, response.text
    return response, [tweet["id"] for tweet in response.json()["data"]]


async def until_viewed(person: Person, tweet: str) -> None:
    """Waits until a tweet was viewed once: what was dropped at level 1 does not count."""
    async with asyncio.timeout(REACHED_SECONDS_MAX):
        while True:
            response = await person.send("GET", f"/api/tweets/{tweet}")
            views = response.json()["data"]["public_metrics"]["impression_count"]
            assert views <= 1
            if views == 1:
                return
            await asyncio.sleep(0.1)


async def test_each_ordered_level_is_entered_and_left(here: Town) -> None:
    people = await neighbours(here)
    ann, bob, _ = people
    seen = await ann.tweet("seen")
    await home(bob)
    try:
        await murmur(here, "degrade", "1", "--for", "10m", "--reason", "a test")
        await until_level(here.client, 1)
        answer = await bob.send("POST", "/api/tweets/views", {"tweet_ids": [seen]})
        assert (answer.status_code, answer.json()["data"]) == (202, {"viewed": 0})

        await murmur(here, "degrade", "2")
        await until_level(here.client, 2)
        response, ids = await home(bob)
        assert response.headers["x-stale"] == "level"
        assert ids[0] == seen

        await murmur(here, "degrade", "3")
        await until_level(here.client, 3)
        await until_pushed(here, False)
        pulled = [await ann.tweet(f"pulled {number}") for number in range(3)]
        bob.written = ann.written[-1:]
        response, ids = await home(bob)
        assert ids[:3] == pulled[::-1]
        assert "x-stale" not in response.headers
        await every_home_is_the_oracles(here, people)

        await murmur(here, "degrade", "4")
        await until_level(here.client, 4)
        before = (await oracle_of(here)).posted()
        refused = await ann.send("POST", "/api/tweets", {"text": "refused"})
        assert refused.status_code == 503
        assert refused.json()["type"].endswith(":read-only")
        assert refused.headers["retry-after"] == "30"
        await home(bob)
        assert (await oracle_of(here)).posted() == before
    finally:
        await murmur(here, "degrade", "--auto")
    await until_level(here.client, 0)
    await until_pushed(here, True)
    await every_home_is_the_oracles(here, people)
    pushed = await ann.tweet("pushed")
    bob.written = ann.written[-1:]
    assert (await home(bob))[1][0] == pushed
    answer = await bob.send("POST", "/api/tweets/views", {"tweet_ids": [seen]})
    assert answer.json()["data"] == {"viewed": 1}
    await until_viewed(bob, seen)
    assert await _audited(here) == [
        "level 1 for 600 s; a test",
        "level 2",
        "level 3",
        "level 4",
        "levels are measured again",
    ]


async def _audited(here: Town) -> list[str]:
    async with compose.engines(here.settings) as on:
        reader = Reader(here.settings.kafka_bootstrap, on.topics, compose.reader_codec(on))
        async with aclosing(reader.tail("audit", "earliest")) as records:
            found = [await anext(records) for _ in range(5)]
    events = [record.event for record in found if isinstance(record.event, OperatorActed)]
    assert {event.action for event in events} == {"degrade"}
    return [event.detail for event in events]


@asynccontextmanager
async def another_gateway(here: Town, env: Mapping[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that measures, beside the town's."""
    gateway = GatewayProcess(0, here.logs / "another", {**here.env, **env})
    await gateway.start()
    try:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=TIMEOUT_SECONDS) as client:
            await gateway.until_ready(client, READY_SECONDS_MAX)
            yield client
    finally:
        await gateway.stop()


NEVER = {
    "MURMUR_DEGRADE_LOOP_S": "1000",
    "MURMUR_DEGRADE_REDIS_S": "1000",
    "MURMUR_DEGRADE_STORE_S": "1000",
    "MURMUR_DEGRADE_UNDER_WAY": "1000",
    "MURMUR_DEGRADE_LAG_S": "1000",
    "MURMUR_DEGRADE_RISE_S": "0.5",
    "MURMUR_DEGRADE_HOLD_S": "1",
}


async def test_a_process_degrades_under_load_and_recovers(here: Town) -> None:
    ann = await here.person("ann")
    env = {**NEVER, "MURMUR_DEGRADE_AUTO_MAX": "2", "MURMUR_DEGRADE_UNDER_WAY": "0.003"}
    async with another_gateway(here, env) as client:
        busy = Person(client, ann.id, ann.username, ann.token)
        far = ann.written[-1].partition("@")[0] + "@1000000000000"

        async def wait_in_vain() -> Any:
            """Held for five seconds: under way, and no work."""
            return await busy.send("GET", "/api/timeline/home", headers={"x-wait-for": far})

        held = {asyncio.create_task(wait_in_vain()) for _ in range(HELD)}
        try:
            async with asyncio.timeout(REACHED_SECONDS_MAX):
                while (await client.get("/healthz")).headers.get(HEADER) != "2":
                    held = {task for task in held if not task.done()}
                    held |= {asyncio.create_task(wait_in_vain()) for _ in range(HELD - len(held))}
                    await asyncio.sleep(0.05)
        finally:
            answers = await asyncio.gather(*held)
        assert {answer.status_code for answer in answers} == {504}
        await until(client, lambda found: HEADER not in found.headers)
        shown = (await client.get("/metrics")).text
        assert "murmur_gateway_degradation_level 0.0" in shown
        assert 'murmur_gateway_degradation_signal{signal="requests under way"}' in shown
    assert HEADER not in (await here.client.get("/healthz")).headers


async def test_pushing_stops_by_itself_while_the_fan_out_lags(here: Town) -> None:
    people = await neighbours(here)
    ann, bob, _ = people
    first = await ann.tweet("first")
    bob.written = ann.written[-1:]
    assert (await home(bob))[1][0] == first
    worker = here.workers["timelines"].pid
    assert worker is not None
    env = {**NEVER, "MURMUR_DEGRADE_AUTO_MAX": "3", "MURMUR_DEGRADE_LAG_S": "1"}
    async with another_gateway(here, env) as client:
        os.kill(worker, signal.SIGSTOP)
        try:
            for number in range(3):
                await ann.send("POST", "/api/tweets", {"text": f"late {number}"})
            await until_level(client, 3)
            await until_level(here.client, 3)  # it is said to all
        finally:
            os.kill(worker, signal.SIGCONT)
        await until_pushed(here, False)  # the worker obeys once it is back
        await until_level(client, 0)
        await until_level(here.client, 0)
        await until_pushed(here, True)
    await every_home_is_the_oracles(here, people)
