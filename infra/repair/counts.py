"""One tweet's counts and what they are counted from: likes, views, replies, retweets and quotes.

What counts is a *register* of each source partition (``projections/engagement/layout.py``): a pure
function of the log below a position. So a stored one is right or wrong by its position alone, and a
wrong one is replaced by the register of the log's end: above whatever a worker is writing just now,
who has counted records below that end only.

Anybody may answer a tweet, so all of ``new-tweets`` is read: once for the children, and once more
for what became of them.

Bounded by: the records of one tweet and its children (:mod:`infra.repair.log`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from events.slices import LogRecord
from events.types import Event, TweetPosted
from infra.demo.convergence import Offsets
from infra.diff.keys import Key
from infra.repair.cells import Row, Stored
from infra.repair.chase import Registers
from infra.repair.late import late_facts
from infra.repair.log import KeyLog, Place, order
from infra.repair.rows import Part
from infra.repair.targets import Fact, sliced
from projections.engagement import children, likes
from projections.engagement.layout import COUNTS, KINDS, Family, Likes
from projections.engagement.lists import rows_of
from projections.engagement.tally import (
    UNKNOWN,
    Child,
    Referral,
    advance,
    child_of,
    gather,
    parents_of,
    recount,
    replay,
    retally,
)


class Counts:
    """See the module."""

    unit = "engagement"
    topics = ("engagements", "new-tweets")

    def __init__(self, tweet_id: int) -> None:
        self._tweet = tweet_id
        self._known: set[tuple[int, int]] = set()
        self._log: KeyLog | None = None
        self.words = f"counts {tweet_id}"
        self.questions: Sequence[tuple[str, Key]] = (
            ("counts", tweet_id),
            *(("children", (tweet_id, kind)) for kind in KINDS),
        )

    def places(self, log: KeyLog) -> set[Place]:
        """See :class:`infra.repair.targets.Target`."""
        return log.places("engagements", [self._tweet]) | log.every("new-tweets")

    async def records(self, log: KeyLog, ends: Offsets) -> list[LogRecord]:
        """See :class:`infra.repair.targets.Target`."""
        self._log = log
        liked = await log.read(log.places("engagements", [self._tweet]), ends, self._is_engaged)
        everywhere = log.every("new-tweets")
        posts = await log.read(everywhere, ends, self._is_child)
        self._known = {
            (event.tweet_id, event.user_id)
            for event in (record.event for record in posts)
            if isinstance(event, TweetPosted)
        }
        return liked + await log.read(everywhere, ends, self._is_said)

    async def extended(
        self, log: KeyLog, records: list[LogRecord], start: Offsets, ends: Offsets
    ) -> list[LogRecord]:
        """See :class:`infra.repair.targets.Target`."""

        def speaks(event: Event) -> bool:
            return self._is_engaged(event) or self._is_child(event) or self._is_said(event)

        new = await log.read(self.places(log), ends, speaks, start)
        if any(self._is_child(record.event) for record in new):
            return await self.records(log, ends)  # it may have been deleted before it was posted
        return sorted(records + new, key=order)

    def _is_said(self, event: Event) -> bool:
        child = (getattr(event, "tweet_id", None), getattr(event, "user_id", None))
        return child in self._known or child[0] == self._tweet

    def _is_engaged(self, event: Event) -> bool:
        return getattr(event, "tweet_id", None) == self._tweet

    def _is_child(self, event: Event) -> bool:
        return isinstance(event, TweetPosted) and self._tweet in parents_of(event)

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Iterator[Fact]:
        """See :class:`infra.repair.targets.Target`."""
        assert self._log is not None  # who read the records
        yield from late_facts(self._log, records, self._tweet)
        in_order = [record for record in records if not self._log.sent_back(record)]
        for place, of_place in groupby(in_order, key=lambda record: (record.topic, record[1])):
            several = list(of_place)
            asked = sorted({ends[place], *self._positions(place, stored, ends[place])})
            if place[0] == "engagements":
                yield from self._liked(several)
                yield from self._likes_registers(place, several, asked)
            else:
                yield from self._children(several)
                yield from self._family_registers(place, several, asked)

    def _positions(self, place: Place, stored: Stored, end: int) -> Iterator[int]:
        """Where the stored register of a partition stands, if the log has got there."""
        cells = stored.get(("tallies", (self._tweet, _source(place))), {})
        if "position" in cells and cells["position"].value <= end:
            yield cells["position"].value

    def _liked(self, records: Sequence[LogRecord]) -> Iterator[Fact]:
        last = {getattr(record.event, "user_id", None): record for record in records}
        for record in records:
            for write in rows_of(gather([sliced(record)])):
                # Of several likes of one user in one slice the last alone gets a row in the lists.
                is_listed = "{likes}" not in write[0]
                user = getattr(record.event, "user_id", None)
                yield ([] if is_listed and last[user] is not record else [record]), write

    def _likes_registers(
        self, place: Place, records: Sequence[LogRecord], asked: Sequence[int]
    ) -> Iterator[Fact]:
        register, likers = Likes(), set[int]()
        left = list(asked)
        for record in records:
            while left and left[0] <= record.offset:
                yield [], self._likes_at(place, register, left.pop(0))
            register = recount(register, [sliced(record)], likers)
            yield [record], self._likes_at(place, register, register.position)
        for position in left:
            yield [], self._likes_at(place, register, position)

    def _likes_at(
        self, place: Place, register: Likes, position: int
    ) -> tuple[str, Sequence[int | str]]:
        at = Likes(position, register.likes, register.views)
        return likes.register_rows(_source(place), {self._tweet: at})[0]

    def _children(self, records: Sequence[LogRecord]) -> Iterator[Fact]:
        state: dict[Child, Referral] = {}
        for place_of in records:
            record = sliced(place_of)
            child = child_of(record)
            if child is not None:
                before = state.get(child, UNKNOWN)
                for write in children.child_rows({child: before}, [record]):
                    yield [place_of], write
                state[child] = advance(before, record)

    def _family_registers(
        self, place: Place, records: Sequence[LogRecord], asked: Sequence[int]
    ) -> Iterator[Fact]:
        by_offset = {record.offset: record for record in records}
        family = Family()
        left = list(asked)
        for change in replay({}, map(sliced, records)):
            if change.parent_id != self._tweet:
                continue
            while left and left[0] <= change.offset:
                yield from self._family_at(place, family, left.pop(0), [])
            family = retally({self._tweet: family}, [change])[self._tweet]
            yield from self._family_at(place, family, family.position, [by_offset[change.offset]])
        for position in left:
            yield from self._family_at(place, family, position, [])

    def _family_at(
        self, place: Place, family: Family, position: int, because: Sequence[LogRecord]
    ) -> Iterator[Fact]:
        if family.position:  # a partition without a child of the tweet keeps no register of it
            at = Family(position, family.counts)
            yield because, children.register_rows(_source(place), {self._tweet: at})[0]

    def outrun(self, wrong: Iterable[Row]) -> set[Place]:
        """Returns the partitions whose registers are among rows."""
        sources = (row[1][1].rpartition("/") for row in wrong if row[0] == "tallies")
        return {(topic, int(number)) for topic, _, number in sources if topic in self.topics}

    def registers(
        self, place: Place, records: Sequence[LogRecord], wrong: Iterable[Row]
    ) -> Registers:
        """Returns the registers of a partition as of some records: one tweet's are one row."""
        del wrong
        assert self._log is not None  # who read the records
        found = Registers(self._tweet, place)
        found.add([r for r in records if r[:2] == place and not self._log.sent_back(r)])
        return found

    def owns(self, row: Row) -> bool:
        """See :class:`infra.repair.targets.Target`: children of other tweets are not its own."""
        of_one = ("children", "tallies", "redriven_children")
        return row[0] not in of_one or row[1][0] == self._tweet

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`infra.repair.targets.Target`."""
        by_tweet = [
            Part(table, (("tweet_id", self._tweet),))
            for table in ("tallies", "likes", "liked_by", "redriven_likers")
        ]
        by_parent = Part("redriven_children", (("parent_id", self._tweet),))
        by_kind = [Part("children", (("parent_id", self._tweet), ("kind", kind))) for kind in KINDS]
        return [*by_tweet, *by_kind, by_parent, *_mirrored(rows)]

    def also(self, stored: Stored) -> list[Part]:
        """See :class:`infra.repair.targets.Target`: the same facts where they are kept again."""
        liked = [("likes_of", (u, e, t)) for table, (t, e, u) in _of(stored, "liked_by")]
        said = [("referrals", key[2:]) for _, key in _of(stored, "children")]
        return _mirrored([*liked, *said])

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`infra.repair.targets.Target`."""
        return [(COUNTS, self._tweet)]


def _mirrored(rows: Iterable[Row]) -> list[Part]:
    names = {
        "likes_of": ("user_id", "event_id", "tweet_id"),
        "referrals": ("tweet_id", "author_id"),
        "redriven_sources": ("source",),
    }
    wanted = dict.fromkeys(row for row in rows if row[0] in names)
    return [Part(table, tuple(zip(names[table], key, strict=True))) for table, key in wanted]


def _of(stored: Stored, table: str) -> list[Row]:
    return [row for row in stored if row[0] == table]


def _source(place: Place) -> str:
    return f"{place[0]}/{place[1]}"
