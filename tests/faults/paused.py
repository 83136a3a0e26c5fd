"""A worker stopped (SIGSTOP) past its session while another takes over, and woken up again."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from streams.settings import WorkerSettings
from tests.faults.world import CONVERGE_S_MAX, World

ASLEEP_S = WorkerSettings.session_timeout_seconds * 2


async def pause_one(here: World, unit: str, others_work: int) -> tuple[int, float]:
    """Stop the unit's first worker while it has work, let others do it, and wake it up.

    Returns:
        How far the unit was behind, and the seconds until another applied what it held.
    """
    sleeper = here.workers[unit].pid
    assert sleeper is not None
    await here.traffic(others_work)
    behind = (await here.lag.by_unit())[unit]
    os.kill(sleeper, signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        await here.traffic(others_work)
        ends = await here.view.ends()
        while (await here.lag.by_unit(ends))[unit]:
            assert time.monotonic() - stopped < CONVERGE_S_MAX, "nobody takes over"
            await asyncio.sleep(0.1)
        taken_over = time.monotonic() - stopped
        await asyncio.sleep(max(0.0, stopped + ASLEEP_S - time.monotonic()))
    finally:
        os.kill(sleeper, signal.SIGCONT)
    return behind, taken_over
