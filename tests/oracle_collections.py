"""The oracle's part for lists and bookmarks, as plain Python over the records of the log.

Like `tests/oracle.py`: it keeps facts, and works every answer out anew when asked. Order inside a
partition is the order of offsets; a record that was fed before changes nothing; the order in which
partitions are fed never changes an answer.

The sentences
- A list belongs to the user of the first ListCreated of its id. (All records about one list come by
  one partition.) What anybody else says of it changes nothing.
- It stands unless its owner ever deleted it, whichever came first. Each field is as its owner last
  changed it, else as created.
- A member is one of whom the last of the owner's ListMemberAdded and ListMemberRemoved is an
  addition; of more than ``members_max`` those with the lowest ids.
- A user has bookmarked a tweet when the last of his TweetBookmarked and TweetUnbookmarked about it
  is a bookmark. The event id of that one orders the bookmarks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from events.types import (
    Event,
    ListChanged,
    ListCreated,
    ListDeleted,
    ListMemberAdded,
    ListMemberRemoved,
    TweetBookmarked,
    TweetUnbookmarked,
)
from tests.oracle_log import LogFed, LogRecord

MEMBERS_MAX = 5_000


class ListView(NamedTuple):
    """What readers see of a list, if they may see it."""

    owner_id: int
    name: str
    description: str
    private: bool
    created_at: int
    member_count: int


class CollectionsOracle(LogFed):
    """Feed it records, each partition in offset order; then ask."""

    def __init__(self, records: Iterable[LogRecord] = (), members_max: int = MEMBERS_MAX) -> None:
        self._members_max = members_max
        self._created: dict[int, ListCreated] = {}
        self._made: dict[int, set[int]] = defaultdict(set)  # user -> lists
        self._said: dict[tuple[int, int], list[Event]] = defaultdict(list)  # (list, user)
        self._bookmarks: dict[int, dict[int, int | None]] = defaultdict(dict)
        super().__init__(records)

    def apply(self, event: Event) -> None:
        """Take in an event that is new."""
        match event:
            case ListCreated(list_id=list_id):
                self._created.setdefault(list_id, event)
                self._made[event.user_id].add(list_id)
            case ListChanged() | ListDeleted() | ListMemberAdded() | ListMemberRemoved():
                self._said[event.list_id, event.user_id].append(event)
            case TweetBookmarked(user_id=user, tweet_id=tweet):
                self._bookmarks[user][tweet] = event.event_id
            case TweetUnbookmarked(user_id=user, tweet_id=tweet):
                self._bookmarks[user][tweet] = None
            case _:
                pass  # accounts, tweets and the graph are no part of these sentences

    def lists(self) -> list[int]:
        """Every list id that was ever created."""
        return sorted(self._created)

    def view(self, list_id: int) -> ListView | None:
        """The list, if it stands."""
        created = self._created.get(list_id)
        if created is None:
            return None
        said = self._said[list_id, created.user_id]
        if any(isinstance(event, ListDeleted) for event in said):
            return None
        fields = {name: getattr(created, name) for name in ("name", "description", "private")}
        for event in said:
            if isinstance(event, ListChanged):
                changes = {name: getattr(event, name) for name in fields}
                fields |= {name: value for name, value in changes.items() if value is not None}
        members = len(self.members(list_id))
        return ListView(
            created.user_id, **fields, created_at=created.occurred_at, member_count=members
        )

    def members(self, list_id: int) -> list[int]:
        """Ids of the members, ascending; none of a list that does not stand."""
        created = self._created.get(list_id)
        if created is None:
            return []
        members: set[int] = set()
        for event in self._said[list_id, created.user_id]:
            match event:
                case ListMemberAdded(member_id=member):
                    members.add(member)
                case ListMemberRemoved(member_id=member):
                    members.discard(member)
                case ListDeleted():
                    return []
                case _:
                    pass
        return sorted(members)[: self._members_max]

    def owned(self, user: int, reader: int) -> list[int]:
        """The user's lists that a reader may see, newest id first."""
        views = {list_id: self.view(list_id) for list_id in self._created}
        return sorted(
            (
                list_id
                for list_id, view in views.items()
                if view is not None
                and view.owner_id == user
                and (not view.private or reader == user)
            ),
            reverse=True,
        )

    def owned_count(self, user: int) -> int:
        """Lists that the user created and never deleted."""
        return sum(
            not any(isinstance(event, ListDeleted) for event in self._said[list_id, user])
            for list_id in self._made[user]
        )

    def bookmarks(self, user: int) -> list[int]:
        """Tweets that a user has bookmarked, the newest bookmark first."""
        found = [(at, tweet) for tweet, at in self._bookmarks[user].items() if at is not None]
        return [tweet for _, tweet in sorted(found, reverse=True)]
