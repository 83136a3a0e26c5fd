"""Waiting for what a test expects, and not longer than it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECONDS_MAX = 5.0


async def until(holds: Callable[[], bool]) -> None:
    """Returns once ``holds()``; fails after ``SECONDS_MAX``."""
    async with asyncio.timeout(SECONDS_MAX):
        while not holds():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.001)
