"""A Redis in memory: the commands that this project uses, its functions, expiry and slots.

The project's own Lua runs, in Lua 5.1, the interpreter inside Redis and Valkey (:mod:`.lua`). As a
cluster does, it refuses keys of several slots in one command or script.

What it does not have: persistence, memory, other databases. Time is its own and stands still until
it is told to go on, so that what expires is a test's decision.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import hiredis

from projections.bus import Argument, Command, Reply
from projections.keys import slot_of
from tests.memory.lua import Functions

Value: TypeAlias = bytes | dict[bytes, bytes] | set[bytes]


class Snapshot:
    """What a Redis held at a moment."""

    def __init__(self, values: dict[bytes, Value], expiry: dict[bytes, int]) -> None:
        self.values = values
        self.expiry = expiry


class Redis:
    """The server."""

    def __init__(self) -> None:
        self.values: dict[bytes, Value] = {}
        self.expiry: dict[bytes, int] = {}
        self.now_ms = 0
        self._slot: int | None = None
        self._across = False
        self._functions = Functions(self._from_script)
        self._commands: dict[str, Callable[[list[bytes]], Any]] = {
            name[1:].upper(): getattr(self, name)
            for name in dir(self)
            if name.startswith("_") and name[1:] in _KEYS
        }

    # --- the operator's side ---

    def forward(self, milliseconds: int) -> None:
        """Lets time pass."""
        self.now_ms += milliseconds

    def evict(self, keys: Iterable[bytes]) -> None:
        """Drops keys that have an expiry, as a server that is full does."""
        for key in keys:
            if key in self.expiry:
                self._drop(key)

    def flush(self) -> None:
        """Comes back empty."""
        self.values.clear()
        self.expiry.clear()

    def snapshot(self) -> Snapshot:
        """Returns what is held now."""
        return Snapshot(copy.deepcopy(self.values), dict(self.expiry))

    def restore(self, past: Snapshot, lost: Callable[[bytes], bool] = lambda _key: True) -> None:
        """Goes back to what was held then, of those keys that were lost."""
        for key in [key for key in self.values if lost(key)]:
            self._drop(key)
        for key, value in past.values.items():
            if lost(key):
                self.values[key] = copy.deepcopy(value)
                if key in past.expiry:
                    self.expiry[key] = past.expiry[key]

    # --- commands ---

    def run(self, command: Command) -> Reply:
        """Runs one command; a refusal is returned, as a :class:`hiredis.ReplyError`."""
        words = [_bytes(word) for word in command]
        try:
            self._slot = None
            return self._run(words)
        except hiredis.ReplyError as refusal:
            return refusal

    def _run(self, words: list[bytes]) -> Reply:
        name, arguments = words[0].decode().upper(), words[1:]
        if name in ("FCALL", "FCALL_RO"):
            return self._fcall(arguments)
        if name == "FUNCTION":
            self._functions.load(arguments[-1])
            return b"OK"
        run = self._commands.get(name)
        if run is None:
            raise hiredis.ReplyError(f"ERR unknown command '{name}'")
        self._touch(arguments[:1] if _KEYS[name.lower()] == 1 else arguments)
        return run(arguments)

    def _fcall(self, arguments: list[bytes]) -> Reply:
        number = int(arguments[1])
        keys = arguments[2 : 2 + number]
        self._touch(keys)
        name = arguments[0].decode()
        self._across = self._functions.crosses_slots(name)
        try:
            return self._functions.call(name, keys, arguments[2 + number :])
        finally:
            self._across = False

    def _from_script(self, *words: Argument) -> Reply:
        return self._run([_bytes(word) for word in words])

    def _touch(self, keys: Sequence[bytes]) -> None:
        """Refuses keys of several slots, and lets go what has expired."""
        for key in keys:
            slot = _slot(key)
            if self._slot is None:
                self._slot = slot
            elif slot != self._slot and not self._across:
                raise hiredis.ReplyError("CROSSSLOT Keys in request don't hash to the same slot")
            if self.expiry.get(key, self.now_ms + 1) <= self.now_ms:
                self._drop(key)

    def _drop(self, key: bytes) -> int:
        self.expiry.pop(key, None)
        return int(self.values.pop(key, None) is not None)

    def _held(self, key: bytes, kind: type[Any]) -> Any:
        value = self.values.get(key)
        if value is not None and not isinstance(value, kind):
            raise hiredis.ReplyError(
                "WRONGTYPE Operation against a key holding the wrong kind of value"
            )
        return value

    def _made(self, key: bytes, kind: type[Any]) -> Any:
        value = self._held(key, kind)
        if value is None:
            value = self.values[key] = kind()
        return value

    def _get(self, words: list[bytes]) -> Reply:
        return self._held(words[0], bytes)

    def _set(self, words: list[bytes]) -> Reply:
        key, value, options = words[0], words[1], [word.upper() for word in words[2:]]
        old = self._held(key, bytes) if b"GET" in options else None
        if b"NX" in options and key in self.values:
            return old
        if b"KEEPTTL" not in options:
            self.expiry.pop(key, None)
        self.values[key] = value
        if b"PX" in options:
            self.expiry[key] = self.now_ms + int(options[options.index(b"PX") + 1])
        return old if b"GET" in options else b"OK"

    def _setnx(self, words: list[bytes]) -> Reply:
        if words[0] in self.values:
            return 0
        self.values[words[0]] = words[1]
        return 1

    def _setrange(self, words: list[bytes]) -> Reply:
        value, at, part = self._held(words[0], bytes) or b"", int(words[1]), words[2]
        value = value.ljust(at, b"\0")
        self.values[words[0]] = value[:at] + part + value[at + len(part) :]
        return len(self.values[words[0]])

    def _mget(self, words: list[bytes]) -> Reply:
        values = (self.values.get(key) for key in words)
        return [value if isinstance(value, bytes) else None for value in values]

    def _del(self, words: list[bytes]) -> Reply:
        return sum(self._drop(key) for key in words)

    _unlink = _del

    def _exists(self, words: list[bytes]) -> Reply:
        return sum(key in self.values for key in words)

    def _append(self, words: list[bytes]) -> Reply:
        self.values[words[0]] = (self._held(words[0], bytes) or b"") + words[1]
        return len(self.values[words[0]])

    def _strlen(self, words: list[bytes]) -> Reply:
        return len(self._held(words[0], bytes) or b"")

    def _getrange(self, words: list[bytes]) -> Reply:
        value, first, last = self._held(words[0], bytes) or b"", int(words[1]), int(words[2])
        if first < 0 or last < 0:
            raise hiredis.ReplyError("ERR offsets from the end are not known here")
        return value[first : last + 1]

    def _pexpire(self, words: list[bytes]) -> Reply:
        if words[0] not in self.values:
            return 0
        self.expiry[words[0]] = self.now_ms + int(words[1])
        return 1

    def _hget(self, words: list[bytes]) -> Reply:
        return (self._held(words[0], dict) or {}).get(words[1])

    def _hset(self, words: list[bytes]) -> Reply:
        fields = self._made(words[0], dict)
        before = len(fields)
        fields.update(zip(words[1::2], words[2::2], strict=True))
        return len(fields) - before

    def _hsetnx(self, words: list[bytes]) -> Reply:
        fields = self._made(words[0], dict)
        if words[1] in fields:
            return 0
        fields[words[1]] = words[2]
        return 1

    def _hdel(self, words: list[bytes]) -> Reply:
        fields = self._held(words[0], dict) or {}
        gone = sum(fields.pop(field, None) is not None for field in words[1:])
        return self._unless_empty(words[0], gone)

    def _hlen(self, words: list[bytes]) -> Reply:
        return len(self._held(words[0], dict) or ())

    def _hgetall(self, words: list[bytes]) -> Reply:
        fields = self._held(words[0], dict) or {}
        return [part for pair in fields.items() for part in pair]

    def _sadd(self, words: list[bytes]) -> Reply:
        members = self._made(words[0], set)
        before = len(members)
        members.update(words[1:])
        return len(members) - before

    def _srem(self, words: list[bytes]) -> Reply:
        members = self._held(words[0], set) or set()
        before = len(members)
        members.difference_update(words[1:])
        return self._unless_empty(words[0], before - len(members))

    def _scard(self, words: list[bytes]) -> Reply:
        return len(self._held(words[0], set) or ())

    def _unless_empty(self, key: bytes, gone: int) -> int:
        if gone and not self.values[key]:
            self._drop(key)
        return gone


_ONE_KEY = (
    "get set setnx setrange append strlen getrange pexpire hget hset hsetnx hdel hlen hgetall "
    "sadd srem scard"
)
_KEYS = {
    **dict.fromkeys(("mget", "del", "unlink", "exists"), -1),
    **dict.fromkeys(_ONE_KEY.split(), 1),
}
"""The commands, and how many of their arguments are keys (-1: all)."""

_slots: dict[bytes, int] = {}


def _slot(key: bytes) -> int:
    """Returns the slot of a key; hash tags are few."""
    tag = key[key.find(b"{") + 1 : key.find(b"}")] if b"{" in key else b""
    if not tag:
        return slot_of(key)
    found = _slots.get(tag)
    if found is None:
        found = _slots[tag] = slot_of(key)
    return found


def _bytes(word: Argument) -> bytes:
    if isinstance(word, bytes):
        return word
    if isinstance(word, str):
        return word.encode()
    if isinstance(word, float) and word.is_integer():
        return b"%d" % int(word)
    return repr(word).encode() if isinstance(word, float) else b"%d" % word
