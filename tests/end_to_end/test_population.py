"""A whole simulated population, read over HTTP at lag zero: everything equals the oracle's.

The population deletes, unfollows, blocks, mutes, leaves and comes back; events come twice;
strangers try to delete tweets; some users have so many followers that they are pulled, not pushed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.demo.children import GatewayProcess
from infra.demo.convergence import feed
from infra.demo.reading import HomeReader
from infra.gateway import open_tokens
from infra.settings import Settings
from tests.conversation_client import read
from tests.faults.world import CELEBRITIES_FROM, World, world
from tests.oracle import Oracle
from tests.oracle_talk import TalkOracle

EVENTS = 5_000
READY_S_MAX = 60.0
TWEETS_LOOKED_AT = 200
TWEETS_LISTED = 20
USERS_LISTED = 20
LIKES_OF_A_POPULAR_TWEET = 5
logger = logging.getLogger(__name__)


class Client:
    """Reads as anybody."""

    def __init__(self, client: httpx.AsyncClient, reader: HomeReader) -> None:
        self._client = client
        self.reader = reader

    async def get(self, user: int, path: str, **params: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.reader.token(user)}"}
        answer = await self._client.get(
            f"{self.reader.url}{path}", params=params, headers=headers, timeout=30.0
        )
        return answer.status_code, answer.json()

    async def body(self, user: int, path: str) -> bytes:
        """The body of a page that is there."""
        headers = {"Authorization": f"Bearer {self.reader.token(user)}"}
        answer = await self._client.get(f"{self.reader.url}{path}", headers=headers, timeout=30.0)
        assert answer.status_code == 200, answer.text
        return answer.content

    async def ids(self, user: int, path: str, **params: str) -> list[int]:
        """Ids on all pages."""
        found: list[int] = []
        cursor: dict[str, str] = {}
        while True:
            status, page = await self.get(user, path, count="50", **params, **cursor)
            assert status == 200, page
            found += [int(item["id"]) for item in page["data"]]
            if "next_cursor" not in page["meta"]:
                return found
            cursor = {"cursor": page["meta"]["next_cursor"]}


@pytest.fixture
async def here(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    seed = random.randrange(1 << 32)
    logger.warning("seed %d", seed)
    async with world(settings, tmp_path, seed) as made:
        # In two halves, with warm timelines in between: the second half is pushed, not only read.
        await made.traffic(EVENTS // 2)
        await made.converge()
        await made.warm()
        reading = asyncio.create_task(made.read())
        await made.traffic(EVENTS // 2)
        await made.converge()
        reading.cancel()
        yield made


@pytest.fixture
async def client(here: World, tmp_path: Path) -> AsyncIterator[Client]:
    env = {
        "MURMUR_DATA_DIR": str(here.on.settings.data_dir),
        "MURMUR_TOPIC_PREFIX": here.on.settings.topic_prefix,
        "MURMUR_GENERATION": here.on.settings.generation,
        "MURMUR_CELEBRITY_THRESHOLD": str(CELEBRITIES_FROM),
    }
    gateway = GatewayProcess(0, tmp_path / "logs", env)
    await gateway.start()
    try:
        async with (
            httpx.AsyncClient() as http,
            HomeReader(gateway.url, open_tokens(here.on.settings)) as reader,
        ):
            await gateway.until_ready(http, READY_S_MAX)
            yield Client(http, reader)
    finally:
        await gateway.stop()


@pytest.mark.engines
@pytest.mark.timeout(400)
async def test_everything_that_can_be_read_is_the_oracles(here: World, client: Client) -> None:
    oracle = Oracle()
    await feed(oracle, here.view, {}, await here.view.ends())
    await _homes_and_authors(oracle, client)
    await _graph(oracle, client)
    await _profiles(oracle, client)
    await _tweets(oracle, client)
    await _likes(oracle, client)
    await _said(oracle, client)


async def _homes_and_authors(oracle: Oracle, client: Client) -> None:
    entries = hidden = 0
    for user in filter(oracle.visible, oracle.users()):
        home = oracle.home(user)
        assert await client.reader.whole(user) == home
        own = f"/api/users/{user}/tweets"
        assert await client.ids(user, own) == oracle.user_timeline(user)
        replies = oracle.user_timeline(user, replies=True)
        assert await client.ids(user, own, replies="true") == replies
        entries += len(home)
        authors = [user, *oracle.following(user)]
        hidden += sum(len(oracle.user_timeline(a, replies=True)) for a in authors) - len(home)
    assert entries > EVENTS
    assert hidden > EVENTS / 10  # the filters had work to do


async def _graph(oracle: Oracle, client: Client) -> None:
    most = 0
    for user in filter(oracle.visible, oracle.users()):
        followers = await client.ids(user, f"/api/users/{user}/followers")
        following = await client.ids(user, f"/api/users/{user}/following")
        assert followers == oracle.followers(user)[::-1]
        assert following == oracle.following(user)[::-1]
        most = max(most, len(followers))
    assert most > CELEBRITIES_FROM


async def _profiles(oracle: Oracle, client: Client) -> None:
    reader = next(filter(oracle.visible, oracle.users()))
    gone = pinned = 0
    for user in oracle.users():
        profile = oracle.profile(user)
        assert profile is not None
        status, answer = await client.get(reader, f"/api/users/{user}")
        by_name = await client.get(reader, f"/api/users/by/username/{profile.username.upper()}")
        assert by_name == (status, answer) or status == 404
        if profile.status != "active":
            assert status == by_name[0] == 404
            gone += 1
            continue
        found = answer["data"]
        expected = oracle.pinned(user)
        assert found.get("pinned_tweet_id") == (str(expected) if expected else None)
        pinned += expected is not None
        for field in ("username", "name", "description", "location", "url", "profile_image_url"):
            assert found[field] == getattr(profile, field)
        assert found["public_metrics"] == {
            "followers_count": oracle.followers_count(user),
            "following_count": oracle.following_count(user),
        }
    assert gone > 0
    assert pinned > 0


async def _tweets(oracle: Oracle, client: Client) -> None:
    reader = next(filter(oracle.visible, oracle.users()))
    posted = sorted(oracle.posted())
    random.Random(len(posted)).shuffle(posted)
    unseen = 0
    for tweet_id in posted[:TWEETS_LOOKED_AT]:
        expected = oracle.tweet(tweet_id)
        status, answer = await client.get(reader, f"/api/tweets/{tweet_id}")
        assert (status == 200) == (expected is not None), tweet_id
        if expected is None:
            unseen += 1
        else:
            found = answer["data"]
            assert (found["text"], found["author_id"]) == (expected.text, str(expected.user_id))
            assert found["conversation_id"] == str(expected.conversation_id)
            counts = oracle.counts(tweet_id)
            assert found["public_metrics"] == {
                "retweet_count": counts.retweets,
                "reply_count": counts.replies,
                "like_count": counts.likes,
                "quote_count": counts.quotes,
                "impression_count": counts.views,
            }
    assert unseen > 0


async def _likes(oracle: Oracle, client: Client) -> None:
    """Who likes the tweets that are liked most, and what the busiest users like."""
    reader = next(filter(oracle.visible, oracle.users()))
    tweets = [tweet for tweet in oracle.posted() if oracle.tweet(tweet) is not None]
    tweets.sort(key=lambda tweet: oracle.counts(tweet).likes, reverse=True)
    assert oracle.counts(tweets[0]).likes > LIKES_OF_A_POPULAR_TWEET
    for tweet in tweets[:TWEETS_LISTED]:
        likers = await client.ids(reader, f"/api/tweets/{tweet}/liking_users")
        assert likers == [user for user in oracle.liked_by(tweet) if oracle.visible(user)]
        for path, kind in (("replies", "reply"), ("quotes", "quote")):
            children = [child for child, _ in oracle.children(tweet, kind)]
            shown = [child for child in children if oracle.tweet(child) is not None]
            assert await client.ids(reader, f"/api/tweets/{tweet}/{path}") == shown
    users = list(filter(oracle.visible, oracle.users()))
    users.sort(key=lambda user: len(oracle.likes_of(user)), reverse=True)
    for user in users[:USERS_LISTED]:
        liked = [tweet for tweet in oracle.likes_of(user) if oracle.tweet(tweet) is not None]
        assert await client.ids(reader, f"/api/users/{user}/likes") == liked


async def _said(oracle: Oracle, client: Client) -> None:
    """Mentions of the most popular, and the conversations of the tweets that are answered most."""
    talk = TalkOracle(oracle)
    users = sorted(filter(oracle.visible, oracle.users()), key=oracle.followers_count)
    entries = gone = 0
    for user, reader in zip(users[-USERS_LISTED:], users, strict=False):
        for viewer in (user, reader):
            mentions = talk.mentions(user, viewer)
            assert await client.ids(viewer, f"/api/users/{user}/mentions") == mentions
            entries += len(mentions)
    assert entries > USERS_LISTED
    tweets = [tweet for tweet in oracle.posted() if oracle.tweet(tweet) is not None]
    tweets.sort(key=lambda tweet: oracle.counts(tweet).replies, reverse=True)
    for tweet, viewer in zip(tweets[:TWEETS_LISTED], users[::-1], strict=False):
        original = oracle._posted[tweet].retweet_of_id or tweet
        seen = await read(partial(client.body, viewer), original, 20)
        ancestors, replies = talk.ancestors(original, viewer), talk.replies(original, viewer)
        assert seen == (ancestors, replies), original
        gone += str(seen).count("'gone'")
    assert gone > 0
