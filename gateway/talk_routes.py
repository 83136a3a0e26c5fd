"""Routes of what people say to each other: mentions, conversations, pinned tweets."""

from __future__ import annotations

from gateway.answers import ConversationPage, TweetPage
from gateway.limits import PAGE_DEFAULT, PAGE_MAX, REPLIES_MAX
from gateway.queries.conversation import ConversationQueries
from gateway.queries.mentions import MentionQueries
from gateway.routing import Parameter, Route

UNITS = ("accounts", "tweets", "engagement", "timelines")

_CURSOR = Parameter("cursor", "next_cursor of the page before.", {"type": "string"})


def _count(most: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": PAGE_DEFAULT}
    return Parameter("count", "Most items of the page.", schema)


def talk(mentions: MentionQueries, conversation: ConversationQueries) -> list[Route]:
    """Returns the routes."""
    return [
        Route(
            method="GET",
            path="/api/users/{id}/mentions",
            handler=mentions.by_user,
            summary="Tweets that mention a user by name, and replies to him",
            units=UNITS,
            answer=TweetPage,
            query=(_CURSOR, _count(PAGE_MAX)),
        ),
        Route(
            method="GET",
            path="/api/tweets/{id}/conversation",
            handler=conversation.of_tweet,
            summary="A tweet with what it answers and, newest first, what answers it, as a tree",
            units=UNITS,
            answer=ConversationPage,
            query=(_CURSOR, _count(REPLIES_MAX)),
        ),
    ]
