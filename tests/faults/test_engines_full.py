"""Engines that have no room: Redis out of memory, and the disk of each engine full.

What is done is real: `maxmemory` of the running Valkey is lowered, and the file system under an
engine's data (`own.py`) is filled to the last byte. An engine that ends because of it is started
again by its launcher, as by any supervisor, and is whole once there is room. The same passage
without any harm is the control of `test_processes_killed.py`.
"""

from __future__ import annotations

import asyncio
import errno
import time
from pathlib import Path

import pytest

from tests.faults.clients import READING, of
from tests.faults.own import Own
from tests.faults.passage import check_after, passage
from tests.faults.town import Town

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.timeout(500),
]

FULL_S = 8.0
"""How long there is no room: longer than a session of the group."""
NOTICED_S_MAX = 60.0
MIB = 2**20
GUARDED = {"kafka": "log", "valkey": "redis", "cassandra": "store"}
"""What the gateway calls each engine."""


@pytest.mark.parametrize("left", ["caches-evicted", "nothing"])
async def test_redis_out_of_memory(own_town: Town, left: str) -> None:
    """Less memory than the caches need, or less than the positions: what must not be evicted."""
    bus = own_town.here.on.bus

    async def fill() -> str:
        before = await bus.call("CONFIG", "GET", "maxmemory")
        used = await info(own_town, "memory", "used_memory")
        refused = await info(own_town, "errorstats", "errorstat_OOM")
        evicted = await info(own_town, "stats", "evicted_keys")
        limit = used - used // 50 if left == "caches-evicted" else MIB
        await bus.call("CONFIG", "SET", "maxmemory", limit)
        try:
            await until(own_town, "stats", "evicted_keys", evicted)
            if left == "nothing":
                await until(own_town, "errorstats", "errorstat_OOM", refused)
                await asyncio.sleep(FULL_S)
        finally:
            await bus.call("CONFIG", "SET", "maxmemory", before[1])
        evicted = await info(own_town, "stats", "evicted_keys") - evicted
        refused = await info(own_town, "errorstats", "errorstat_OOM") - refused
        return f"{evicted} keys evicted, {refused} writes refused"

    found = await passage(own_town, f"Redis out of memory: {left.replace('-', ' ')}", fill)
    check_after(found.after)
    assert {one.status for one in of(found.during, "post")} <= {201}
    served = [one for one in of(found.during, *READING) if one.status in (200, 404)]
    assert len(served) >= 0.9 * len(of(found.during, *READING))


async def info(town: Town, section: str, name: str) -> int:
    """A number of INFO; errors are told as ``count=N``."""
    text = (await town.here.on.bus.call("INFO", section)).decode()
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(lines.get(name, "0").removeprefix("count="))


async def until(town: Town, section: str, name: str, more_than: int) -> None:
    deadline = time.monotonic() + NOTICED_S_MAX
    while await info(town, section, name) <= more_than:
        assert time.monotonic() < deadline, f"{name} stays at {more_than}"
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("engine", ["kafka", "valkey", "cassandra"])
async def test_a_full_disk(own: Own, own_town: Town, engine: str) -> None:
    if not own.small:
        pytest.skip("this kernel lets an ordinary user make no mount: no disk here can be full")

    async def fill() -> str:
        began, before = time.monotonic(), own.engine(engine)
        filler = own.files(engine) / "filler"
        try:
            filled = await asyncio.to_thread(fill_up, filler)
            await until_noticed(own, own_town, engine)
            lasted = time.monotonic() - began
        finally:
            filler.unlink()
        if own.engine(engine).pid != before.pid or own.engine(engine).phase != "ready":
            await own.until_back(engine, before.restarts)
        restarts = own.engine(engine).restarts - before.restarts
        return f"{filled // MIB} MiB filled for {lasted:.1f} s, {restarts} restarts"

    found = await passage(own_town, f"disk full: {engine}", fill)
    check_after(found.after)
    assert {one.status for one in found.during} <= {200, 201, 404, 503, 504}


def fill_up(path: Path) -> int:
    """Writes until the file system is full; returns how much."""
    written = 0
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    written += file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return written


async def refuses(town: Town) -> bool:
    """Whether Valkey could not write its file, and so takes no writes."""
    told: bytes = await town.here.on.bus.call("INFO", "persistence")
    return b"aof_last_write_status:err" in told


async def until_noticed(own: Own, town: Town, engine: str) -> None:
    """Waits until the engine has ended, or the gateway does not ask it any more."""
    deadline, before = time.monotonic() + NOTICED_S_MAX, own.engine(engine)
    while True:
        now, states = own.engine(engine), await town.shown("breaker_state")
        if now.phase != "ready" or now.pid != before.pid:
            return
        if states[GUARDED[engine]] or (engine == "valkey" and await refuses(town)):
            await asyncio.sleep(FULL_S)
            return
        assert time.monotonic() < deadline, f"nobody notices that the disk of {engine} is full"
        await asyncio.sleep(0.1)
