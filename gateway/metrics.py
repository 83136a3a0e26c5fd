"""Every metric of the gateway, declared once.

Labels have few values: routes are the patterns of the table, never paths.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class GatewayMetrics:
    """The metrics of one gateway process.

    Args:
        registry: Where ``/metrics`` reads them.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        # Requests answered; 5xx by route is the first thing to alert on.
        self.requests = Counter(
            "murmur_gateway_requests_total",
            "Requests answered, by route and status.",
            ("method", "route", "status"),
            registry=registry,
        )
        # From the request's head to its answer, waiting for positions included.
        self.seconds = Histogram(
            "murmur_gateway_request_seconds",
            "Seconds from a request's headers to its answer, by route.",
            ("method", "route"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        # Near REQUESTS_MAX the process begins to refuse.
        self.under_way = Gauge(
            "murmur_gateway_requests_under_way",
            "Requests being answered now.",
            registry=registry,
        )
        # Refused at the door, the cheapest to lose first: add processes.
        self.refused = Counter(
            "murmur_gateway_requests_refused_total",
            "Requests answered 503 at once, by what they cost to lose, or read-only.",
            ("cost",),
            registry=registry,
        )
        # How far the system is degraded on purpose: 0 is normal.
        self.level = Gauge(
            "murmur_gateway_degradation_level",
            "Level of degrading that is in force in this process, 0 to 4.",
            registry=registry,
        )
        # What is measured, as multiples of the thresholds: from 1 on it asks for level 1.
        self.signals = Gauge(
            "murmur_gateway_degradation_signal",
            "Signals that a level is entered by, as multiples of their thresholds.",
            ("signal",),
            registry=registry,
        )
        # Not counted, because views are off at this level.
        self.views_dropped = Counter(
            "murmur_gateway_views_dropped_total",
            "Views of tweets that were answered and not counted.",
            registry=registry,
        )
        # How long readers are held until their own write is visible.
        self.wait_seconds = Histogram(
            "murmur_gateway_wait_seconds",
            "Seconds that X-Wait-For held a request, by unit.",
            ("unit",),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        # A unit that lags: its workers are down or too few.
        self.waits_timed_out = Counter(
            "murmur_gateway_waits_timed_out_total",
            "Requests whose X-Wait-For was not reached in time, by unit.",
            ("unit",),
            registry=registry,
        )
        # `failed` rises while the log is away: nobody is told, and it is tried again later.
        self.openings = Counter(
            "murmur_gateway_openings_total",
            "Openings of a home timeline to be said to the log, by outcome.",
            ("outcome",),
            registry=registry,
        )
        # Bugs: each is in the log with its request id.
        self.errors = Counter(
            "murmur_gateway_errors_total",
            "Requests that ended in an unexpected exception, by route.",
            ("method", "route"),
            registry=registry,
        )
        # 0 closed, 1 half-open, 2 open: an engine that is away, or drags.
        self.breaker_state = Gauge(
            "murmur_gateway_breaker_state",
            "State of the breaker of each engine: 0 closed, 1 half-open, 2 open.",
            ("engine",),
            registry=registry,
        )
        # Opening again and again: an engine at its limit rather than away.
        self.breaker_opened = Counter(
            "murmur_gateway_breaker_opened_total",
            "Times that the breaker of an engine opened.",
            ("engine",),
            registry=registry,
        )
        # What an open breaker kept away from its engine.
        self.breaker_refused = Counter(
            "murmur_gateway_breaker_refused_total",
            "Calls that an open breaker refused at once, by engine.",
            ("engine",),
            registry=registry,
        )
        # Reads of the store, a page may take several: what a cold start or a lost Redis costs it.
        self.store_reads = Counter(
            "murmur_gateway_store_reads_total",
            "Statements sent to the store to read.",
            registry=registry,
        )
        # At the budget's tenth of the reads: the store fails more than now and then.
        self.store_retries = Counter(
            "murmur_gateway_store_retries_total",
            "Reads of the store that were tried again.",
            registry=registry,
        )
        # Answered from what Redis holds while the store is away.
        self.stale_answers = Counter(
            "murmur_gateway_stale_answers_total",
            "Answers marked X-Stale.",
            registry=registry,
        )
        # Refused because too many already read from the store in place of Redis.
        self.store_pages_refused = Counter(
            "murmur_gateway_store_pages_refused_total",
            "Requests refused while Redis is away, to keep the store's load within its bound.",
            registry=registry,
        )
        # Records that a unit could not apply and nobody has decided upon; looked at now and then.
        self.dead_letters = Gauge(
            "murmur_gateway_dead_letters_open",
            "Dead letters that are open, by unit.",
            ("unit",),
            registry=registry,
        )
        # Alert on this one: a letter that nobody looks at.
        self.dead_letter_age = Gauge(
            "murmur_gateway_dead_letter_age_seconds",
            "Seconds since the oldest open dead letter was buried, by unit; 0 for none.",
            ("unit",),
            registry=registry,
        )
