from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.timelines import authors as authors_module
from projections.timelines.authors import NEWEST, Authors


class AuthorRows:
    """Answers the merge's one query from lists of tweet ids by author."""

    def __init__(self, tweets: dict[int, list[int]]) -> None:
        self._tweets = {author: sorted(ids, reverse=True) for author, ids in tweets.items()}
        self.queries = 0

    async def execute(self, cql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        assert "PER PARTITION LIMIT" in cql
        self.queries += 1
        wanted, below, limit = values
        return [
            (author, tweet_id, 0, 0, None)
            for author in wanted
            for tweet_id in [i for i in self._tweets.get(author, []) if i < below][:limit]
        ]


tweets_by_author = st.dictionaries(
    st.integers(1, 30), st.lists(st.integers(1, 500), unique=True, max_size=60), max_size=12
)


@settings(max_examples=200)
@given(tweets_by_author, st.integers(1, 40), st.integers(2, 501))
def test_a_merge_lacks_nothing_above_its_floor(
    tweets: dict[int, list[int]], wanted: int, below: int
) -> None:
    reader = Authors(AuthorRows(tweets))  # type: ignore[arg-type]
    merge = asyncio.run(reader.merge(tweets.keys(), below, wanted))
    everything = sorted(
        ((i, author) for author, ids in tweets.items() for i in ids if i < below), reverse=True
    )
    got = [(entry.tweet_id, entry.author_id) for entry in merge.entries]
    assert sorted(got, reverse=True) == [(i, a) for i, a in everything if i >= merge.floor]
    assert [i for i, _ in got] == sorted((i for i, _ in got), reverse=True)


@settings(max_examples=100)
@given(tweets_by_author, st.integers(1, 10))
def test_merges_read_one_after_another_reach_the_beginning(
    tweets: dict[int, list[int]], wanted: int
) -> None:
    async def read_all() -> list[int]:
        reader = Authors(AuthorRows(tweets))  # type: ignore[arg-type]
        below, found = NEWEST, []
        while below:
            merge = await reader.merge(tweets.keys(), below, wanted)
            assert merge.floor < below, "each merge makes progress"
            found += [entry.tweet_id for entry in merge.entries]
            below = merge.floor
        return found

    expected = sorted((i for ids in tweets.values() for i in ids), reverse=True)
    assert asyncio.run(read_all()) == expected


async def test_one_prolific_author_does_not_make_the_others_be_read_again() -> None:
    prolific = {1: list(range(1000, 2000)), **{a: [a] for a in range(2, 40)}}
    rows = AuthorRows(prolific)
    merge = await Authors(rows).merge(prolific.keys(), NEWEST, 100)  # type: ignore[arg-type]
    assert len(merge.entries) >= 100 or merge.floor == 0
    assert rows.queries <= authors_module.ROUNDS_MAX
