"""Raw records as aiokafka would return them."""

from __future__ import annotations

from aiokafka.structs import ConsumerRecord
from faust.types import TP

P0 = TP("numbers", 0)
P1 = TP("numbers", 1)


def record(
    offset: int,
    value: bytes | None = b"\0" * 8,
    *,
    tp: TP = P0,
    headers: tuple[tuple[str, bytes], ...] = (),
) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(
        topic=tp.topic,
        partition=tp.partition,
        offset=offset,
        timestamp=1_700_000_000_000 + offset,
        timestamp_type=1,
        key=b"key",
        value=value,
        checksum=None,
        serialized_key_size=3,
        serialized_value_size=len(value or b""),
        headers=headers,
    )


def records(*offsets: int) -> list[ConsumerRecord[bytes, bytes]]:
    return [record(offset, offset.to_bytes(8)) for offset in offsets]
