"""Of what is posted, who is pushed to: decided once for each notification, then sent.

1. Of a tweet: whom it answers, quotes, names or retweets. The brief's matrix: mentions, replies and
   quotes are urgent, retweets are not; likes and follows are told in the app alone.
2. Wait until the units that decide have applied the tweet.
3. Urgent ones first, of the same the oldest: are pushes on, is the recipient active, is the tweet
   there, is nobody in the way (blocks, mutes), does he want this type pushed, did he have fewer
   than ``PUSHES_PER_HOUR`` pushes in the last hour, of which less urgent ones leave ``RESERVED`` to
   the urgent?
4. Claim it in the ledger, push it to each of his addresses, say what became of it. What another
   router has claimed and not ended is *waiting*: tried again until it has ended, or its router is
   taken for dead.

What began to trend goes the same way (:mod:`.trends`), after all the others: priorities are the
brief's high, medium and low.

Keeps true: nothing is pushed twice but what was under way when a router died (:mod:`.ledger`), and
nothing is lost, for whoever calls says how far the log was dealt with only when nothing waits;
nothing is pushed that is older than ``AGE_MAX_MS``, so neither an import nor an outage of a day
floods anybody. A replay does not come here: units of projection know of no router, and the router
reads the log from where it was, or from its end where it never was.

Bounded by: ``AT_ONCE`` decisions; ``TRIES_MAX`` tries a push; waiting is at most what other routers
have under way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from events.slices import LogRecord
from events.types import TweetPosted
from gateway.services import Accounts, Graph, Notifications, Trends, Tweets
from infra.router.ledger import Claim, Ledger
from infra.router.metrics import RouterMetrics
from infra.router.ports import Message, Outcome, Pushes
from infra.router.words import sentence
from projections.notifications.layout import (
    MENTION,
    NAMES_MAX,
    QUOTE,
    REPLY,
    RETWEET,
    TREND,
    WEB_PUSH,
    Address,
)
from projections.notifications.preferences import PUSH, is_on
from projections.text.entities import parse

PUSHES_PER_HOUR = 50
RESERVED = 10
"""Of these, which each priority leaves to those above it."""

AGE_MAX_MS = 3_600_000
AT_ONCE = 32
TRIES_MAX = 4
PAUSE_SECONDS = 0.5
"""Before the second try; doubled for each further one."""

URGENT = frozenset({MENTION, REPLY, QUOTE})
LOW = frozenset({TREND})

log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """Somebody may be told of a tweet; the order in which it is decided."""

    rank: int
    tweet_id: int
    user_id: int
    kind: str
    actor_id: int
    said_ms: int


class _Said(msgspec.Struct):
    text: str = ""


_SAID = msgspec.json.Decoder(_Said)


@dataclass(frozen=True)
class Reads:
    """The units' reading sides, of the generations in service."""

    accounts: Accounts
    graph: Graph
    tweets: Tweets
    notifications: Notifications
    trends: Trends


Ended = Callable[[int, Address], Awaitable[None]]
"""Takes a user's address that nobody is at any more."""


