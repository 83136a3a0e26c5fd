"""The JSON that clients get, as types; see ``gateway.bodies`` for what they send.

Answers are spliced from the projections' fragments, not encoded from these types: the types
describe them in ``/openapi.json``, and tests decode real answers with them, strictly.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.bodies import IdText, Time, Username
from projections.text.entities import Entities


class _Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What clients get; strict, so that a test sees a field that is not described."""


class UserMetrics(_Answer, frozen=True, kw_only=True):
    """Sizes of the follow graph around a user: follows in force, whoever is active."""

    followers_count: int
    following_count: int


class User(_Answer, frozen=True, kw_only=True):
    """A user; ``public_metrics`` only where users are what was asked for.

    ``pinned_tweet_id`` only where one user was, and while that tweet is there; it is included then.
    """

    id: IdText
    username: Username
    name: str
    description: str
    location: str
    url: str
    profile_image_url: str
    created_at: Time
    public_metrics: UserMetrics | None = None
    pinned_tweet_id: IdText | None = None


class TweetReference(_Answer, frozen=True, kw_only=True):
    """Another tweet that a tweet refers to."""

    type: Literal["retweeted", "quoted", "replied_to"]
    id: IdText


class Attachments(_Answer, frozen=True, kw_only=True):
    """What is attached to a tweet."""

    media_keys: list[str]


class Point(_Answer, frozen=True, kw_only=True):
    """A GeoJSON point: longitude, then latitude."""

    type: Literal["Point"]
    coordinates: tuple[float, float]


class Place(_Answer, frozen=True, kw_only=True):
    """Where a tweet is from: a point, a place by its WOEID, or both."""

    coordinates: Point | None = None
    woeid: str = ""
    country_woeid: str = ""


class TweetMetrics(_Answer, frozen=True, kw_only=True):
    """Counts of a tweet; of a retweet see the original's."""

    retweet_count: int
    reply_count: int
    like_count: int
    quote_count: int
    impression_count: int


class Tweet(_Answer, frozen=True, kw_only=True):
    """A tweet; what does not apply is left out. A retweet's text is empty: see the original.

    ``public_metrics`` is missing only where an answer is marked ``X-Stale`` and they are not known.
    """

    id: IdText
    text: str
    author_id: IdText
    created_at: Time
    conversation_id: IdText
    lang: str
    in_reply_to_user_id: IdText | None = None
    entities: Entities | None = None
    attachments: Attachments | None = None
    referenced_tweets: list[TweetReference] = []
    geo: Place | None = None
    source: str = ""
    public_metrics: TweetMetrics | None = None


class Included(_Answer, frozen=True, kw_only=True):
    """What the data refers to: authors, and the originals of retweets."""

    users: list[User] = []
    tweets: list[Tweet] = []


class PageMeta(_Answer, frozen=True, kw_only=True):
    """Size of a page, and where the next one begins; without ``next_cursor`` it is the last.

    ``stale``: the store is away, and the page is what the caches hold, see ``X-Stale``.
    ``incomplete``: they do not hold all of it; ask again later for what is missing.
    """

    result_count: int
    next_cursor: str | None = None
    stale: bool = False
    incomplete: bool = False


class TweetPage(_Answer, frozen=True, kw_only=True):
    """A page of tweets, newest first."""

    data: list[Tweet]
    includes: Included
    meta: PageMeta


class ConversationEntry(_Answer, frozen=True, kw_only=True):
    """A tweet's place in a conversation.

    ``gone``: deleted, or its author is away; ``hidden``: you mute its author, or there is a block
    between you. ``next_cursor`` is one of ``/api/tweets/{id}/conversation`` of this entry's ``id``,
    and leads to more of its replies.
    """

    id: IdText
    status: Literal["shown", "gone", "hidden"]
    tweet: Tweet | None = None
    replies: list[ConversationEntry] = []
    next_cursor: str | None = None


class Conversation(_Answer, frozen=True, kw_only=True):
    """A tweet, what it answers (the root first) and what answers it (newest first).

    ``ancestors_omitted``: some between the first ancestor and the second are not listed. Pages
    after the first have replies alone.
    """

    conversation_id: IdText | None = None
    ancestors: list[ConversationEntry]
    ancestors_omitted: bool
    tweet: ConversationEntry | None = None
    replies: list[ConversationEntry]


class ConversationPage(_Answer, frozen=True, kw_only=True):
    """A page of a conversation; ``result_count`` counts the replies of the first level."""

    data: Conversation
    includes: Included
    meta: PageMeta


