"""The routes of lists and bookmarks; see :mod:`gateway.routes`."""

from __future__ import annotations

from typing import NamedTuple

from gateway.answers import (
    BookmarkedAnswer,
    DeletedAnswer,
    ListAnswer,
    ListPage,
    MembershipAnswer,
    TweetPage,
    UserPage,
)
from gateway.bodies import ListEdit, NewList, NewMember
from gateway.commands.bookmarks import BookmarkCommands
from gateway.commands.lists import ListCommands
from gateway.queries.bookmarks import BookmarkQueries
from gateway.queries.lists import ListQueries
from gateway.routing import PAGE, Access, Route

COLLECTIONS = "collections"
LISTS = ("accounts", COLLECTIONS)
MEMBERS = (*LISTS, "timelines")
TWEETS = (*MEMBERS, "tweets", "engagement")


class CollectionHandlers(NamedTuple):
    """What answers these routes."""

    lists: ListQueries
    bookmarks: BookmarkQueries
    list_commands: ListCommands
    bookmark_commands: BookmarkCommands


def collection_routes(handlers: CollectionHandlers) -> list[Route]:
    """Returns the routes."""
    return [*_lists(handlers), *_members(handlers), *_bookmarks(handlers)]


def _lists(handlers: CollectionHandlers) -> list[Route]:
    read, write = handlers.lists, handlers.list_commands
    return [
        Route(
            method="POST",
            path="/api/lists",
            handler=write.create,
            summary="Make a list of users",
            access=Access.WRITE,
            units=LISTS,
            body=NewList,
            answer=ListAnswer,
            status=201,
        ),
        Route(
            method="GET",
            path="/api/lists/{id}",
            handler=read.by_id,
            summary="A list; a private one for its owner alone",
            units=LISTS,
            answer=ListAnswer,
        ),
        Route(
            method="PATCH",
            path="/api/lists/{id}",
            handler=write.edit,
            summary="Change one's list",
            access=Access.WRITE,
            units=LISTS,
            body=ListEdit,
            answer=ListAnswer,
        ),
        Route(
            method="DELETE",
            path="/api/lists/{id}",
            handler=write.delete,
            summary="Delete one's list",
            access=Access.WRITE,
            units=LISTS,
            answer=DeletedAnswer,
        ),
        Route(
            method="GET",
            path="/api/users/{id}/lists",
            handler=read.owned,
            summary="A user's lists, newest first",
            units=LISTS,
            answer=ListPage,
            query=PAGE,
        ),
        Route(
            method="GET",
            path="/api/lists/{id}/tweets",
            handler=read.tweets,
            summary="A list's timeline: tweets and retweets by its members",
            units=TWEETS,
            answer=TweetPage,
            query=PAGE,
        ),
    ]


def _members(handlers: CollectionHandlers) -> list[Route]:
    read, write = handlers.lists, handlers.list_commands
    return [
        Route(
            method="GET",
            path="/api/lists/{id}/members",
            handler=read.members,
            summary="Who is in a list",
            units=MEMBERS,
            answer=UserPage,
            query=PAGE,
        ),
        Route(
            method="POST",
            path="/api/lists/{id}/members",
            handler=write.add_member,
            summary="Add a user to one's list",
            access=Access.WRITE,
            units=MEMBERS,
            body=NewMember,
            answer=MembershipAnswer,
            status=201,
        ),
        Route(
            method="DELETE",
            path="/api/lists/{id}/members/{user}",
            handler=write.remove_member,
            summary="Take a user out of one's list",
            access=Access.WRITE,
            units=MEMBERS,
            answer=MembershipAnswer,
        ),
    ]


def _bookmarks(handlers: CollectionHandlers) -> list[Route]:
    read, write = handlers.bookmarks, handlers.bookmark_commands
    commands = [
        ("POST", write.make, "Bookmark a tweet; of a retweet the original", 201),
        ("DELETE", write.end, "Take a bookmark back", 200),
    ]
    return [
        *(
            Route(
                method=method,
                path="/api/tweets/{id}/bookmark",
                handler=handler,
                summary=summary,
                access=Access.WRITE,
                units=(*LISTS, "tweets"),
                answer=BookmarkedAnswer,
                status=status,
            )
            for method, handler, summary, status in commands
        ),
        Route(
            method="GET",
            path="/api/bookmarks",
            handler=read.own,
            summary="One's bookmarks, the newest first",
            units=(*LISTS, "tweets", "engagement"),
            answer=TweetPage,
            query=PAGE,
        ),
    ]
