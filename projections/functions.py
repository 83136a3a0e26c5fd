"""Server-side functions, named by their content.

A server keeps the functions that were loaded into it, over restarts and releases. A name that
carries a digest of the source makes every release call its own: workers and gateways of two
releases run side by side, and none ever calls a function that its own source does not show. What is
missing on a node is loaded when a call finds it missing (:class:`projections.bus.RedisBus`).
"""

from __future__ import annotations

import hashlib
from importlib.resources import files

VERSION_MARK = "@VERSION@"


class Library:
    """One Lua library of this package.

    Args:
        paths: Its files, relative to ``projections``, which become one. They say ``@VERSION@``
            wherever a name of the library or of a function ends.
    """

    def __init__(self, *paths: str) -> None:
        text = "".join(files("projections").joinpath(path).read_text() for path in paths)
        self._version = hashlib.sha256(text.encode()).hexdigest()[:8]
        self.source = text.replace(VERSION_MARK, self._version)

    def name(self, function: str) -> str:
        """Returns the name to call a function by.

        Raises:
            ValueError: the library registers no such function.
        """
        name = f"{function}_{self._version}"
        if f"'{name}'" not in self.source:
            raise ValueError(f"no function {function!r} is registered in this library")
        return name


EFFECTS = Library("effects.lua")
"""Effects of slices, leases and marked timelines."""
