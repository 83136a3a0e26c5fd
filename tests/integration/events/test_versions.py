"""A topic that two releases wrote to, read from its beginning by workers of today, on real engines.

The older release writes ``TweetPosted.v1``, the newer one v2; records of both are mixed. What the
units build of them from offset 0 is what the oracle says of the events as they were meant.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from pathlib import Path
from random import Random
from secrets import randbits
from typing import Any

import fastavro
import msgspec
import pytest

from events.codec import Codec, plain
from events.log import Log
from events.producer import ProducerSettings
from events.reader import Reader
from events.types import (
    Coordinates,
    Event,
    Place,
    TweetDeleted,
    TweetPosted,
    UserFollowed,
    UserRegistered,
)
from gateway.queries.home import HomeTimelines
from infra import compose
from infra.cli.events import _words
from infra.compose import Engines
from infra.demo.children import Worker
from infra.demo.convergence import Lag, feed, open_view
from infra.prepare import prepare_on
from infra.settings import Settings
from schemas import catalog
from schemas.catalog import NAMESPACE
from tests.oracle import Oracle

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

UNITS = ("accounts", "tweets", "timelines")
CONVERGE_SECONDS_MAX = 120.0
USERS = 5
TWEETS = 60
V1 = catalog.schemas()["TweetPosted"][0].schema


class OlderRelease(Codec):
    """Writes tweets as the release before did: a point with the WOEID of its place, or nothing."""

    def __init__(self, ids: Mapping[str, int], on: Engines, v1_id: int) -> None:
        super().__init__(ids, on.registry)
        self._v1_id = v1_id
        self._v1 = fastavro.parse_schema(plain(V1))

    def encode(self, event: Event) -> bytes:
        if not isinstance(event, TweetPosted):
            return super().encode(event)
        at, place = event.coordinates, event.place
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        del fields["coordinates"], fields["place"]
        fields["geo"] = None
        if at is not None:
            woeid = place.woeid if place is not None else None
            fields["geo"] = {"latitude": at.latitude, "longitude": at.longitude, "woeid": woeid}
        stream = io.BytesIO()
        stream.write(b"\0" + self._v1_id.to_bytes(4))
        fastavro.schemaless_writer(stream, self._v1, fields)
        return stream.getvalue()


@asynccontextmanager
async def releases(on: Engines) -> AsyncIterator[tuple[Log, Log]]:
    """The logs of the older and of the newer release."""
    ids = await on.registry.publish()
    v1_id = await on.registry.register(f"new-tweets-{NAMESPACE}.TweetPosted", V1)
    assert v1_id != ids["TweetPosted"]
    settings = ProducerSettings(bootstrap=on.settings.kafka_bootstrap)
    logs = (
        Log(settings, OlderRelease(ids, on, v1_id), on.topics),
        Log(settings, Codec(ids, on.registry), on.topics),
    )
    async with AsyncExitStack() as closing_logs:
        for log in logs:
            await log.open()
            closing_logs.push_async_callback(log.close)
        yield logs


def people(base: int) -> list[Event]:
    users = [base + number for number in range(USERS)]
    registered: list[Event] = [
        UserRegistered(
            event_id=user,
            occurred_at=1,
            user_id=user,
            username=f"u{user}",
            name="u",
            created_at=1,
        )
        for user in users
    ]
    followed: list[Event] = [
        UserFollowed(event_id=base + 100 + at, occurred_at=2, user_id=one, target_user_id=other)
        for at, (one, other) in enumerate((a, b) for a in users for b in users if a != b)
    ]
    return registered + followed


def tweet(rng: Random, base: int, number: int, *, older: bool) -> TweetPosted:
    """A tweet as its author meant it; the older release cannot say all that the newer one can."""
    point = Coordinates(rng.uniform(-90, 90), rng.uniform(-180, 180))
    if older:
        kinds: list[dict[str, Any]] = [
            {},
            {"coordinates": point},
            {"coordinates": point, "place": Place(44418)},
        ]
    else:
        place = Place(44418, 23424975)
        kinds = [
            {},
            {"coordinates": point},
            {"place": place},
            {"coordinates": point, "place": place},
        ]
    tweet_id = base + 1_000 + number
    return TweetPosted(
        event_id=tweet_id,
        occurred_at=3,
        tweet_id=tweet_id,
        user_id=base + rng.randrange(USERS),
        text=f"number {number}",
        created_at=3,
        conversation_id=tweet_id,
        **rng.choice(kinds),
    )


def geo_of(event: TweetPosted) -> dict[str, Any] | None:
    """``geo`` as the API shows it."""
    shown: dict[str, Any] = {}
    if event.coordinates is not None:
        point = [event.coordinates.longitude, event.coordinates.latitude]
        shown["coordinates"] = {"coordinates": point, "type": "Point"}
    if event.place is not None:
        shown["woeid"] = str(event.place.woeid)
        if event.place.country_woeid is not None:
            shown["country_woeid"] = str(event.place.country_woeid)
    return shown or None


async def write(on: Engines, rng: Random, base: int) -> dict[int, TweetPosted]:
    """Two releases append in turns; returns what was posted."""
    posted: dict[int, TweetPosted] = {}
    async with releases(on) as (older, newer):
        await newer.append_many(people(base))
        for number in range(TWEETS):
            is_older = rng.random() < 0.5
            event = tweet(rng, base, number, older=is_older)
            posted[event.tweet_id] = event
            await (older if is_older else newer).append(event)
            if rng.random() < 0.1:
                gone = posted[rng.choice(list(posted))]
                await newer.append(
                    TweetDeleted(
                        event_id=base + 5_000 + number,
                        occurred_at=4,
                        tweet_id=gone.tweet_id,
                        user_id=gone.user_id,
                    )
                )
    return posted


async def test_both_versions_are_applied_from_the_beginning_as_they_were_meant(
    settings: Settings, tmp_path: Path
) -> None:
    rng, base = Random(7), (randbits(40) | 1 << 40) << 20
    env = {
        "MURMUR_DATA_DIR": str(settings.data_dir),
        "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
        "MURMUR_GENERATION": settings.generation,
    }
    async with compose.engines(settings) as on, AsyncExitStack() as stopping:
        await prepare_on(on)
        posted = await write(on, rng, base)
        for unit in UNITS:
            worker = Worker(unit, tmp_path, env)
            stopping.push_async_callback(worker.stop)
            await worker.start()
        with closing(open_view(on)) as view:
            oracle = Oracle()
            await feed(oracle, view, {}, await view.ends())
            assert oracle._posted == posted
            await Lag(on, view, UNITS).until_zero(CONVERGE_SECONDS_MAX)
        await _compare(on, oracle, base, posted)
        assert await _schemas(on) == {"TweetPosted.v1", "TweetPosted.v2"}


async def _compare(
    on: Engines, oracle: Oracle, base: int, posted: Mapping[int, TweetPosted]
) -> None:
    tweets = compose.tweets_reader(on)
    homes = HomeTimelines(compose.timelines_reader(on), tweets, compose.accounts_reader(on))
    found = await tweets.get(posted)
    standing = {tweet_id for tweet_id in posted if oracle.tweet(tweet_id) is not None}
    assert set(found) == standing
    for tweet_id in standing:
        body = msgspec.json.decode(found[tweet_id].body + b"}")
        assert body.get("geo") == geo_of(posted[tweet_id])
    pages = await asyncio.gather(
        *(homes.page(base + user, None, TWEETS + 1) for user in range(USERS))
    )
    for user, page in enumerate(pages):
        assert [tweet_id for tweet_id, _ in page.tweets] == oracle.home(base + user)


async def _schemas(on: Engines) -> set[str | None]:
    """What the tweets were written with, as ``murmur events tail`` tells it."""
    reader = Reader(on.settings.kafka_bootstrap, on.topics, compose.reader_codec(on))
    found = set()
    async with aclosing(reader.tail("new-tweets", "earliest", follow=False)) as records:
        async for record in records:
            if isinstance(record.event, TweetPosted):
                found.add(record.schema)
                is_old = record.schema == "TweetPosted.v1"
                assert ("(written as v1)" in _words(record)) is is_old
    return found
