"""Routes of search; see :mod:`gateway.routes`."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from gateway.answers import CountsPage, TweetPage, UserPage
from gateway.queries.people import COUNT_MAX, PeopleQueries
from gateway.queries.search import WIDTHS_MS, SearchQueries
from gateway.routing import PAGE, Parameter, Route
from projections.search.query.parse import CHARACTERS_MAX

SEARCH = "search"
FINDING = ("accounts", SEARCH, "tweets", "engagement", "timelines")

_CURSOR, _COUNT = PAGE
_USER_COUNT = replace(_COUNT, schema={**_COUNT.schema, "maximum": COUNT_MAX})
_Q = Parameter(
    "q",
    "What to look for: words (all of them), OR, - for what must not be there, parentheses, "
    '"a phrase", #tag, @user, from:, to:, conversation_id:, lang:, is:reply|retweet|quote, '
    "has:media|links|hashtags|mentions, since: and until: (days in UTC, or RFC 3339 times), "
    "since_id:, until_id:, min_likes:, min_retweets:.",
    {"type": "string", "maxLength": CHARACTERS_MAX},
)
_ORDER = Parameter(
    "order",
    "recency: the newest first. relevance: the best of the newest hundred, by how well the words "
    "fit, how new a tweet is and what others made of it.",
    {"type": "string", "enum": ["recency", "relevance"], "default": "recency"},
)
_GRANULARITY = Parameter(
    "granularity",
    "Length of the intervals.",
    {"type": "string", "enum": list(WIDTHS_MS), "default": "hour"},
)
_NAME = Parameter("q", "The beginning of a username, or of words of a name.", {"type": "string"})


class SearchHandlers(NamedTuple):
    """What answers these routes."""

    tweets: SearchQueries
    people: PeopleQueries


def search_routes(handlers: SearchHandlers) -> list[Route]:
    """Returns the routes."""
    return [
        Route(
            method="GET",
            path="/api/search",
            handler=handlers.tweets.tweets,
            summary="Tweets that a query finds",
            units=FINDING,
            answer=TweetPage,
            query=(_Q, _ORDER, *PAGE),
        ),
        Route(
            method="GET",
            path="/api/search/counts",
            handler=handlers.tweets.counts,
            summary="How many tweets a query finds, by minute, hour or day; of the last seven days "
            "where the query does not say since when",
            units=("accounts", SEARCH),
            answer=CountsPage,
            query=(_Q, _GRANULARITY, _CURSOR),
        ),
        Route(
            method="GET",
            path="/api/search/users",
            handler=handlers.people.users,
            summary="Users by the beginning of a username, or of words of a name",
            units=("accounts", SEARCH, "timelines"),
            answer=UserPage,
            query=(_NAME, _USER_COUNT),
        ),
    ]
