"""What of timelines can be repaired: a user's ties, and the author timelines that he reads.

Bounded by: as :mod:`infra.repair.targets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from events.slices import LogRecord
from events.types import Event
from infra.demo.convergence import Offsets
from infra.repair.cells import Row, Stored
from infra.repair.log import KeyLog, Place
from infra.repair.rows import Part
from infra.repair.targets import Facts, Keyed, sliced
from projections.timelines import authors, graph
from projections.timelines.layout import CELEBRITY, FOLLOWERS, HOME


class Graph(Keyed):
    """Whom a user follows, blocks and mutes, and who follows and blocks him.

    Others' partitions speak of him as well, so all of the topic is read.
    """

    unit = "timelines"
    topics = ("social-graph",)

    def __init__(self, user_id: int) -> None:
        super().__init__(user_id)
        self.questions = (("timeline", user_id),)

    def places(self, log: KeyLog) -> set[Place]:
        """See :class:`Keyed`."""
        return log.every("social-graph")

    def speaks(self, event: Event) -> bool:
        """See :class:`Keyed`."""
        named = (getattr(event, "user_id", None), getattr(event, "target_user_id", None))
        return self.key in named

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """See :class:`Target`."""
        return (([one], write) for one in records for write in graph.facts(sliced(one)))

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`Target`."""
        tables = ("graph_out", "graph_in")
        mirrored = self._mirrored({key[0] for table, key in rows if table in tables})
        return [Part(table, (("user_id", self.key),)) for table in tables] + mirrored

    def also(self, stored: Stored) -> list[Part]:
        """See :class:`Target`: the same ties, kept with those on the other side."""
        return self._mirrored(
            {key[1] for table, key in stored if table in ("graph_out", "graph_in")}
        )

    def _mirrored(self, others: set[int]) -> list[Part]:
        parts: list[Part] = []
        for other in others - {self.key}:
            parts.append(Part("graph_out", (("user_id", other), ("other_id", self.key))))
            parts.append(Part("graph_in", (("user_id", other), ("follower_id", self.key))))
        return parts

    def follows(self, rows: Iterable[Row]) -> set[tuple[int, int]]:
        """Returns who is followed by whom in rows: what chunks of followers are drawn from."""
        pairs = {"graph_in": slice(None), "graph_out": slice(None, None, -1)}
        found = (key[pairs[table]] for table, key in rows if table in pairs)
        return {(int(followed), int(follower)) for followed, follower in found}

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`Target`; what is drawn from the ties of those on the other side, too."""
        people = {int(one) for table, key in stored if table.startswith("graph") for one in key}
        kinds = ("relations", FOLLOWERS, "follower_count")
        found = [(kind, user) for user in {int(self.key), *people} for kind in kinds]
        return [*found, (HOME, int(self.key))]


class Posted(Keyed):
    """The author timelines that a user's home timeline is drawn from, and what they retweet."""

    unit = "timelines"
    topics = ("new-tweets",)

    def __init__(self, user_id: int, authors_read: Iterable[int]) -> None:
        super().__init__(user_id)
        self.words = f"timeline {user_id}"
        self.questions = (("timeline", user_id),)
        self._authors = {user_id, *authors_read}

    def places(self, log: KeyLog) -> set[Place]:
        """See :class:`Keyed`."""
        return log.places("new-tweets", self._authors)

    def speaks(self, event: Event) -> bool:
        """See :class:`Keyed`."""
        return getattr(event, "user_id", None) in self._authors

    def facts(self, records: Sequence[LogRecord], stored: Stored, ends: Offsets) -> Facts:
        """See :class:`Target`."""
        return (([one], write) for one in records for write in authors.facts(sliced(one)))

    def parts(self, rows: Iterable[Row]) -> list[Part]:
        """See :class:`Target`."""
        names = ("tweet_id", "author_id", "retweet_id")
        retweets = (key for table, key in rows if table == "retweets")
        return [
            *(Part("author_tweets", (("author_id", author),)) for author in self._authors),
            *(Part("retweets", tuple(zip(names, key, strict=True))) for key in retweets),
        ]

    def also(self, stored: Stored) -> list[Part]:
        """See :class:`Target`: the retweets that the rows name."""
        named = {
            (cells["retweet_of_id"].value, key[0])
            for (table, key), cells in stored.items()
            if table == "author_tweets" and "retweet_of_id" in cells
        }
        return [
            Part("retweets", (("tweet_id", original), ("author_id", author)))
            for original, author in named
            if original
        ]

    def caches(self, stored: Stored) -> list[tuple[str, int]]:
        """See :class:`Target`."""
        return [(HOME, int(self.key)), *((CELEBRITY, author) for author in self._authors)]
