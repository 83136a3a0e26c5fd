"""``GET /api/timeline/home``: a page of :mod:`gateway.queries.home` as bytes.

Three kinds of request: the first page; ``cursor``, the page after another; ``since``, what is new
above the ``newest_cursor`` of an earlier answer. Cursors of the second kind say where the page
begins, the newest entry that the pages before it showed, and where the pages end: above 0, or above
what a refresh began at.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from events.partitioner import partition_of
from events.position import Position
from gateway.answers import Explained
from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.levels.level import Feature, Levels
from gateway.openings import Openings
from gateway.pages import STALE, STALE_BY_LEVEL, Extra, marked_stale, page, page_count
from gateway.problems import Problem, bad_request
from gateway.queries.view import HomePage
from gateway.queries.visible import includes
from gateway.services import Home
from projections.accounts.layout import UserFragment
from projections.timelines.authors import NEWEST
from projections.timelines.explain import Reason
from projections.tweets.layout import TweetFragment

ROUTE, NEWEST_ROUTE = "home", "home newest"

TOPIC = "new-tweets"

Page = HomePage[TweetFragment, UserFragment]


class Place(msgspec.Struct, frozen=True):
    """What a cursor carries.

    Attributes:
        below: The page begins under this id.
        top: The newest entry that the pages before it showed, 0 if none. Cursors of old did not
            carry it.
        above: The pages end above this id.
    """

    below: int
    top: int = NEWEST
    above: int = 0

    def seal(self, cursors: Cursors, user_id: int, route: str = ROUTE) -> str:
        """Returns the cursor."""
        return cursors.seal(route, user_id, b"%d.%d.%d" % (self.below, self.top, self.above))

    @classmethod
    def open(cls, cursors: Cursors, user_id: int, text: str, route: str = ROUTE) -> Place:
        """Reads a cursor.

        Raises:
            Problem: 400, not a cursor of this route and user.
        """
        return cls(*map(int, cursors.open(route, user_id, text).split(b".")))

    def after(self, page: Page) -> Place | None:
        """Returns where the page begins that follows one that began here; None after the last."""
        if page.below is None:
            return None
        # What a later retweet is compared with: the newest that any page showed (decision 0061).
        top = self.top or (page.tweets[0][0] if page.tweets else 0)
        return Place(page.below, top, self.above)


class TimelineQueries:
    """Handler of the home timeline.

    Args:
        timelines: Reads pages.
        cursors: Seals and opens where they begin.
        openings: Told when somebody opens his timeline.
        partitions: Of the topic ``new-tweets``, to say where in the log a tweet is.
        levels: How far the system is degraded.
    """

    def __init__(
        self,
        timelines: Home,
        cursors: Cursors,
        openings: Openings,
        partitions: int,
        levels: Levels,
    ) -> None:
        self._timelines = timelines
        self._cursors = cursors
        self._openings = openings
        self._partitions = partitions
        self._levels = levels

    async def home(self, request: Request) -> Response:
        """``GET /api/timeline/home``."""
        count = page_count(request)
        explain = _explain(request)
        cursor, since = request.query("cursor"), request.query("since")
        if cursor is not None:
            if since is not None:
                raise _two_places()
            return await self._next(request, cursor, count, explain)
        above = self._above(request, since) if since is not None else None
        user = request.user_id
        if self._levels.has(Feature.OPENINGS):
            self._openings.opened(user)
        cached_only = self._levels.cached_only
        if above is None:
            found = await self._timelines.page(
                user, None, count, explain=explain, cached_only=cached_only
            )
        else:
            found = await self._timelines.refresh(
                user, above, count, explain=explain, cached_only=cached_only
            )
        newest = found.tweets[0][0] if found.tweets else above or 0
        following = found.below and Place(found.below, newest, above or 0)
        meta = [("newest_cursor", _text(self._cursors.seal(NEWEST_ROUTE, user, b"%d" % newest)))]
        if found.missed is not None:
            meta.append(("missed", b"%d" % found.missed))
        if found.has_missed_more:
            meta.append(("missed_is_lower_bound", b"true"))
        return self._page(request, found, following or None, meta, cached_only=cached_only)

    async def _next(self, request: Request, cursor: str, count: int, explain: bool) -> Response:
        place = Place.open(self._cursors, request.user_id, cursor)
        cached_only = self._levels.cached_only
        found = await self._timelines.page(
            request.user_id,
            place.below,
            count,
            top=place.top,
            above=place.above,
            explain=explain,
            cached_only=cached_only,
        )
        return self._page(request, found, place.after(found), cached_only=cached_only)

    def _page(
        self,
        request: Request,
        found: Page,
        following: Place | None,
        meta: Sequence[Extra] = (),
        *,
        cached_only: bool,
    ) -> Response:
        cursor = following.seal(self._cursors, request.user_id) if following else None
        beside: list[Extra] = []
        if found.reasons is not None:
            explained = [self._explained(reason) for reason in found.reasons]
            beside.append(("explain", msgspec.json.encode(explained)))
        bodies = [tweet.body for _, tweet in found.tweets]
        included = includes(found.tweets, found.originals, found.users)
        response = page(
            bodies,
            cursor,
            included,
            meta=meta,
            beside=beside,
            incomplete=found.incomplete,
            why=STALE_BY_LEVEL if cached_only else STALE,
        )
        return marked_stale(response, STALE_BY_LEVEL) if cached_only else response

    def _explained(self, reason: Reason) -> Explained:
        position = None
        if reason.offset is not None:
            partition = partition_of(b"%d" % reason.author_id, self._partitions)
            position = str(Position(TOPIC, partition, reason.offset))
        return Explained(
            tweet_id=str(reason.tweet_id),
            why=reason.why,
            follow_id=str(reason.follow_id) if reason.follow_id else None,
            position=position,
        )

    def _above(self, request: Request, since: str) -> int:
        try:
            return int(self._cursors.open(NEWEST_ROUTE, request.user_id, since))
        except Problem as problem:
            raise bad_request(
                "invalid-since",
                "since",
                "since is a newest_cursor of this user's home timeline. Use one, or none to begin "
                "at the first page.",
            ) from problem


def _text(value: str) -> bytes:
    return b'"%s"' % value.encode()


def _explain(request: Request) -> bool:
    text = request.query("explain")
    if text not in (None, "0", "1", "true", "false"):
        raise bad_request("invalid-explain", "explain", "explain is 1 or 0.")
    return text in ("1", "true")


def _two_places() -> Problem:
    return bad_request(
        "since-and-cursor",
        "since",
        "since asks for what is new, cursor for a later page. Send one of them: next_cursor of an "
        "answer to since goes on with what it missed.",
    )
