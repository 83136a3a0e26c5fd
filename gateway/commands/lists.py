"""Make, edit and delete lists, and say who is in them.

Keeps true: only its owner changes a list, and nobody else learns of a private one; a member is an
account that exists and has not blocked the owner; a user has ``lists_max`` lists and a list
``members_max`` members, as far as this process can see (what races past is cut when read, see
``projections.collections``). Taking a member out is accepted whether or not he is in, since what
this process reads may be behind what the user just did.
"""

from __future__ import annotations

import msgspec

from events.types import (
    ListChanged,
    ListCreated,
    ListDeleted,
    ListMemberAdded,
    ListMemberRemoved,
)
from gateway.bodies import ListEdit, NewList, NewMember
from gateway.commands.appending import Appender, answer, stamp
from gateway.commands.checks import Checks
from gateway.http import Request, Response
from gateway.pages import one
from gateway.problems import conflict, forbidden, invalid
from gateway.queries.lists import shown_list
from gateway.services import Accounts, Collections, Graph, Minter
from projections.collections.layout import CHANGEABLE, LIMITS, ListFragment, StoredList
from projections.text.length import normalise


class ListCommands:
    """Handlers of the lists' commands."""

    def __init__(
        self,
        *,
        collections: Collections,
        accounts: Accounts,
        graph: Graph,
        checks: Checks,
        minter: Minter,
        appender: Appender,
    ) -> None:
        self._collections = collections
        self._accounts = accounts
        self._graph = graph
        self._checks = checks
        self._minter = minter
        self._appender = appender

    async def create(self, request: Request) -> Response:
        """``POST /api/lists``."""
        body = await request.json(NewList)
        name, description = _text("name", body.name), _text("description", body.description)
        event = await self._appender.repeated(request, ListCreated)
        if event is None:
            await self._checks.active(request.user_id)
            if await self._collections.owned_count(request.user_id) >= LIMITS.lists_max:
                raise conflict(
                    "too-many-lists",
                    f"You have {LIMITS.lists_max} lists, which is the most. Delete one first.",
                )
            event = ListCreated(
                **await stamp(self._minter),
                list_id=await self._minter.mint(),
                user_id=request.user_id,
                name=name,
                description=description,
                private=body.private,
            )
        event, position = await self._appender.append(request, event)
        made = StoredList(
            event.list_id,
            event.user_id,
            event.occurred_at,
            event.name,
            event.description,
            event.private,
        )
        return answer(one(ListFragment.unpack(made.pack(0)).body), position)

    async def edit(self, request: Request) -> Response:
        """``PATCH /api/lists/{id}``: answers with the list as it becomes."""
        body = await request.json(ListEdit)
        if body == ListEdit():
            raise invalid("$", "it names no field to change.")
        found = await self._own(request)
        event = await self._appender.repeated(request, ListChanged)
        if event is None:
            event = ListChanged(
                **await stamp(self._minter),
                list_id=request.params["id"],
                user_id=request.user_id,
                name=_text("name", body.name) if body.name is not None else None,
                description=(
                    _text("description", body.description) if body.description is not None else None
                ),
                private=body.private,
            )
        event, position = await self._appender.append(request, event)
        fields = msgspec.json.decode(found.body + b"}", type=dict[str, str | bool | int])
        changes = {field: getattr(event, field) for field in CHANGEABLE}
        fields.update((name, value) for name, value in changes.items() if value is not None)
        return answer(one(msgspec.json.encode(fields)[:-1]), position, 200)

    async def delete(self, request: Request) -> Response:
        """``DELETE /api/lists/{id}``."""
        event = await self._appender.repeated(request, ListDeleted)
        if event is None:
            await self._own(request)
            event = ListDeleted(
                **await stamp(self._minter), list_id=request.params["id"], user_id=request.user_id
            )
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"deleted":true'), position, 200)

    async def add_member(self, request: Request) -> Response:
        """``POST /api/lists/{id}/members``."""
        member = int((await request.json(NewMember)).user_id)
        event = await self._appender.repeated(request, ListMemberAdded)
        if event is None:
            await self._check_member(request, member)
            event = ListMemberAdded(
                **await stamp(self._minter),
                list_id=request.params["id"],
                user_id=request.user_id,
                member_id=member,
            )
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"is_member":true'), position)

    async def remove_member(self, request: Request) -> Response:
        """``DELETE /api/lists/{id}/members/{user}``."""
        list_id, member = request.params["id"], request.params["user"]
        event = await self._appender.repeated(request, ListMemberRemoved)
        if event is None:
            await self._own(request)
            if member not in await self._collections.members(list_id):
                await self._checks.user(member)
            event = ListMemberRemoved(
                **await stamp(self._minter),
                list_id=list_id,
                user_id=request.user_id,
                member_id=member,
            )
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"is_member":false'), position, 200)

    async def _check_member(self, request: Request, member: int) -> None:
        found = await self._own(request)
        await self._checks.user(member)
        # The member's side of it: whom the owner blocks, the owner may add all the same.
        if request.user_id in (await self._graph.relations_of(member)).blocking:
            raise forbidden("blocked", f"User {member} has blocked you and cannot be in your list.")
        list_id: int = request.params["id"]
        if member in await self._collections.members(list_id):
            raise conflict(
                "already-member",
                f"User {member} is in the list already; there is nothing to do. If you have just "
                f"taken him out, send that answer's X-Event-Position as X-Wait-For.",
            )
        if found.member_count >= LIMITS.members_max:
            raise conflict(
                "list-full",
                f"The list has {LIMITS.members_max} members, which is the most. Take one out "
                f"first.",
            )

    async def _own(self, request: Request) -> ListFragment:
        """Returns the list that a command is about.

        Raises:
            Problem: 403, the account is not active or the list is another's; 404, there is none.
        """
        await self._checks.active(request.user_id)
        found = await shown_list(self._collections, self._accounts, request)
        if found.owner_id != request.user_id:
            raise forbidden("not-yours", "Only its owner can change a list.")
        return found


def _text(field: str, text: str) -> str:
    text = normalise(text)
    if "\x00" in text:
        raise invalid(field, "it holds the character U+0000.")
    if field == "name" and not text.strip():
        raise invalid(field, "a list has a name.")
    return text
