"""A place in the log: which topic, partition and offset an event was appended at.

Keeps true: ``Position.parse(str(position)) == position``. The text form is what a command answers
with (``X-Event-Position``) and what a reader sends back (``X-Wait-For``).
"""

from __future__ import annotations

import re

import msgspec

_TEXT = re.compile(
    r"(?P<topic>[A-Za-z0-9._-]{1,249})/(?P<partition>[0-9]{1,9})@(?P<offset>[0-9]{1,18})"
)


class Position(msgspec.Struct, frozen=True):
    """Where one event is.

    Attributes:
        topic: Logical topic name (no prefix).
        partition: Partition number.
        offset: Kafka offset of the event itself; a reader has applied it when its next offset is
            greater.
    """

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read the text form, such as ``new-tweets/3@1234``.

        Raises:
            ValueError: The text is not a position.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"not a position: {text!r:.80}; one looks like new-tweets/3@1234")
        return cls(match["topic"], int(match["partition"]), int(match["offset"]))
