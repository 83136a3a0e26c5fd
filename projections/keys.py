"""Where a key lives: buckets, hash tags and cluster slots.

Every Redis key of a projection carries the hash tag of one of a fixed number of buckets, so that
one script may touch several keys of a bucket and a position can stand beside the state that it
covers. The number of buckets is a setting that never changes within a generation, because a key's
name follows from it.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable

SLOTS = 16_384
"""Hash slots of a Redis cluster (Redis cluster specification)."""


def slot_of(key: bytes) -> int:
    """Returns the cluster slot of a key, by its hash tag where it has one.

    CRC16/XMODEM modulo 16384, over the part between the first ``{`` and the next ``}``
    (Redis cluster specification, "Hash tags").
    """
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


class Keys:
    """Names the Redis keys of one generation of one unit.

    Args:
        generation: Prefix of the generation, such as ``g1``.
        unit: The unit's name; two units never share a key.
        buckets: Number of buckets, fixed for the life of a generation.
    """

    def __init__(self, generation: str, unit: str, buckets: int) -> None:
        self.generation = generation
        self.unit = unit
        self.buckets = buckets
        self._positions = [
            f"{generation}:{unit}:{{{n}}}:positions".encode() for n in range(buckets)
        ]
        self._prefixes: dict[str, list[bytes]] = {}
        self.applied = f"{generation}:{unit}:{{applied}}".encode()

    def bucket(self, entity_id: int) -> int:
        """Returns the bucket of an id.

        Snowflake ids end in bits that are mostly zero, so the id is mixed first (Fibonacci hashing,
        Knuth, TAOCP 6.4) and the top of the product, which every bit reaches, is scaled.
        """
        return ((entity_id * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 32) * self.buckets >> 32

    def of(self, kind: str, entity_id: int) -> bytes:
        """Returns the key of an entity's state or cache entry, such as ``g1:tweet:{7}:123``."""
        return b"%s:%s:{%d}:%d" % (
            self.generation.encode(),
            kind.encode(),
            self.bucket(entity_id),
            entity_id,
        )

    def prefix(self, kind: str, bucket: int) -> bytes:
        """Returns what :meth:`of` puts before an id of that bucket."""
        return b"%s:%s:{%d}:" % (self.generation.encode(), kind.encode(), bucket)

    def by_bucket(self, kind: str, ids: Iterable[int]) -> dict[int, list[bytes]]:
        """Returns the keys of many entities, by bucket and in order.

        Each takes half as long as :meth:`of`.
        """
        prefixes = self._prefixes.get(kind)
        if prefixes is None:
            prefixes = [self.prefix(kind, bucket) for bucket in range(self.buckets)]
            self._prefixes[kind] = prefixes
        return {
            bucket: [b"%s%d" % (prefixes[bucket], entity_id) for entity_id in group]
            for bucket, group in self.grouped(ids).items()
        }

    def grouped(self, ids: Iterable[int]) -> dict[int, list[int]]:
        """Returns ids by bucket, in order."""
        bucket_of = self.bucket
        groups: dict[int, list[int]] = {}
        for entity_id in ids:
            bucket = bucket_of(entity_id)
            group = groups.get(bucket)
            if group is None:
                groups[bucket] = [entity_id]
            else:
                group.append(entity_id)
        return groups

    def positions(self, bucket: int) -> bytes:
        """Returns the key of a bucket's positions, a hash of source partition to next offset."""
        return self._positions[bucket]
