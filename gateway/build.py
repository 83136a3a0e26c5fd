"""Builds the gateway from what it is given: readers, log, minter, keys. ``infra`` gives.

Kept apart from ``gateway.app`` so that the pipeline can be tested without any of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.app import Gateway
from gateway.auth import Tokens
from gateway.collection_routes import CollectionHandlers
from gateway.commands.appending import Appender
from gateway.commands.bookmarks import BookmarkCommands
from gateway.commands.checks import Checks
from gateway.commands.engagement import EngagementCommands
from gateway.commands.graph import GraphCommands
from gateway.commands.lists import ListCommands
from gateway.commands.mail import MailLinks
from gateway.commands.notifications import NotificationCommands
from gateway.commands.pins import PinCommands
from gateway.commands.tweets import TweetCommands
from gateway.commands.users import UserCommands
from gateway.cursors import Cursors
from gateway.guards.guards import Guards
from gateway.health import Check, Health
from gateway.levels.admission import Admission
from gateway.levels.level import Levels
from gateway.limits import READ_SECONDS_MAX, WAIT_SECONDS_MAX
from gateway.links import Links
from gateway.metrics import GatewayMetrics
from gateway.notification_routes import NotificationHandlers
from gateway.openings import Openings
from gateway.ops import LetterDesk, LetterHandlers
from gateway.queries.bookmarks import BookmarkQueries
from gateway.queries.conversation import ConversationQueries
from gateway.queries.engagement import EngagementQueries
from gateway.queries.graph import GraphQueries
from gateway.queries.lists import ListQueries
from gateway.queries.mentions import MentionQueries
from gateway.queries.notifications import NotificationQueries
from gateway.queries.people import PeopleQueries
from gateway.queries.search import SearchQueries
from gateway.queries.timeline import TimelineQueries
from gateway.queries.trends import TrendQueries
from gateway.queries.tweets import TweetQueries
from gateway.queries.users import UserQueries
from gateway.routes import Handlers, table
from gateway.search_routes import SearchHandlers
from gateway.services import (
    Accounts,
    Authors,
    Collections,
    Engagement,
    Graph,
    Home,
    Log,
    Mentions,
    Minter,
    Notifications,
    People,
    Search,
    Threads,
    Trends,
    Tweets,
)
from gateway.waits import UnitReads, Waits


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway stands on.

    Attributes:
        log: Appends events.
        minter: Makes ids.
        accounts: Reads users.
        tweets: Reads tweets.
        mentions: Reads whom tweets speak to.
        threads: Reads what answers what.
        engagement: Reads likes and what else refers to tweets.
        authors: Reads author timelines.
        graph: Reads follows, blocks and mutes.
        home: Reads home timelines.
        collections: Reads lists and bookmarks.
        search: Finds tweets.
        people: Finds users.
        notifications: Reads inboxes.
        trends: Reads trends.
        links: Makes and opens the links in mails.
        push_key: What browsers subscribe with: the public key that signs pushes, base64url.
        openings: Notes who opens them.
        units: Where each unit is, by name, for ``X-Wait-For``.
        tokens: Signs and verifies.
        tweet_partitions: Of the topic ``new-tweets``.
        cursor_secret: A secret that all gateway processes share.
        checks: Questions of ``/readyz``, by name.
        metrics: Counts.
        version: Of the product, for the API's document.
        guards: What is known of the engines.
        letters: The operators' desk for dead letters; without it there are no such routes.
        wait_seconds_max: Longest hold for ``X-Wait-For``.
        read_seconds_max: Longest time of a read after that.
        levels: How far the system is degraded.
        admission: Who is let in.
    """

    log: Log
    minter: Minter
    accounts: Accounts
    tweets: Tweets
    mentions: Mentions
    threads: Threads
    engagement: Engagement
    authors: Authors
    graph: Graph
    home: Home
    collections: Collections
    search: Search
    people: People
    notifications: Notifications
    trends: Trends
    links: Links
    push_key: str
    openings: Openings
    units: Mapping[str, UnitReads]
    tokens: Tokens
    tweet_partitions: int
    cursor_secret: bytes
    checks: Mapping[str, Check]
    metrics: GatewayMetrics
    version: str
    guards: Guards | None = None
    letters: LetterDesk | None = None
    wait_seconds_max: float = WAIT_SECONDS_MAX
    read_seconds_max: float = READ_SECONDS_MAX
    levels: Levels = msgspec.field(default_factory=Levels)
    admission: Admission = msgspec.field(default_factory=Admission)


