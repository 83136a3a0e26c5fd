"""An import's two ends on the running system: the log, and what is known here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from events.cassandra import Statements
from events.codec import Codec
from events.idempotency import CassandraIdempotency
from events.log import Log
from events.producer import ProducerSettings
from events.types import Event
from infra import compose
from infra.compose import Engines
from infra.demo.convergence import Lag, LogView, NotConverged
from infra.importing.errors import BehindTheLog
from projections.accounts.unit import NAME as ACCOUNTS
from projections.tweets.unit import NAME as TWEETS

CATCH_UP_S_MAX = 30.0
FOR_EVER = 0
"""As a TTL: a fact that was imported once is never imported again, however long ago it was."""


class LogSink:
    """The importer's `Sink`.

    Args:
        log: Made with a store of keys that keeps them for ever.
        scope: Put before every key, so that logs that share a store do not share keys.
    """

    def __init__(self, log: Log, scope: str) -> None:
        self._log = log
        self._scope = scope

    async def append(self, event: Event, key: str | None) -> bool:
        """Append, once for its key if it has one; whether it is new."""
        if key is None:
            await self._log.append(event)
            return True
        appended = await self._log.append_once(event, idempotency_key=self._scope + key)
        return not appended.repeated


class ReadModels:
    """The importer's `Directory`: the units' reading sides."""

    def __init__(self, on: Engines, view: LogView) -> None:
        self._lag = Lag(on, view, (ACCOUNTS, TWEETS))
        self._accounts = compose.accounts_reader(on)
        self._tweets = compose.tweets_reader(on)

    async def catch_up(self) -> None:
        """Wait until both units have applied all that is in the log now.

        Raises:
            BehindTheLog: They have not within `CATCH_UP_S_MAX`.
        """
        try:
            await self._lag.until_applied(CATCH_UP_S_MAX)
        except NotConverged as error:
            raise BehindTheLog(
                f"{error}; see that `murmur worker accounts tweets` runs, then import again"
            ) from error

    async def holder(self, username: str) -> int | None:
        """The user who holds a name."""
        return await self._accounts.holder(username)

    async def registered(self, user_id: int) -> bool:
        """Whether the user has a profile, active or not."""
        return user_id in await self._accounts.users([user_id])

    async def authors(self, tweet_ids: Sequence[int]) -> Mapping[int, int]:
        """Author by id of the tweets that are known, deleted ones included."""
        return await self._tweets.author_of(tweet_ids)


@asynccontextmanager
async def log_for_ever(on: Engines) -> AsyncIterator[Log]:
    """The log, with idempotency keys that do not expire.

    Raises:
        RetryableError: the registry or the store is away.
    """
    codec = Codec(await on.registry.publish(), on.registry)
    statements = Statements(on.session, on.settings.keyspace)
    keys = CassandraIdempotency(statements, ttl_seconds=FOR_EVER)
    await keys.create()
    producer = ProducerSettings(
        bootstrap=on.settings.kafka_bootstrap, options=on.settings.kafka_options
    )
    log = Log(producer, codec, on.topics, keys)
    await log.open()
    try:
        yield log
    finally:
        await log.close()
