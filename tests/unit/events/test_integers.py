"""Decoding many at once gives what decoding one by one gives, whatever the bytes are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from events.codec import Codec, Decoded, plain
from events.errors import PoisonError
from events.integers import CHUNK, Integers
from events.types import Event, TweetLiked, TweetUnliked, TweetViewed
from schemas import catalog
from schemas.catalog import AvroSchema

IDS = {"TweetLiked": 1, "TweetUnliked": 2, "TweetViewed": 3, "TweetPosted": 4}
SNOWFLAKE = 1_900_000_000_000_000_000


class NoSource:
    async def schema_of(self, schema_id: int) -> AvroSchema | None:
        return None


CODEC = Codec(IDS, NoSource())
some_id = st.one_of(
    st.integers(SNOWFLAKE, SNOWFLAKE + 10_000),
    st.integers(0, 2**63 - 1),
    st.sampled_from([0, 1, 63, 64, 2**55 - 1, 2**55, 2**62 - 1, 2**62, 2**63 - 1]),
)
liked = st.builds(
    TweetLiked, event_id=some_id, occurred_at=some_id, tweet_id=some_id, tweet_author_id=some_id,
    user_id=some_id,
)  # fmt: skip
unliked = st.builds(
    TweetUnliked, event_id=some_id, occurred_at=some_id, tweet_id=some_id, tweet_author_id=some_id,
    user_id=some_id,
)  # fmt: skip
viewed = st.builds(
    TweetViewed, event_id=some_id, occurred_at=some_id, tweet_id=some_id,
    user_id=st.none() | some_id,
)  # fmt: skip
events_of_all_kinds = st.lists(liked | unliked | viewed, max_size=40)


def one_by_one(values: Sequence[bytes | None]) -> list[Event | None]:
    found: list[Event | None] = []
    for value in values:
        try:
            found.append(None if value is None else CODEC.decode(value))
        except PoisonError:
            found.append(None)
    return found


async def together(values: Sequence[bytes | None]) -> Decoded:
    return await CODEC.decode_batch(values, "engagements")


@given(events_of_all_kinds)
async def test_what_was_encoded_comes_back(events: list[Event]) -> None:
    decoded = await together([CODEC.encode(event) for event in events])
    assert (decoded.events, decoded.failures) == (events, [])


@given(
    events_of_all_kinds,
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 60), st.integers(0, 255)), max_size=20),
    st.lists(st.integers(0, 39), max_size=3),
)
@settings(max_examples=300)
@example([TweetViewed(event_id=1, occurred_at=2, tweet_id=3, user_id=4)] * 2, [(1, 8, 4)], [])
async def test_damaged_bytes_fail_as_they_fail_one_by_one(
    events: list[Event], damage: list[tuple[int, int, int]], gone: list[int]
) -> None:
    values: list[bytes | None] = [CODEC.encode(event) for event in events]
    for index, at, byte in damage:
        value = values[index] if index < len(values) else None
        if value is not None and 5 + at < len(value):
            values[index] = value[: 5 + at] + bytes([byte]) + value[6 + at :]
    for index in gone:
        if index < len(values):
            values[index] = None
    decoded = await together(values)
    expected = one_by_one(values)
    assert decoded.events == expected
    failed = [n for n, value in enumerate(values) if value is not None and expected[n] is None]
    assert [failure.index for failure in decoded.failures] == failed


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_ordinary_likes_are_decoded_together_in_chunks_of_any_size(count: int) -> None:
    likes = [
        TweetLiked(
            event_id=SNOWFLAKE + n,
            occurred_at=1_760_000_000_000 + n,
            tweet_id=SNOWFLAKE - n * 7919,
            tweet_author_id=SNOWFLAKE // 2 + n,
            user_id=SNOWFLAKE - n,
        )
        for n in range(count)
    ]
    written = plain(catalog.schemas()["TweetLiked"][-1].schema)
    assert Integers(TweetLiked, written).decode([CODEC.encode(e)[5:] for e in likes]) == likes


def test_bodies_that_are_not_alike_are_left_to_the_caller() -> None:
    written = plain(catalog.schemas()["TweetViewed"][-1].schema)
    one = TweetViewed(event_id=SNOWFLAKE, occurred_at=1, tweet_id=1, user_id=1)
    other = TweetViewed(event_id=1, occurred_at=1, tweet_id=SNOWFLAKE, user_id=1)
    bodies = [CODEC.encode(event)[5:] for event in (one, other)]
    assert len(bodies[0]) == len(bodies[1])
    integers = Integers(TweetViewed, written)
    assert integers.decode(bodies) is None
    assert integers.decode(bodies[:1]) == [one]
    assert integers.decode(bodies[1:]) == [other]


def test_only_records_of_integers_are_suited() -> None:
    assert not Integers.suits(plain(catalog.schemas()["TweetPosted"][-1].schema))
