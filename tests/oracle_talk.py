"""The oracle's part for what people say to each other: mentions and conversations.

The sentences
- A tweet answers the one that its first post names in ``reply_to_id``, whatever became of either.
- An entry is *shown* when anybody may see the tweet and its author is neither muted by the reader
  nor in a block with him; *hidden* when only the latter is in the way; else *gone*.
- ancestors(t): what t answers, what that answers, and so on, oldest first, whatever their status.
  When they lead to a post that nobody could read, the root that t's own post names comes first.
- replies(t): the tweets that answer t, newest first, each with its own. One that is hidden or gone
  is among them when a shown one hangs on it, however deep.
- A tweet speaks to the first ten names in its text (`@name`, without regard to case), and to whom
  it answers unless that is its author; a retweet speaks to nobody. A name stands for a user when it
  is his profile's and he holds it, in tweets whose ids are above that of his claim's event.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

from events.types import TweetPosted
from projections.text.entities import parse
from tests.oracle import Oracle

NAMES_PER_TWEET = 10

Tree: TypeAlias = list[tuple[int, str, Any]]
"""Entries: id, status, and a tree of replies."""

Chain: TypeAlias = list[tuple[int, str]]
"""Entries: id and status."""


class TalkOracle:
    """Asks an oracle that was fed."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def status(self, tweet_id: int, reader: int) -> str:
        """Whether the reader is shown a tweet."""
        tweet = self._oracle.tweet(tweet_id)
        if tweet is None:
            return "gone"
        return "hidden" if self._oracle.hidden_from(reader, tweet.user_id) else "shown"

    def ancestors(self, tweet_id: int, reader: int) -> Chain:
        """What a tweet answers, the oldest first."""
        found: Chain = []
        parent = self._parent(tweet_id)
        while parent and parent not in (known for known, _ in found):
            found.append((parent, self.status(parent, reader)))
            parent = self._parent(parent)
        root = self._root(tweet_id)
        if found and found[-1][0] != root:
            found.append((root, self.status(root, reader)))
        return found[::-1]

    def replies(self, tweet_id: int, reader: int) -> Tree:
        """What answers a tweet, as a tree."""
        by_parent: dict[int, list[int]] = {}
        for reply in sorted(self._oracle.posted(), reverse=True):
            by_parent.setdefault(self._parent(reply), []).append(reply)
        return self._beneath(tweet_id, by_parent, reader)

    def _beneath(self, tweet_id: int, by_parent: dict[int, list[int]], reader: int) -> Tree:
        found: Tree = []
        for reply in by_parent.get(tweet_id, ()):
            status, beneath = self.status(reply, reader), self._beneath(reply, by_parent, reader)
            if status == "shown" or beneath:
                found.append((reply, status, beneath))
        return found

    def _parent(self, tweet_id: int) -> int:
        post = self._oracle._posted.get(tweet_id)
        return (post.reply_to_id or 0) if post else 0

    def _root(self, tweet_id: int) -> int:
        post = self._oracle._posted.get(tweet_id)
        return post.conversation_id if post else 0

    def mentions(self, user: int, reader: int | None = None) -> list[int]:
        """Ids of tweets by others that speak to a user, newest first, as ``reader`` sees them.

        Minus what nobody may see, and authors with a block between them and the reader or whom he
        mutes. Without a reader it is the user himself who reads.
        """
        viewer = user if reader is None else reader
        found = [
            tweet_id
            for tweet_id, tweet in self._oracle._posted.items()
            if self._speaks_to(user, tweet)
            and self._oracle.tweet(tweet_id) is not None
            and not self._oracle.hidden_from(viewer, tweet.user_id)
        ]
        return sorted(found, reverse=True)

    def _speaks_to(self, user: int, tweet: TweetPosted) -> bool:
        if tweet.user_id == user or tweet.retweet_of_id is not None:
            return False
        if tweet.reply_to_user_id == user:
            return True
        profile = self._oracle.profile(user)
        name = profile.username.casefold() if profile else ""
        holder, claim_id = self._oracle._holders.get(name, (None, 0))
        if holder != user or tweet.tweet_id <= claim_id:
            return False
        return name in _names(tweet.text)


@cache
def _names(text: str) -> tuple[str, ...]:
    """The names that count in a text; a population is asked about each tweet once per user."""
    names = [mention.username.casefold() for mention in parse(text).mentions]
    return tuple(dict.fromkeys(names))[:NAMES_PER_TWEET]
