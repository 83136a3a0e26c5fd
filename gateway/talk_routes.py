"""Routes of what people say to each other: mentions, conversations, pinned tweets."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.answers import ConversationPage, PinnedAnswer, TweetPage
from gateway.bodies import PinnedTweet
from gateway.commands.pins import PinCommands
from gateway.limits import REPLIES_MAX
from gateway.queries.conversation import ConversationQueries
from gateway.queries.mentions import MentionQueries
from gateway.routing import PAGE, Access, Route

WRITING = ("accounts", "tweets")
READING = (*WRITING, "engagement", "timelines")

_CURSOR, _COUNT = PAGE
_REPLY_COUNT = replace(_COUNT, schema={**_COUNT.schema, "maximum": REPLIES_MAX})


def talk(
    mentions: MentionQueries, conversation: ConversationQueries, pins: PinCommands
) -> list[Route]:
    """Returns the routes."""
    return [
        Route(
            method="GET",
            path="/api/users/{id}/mentions",
            handler=mentions.by_user,
            summary="Tweets that mention a user by name, and replies to him",
            units=READING,
            answer=TweetPage,
            query=PAGE,
        ),
        Route(
            method="GET",
            path="/api/tweets/{id}/conversation",
            handler=conversation.of_tweet,
            summary="A tweet with what it answers and, newest first, what answers it, as a tree",
            units=READING,
            answer=ConversationPage,
            query=(_CURSOR, _REPLY_COUNT),
        ),
        Route(
            method="POST",
            path="/api/users/{me}/pinned_tweet",
            handler=pins.pin,
            summary="Pin one of one's tweets to one's profile, in place of any other",
            access=Access.WRITE,
            units=WRITING,
            body=PinnedTweet,
            answer=PinnedAnswer,
            status=201,
        ),
        Route(
            method="DELETE",
            path="/api/users/{me}/pinned_tweet",
            handler=pins.unpin,
            summary="Unpin what is pinned to one's profile",
            access=Access.WRITE,
            units=WRITING,
            answer=PinnedAnswer,
        ),
    ]
