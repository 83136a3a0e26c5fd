"""Follow, block and mute, and taking them back.

Keeps true: nobody follows, blocks or mutes himself; a follow names an account that exists, that is
not followed already and that stands in no block with the follower. Taking back is accepted whether
or not there is something to take back, since what this process reads may be behind what the user
just did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from events.types import (
    Event,
    UserBlocked,
    UserFollowed,
    UserMuted,
    UserUnblocked,
    UserUnfollowed,
    UserUnmuted,
)
from gateway.bodies import Target
from gateway.commands.appending import Appender, answer, stamp
from gateway.commands.checks import Checks, require_own_path
from gateway.http import Request, Response
from gateway.pages import one
from gateway.problems import conflict, invalid
from gateway.services import Graph, Minter
from projections.timelines.layout import Relations

GraphEvent = (
    type[UserFollowed]
    | type[UserUnfollowed]
    | type[UserBlocked]
    | type[UserUnblocked]
    | type[UserMuted]
    | type[UserUnmuted]
)


class Relation(NamedTuple):
    """One kind of relation, as the commands treat it.

    Attributes:
        verb: For messages.
        field: Of the answer.
        made: Event that makes it.
        ended: Event that ends it.
        holders: Whom a user has in this relation.
        refused_by_block: Whether a block stands against it.
    """

    verb: str
    field: str
    made: GraphEvent
    ended: GraphEvent
    holders: Callable[[Relations], frozenset[int]]
    refused_by_block: bool = False


FOLLOW = Relation(
    "follow",
    "following",
    UserFollowed,
    UserUnfollowed,
    lambda r: r.following,
    refused_by_block=True,
)
BLOCK = Relation("block", "blocking", UserBlocked, UserUnblocked, lambda r: r.blocking)
MUTE = Relation("mute", "muting", UserMuted, UserUnmuted, lambda r: r.muted)


class GraphCommands:
    """Handlers of the graph's commands."""

    def __init__(self, checks: Checks, graph: Graph, minter: Minter, appender: Appender) -> None:
        self._checks = checks
        self._graph = graph
        self._minter = minter
        self._appender = appender

    async def follow(self, request: Request) -> Response:
        """``POST /api/users/{me}/follow``."""
        return await self._make(request, FOLLOW)

    async def unfollow(self, request: Request) -> Response:
        """``DELETE /api/users/{me}/follow/{target}``."""
        return await self._end(request, FOLLOW)

    async def block(self, request: Request) -> Response:
        """``POST /api/users/{me}/block``."""
        return await self._make(request, BLOCK)

    async def unblock(self, request: Request) -> Response:
        """``DELETE /api/users/{me}/block/{target}``."""
        return await self._end(request, BLOCK)

    async def mute(self, request: Request) -> Response:
        """``POST /api/users/{me}/mute``."""
        return await self._make(request, MUTE)

    async def unmute(self, request: Request) -> Response:
        """``DELETE /api/users/{me}/mute/{target}``."""
        return await self._end(request, MUTE)

    async def _make(self, request: Request, relation: Relation) -> Response:
        require_own_path(request)
        target = int((await request.json(Target)).target_user_id)
        if target == request.user_id:
            raise invalid("target_user_id", f"nobody can {relation.verb} themselves.")
        event: Event | None = await self._appender.repeated(request, relation.made)
        if event is None:
            await self._check(request.user_id, target, relation)
            event = await self._event(relation.made, request.user_id, target)
        return await self._append(request, event, relation, holds=True)

    async def _end(self, request: Request, relation: Relation) -> Response:
        require_own_path(request)
        target: int = request.params["target"]
        event: Event | None = await self._appender.repeated(request, relation.ended)
        if event is None:
            await self._checks.active(request.user_id)
            relations = await self._graph.relations_of(request.user_id)
            if target not in relation.holders(relations):
                await self._checks.user(target)
            event = await self._event(relation.ended, request.user_id, target)
        return await self._append(request, event, relation, holds=False)

    async def _check(self, user: int, target: int, relation: Relation) -> None:
        await self._checks.users(user, target)
        if relation.refused_by_block:
            await self._checks.no_block(user, target)
        relations = await self._graph.relations_of(user)
        if target in relation.holders(relations):
            raise conflict(
                f"already-{relation.field}",
                f"You {relation.verb} user {target} already; there is nothing to do. If you have "
                f"just taken it back, send that answer's X-Event-Position as X-Wait-For.",
            )

    async def _event(self, kind: GraphEvent, user: int, target: int) -> Event:
        return kind(**await stamp(self._minter), user_id=user, target_user_id=target)

    async def _append(
        self, request: Request, event: Event, relation: Relation, *, holds: bool
    ) -> Response:
        _, position = await self._appender.append(request, event)
        fields = b'{"%s":%s' % (relation.field.encode(), b"true" if holds else b"false")
        return answer(one(fields), position, 201 if holds else 200)
