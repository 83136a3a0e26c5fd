"""What a demo found, for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from infra.demo.rebuilding import Rebuilt


class Summary(msgspec.Struct, kw_only=True):
    """The result of a run.

    Attributes:
        events: Events appended.
        deliveries: Tweets pushed into followers' home timelines.
        seconds: Length of the simulation, from the first event to lag zero.
        lag: Events that units had still to apply when timelines were compared; 0.
        timelines_checked: Home timelines read over HTTP, all pages, and compared with the oracle.
        timelines_different: How many of them differ.
        tweets_compared: Entries in the timelines compared.
        counts_checked: Tweets whose five counts were read over HTTP and compared with the oracle.
        counts_different: How many of them differ.
        searches_checked: Searches read over HTTP, all pages, and compared with the oracle.
        searches_different: How many of them differ.
        searched_tweets: Tweets that the compared searches find, by the oracle.
        notifications_checked: Users whose notifications were read over HTTP, all pages, and
            compared with the oracle.
        notifications_different: How many of them differ.
        trends_checked: Answers of ``GET /api/trends`` compared with the oracle, each of a window.
        trends_different: How many of them differ.
        trends_found: Trends in them.
        events_per_second: ``events`` by ``seconds``.
        deliveries_per_second: ``deliveries`` by ``seconds``.
        seconds_to_lag_zero: From the last event until every unit had applied it.
        reads: Pages of home timelines read over HTTP while the simulation ran.
        read_failures: Reads that got no page.
        read_p50_ms: Median time of a read while the simulation ran.
        read_p99_ms: 99th percentile of it.
        searches: Searches read over HTTP while the simulation ran.
        search_p50_ms: Median time of one.
        search_p99_ms: 99th percentile of it.
        rebuilt: What became of the projection that was rebuilt at the end.
        users: Size of the population.
        seed: Of the population.
    """

    events: int
    deliveries: int
    seconds: float
    lag: int
    timelines_checked: int
    timelines_different: int
    tweets_compared: int
    counts_checked: int
    counts_different: int
    searches_checked: int
    searches_different: int
    searched_tweets: int
    notifications_checked: int
    notifications_different: int
    trends_checked: int
    trends_different: int
    trends_found: int
    events_per_second: float
    deliveries_per_second: float
    seconds_to_lag_zero: float
    reads: int
    read_failures: int
    read_p50_ms: float | None
    read_p99_ms: float | None
    searches: int
    search_p50_ms: float | None
    search_p99_ms: float | None
    rebuilt: Rebuilt
    users: int
    seed: int

    @property
    def is_different(self) -> bool:
        """Whether anything that was compared differs."""
        compared = (
            *(self.timelines_different, self.counts_different, self.searches_different),
            *(self.notifications_different, self.trends_different, self.rebuilt.keys_different),
        )
        return any(compared)

    def write(self, path: Path) -> None:
        """Write it as one JSON object."""
        path.write_text(json.dumps(msgspec.to_builtins(self), indent=2) + "\n")

    def words(self) -> list[str]:
        """A few lines for people."""
        p50, p99 = self.read_p50_ms or 0.0, self.read_p99_ms or 0.0
        verdict = (
            f"{self.timelines_different} of {self.timelines_checked} home timelines DIFFER"
            if self.timelines_different
            else f"all {self.timelines_checked} home timelines equal the oracle's"
        )
        counts = (
            f"{self.counts_different} of {self.counts_checked} tweets' counts DIFFER"
            if self.counts_different
            else f"likes, views, replies, retweets and quotes of all {self.counts_checked} tweets "
            f"looked at equal the oracle's"
        )
        searched = (
            f"{self.searches_different} of {self.searches_checked} searches DIFFER"
            if self.searches_different
            else f"all {self.searches_checked} searches equal the oracle's"
        )
        s50, s99 = self.search_p50_ms or 0.0, self.search_p99_ms or 0.0
        return [
            f"{self.events:,} events ({self.events_per_second:,.0f}/s) and {self.deliveries:,} "
            f"deliveries ({self.deliveries_per_second:,.0f}/s) in {self.seconds:.1f} s",
            f"lag zero {self.seconds_to_lag_zero:.1f} s after the last event",
            f"{self.reads:,} home pages read over HTTP meanwhile: p50 {p50:.1f} ms, "
            f"p99 {p99:.1f} ms, {self.read_failures} failed",
            f"{verdict} ({self.tweets_compared:,} entries, every page)",
            counts,
            f"{searched} ({self.searched_tweets:,} tweets found, every page; "
            f"{self.searches:,} searches meanwhile: p50 {s50:.1f} ms, p99 {s99:.1f} ms)",
            f"notifications of {self.notifications_different} of {self.notifications_checked} "
            f"users DIFFER"
            if self.notifications_different
            else f"notifications of all {self.notifications_checked} users looked at equal the "
            f"oracle's, their order, counts and names",
            f"{self.trends_different} of {self.trends_checked} answers about trends DIFFER"
            if self.trends_different
            else f"all {self.trends_checked} answers about trends ({self.trends_found:,} trends) "
            f"equal the oracle's",
            self.rebuilt.words(),
        ]
