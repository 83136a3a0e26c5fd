"""The partitioner's reference, on the vectors of Kafka's own test (``UtilsTest.testMurmur2``)."""

from __future__ import annotations

import pytest

from events.partitioner import murmur2
from events.producer import ProducerSettings


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_reference_has_the_java_clients_values(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


def test_the_log_asks_for_that_partitioner_and_for_no_loss() -> None:
    asked = ProducerSettings(bootstrap="x", options={"acks": "0"}).librdkafka()
    assert asked["partitioner"] == "murmur2_random"
    assert asked["acks"] == "all"
    assert asked["enable.idempotence"] is True
