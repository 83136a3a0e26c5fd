"""Counting, without an engine: records and what was known before them give registers.

The whole argument for exactness is here and in three rules of order that the writers keep
(decision 0050):

- a register covers exactly the records below its position, so a record is counted when its offset
  is at or above it, and never otherwise, however often and in whatever cut it comes;
- what a record changes is told by the membership just before it. A membership row may already hold
  records of this slice (an attempt that was cut off), but never one at or above the register's
  position, because the register is written first. So replaying the slice over the rows arrives, at
  the first record that counts, at the state of exactly that moment;
- everything below a slice is in the store before the slice is applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from events.slices import Record
from events.types import TweetDeleted, TweetLiked, TweetPosted, TweetUnliked, TweetViewed
from projections.engagement.layout import Children, Family, Likes


class Touched:
    """What one slice says of one tweet, before anything is known of it.

    Attributes:
        first: Offset of its first record.
        finish: Offset after its last record.
        views: How often it was seen.
        last: The last like or unlike of each user.
        bucket: Of the tweet; set by whoever first needs it.
        key: Of the tweet's entry; set with the bucket.
    """

    __slots__ = ("bucket", "finish", "first", "key", "last", "views")

    def __init__(self, first: int) -> None:
        self.first = first
        self.finish = first
        self.views = 0
        self.last: dict[int, Record] = {}
        self.bucket = -1
        self.key = b""

    def split(self) -> tuple[list[int], list[int]]:
        """Returns the users who like the tweet after this, and those who do not."""
        last = self.last
        likers = [user for user, record in last.items() if type(record.event) is TweetLiked]
        if len(likers) == len(last):
            return likers, []
        return likers, [user for user, r in last.items() if type(r.event) is not TweetLiked]


_KINDS = frozenset((TweetLiked, TweetUnliked, TweetViewed))


def gather(records: Iterable[Record], above: Mapping[int, int] | None = None) -> dict[int, Touched]:
    """Cuts a slice of ``engagements`` by tweet: per tweet and user only the last record counts.

    Args:
        records: Ascending by offset.
        above: Where given, only its tweets, and of each the records from that offset upwards.
    """
    found: dict[int, Touched] = {}
    for record in records:
        event = record.event
        kind = type(event)
        if kind not in _KINDS:
            continue
        tweet_id: int = event.tweet_id  # type: ignore[attr-defined]
        offset = record.offset
        if above is not None and offset < above.get(tweet_id, offset + 1):
            continue
        touched = found.get(tweet_id)
        if touched is None:
            touched = found[tweet_id] = Touched(offset)
        touched.finish = offset + 1
        if kind is TweetViewed:
            touched.views += 1
        else:
            touched.last[event.user_id] = record  # type: ignore[attr-defined]
    return found


def recount(register: Likes, records: Iterable[Record], likers: set[int]) -> Likes:
    """Returns a tweet's register after a slice.

    Args:
        register: As in the store.
        records: The slice's records of this tweet, ascending by offset.
        likers: Users who like it by the rows in the store; changed to those who do after the slice.
    """
    position, likes, views = register.position, register.likes, register.views
    finish = position
    for record in records:
        counts = record.offset >= position
        finish = max(finish, record.offset + 1)
        match record.event:
            case TweetViewed():
                views += counts
            case TweetLiked(user_id=user) if user not in likers:
                likers.add(user)
                likes += counts
            case TweetUnliked(user_id=user) if user in likers:
                likers.remove(user)
                likes -= counts
    return Likes(finish, likes, views)


class Referral(msgspec.Struct, frozen=True):
    """What is known of a tweet that may refer to others.

    Attributes:
        parents: The tweet it replies to, retweets and quotes; 0 for none. None when not posted yet.
        deleted: Whether its author deleted it.
    """

    parents: Children | None = None
    deleted: bool = False


UNKNOWN = Referral()

Child = tuple[int, int]
"""A tweet and who speaks of it; another user's deletion is about another child."""


def child_of(record: Record) -> Child | None:
    """Returns the child that a record of ``new-tweets`` is about, if there may be one."""
    event = record.event
    if isinstance(event, TweetDeleted):
        return event.tweet_id, event.user_id
    if isinstance(event, TweetPosted) and any(parents_of(event)):
        return event.tweet_id, event.user_id
    return None


def parents_of(event: TweetPosted) -> Children:
    """Returns the tweets that a tweet refers to, in the order of ``KINDS``."""
    return event.reply_to_id or 0, event.retweet_of_id or 0, event.quote_of_id or 0


def advance(known: Referral, record: Record) -> Referral:
    """Returns what is known of a child after one more record: the first post and any deletion."""
    if isinstance(record.event, TweetDeleted):
        return Referral(known.parents, deleted=True)
    if isinstance(record.event, TweetPosted) and known.parents is None:
        return Referral(parents_of(record.event), known.deleted)
    return known


class Change(msgspec.Struct, frozen=True):
    """What one record does to one parent: by how much each count changes, from which offset on."""

    offset: int
    parent_id: int
    by: Children


def replay(known: Mapping[Child, Referral], records: Iterable[Record]) -> list[Change]:
    """Returns the changes of a slice of ``new-tweets``, nothing counted twice among them.

    A record that changes nothing is listed as well, by (0, 0, 0): the parent's register moves past
    it.
    """
    state = dict(known)
    changes: list[Change] = []
    for record in records:
        child = child_of(record)
        if child is None:
            continue
        before = state.get(child, UNKNOWN)
        after = state[child] = advance(before, record)
        if after.parents is None:
            continue
        step = _stands(after) - _stands(before)
        for parent in dict.fromkeys(p for p in after.parents if p):
            replies, retweets, quotes = (step * (p == parent) for p in after.parents)
            changes.append(Change(record.offset, parent, (replies, retweets, quotes)))
    return changes


def retally(registers: Mapping[int, Family], changes: Sequence[Change]) -> dict[int, Family]:
    """Returns the registers after changes, of every parent in them.

    Args:
        registers: As in the store, by parent; those that are missing count nothing.
        changes: Of one slice, ascending by offset.
    """
    found: dict[int, Family] = {}
    for change in changes:
        stored = registers.get(change.parent_id, Family())
        now = found.get(change.parent_id, stored)
        counts = now.counts
        if change.offset >= stored.position:
            a, b, c = counts
            x, y, z = change.by
            counts = (a + x, b + y, c + z)
        found[change.parent_id] = Family(max(now.position, change.offset + 1), counts)
    return found


def _stands(known: Referral) -> int:
    return int(known.parents is not None and not known.deleted)
