"""One user's notifications: what others did, by group, what speaks to him, and what he said of it.

What counts is a register of each group and source partition, a pure function of the log below a
position, as those of :mod:`infra.repair.counts`; a wrong one is replaced by that of the log's end.

Anybody may like, follow, retweet or answer, so all of those topics is read: once for what concerns
the user, and in the partitions of those who retweet him once more for what became of it.

Rows of ``inbox_spans`` and ``inbox_groups`` say where to look. One too many shows nobody anything;
and it is left, for its deletion would hide the same row of a later event.

Bounded by: the records that concern one user (:mod:`infra.repair.log`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from events.slices import LogRecord
from events.types import (
    DeliveryAddressAdded,
    DeliveryAddressProposed,
    DeliveryAddressRemoved,
    Event,
    NotificationsRead,
    PreferencesChanged,
    TweetDeleted,
    TweetLiked,
    TweetPosted,
    TweetUnliked,
    UserFollowed,
    UserUnfollowed,
)
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import Offsets
from infra.diff.keys import Key
from infra.repair.acts import ActRegisters, by_place, positions, registers, source
from infra.repair.cells import Row, Stored
from infra.repair.log import KeyLog, Place, order
from infra.repair.rows import Part
from infra.repair.targets import Fact, Facts, sliced
from projections.notifications.acts import (
    Act,
    Change,
    Doer,
    act_of,
    changes,
)
from projections.notifications.layout import (
    FOLLOW_SHARDS,
    HEAD,
    LIKE,
    RETWEET,
    SETTINGS,
    SHAPE,
    TAKEN,
    TAKER_SHARDS,
    Group,
    follow_subject,
    of_name,
    retweet_subject,
)
from projections.notifications.unit import (
    act_rows,
    addressees,
    redriven_row,
    register_row,
    setting_rows,
    spoken_rows,
)

UNIT = "notifications"

OF_GROUP = ("acts_told", "acts_by", "act_counts", "acts_redriven")
OF_USER = ("notices_read", "notice_preferences", "notice_addresses", "notice_proposals")
LEFT = {
    "inbox_spans": "INSERT INTO {inbox_spans} (addressee, span) VALUES (?, ?)",
    "inbox_groups": "INSERT INTO {inbox_groups} (addressee, span, subject, kind) "
    "VALUES (?, ?, ?, ?)",
}
"""Tables whose rows are left where the log does not give them; see the module."""

_TAKER = ("scope", "name", "shard", "user_id")
"""The key of ``notice_takers``."""

Retweet = tuple[int, int]
"""A tweet and its author."""


class Notifications:
    """See the module, and :class:`infra.repair.targets.Target`.

    Args:
        user_id: The user.
        username: The name that he goes by; '' for none.
        retweets: Those of which something is stored that concerns him.
        scope: Of the rows that all users share, as the unit's keys have it.
    """

    unit = UNIT
    topics = ("engagements", "new-tweets", "social-graph", "user-activity")

    def __init__(
        self,
        user_id: int,
        username: str = "",
        retweets: Iterable[Retweet] = (),
        scope: str = UNIT,
    ) -> None:
        self._user = user_id
        self._scope = scope
        self._name = username.casefold()
        self._addressees = [user_id, *([of_name(self._name)] if username else [])]
        self._stored_retweets = frozenset(retweets)
        self._retweets = set(self._stored_retweets)
        self._log: KeyLog | None = None
        self.words = f"notifications {user_id}"
        self.questions: Sequence[tuple[str, Key]] = (
            *(("inbox", one) for one in self._addressees),
            ("settings", user_id),
        )

    # --- what the log says ---

    def places(self, log: KeyLog) -> set[Place]:
        """See :class:`infra.repair.targets.Target`."""
        everybody = ("engagements", "new-tweets", "social-graph")
        own = log.places("user-activity", [self._user])
        return own.union(*(log.every(topic) for topic in everybody))

    async def records(self, log: KeyLog, ends: Offsets) -> list[LogRecord]:
        """See :class:`infra.repair.targets.Target`."""
        self._log = log
        found = await log.read(self.places(log), ends, self._concerns)
        self._retweets = _retweets_of(found, self._user) | self._stored_retweets
        return await self._with(log, found, self._retweets, ends)

    async def extended(
        self, log: KeyLog, records: list[LogRecord], start: Offsets, ends: Offsets
    ) -> list[LogRecord]:
        """See :class:`infra.repair.targets.Target`."""
        new = await log.read(self.places(log), ends, self._speaks, start)
        fresh = _retweets_of(new, self._user) - self._retweets
        self._retweets |= fresh
        return await self._with(log, records + new, fresh, ends)

    async def _with(
        self, log: KeyLog, records: list[LogRecord], retweets: set[Retweet], ends: Offsets
    ) -> list[LogRecord]:
        """Returns records, and all that the log says of some retweets."""
        found = {record[:3]: record for record in records}
        if retweets:  # one may have been deleted before it was posted
            places = log.places("new-tweets", {author for _, author in retweets})
            more = await log.read(places, ends, lambda event: _post_of(event) in retweets)
            found |= {record[:3]: record for record in more}
        return sorted(found.values(), key=order)

    def _speaks(self, event: Event) -> bool:
        return self._concerns(event) or _post_of(event) in self._retweets

    def _concerns(self, event: Event) -> bool:
        """Whether an event is about the user, of itself."""
        match event:
            case TweetPosted(retweet_of_user_id=whose):
                return whose == self._user or self._is_spoken_to(event)
            case (
                TweetLiked(tweet_author_id=whose)
                | TweetUnliked(tweet_author_id=whose)
                | UserFollowed(target_user_id=whose)
                | UserUnfollowed(target_user_id=whose)
                | NotificationsRead(user_id=whose)
                | PreferencesChanged(user_id=whose)
                | DeliveryAddressAdded(user_id=whose)
                | DeliveryAddressProposed(user_id=whose)
                | DeliveryAddressRemoved(user_id=whose)
            ):
                return whose == self._user
            case _:
                return False

    def _is_spoken_to(self, event: TweetPosted) -> bool:
        if self._user in (event.reply_to_user_id, event.quote_of_user_id):
            return True
        is_named = bool(self._name) and self._name in event.text.casefold()
        return is_named and not set(self._addressees).isdisjoint(addressees(event))

    # --- what it comes to ---

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """See :class:`infra.repair.targets.Target`."""
        assert self._log is not None  # who read the records
        by_doer: dict[Doer, list[tuple[LogRecord, Act]]] = {}
        for record in records:
            is_late = self._log.sent_back(record) is not None
            said = act_of(sliced(record), SHAPE, is_late)
            if said is not None:
                by_doer.setdefault(said[0], []).append((record, said[1]))
            one = [sliced(record)]
            acts = act_rows([said] if said is not None else [], SHAPE)
            said_of_settings = setting_rows(one[0], self._scope)
            for write in (*acts, *spoken_rows(one, SHAPE), *said_of_settings):
                yield [record], write
        yield from _late(by_doer)
        yield from self._registers(by_doer, stored, ends)
        for table, key in stored:
            if table in LEFT:
                yield [], (LEFT[table], key)

    def _registers(
        self,
        by_doer: Mapping[Doer, Sequence[tuple[LogRecord, Act]]],
        stored: Stored,
        ends: Offsets,
    ) -> Iterator[Fact]:
        known = {doer: [act for _, act in said] for doer, said in by_doer.items()}
        in_order = sorted(
            (record, doer, act)
            for doer, said in by_doer.items()
            for record, act in said
            if not act.redriven
        )
        for place, of_place in groupby(in_order, key=lambda one: one[0][:2]):
            several = list(of_place)
            by_offset = {record.offset: record for record, _, _ in several}
            by_group: dict[str, list[Change]] = {}
            for change in changes([(doer, act) for _, doer, act in several], known):
                if self._is_own(change.group):
                    by_group.setdefault(change.group, []).append(change)
            for group, changed in by_group.items():
                row: Row = ("act_counts", (group, source(place)))
                asked = positions(row, stored, ends[place])
                for at, now in registers(changed, asked):
                    because = [by_offset[at]] if at is not None else []
                    yield because, register_row(group, source(place), now)

    def _is_own(self, group: str) -> bool:
        return Group.named(group).user_id == self._user

    # --- where it is kept ---

    def owns(self, row: Row) -> bool:
        """See :class:`infra.repair.targets.Target`: others are spoken to by the same tweets."""
        table, key = row
        if table in OF_GROUP:
            return self._is_own(key[0])
        if table == "acts":
            return self._is_about(*key[:2])
        if table == "notice_takers":
            return key == self._taker(key[1])
        return key[0] in self._addressees

    def _taker(self, name: str) -> tuple[str, str, int, int]:
        return self._scope, name, self._user % TAKER_SHARDS, self._user

    def _is_about(self, subject: str, actor: int) -> bool:
        kind, slash, tweet = subject.partition("/")
        if slash and kind == RETWEET:
            return (int(tweet), actor) in self._retweets
        return subject.split("/", maxsplit=1)[0].split(":")[1] == str(self._user)

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`infra.repair.targets.Target`."""
        keys = list(rows)
        shards = (follow_subject(self._user, shard) for shard in range(FOLLOW_SHARDS))
        return [
            *(Part("inbox_spans", (("addressee", one),)) for one in self._addressees),
            *(Part(table, (("user_id", self._user),)) for table in OF_USER),
            *(
                Part("notice_takers", tuple(zip(_TAKER, self._taker(n), strict=True)))
                for n in sorted(TAKEN)
            ),
            *(Part("acts", (("subject", subject),)) for subject in shards),
            *(
                Part("acts", (("subject", retweet_subject(tweet)), ("actor", author)))
                for tweet, author in self._retweets
            ),
            *_of_spans(key for table, key in keys if table.startswith("inbox_")),
            *_of_groups(key[0] for table, key in keys if table in OF_GROUP),
        ]

    def also(self, stored: Stored) -> list[Part]:
        """See :class:`infra.repair.targets.Target`: what the inbox leads readers to."""
        groups = (
            Group(key[3], key[0], key[2]).name for table, key in stored if table == "inbox_groups"
        )
        spans = (key for table, key in stored if table == "inbox_spans")
        return [*_of_spans(spans), *_of_groups(groups)]

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`infra.repair.targets.Target`."""
        return [*((HEAD, one) for one in self._addressees), (SETTINGS, self._user)]

    # --- what a worker may outrun ---

    def outrun(self, wrong: Iterable[Row]) -> set[Place]:
        """Returns the partitions whose registers are among rows."""
        return set(by_place(wrong))

    def registers(
        self, place: Place, records: Sequence[LogRecord], wrong: Iterable[Row]
    ) -> ActRegisters:
        """Returns the registers of a partition that are among rows, as of some records."""
        assert self._log is not None  # who read the records
        found = ActRegisters(place, by_place(wrong)[place])
        found.add([r for r in records if r[:2] == place and not self._log.sent_back(r)])
        return found


async def notifications(on: Engines, user_id: int) -> Notifications:
    """Returns the notifications of a user: by what name he goes, and which retweets are told him.

    Raises:
        RetryableError: an engine is away.
    """
    users = await compose.accounts_reader(on).users([user_id])
    profile: dict[str, Any] = {}
    if user_id in users:
        profile = msgspec.json.decode(users[user_id].body + b"}")
    store = on.store_of(UNIT)
    spans = await store.execute("SELECT span FROM {inbox_spans} WHERE addressee = ?", (user_id,))
    pages = await store.execute_many(
        "SELECT subject, kind FROM {inbox_groups} WHERE addressee = ? AND span = ?",
        [(user_id, span) for (span,) in spans],
    )
    groups = {subject for page in pages for subject, kind in page if kind == RETWEET}
    told = await store.execute_many(
        "SELECT act_id, actor FROM {acts_told} WHERE act_group = ?",
        [(Group(RETWEET, user_id, subject).name,) for subject in groups],
    )
    retweets = {(tweet, actor) for page in told for tweet, actor in page}
    name = str(profile.get("username") or "")
    return Notifications(user_id, name, retweets, on.keys(UNIT).unit)


def _post_of(event: Event) -> Retweet | None:
    if isinstance(event, TweetPosted | TweetDeleted):
        return event.tweet_id, event.user_id
    return None


def _retweets_of(records: Iterable[LogRecord], user_id: int) -> set[Retweet]:
    return {
        (event.tweet_id, event.user_id)
        for event in (record.event for record in records)
        if isinstance(event, TweetPosted) and event.retweet_of_user_id == user_id
    }


def _late(by_doer: Mapping[Doer, Sequence[tuple[LogRecord, Act]]]) -> Iterator[Fact]:
    """Yields whom records were sent back of, in each group that they were ever in."""
    for doer, said in by_doer.items():
        for late, act in said:
            if act.redriven:
                for record, other in said:
                    if other.group:
                        yield [late, record], redriven_row(other.group, doer)


def _of_spans(keys: Iterable[Sequence[Any]]) -> list[Part]:
    spans = dict.fromkeys((key[0], key[1]) for key in keys)
    return [
        Part(table, (("addressee", addressee), ("span", span)))
        for addressee, span in spans
        for table in ("inbox_tweets", "inbox_groups")
    ]


def _of_groups(names: Iterable[str]) -> list[Part]:
    wanted = dict.fromkeys(names)
    likes = [name for name in wanted if Group.named(name).kind == LIKE]
    return [
        *(Part(table, (("act_group", name),)) for name in wanted for table in OF_GROUP),
        *(Part("acts", (("subject", name),)) for name in likes),
    ]
