"""Searches under faults: both tiers, alone and blended, counts and people equal the oracle's.

The real-time tier is small, so that part of what was posted is in the archive alone. The tables are
of this run alone: an index begins above all ids that its tables have heard of.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator
from random import Random

from events.slices import LogRecord
from events.snowflake import time_of
from events.types import TweetPosted
from infra.demo.searching import queries
from projections.search.archive import ArchiveReader, all_of
from projections.search.part import NEWEST
from projections.search.people import PeopleReader, words_asked
from projections.search.program import Program, bounds, compiled, names_in
from projections.search.query.parse import parse
from projections.search.query.tree import Node
from projections.search.read import SearchReader
from projections.search.recent import RecentReader
from projections.search.unit import NAME
from tests.faults.models import Compared, Model
from tests.faults.world import World
from tests.oracle import Oracle
from tests.oracle_search import WIDTHS_MS, SearchOracle

PAGE = 50
ASKED = 24
"""Queries of what was said; of every kind of operator there are as many as `of_every_kind` has."""

PEOPLE = 20
ARCHIVE_S = 60.0
PEOPLE_MAX = 10_000


class Search:
    """The readers, and the oracle of what they read."""

    def __init__(self, here: World, history: list[LogRecord]) -> None:
        on = here.on
        keys, store = on.keys(NAME), on.store_of(NAME)
        self.facts = Oracle(history)
        self.oracle = SearchOracle(history, self.facts.holder)
        self.blended = SearchReader(on.bus, store, keys, archive_seconds=ARCHIVE_S)
        self.recent = RecentReader(on.bus, keys)
        self.archive = ArchiveReader(store)
        self.people = PeopleReader(store)
        self.recent_found = self.older_found = 0

    def program(self, query: Node) -> Program:
        return compiled(query, {name: self.facts.holder(name) for name in names_in(query)})

    async def differences(self, text: str) -> list[str]:
        """Asks a query of both tiers and of the blender."""
        query = parse(text)
        program = self.program(query)
        expected = self.oracle.search(query)
        recent, border = await self._recent(program)
        archived = await all_of(self.archive, program)
        self.recent_found += len(recent)
        self.older_found += len(expected) - len(recent)
        found: dict[str, tuple[Collection[int], Collection[int]]] = {
            "blended": (await self._blended(program), expected),
            "real-time": (recent, [one for one in expected if one >= border]),
            "archive": (archived, expected),
        }
        for name, width in WIDTHS_MS.items():
            counted = Counter(time_of(one) // width * width for one in expected)
            found[f"by {name}"] = (await self._counts(program, width), dict(counted))
        return [
            f"{how}: {text!r}: {len(right)} expected, {len(seen)} found"
            for how, (seen, right) in found.items()
            if seen != right
        ]

    async def _blended(self, program: Program) -> list[int]:
        found: list[int] = []
        below = NEWEST
        while below:
            page = await self.blended.find(program, below, PAGE)
            assert not page.recent_only
            found += page.ids
            below = page.floor
        return found

    async def _recent(self, program: Program) -> tuple[list[int], int]:
        above, below = bounds(program)
        found: list[int] = []
        border = 0
        while below > max(border, above + 1):
            part, border = await self.recent.find(program, below, above, PAGE)
            ids = part.first(PAGE)
            found += ids.ids
            below = ids.floor
        return [one for one in found if one >= border], border

    async def _counts(self, program: Program, width_ms: int) -> dict[int, int]:
        found: Counter[int] = Counter()
        below = NEWEST
        while below:
            part = await self.blended.count(program, width_ms, below)
            assert not part.recent_only
            found.update(part.by_start)
            below = part.floor
        return dict(found)

    async def people_different(self, typed: str) -> list[str]:
        """Looks for people by the beginning of a name."""
        found = await self.people.starting_with(words_asked(typed), PEOPLE_MAX)
        right = sorted(self.oracle.people(typed))
        return [] if sorted(found) == right else [f"people: {typed!r}: {right}, {found} found"]


def of_every_kind(chance: Random, tweets: list[TweetPosted], names: list[str]) -> Iterator[str]:
    """Queries, one at least of every operator, of what some tweets say."""
    worded = [tweet for tweet in tweets if sum(map(str.isalpha, tweet.text.split())) > 1]
    answers = [tweet for tweet in tweets if tweet.reply_to_id]
    tweet, other = chance.sample(worded, 2)
    word, further = chance.sample([part for part in tweet.text.split() if part.isalpha()], 2)
    name = chance.choice(names)
    low, high = sorted((tweet.tweet_id, other.tweet_id))
    yield from (
        f"from:{name}",
        f"from:{name} is:retweet",
        f"from:{name} -is:reply",
        f"to:{name}",
        f"@{name}",
        f"conversation_id:{chance.choice(answers).conversation_id}",
        f"{word} lang:{tweet.lang}",
        f"{word} is:reply",
        f"{word} is:quote",
        f"{word} has:hashtags",
        f"{word} has:links OR {further} has:mentions",
        f"{word} since_id:{low} until_id:{high}",
        f"({word} OR {further}) -from:{name}",
        "#football OR #monday",
    )


async def look(here: World) -> None:
    """Asks both tiers for somebody's tweets, and the real-time tier for a word."""
    on = here.on
    reader = SearchReader(on.bus, on.store_of(NAME), on.keys(NAME))
    people = here.appender.simulation.people
    user = people[int(time.monotonic()) % len(people)]
    for text in (f"from:{user.username}", "train"):
        query = parse(text)
        program = compiled(query, dict.fromkeys(names_in(query), user.user_id))
        await reader.find(program, NEWEST, PAGE)


async def compare(here: World, chance: Random) -> Compared:
    """Queries of every kind, and names, against the oracle."""
    ends = await here.view.ends(["new-tweets", "users", "usernames"])
    history = [record async for record in here.view.records({}, ends)]
    search = Search(here, history)
    standing = search.oracle.standing()
    people = here.appender.simulation.people
    names = [person.username for person in people]
    said = queries([tweet.text for tweet in standing], names, chance)
    asked = [text for text, _ in zip(said, range(ASKED), strict=False)]
    lines: list[str] = []
    for text in (*of_every_kind(chance, standing, names), *asked):
        lines += await search.differences(text)
    for person in chance.sample(people, PEOPLE):
        for typed in (person.username[: chance.randrange(2, 6)], person.name):
            lines += await search.people_different(typed)
    assert search.recent_found and search.older_found, "a tier that found nothing shows nothing"
    return search.recent_found + search.older_found, lines


MODEL = Model(
    NAME,
    look,
    compare,
    chosen={"search_segment_tweets": 15, "search_segments": 2},
    alone=True,
)
