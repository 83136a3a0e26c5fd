"""The first pass over an export: is it whole, whose is it, and what must be known before appending.

What is kept of a tweet is 8 bytes, plus two ids for each answer to oneself and each edited version.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from typing import Any

from infra.importing.archive import NAMES, Archive
from infra.importing.errors import NotAnArchive
from infra.importing.items import Account, ArchivedTweet, Skip, account, tweet

CHAIN_MAX = 10_000


class Survey:
    """What one pass over a whole export found.

    Attributes:
        account: The owner.
        counts: Items by kind of data, good ones and bad ones.

    Raises:
        BrokenArchive: A file of the export is damaged.
        NotAnArchive: The owner cannot be told.
    """

    def __init__(self, archive: Archive, retweets_as_text: bool) -> None:
        self.account = _owner(archive)
        self.counts: Counter[str] = Counter()
        self._parents: dict[int, int] = {}
        self._versions: set[int] = set()
        ids = array("q")
        for kind in NAMES:
            for item in archive.items(kind):
                self.counts[kind] += 1
                if kind == "tweets":
                    self._note(item, ids, retweets_as_text)
        self._ids = array("q", sorted(ids))

    def has_tweet(self, tweet_id: int) -> bool:
        """Whether this tweet of the owner is imported."""
        place = bisect_left(self._ids, tweet_id)
        return place < len(self._ids) and self._ids[place] == tweet_id

    def superseded(self, tweet: ArchivedTweet) -> bool:
        """Whether the export holds a later version of this edited tweet."""
        return any(i > tweet.tweet_id and i in self._versions for i in tweet.versions)

    def conversation(self, tweet: ArchivedTweet) -> int:
        """The root of the thread, or as near to it as the export knows."""
        root = tweet.tweet_id if tweet.reply_to_id is None else tweet.reply_to_id
        for _ in range(CHAIN_MAX):
            parent = self._parents.get(root)
            if parent is None:
                break
            root = parent
        return root

    def _note(self, item: Any, ids: array[int], retweets_as_text: bool) -> None:
        try:
            found = tweet(item, retweets_as_text)
        except Skip:
            return  # counted in the pass that appends
        ids.append(found.tweet_id)
        if found.reply_to_id is not None:
            self._parents[found.tweet_id] = found.reply_to_id
        if found.versions:
            self._versions.add(found.tweet_id)


def _owner(archive: Archive) -> Account:
    item = next(archive.items("account"), None)
    profile = next(archive.items("profile"), None)
    try:
        return account(item, profile)
    except Skip as skip:
        raise NotAnArchive(
            f"data/account.js does not say whose export this is ({skip.reason})"
        ) from skip
