"""What the engines must hold before anything runs: topics, schemas, the tables of generations.

Idempotent, and safe to run in several processes at once: whatever is there is compared, and not
changed but for what keeps a topic's records (:mod:`events.admin`). `murmur up` ends with it; so do
tests and benchmarks that use topics of their own.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable

from events.admin import Admin, Ensured
from events.cassandra import Statements
from events.errors import EventsError
from events.idempotency import CassandraIdempotency
from events.leases import CassandraLeases
from infra import compose
from infra.compose import Engines
from infra.generations import register_first
from infra.levels import orders_of
from infra.settings import Settings, load
from projections.base import ProjectionError


async def prepare(settings: Settings, *, replication: int = 1) -> Ensured:
    """Connects, prepares and disconnects; see `prepare_on`."""
    async with compose.engines(settings) as on:
        return await prepare_on(on, replication=replication)


async def prepare_on(
    on: Engines, *, replication: int = 1, units: Iterable[str] = compose.UNITS
) -> Ensured:
    """Makes what is missing of topics, schemas and tables.

    Args:
        on: The engines.
        replication: Copies of each topic that is made.
        units: Whose tables are made.

    Returns:
        The topics that were made, and how existing ones differ from `schemas/topics.yaml`.

    Raises:
        TopicMismatch: a topic has another partition count than the table says.
        SchemaRefused: the registry holds a schema that ours cannot read.
        RetryableError: an engine is away.
    """
    settings = on.settings
    admin = Admin(settings.kafka_bootstrap, on.topics, settings.kafka_options)
    ensured = await admin.ensure_topics(replication)
    await on.registry.publish()
    statements = Statements(on.session, settings.keyspace)
    await CassandraLeases(statements).create()
    await CassandraIdempotency(statements).create()
    await orders_of(on, statements).create()
    for unit in units:
        await compose.UNITS[unit](on).open()
    await register_first(on)
    return ensured


def main() -> None:
    """`python -m infra.prepare`: what the launcher runs once the engines answer."""
    try:
        for line in asyncio.run(prepare(load().settings)).told:
            sys.stdout.write(f"{line}\n")
    except (EventsError, ProjectionError) as error:
        sys.exit(" ".join(str(error).split()))


if __name__ == "__main__":
    main()
