"""How the test files are shared out among the processes of a run (``pytest -n``).

Keeps true: the end-to-end tests run in one process, whatever else does, since the first of them in
each process starts a whole system that lives until the end of the run.
"""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadFileScheduling

ONE_SYSTEM: Final = "tests/end_to_end/"


class Lanes(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """A file is done by one process; the end-to-end tests are all as of one file."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ONE_SYSTEM):
            return ONE_SYSTEM
        scope: str = super()._split_scope(nodeid)
        return scope
