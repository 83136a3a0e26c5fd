"""The search unit under the contract: both tiers as the blender answers from them, and names."""

from __future__ import annotations

from random import Random
from typing import Any

from events.types import ProfileChanged, TweetDeleted, TweetPosted, UserRegistered
from projections.base import Unit
from projections.search.archive import ArchiveReader
from projections.search.layout import Window, document
from projections.search.part import NEWEST
from projections.search.people import PeopleReader, words_asked
from projections.search.program import compiled, names_in
from projections.search.query import tree
from projections.search.query.parse import parse
from projections.search.query.tree import Node
from projections.search.read import SearchReader
from projections.search.unit import Search
from tests.contracts.case import UnitCase, World
from tests.contracts.history import LogBuilder
from tests.oracle import LogRecord
from tests.oracle_search import SearchOracle
from tests.posts import post

PARTITIONS = 3
AUTHORS = 6
TWEETS = 40
SPAN_BITS = 4  # spans of sixteen ids: a reader goes through many
FEW = 2
WINDOW = Window(tweets=1, segments=2)  # so that some tweets are in the archive alone
PAGE = 3
MINUTE_MS = 60_000
WORDS = ("cat", "cats", "dog", "running", "the", "die", "hard", "#tag", "@ann", "花火大会", "🎉")
LANGUAGES = ("en", "de", "ja", None)
QUERIES = (
    "cat",
    "cat dog",
    "cat OR dog",
    "cat -dog",
    "the cat",
    "die hard",
    '"the cat"',
    '"die hard" OR #tag',
    "花火",
    "from:u1",
    "from:u2 (cat OR dog) -is:reply",
    "to:u1",
    "cat lang:en",
    "cat has:hashtags",
    "run -(die hard)",
    "nobody",
    "from:nobody",
)


class SearchCase(UnitCase):
    """Posts in several languages, replies, quotes, retweets; deletions and repeated posts."""

    name = "search"

    def unit(self, world: World) -> Unit:
        keys = world.keys(self.name)
        return Search(world.bus, world.store, keys, WINDOW, span_bits=SPAN_BITS, few=FEW)

    def write(self, log: LogBuilder, rng: Random, base: int) -> None:
        _write_people(log, rng, base)
        posted: list[TweetPosted] = []
        for number in range(TWEETS):
            tweet = _post(rng, base, number, posted)
            partition = tweet.user_id % PARTITIONS
            if rng.random() < 0.1:  # a deletion that came first
                log.append("new-tweets", partition, _deletion(tweet, tweet.user_id))
            posted.append(tweet)
            log.append("new-tweets", partition, tweet)
            if rng.random() < 0.2:  # the same id once more: the first counts
                again = _post(rng, base, number, posted, tweet.user_id)
                log.append("new-tweets", partition, again)
            if rng.random() < 0.3:
                gone = rng.choice(posted)
                log.append("new-tweets", gone.user_id % PARTITIONS, _deletion(gone, gone.user_id))
            if rng.random() < 0.3:  # by somebody else: changes nothing
                kept = rng.choice(posted)
                other = kept.user_id + 1
                log.append("new-tweets", other % PARTITIONS, _deletion(kept, other))
            if rng.random() < 0.2:  # a producer's retry
                log.append("new-tweets", partition, tweet)

    async def seen(self, world: World, history: list[LogRecord]) -> Any:
        archive = ArchiveReader(world.store, spans_max=3, postings_max=4, span_bits=SPAN_BITS)
        keys = world.keys(self.name)
        reader = SearchReader(world.bus, world.store, keys, archive=archive, archive_seconds=30.0)
        holders = _holders(history)
        found: dict[str, Any] = {}
        for text, query in _queries(history).items():
            program = compiled(query, {name: holders.get(name) for name in names_in(query)})
            ids: list[int] = []
            below = NEWEST
            while below:
                page = await reader.find(program, below, PAGE)
                assert not page.recent_only
                assert page.floor < below
                ids += page.ids
                below = page.floor
            counts: dict[int, int] = {}
            below = NEWEST
            while below:
                part = await reader.count(program, MINUTE_MS, below)
                assert part.floor < below
                for start, number in part.by_start.items():
                    counts[start] = counts.get(start, 0) + number
                below = part.floor
            found[text] = ids, counts
        people = PeopleReader(world.store)
        for asked in _names(history):
            found[asked] = sorted(await people.starting_with(words_asked(asked), 1000))
        return found

    def expected(self, history: list[LogRecord]) -> Any:
        oracle = SearchOracle(history, _holders(history).get)
        expected: dict[str, Any] = {
            text: (oracle.search(query), oracle.counts(query, MINUTE_MS))
            for text, query in _queries(history).items()
        }
        for asked in _names(history):
            expected[asked] = sorted(oracle.people(asked))
        return expected

    async def size(self, world: World, history: list[LogRecord]) -> int:
        """Documents, and terms of posts: by a slice that comes again, one that was rare the first
        time is written by span too, and then stands in two rows, never in more."""
        tweets = (record.event for record in history if record.topic == "new-tweets")
        ids = sorted({event.tweet_id for event in tweets})  # type: ignore[attr-defined]
        documents = await world.store.execute_in(
            "SELECT tweet_id FROM {documents} WHERE tweet_id IN ?", ids
        )
        partitions = _partitions(history)
        postings: set[tuple[str, int, int]] = set()
        for term, span in partitions:
            rows = await world.store.execute(
                "SELECT tweet_id, author_id FROM {postings} WHERE term = ? AND span = ?",
                (term, span),
            )
            postings |= {(term, *row) for row in rows if row[0] in ids}
        for term in {term for term, _ in partitions}:
            rows = await world.store.execute(
                "SELECT tweet_id, author_id FROM {rare_postings} WHERE term = ?", (term,)
            )
            postings |= {(term, *row) for row in rows if row[0] in ids}
        return len(documents) + len(postings)

    def size_max(self, history: list[LogRecord]) -> int:
        """A document for each tweet and who speaks of it, and a row for each term of a post."""
        documents: set[tuple[int, int]] = set()
        postings = 0
        for record in history:
            event: Any = record.event
            if record.topic == "users":
                continue
            documents.add((event.tweet_id, event.user_id))
            if isinstance(event, TweetPosted):
                postings += len({term for term, _ in document(event, 0).terms})
        return len(documents) + postings


