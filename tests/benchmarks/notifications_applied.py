"""Notifications: likes a second as a worker applies them, its CPU a like, and a page of the author.

``NOTIFIED`` likes (10,000), in slices of ``SLICE``, of ``TWEETS`` tweets of which the n-th most
popular has 1/n of the likes of the first, by as many users; through the unit on the engines that
the settings name, in a generation of its own that is dropped at the end. Then the most liked author
reads his counts and newest names, as a page does. The counts are compared with what was liked. CPU
is this process's; the store has to be paid besides.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from itertools import accumulate
from random import Random

from events.slices import Record, Slice
from events.snowflake import compose as compose_id
from events.types import TweetLiked
from infra import compose
from infra.replay.lifecycle import remove
from infra.settings import load
from projections.listing import NEWEST
from projections.notifications.layout import LIKE, Group
from projections.notifications.unit import NAME
from tests.benchmarks.harness import Figure

LIKES = int(os.environ.get("NOTIFIED", "10000"))
TWEETS = 1000
SLICE = 1000
PAGES = 20


def likes(number: int) -> list[TweetLiked]:
    """Likes by different users; tweet n belongs to user n."""
    rng = Random(1)
    weights = list(accumulate(1 / rank for rank in range(1, TWEETS + 1)))
    began_ms = int(time.time() * 1000)
    return [
        TweetLiked(
            event_id=compose_id(began_ms + at, 0, 0),
            occurred_at=began_ms + at,
            tweet_id=tweet,
            tweet_author_id=tweet,
            user_id=1_000_000 + at,
        )
        for at, tweet in enumerate(rng.choices(range(1, TWEETS + 1), cum_weights=weights, k=number))
    ]


async def run() -> list[Figure]:
    """Applies, reads, and looks at the clock."""
    said = likes(LIKES)
    prefix = f"b{uuid.uuid4().hex[:6]}-"
    async with compose.engines(load(topic_prefix=prefix).settings) as given:
        on = given.at({NAME: f"b{uuid.uuid4().hex[:6]}"})
        unit, reader = compose.UNITS[NAME](on), compose.notifications_reader(on)
        await unit.open()
        try:
            await unit.resume("engagements", 0, "id")
            before, cpu = time.perf_counter(), time.process_time()
            for at in range(0, len(said), SLICE):
                part = said[at : at + SLICE]
                records = [Record(at + n, 0, like) for n, like in enumerate(part)]
                await unit.apply(Slice("engagements", 0, "id", at, at + len(part), records))
            seconds, spent = time.perf_counter() - before, time.process_time() - cpu
            ((tweet, most),) = Counter(like.tweet_id for like in said).most_common(1)
            group = Group(LIKE, tweet, tweet)
            cpu = time.process_time()
            for _ in range(PAGES):
                await reader.part(tweet, [], NEWEST, 20)
                counts = await reader.counts([group], [])
            page = (time.process_time() - cpu) / PAGES
            assert counts[group] == most, (counts, most)
        finally:
            await remove(on, NAME)
    return [
        Figure("notifications: a worker's rate", LIKES / seconds, "likes/s"),
        Figure("notifications: a worker's CPU", spent * 1e6 / LIKES, "µs a like"),
        Figure(f"notifications: reading one of {most} likes", page * 1e6, "µs of CPU"),
    ]
