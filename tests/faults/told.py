"""Notifications under faults: pages, counts, names and unread counts of all equal the oracle's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import msgspec

from events.snowflake import time_of
from events.types import NotificationsRead, PreferencesChanged
from gateway.cursors import Cursors
from gateway.http import Request
from gateway.levels.level import Levels
from gateway.notification_answers import NotificationPage
from gateway.queries.notifications import NAMES_MAX, UNREAD_MAX, NotificationQueries
from infra import compose, trending
from projections.listing import NEWEST
from projections.notifications.layout import GROUPED, SINGLE, Group
from projections.notifications.unit import NAME
from tests.faults.models import Compared, Model, applied
from tests.faults.world import World
from tests.oracle_notifications import NotificationsOracle

DECIDING = ("accounts", "tweets", "timelines")
"""Units that say what of the candidates somebody is shown."""

PAGE = 40
READERS = 20
KINDS = (*SINGLE, *GROUPED)
"""Of what others do; nothing trends here."""

_NOTHING: tuple[bytes, ...] = ()
Told = list[tuple[str, int, int, list[int]]]


class _Count(msgspec.Struct):
    unread_count: int


class _Unread(msgspec.Struct):
    data: _Count


class Inboxes:
    """The gateway's queries, without a gateway."""

    def __init__(self, here: World) -> None:
        on = here.on
        self._queries = NotificationQueries(
            compose.notifications_reader(on),
            compose.tweets_reader(on),
            compose.accounts_reader(on),
            compose.timelines_reader(on).graph,
            trending.reader(on),
            Cursors(b"faults"),
            Levels(),
            "",
        )

    async def told(self, user: int) -> Told:
        """Every page."""
        found: Told = []
        cursor = ""
        while True:
            answer = await self._queries.own(_request(user, f"count={PAGE}{cursor}"))
            page = msgspec.json.decode(answer.body, type=NotificationPage)
            found += [
                (one.type, int(one.latest_id), one.count, [int(name) for name in one.user_ids])
                for one in page.data
            ]
            if page.meta.next_cursor is None:
                return found
            cursor = f"&cursor={page.meta.next_cursor}"

    async def unread(self, user: int) -> int:
        """How many are newer than what was read."""
        answer = await self._queries.unread_count(_request(user, ""))
        return msgspec.json.decode(answer.body, type=_Unread).data.unread_count


def _request(user: int, query: str) -> Request:
    async def nothing() -> AsyncIterator[bytes]:
        for chunk in _NOTHING:
            yield chunk

    headers: dict[str, str] = {}
    request = Request(
        method="GET",
        path="/api/notifications",
        query_string=query,
        header=headers.get,
        chunks=nothing,
        request_id="fault",
    )
    request.user_id = user
    return request


async def say(here: World, chance: Random) -> None:
    """Some have read what there is, some turn a type off or on."""
    people = [person.user_id for person in here.appender.simulation.people]
    for user in chance.sample(people, READERS):
        event_id = await here.minter.mint()
        about: dict[str, Any] = {
            "event_id": event_id,
            "occurred_at": time_of(event_id),
            "user_id": user,
        }
        if chance.random() < 0.7:
            await here.log.append(NotificationsRead(**about, up_to_id=event_id))
        else:
            preferences = {f"in_app.{chance.choice(KINDS)}": chance.random() < 0.5}
            await here.log.append(PreferencesChanged(**about, preferences=preferences))


async def look(here: World) -> None:
    """Reads somebody's newest candidates, their counts, and what he has read."""
    people = here.appender.simulation.people
    user = people[time.monotonic_ns() // 1000 % len(people)].user_id
    reader = compose.notifications_reader(here.on)
    part = await reader.part(user, [], NEWEST, PAGE)
    groups = [Group(one.kind, user, one.subject) for one in part.groups]
    await asyncio.gather(reader.counts(groups, []), reader.settings(user))


async def compare(here: World, _chance: Random) -> Compared:
    """Every inbox."""
    await applied(here, DECIDING)
    facts = await here.oracle()
    oracle, inboxes = NotificationsOracle(facts), Inboxes(here)
    lines: list[str] = []
    compared = unread = 0
    kinds: set[str] = set()
    for user in filter(facts.visible, facts.users()):
        told = oracle.list(user)
        expected = [(one.kind, one.at, one.acts, one.users[:NAMES_MAX]) for one in told]
        found = await inboxes.told(user)
        if found != expected:
            missing = [one for one in expected if one not in found][:2]
            extra = [one for one in found if one not in expected][:2]
            lines.append(f"{user}: {len(expected)}/{len(found)} -{missing} +{extra}")
        newer = sum(one.at > facts.notifications.read[user] for one in told)
        counted = await inboxes.unread(user)
        if counted != min(newer, UNREAD_MAX):
            lines.append(f"unread of {user}: {newer} expected, {counted} found")
        compared += len(expected)
        unread += newer
        kinds |= {one.kind for one in told}
    assert kinds == set(KINDS), f"nobody was told of {set(KINDS) - kinds}"
    assert 0 < unread < compared
    return compared, lines


MODEL = Model(NAME, look, compare, say)
