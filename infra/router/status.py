"""How the router is, for `murmur status`: read from the log and the ledger, never from a router."""

from __future__ import annotations

from contextlib import closing

from gateway.levels.level import Feature, Level
from infra import compose
from infra.demo.convergence import open_view
from infra.router.run import lags, ledger_of
from infra.settings import Settings
from infra.unit_status import LAG_WORTH_A_WORD


async def look(settings: Settings) -> int | None:
    """Returns how many posts no router dealt with; None where none ever ran.

    Raises:
        RetryableError, EventsError: an engine is away.
    """
    async with compose.engines(settings) as on:
        ledger = ledger_of(on)
        await ledger.create()
        with closing(open_view(on)) as view:
            found = await lags(view, ledger)
    return sum(found.values()) if found else None


def problems_of(lag: int | None, level: Level) -> list[str]:
    """What an operator should know.

    Args:
        lag: As :func:`look` returns it.
        level: The one that holds for all.
    """
    if not lag or (lag <= LAG_WORTH_A_WORD and level < Feature.PUSHES.off_from):
        return []
    if level >= Feature.PUSHES.off_from:
        words = f"pushes are off at level {level}; what is kept for over an hour is dropped"
    else:
        words = "is `murmur router` running?"
    return [f"router: {lag} posts wait to be pushed about; {words}"]
