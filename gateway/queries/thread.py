"""A conversation as one reader sees it: what a tweet answers, and what answers it, as a tree.

An entry is *shown*; or *gone*, when it was deleted, is not known or its author is away; or
*hidden*, when the reader mutes its author or there is a block between them. What is gone or hidden
keeps its place, without its content, where others hang on it:

- an ancestor always, so that the chain from the tweet to its root is never broken in silence;
- a reply when there are replies beneath it. Where those were read and none can be listed, it is
  left out; where they were not read yet, it is listed with a cursor.

Replies are newest first, as X's "recent", at every level. Bounded by ``ANCESTORS_MAX`` ancestors,
``LEVELS`` levels of replies, ``NESTED_MAX`` replies beneath a reply, and ``STEPS_MAX`` rounds for
the first level; each level is one query of the store and one pass to Redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from gateway.routing import ID_MAX
from gateway.services import Accounts, Threads, Tweets
from projections.accounts.layout import UserFragment
from projections.timelines.layout import Relations
from projections.tweets.layout import TweetFragment

ANCESTORS_MAX = 40
"""Nearest ancestors; the root comes on top of them."""

LEVELS = 3
"""Replies, replies to those, and replies to those."""

NESTED_MAX = 3
"""Replies listed beneath one reply; its cursor leads to the rest."""

NESTED_READ = NESTED_MAX + 2
"""Replies read beneath one reply: room for some that are left out."""

STEPS_MAX = 8

Status: TypeAlias = Literal["shown", "gone", "hidden"]


class Node(msgspec.Struct):
    """An entry of the tree.

    Attributes:
        tweet_id: Its id.
        status: Whether its content is shown.
        replies: Newest first.
        below: Where reading its replies goes on; None at their end.
    """

    tweet_id: int
    status: Status
    replies: list[Node] = []
    below: int | None = None


class Ancestors(msgspec.Struct, frozen=True):
    """What a tweet answers.

    Attributes:
        nodes: The oldest first; the first is the conversation's root.
        omitted: Whether some between the first and the second are not listed.
    """

    nodes: list[Node]
    omitted: bool


class Thread:
    """Reads one conversation for one reader; keeps the tweets and users that it met."""

    def __init__(
        self, threads: Threads, tweets: Tweets, accounts: Accounts, relations: Relations
    ) -> None:
        self._threads = threads
        self._reader = tweets
        self._accounts = accounts
        self._hidden = relations.hidden
        self._beneath: dict[int, list[int]] = {}
        self.tweets: dict[int, TweetFragment] = {}
        self.users: dict[int, UserFragment] = {}

    async def ancestors(self, tweet: TweetFragment) -> Ancestors:
        """Returns what a tweet answers, up to its root."""
        chain: dict[int, None] = {}
        current = tweet.reply_to_id
        while current and current not in chain and len(chain) < ANCESTORS_MAX:
            chain[current] = None
            current = await self._answered_by(current)
        root = tweet.conversation_id
        ids = [*reversed(chain)]
        # A chain that was cut, or that leads to a tweet nobody knows, does not end at the root.
        omitted = bool(ids) and ids[0] != root
        if omitted:
            await self._learn([root])
            ids.insert(0, root)
        return Ancestors([Node(tweet_id, self.status(tweet_id)) for tweet_id in ids], omitted)

    async def replies(self, tweet_id: int, below: int, count: int) -> Node:
        """Returns a tweet with up to ``count`` of its replies under ``below``, and theirs."""
        focal = Node(tweet_id, "shown", [], below)
        for _ in range(STEPS_MAX):
            if focal.below is None or len(focal.replies) == count:
                break
            wanted = count - len(focal.replies)
            rows = await self._threads.replies([tweet_id], focal.below, wanted + 1)
            await self._list([focal], rows, wanted + 1, count, NESTED_READ)
        nodes = focal.replies
        for level in range(2, LEVELS + 1):
            beneath = NESTED_READ if level < LEVELS else 1
            await self._list(nodes, self._beneath, NESTED_READ, NESTED_MAX, beneath)
            nodes = [reply for node in nodes for reply in node.replies]
        for node in nodes:
            node.below = ID_MAX if node.tweet_id in self._beneath else None
        _prune(focal)
        return focal

    def status(self, tweet_id: int) -> Status:
        """Returns whether the reader is shown a tweet that was learnt of."""
        tweet = self.tweets.get(tweet_id)
        if tweet is None or tweet.author_id not in self.users:
            return "gone"
        return "hidden" if tweet.author_id in self._hidden else "shown"

    async def _list(
        self,
        parents: Sequence[Node],
        rows: Mapping[int, list[int]],
        read: int,
        most: int,
        beneath: int,
    ) -> None:
        """Lists replies beneath parents.

        Args:
            parents: Entries of one level.
            rows: Their replies, newest first; at most ``read`` each.
            read: How many were asked for.
            most: Replies listed beneath one parent.
            beneath: How many replies of each reply to read for the next level.
        """
        found = [(parent, rows.get(parent.tweet_id, [])) for parent in parents]
        ids = [tweet_id for _, replies in found for tweet_id in replies]
        next_level, _ = await asyncio.gather(
            self._threads.replies(ids, ID_MAX, beneath), self._learn(ids)
        )
        self._beneath.update(next_level)
        for parent, replies in found:
            parent.below = replies[-1] if len(replies) == read else None
            for at, tweet_id in enumerate(replies):
                if len(parent.replies) == most:
                    parent.below = replies[at - 1]
                    break
                status = self.status(tweet_id)
                if status == "shown" or tweet_id in self._beneath:
                    parent.replies.append(Node(tweet_id, status))

    async def _answered_by(self, tweet_id: int) -> int:
        """Returns which tweet a tweet answers, deleted or not; 0 for none."""
        await self._learn([tweet_id])
        tweet = self.tweets.get(tweet_id)
        if tweet is not None:
            return tweet.reply_to_id
        return (await self._threads.answered([tweet_id])).get(tweet_id, 0)

    async def _learn(self, ids: Iterable[int]) -> None:
        found = await self._reader.get(set(ids) - self.tweets.keys())
        self.tweets.update(found)
        authors = {tweet.author_id for tweet in found.values()} - self.users.keys()
        if authors:
            self.users.update(await self._accounts.get(authors))


def _prune(node: Node) -> None:
    """Leaves out what has no content and, as far as was read, nothing beneath."""
    for reply in node.replies:
        _prune(reply)
    node.replies = [r for r in node.replies if r.status == "shown" or r.replies or r.below]
