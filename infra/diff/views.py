"""What a reader sees of each key of a unit, as plain data: read through the units' reading sides.

A *kind* is a question with a key: "who is this user". Its keys come from the facts' tables, its
answer from the same readers that the gateway serves from, all pages of it. Beside the compared unit
the readers of others are needed (a home timeline shows tweets and authors); those are taken from
``beside``, the same engines for both sides, so that only the compared unit can make a difference.

Bounded by: ``ENTRIES_MAX`` entries of one list; ``PAGE`` at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import msgspec

from gateway.queries.counted import CountedTweets
from gateway.queries.home import HomeTimelines
from infra import compose
from infra.compose import Engines
from infra.diff import trends
from infra.diff.keys import Table
from projections.accounts.layout import UserFragment
from projections.base import RetryableError
from projections.listing import NEWEST, Page
from projections.notifications.layout import ADDRESSED, Group, of_name
from projections.notifications.read import NotificationsReader
from projections.search.program import Place, Words
from projections.timelines.read import TimelinesReader
from projections.tweets.layout import TweetFragment
from projections.tweets.mentions import Addressee, addressees

PAGE = 100
ENTRIES_MAX = 5_000

Read: TypeAlias = Callable[[Any], Awaitable[Any]]
Homes: TypeAlias = HomeTimelines[TweetFragment, UserFragment]
T = TypeVar("T")


class Kind(msgspec.Struct, frozen=True):
    """A question that readers ask.

    Attributes:
        name: Such as ``user``.
        tables: Whose partitions are its keys.
    """

    name: str
    tables: tuple[Table, ...]


def _kind(name: str, *tables: str) -> Kind:
    """A kind whose tables are written ``name:column,column``."""
    split = (table.partition(":") for table in tables)
    return Kind(name, tuple(Table(name, tuple(columns.split(","))) for name, _, columns in split))


KINDS_OF_UNIT: dict[str, tuple[Kind, ...]] = {
    "accounts": (
        _kind("user", "accounts:user_id", "pins:user_id"),
        _kind("username", "username_claims:username_key"),
    ),
    "tweets": (
        _kind("tweet", "tweets:tweet_id"),
        _kind("mentions", "mention_spans:addressee"),
    ),
    "timelines": (
        _kind("timeline", "graph_out:user_id", "graph_in:user_id", "author_tweets:author_id"),
    ),
    "engagement": (
        _kind(
            "counts", "tallies:tweet_id", "likes:tweet_id", "liked_by:tweet_id",
            "referrals:tweet_id",
        ),
        _kind("children", "children:parent_id,kind"),
        _kind("likes", "likes_of:user_id"),
    ),
    "collections": (
        _kind("list", "lists:list_id"),
        _kind("members", "list_members:list_id,user_id"),
        _kind("user", "lists_of:user_id", "bookmarks:user_id", "bookmarks_of:user_id"),
    ),
    "notifications": (
        _kind("inbox", "inbox_spans:addressee"),
        _kind(
            "settings", "notices_read:user_id", "notice_preferences:user_id",
            "notice_addresses:user_id",
        ),
    ),
    "search": (
        _kind("term", "rare_postings:term"),
        _kind("people", "people:start"),
    ),
    "trends": (
        _kind("trends", "trends:scope,woeid,day"),
        _kind("starts", "trend_starts:scope,day"),
        _kind("uses", "trend_uses:scope,slot,shard"),
    ),
}  # fmt: skip
"""The questions by unit."""


def reads(unit: str, on: Engines, beside: Engines) -> dict[str, Read]:
    """Returns what answers each kind of a unit's questions.

    Args:
        unit: The compared unit.
        on: Engines with the generation of the unit that is asked.
        beside: Engines of the other units.
    """
    return _READS[unit](on, beside)


def _accounts(on: Engines, beside: Engines) -> dict[str, Read]:
    reader = compose.accounts_reader(on)

    async def user(user_id: int) -> Any:
        found = (await reader.users([user_id])).get(user_id)
        if found is None:
            return None
        status = "erased" if found.erased else "deactivated" if found.deactivated else "active"
        return {"status": status, "pinned": found.pinned_tweet_id, "profile": _object(found.body)}

    async def username(key: str) -> Any:
        claim = await reader.claim_of(key)
        return msgspec.to_builtins(claim) if claim is not None else None

    return {"user": user, "username": username}


def _tweets(on: Engines, beside: Engines) -> dict[str, Read]:
    reader, mentions = compose.tweets_reader(on), compose.mentions_reader(on)

    async def tweet(tweet_id: int) -> Any:
        found = (await reader.get([tweet_id])).get(tweet_id)
        author = (await reader.author_of([tweet_id])).get(tweet_id)
        if found is None:
            return {"author": author, "tweet": None}
        fields = msgspec.structs.asdict(found)
        return {"author": author, "tweet": fields | {"body": _object(found.body)}}

    async def speaking_to(addressee: str) -> Any:
        """Candidates whose tweet stands and speaks to the addressee, as the gateway shows them."""
        found: list[int] = []
        below = NEWEST
        while below and len(found) < ENTRIES_MAX:
            part = await mentions.page([Addressee(addressee)], below, PAGE)
            standing = await reader.get(part.ids)
            found += [
                tweet_id
                for tweet_id in part.ids
                if tweet_id in standing and addressee in addressees(standing[tweet_id])
            ]
            below = part.floor
        return {"tweets": found}

    return {"tweet": tweet, "mentions": speaking_to}


def _timelines(on: Engines, beside: Engines) -> dict[str, Read]:
    reader = compose.timelines_reader(on)
    tweets = CountedTweets(compose.tweets_reader(beside), compose.engagement_reader(beside))
    homes: Homes = HomeTimelines(reader, tweets, compose.accounts_reader(beside))

    async def timeline(user: int) -> Any:
        relations = await reader.graph.relations_of(user)
        followers, following = (await reader.graph.counts([user]))[user]
        return {
            "followers_count": followers,
            "following_count": following,
            "following": await _descending(reader.graph.following_page, user),
            "followers": await _descending(reader.graph.follower_page, user),
            "follows": sorted(relations.following),
            "blocking": sorted(relations.blocking),
            "blocked": sorted(relations.blocked),
            "muted": sorted(relations.muted),
            "posted": await _posted(reader, user),
            "home": await _home(homes, user),
        }

    return {"timeline": timeline}


def _engagement(on: Engines, beside: Engines) -> dict[str, Read]:
    reader, threads = compose.engagement_reader(on), compose.threads_reader(on)

    async def counts(tweet_id: int) -> Any:
        found = (await reader.counts([tweet_id]))[tweet_id]
        liked_by = await _listed(lambda below: reader.liked_by(tweet_id, below, PAGE))
        return {
            **msgspec.structs.asdict(found),
            "liked_by": [entry.user_id for entry in liked_by],
            "answers": (await threads.answered([tweet_id])).get(tweet_id),
        }

    async def children(key: tuple[int, str]) -> Any:
        parent, kind = key
        found = await _listed(lambda below: reader.children(parent, kind, below, PAGE))
        return {"tweets": [[entry.tweet_id, entry.user_id] for entry in found]}

    async def likes(user_id: int) -> Any:
        found = await _listed(lambda below: reader.likes_of(user_id, below, PAGE))
        return {"tweets": [entry.tweet_id for entry in found]}

    return {"counts": counts, "children": children, "likes": likes}


def _collections(on: Engines, beside: Engines) -> dict[str, Read]:
    reader = compose.collections_reader(on)

    async def one(list_id: int) -> Any:
        found = (await reader.lists([list_id])).get(list_id)
        return None if found is None else {"owner": found.owner_id, **_object(found.body)}

    async def members(key: tuple[int, int]) -> Any:
        return {"members": list(await reader.members(key[0]))}

    async def user(user_id: int) -> Any:
        marked = await _listed(lambda below: reader.bookmarks(user_id, below, PAGE))
        return {
            "lists": list(await reader.owned(user_id, NEWEST, ENTRIES_MAX)),
            "lists_count": await reader.owned_count(user_id),
            "bookmarks": [entry.tweet_id for entry in marked],
        }

    return {"list": one, "members": members, "user": user}


def _search(on: Engines, beside: Engines) -> dict[str, Read]:
    reader, people = compose.search_reader(on), compose.people_reader(on)

    async def term(text: str) -> Any:
        """What both tiers find by one term, in their order."""
        program = Words((Place(0, (text,), ()),))
        found: list[int] = []
        below = NEWEST
        while below and len(found) < ENTRIES_MAX:
            part = await reader.find(program, below, PAGE)
            if part.recent_only:
                raise RetryableError(f"what is found by {text!r} could be read in part only")
            found += part.ids
            below = part.floor
        return {"tweets": found}

    async def named(start: str) -> Any:
        return {"users": sorted(await people.starting_with([start], ENTRIES_MAX))}

    return {"term": term, "people": named}


def _notifications(on: Engines, beside: Engines) -> dict[str, Read]:
    reader, tweets = compose.notifications_reader(on), compose.tweets_reader(beside)

    async def inbox(addressee: int) -> Any:
        """Candidates whose tweet stands and speaks to the addressee; groups with all acts."""
        found: list[int] = []
        seen: dict[Group, None] = {}
        below = NEWEST
        while below and len(found) + len(seen) < ENTRIES_MAX:
            part = await reader.part(addressee, [], below, PAGE)
            standing = await tweets.get(part.tweets)
            found += [
                tweet_id
                for tweet_id in part.tweets
                if tweet_id in standing and addressee in _addressees(standing[tweet_id])
            ]
            seen |= dict.fromkeys(Group(g.kind, addressee, g.subject) for g in part.groups)
            below = part.floor
        counts = await reader.counts(seen, [])
        groups = {group: await _acts(reader, group) for group in seen}
        return {
            "tweets": found,
            "groups": {
                f"{group.kind} {group.subject}": {"count": counts[group], "acts": acts}
                for group, acts in groups.items()
                if acts or counts[group]
            },
        }

    async def settings(user: int) -> Any:
        reached = {
            channel: [
                list(msgspec.structs.astuple(a)) for a in await reader.addresses(user, channel)
            ]
            for channel in ADDRESSED
        }
        return {**msgspec.structs.asdict(await reader.settings(user)), "reached": reached}

    return {"inbox": inbox, "settings": settings}


_READS: dict[str, Callable[[Engines, Engines], dict[str, Read]]] = {
    "accounts": _accounts,
    "tweets": _tweets,
    "timelines": _timelines,
    "engagement": _engagement,
    "collections": _collections,
    "search": _search,
    "notifications": _notifications,
    "trends": trends.reads,
}

assert _READS.keys() == KINDS_OF_UNIT.keys()


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object of a fragment's body, which has no closing brace."""
    found: dict[str, Any] = msgspec.json.decode(body + b"}")
    return found


