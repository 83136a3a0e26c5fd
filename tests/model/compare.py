"""Every read of every user, beside what the oracle says of the log.

It asks as a client does (paths, pages, cursors) through whatever answers ``get``; so it compares
the gateway in memory and one over HTTP alike. A difference is a line that says who asked what,
what came and what was expected.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from events.types import TweetPosted
from projections.fragments import rfc3339
from projections.search.query.parse import parse
from projections.trends.layout import WORLDWIDE, told_at
from projections.trends.read import OWN_MIN, OWN_MS, OWN_ROWS, OWN_TRENDS_MAX
from tests.conversation_client import read as read_conversation
from tests.oracle import Oracle
from tests.oracle_notifications import NotificationsOracle
from tests.oracle_search import SearchOracle
from tests.oracle_talk import TalkOracle
from tests.oracle_trends import TrendsOracle

PAGE = 3
WHOLE = 50
PAGES_MAX = 200
OK, GONE = 200, 404

Get = Callable[..., Awaitable[tuple[int, bytes]]]
"""``get(user, path, **query)`` returns the status and the body."""

_PROFILE = ("username", "name", "description", "location", "url", "profile_image_url")


class TrendsShown(NamedTuple):
    """What is right of trends once nothing trends any more, and up to when it was worked out."""

    oracle: TrendsOracle
    done: int


def began(trends: TrendsShown) -> list[tuple[int, int, int]]:
    """Returns what is told to have begun, as the oracle of notifications takes it."""
    return [
        (end, told_at(end, trends.oracle.shape), len(terms))
        for end, terms in trends.oracle.starts(trends.done).items()
    ]


class Comparison:
    """Reads all there is.

    Args:
        oracle: What is right.
        get: Asks.
        trends: What is right of trends; None where they are not to be compared.
    """

    def __init__(self, oracle: Oracle, get: Get, trends: TrendsShown | None = None) -> None:
        self._oracle = oracle
        self._trends = trends
        self._talk = TalkOracle(oracle)
        self._search = SearchOracle.of(oracle)
        self._notifications = NotificationsOracle(oracle, began(trends) if trends else ())
        self._get = get
        self.compared = 0
        self.differences: list[str] = []

    async def all(self, since: dict[int, tuple[str, int]] | None = None) -> None:
        """Compares everything.

        Args:
            since: Of users who read their homes before: the ``newest_cursor``, and the id that it
                stands for.
        """
        readers = [user for user in self._oracle.users() if self._oracle.visible(user)]
        if not readers:
            return
        for user in self._oracle.users():
            await self._user(readers[0], user)
        for reader in readers:
            await self._home(reader, (since or {}).get(reader))
            await self._of_reader(reader, readers)
            await self._told(reader)
            if self._trends is not None:
                await self._trending(reader, *self._trends)
        said = [tweet.text for tweet in map(self._oracle.tweet, self._oracle.posted()) if tweet]
        words = sorted({text.split()[0] for text in said if text}) or ["nothing"]
        for number, user in enumerate(readers):
            name, one, other = self._profiled(user), words[number % len(words)], words[-1]
            for query in (f"from:{name}", f"@{name} -{one}", f"{one} OR {other}"):
                await self._found(user, query)
        for number, tweet in enumerate(self._oracle.posted()):
            await self._tweet(readers[number % len(readers)], tweet)
        for list_id in self._oracle.collections.lists():
            for reader in readers:
                await self._list(reader, list_id)

    def _profiled(self, user: int) -> str:
        profile = self._oracle.profile(user)
        assert profile is not None
        return profile.username

    # --- asking ---

    def _differs(self, user: int, path: str, found: Any, expected: Any) -> None:
        self.compared += 1
        if found != expected:
            self.differences.append(f"{user} GET {path}: {found} came, {expected} is right")

    async def _page(self, user: int, path: str, **query: object) -> dict[str, Any]:
        status, body = await self._get(user, path, **query)
        page: dict[str, Any] = msgspec.json.decode(body)
        if status != OK:
            return {"status": status, "data": [], "meta": {}}
        if "incomplete" in page.get("meta", {}):
            self._differs(user, path, "incomplete", "complete")
        return page

    async def _items(
        self, user: int, path: str, count: int, **query: object
    ) -> list[dict[str, Any]]:
        """Returns what is on all pages."""
        found: list[dict[str, Any]] = []
        for _ in range(PAGES_MAX):
            page = await self._page(user, path, count=count, **query)
            found += page["data"]
            cursor = page["meta"].get("next_cursor")
            if cursor is None:
                return found
            query = {**query, "cursor": cursor}
            query.pop("since", None)
        self._differs(user, path, f"more than {PAGES_MAX} pages", "an end")
        return found

    async def _ids(
        self, user: int, path: str, expected: Sequence[int], count: int = PAGE, **query: object
    ) -> None:
        items = await self._items(user, path, count, **query)
        self._differs(user, f"{path} {query or ''}", [int(i["id"]) for i in items], list(expected))
        for item in items:
            if "text" in item:
                self._content(user, path, item)

    async def _status(self, user: int, path: str, expected: int) -> None:
        status, _ = await self._get(user, path)
        self._differs(user, path, status, expected)

    def _content(self, user: int, path: str, item: dict[str, Any]) -> None:
        """Compares one tweet with what was posted, and its counts."""
        post = self._oracle.tweet(int(item["id"]))
        if post is None:
            return  # that it came at all is told elsewhere
        counts = self._oracle.counts(post.tweet_id)
        expected = {
            "text": post.text,
            "author_id": str(post.user_id),
            "conversation_id": str(post.conversation_id),
            "public_metrics": {
                "retweet_count": counts.retweets,
                "reply_count": counts.replies,
                "like_count": counts.likes,
                "quote_count": counts.quotes,
                "impression_count": counts.views,
            },
        }
        found = {name: item.get(name) for name in expected}
        self._differs(user, f"{path} tweet {post.tweet_id}", found, expected)

    # --- what is read ---

    async def _user(self, reader: int, user: int) -> None:
        oracle = self._oracle
        profile = oracle.profile(user)
        assert profile is not None
        path = f"/api/users/{user}"
        holder = oracle.holder(profile.username)
        named = f"/api/users/by/username/{profile.username.swapcase()}"
        named_status = OK if holder is not None and oracle.visible(holder) else GONE
        if not oracle.visible(user):
            await self._status(reader, path, GONE)
            await self._status(reader, named, named_status)
            for beneath in ("tweets", "followers", "following", "likes", "mentions", "lists"):
                await self._status(reader, f"{path}/{beneath}", GONE)
            return
        found = (await self._page(reader, path))["data"] or {}
        pinned = oracle.pinned(user)
        expected = {field: getattr(profile, field) for field in _PROFILE}
        expected |= {
            "id": str(user),
            "pinned_tweet_id": str(pinned) if pinned else None,
            "public_metrics": {
                "followers_count": oracle.followers_count(user),
                "following_count": oracle.following_count(user),
            },
        }
        self._differs(reader, path, {name: found.get(name) for name in expected}, expected)
        by_name = (await self._page(reader, named))["data"] or {}
        held = str(holder) if named_status == OK else None
        self._differs(reader, named, by_name.get("id"), held)
        for replies in (False, True):
            wanted = oracle.user_timeline(user, replies=replies)
            await self._ids(reader, f"{path}/tweets", wanted, replies=str(replies).lower())
        await self._ids(reader, f"{path}/followers", oracle.followers(user)[::-1])
        await self._ids(reader, f"{path}/following", oracle.following(user)[::-1])
        liked = [tweet for tweet in oracle.likes_of(user) if oracle.tweet(tweet)]
        await self._ids(reader, f"{path}/likes", liked)

    async def _home(self, reader: int, since: tuple[str, int] | None) -> None:
        home, path = self._oracle.home(reader), "/api/timeline/home"
        for count in (PAGE, WHOLE):
            await self._ids(reader, path, home, count)
        if since is not None:
            cursor, above = since
            newer = [tweet for tweet in home if tweet > above]
            await self._ids(reader, path, newer, since=cursor)

    async def _of_reader(self, reader: int, readers: Sequence[int]) -> None:
        oracle = self._oracle
        marked = [t for t in oracle.collections.bookmarks(reader) if oracle.tweet(t)]
        await self._ids(reader, "/api/bookmarks", marked)
        for user in readers:
            path = f"/api/users/{user}"
            await self._ids(reader, f"{path}/mentions", self._talk.mentions(user, reader))
            await self._ids(reader, f"{path}/lists", oracle.collections.owned(user, reader))

    async def _told(self, reader: int) -> None:
        path, oracle = "/api/notifications", self._notifications
        expected = [
            (one.kind, one.at, one.acts, [str(user) for user in one.users[:3]])
            for one in oracle.list(reader)
        ]
        items = await self._items(reader, path, PAGE)
        found = [(i["type"], int(i["latest_id"]), i["count"], i["user_ids"]) for i in items]
        others = [one for one in found if one[0] != "trend"]
        if self._trends is None and others != found:  # what began is not to be compared either
            self._differs(reader, path, others, expected)
            return
        self._differs(reader, path, found, expected)
        page = await self._page(reader, f"{path}/unread_count")
        unread = page["data"]["unread_count"] if page["data"] else None
        self._differs(reader, f"{path}/unread_count", unread, oracle.unread(reader))

    async def _found(self, reader: int, query: str) -> None:
        oracle = self._oracle

        def sees(tweet: TweetPosted) -> bool:
            authors = {tweet.user_id, tweet.retweet_of_user_id or tweet.user_id}
            hidden = any(oracle.hidden_from(reader, author) for author in authors)
            return oracle.tweet(tweet.tweet_id) is not None and not hidden

        expected = self._search.search(parse(query), sees)
        await self._ids(reader, "/api/search", expected, q=query)

    async def _trending(self, reader: int, right: TrendsOracle, done: int) -> None:
        oracle = self._oracle
        windows = right.history(done).get(WORLDWIDE, {})
        ceased = max(windows, default=0) + right.slot_ms if windows else 0
        page = await self._page(reader, "/api/trends")
        expected: Any = [], rfc3339(ceased) if ceased else None
        self._differs(reader, "/api/trends", (page["data"], page["meta"]["window_end"]), expected)
        heard = [u for u in oracle.followees(reader) if not oracle.hidden_from(reader, u)]
        own = right.own(heard, done, own_min=OWN_MIN, hour_ms=OWN_MS, rows=OWN_ROWS)
        page = await self._page(reader, "/api/trends/personal")
        found = [(one["query"], one["followee_count"]) for one in page["data"]]
        asked = [(t if t.startswith("#") else f'"{t}"', number) for t, number in own]
        self._differs(reader, "/api/trends/personal", found, asked[:OWN_TRENDS_MAX])

    async def _tweet(self, reader: int, tweet: int) -> None:
        oracle, path = self._oracle, f"/api/tweets/{tweet}"
        post = oracle.tweet(tweet)
        beneath = ("liking_users", "retweeted_by", "quotes", "replies", "conversation")
        if post is None:
            await self._status(reader, path, GONE)
            for name in beneath:
                await self._status(reader, f"{path}/{name}", GONE)
            return
        item = (await self._page(reader, path))["data"] or {"id": tweet}
        self._content(reader, path, item)
        liking = [user for user in oracle.liked_by(tweet) if oracle.visible(user)]
        await self._ids(reader, f"{path}/liking_users", liking)
        by = [user for _, user in oracle.children(tweet, "retweet") if oracle.visible(user)]
        await self._ids(reader, f"{path}/retweeted_by", list(dict.fromkeys(by)), WHOLE)
        for name, kind in (("quotes", "quote"), ("replies", "reply")):
            children = [child for child, _ in oracle.children(tweet, kind)]
            await self._ids(reader, f"{path}/{name}", [c for c in children if oracle.tweet(c)])
        if post.retweet_of_id is None:
            await self._conversation(reader, tweet)

    async def _conversation(self, reader: int, tweet: int) -> None:
        async def body(path: str) -> bytes:
            path, _, query = path.partition("?")
            pairs = dict(pair.split("=", 1) for pair in query.split("&"))
            status, found = await self._get(reader, path, **pairs)
            assert status == OK, found
            return found

        path = f"/api/tweets/{tweet}/conversation"
        expected = self._talk.ancestors(tweet, reader), self._talk.replies(tweet, reader)
        try:
            found: Any = await read_conversation(body, tweet, PAGE)
        except AssertionError as error:
            found = f"what does not fit together: {error}"
        self._differs(reader, path, found, expected)

    async def _list(self, reader: int, list_id: int) -> None:
        oracle, path = self._oracle, f"/api/lists/{list_id}"
        view = oracle.collections.view(list_id)
        shown = view is not None and oracle.visible(view.owner_id)
        if view is None or not shown or (view.private and view.owner_id != reader):
            for beneath in ("", "/members", "/tweets"):
                await self._status(reader, path + beneath, GONE)
            return
        found = (await self._page(reader, path))["data"] or {}
        expected = {
            "name": view.name,
            "description": view.description,
            "private": view.private,
            "owner_id": str(view.owner_id),
            "member_count": view.member_count,
        }
        self._differs(reader, path, {name: found.get(name) for name in expected}, expected)
        members = [user for user in oracle.collections.members(list_id) if oracle.visible(user)]
        await self._ids(reader, f"{path}/members", members[::-1])
        await self._ids(reader, f"{path}/tweets", oracle.list_timeline(list_id, reader))
