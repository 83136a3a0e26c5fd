"""The oracle as a side of a comparison: what the specification says that readers see.

The oracle is ``tests/oracle.py``, fed from the log and never from a generation. As in
`infra.demo.convergence`, `tests` is looked at only while a comparison runs; an installation without
the tests cannot compare with it, and says so.

It is fed what the log means to the compared unit: where an operator decided about a record, what
was decided (``tests/oracle_redrive.py``). A decision reaches back, so each begins the oracle anew.
Topics that the unit does not read are taken as their own unit takes them (``UNIT_OF``); a letter
that was sent back to one of two units and not to the other is no state that an oracle can have.

Bounded by: the oracle holds every event of the log in memory, and works each answer out anew. It is
for logs of a test or a demo, and for samples.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from events.slices import LogRecord
from events.types import Event, RedriveRequested
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import SOURCE_TOPICS, LogView, Offsets
from infra.diff.compare import SHOWN, Comparison, Progress, Report, viewed
from infra.diff.fields import UNSAID, Partial
from infra.diff.keys import Key
from infra.diff.looks import WAIT_S
from infra.diff.oracle_trends import TrendsSide
from infra.diff.sides import GenerationSide, keys_of
from infra.diff.views import Kind
from projections import fragments
from projections.engagement.layout import KINDS
from projections.notifications.layout import ADDRESSED
from projections.notifications.unit import addressees
from projections.search.layout import document
from projections.text.entities import parse
from streams.decisions import REDRIVE, Decision

if TYPE_CHECKING:
    from tests.oracle import Oracle

NAME = "oracle"

UNIT_OF = {
    "users": "accounts",
    "usernames": "accounts",
    "new-tweets": "tweets",
    "social-graph": "timelines",
    "engagements": "engagement",
    "lists": "collections",
    "bookmarks": "collections",
    "user-activity": "notifications",
}
"""Of each topic a unit that reads it: its decisions count where the compared unit reads it not."""


class OracleMissing(Exception):
    """The tests are not installed here; the message says what to do."""


async def compare_with_oracle(
    on: Engines,
    unit: str,
    *,
    name: str,
    sample: int | None,
    seed: int,
    beside: Engines | None = None,
    wait_s: float = WAIT_S,
    shown: int = SHOWN,
    progress: Progress = lambda kind, done: None,
) -> Report:
    """Compares a generation of a unit with the oracle; as :func:`infra.diff.compare.compare`.

    Raises:
        OracleMissing: this installation has no oracle.
        RetryableError, BrokerUnreachable: an engine is away.
    """
    random = Random(seed)
    with viewed(on) as view:
        side = GenerationSide(name, unit, on, beside or on)
        oracle = OracleSide(view, on, unit)
        await oracle.reach({}, 0)
        comparison = Comparison(
            beside or on, view, unit, side, oracle, wait_s=wait_s, shown=shown, progress=progress
        )

        async def keys(kind: Kind) -> AsyncIterator[Key]:
            expected = oracle.keys(unit, kind)
            if sample is not None and len(expected) > sample:
                expected = set(random.sample(sorted(expected, key=str), sample))
            for key in list(expected):
                yield key
            async for key in keys_of([side], kind, sample, random):
                if key not in expected:
                    yield key

        return await comparison.run(keys, sample=sample, seed=seed)


class OracleSide:
    """The oracle, fed as far as it is asked to reach."""

    name = NAME

    def __init__(self, view: LogView, on: Engines, unit: str) -> None:
        try:
            from tests.oracle import Oracle  # noqa: PLC0415 - see the module's docstring
            from tests.oracle_redrive import meant  # noqa: PLC0415
        except ImportError as error:
            raise OracleMissing(
                "the oracle is part of the tests, which are not installed here; "
                "run this from a checkout, or compare two generations"
            ) from error
        self._view = view
        self._on = on
        self._codec = compose.reader_codec(on)
        read = compose.UNITS[unit](on).topics
        self._units = {topic: unit if topic in read else UNIT_OF[topic] for topic in SOURCE_TOPICS}
        self._meant = meant
        self._make = Oracle
        self._decisions: list[Decision] = []
        self._begin()

    def _begin(self) -> None:
        self._oracle = self._make()
        self._fed: Offsets = {}
        self._trends = TrendsSide(self._on)
        self._answers = _answers(self._oracle) | {
            "trends": self._trends.trends,
            "trend_starts": self._trends.starts,
            "trend_uses": self._trends.uses,
        }

    async def read(self, kind: Kind, wanted: Sequence[Key]) -> list[Any]:
        """See :class:`infra.diff.sides.Side`."""
        answer = self._answers[kind.tables[0].name]
        return [answer(key) for key in wanted]

    async def positions(self) -> Offsets:
        """See :class:`infra.diff.sides.Side`."""
        return dict(self._fed)

    async def reach(self, ends: Offsets, seconds_max: float) -> bool:
        """Feeds the oracle; it is never behind.

        Every topic is fed, whatever is waited for: who a tweet is shown to is decided by several.
        """
        del seconds_max
        now = await self._view.ends((*SOURCE_TOPICS, REDRIVE))
        fed = self._fed
        upto = {at: max(end, ends.get(at, 0), fed.get(at, 0)) for at, end in now.items()}
        if await self._decided_anew(upto):
            self._begin()
        for record in await self._said(upto):
            self._oracle.feed(record)
            self._trends.feed(record)
        self._fed = upto
        return True

    async def _decided_anew(self, upto: Offsets) -> bool:
        """Takes in decisions up to there; each partition of them in order."""
        ends = {place: end for place, end in upto.items() if place[0] == REDRIVE}
        found = [
            record
            async for record in self._view.records(self._fed, ends)
            if isinstance(record.event, Decision)
        ]
        for record in sorted(found, key=lambda one: one[:3]):
            assert isinstance(record.event, Decision)
            self._decisions.append(record.event)
        return bool(found)

    async def _said(self, upto: Offsets) -> list[LogRecord]:
        """Returns what the log means from where the oracle was fed up to there."""
        ends = {place: end for place, end in upto.items() if place[0] != REDRIVE}
        by_topic: dict[str, list[LogRecord]] = {topic: [] for topic in SOURCE_TOPICS}
        async for record in self._view.records(self._fed, ends):
            by_topic[record.topic].append(record)
        found: list[LogRecord] = []
        for topic, records in by_topic.items():
            decided = [
                one
                for one in self._decisions
                if one.topic == topic
                and self._fed.get((topic, one.partition), 0) <= one.offset
                and one.offset < ends.get((topic, one.partition), 0)
            ]
            bodies = await self._bodies(topic, decided)
            originals = {record[:3]: record.event for record in records}
            unit = self._units[topic]
            found += self._meant(unit, records, decided, bodies.get, originals)
        return found

    async def _bodies(self, topic: str, decided: Sequence[Decision]) -> dict[bytes, Event]:
        """Returns what the bytes of redrives say; those that cannot be read say nothing."""
        payloads = [one.payload for one in decided if isinstance(one, RedriveRequested)]
        known = list(dict.fromkeys(payload for payload in payloads if payload is not None))
        decoded = await self._codec.decode_batch(known, topic, anew=True)
        return {
            payload: event
            for payload, event in zip(known, decoded.events, strict=True)
            if event is not None
        }

    def keys(self, unit: str, kind: Kind) -> set[Key]:
        """Returns the keys that readers may see something of, by the oracle."""
        oracle, people = self._oracle, self._oracle.users()
        tweets = oracle.posted()
        by_kind: dict[tuple[str, str], Callable[[], Iterable[Key]]] = {
            ("accounts", "user"): lambda: people,
            ("accounts", "username"): lambda: list(oracle._holders),
            ("tweets", "tweet"): lambda: tweets,
            ("tweets", "mentions"): lambda: (a for t in tweets for a in _spoken_to(oracle, t)),
            ("timelines", "timeline"): lambda: people,
            ("engagement", "counts"): lambda: tweets,
            ("engagement", "children"): lambda: ((t, k) for t in tweets for k in KINDS),
            ("engagement", "likes"): lambda: people,
            ("collections", "list"): oracle.collections.lists,
            ("collections", "user"): lambda: people,
            ("notifications", "inbox"): lambda: people,
            ("notifications", "settings"): lambda: people,
            ("search", "term"): lambda: (x for t in tweets for x in _terms(oracle, t)),
            ("trends", "trends"): self._trends.keys_of_trends,
            ("trends", "starts"): self._trends.keys_of_starts,
            ("trends", "uses"): self._trends.keys_of_uses,
        }
        return set(by_kind.get((unit, kind.name), lambda: ())())


def _answers(oracle: Oracle) -> dict[str, Callable[[Any], Any]]:
    """Returns what answers each kind, by the first of the kind's tables."""
    kept = oracle.collections
    return {
        "accounts": lambda user: _user(oracle, user),
        "username_claims": lambda name: _username(oracle, name),
        "tweets": lambda tweet: _tweet(oracle, tweet),
        "mention_spans": lambda addressee: {"tweets": _mentions(oracle, addressee)},
        "graph_out": lambda user: _timeline(oracle, user),
        "tallies": lambda tweet: _counts(oracle, tweet),
        "children": lambda key: {"tweets": [list(one) for one in oracle.children(*key)]},
        "likes_of": lambda user: {"tweets": oracle.likes_of(user)},
        "lists": lambda list_id: _list(oracle, list_id),
        "list_members": lambda key: {"members": kept.members(key[0])},
        "lists_of": lambda user: {
            "lists": kept.owned(user, user),
            "lists_count": kept.owned_count(user),
            "bookmarks": kept.bookmarks(user),
        },
        "rare_postings": lambda term: {
            "tweets": [
                tweet_id
                for tweet_id in sorted(oracle.posted(), reverse=True)
                if _stands(oracle, tweet_id) and term in _terms(oracle, tweet_id)
            ]
        },
        "people": lambda start: {"users": UNSAID},
        "inbox_spans": lambda addressee: _inbox(oracle, addressee),
        "notices_read": lambda user: _settings(oracle, user),
    }


