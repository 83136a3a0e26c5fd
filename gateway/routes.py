"""The route table: every path of the API, what it needs and who answers it.

``units`` names the units of projection that serve a route: ``X-Wait-For`` waits for those.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from gateway.answers import (
    BlockingAnswer,
    DeletedAnswer,
    FollowingAnswer,
    HomeTimelinePage,
    LikedAnswer,
    MutingAnswer,
    RegisteredAnswer,
    RetweetedAnswer,
    TweetAnswer,
    TweetPage,
    UserAnswer,
    UserPage,
    ViewedAnswer,
)
from gateway.bodies import NewTweet, NewUser, ProfileEdit, SeenTweets, Target
from gateway.collection_routes import CollectionHandlers, collection_routes
from gateway.commands.engagement import EngagementCommands
from gateway.commands.graph import GraphCommands
from gateway.commands.pins import PinCommands
from gateway.commands.tweets import TweetCommands
from gateway.commands.users import UserCommands
from gateway.health import Health
from gateway.http import Request, Response
from gateway.notification_routes import NotificationHandlers, notification_routes
from gateway.openapi import document
from gateway.ops import LetterHandlers, letter_routes
from gateway.queries.conversation import ConversationQueries
from gateway.queries.engagement import EngagementQueries
from gateway.queries.graph import GraphQueries
from gateway.queries.mentions import MentionQueries
from gateway.queries.timeline import TimelineQueries
from gateway.queries.trends import TrendQueries
from gateway.queries.tweets import TweetQueries
from gateway.queries.users import UserQueries
from gateway.routing import PAGE, Access, Parameter, Route
from gateway.search_routes import SearchHandlers, search_routes
from gateway.talk_routes import talk
from gateway.trend_routes import trend_routes

ACCOUNTS, TWEETS, TIMELINES, ENGAGEMENT = "accounts", "tweets", "timelines", "engagement"
COUNTED = (ACCOUNTS, TWEETS, ENGAGEMENT)
ALL = (*COUNTED, TIMELINES)
PROFILES = (ACCOUNTS, TIMELINES)

_SINCE = Parameter(
    "since",
    "newest_cursor of an earlier answer: what is new above it, newest first, and in meta.missed "
    "how much more of it there is. Not together with cursor. What arrives late, with an id below "
    "the cursor, is on the pages that begin without since: read those after a follow, and now and "
    "then.",
    {"type": "string"},
)
_EXPLAIN = Parameter(
    "explain",
    "1 to be told of each entry why it is there.",
    {"type": "string", "enum": ["0", "1", "false", "true"], "default": "0"},
)
_REPLIES = Parameter(
    "replies", "Whether replies to others are listed.", {"type": "boolean", "default": False}
)


class Handlers(NamedTuple):
    """What answers the routes."""

    users: UserQueries
    tweets: TweetQueries
    mentions: MentionQueries
    conversation: ConversationQueries
    graph: GraphQueries
    engagement: EngagementQueries
    timeline: TimelineQueries
    user_commands: UserCommands
    pin_commands: PinCommands
    tweet_commands: TweetCommands
    graph_commands: GraphCommands
    engagement_commands: EngagementCommands
    collections: CollectionHandlers
    search: SearchHandlers
    notifications: NotificationHandlers
    trends: TrendQueries
    health: Health
    letters: LetterHandlers | None = None


def table(handlers: Handlers, version: str) -> list[Route]:
    """Returns the routes."""
    api = [
        *_users(handlers),
        *_tweets(handlers),
        *_engagement(handlers),
        *_graph(handlers),
        *_timelines(handlers),
        *talk(handlers.mentions, handlers.conversation, handlers.pin_commands),
        *collection_routes(handlers.collections),
        *search_routes(handlers.search),
        *notification_routes(handlers.notifications),
        *trend_routes(handlers.trends),
    ]
    operators = _operators(handlers.health)
    if handlers.letters is not None:
        operators += letter_routes(handlers.letters)
    openapi = Route(
        method="GET",
        path="/openapi.json",
        handler=_fixed(document([*api, *operators], version)),
        summary="This API, as OpenAPI 3.1",
        access=Access.OPEN,
    )
    return [*api, *operators, openapi]


def _users(handlers: Handlers) -> list[Route]:
    read, write = handlers.users, handlers.user_commands
    return [
        Route(
            method="POST",
            path="/api/users",
            handler=write.register,
            summary="Register: answers with the user and a token",
            access=Access.OPEN,
            body=NewUser,
            answer=RegisteredAnswer,
            status=201,
        ),
        Route(
            method="GET",
            path="/api/users/me",
            handler=read.me,
            summary="The token's user",
            units=ALL,
            answer=UserAnswer,
        ),
        Route(
            method="PATCH",
            path="/api/users/me",
            handler=write.edit,
            summary="Change one's profile",
            access=Access.WRITE,
            units=(ACCOUNTS,),
            body=ProfileEdit,
            answer=UserAnswer,
        ),
        Route(
            method="GET",
            path="/api/users/{id}",
            handler=read.by_id,
            summary="A user by id",
            units=ALL,
            answer=UserAnswer,
        ),
        Route(
            method="GET",
            path="/api/users/by/username/{name}",
            handler=read.by_username,
            summary="A user by name, without regard to case",
            units=ALL,
            answer=UserAnswer,
        ),
    ]


def _tweets(handlers: Handlers) -> list[Route]:
    read, write = handlers.tweets, handlers.tweet_commands
    return [
        Route(
            method="POST",
            path="/api/tweets",
            handler=write.post,
            summary="Post a tweet, a reply or a quote",
            access=Access.WRITE,
            units=ALL,
            body=NewTweet,
            answer=TweetAnswer,
            status=201,
        ),
        Route(
            method="GET",
            path="/api/tweets/{id}",
            handler=read.by_id,
            summary="A tweet by id",
            units=COUNTED,
            answer=TweetAnswer,
        ),
        Route(
            method="DELETE",
            path="/api/tweets/{id}",
            handler=write.delete,
            summary="Delete one's own tweet",
            access=Access.WRITE,
            units=(ACCOUNTS, TWEETS),
            answer=DeletedAnswer,
        ),
        Route(
            method="POST",
            path="/api/tweets/{id}/retweet",
            handler=write.retweet,
            summary="Retweet; of a retweet the original",
            access=Access.WRITE,
            units=ALL,
            answer=TweetAnswer,
            status=201,
        ),
        Route(
            method="DELETE",
            path="/api/tweets/{id}/retweet",
            handler=write.unretweet,
            summary="Take one's retweet back",
            access=Access.WRITE,
            units=ALL,
            answer=RetweetedAnswer,
        ),
    ]


def _engagement(handlers: Handlers) -> list[Route]:
    write, read = handlers.engagement_commands, handlers.engagement
    lists = [
        ("tweets/{id}/liking_users", read.liking_users, "Who likes a tweet", UserPage),
        ("tweets/{id}/retweeted_by", read.retweeted_by, "Who retweeted a tweet", UserPage),
        ("tweets/{id}/quotes", read.quotes, "Quotes of a tweet", TweetPage),
        ("tweets/{id}/replies", read.replies, "Replies to a tweet", TweetPage),
        ("users/{id}/likes", read.likes, "What a user likes, the newest like first", TweetPage),
    ]
    commands = [
        ("POST", "{id}/like", write.like, "Like a tweet; of a retweet the original", 201),
        ("DELETE", "{id}/like", write.unlike, "Take a like back", 200),
    ]
    return [
        *(
            Route(
                method=method,
                path=f"/api/tweets/{path}",
                handler=handler,
                summary=summary,
                access=Access.WRITE,
                units=COUNTED,
                answer=LikedAnswer,
                status=status,
            )
            for method, path, handler, summary, status in commands
        ),
        Route(
            method="POST",
            path="/api/tweets/views",
            handler=write.views,
            summary="Say which tweets were seen",
            access=Access.WRITE,
            units=(ACCOUNTS, TWEETS),
            body=SeenTweets,
            answer=ViewedAnswer,
            status=202,
        ),
        *(
            Route(
                method="GET",
                path=f"/api/{path}",
                handler=handler,
                summary=summary,
                units=ALL if page is UserPage else COUNTED,
                answer=page,
                query=PAGE,
            )
            for path, handler, summary, page in lists
        ),
    ]


def _graph(handlers: Handlers) -> list[Route]:
    write, read = handlers.graph_commands, handlers.graph
    relations = [
        ("follow", write.follow, write.unfollow, FollowingAnswer),
        ("block", write.block, write.unblock, BlockingAnswer),
        ("mute", write.mute, write.unmute, MutingAnswer),
    ]
    routes = []
    for name, make, end, answer in relations:
        routes += [
            _command("POST", f"/api/users/{{me}}/{name}", make, f"{name.title()} a user", answer),
            _command(
                "DELETE",
                f"/api/users/{{me}}/{name}/{{target}}",
                end,
                f"Take a {name} back",
                answer,
            ),
        ]
    for name, handler in (("followers", read.followers), ("following", read.following)):
        routes.append(
            Route(
                method="GET",
                path=f"/api/users/{{id}}/{name}",
                handler=handler,
                summary="Who follows a user" if name == "followers" else "Whom a user follows",
                units=PROFILES,
                answer=UserPage,
                query=PAGE,
            )
        )
    return routes


def _command(
    method: str,
    path: str,
    handler: Callable[[Request], Awaitable[Response]],
    summary: str,
    answer: type,
) -> Route:
    return Route(
        method=method,
        path=path,
        handler=handler,
        summary=summary,
        access=Access.WRITE,
        units=PROFILES,
        body=Target if method == "POST" else None,
        answer=answer,
        status=201 if method == "POST" else 200,
    )


def _timelines(handlers: Handlers) -> list[Route]:
    return [
        Route(
            method="GET",
            path="/api/timeline/home",
            handler=handlers.timeline.home,
            summary="The home timeline of the token's user",
            units=ALL,
            answer=HomeTimelinePage,
            query=(*PAGE, _SINCE, _EXPLAIN),
        ),
        Route(
            method="GET",
            path="/api/users/{id}/tweets",
            handler=handlers.tweets.by_author,
            summary="A user's tweets and retweets",
            units=ALL,
            answer=TweetPage,
            query=(*PAGE, _REPLIES),
        ),
    ]


def _operators(health: Health) -> list[Route]:
    handlers = (
        ("/healthz", health.healthz, "Whether the process lives"),
        ("/readyz", health.readyz, "Whether what it needs answers, and what lags"),
        ("/metrics", health.metrics, "Prometheus metrics"),
    )
    return [
        Route(method="GET", path=path, handler=handler, summary=summary, access=Access.OPEN)
        for path, handler, summary in handlers
    ]


def _fixed(body: bytes) -> Callable[[Request], Awaitable[Response]]:
    async def openapi(_request: Request) -> Response:
        return Response(body)

    return openapi
