"""Events that are nothing but integers, decoded many at a time.

fastavro reads a long byte by byte, each through a Python call: 3 µs for a like. Likes, unlikes and
views are the most frequent events by far, and all alike: five variable-length integers that, being
Snowflake ids and times, have the same lengths in nearly all of them.

How a group of bodies of one schema and one length is decoded
1. The first body says where its integers lie: its *layout*.
2. ``CHUNK`` bodies are joined and read as one large integer. One AND and one comparison say whether
   all of them have this layout, choose the same branches, and have no negative number.
3. Avro writes seven bits to a byte. Four steps of masking and shifting close the gaps between them,
   pairs of 7 bits to 14, of 14 to 28, and so on, in all integers of all bodies at once.
4. ``struct`` takes the integers out, and a function made for the layout builds the events: given by
   name, one by one, their fields would cost more than all of the above.

Keeps true: what comes out is what decoding one by one gives. Where step 2 says no, nothing comes
out, and the caller decodes one by one.

Bounded by: ``LAYOUTS_MAX`` layouts a schema; a layout keeps about 20 masks of ``CHUNK`` bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from struct import Struct
from typing import Any, NamedTuple

from schemas.catalog import AvroSchema

CHUNK = 128
"""Bodies in one large integer: about 5 KB, so that the masks stay in the processor's cache."""

LAYOUTS_MAX = 32
LENGTH_MAX = 9
"""Bytes of one integer: 63 bits. Longer ones are written for negative or enormous numbers."""

STEPS = range(4)
_CONTINUED = 0x80
_OPTIONAL = ["null", "long"]
_WORDS = ((8, "Q"), (4, "I"), (2, "H"), (1, "B"))

Build = Callable[[Iterable[Any]], list[Any]]
"""Makes events of rows of words."""


class Integers:
    """Decodes bodies of one schema whose fields are all ``long``, or ``long`` or null.

    Args:
        kind: Struct that is made of them; its optional fields default to None.
        schema: What wrote them, with the same fields as ``kind``; see :meth:`suits`.
    """

    def __init__(self, kind: type[Any], schema: AvroSchema) -> None:
        self._kind = kind
        self._fields = [(f["name"], f["type"] == _OPTIONAL) for f in schema["fields"]]
        self._layouts: dict[int, _Layout] = {}

    @staticmethod
    def suits(schema: AvroSchema) -> bool:
        """Whether all fields are integers; the schema is without docs and logical types."""
        return all(f["type"] in ("long", {"type": "long"}, _OPTIONAL) for f in schema["fields"])

    def decode(self, bodies: Sequence[bytes]) -> list[Any] | None:
        """The events of bodies of one length, in order; None where they are not all alike."""
        layout = self._layouts.get(len(bodies[0]))
        if layout is None or not layout.fits(bodies[0]):
            places = _places(self._fields, bodies[0])
            if places is None:
                return None
            if len(self._layouts) >= LAYOUTS_MAX:
                self._layouts.clear()
            layout = self._layouts[len(bodies[0])] = _Layout(self._kind, places)
        return layout.decode(bodies)


class _Place(NamedTuple):
    """Where something lies in a body; without a name it is a branch, one byte of that value."""

    name: str
    length: int
    branch: int = 0


def _places(fields: Sequence[tuple[str, bool]], body: bytes) -> list[_Place] | None:
    """The places of one body, one after the other; None where it is none of this module's."""
    places: list[_Place] = []
    at = 0
    for name, optional in fields:
        if optional:
            branch = body[at] if at < len(body) else 1
            if branch not in (0, 2):  # the zigzag of 0, null, and of 1, long
                return None
            places.append(_Place("", 1, branch))
            at += 1
            if branch == 0:
                continue
        begin = at
        while at < len(body) and body[at] & _CONTINUED:
            at += 1
        at += 1
        if at > len(body) or at - begin > LENGTH_MAX:
            return None
        places.append(_Place(name, at - begin))
    return places if at == len(body) else None


class _Layout:
    """Decodes bodies whose integers lie alike."""

    def __init__(self, kind: type[Any], places: Sequence[_Place]) -> None:
        check, expect, seven = bytearray(), bytearray(), bytearray()
        high = [bytearray() for _ in STEPS]
        for name, length, branch in places:
            last = length - 1
            if not name:
                check.append(0xFF)
                expect.append(branch)
            for n in range(length) if name else ():
                check.append(_CONTINUED | (n == 0))  # in the first byte, the sign
                expect.append(_CONTINUED * (n < last))
            seven += bytes([0x7F * bool(name)]) * length
            for step in STEPS:
                high[step] += bytes(0xFF * (n >> step & 1) for n in range(length))
        self._size = len(check) * CHUNK
        self._one = int.from_bytes(check, "little"), int.from_bytes(expect, "little")
        self._check, self._expect, self._seven = _many(check), _many(expect), _many(seven)
        self._high = [_many(mask) for mask in high]
        self._struct, self._build = _builder(kind, places)

    def fits(self, body: bytes) -> bool:
        """Whether a body of the same length has this layout."""
        check, expect = self._one
        return int.from_bytes(body, "little") & check == expect

    def decode(self, bodies: Sequence[bytes]) -> list[Any] | None:
        """The event of each body; None where one of them has another layout."""
        joined = b"".join([*bodies, *repeat(bodies[0], -len(bodies) % CHUNK)])
        parts: list[bytes] = []
        for begin in range(0, len(joined), self._size):
            number = int.from_bytes(joined[begin : begin + self._size], "little")
            if number & self._check != self._expect:
                return None
            number &= self._seven
            for step, mask in zip(STEPS, self._high, strict=True):
                high = number & mask
                number = (number ^ high) | (high >> (1 << step))
            # Half of the zigzag is the number: none is negative.
            parts.append((number >> 1).to_bytes(self._size, "little"))
        return self._build(self._struct.iter_unpack(b"".join(parts)))[: len(bodies)]


def _builder(kind: type[Any], places: Sequence[_Place]) -> tuple[Struct, Build]:
    """What cuts a body into words, and what makes an event of them."""
    form, words, arguments = "<", 0, []
    for name, length, _ in places:
        if not name:
            form += "x"
            continue
        terms, at = [], 0
        for size, letter in _WORDS:
            if at + size <= min(length, 8):
                form += letter
                terms.append(f"w{words} << {8 * at}" if at else f"w{words}")
                words, at = words + 1, at + size
        form += "x" * (length - at)  # of nine bytes the last is empty by now
        arguments.append(f"{name}={' | '.join(terms)}")
    names = "".join(f"w{n}, " for n in range(words))
    source = f"lambda rows: [kind({', '.join(arguments)}) for {names} in rows]"
    # Names are fields of a published schema, which Avro has identifiers of.
    build: Build = eval(source, {"kind": kind})
    return Struct(form), build


def _many(mask: bytearray) -> int:
    return int.from_bytes(bytes(mask) * CHUNK, "little")