def _terms(oracle: Oracle, tweet_id: int) -> set[str]:
    return {term.text for term in document(oracle._posted[tweet_id], 0).terms}


def _inbox(oracle: Oracle, addressee: int) -> Any:
    groups = oracle.notifications.groups(addressee)
    newest_first = sorted(groups.items(), key=lambda one: one[1][0].at, reverse=True)
    return {
        "tweets": [
            tweet_id
            for tweet_id in sorted(oracle.posted(), reverse=True)
            if _stands(oracle, tweet_id)
            and not oracle._posted[tweet_id].retweet_of_id
            and addressee in addressees(oracle._posted[tweet_id])
        ],
        "groups": {
            f"{kind} {subject}": {"count": len(acts), "acts": [[*act, subject] for act in acts]}
            for (kind, subject), acts in newest_first
        },
    }


def _settings(oracle: Oracle, user: int) -> Any:
    said = oracle.notifications
    return {
        "read_up_to": said.read[user],
        "preferences": dict(said.preferences[user]),
        "reached": {how: [list(one) for one in said.addressed(user, how)] for how in ADDRESSED},
    }


def _user(oracle: Oracle, user: int) -> Any:
    profile = oracle.profile(user)
    if profile is None:
        return None
    shown = {"id": str(user)}
    if profile.status != "erased":
        names = ("username", "name", "description", "location", "url", "profile_image_url")
        shown |= {name: getattr(profile, name) for name in names}
        shown["created_at"] = fragments.rfc3339(profile.created_at)
    return {"status": profile.status, "pinned": oracle.pin(user), "profile": shown}


