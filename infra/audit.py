"""What engineers did, appended to the topic ``audit``.

Keeps true: whatever a command of the CLI changes in the running system is in the log, with who did
it, when, and why in words.
"""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

from events.log import Log
from events.position import Position
from events.snowflake import SnowflakeMinter, time_of
from events.types import OperatorActed
from infra import compose
from infra.compose import Engines


def actor() -> str:
    """Who is at the keyboard: the login name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


async def audit(
    log: Log,
    minter: SnowflakeMinter,
    action: str,
    *,
    unit: str | None = None,
    generation: str | None = None,
    detail: str,
) -> Position:
    """Appends what an engineer did; returns where it is.

    Args:
        log: The log, open.
        minter: Makes the event's id.
        action: What was done, such as ``promote``.
        unit: The unit that it was done to, if it was one.
        generation: The generation, if it was one.
        detail: More, in words.

    Raises:
        EventsError: it may not be in the log.
    """
    event_id = await minter.mint()
    return await log.append(
        OperatorActed(
            event_id=event_id,
            occurred_at=time_of(event_id),
            actor=actor(),
            action=action,
            unit=unit,
            generation=generation,
            detail=detail,
        )
    )


Audit: TypeAlias = Callable[..., Awaitable[Position]]
"""Appends an act: :func:`audit` without its log and its minter."""


@asynccontextmanager
async def open_audit(on: Engines) -> AsyncIterator[Audit]:
    """Opens the log for acts of whoever runs this process.

    Raises:
        RetryableError: an engine is away.
    """
    async with compose.open_log(on) as log, compose.open_minter(on) as minter:
        yield partial(audit, log, minter)
