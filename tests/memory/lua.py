"""Function libraries as a Redis server runs them: in Lua 5.1, over commands in Python.

``lupa`` brings the interpreter. Of what Redis adds to it there is ``redis.call``,
``redis.register_function``, the part of ``struct`` that the project uses (``<`` and ``>``, unsigned
integers of 1 to 8 bytes, bytes passed over), and ``cmsgpack.unpack``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

import hiredis
import msgspec
from lupa import lua51

from projections.bus import Reply

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_FORMAT = re.compile(r"I(\d)|x")
_TWO_53 = 1 << 53


class Functions:
    """What is loaded into a server.

    Args:
        call: Runs one command for a script.
    """

    def __init__(self, call: Callable[..., Reply]) -> None:
        self._call = call
        self._registered: dict[str, Any] = {}
        self._across: set[str] = set()
        self._lua = lua51.LuaRuntime(
            encoding=None,
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
        )
        self._table = self._lua.table_from
        names = self._lua.globals()
        names[b"redis"] = self._table({b"call": self._run, b"register_function": self._register})
        names[b"cmsgpack"] = self._table({b"unpack": self._unpack_msgpack})
        names[b"struct"] = self._table({b"pack": _pack, b"unpack": _unpack})

    def load(self, source: bytes) -> None:
        """Loads a library, in place of an earlier one."""
        _, _, body = source.partition(b"\n")
        self._lua.execute(b"\n" + body)

    def call(self, name: str, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Reply:
        """Calls a function.

        Raises:
            hiredis.ReplyError: it is not loaded, or it failed.
        """
        function = self._registered.get(name)
        if function is None:
            raise hiredis.ReplyError("ERR Function not found")
        try:
            return self._reply(function(self._table(keys), self._table(arguments)))
        except lua51.LuaError as error:
            raise hiredis.ReplyError(f"ERR {error}") from error

    def _register(self, name: Any, function: Any = None) -> None:
        """Takes a name and a function, or a table that says more."""
        if function is None:
            flags = name[b"flags"]
            name, function = name[b"function_name"], name[b"callback"]
            if b"allow-cross-slot-keys" in flags.values():
                self._across.add(name.decode())
        self._registered[name.decode()] = function

    def crosses_slots(self, name: str) -> bool:
        """Whether a function may read keys of several slots."""
        return name in self._across

    def _run(self, *words: Any) -> Any:
        """A reply as a script sees it: nil is false, a number is a double."""
        reply = self._call(*words)
        if reply is None:
            return False
        if isinstance(reply, list):
            return self._table([False if one is None else one for one in reply])
        return reply

    def _unpack_msgpack(self, data: bytes) -> Any:
        return self._lua_value(msgspec.msgpack.decode(data))

    def _lua_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return self._table([self._lua_value(one) for one in value])
        return value

    def _reply(self, value: Any) -> Reply:
        """A script's value as a client sees it: a table up to its first nil, numbers cut off."""
        if value is None or value is False:
            return None
        if value is True:
            return 1
        if isinstance(value, float):
            return int(value)
        if isinstance(value, int | bytes):
            return value
        found = []
        for at in range(1, len(value) + 1):
            if value[at] is None:
                break
            found.append(self._reply(value[at]))
        return found


@lru_cache(256)
def _struct(form: bytes) -> Struct:
    text = form.decode()
    parts = list(_FORMAT.finditer(text))
    if text[:1] not in "<>" or text[1:] != "".join(part[0] for part in parts):
        raise ValueError(f"struct: a format that is not known here: {text}")
    return Struct(text[0] + "".join(_CODES[int(part[1])] if part[1] else "x" for part in parts))


def _pack(form: bytes, *numbers: float) -> bytes:
    return _struct(form).pack(*map(int, numbers))


def _unpack(form: bytes, data: bytes, first: float = 1) -> tuple[float, ...]:
    layout = _struct(form)
    at = int(first) - 1
    if at + layout.size > len(data):
        raise ValueError("data string too short")
    # Lua knows doubles only: what is above 2^53 loses digits here as it does there.
    found = [n if n < _TWO_53 else float(n) for n in layout.unpack_from(data, at)]
    return (*found, at + layout.size + 1)
