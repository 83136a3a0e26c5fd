"""Every metric of a worker, declared in one place; served on ``WorkerSettings.metrics_port``.

All carry the label ``unit``; those about a partition also ``topic`` (logical) and ``partition``.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_PARTITION = ("unit", "topic", "partition")

# A slice is one round trip or several: 1 ms for a few records in Redis, seconds for a full fan-out.
_APPLY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLICE_RECORDS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Metrics:
    """The metrics of one process, bound to one unit."""

    def __init__(self, unit: str, registry: CollectorRegistry = REGISTRY) -> None:
        self.unit = unit
        # Records whose effects are durable; dead letters are not among them.
        self.events_applied = Counter(
            "murmur_events_applied", "Events applied", _PARTITION, registry=registry
        )
        # Slices acked, empty ones (gaps, transaction markers) included.
        self.slices_applied = Counter(
            "murmur_slices_applied", "Slices applied", _PARTITION, registry=registry
        )
        # Records per slice: at lag the mean nears slice_records_max, live it nears 1.
        self.slice_records = Histogram(
            "murmur_slice_records",
            "Records in a slice",
            ("unit",),
            buckets=_SLICE_RECORDS,
            registry=registry,
        )
        # From the first try of a slice to its last, waits between tries included.
        self.apply_seconds = Histogram(
            "murmur_slice_apply_seconds",
            "Seconds to decode and apply a slice",
            ("unit",),
            buckets=_APPLY_SECONDS,
            registry=registry,
        )
        # Log end minus COMMITTED offset: what a restart would find undone. Faust's own is of reads.
        self.lag = Gauge(
            "murmur_committed_lag", "Offsets not committed yet", _PARTITION, registry=registry
        )
        # Next offset that the unit has not applied.
        self.applied_offset = Gauge(
            "murmur_applied_offset", "Next offset to apply", _PARTITION, registry=registry
        )
        # Records given up on, by why: undecodable, or refused by the unit.
        self.dead_letters = Counter(
            "murmur_dead_letters",
            "Records put into dead-letters",
            (*_PARTITION, "reason"),
            registry=registry,
        )
        # Tries after the first, by what was tried: apply, decode, dead-letter, resume, heartbeat.
        self.retries = Counter(
            "murmur_retries", "Tries after a passing failure", ("unit", "what"), registry=registry
        )
        # 1 while the unit waits for an engine, else 0.
        self.retrying = Gauge(
            "murmur_retrying", "Whether something is being retried", ("unit",), registry=registry
        )
        # How long the partition that is stuck longest has been stuck; the watchdog ends the process
        # at WorkerSettings.stall_seconds.
        self.stalled_seconds = Gauge(
            "murmur_stalled_seconds",
            "Seconds since commits moved under lag",
            ("unit",),
            registry=registry,
        )
