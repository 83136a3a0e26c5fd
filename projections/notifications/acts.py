"""Who stands in which group: records of one actor give, at every offset, the same answer.

What one actor did about one subject (a tweet that he likes, a user whom he follows, a retweet of
his) is a row for each record, by offset, and all of it comes by one partition of the log. So what
stood just before a record is known from the rows below it, whatever else is in the store already:
rows of this slice from an attempt that was cut off, rows of later slices, of a zombie. This is what
makes a *register* a pure function of the log: how many acts of a group, from one partition and
below an offset, stand. A record counts in it when its offset is at or above the register's
position, and everything below a slice is in the store before the slice is applied.

Records that an operator sent back come after their place. Registers pass over them; what they
change is the difference between what stands with and without them, worked out when it is read, for
the few actors whom they are about (``acts_redriven``). Either side writes its row first and then
reads the other's, so that whoever comes second sees both.

Bounded by: ``ACTORS_PER_QUERY`` and ``SUBJECTS_PER_QUERY``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from events.slices import Record
from events.types import (
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    UserFollowed,
    UserUnfollowed,
)
from projections.notifications.layout import (
    FOLLOW,
    LIKE,
    RETWEET,
    Group,
    Shape,
    follow_subject,
    retweet_subject,
)
from projections.store import Store

ACTORS_PER_QUERY = 100
"""ScyllaDB's ``max_clustering_key_restrictions_per_query``."""

SUBJECTS_PER_QUERY = 16
"""Partitions with few actors each in one query."""

_ROWS = (
    "SELECT subject, actor, at_offset, act_id, act_group, redriven FROM {acts} "
    "WHERE subject IN ? AND actor IN ?"
)

Doer = tuple[str, int]
"""A subject and an actor."""


class Act(NamedTuple):
    """One record of an actor about a subject.

    Attributes:
        offset: Of the record.
        act_id: Orders the act in its group; 0 where the record takes back.
        group: Name of the group; '' where the record puts nobody into one.
        redriven: An operator sent the record back.
    """

    offset: int
    act_id: int
    group: str
    redriven: bool = False


def act_of(record: Record, shape: Shape, redriven: bool = False) -> tuple[Doer, Act] | None:
    """Returns what a record says of whom, if it is about an act."""
    event, group, act_id = record.event, "", 0
    match event:
        case TweetLiked(tweet_id=tweet, tweet_author_id=author, user_id=actor):
            subject, act_id = Group(LIKE, author, tweet).name, event.event_id
            group = subject
            concerned = author
        case TweetUnliked(tweet_id=tweet, tweet_author_id=author, user_id=actor):
            subject, concerned = Group(LIKE, author, tweet).name, author
        case UserFollowed(user_id=actor, target_user_id=concerned):
            subject, act_id = follow_subject(concerned, actor), event.event_id
            stretch = act_id >> shape.period_bits << shape.period_bits
            group = Group(FOLLOW, concerned, stretch).name
        case UserUnfollowed(user_id=actor, target_user_id=concerned):
            subject = follow_subject(concerned, actor)
        case TweetPosted(tweet_id=act_id, user_id=actor):
            # A post that is no retweet is a row as well: of two posts of one id the first counts.
            subject, concerned = retweet_subject(act_id), event.retweet_of_user_id or 0
            if event.retweet_of_id and actor != concerned:
                group = Group(RETWEET, concerned, event.retweet_of_id).name
        case TweetDeleted(tweet_id=tweet, user_id=actor):
            subject, concerned = retweet_subject(tweet), 0
        case _:
            return None
    if actor == concerned and not isinstance(event, TweetPosted):
        return None
    return (subject, actor), Act(record.offset, act_id, group, redriven)


def standing(subject: str, acts: Iterable[Act]) -> Act | None:
    """Returns the act that stands of one actor about one subject.

    Args:
        subject: What it is about.
        acts: In any order.
    """
    ordered = sorted(acts)
    if not ordered:
        return None
    if subject.startswith(f"{RETWEET}/"):
        # The first post counts, unless the tweet was ever deleted, whichever came first.
        first = ordered[0]
        return first if first.group and all(act.act_id for act in ordered) else None
    return ordered[-1] if ordered[-1].group else None


class Change(NamedTuple):
    """What a record does to the number of a group's acts."""

    offset: int
    group: str
    by: int


def changes(said: Sequence[tuple[Doer, Act]], known: Mapping[Doer, Sequence[Act]]) -> list[Change]:
    """Returns what records change, ascending by offset.

    Args:
        said: By the records of a slice, ascending by offset; none of them redriven.
        known: All rows of these actors about these subjects, those of the slice among them.
    """
    found: list[Change] = []
    for doer, act in said:
        subject, regular = doer[0], [row for row in known[doer] if not row.redriven]
        before = standing(subject, (row for row in regular if row.offset < act.offset))
        after = standing(subject, (row for row in regular if row.offset <= act.offset))
        was, now = before.group if before else "", after.group if after else ""
        if was != now:
            found += [Change(act.offset, name, by) for name, by in ((was, -1), (now, 1)) if name]
    return found


class Register(NamedTuple):
    """How many acts of a group, of one source partition and below ``position``, stand."""

    position: int = 0
    acts: int = 0


def recounted(registers: Mapping[str, Register], changed: Sequence[Change]) -> dict[str, Register]:
    """Returns the registers after changes, of every group in them."""
    found: dict[str, Register] = {}
    for offset, group, by in changed:
        position, acts = found.get(group) or registers.get(group, Register())
        # Two changes of one offset are of two groups: an act that moved from one to the other.
        if offset >= position:
            found[group] = Register(offset + 1, acts + by)
        else:
            found[group] = Register(position, acts)
    return found


async def rows_of(store: Store, doers: Iterable[Doer]) -> dict[Doer, list[Act]]:
    """Reads all rows of actors about subjects; an entry for each that was asked for."""
    found: dict[Doer, list[Act]] = {doer: [] for doer in doers}
    queries = list(_queries(found))
    for page in await store.execute_many(_ROWS, queries):
        for subject, actor, offset, act_id, group, redriven in page:
            if (subject, actor) in found:  # a query asks for every actor of every subject in it
                found[subject, actor].append(Act(offset, act_id, group, bool(redriven)))
    return found


def _queries(doers: Iterable[Doer]) -> Iterator[tuple[list[str], list[int]]]:
    """Yields subjects and actors: many of one subject alone, few of several subjects together."""
    actors: dict[str, list[int]] = {}
    for subject, actor in doers:
        actors.setdefault(subject, []).append(actor)
    few: list[str] = []
    together: dict[int, None] = {}
    for subject, of_subject in actors.items():
        if len(of_subject) > SUBJECTS_PER_QUERY:
            for at in range(0, len(of_subject), ACTORS_PER_QUERY):
                yield [subject], of_subject[at : at + ACTORS_PER_QUERY]
            continue
        few.append(subject)
        together |= dict.fromkeys(of_subject)
        if len(few) == SUBJECTS_PER_QUERY or len(together) > ACTORS_PER_QUERY // 2:
            yield few, list(together)
            few, together = [], {}
    if few:
        yield few, list(together)
