"""Register, and edit one's profile.

Registration, in steps (the numbers recur in the code):

1. mint the user's id and append a claim of the name: the first claim in the partition wins;
2. wait until the accounts unit has applied the claim;
3. read who holds the name: if it is another, answer 409;
4. append the registration and wait until it is applied, so that the token which is answered works;
5. answer with the user and a token.

Keeps true: of registrations that race for one name exactly one is answered 201. A process that
dies between 1 and 4 leaves a name that nobody uses; the same request with the same Idempotency-Key
finishes what was begun.
"""

from __future__ import annotations

import msgspec

from events.position import Position
from events.snowflake import time_of
from events.types import ProfileChanged, UsernameClaimed, UsernameReleased, UserRegistered
from gateway.auth import Tokens
from gateway.bodies import NewUser, ProfileEdit
from gateway.commands.appending import Appender, answer, scoped_key, stamp
from gateway.commands.checks import Checks
from gateway.http import Request, Response
from gateway.pages import one
from gateway.problems import Problem, conflict, invalid, unavailable
from gateway.queries.users import with_counts
from gateway.services import Accounts, Graph, Minter
from gateway.usernames import is_reserved
from gateway.waits import Waits
from projections.accounts.layout import PROFILE, Claim

UNITS = ("accounts",)


class UserCommands:
    """Handlers of the users' commands."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        graph: Graph,
        checks: Checks,
        minter: Minter,
        appender: Appender,
        waits: Waits,
        tokens: Tokens,
    ) -> None:
        self._accounts = accounts
        self._graph = graph
        self._checks = checks
        self._minter = minter
        self._appender = appender
        self._waits = waits
        self._tokens = tokens

    async def register(self, request: Request) -> Response:
        """``POST /api/users``."""
        body = await request.json(NewUser)
        if is_reserved(body.username):
            raise _taken(body.username)
        claim, position = await self._claim(request, body)  # 1
        held = await self._decided(request, claim, position)  # 2, 3
        if held is None or held.user_id != claim.user_id:
            raise _taken(held.username if held else claim.username)
        position = await self._register(request, claim, body)  # 4
        await self._waits.wait([position], UNITS)
        token = self._tokens.issue(claim.user_id)  # 5
        found = await self._accounts.users([claim.user_id])
        (user,) = await with_counts(self._graph, [claim.user_id], found)
        return answer(b'{"data":%s},"token":"%s"}' % (user, token.encode()), position)

    async def edit(self, request: Request) -> Response:
        """``PATCH /api/users/me``."""
        body = await request.json(ProfileEdit)
        user = await self._checks.active(request.user_id)
        event = await self._appender.repeated(request, ProfileChanged)
        if event is None:
            event = await self._edited(request.user_id, body)
        event, position = await self._appender.append(request, event)
        fields = msgspec.json.decode(user.body + b"}", type=dict[str, str])
        changes = {field: getattr(event, field) for field in PROFILE}
        fields.update((name, value) for name, value in changes.items() if value is not None)
        return answer(one(msgspec.json.encode(fields)[:-1]), position, 200)

    async def _claim(self, request: Request, body: NewUser) -> tuple[UsernameClaimed, Position]:
        claim = await self._appender.repeated(request, UsernameClaimed, ":claim")
        if claim is None:
            claim = UsernameClaimed(
                **await stamp(self._minter),
                username_key=body.username.casefold(),
                username=body.username,
                user_id=await self._minter.mint(),
            )
        return await self._appender.append(request, claim, ":claim")

    async def _decided(
        self, request: Request, claim: UsernameClaimed, position: Position
    ) -> Claim | None:
        """Returns who holds the name once the claim is applied (2, 3)."""
        try:
            await self._waits.wait([position], UNITS)
        except Problem as lagging:
            if scoped_key(request) is None:
                await self._release(request, claim)
                raise _not_begun() from lagging
            raise _begun() from lagging
        return await self._accounts.claim_of(claim.username_key)

    async def _release(self, request: Request, claim: UsernameClaimed) -> None:
        """Gives the name up, should the claim have won it."""
        released = UsernameReleased(
            **await stamp(self._minter),
            username_key=claim.username_key,
            user_id=claim.user_id,
        )
        await self._appender.append(request, released)

    async def _register(self, request: Request, claim: UsernameClaimed, body: NewUser) -> Position:
        event = await self._appender.repeated(request, UserRegistered)
        if event is None:
            event = UserRegistered(
                **await stamp(self._minter),
                user_id=claim.user_id,
                username=claim.username,
                name=body.name,
                created_at=time_of(claim.user_id),
                description=body.description,
                location=body.location,
                url=body.url,
                profile_image_url=body.profile_image_url,
            )
        _, position = await self._appender.append(request, event)
        return position

    async def _edited(self, user_id: int, body: ProfileEdit) -> ProfileChanged:
        if body == ProfileEdit():
            raise invalid("$", "it names no field to change.")
        return ProfileChanged(
            **await stamp(self._minter),
            user_id=user_id,
            name=body.name,
            description=body.description,
            location=body.location,
            url=body.url,
            profile_image_url=body.profile_image_url,
        )


def _taken(username: str) -> Problem:
    return conflict("username-taken", f"The name {username} is taken. Choose another.")


def _not_begun() -> Problem:
    return unavailable(
        "registrations-lag",
        "The registration could not be decided in time and was taken back. Try again, with an "
        "Idempotency-Key.",
        retry_after_seconds=5,
    )


def _begun() -> Problem:
    return Problem(
        504,
        "registrations-lag",
        "The registration was begun and could not be decided in time: the unit accounts lags. Send "
        "it again with the same Idempotency-Key to finish it.",
        headers=[("retry-after", "5")],
    )
