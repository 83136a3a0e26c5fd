"""What the gateway needs of the layers below, as protocols; ``infra`` passes the real ones in.

They are the signatures of the projections' ``read`` modules and of ``events``, so that the routes
can be tested without an engine. Every one may raise ``projections.base.RetryableError``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from events.log import Appended
from events.position import Position
from events.types import Event
from gateway.queries.view import HomePage
from projections.accounts.layout import Claim, UserFragment
from projections.collections.layout import ListFragment
from projections.listing import Page
from projections.notifications.layout import Address, Group, Part, Proposal, Seen, Settings
from projections.search.program import Program
from projections.search.read import Counted, Results
from projections.timelines.authors import NEWEST, Merge
from projections.timelines.layout import Relations
from projections.trends.layout import Start
from projections.trends.read import Found, Own
from projections.tweets.layout import TweetFragment
from projections.tweets.mentions import Addressee, Candidates


class Log(Protocol):
    """Appends events; ``events.log.Log``."""

    async def append(self, event: Event) -> Position:
        """Returns where the event is, once it is there for good."""
        ...

    async def append_once(
        self, event: Event, *, idempotency_key: str, command: bytes | None = None
    ) -> Appended:
        """Appends the event of a command that may be repeated."""
        ...

    async def recall(self, idempotency_key: str, command: bytes | None = None) -> Event | None:
        """Returns the event that was stored under a key before it was appended, if any."""
        ...


class Minter(Protocol):
    """Makes ids; ``events.snowflake.SnowflakeMinter``."""

    async def mint(self) -> int:
        """Returns a new id."""
        ...


class Accounts(Protocol):
    """Users; ``projections.accounts.read``."""

    async def get(self, ids: Iterable[int]) -> Mapping[int, UserFragment]:
        """Returns the users of those ids that are registered and active."""
        ...

    async def users(self, ids: Iterable[int]) -> Mapping[int, UserFragment]:
        """Returns the users of those ids that are registered, active or not."""
        ...

    async def claim_of(self, username_key: str) -> Claim | None:
        """Returns the claim that holds a folded name, or None."""
        ...


class Tweets(Protocol):
    """Tweets; ``projections.tweets.read``."""

    async def get(self, ids: Iterable[int]) -> Mapping[int, TweetFragment]:
        """Returns the tweets of those ids that exist; their authors may be inactive."""
        ...


class Mentions(Protocol):
    """Who is spoken to; ``projections.tweets.mentions``."""

    async def page(self, addressees_of: Sequence[Addressee], below: int, limit: int) -> Candidates:
        """Returns ids of tweets that may speak to any of the addressees, newest first."""
        ...


class Threads(Protocol):
    """What answers what; ``projections.engagement.threads``."""

    async def replies(
        self, tweet_ids: Sequence[int], below: int, limit: int
    ) -> Mapping[int, list[int]]:
        """Returns replies under ``below`` by tweet, deleted ones among them, newest first."""
        ...

    async def answered(self, tweet_ids: Sequence[int]) -> Mapping[int, int]:
        """Returns which tweet each answered, deleted ones among them."""
        ...


class Engagement(Protocol):
    """Likes, replies, retweets and quotes; ``projections.engagement.read``."""

    async def liked(self, user_id: int, tweet_ids: Iterable[int]) -> set[int]:
        """Returns which of the tweets the user likes."""
        ...

    async def liked_by(self, tweet_id: int, below: int, limit: int) -> Page:
        """Returns who likes a tweet, the newest like first, by the likes' event ids."""
        ...

    async def likes_of(self, user_id: int, below: int, limit: int) -> Page:
        """Returns what a user likes, the newest like first, by the likes' event ids."""
        ...

    async def children(self, tweet_id: int, kind: str, below: int, limit: int) -> Page:
        """Returns the replies, retweets or quotes of a tweet, newest first."""
        ...


class Authors(Protocol):
    """Author timelines; ``projections.timelines.authors``."""

    async def page(self, author_id: int, below: int, limit: int) -> Merge:
        """Returns the newest entries of one author under ``below``."""
        ...

    async def merge(self, authors: Collection[int], below: int, wanted: int) -> Merge:
        """Returns the newest entries of many authors under ``below``, merged."""
        ...

    async def retweets_of(
        self, originals: Collection[int], authors: Sequence[int]
    ) -> dict[int, list[tuple[int, int]]]:
        """Returns (retweet id, author) by original, newest first, deleted ones among them."""
        ...


