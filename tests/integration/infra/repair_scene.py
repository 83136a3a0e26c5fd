"""A town whose keys are repaired while events of them come and a task feeds what is repaired."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import NamedTuple

from events.types import (
    Event,
    ListChanged,
    ListCreated,
    ListMemberAdded,
    ProfileChanged,
    TweetBookmarked,
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    TweetViewed,
    UserFollowed,
    UserMuted,
    UsernameClaimed,
    UsernameReleased,
    UserUnmuted,
)
from infra.diff.compare import viewed
from infra.diff.looks import Looker
from infra.diff.oracle import OracleSide
from infra.diff.sides import GenerationSide, topics_of
from infra.diff.views import KINDS_OF_UNIT
from infra.repair.mend import Mender, Outcome
from infra.repair.targets import Target
from infra.settings import Settings
from tests.integration.infra import repair_more
from tests.integration.infra.generations import Fed, Town, town
from tests.integration.infra.repair_plants import LIST, NOBODY, OTHER, post

EVENTS = 500
WAIT_S = 60.0
TRAFFIC_S, SLICE_S = 0.05, 0.7

logger = logging.getLogger(__name__)
Traffic = Callable[[Town], Awaitable[Event]]


@asynccontextmanager
async def told_town(stack: Settings) -> AsyncIterator[Town]:
    """A town in which there is something of every key."""
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    async with town(stack, events=EVENTS, seed=seed) as made:
        one, two, three = made.users[:3]
        named = {"name": "people", "description": "", "private": False}
        await made.append(ListCreated, list_id=LIST, user_id=one, **named)
        await made.append(ListMemberAdded, list_id=LIST, user_id=one, member_id=two)
        for tweet in (NOBODY, LIST):
            await made.append(TweetBookmarked, user_id=one, tweet_id=tweet)
        await made.append(UserFollowed, user_id=one, target_user_id=two)
        await made.append(UserFollowed, user_id=three, target_user_id=one)
        await made.append(UserMuted, user_id=one, target_user_id=three)
        await made.append(UsernameClaimed, username_key="held", username="Held", user_id=one)
        await post(made, 100, one)
        for user in (one, two, three):
            await made.append(TweetLiked, tweet_id=100, tweet_author_id=one, user_id=user)
        await post(made, 101, two, reply_to_id=100, reply_to_user_id=one, conversation_id=100)
        await repair_more.tell(made)
        yield made


async def _likes_and_replies(here: Town) -> Event:
    one, two = here.users[:2]
    kind = random.choice((TweetLiked, TweetUnliked, TweetViewed, TweetPosted))
    if kind is TweetPosted:
        tweet_id = await here.minter.mint()
        return await post(here, tweet_id, two, reply_to_id=100, reply_to_user_id=one)
    fields = {} if kind is TweetViewed else {"tweet_author_id": one}
    return await here.append(kind, tweet_id=100, user_id=random.choice(here.users), **fields)


async def _names(here: Town) -> Event:
    kind = random.choice((UsernameClaimed, UsernameReleased))
    fields = {"username": "HELD"} if kind is UsernameClaimed else {}
    user = random.choice(here.users[:2])
    return await here.append(kind, username_key="held", user_id=user, **fields)


async def _own_tweets(here: Town) -> Event:
    return await post(here, await here.minter.mint(), random.choice(here.users[:2]))


async def _ties(here: Town) -> Event:
    one, other = here.users[0], random.choice(here.users[1:6])
    kind = random.choice((UserFollowed, UserMuted, UserUnmuted))
    pair = (one, other) if random.random() < 0.7 else (other, one)
    return await here.append(kind, user_id=pair[0], target_user_id=pair[1])


async def _profile(here: Town) -> Event:
    return await here.append(
        ProfileChanged, user_id=here.users[0], description=str(random.random())
    )


async def _deleted(here: Town) -> Event:
    return await here.append(TweetDeleted, tweet_id=100, user_id=OTHER)  # changes nothing


async def _marks(here: Town) -> Event:
    return await here.append(
        TweetBookmarked, user_id=here.users[0], tweet_id=random.randrange(200, 300)
    )


async def _members(here: Town) -> Event:
    one = here.users[0]
    if random.random() < 0.5:
        return await here.append(ListChanged, list_id=LIST, user_id=one, name=str(random.random()))
    return await here.append(
        ListMemberAdded, list_id=LIST, user_id=one, member_id=random.choice(here.users)
    )


TRAFFIC: dict[str, Traffic] = {
    "account": _profile,
    "username": _names,
    "tweet": _deleted,
    "bookmarks": _marks,
    "list": _members,
    "graph": _ties,
    "timeline": _own_tweets,
    "counts": _likes_and_replies,
    **repair_more.TRAFFIC,
}
"""Events of what `murmur repair` takes, by the word."""

UNIT_OF = {"account": "accounts", "username": "accounts", "tweet": "tweets", "counts": "engagement"}
UNIT_OF |= {"list": "collections", "bookmarks": "collections"}
UNIT_OF |= repair_more.UNIT_OF
BESIDE = {
    "timelines": ("accounts", "tweets", "engagement"),
    "notifications": ("accounts", "tweets"),
    "search": ("tweets",),
}


async def fed(here: Town, what: str) -> Fed:
    """The generation that is repaired, fed up to where the log ends."""
    unit = UNIT_OF.get(what, "timelines")
    for other in BESIDE.get(unit, ()):
        await here.built(other, "r")
    return await here.built(unit, "r")


class Mended(NamedTuple):
    """What a repair came to, and what was told before it wrote."""

    outcome: Outcome
    told: list[str]


async def mended(here: Town, fed: Fed, target: Target, *, is_dry: bool = False) -> Mended:
    """Repairs a key of the generation; returns what was done and what the audit was told."""
    told: list[str] = []

    async def tell(words: str) -> None:
        told.append(words)

    with viewed(here.on) as view:
        mender = Mender(fed.on, fed.on, view, target.unit, tell=tell, wait_s=WAIT_S)
        return Mended(await mender.mend(target, is_dry=is_dry), told)


@asynccontextmanager
async def live(here: Town, fed: Fed, traffic: Traffic) -> AsyncIterator[None]:
    """Events of the key, and a worker that applies them, until the end."""

    async def act() -> None:
        while True:
            await traffic(here)
            await asyncio.sleep(TRAFFIC_S)

    async def work() -> None:
        while True:
            await fed.feed()
            await asyncio.sleep(SLICE_S)

    tasks = [asyncio.create_task(act()), asyncio.create_task(work())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def differing(here: Town, fed: Fed, target: Target) -> Sequence[str]:
    """What readers see of a key that is not the oracle's."""
    with viewed(here.on) as view:
        oracle = OracleSide(view, fed.on, target.unit)
        await oracle.reach({}, 0)
        side = GenerationSide("r", target.unit, fed.on, fed.on)
        ends = partial(view.ends, topics_of(target.unit, fed.on))
        looker = Looker(side, oracle, ends, wait_s=WAIT_S)
        kinds = {kind.name: kind for kind in KINDS_OF_UNIT[target.unit]}
        found = [
            await looker.look(kinds[kind], [key]) for kind, key in repair_more.questions(target)
        ]
        return [str(field) for suspects in found for one in suspects for field in one.fields]
