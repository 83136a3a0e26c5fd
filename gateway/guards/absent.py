"""What a Redis that holds nothing, and takes nothing, would answer.

All that Redis holds is a cache of the store, and every reader is made so that an entry which is
missing is read from the store and a lease which is taken leaves the fill to another. So a Redis
that is away is answered for as an empty one whose leases are all taken: the readers go on, from the
store, and fill nothing.

Keeps true: no answer from here says that a fact is absent; it says that the cache does not know. A
command that is not in the table is refused, so that a new one is a 503 until it is thought of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from projections.base import RetryableError
from projections.bus import Command, Reply

_FUNCTION_VERSION = "_"


def _values(command: Command) -> Reply:
    return [None] * (len(command) - 1)


def _leases(command: Command) -> Reply:
    """Every lease is held by somebody else: load, and fill nothing."""
    return [0] * int(command[2])


REPLIES: Mapping[str, Callable[[Command], Reply]] = {
    "GET": lambda _: None,
    "MGET": _values,
    "HGET": lambda _: None,
    "HMGET": lambda command: [None] * (len(command) - 2),
    "GETRANGE": lambda _: b"",
    "EXISTS": lambda _: 0,
    "SET": lambda _: None,  # with NX, as caches do it: another was first
    "DEL": lambda _: 0,
}
"""By command, for those that readers send."""

FUNCTIONS: Mapping[str, Callable[[Command], Reply]] = {
    "murmur_lease": _leases,
    "murmur_fill": lambda _: 0,
    "murmur_engagement_fill": lambda _: 0,
    "murmur_finish_timeline": lambda _: 0,
    "murmur_collect": lambda _: 0,
    "murmur_search_find": lambda _: None,
    "murmur_search_count": lambda _: None,
}
"""By function, without the version that ends its name."""


def replies(commands: Sequence[Command]) -> list[Reply]:
    """Returns what an empty Redis answers.

    Raises:
        RetryableError: one of the commands cannot be answered without Redis.
    """
    return [_reply(command) for command in commands]


def _reply(command: Command) -> Reply:
    name = str(command[0])
    answer = REPLIES.get(name)
    if answer is None and name in ("FCALL", "FCALL_RO"):
        answer = FUNCTIONS.get(str(command[1]).rpartition(_FUNCTION_VERSION)[0])
    if answer is None:
        raise RetryableError(f"Redis is away, and {name} {command[1]!s} cannot be done without it")
    return answer(command)
