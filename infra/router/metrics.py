"""Every metric of a router, declared in one place; served on ``MURMUR_ROUTER_METRICS_PORT``.

Several routers read the same log, so sums over them count what was *decided*; sent was what one of
them calls ``delivered``.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

# A push is decided in milliseconds and taken in tens; minutes are an outage, an hour is the bound.
_DELAY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)


class RouterMetrics:
    """The metrics of one router process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        # What became of each notification that might have been pushed. delivered: taken by a push
        # service; repeated: sent before, or by another router; limited: over the hourly bound;
        # later, refused: every try failed; gone: nobody at any address; off, nowhere, hidden:
        # not wanted, no subscription, not to be seen; late: too old by the time it was decided.
        self.decided = Counter(
            "murmur_router_notifications",
            "Notifications decided, by kind and outcome",
            ("kind", "outcome"),
            registry=registry,
        )
        # Tries of pushes by what the push service made of them: retries are among them.
        self.tries = Counter(
            "murmur_router_tries", "Pushes tried, by outcome", ("outcome",), registry=registry
        )
        # Subscriptions that were taken out because nobody is there any more.
        self.gone = Counter(
            "murmur_router_subscriptions_gone", "Subscriptions taken out", registry=registry
        )
        # Posts that were older than an hour when the router read them: told in the app alone.
        self.passed_over = Counter(
            "murmur_router_posts_passed_over", "Posts too old to be pushed", registry=registry
        )
        # From when something was posted to when a push service took the push.
        self.delay = Histogram(
            "murmur_router_delay_seconds",
            "Seconds from a post to its push",
            buckets=_DELAY_SECONDS,
            registry=registry,
        )
        # Log end minus what was dealt with, as the ledger has it: what a restart would read again.
        self.lag = Gauge(
            "murmur_router_lag",
            "Records not dealt with yet",
            ("topic", "partition"),
            registry=registry,
        )
        # The level that this router obeys; pushes wait from 1 on.
        self.level = Gauge(
            "murmur_router_degradation_level",
            "Level of degrading that this router was told",
            registry=registry,
        )
        # Tries of whole batches after an engine failed.
        self.retries = Counter(
            "murmur_router_retries", "Batches routed again, an engine was away", registry=registry
        )