async def _listed(page_of: Callable[[int], Awaitable[Page]]) -> list[Any]:
    found: list[Any] = []
    below: int | None = NEWEST
    while below is not None and len(found) < ENTRIES_MAX:
        page = await page_of(below)
        found += page.entries
        below = page.below
    return found


def _addressees(tweet: TweetFragment) -> set[int]:
    """Whom a tweet that stands speaks to, as the notifications unit has them."""
    names = {of_name(one[1:]) for one in addressees(tweet) if one.startswith("@")}
    users = {tweet.reply_to_user_id, tweet.quote_of_user_id} - {tweet.author_id}
    return names if tweet.retweet_of_id else names | users


async def _acts(reader: NotificationsReader, group: Group) -> list[list[int]]:
    found: list[list[int]] = []
    below = NEWEST
    while below and len(found) < ENTRIES_MAX:
        acts, below = await reader.acts(group, below, PAGE)
        found += [[act.at, act.user_id, group.subject] for act in acts]
    return found


async def _descending(
    page_of: Callable[[int, int, int], Awaitable[list[int]]], user: int
) -> list[int]:
    found: list[int] = []
    below = NEWEST
    while len(found) < ENTRIES_MAX:
        page = await page_of(user, below, PAGE)
        found += page
        if len(page) < PAGE:
            break
        below = page[-1]
    return found


async def _posted(reader: TimelinesReader, user: int) -> list[int]:
    found: list[int] = []
    below = NEWEST
    while below and len(found) < ENTRIES_MAX:
        page = await reader.authors.page(user, below, PAGE)
        found += [entry.tweet_id for entry in page.entries]
        below = page.floor
    return found


async def _home(homes: Homes, user: int) -> list[int]:
    found: list[int] = []
    below: int | None = None
    while len(found) < ENTRIES_MAX:
        top = NEWEST if below is None else next(iter(found), 0)
        page = await homes.page(user, below, PAGE, top=top)
        if page.incomplete:
            raise RetryableError(f"the home timeline of {user} could be read in part only")
        found += [tweet_id for tweet_id, _ in page.tweets]
        below = page.below
        if below is None:
            break
    return found