class Router:
    """Decides and sends.

    Args:
        reads: What decides; replaced when another generation comes into service.
        ledger: What was sent.
        pushes: Sends.
        ended: Takes addresses that are gone.
        applied: Waits until the units that decide have applied a record.
        allowed: Waits until pushes are on (:mod:`.pausing`).
        metrics: Where it is counted.
        clock: Milliseconds since 1970.

    Attributes:
        counts: How many had what outcome.
        waiting: What another router has under way.
    """

    def __init__(
        self,
        reads: Reads,
        ledger: Ledger,
        pushes: Pushes,
        ended: Ended,
        applied: Callable[[Sequence[LogRecord]], Awaitable[None]],
        allowed: Callable[[], Awaitable[None]],
        metrics: RouterMetrics,
        *,
        clock: Callable[[], float] = lambda: time.time() * 1000,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.reads = reads
        self.counts: dict[str, int] = {}
        self.waiting: set[Wanted] = set()
        self._ledger = ledger
        self._pushes = pushes
        self._ended = ended
        self._applied = applied
        self._allowed = allowed
        self.metrics = metrics
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._users: dict[int, asyncio.Lock] = {}

    async def route(self, records: Sequence[LogRecord]) -> None:
        """Deals with what these records are about, and with what is waiting.

        Raises:
            RetryableError, StoreUnavailable: an engine is away; route the same records again.
            Stopped: the router is to end, and has not dealt with all of them.
        """
        posts = [r for r in records if isinstance(r.event, TweetPosted)]
        young = [r for r in posts if self._young(_said_ms(r))]
        self.metrics.passed_over.inc(len(posts) - len(young))
        wanted = [one for record in young for one in await self._wanted(record)]  # 1
        if wanted:
            await self._applied(young)  # 2
        await self._deal({*self.waiting, *wanted})

    async def _deal(self, wanted: Collection[Wanted]) -> None:
        queue = sorted(wanted, reverse=True)
        self._users = {one.user_id: asyncio.Lock() for one in wanted}

        async def work() -> None:
            while queue:
                one = queue.pop()
                # One of a user's at a time, so that the urgent one is counted first.
                async with self._users[one.user_id]:
                    if await self._one(one) is None:  # 3
                        self.waiting.add(one)
                    else:
                        self.waiting.discard(one)

        await together(work() for _ in range(min(AT_ONCE, len(wanted))))

    def _young(self, said_ms: int) -> bool:
        return self._clock() - said_ms < AGE_MAX_MS

    async def _wanted(self, record: LogRecord) -> Iterable[Wanted]:
        event = record.event
        assert isinstance(event, TweetPosted)
        kinds: dict[int, str] = {}
        if event.retweet_of_id:
            kinds[event.retweet_of_user_id or 0] = RETWEET
        else:
            kinds[event.reply_to_user_id or 0] = REPLY
            kinds.setdefault(event.quote_of_user_id or 0, QUOTE)
            for user in await self._named(event):
                kinds.setdefault(user, MENTION)
        return [
            Wanted(
                rank_of(kind),
                event.tweet_id,
                user,
                kind,
                event.user_id,
                _said_ms(record),
            )
            for user, kind in kinds.items()
            if user not in (0, event.user_id)
        ]

    async def _named(self, event: TweetPosted) -> list[int]:
        names = dict.fromkeys(m.username.casefold() for m in parse(event.text).mentions)
        claims = [await self.reads.accounts.claim_of(name) for name in list(names)[:NAMES_MAX]]
        return [c.user_id for c in claims if c is not None and c.event_id < event.tweet_id]

    async def _one(self, one: Wanted) -> str | None:
        return await self.tell(one.user_id, one.kind, one.said_ms, lambda: self._message(one))

    async def tell(
        self, user: int, kind: str, said_ms: int, write: Callable[[], Awaitable[Message | None]]
    ) -> str | None:
        """Waits until pushes are on, decides about one, and sends it.

        Args:
            user: Whom.
            kind: One of ``projections.notifications.layout.KINDS``.
            said_ms: Since when it could be told.
            write: Returns what is pushed; None where the user is not to see it.

        Returns:
            In a word what became of it; see :mod:`.metrics`. None where another router has it
            under way: tell it again.

        Raises:
            RetryableError, StoreUnavailable: an engine is away; tell it again.
            Stopped: the router is to end.
        """
        await self._allowed()
        outcome = await self._told(user, kind, said_ms, write)
        if outcome is not None:
            self.counts[outcome] = self.counts.get(outcome, 0) + 1
            self.metrics.decided.labels(kind, outcome).inc()
        return outcome

    async def _told(
        self, user: int, kind: str, said_ms: int, write: Callable[[], Awaitable[Message | None]]
    ) -> str | None:
        if not self._young(said_ms):
            return "late"  # it waited, for an engine or because pushes were off
        settings = await self.reads.notifications.settings(user)
        if not is_on(settings.preferences, PUSH, kind):
            return "off"
        addresses = await self.reads.notifications.addresses(user, WEB_PUSH)
        if not addresses:
            return "nowhere"
        message = await write()
        if message is None:
            return "hidden"
        now_ms = int(self._clock())
        most = PUSHES_PER_HOUR - RESERVED * rank_of(kind)
        claim = await self._ledger.claim(user, message.id, now_ms)  # 4
        if claim is not Claim.OURS:
            return "repeated" if claim is Claim.ENDED else None
        if await self._ledger.pushes(user, message.id, now_ms, most) >= most:
            await self._ledger.end(user, message.id, now_ms, "limited")
            return "limited"
        await self._ledger.pushed(user, message.id, now_ms)
        outcomes = [await self._push(user, address, message) for address in addresses]
        state = Outcome.DELIVERED if Outcome.DELIVERED in outcomes else outcomes[0]
        if state is Outcome.DELIVERED:
            self.metrics.delay.observe(max(0.0, self._clock() - said_ms) / 1000)
        await self._ledger.end(user, message.id, now_ms, state.value)
        return state.value

    async def _push(self, user_id: int, address: Address, message: Message) -> Outcome:
        outcome = await self._try(address, message)
        for attempt in range(1, TRIES_MAX):
            if outcome is not Outcome.LATER:
                break
            await asyncio.sleep(self._pause_seconds * 2 ** (attempt - 1))
            outcome = await self._try(address, message)
        if outcome is Outcome.GONE:
            await self._ended(user_id, address)
            self.metrics.gone.inc()
        return outcome

    async def _try(self, address: Address, message: Message) -> Outcome:
        outcome = await self._pushes.push(address, message)
        self.metrics.tries.labels(outcome.value).inc()
        return outcome

    async def _message(self, one: Wanted) -> Message | None:
        """Returns what is pushed; None where the recipient is not to see it."""
        reads = self.reads
        relations, tweets, people = await asyncio.gather(
            reads.graph.relations_of(one.user_id),
            reads.tweets.get([one.tweet_id]),
            reads.accounts.get([one.user_id, one.actor_id]),
        )
        tweet = tweets.get(one.tweet_id)
        if one.actor_id in relations.hidden or len(people) < 2 or tweet is None:
            return None
        if tweet.retweet_of_id:
            originals = await reads.tweets.get([tweet.retweet_of_id])
            tweet = originals.get(tweet.retweet_of_id)
            if tweet is None or tweet.author_id != one.user_id:
                return None
        name = people[one.actor_id].named.username
        return Message(
            id=f"{one.kind}:{one.tweet_id}",
            title=sentence(one.kind, [name], 1),
            body=_SAID.decode(tweet.body + b"}").text,
            path=f"/api/tweets/{one.tweet_id}",
            urgent=one.kind in URGENT,
        )


async def together(work: Iterable[Awaitable[object]]) -> None:
    """Does all of it, and raises what the first that failed did.

    All have ended by then, so nobody is still at it when the same comes again.
    """
    for ended in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended


def rank_of(kind: str) -> int:
    """Returns the priority of a kind, 0 for the highest."""
    return 0 if kind in URGENT else 2 if kind in LOW else 1


def _said_ms(record: LogRecord) -> int:
    event = record.event
    assert isinstance(event, TweetPosted)
    return min(event.occurred_at, event.created_at)