def _queries(history: list[LogRecord]) -> dict[str, Node]:
    """The queries, each about this history alone; and those of one conversation."""
    events: list[Any] = [record.event for record in history]
    base = min(event.user_id for event in events) >> 20 << 20
    events = [event for event in events if isinstance(event, TweetPosted | TweetDeleted)]
    within = (tree.Newer(base - 1), tree.Older(base + 2**20))
    first = min(event.tweet_id for event in events)
    texts = (*QUERIES, f"conversation_id:{first}")
    return {
        text.replace(str(first), "first"): tree.normal(tree.And((parse(text), *within)))
        for text in texts
    }


def _names(history: list[LogRecord]) -> list[str]:
    """What is typed to find the users of this history alone."""
    users = {record.event.user_id for record in history}  # type: ignore[attr-defined]
    base = min(users) >> 20 << 20
    mark = f"{base:x}"
    return [f"u1x{mark}", f"@U{mark}", f"zoe{mark} u", f"ann{mark}", f"nobody{mark}"]


def _write_people(log: LogBuilder, rng: Random, base: int) -> None:
    mark = f"{base:x}"
    for number in range(AUTHORS):
        user = base + number
        about: dict[str, Any] = {"event_id": user, "occurred_at": 1, "user_id": user}
        name = rng.choice((f"Ann{mark} Smith", f"Zoé ZOE{mark}", f"u{mark}", ""))
        log.append(
            "users",
            number % 2,
            UserRegistered(**about, username=f"U{number}x{mark}", name=name, created_at=1),
        )
        if rng.random() < 0.5:
            log.append("users", number % 2, ProfileChanged(**about, name=f"New Ann{mark}"))


def _holders(history: list[LogRecord]) -> dict[str, int]:
    users = {record.event.user_id for record in history}  # type: ignore[attr-defined]
    base = min(users) >> 20 << 20
    return {f"u{number}": base + number for number in range(AUTHORS)}


def _partitions(history: list[LogRecord]) -> set[tuple[str, int]]:
    return {
        (term, event.tweet_id >> SPAN_BITS)
        for event in (record.event for record in history)
        if isinstance(event, TweetPosted)
        for term, _ in document(event, 0).terms
    }


def _post(
    rng: Random, base: int, number: int, posted: list[TweetPosted], author: int | None = None
) -> TweetPosted:
    tweet_id = base + 1000 + number * 3
    author = base + rng.randrange(AUTHORS) if author is None else author
    text = " ".join(rng.choices(WORDS, k=rng.randint(0, 5)))
    kind = rng.choices(("plain", "reply", "quote", "retweet"), (5, 2, 1, 1))[0]
    about: dict[str, Any] = {}
    if posted and kind != "plain":
        other = rng.choice(posted)
        name = {"reply": "reply_to", "quote": "quote_of", "retweet": "retweet_of"}[kind]
        about = {f"{name}_id": other.tweet_id, f"{name}_user_id": other.user_id}
        if kind == "reply":
            about["conversation_id"] = other.conversation_id
        if kind == "retweet":
            text = ""
    return post(tweet_id, author, text=text, lang=rng.choice(LANGUAGES), **about)


def _deletion(tweet: TweetPosted, user: int) -> TweetDeleted:
    return TweetDeleted(
        event_id=tweet.tweet_id + 1, occurred_at=2, tweet_id=tweet.tweet_id, user_id=user
    )
