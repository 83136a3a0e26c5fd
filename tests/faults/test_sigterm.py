"""SIGTERM under load: no client sees it, and what a worker applied is handed out to nobody again.

Gateways are replaced one by one behind one port while clients go on. Workers are replaced under
traffic; what each left is looked at before the next begins.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from infra.demo.children import GatewayProcess
from infra.settings import Settings
from infra.stack import ports
from tests.faults.clients import of
from tests.faults.figures import Figures, record
from tests.faults.outcomes import check_outcomes, sent_again
from tests.faults.recovery import resume_s_max, until_applying
from tests.faults.town import READY_S_MAX, Town
from tests.faults.town import town as opened

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.timeout(400),
]

ROUNDS = 4
READS, POSTS = 60, 8
READING = ("home", "tweet", "user")
EVENTS = 20_000
"""More than there is time for: the population acts until the last worker is back."""
RATE = 100
LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp."""


class SharingGateway(GatewayProcess):
    """A gateway process among several on one port."""

    def __init__(self, port: int, logs: Path, env: Mapping[str, str]) -> None:
        self.port = port or ports.choose({"http": 0}, {}, usual=False)["http"]
        super().__init__(0, logs, env)
        self.url = f"http://127.0.0.1:{self.port}"
        self._env = {**env, "MURMUR_GATEWAY_PORT": str(self.port)}
        self._argv = ["-m", "infra.gateway"]

    async def until_listening(self) -> None:
        """Waits until this very process takes connections."""
        deadline = time.monotonic() + READY_S_MAX
        while not self._listens():
            self.check()
            assert time.monotonic() < deadline, "it does not listen"
            await asyncio.sleep(0.05)

    def _listens(self) -> bool:
        held = set()
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                held.add(str(descriptor.readlink()))
            except FileNotFoundError:
                continue  # closed meanwhile
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rpartition(":")[2], 16)
            if port == self.port and fields[3] == LISTEN and f"socket:[{fields[9]}]" in held:
                return True
        return False


@pytest.fixture(scope="module")
async def town(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    async with opened(stack, tmp_path_factory.mktemp("sigterm"), SharingGateway) as found:
        await found.clients.homes()
        yield found
        await found.gateway.stop()  # the last of those that took the first one's place


@pytest.mark.parametrize("rounds", [0, ROUNDS], ids=["control", "replaced"])
async def test_no_client_sees_that_gateways_are_replaced(
    town: Town, tmp_path: Path, rounds: int
) -> None:
    clients, old = town.clients, town.gateway
    assert isinstance(old, SharingGateway)
    seconds = 0.0
    async with clients.running(f"replaced {rounds}"):
        await clients.until_told(READS, POSTS, time.monotonic())
        for number in range(rounds):
            new = SharingGateway(old.port, tmp_path / str(number), old._env)
            await new.start()
            await new.until_listening()
            began = time.monotonic()
            assert await old.stop(), "it did not end by itself"
            seconds = max(seconds, time.monotonic() - began)
            old = town.gateway = new
            await clients.until_told(READS, POSTS, time.monotonic())
    told = [*clients.told, *await sent_again(town)]
    bad = of(told, *READING, "post", where=lambda one: one.status >= 500)
    # A connection that was idle may be closed just as a request comes; every client repeats that.
    cut_off = [one for one in clients.told if not one.status]
    for one in of(cut_off, *READING):
        path = one.answer.url.raw_path.decode()
        assert (await clients.ask(one.kind, one.user, path)).status in (200, 404)
    oracle = await town.converged()
    compared = await check_outcomes(town, told, oracle)
    name = "gateways stopped (SIGTERM) under load" + ("" if rounds else ": control")
    more = f"{rounds} replaced, {len(told)} answers, {len(cut_off)} connections closed at a request"
    events = await town.here.events()
    record(Figures(name, town.seed, seconds, events, compared, errors_5xx=len(bad), more=more))
    assert [one.answer.text for one in bad] == []
    assert len(cut_off) <= len(told) // 100, [one.answer.text for one in cut_off]


@pytest.mark.parametrize("stops", [False, True], ids=["control", "stopped"])
async def test_what_a_worker_applied_is_handed_out_to_nobody_again(town: Town, stops: bool) -> None:
    here, bound = town.here, await resume_s_max()
    traffic = asyncio.create_task(here.traffic(EVENTS, rate=RATE))
    left, seconds = [], [0.0]
    if stops:
        for unit in ("accounts", "tweets", "timelines", "fan-out", "engagement"):
            wanted = here.appender.appended + RATE
            while here.appender.appended < wanted:
                assert not traffic.done(), "there is no load any more"
                await asyncio.sleep(0.01)
            left.append(await here.stop(unit))
            if unit != "fan-out":  # chunks come seldom
                seconds.append(await until_applying(here.on, left[-1]))
    traffic.cancel()
    await asyncio.gather(traffic, return_exceptions=True)
    await here.converge()
    compared, lines = await here.differences()
    again = sum(one.redelivered for one in left)
    name = "workers stopped (SIGTERM) under load" + ("" if stops else ": control")
    more = f"{len(left)} stopped"
    events = await here.events()
    record(Figures(name, town.seed, max(seconds), events, compared, again, more=more))
    assert lines == []
    assert {one.unit: one.redelivered for one in left if one.redelivered} == {}
    assert max(seconds) <= max(bound, await resume_s_max())
