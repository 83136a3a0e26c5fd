"""The notifications unit's writing side: acts become memberships of groups, tweets inbox entries.

Of a slice of ``new-tweets``, ``engagements`` or ``social-graph``:

1. Write what every record says of an act (``acts``), and what is told of it.
2. *Then* read all that is known of these actors about these subjects, and count (:mod:`.acts`).
3. Write the registers, and whom an operator sent records back of.
4. Forget the cached heads of the inboxes concerned, and move the position, in one script a bucket.

``user-activity`` says how far somebody read and what he wants to be told; that is an upsert.

Exactly-once effect: natural. Rows are never changed; a register is a pure function of the log below
its position, which is its write timestamp. So a slice may be applied twice, cut differently, or
late by a worker that lost its partition. What is sent back by an operator is not in registers.

Nothing here has an effect outside: who is pushed and mailed to is :mod:`.router`'s to say.

Bounded by: ``RECORDS_MAX`` records at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from events.slices import Record, Slice
from events.types import (
    DeliveryAddressAdded,
    DeliveryAddressProposed,
    DeliveryAddressRemoved,
    NotificationsRead,
    PreferencesChanged,
    TweetPosted,
)
from projections import versions
from projections.bus import RedisBus
from projections.keys import Keys
from projections.notifications.acts import (
    Act,
    Doer,
    Register,
    act_of,
    changes,
    recounted,
    rows_of,
)
from projections.notifications.layout import (
    HEAD,
    NAMES_MAX,
    SETTINGS,
    SHAPE,
    TABLES,
    TAKEN,
    TAKER_SHARDS,
    Group,
    Shape,
    of_name,
)
from projections.positions import Effect, forget
from projections.store import Store, id_timestamp
from projections.text.entities import parse
from projections.unit import StoredUnit

NAME = "notifications"
TOPICS = frozenset({"new-tweets", "engagements", "social-graph", "user-activity", "redrive"})

RECORDS_MAX = 2000
"""Records whose rows are built before they are written: some five rows a like."""

GROUPS_PER_QUERY = 50

WRITTEN_AT = 1
"""Timestamp of rows that are never changed."""

_ACT = (
    "INSERT INTO {acts} (subject, actor, at_offset, act_id, act_group, redriven) "
    "VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
_TOLD = "INSERT INTO {acts_told} (act_group, act_id, actor) VALUES (?, ?, ?) USING TIMESTAMP ?"
_BY = "INSERT INTO {acts_by} (act_group, actor, act_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
_REGISTER = (
    "INSERT INTO {act_counts} (act_group, source, position, acts) VALUES (?, ?, ?, ?) "
    "USING TIMESTAMP ?"
)
_REGISTERS = (
    "SELECT act_group, position, acts FROM {act_counts} WHERE act_group IN ? AND source = ?"
)
_REDRIVEN = (
    "INSERT INTO {acts_redriven} (act_group, subject, actor) VALUES (?, ?, ?) USING TIMESTAMP ?"
)
_TWEET = "INSERT INTO {inbox_tweets} (addressee, span, tweet_id) VALUES (?, ?, ?) USING TIMESTAMP ?"
_GROUP = (
    "INSERT INTO {inbox_groups} (addressee, span, subject, kind) VALUES (?, ?, ?, ?) "
    "USING TIMESTAMP ?"
)
_SPAN = "INSERT INTO {inbox_spans} (addressee, span) VALUES (?, ?) USING TIMESTAMP ?"
_READ = "INSERT INTO {notices_read} (user_id, up_to_id) VALUES (?, ?) USING TIMESTAMP ?"
_PREFERENCE = (
    "INSERT INTO {notice_preferences} (user_id, name, enabled) VALUES (?, ?, ?) USING TIMESTAMP ?"
)
_TAKER = (
    "INSERT INTO {notice_takers} (scope, name, shard, user_id, enabled) VALUES (?, ?, ?, ?, ?) "
    "USING TIMESTAMP ?"
)
_ADDRESS = (
    "INSERT INTO {notice_addresses} (user_id, channel, address, p256dh, auth, wanted) "
    "VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
_PROPOSAL = (
    "INSERT INTO {notice_proposals} (user_id, channel, event_id, address) VALUES (?, ?, ?, ?) "
    "USING TIMESTAMP ?"
)

Row = tuple[str, Sequence[Any]]


class Notifications(StoredUnit):
    """The writing side; see :mod:`projections.notifications.read` for the reading side."""

    name = NAME
    topics = TOPICS
    tables = TABLES
    kinds = frozenset({HEAD, SETTINGS})

    def __init__(self, bus: RedisBus, store: Store, keys: Keys, shape: Shape = SHAPE) -> None:
        super().__init__(bus, store, keys)
        self._shape = shape

    async def apply(self, piece: Slice) -> None:
        """Applies a slice; what it tells is readable when this returns."""
        stale: dict[tuple[str, int], None] = {}
        for begin in range(0, len(piece.records), RECORDS_MAX):
            records = piece.records[begin : begin + RECORDS_MAX]
            redriven = piece.origin is not None
            said = [one for r in records if (one := act_of(r, self._shape, redriven)) is not None]
            rows = [row for r in records for row in setting_rows(r, self._keys.unit)]
            tweets = list(spoken_rows(records, self._shape))
            rows += dict.fromkeys([*act_rows(said, self._shape), *tweets])
            await self._store.write(rows)  # 1
            concerned = await self._count(piece, said)  # 2, 3
            concerned |= dict.fromkeys(row[1][0] for row in tweets)
            stale |= dict.fromkeys((HEAD, user) for user in concerned)
            stale |= dict.fromkeys((SETTINGS, user) for user in _said_by(records))
        effects: dict[int, list[Effect]] = {}
        for kind, user in stale:
            key = forget(self._keys.of(kind, user))
            effects.setdefault(self._keys.bucket(user), []).append(key)
        await self._positions.commit(piece, effects)  # 4

    async def _count(self, piece: Slice, said: Sequence[tuple[Doer, Act]]) -> dict[int, None]:
        """Writes the registers; returns whom any of the groups concerns."""
        known = await rows_of(self._store, dict.fromkeys(doer for doer, _ in said))  # 2
        rows: list[Row] = []
        if piece.origin is None:
            changed = changes(said, known)
            registers = await self._registers({c.group for c in changed}, piece.source)
            for group, now in recounted(registers, changed).items():
                rows.append(register_row(group, piece.source, now))
        concerned: dict[int, None] = {}
        for (subject, actor), acts in known.items():
            groups = {act.group for act in acts if act.group}
            concerned |= dict.fromkeys(Group.named(group).user_id for group in groups)
            if any(act.redriven for act in acts):
                rows += (redriven_row(group, (subject, actor)) for group in groups)
        await self._store.write(rows)  # 3
        return concerned

    async def _registers(self, groups: Iterable[str], source: str) -> dict[str, Register]:
        rows = await self._store.execute_in(
            _REGISTERS, sorted(groups), source, per_query=GROUPS_PER_QUERY
        )
        return {group: Register(position, acts) for group, position, acts in rows}


def act_rows(said: Iterable[tuple[Doer, Act]], shape: Shape) -> Iterator[Row]:
    """Yields what records say of acts, and where it is told."""
    for (subject, actor), act in said:
        values = (subject, actor, act.offset, act.act_id, act.group, act.redriven)
        yield _ACT, (*values, WRITTEN_AT)
        if act.group:
            group, span = Group.named(act.group), act.act_id >> shape.span_bits
            yield _TOLD, (act.group, act.act_id, actor, WRITTEN_AT)
            yield _BY, (act.group, actor, act.act_id, WRITTEN_AT)
            yield _GROUP, (group.user_id, span, group.subject, group.kind, WRITTEN_AT)
            yield _SPAN, (group.user_id, span, WRITTEN_AT)


def spoken_rows(records: Iterable[Record], shape: Shape) -> Iterator[Row]:
    """Yields rows of the inboxes of those whom tweets speak to; a retweet speaks to nobody."""
    for record in records:
        event = record.event
        if not isinstance(event, TweetPosted) or event.retweet_of_id:
            continue
        span = event.tweet_id >> shape.span_bits
        for addressee in addressees(event):
            yield _TWEET, (addressee, span, event.tweet_id, WRITTEN_AT)
            yield _SPAN, (addressee, span, WRITTEN_AT)


def register_row(group: str, source: str, now: Register) -> Row:
    """Returns the row of a register."""
    return _REGISTER, (group, source, *now, now.position)


def redriven_row(group: str, doer: Doer) -> Row:
    """Returns the row that says of whom an operator sent records back."""
    return _REDRIVEN, (group, *doer, WRITTEN_AT)


def addressees(event: TweetPosted) -> list[int]:
    """Returns whom a tweet may speak to: whom it answers and quotes, and names."""
    users = {event.reply_to_user_id, event.quote_of_user_id} - {None, 0, event.user_id}
    names = dict.fromkeys(m.username.casefold() for m in parse(event.text).mentions)
    return [*(user for user in users if user), *map(of_name, list(names)[:NAMES_MAX])]


def setting_rows(record: Record, scope: str) -> Iterator[Row]:
    """Yields what a record says of a user's settings."""
    match record.event:
        case NotificationsRead(user_id=user, up_to_id=up_to):
            yield _READ, (user, up_to, id_timestamp(up_to))  # the highest stays
        case PreferencesChanged(user_id=user, preferences=preferences):
            for name, enabled in preferences.items():
                at = versions.latest(record.offset)
                yield _PREFERENCE, (user, name, enabled, at)
                if name in TAKEN:
                    yield _TAKER, (scope, name, user % TAKER_SHARDS, user, enabled, at)
        case DeliveryAddressAdded(user_id=user) as said:
            at = versions.latest(record.offset)
            yield _ADDRESS, (user, said.channel, said.address, said.p256dh, said.auth, True, at)
            yield _PROPOSAL, (user, said.channel, 0, "", at)
        case DeliveryAddressRemoved(user_id=user) as said:
            at = versions.latest(record.offset)
            yield _ADDRESS, (user, said.channel, said.address, "", "", False, at)
            yield _PROPOSAL, (user, said.channel, 0, "", at)
        case DeliveryAddressProposed(user_id=user) as said:
            at = versions.latest(record.offset)
            yield _PROPOSAL, (user, said.channel, said.event_id, said.address, at)


def _said_by(records: Iterable[Record]) -> Iterator[int]:
    for record in records:
        if isinstance(record.event, NotificationsRead | PreferencesChanged):
            yield record.event.user_id
