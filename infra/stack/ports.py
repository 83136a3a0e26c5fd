"""Ports for the local stack: the usual ones when they are free, others when not."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Iterable

from infra.stack.engines.base import LOOPBACK

# Below the range that Linux gives to outgoing connections (32768 up), so that none of those can
# take a port between our choosing it and the engine's binding it.
FREE_RANGE = (20_000, 32_000)
ATTEMPTS_MAX = 200


class NoFreePortError(Exception):
    """No port could be bound; something is badly wrong with this machine."""


def free(port: int) -> bool:
    """Whether an engine could listen on this port of the loopback address now."""
    with socket.socket() as probe:
        # As servers do: connections of the last run in TIME_WAIT do not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose(wanted: dict[str, int], before: dict[str, int], usual: bool) -> dict[str, int]:
    """A free port for each role: the usual one, else the one it had before, else any."""
    chosen: dict[str, int] = {}
    for role, port in wanted.items():
        preferred = (port if usual else None, before.get(role))
        chosen[role] = _choose(preferred, chosen.values())
    return chosen


def _choose(preferred: Iterable[int | None], taken: Collection[int]) -> int:
    for port in preferred:
        if port is not None and port not in taken and free(port):
            return port
    for _ in range(ATTEMPTS_MAX):
        port = random.randint(*FREE_RANGE)
        if port not in taken and free(port):
            return port
    raise NoFreePortError(f"no free port in {FREE_RANGE} after {ATTEMPTS_MAX} attempts")
