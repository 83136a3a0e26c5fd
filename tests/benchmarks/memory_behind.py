"""``memory_behind``: the most that a worker has resident that starts 5 million events behind.

``BENCH_EVENTS_BEHIND`` sets another number. What is beside it: the same process before it reads,
and the bound of 300 MiB, which the worker keeps for any number because its buffers are bounded.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid

from confluent_kafka.admin import AdminClient

from infra.settings import load
from tests.benchmarks.harness import Figure
from tests.benchmarks.slice_delivery import fill

LIMIT_MIB = 300.0
SECONDS_MAX = 400.0


async def measure(bootstrap: str, topic: str, events: int) -> dict[str, float]:
    """Runs one worker over ``events`` records; returns MiB before and at the peak, and seconds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.memory_worker",
        bootstrap,
        topic,
        str(events),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    except TimeoutError:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"the worker failed: {err.decode()[-2000:]}")
    found: dict[str, float] = json.loads(out.decode().strip().splitlines()[-1])
    return found


async def run() -> list[Figure]:
    """Fills a topic, and lets one worker catch up."""
    bootstrap = load().settings.kafka_bootstrap
    events = int(os.environ.get("BENCH_EVENTS_BEHIND", "5000000"))
    topic = f"bench_memory_{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(fill, bootstrap, topic, events, value_bytes=8)
    try:
        found = await measure(bootstrap, topic, events)
    finally:
        admin = AdminClient({"bootstrap.servers": bootstrap})
        for done in admin.delete_topics([topic]).values():
            done.result()
    beside = {"bound": LIMIT_MIB, "before reading": found["before"]}
    rate = Figure("memory_behind_rate", events / found["seconds"], "events/s")
    return [Figure("memory_behind", found["peak"], "MiB resident", beside), rate]