class Explained(_Answer, frozen=True, kw_only=True, omit_defaults=True):
    """Why an entry is in the home timeline, and where in the log its event is.

    ``own``: the reader's. ``pushed``: by a fan-out into the cached timeline. ``backfilled``: by the
    follow ``follow_id``, which is newer. ``rebuilt``: from the store, when the cached timeline was
    filled. ``pulled``: from a celebrity, when this page was read. ``store``: below what is cached.
    """

    tweet_id: IdText
    why: Literal["own", "pushed", "backfilled", "rebuilt", "pulled", "store"]
    follow_id: IdText | None = None
    position: str | None = None


class HomeMeta(PageMeta, frozen=True, kw_only=True):
    """As of any page. A first page and an answer to ``since`` carry ``newest_cursor``: send it as
    ``since`` to get what is new above them. ``missed``: how many entries an answer to ``since``
    left out, between its last and the cursor; ``next_cursor`` goes on with them.
    """

    newest_cursor: str | None = None
    missed: int | None = None
    missed_is_lower_bound: bool = False


class HomeTimelinePage(_Answer, frozen=True, kw_only=True):
    """A page of the home timeline, newest first; ``explain`` in the order of ``data``, if asked."""

    data: list[Tweet]
    includes: Included
    explain: list[Explained] | None = None
    meta: HomeMeta


class UserPage(_Answer, frozen=True, kw_only=True):
    """A page of users."""

    data: list[User]
    meta: PageMeta


class TweetCount(_Answer, frozen=True, kw_only=True):
    """How many tweets were found of an interval, its end left out."""

    start: Time
    end: Time
    tweet_count: int


class CountsMeta(PageMeta, frozen=True, kw_only=True):
    """Of a page of counts."""

    total_tweet_count: int


class CountsPage(_Answer, frozen=True, kw_only=True):
    """Intervals in which tweets were found, the earliest of the page first.

    ``next_cursor`` leads to what is earlier than all of them.
    """

    data: list[TweetCount]
    meta: CountsMeta


class TweetAnswer(_Answer, frozen=True, kw_only=True):
    """One tweet."""

    data: Tweet
    includes: Included | None = None


class UserAnswer(_Answer, frozen=True, kw_only=True):
    """One user."""

    data: User
    includes: Included | None = None


class RegisteredAnswer(_Answer, frozen=True, kw_only=True):
    """The new user, and a token that speaks for him."""

    data: User
    token: str


class Following(_Answer, frozen=True, kw_only=True):
    """Whether the follow holds."""

    following: bool


class Blocking(_Answer, frozen=True, kw_only=True):
    """Whether the block holds."""

    blocking: bool


class Muting(_Answer, frozen=True, kw_only=True):
    """Whether the mute holds."""

    muting: bool


class Deleted(_Answer, frozen=True, kw_only=True):
    """Whether the tweet is deleted."""

    deleted: bool


class Retweeted(_Answer, frozen=True, kw_only=True):
    """Whether the retweet holds."""

    retweeted: bool


class Liked(_Answer, frozen=True, kw_only=True):
    """Whether the like holds."""

    liked: bool


class Viewed(_Answer, frozen=True, kw_only=True):
    """How many tweets were seen; those that are gone do not count."""

    viewed: int


class Pinned(_Answer, frozen=True, kw_only=True):
    """Whether a tweet is pinned."""

    pinned: bool


class PinnedAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of pin commands."""

    data: Pinned


class LikedAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of like commands."""

    data: Liked


class ViewedAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of a report of what was seen."""

    data: Viewed


class FollowingAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of follow commands."""

    data: Following


class BlockingAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of block commands."""

    data: Blocking


class MutingAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of mute commands."""

    data: Muting


class DeletedAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of a deletion."""

    data: Deleted


class RetweetedAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of taking a retweet back."""

    data: Retweeted


class List(_Answer, frozen=True, kw_only=True):
    """A list of users; inactive members are counted."""

    id: IdText
    name: str
    description: str
    private: bool
    owner_id: IdText
    created_at: Time
    member_count: int


class ListAnswer(_Answer, frozen=True, kw_only=True):
    """One list."""

    data: List


class ListPage(_Answer, frozen=True, kw_only=True):
    """A page of lists, newest first."""

    data: list[List]
    meta: PageMeta


class Membership(_Answer, frozen=True, kw_only=True):
    """Whether the user is in the list."""

    is_member: bool


class MembershipAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of the commands about members."""

    data: Membership


class Bookmarked(_Answer, frozen=True, kw_only=True):
    """Whether the bookmark holds."""

    bookmarked: bool


class BookmarkedAnswer(_Answer, frozen=True, kw_only=True):
    """Answer of bookmark commands."""

    data: Bookmarked
