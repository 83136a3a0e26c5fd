"""The topology, on one page: topic → agent → unit of projection.

Every unit has one consumer group and one agent, which reads all the unit's topics (concurrency 1:
with more, Faust commits past unfinished work; slices of different partitions are applied at once by
:mod:`.agents`, whose ledger does not). ``schemas/topics.yaml`` says which units
consume a topic, and a test holds it to this page::

    users, usernames, redrive                         → accounts    → projections.accounts.unit
    new-tweets, redrive                               → tweets      → projections.tweets.unit
    new-tweets, social-graph, user-activity, redrive  → timelines   → projections.timelines.unit
    fan-out, redrive                                  → fan-out     → projections.timelines.fan_out
    new-tweets, engagements, redrive                  → engagement  → projections.engagement.unit
    lists, bookmarks, redrive                         → collections → projections.collections.unit
    new-tweets, users, redrive                        → search      → projections.search.unit
    new-tweets, engagements, social-graph,
      user-activity, redrive                          → notifications
                                                                    → projections.notifications.unit
    new-tweets, redrive                               → trends      → projections.trends.unit

Of ``redrive`` a unit takes what is addressed to it: decisions about its own dead letters
(:mod:`streams.decisions`), ``fan-out`` too, so that no letter has nowhere to go.

``fan-out`` is a second group over the state of the timelines unit: chunks of large fan-outs never
stand in front of small ones (decision 0063).

Partitions are dealt to the members of a group round-robin, over all topics at once: partition 3 of
two topics need not be with one worker, so no unit may rely on it. Every change of members takes all
partitions from all members for a moment (eager rebalancing).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import faust
from faust.types import AppT, Message
from yarl import URL

from projections.base import Unit
from streams.settings import WorkerSettings
from streams.transport import Resume, Transport

# Polls stop for as long as a slice takes, an engine's outage included. The group must not take that
# for a dead member: who watches over stalls is the watchdog.
POLL_INTERVAL_SECONDS_MAX = 24 * 3600.0
# The most that a commit or any other request may take.
REQUEST_SECONDS_MAX = 30.0


class RawSchema(faust.Schema[Any, Any]):
    """Hands slices through: decoding is ours, so that a bad record cannot stop the agent."""

    def loads_key(self, app: AppT, message: Message, **_: Any) -> None:
        """Slices have no key."""

    def loads_value(self, app: AppT, message: Message, **_: Any) -> Any:
        """The slice itself."""
        return message.value


class _App(faust.App):
    """Faust without the folders that it makes for tables."""

    def _create_directories(self) -> None:
        """Nothing of a worker is kept on its disk."""


def build_app(settings: WorkerSettings, unit: Unit, resume: Resume) -> faust.App:
    """The Faust app of one worker, without its agent."""
    app = _App(
        settings.group,
        broker=f"kafka://{settings.kafka_bootstrap.replace(',', ';')}",
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=False,
        stream_buffer_maxsize=settings.queue_slices_max,
        consumer_max_fetch_size=settings.fetch_bytes_max,
        broker_max_poll_records=settings.slice_records_max,
        broker_max_poll_interval=POLL_INTERVAL_SECONDS_MAX,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.heartbeat_seconds,
        broker_rebalance_timeout=settings.session_timeout_seconds * 2,
        broker_request_timeout=REQUEST_SECONDS_MAX,
        broker_commit_interval=settings.commit_interval_seconds,
        broker_client_id=f"murmur-{unit.name}",
    )
    transport = Transport([URL(str(url)) for url in app.conf.broker_consumer], app, loop=app.loop)
    transport.resume = resume
    app.transport = transport
    app.boot_strategy.enable_kafka_producer = False  # what workers append goes by their own clients
    return app


def attach(
    app: faust.App,
    settings: WorkerSettings,
    unit: Unit,
    body: Callable[[Any], Awaitable[None]],
) -> None:
    """Subscribes one agent, ``body``, to all the unit's topics."""
    names = sorted(settings.physical(topic) for topic in unit.topics)
    topic = app.topic(*names, schema=RawSchema(key_type=bytes, value_type=bytes))

    @app.agent(topic, name=unit.name, concurrency=1)
    async def agent(stream: Any) -> None:
        await body(stream)
