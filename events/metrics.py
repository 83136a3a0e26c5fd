"""Every metric of this package, each with a word on what it tells."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

APPENDS = Counter(
    "murmur_log_appends_total",
    "Appends by logical topic and outcome: ok, or the name of the error.",
    ["topic", "outcome"],
)
APPEND_SECONDS = Histogram(
    "murmur_log_append_seconds",
    "From the call of append to its acknowledgement by all in-sync replicas.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
APPENDS_IN_FLIGHT = Gauge(
    "murmur_log_appends_in_flight", "Appends sent and not acknowledged yet; bounded by the queue."
)
IDEMPOTENT_REPEATS = Counter(
    "murmur_log_idempotent_repeats_total",
    "Appends that met their idempotency key again: answered (position known) or appended again.",
    ["how"],
)
IDS_MINTED = Counter("murmur_snowflake_minted_total", "Snowflake ids minted.")
CLOCK_WENT_BACK = Counter(
    "murmur_snowflake_clock_went_back_total", "Mints refused because the clock went back."
)
CLOCK_DRIFT_MS = Gauge(
    "murmur_snowflake_clock_drift_ms",
    "How far the clock was behind the last id at the last refused mint, milliseconds.",
)
SEQUENCE_WAITS = Counter(
    "murmur_snowflake_sequence_waits_total", "Waits for the next millisecond: 4,096 ids were used."
)
LEASES_LOST = Counter(
    "murmur_snowflake_leases_lost_total",
    "Leases that could not be extended and were replaced; ids of the two can not collide.",
)