def _username(oracle: Oracle, name: str) -> Any:
    held = oracle._holders.get(name)
    if held is None:
        return None
    user, event_id = held
    return {
        "username_key": name,
        "username": UNSAID,
        "user_id": user,
        "event_id": event_id,
        "offset": UNSAID,
    }


def _stands(oracle: Oracle, tweet_id: int) -> bool:
    post = oracle._posted.get(tweet_id)
    return post is not None and (post.user_id, tweet_id) not in oracle._deleted


def _tweet(oracle: Oracle, tweet_id: int) -> Any:
    post = oracle._posted.get(tweet_id)
    if post is None or not _stands(oracle, tweet_id):
        # Deletions alone leave a row under whoever spoke; nobody is shown it.
        return {"author": UNSAID, "tweet": None}
    names = (
        *("conversation_id", "reply_to_id", "reply_to_user_id", "retweet_of_id"),
        *("retweet_of_user_id", "quote_of_id", "quote_of_user_id"),
    )
    return {
        "author": post.user_id,
        "tweet": {
            "author_id": post.user_id,
            **{name: getattr(post, name) or 0 for name in names},
            "flags": UNSAID,
            "body": Partial(id=str(tweet_id), text=post.text, author_id=str(post.user_id)),
        },
    }


def _spoken_to(oracle: Oracle, tweet_id: int) -> list[str]:
    post = oracle._posted[tweet_id]
    if post.retweet_of_id is not None:
        return []
    names = list(dict.fromkeys("@" + m.username.casefold() for m in parse(post.text).mentions))
    found = names[:10]
    if post.reply_to_user_id and post.reply_to_user_id != post.user_id:
        found.append(str(post.reply_to_user_id))
    return found


def _mentions(oracle: Oracle, addressee: str) -> list[int]:
    found = [
        tweet_id
        for tweet_id in oracle.posted()
        if _stands(oracle, tweet_id) and addressee in _spoken_to(oracle, tweet_id)
    ]
    return sorted(found, reverse=True)


def _timeline(oracle: Oracle, user: int) -> Any:
    following, followers = sorted(oracle._following(user)), sorted(oracle._followers(user))
    people = oracle._blocking
    blocking = sorted(people[user])
    blocked = {other for other, by in list(people.items()) if user in by} | set(blocking)
    posted = [tweet for tweet in oracle._tweets_by[user] if _stands(oracle, tweet)]
    return {
        "followers_count": len(followers),
        "following_count": len(following),
        "following": following[::-1],
        "followers": followers[::-1],
        "follows": following,
        "blocking": blocking,
        "blocked": sorted(blocked),
        "muted": sorted(oracle._muting[user]),
        "posted": sorted(posted, reverse=True),
        "home": oracle.home(user),
    }


def _counts(oracle: Oracle, tweet_id: int) -> Any:
    post = oracle._posted.get(tweet_id)
    return {
        **oracle.counts(tweet_id)._asdict(),
        "liked_by": oracle.liked_by(tweet_id),
        "answers": post.reply_to_id if post is not None else None,
    }


def _list(oracle: Oracle, list_id: int) -> Any:
    view = oracle.collections.view(list_id)
    if view is None:
        return None
    return {
        "owner": view.owner_id,
        "id": str(list_id),
        "name": view.name,
        "description": view.description,
        "private": view.private,
        "owner_id": str(view.owner_id),
        "created_at": fragments.rfc3339(view.created_at),
        "member_count": view.member_count,
    }
