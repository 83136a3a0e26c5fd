"""Repairs by name: which targets a word and a key come to, one after the other, and the audit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from infra import compose, trending
from infra.audit import open_audit
from infra.compose import Engines
from infra.diff.explain import Records
from infra.repair.counts import Counts
from infra.repair.history import History
from infra.repair.mend import WAIT_S, Mender, Outcome, Tell
from infra.repair.notices import notifications
from infra.repair.searched import People, searched
from infra.repair.targets import Account, Bookmarks, List, Target, Tweet, Username
from infra.repair.ties import Graph, Posted
from infra.repair.uses import Uses


async def repair(
    on: Engines, view: Records, what: str, key: str, *, is_dry: bool, wait_s: float = WAIT_S
) -> Sequence[Outcome]:
    """Repairs what a word and a key name, in the generation in service; the audit is told first.

    Args:
        on: Engines; their units' generations are those in service.
        view: Their log.
        what: One of the words of `murmur repair`.
        key: An id or a name.
        is_dry: Write nothing.
        wait_s: How long the worker may take to get past each repair.

    Raises:
        TooMuch: the key has more to it than a repair takes in.
        RetryableError, EventsError: an engine is away; repeat it.
    """
    outcomes: list[Outcome] = []
    async for target in targets(on, what, key):
        tell = _told(on, target.unit)
        mender = Mender(on, on, view, target.unit, tell=tell, wait_s=wait_s)
        outcomes.append(await mender.mend(target, is_dry=is_dry))
        if isinstance(target, Uses):
            outcomes.append(await History(on, target, tell).mend(is_dry=is_dry))
    return outcomes


def _told(on: Engines, unit: str) -> Tell:
    async def tell(words: str) -> None:
        async with open_audit(on) as audit:
            await audit("repair", unit=unit, generation=on.generation(unit), detail=words)

    return tell


BY_KEY: Mapping[str, Callable[[str], Target]] = {
    "username": Username,
    "account": lambda key: Account(int(key)),
    "counts": lambda key: Counts(int(key)),
    "graph": lambda key: Graph(int(key)),
    "list": lambda key: List(int(key)),
    "bookmarks": lambda key: Bookmarks(int(key)),
    "people": lambda key: People(int(key)),
}
"""Targets of which nothing has to be known but the key."""


async def targets(on: Engines, what: str, key: str) -> AsyncIterator[Target]:
    """Yields the targets; each is to be repaired before the next is asked for."""
    match what:
        case "tweet":
            rows = await on.store_of("tweets").execute(
                "SELECT author_id FROM {tweets} WHERE tweet_id = ?", (int(key),)
            )
            yield Tweet(int(key), (author for (author,) in rows))
        case "timeline":
            yield Graph(int(key))
            # Whom he follows is right from here on.
            relations = await compose.timelines_reader(on).graph.relations_of(int(key))
            yield Posted(int(key), relations.following)
        case "notifications":
            yield await notifications(on, int(key))
        case "search":
            yield await searched(on, int(key))
        case "trends":
            yield Uses(key, on.keys("trends").unit, trending.shape(on.settings))
        case _:
            yield BY_KEY[what](key)
