"""Routes of notifications; see :mod:`gateway.routes`."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from gateway.bodies import (
    EmailAddress,
    EndedSubscription,
    NotificationPreferences,
    PushSubscription,
    ReadUpTo,
)
from gateway.commands.mail import MailLinks
from gateway.commands.notifications import NotificationCommands
from gateway.links import CONFIRM_PATH, PARAMETER, STOP_PATH
from gateway.notification_answers import (
    EmailAnswer,
    NotificationPage,
    PreferencesAnswer,
    PushKeyAnswer,
    ReadUpToAnswer,
    SubscribedAnswer,
    UnreadAnswer,
)
from gateway.queries.notifications import PAGE_MAX, NotificationQueries
from gateway.routing import PAGE, Access, Parameter, Route

NOTIFICATIONS = "notifications"
ADDRESSES = ("accounts", NOTIFICATIONS)
READING = ("accounts", NOTIFICATIONS, "timelines", "tweets", "engagement")

_CURSOR, _COUNT = PAGE
_PAGE = (_CURSOR, replace(_COUNT, schema={**_COUNT.schema, "maximum": PAGE_MAX}))


class NotificationHandlers(NamedTuple):
    """What answers these routes."""

    queries: NotificationQueries
    commands: NotificationCommands
    mail: MailLinks


def notification_routes(handlers: NotificationHandlers) -> list[Route]:
    """Returns the routes."""
    read, write = handlers.queries, handlers.commands
    return [
        Route(
            method="GET",
            path="/api/notifications",
            handler=read.own,
            summary="What others did that concerns one, the newest first",
            units=READING,
            answer=NotificationPage,
            query=_PAGE,
        ),
        Route(
            method="GET",
            path="/api/notifications/unread_count",
            handler=read.unread_count,
            summary="How many of them are newer than what one has read; 100 stands for more",
            units=READING,
            answer=UnreadAnswer,
        ),
        Route(
            method="POST",
            path="/api/notifications/read",
            handler=write.read,
            summary="Say up to which one has read",
            access=Access.WRITE,
            units=("accounts",),
            body=ReadUpTo,
            answer=ReadUpToAnswer,
            status=201,
        ),
        Route(
            method="GET",
            path="/api/notifications/preferences",
            handler=read.preferences,
            summary="What one wants to be told, and where",
            units=(NOTIFICATIONS,),
            answer=PreferencesAnswer,
        ),
        Route(
            method="PUT",
            path="/api/notifications/preferences",
            handler=write.prefer,
            summary="Change what one wants to be told; switches that are not named stay",
            access=Access.WRITE,
            units=("accounts", NOTIFICATIONS),
            body=NotificationPreferences,
            answer=PreferencesAnswer,
        ),
        Route(
            method="GET",
            path="/api/notifications/push_key",
            handler=read.push_key,
            summary="What a browser subscribes to pushes with",
            access=Access.OPEN,
            answer=PushKeyAnswer,
        ),
        *_addresses(write),
        *_mail_links(handlers.mail),
    ]


def _addresses(write: NotificationCommands) -> list[Route]:
    return [
        Route(
            method="POST",
            path="/api/notifications/subscriptions",
            handler=write.subscribe,
            summary="Be pushed to at a browser's subscription",
            body=PushSubscription,
            answer=SubscribedAnswer,
            status=201,
            access=Access.WRITE,
            units=ADDRESSES,
        ),
        Route(
            method="DELETE",
            path="/api/notifications/subscriptions",
            handler=write.unsubscribe,
            summary="Be pushed to there no more",
            body=EndedSubscription,
            answer=SubscribedAnswer,
            access=Access.WRITE,
            units=ADDRESSES,
        ),
        Route(
            method="PUT",
            path="/api/notifications/email",
            handler=write.mail,
            summary="Say where digests go, once a link in a mail there was followed",
            body=EmailAddress,
            answer=EmailAnswer,
            access=Access.WRITE,
            units=ADDRESSES,
        ),
    ]


_LINK = Parameter(PARAMETER, "As the mail has it.", {"type": "string"})


def _mail_links(mail: MailLinks) -> list[Route]:
    return [
        Route(
            method="GET",
            path=STOP_PATH,
            handler=mail.ask_to_stop,
            summary="A page for whoever follows the link in a mail, with a button that ends mails",
            access=Access.OPEN,
            query=(_LINK,),
        ),
        Route(
            method="POST",
            path=STOP_PATH,
            handler=mail.stop,
            summary="End all mails to the address that the link in a mail names (RFC 8058)",
            access=Access.OPEN,
            query=(_LINK,),
        ),
        Route(
            method="GET",
            path=CONFIRM_PATH,
            handler=mail.ask_to_confirm,
            summary="A page for whoever follows the link in a mail, with a button that confirms",
            access=Access.OPEN,
            units=(NOTIFICATIONS,),
            query=(_LINK,),
        ),
        Route(
            method="POST",
            path=CONFIRM_PATH,
            handler=mail.confirm,
            summary="Have digests go to the address that the link in a mail names",
            access=Access.OPEN,
            units=(NOTIFICATIONS,),
            query=(_LINK,),
        ),
    ]