class Search(Protocol):
    """Tweets by what is in them; ``projections.search.read``."""

    async def find(self, program: Program, below: int, want: int) -> Results:
        """Returns what a query finds under an id, newest first."""
        ...

    async def count(self, program: Program, width_ms: int, below: int) -> Counted:
        """Returns how many tweets under an id a query finds, by interval."""
        ...


class People(Protocol):
    """Users by their names; ``projections.search.people``."""

    async def starting_with(self, asked: list[str], limit: int) -> list[int]:
        """Returns users of whom a word may begin with the longest of these."""
        ...


class Notifications(Protocol):
    """Inboxes; ``projections.notifications.read``."""

    async def part(self, user_id: int, names: Sequence[int], below: int, limit: int) -> Part:
        """Returns the next candidates of a user and of the names that he goes by."""
        ...

    async def acts(self, group: Group, below: int, limit: int) -> tuple[list[Seen], int]:
        """Returns acts of a group that stand, newest first, and where to read on."""
        ...

    async def counts(self, groups: Iterable[Group], without: Iterable[int]) -> dict[Group, int]:
        """Returns how many acts of each group stand, but for those of some actors."""
        ...

    async def addresses(self, user_id: int, channel: str) -> list[Address]:
        """Returns where a user wants to be reached."""
        ...

    async def proposed(self, user_id: int, channel: str) -> Proposal | None:
        """Returns the address that waits to be confirmed."""
        ...

    async def settings(self, user_id: int) -> Settings:
        """Returns how far a user read, and what he wants to be told."""
        ...

    def takers(self, name: str) -> AsyncIterator[int]:
        """Yields the users who turned a switch on."""
        ...


class Trends(Protocol):
    """What trends; ``projections.trends.read``."""

    async def newest(self, woeid: int) -> Found:
        """Returns what trends in a place."""
        ...

    async def own(self, following: Sequence[int]) -> list[Own]:
        """Returns what some of these people used in the last hour."""
        ...

    async def starts(self) -> list[Start]:
        """Returns what began to trend worldwide and is told, newest first."""
        ...

    def told_at(self, start: Start) -> int:
        """Returns the id under which a start is told."""
        ...


class Graph(Protocol):
    """Follows, blocks and mutes; ``projections.timelines.graph``."""

    async def relations_of(self, user_id: int) -> Relations:
        """Returns whom a user follows, blocks and mutes, and who blocks him."""
        ...

    async def counts(self, user_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Returns (followers, following) of users."""
        ...

    async def follower_counts(self, user_ids: Sequence[int]) -> dict[int, int]:
        """Returns how many follow each of the users."""
        ...

    async def follower_page(self, user_id: int, below: int, limit: int) -> list[int]:
        """Returns up to ``limit`` followers with ids under ``below``, descending."""
        ...

    async def following_page(self, user_id: int, below: int, limit: int) -> list[int]:
        """Returns up to ``limit`` followees with ids under ``below``, descending."""
        ...


class Collections(Protocol):
    """Lists and bookmarks; ``projections.collections.read``."""

    async def lists(self, ids: Iterable[int]) -> Mapping[int, ListFragment]:
        """Returns the lists of those ids that stand, private ones among them."""
        ...

    async def members(self, list_id: int) -> Sequence[int]:
        """Returns the members of a list by ascending id."""
        ...

    async def owned(self, user_id: int, below: int, limit: int) -> Mapping[int, ListFragment]:
        """Returns a user's lists under the id ``below``, newest first; fewer only at the end."""
        ...

    async def owned_count(self, user_id: int) -> int:
        """Returns how many lists a user has, up to the most that he may have."""
        ...

    async def bookmarked(self, user_id: int, tweet_ids: Iterable[int]) -> set[int]:
        """Returns which of the tweets the user has bookmarked."""
        ...

    async def bookmarks(self, user_id: int, below: int, limit: int) -> Page:
        """Returns a user's bookmarks, the newest first, by the bookmarks' event ids."""
        ...


class Home(Protocol):
    """Home timelines; ``gateway.queries.home``."""

    async def page(
        self,
        user_id: int,
        below: int | None,
        count: int,
        *,
        top: int = NEWEST,
        above: int = 0,
        explain: bool = False,
        cached_only: bool = False,
    ) -> HomePage[TweetFragment, UserFragment]:
        """Returns up to ``count`` tweets under the id ``below``, newest first."""
        ...

    async def refresh(
        self,
        user_id: int,
        above: int,
        count: int,
        *,
        explain: bool = False,
        cached_only: bool = False,
    ) -> HomePage[TweetFragment, UserFragment]:
        """Returns the newest tweets above an id, and how many more there are."""
        ...
