"""Searches over HTTP against the oracle's: what a reader finds, page by page.

What is looked for is taken from what was posted: words, two of them, phrases, tags, an author and a
word, some with what narrows; so most queries find something, and some a great deal.

Bounded by: the number of queries; all pages of each are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import TYPE_CHECKING

import msgspec

from events.types import TweetPosted
from infra.demo.reading import HomeReader
from projections.search.query.errors import QueryError
from projections.search.query.parse import parse

if TYPE_CHECKING:
    from tests.oracle import Oracle

TRIES_PER_QUERY = 20


class SearchOutcome(msgspec.Struct, frozen=True):
    """What a comparison of searches found.

    Attributes:
        checked: Queries compared.
        found: Tweets that they find, by the oracle.
        differences: A line for each that differs.
    """

    checked: int
    found: int
    differences: list[str]


def queries(texts: Iterable[str], names: Iterable[str], random: Random) -> Iterator[str]:
    """Yields queries without end, of what these texts say; as many of one kind as of another.

    Args:
        texts: Of tweets; those without words give none.
        names: Of users who may have written them.
        random: Source of chance.
    """
    said, known = [text.split() for text in texts if text.split()], list(names)
    while said:
        words = random.choice(said)
        at = random.randrange(len(words))
        one, next_one = words[at], words[min(at + 1, len(words) - 1)]
        kind = random.randrange(6)
        asked = (
            one,
            f"{one} {random.choice(words)}",
            f'"{one} {next_one}"',
            f"from:{random.choice(known)} {one}",
            f"{one} OR {random.choice(random.choice(said))}",
            f"{one} -{next_one} -is:reply",
        )[kind]
        if _is_query(asked):
            yield asked


def _is_query(text: str) -> bool:
    try:
        parse(text)
    except QueryError:
        return False
    return True


def sample_queries(oracle: Oracle, names: Iterable[str], random: Random, size: int) -> list[str]:
    """Different queries about tweets that exist; fewer where little was said.

    They say from which id on, since the oracle knows nothing of what an earlier run has posted.
    """
    ids = oracle.posted()
    posted = (oracle.tweet(tweet_id) for tweet_id in ids)
    endless = queries([tweet.text for tweet in posted if tweet is not None], names, random)
    found: dict[str, None] = {}
    for _, query in zip(range(size * TRIES_PER_QUERY), endless, strict=False):
        found[f"({query}) since_id:{min(ids) - 1}"] = None
        if len(found) == size:
            break
    return list(found)


async def compare_searches(
    oracle: Oracle, reader: HomeReader, user: int, asked: Iterable[str]
) -> SearchOutcome:
    """Reads all pages of each search as ``user`` and compares.

    Raises:
        ReadFailed: The gateway did not answer with pages.
    """
    from tests.oracle_search import SearchOracle  # noqa: PLC0415 - see infra.demo.convergence

    searching = SearchOracle.of(oracle)

    def sees(tweet: TweetPosted) -> bool:
        authors = {tweet.user_id, tweet.retweet_of_user_id or tweet.user_id}
        hidden = any(oracle.hidden_from(user, author) for author in authors)
        return oracle.tweet(tweet.tweet_id) is not None and not hidden

    lines: list[str] = []
    checked = total = 0
    for query in asked:
        expected = searching.search(parse(query), sees)
        found = await reader.search(user, query)
        checked += 1
        total += len(expected)
        if found != expected:
            missing, extra = len(set(expected) - set(found)), len(set(found) - set(expected))
            lines.append(
                f"search for {query!r}: {len(expected)} expected, {len(found)} found, "
                f"{missing} missing, {extra} extra"
            )
    return SearchOutcome(checked, total, lines)
