"""The oracle's part for conversations: the tree that one reader sees, over `tests.oracle`.

The sentences
- A tweet answers the one that its first post names in ``reply_to_id``, whatever became of either.
- An entry is *shown* when anybody may see the tweet and its author is neither muted by the reader
  nor in a block with him; *hidden* when only the latter is in the way; else *gone*.
- ancestors(t): what t answers, what that answers, and so on, oldest first, whatever their status.
- replies(t): the tweets that answer t, newest first, each with its own. One that is hidden or gone
  is among them when a shown one hangs on it, however deep.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tests.oracle import Oracle

Tree: TypeAlias = list[tuple[int, str, Any]]
"""Entries: id, status, and a tree of replies."""

Chain: TypeAlias = list[tuple[int, str]]
"""Entries: id and status."""


class ConversationOracle:
    """Asks an oracle that was fed."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def status(self, tweet_id: int, reader: int) -> str:
        """Whether the reader is shown a tweet."""
        tweet = self._oracle.tweet(tweet_id)
        if tweet is None:
            return "gone"
        return "hidden" if self._oracle._hidden_from(reader, tweet.user_id) else "shown"

    def ancestors(self, tweet_id: int, reader: int) -> Chain:
        """What a tweet answers, the oldest first."""
        found: Chain = []
        parent = self._parent(tweet_id)
        while parent and parent not in (known for known, _ in found):
            found.append((parent, self.status(parent, reader)))
            parent = self._parent(parent)
        return found[::-1]

    def replies(self, tweet_id: int, reader: int) -> Tree:
        """What answers a tweet, as a tree."""
        found: Tree = []
        for reply in sorted(self._oracle.posted(), reverse=True):
            if self._parent(reply) == tweet_id:
                status, beneath = self.status(reply, reader), self.replies(reply, reader)
                if status == "shown" or beneath:
                    found.append((reply, status, beneath))
        return found

    def _parent(self, tweet_id: int) -> int:
        post = self._oracle._posted.get(tweet_id)
        return (post.reply_to_id or 0) if post else 0
