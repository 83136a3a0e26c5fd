"""A gateway whose clock goes back: no id twice, commands refused while none can be made.

A step of some seconds is waited out; one past the lease needs a new process, which takes another
machine id. Reads never mind. What a clock says never decides what is in a timeline: at the end all
of them are the oracle's, with tweets in them that claim to be from before others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from events.snowflake import LEASE_MS, time_of
from gateway.limits import REDIS_SECONDS_MAX
from infra.demo.children import GatewayProcess
from infra.settings import Settings
from tests.faults.clients import Told, median, of
from tests.faults.figures import Figures, record
from tests.faults.outcomes import check_outcomes, until_well
from tests.faults.shifted import OFFSET_BYTES
from tests.faults.town import READY_S_MAX, Town
from tests.faults.town import town as opened

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.timeout(400),
]

READS, POSTS = 40, 6
BACK_MS = 5_000
FAR_BACK_MS = 2 * LEASE_MS
READING = ("home", "tweet", "user")


class ShiftedGateway(GatewayProcess):
    """A gateway whose clock is as far ahead as ``offset`` says."""

    def __init__(self, port: int, logs: Path, env: Mapping[str, str]) -> None:
        super().__init__(port, logs, env)
        self.offset = logs / "clock"
        self.shift(0)
        self._argv = ["-m", "tests.faults.shifted", str(self.offset), "gateway"]

    def shift(self, ahead_ms: int) -> None:
        """Moves the clock of the process that runs, and of those to come."""
        with self.offset.open("r+b" if self.offset.exists() else "wb") as file:
            file.write(ahead_ms.to_bytes(OFFSET_BYTES, "little", signed=True))


@pytest.fixture(scope="module")
async def town(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    async with opened(stack, tmp_path_factory.mktemp("clock"), ShiftedGateway) as found:
        await found.clients.homes()
        yield found


@pytest.mark.parametrize("back_ms", [0, BACK_MS, FAR_BACK_MS], ids=["control", "back", "far-back"])
async def test_no_id_is_made_twice(town: Town, back_ms: int) -> None:
    clients, gateway = town.clients, town.gateway
    assert isinstance(gateway, ShiftedGateway)
    async with clients.running(f"clock {back_ms}"):
        await clients.until_told(READS, POSTS, time.monotonic())
        began = time.monotonic()
        gateway.shift(-back_ms)
        await clients.until_told(READS, POSTS, began)
        refusing = time.monotonic()
        if back_ms == FAR_BACK_MS:
            await gateway.stop()
            await gateway.start()
            await gateway.until_ready(clients.client, READY_S_MAX)
        well = await until_well(town)
        await clients.until_told(READS, POSTS, well)
    gateway.shift(0)
    told = clients.told
    check(back_ms, told, [one for one in told if began <= one.began and one.ended < refusing])
    oracle = await town.converged()
    ids = Counter(tweet.tweet_id for tweet in oracle._posted.values())
    made = [int(one.answer.json()["data"]["id"]) for one in of(told, "post") if one.status == 201]
    assert len(set(made)) == len(made)
    assert set(made) <= set(ids)
    if back_ms == FAR_BACK_MS:
        after = [one for one in of(told, "post") if one.began >= well]
        assert after
        for one in after:  # the new process goes by its clock
            minted_ms = time_of(int(one.answer.json()["data"]["id"]))
            assert minted_ms < time.time() * 1000 - FAR_BACK_MS / 2
    compared = await check_outcomes(town, told, oracle)
    errors = of(told, *READING, "post", where=lambda one: one.status >= 500 or not one.status)
    name = f"gateway's clock back by {back_ms // 1000} s" if back_ms else "gateway's clock: control"
    more = "a new process" if back_ms == FAR_BACK_MS else ""
    record(
        Figures(
            name,
            town.seed,
            well - began,
            await town.here.events(),
            compared,
            errors_5xx=len(errors),
            more=more,
        )
    )


def check(back_ms: int, told: list[Told], settled: list[Told]) -> None:
    posts = of(settled, "post")
    assert {one.status for one in of(settled, *READING)} <= {200, 404}
    assert {one.status for one in of(told, "post")} <= {201, 503, 0}
    if not back_ms:
        assert {one.status for one in posts} == {201}
        return
    refused = [one for one in posts if one.status == 503]
    assert refused
    assert all(int(one.answer.headers["retry-after"]) >= 1 for one in refused)
    half = median(refused)
    usual = median(of(told, *READING))
    assert half < REDIS_SECONDS_MAX + 2 * usual
    if back_ms == FAR_BACK_MS:
        assert len(refused) == len(posts)
