"""Which tweets anybody may see, with what belongs to them.

A tweet can be seen when it exists and its author is active; a retweet when the same holds of its
original as well. Steps, each one pass to Redis:

1. the tweets;
2. the originals of retweets, and the authors;
3. those originals' authors, where they are others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from gateway.services import Accounts, Tweets
from projections.accounts.layout import UserFragment
from projections.tweets.layout import TweetFragment


class Shown:
    """Tweets that can be seen, in order, with their originals and all authors by id."""

    def __init__(self, tweets: Tweets, accounts: Accounts) -> None:
        self._reader = tweets
        self._accounts = accounts
        self.tweets: list[tuple[int, TweetFragment]] = []
        self.originals: dict[int, TweetFragment] = {}
        self.users: dict[int, UserFragment] = {}

    async def add(self, ids: Sequence[int]) -> None:
        """Adds those of the ids that anybody may see, in their order."""
        found = await self._reader.get(ids)  # 1
        kept = [(tweet_id, found[tweet_id]) for tweet_id in ids if tweet_id in found]
        originals = {tweet.retweet_of_id for _, tweet in kept if tweet.retweet_of_id}
        originals -= self.originals.keys()
        authors = [tweet.author_id for _, tweet in kept]
        if originals:
            read, _ = await asyncio.gather(self._reader.get(originals), self._learn(authors))  # 2
            self.originals.update(read)
            await self._learn(tweet.author_id for tweet in read.values())  # 3
        else:
            await self._learn(authors)  # 2
        self.tweets += [pair for pair in kept if self._can_show(pair[1])]

    async def _learn(self, authors: Iterable[int]) -> None:
        unknown = set(authors) - self.users.keys()
        if unknown:
            self.users.update(await self._accounts.get(unknown))

    def _can_show(self, tweet: TweetFragment) -> bool:
        if tweet.author_id not in self.users:
            return False
        if not tweet.retweet_of_id:
            return True
        original = self.originals.get(tweet.retweet_of_id)
        return original is not None and original.author_id in self.users


def includes(
    tweets: Sequence[tuple[int, TweetFragment]],
    originals: Mapping[int, TweetFragment],
    users: Mapping[int, UserFragment],
) -> list[tuple[str, list[bytes]]]:
    """Returns what is included with tweets: authors, and the originals of retweets with theirs."""
    shown = {t.retweet_of_id: originals[t.retweet_of_id] for _, t in tweets if t.retweet_of_id}
    authors = dict.fromkeys([tweet.author_id for _, tweet in tweets])
    authors.update(dict.fromkeys([tweet.author_id for tweet in shown.values()]))
    found = [("users", [users[author].body for author in authors])]
    if shown:
        found.append(("tweets", [tweet.body for tweet in shown.values()]))
    return found
