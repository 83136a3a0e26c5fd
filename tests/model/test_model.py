"""A few runs of the model in memory; `make model` does a thousand."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.model.machine import Murmuration

RUNS = 30
STEPS = 30

TestMurmuration = Murmuration.TestCase
TestMurmuration.settings = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    suppress_health_check=list(HealthCheck),
)
