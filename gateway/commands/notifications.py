"""Say how far one has read, and what one wants to be told.

Keeps true: nobody reads ahead of now, which would hide what is still to come; a switch that does
not exist is refused. The highest id that was read counts, so a client that was away takes nothing
back.
"""

from __future__ import annotations

import msgspec

from events.types import (
    DeliveryAddressAdded,
    DeliveryAddressProposed,
    DeliveryAddressRemoved,
    NotificationsRead,
    PreferencesChanged,
)
from gateway.bodies import (
    EmailAddress,
    EndedSubscription,
    NotificationPreferences,
    PushSubscription,
    ReadUpTo,
)
from gateway.commands.appending import Appender, answer, stamp
from gateway.commands.checks import Checks
from gateway.http import Request, Response
from gateway.pages import one
from gateway.problems import conflict, invalid
from gateway.services import Minter, Notifications
from projections import fragments
from projections.notifications.layout import ADDRESSES_MAX, EMAIL, WEB_PUSH
from projections.notifications.preferences import all_of, name_of


class _Email(msgspec.Struct, omit_defaults=True):
    address: str
    pending: str = ""


class NotificationCommands:
    """Handlers of what a user says about notifications."""

    def __init__(
        self, notifications: Notifications, checks: Checks, minter: Minter, appender: Appender
    ) -> None:
        self._notifications = notifications
        self._checks = checks
        self._minter = minter
        self._appender = appender

    async def read(self, request: Request) -> Response:
        """``POST /api/notifications/read``."""
        up_to = int((await request.json(ReadUpTo)).up_to_id)
        event = await self._appender.repeated(request, NotificationsRead)
        if event is None:
            await self._checks.active(request.user_id)
            stamped = await stamp(self._minter)
            if up_to > stamped["event_id"]:
                raise invalid("up_to_id", "it is of the future; send a notification's latest_id.")
            event = NotificationsRead(**stamped, user_id=request.user_id, up_to_id=up_to)
        event, position = await self._appender.append(request, event)
        return answer(one(b'{"read_up_to":"%d"' % event.up_to_id), position)

    async def prefer(self, request: Request) -> Response:
        """``PUT /api/notifications/preferences``: what is not named stays as it is."""
        wanted = await request.json(NotificationPreferences)
        event = await self._appender.repeated(request, PreferencesChanged)
        if event is None:
            await self._checks.active(request.user_id)
            said = {
                name_of(channel, switch): on
                for channel, switches in msgspec.to_builtins(wanted).items()
                for switch, on in switches.items()
            }
            if not said:
                raise invalid("", "name a switch, such as push.mention.")
            event = PreferencesChanged(
                **await stamp(self._minter), user_id=request.user_id, preferences=said
            )
        event, position = await self._appender.append(request, event)
        settings = await self._notifications.settings(request.user_id)
        now = all_of({**settings.preferences, **event.preferences})
        return answer(one(msgspec.json.encode(now)[:-1]), position, 200)

    async def subscribe(self, request: Request) -> Response:
        """``POST /api/notifications/subscriptions``: again with other keys, these count."""
        wanted = await request.json(PushSubscription)
        event = await self._appender.repeated(request, DeliveryAddressAdded)
        if event is None:
            user = request.user_id
            await self._checks.active(user)
            known = {one.address for one in await self._notifications.addresses(user, WEB_PUSH)}
            if len(known | {wanted.endpoint}) > ADDRESSES_MAX:
                raise conflict("too-many", f"You have {ADDRESSES_MAX} subscriptions; end one.")
            event = DeliveryAddressAdded(
                **await stamp(self._minter),
                user_id=user,
                channel=WEB_PUSH,
                address=wanted.endpoint,
                p256dh=wanted.keys.p256dh,
                auth=wanted.keys.auth,
            )
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"subscribed":true'), position)

    async def unsubscribe(self, request: Request) -> Response:
        """``DELETE /api/notifications/subscriptions``; accepted whether there is one or not."""
        wanted = await request.json(EndedSubscription)
        event = await self._appender.repeated(request, DeliveryAddressRemoved)
        if event is None:
            await self._checks.active(request.user_id)
            event = await self._removed(request.user_id, WEB_PUSH, wanted.endpoint)
        _, position = await self._appender.append(request, event)
        return answer(one(b'{"subscribed":false'), position, 200)

    async def mail(self, request: Request) -> Response:
        """``PUT /api/notifications/email``: mailed to once a link in a mail there was followed."""
        address = (await request.json(EmailAddress)).address
        await self._checks.active(request.user_id)
        user = request.user_id
        known = [found.address for found in await self._notifications.addresses(user, EMAIL)]
        pending = await self._notifications.proposed(user, EMAIL)
        events: list[DeliveryAddressProposed | DeliveryAddressRemoved] = []
        if address and address not in known:
            stamped = await stamp(self._minter)
            events.append(
                DeliveryAddressProposed(**stamped, user_id=user, channel=EMAIL, address=address)
            )
        else:
            gone = [old for old in known if old != address]
            if pending is not None and not gone:
                gone = [pending.address]  # taking any out ends what is proposed
            events += [await self._removed(user, EMAIL, old) for old in gone]
        if not events and not address:
            raise conflict("no-address", "You have no address; there is nothing to do.")
        told = _email(address)
        if address and address not in known:
            told = _email(next(iter(known), ""), pending=address)
        if not events:
            return Response(told)
        for part, event in enumerate(events):
            _, position = await self._appender.append(request, event, f":{part}")
        return answer(told, position, 200)

    async def _removed(self, user: int, channel: str, address: str) -> DeliveryAddressRemoved:
        stamped = await stamp(self._minter)
        return DeliveryAddressRemoved(**stamped, user_id=user, channel=channel, address=address)


def _email(address: str, pending: str = "") -> bytes:
    return one(fragments.open_object(_Email(address, pending)))