def build(services: Services) -> tuple[Gateway, Health]:
    """Returns the gateway, and its health so that a stopping process can say that it drains."""
    waits = Waits(services.units, services.metrics, services.wait_seconds_max)
    cursors = Cursors(services.cursor_secret)
    appender = Appender(services.log)
    accounts, graph, minter = services.accounts, services.graph, services.minter
    checks = Checks(accounts, services.tweets, graph, services.authors)
    guards = services.guards
    serving = (lambda: guards.serving) if guards is not None else None
    health = Health(services.checks, services.metrics, serving)
    handlers = Handlers(
        users=UserQueries(accounts, graph, services.tweets),
        tweets=TweetQueries(services.tweets, accounts, services.authors, cursors),
        mentions=MentionQueries(services.mentions, services.tweets, accounts, graph, cursors),
        conversation=ConversationQueries(
            services.threads, services.tweets, accounts, graph, cursors
        ),
        graph=GraphQueries(accounts, graph, cursors),
        engagement=EngagementQueries(
            services.engagement, services.tweets, accounts, graph, cursors
        ),
        timeline=TimelineQueries(
            services.home,
            cursors,
            services.openings,
            services.tweet_partitions,
            services.levels,
        ),
        user_commands=UserCommands(
            accounts=accounts,
            graph=graph,
            checks=checks,
            minter=minter,
            appender=appender,
            waits=waits,
            tokens=services.tokens,
        ),
        pin_commands=PinCommands(checks, minter, appender),
        tweet_commands=TweetCommands(checks, minter, appender),
        engagement_commands=EngagementCommands(
            checks,
            services.tweets,
            services.engagement,
            minter,
            appender,
            levels=services.levels,
            views_dropped=services.metrics.views_dropped,
        ),
        graph_commands=GraphCommands(checks, graph, minter, appender),
        collections=_collections(services, checks, appender, cursors),
        search=SearchHandlers(
            SearchQueries(services.search, services.tweets, accounts, graph, cursors),
            PeopleQueries(services.people, accounts, graph),
        ),
        notifications=NotificationHandlers(
            NotificationQueries(
                services.notifications,
                services.tweets,
                accounts,
                graph,
                services.trends,
                cursors,
                services.levels,
                services.push_key,
            ),
            NotificationCommands(services.notifications, checks, minter, appender),
            MailLinks(services.links, services.notifications, minter, appender),
        ),
        trends=TrendQueries(services.trends, graph, services.levels),
        health=health,
        letters=LetterHandlers(services.letters) if services.letters is not None else None,
    )
    routes = table(handlers, services.version)
    gateway = Gateway(
        routes,
        services.tokens,
        waits,
        services.metrics,
        guards=guards,
        read_seconds_max=services.read_seconds_max,
        levels=services.levels,
        admission=services.admission,
    )
    return gateway, health


def _collections(
    services: Services, checks: Checks, appender: Appender, cursors: Cursors
) -> CollectionHandlers:
    collections, accounts, tweets = services.collections, services.accounts, services.tweets
    return CollectionHandlers(
        lists=ListQueries(
            collections=collections,
            accounts=accounts,
            tweets=tweets,
            authors=services.authors,
            graph=services.graph,
            cursors=cursors,
        ),
        bookmarks=BookmarkQueries(collections, tweets, accounts, cursors),
        list_commands=ListCommands(
            collections=collections,
            accounts=accounts,
            graph=services.graph,
            checks=checks,
            minter=services.minter,
            appender=appender,
        ),
        bookmark_commands=BookmarkCommands(collections, checks, services.minter, appender),
    )
