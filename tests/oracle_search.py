"""The search unit's part of the oracle: which tweets a query finds, by looking at every tweet.

The sentences
- A query finds among the tweets that exist: posted, and never deleted by their author, whichever
  came first. Of two posts with one id the first counts. Whether the author is active, and what one
  reader may see, is for whoever asks (``sees``).
- A tweet is what the nodes of ``projections.search.query.tree`` say. Its words are its text's terms
  by place, in its language (``projections.search.analysis``); a retweet has no words.
- *Words* are in a tweet when there is a place, 0 or above, from which on each place that is asked
  for has one of its terms, or is a stop word in the tweet's language; one place at least has.
- *And*: every member is so. A member of words that are all stop words in the tweet's language is
  passed over, if another member that looks for something (words, users, a conversation) is so.
- A query that says ``lang:`` once, outside of everything, asks for the stems of that language only.
- A user is a candidate for what is typed, if a word of a username or of a display name that he
  ever had begins with the longest part of it.
- By recency a higher id comes first.
- By relevance the newest hundred are ordered by (0.1 + the sum of f * 2.2 / (f + 1.2 * (0.7 + 0.3 *
  n / 10)) over the words looked for), times a half for each six hours by which a tweet is older
  than the newest, times 1 + ln(1 + likes + 2 * retweets + replies + 2 * quotes). f is how often the
  words stand in the tweet (of a phrase its rarest one), n how many terms the tweet has.
- A count is the number of tweets that are found, by the time in their ids.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache

from events.snowflake import time_of
from events.types import Event, ProfileChanged, TweetDeleted, TweetPosted, UserRegistered
from projections.search.analysis.terms import Asked, asked, indexed
from projections.search.analysis.tokens import tokens
from projections.search.query import tree
from projections.search.query.tree import Node
from projections.text import entities
from projections.text.folding import fold, language_of
from tests.oracle import Oracle
from tests.oracle_engagement import TweetCounts
from tests.oracle_log import LogFed, LogRecord

RELEVANT = 100
SIX_HOURS_MS = 6 * 3_600_000
WIDTHS_MS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


def everybody(_tweet: TweetPosted) -> bool:
    """Sees all that exists."""
    return True


class SearchOracle(LogFed):
    """Feed it records; then ask.

    Args:
        records: To begin with.
        holder: Returns who holds a username.
    """

    def __init__(
        self, records: Iterable[LogRecord] = (), holder: Callable[[str], int | None] | None = None
    ) -> None:
        self._posted: dict[int, TweetPosted] = {}
        self._deleted: set[tuple[int, int]] = set()
        self._words: dict[int, set[str]] = {}
        self._holder = holder or (lambda _name: None)
        super().__init__(records)

    @classmethod
    def of(cls, oracle: Oracle) -> SearchOracle:
        """Returns one that knows of tweets what another does, now and later."""
        made = cls(holder=oracle.holder)
        made._posted, made._deleted = oracle._posted, oracle._deleted
        return made

    def apply(self, event: Event) -> None:
        """Take in an event that is new."""
        match event:
            case TweetPosted():
                self._posted.setdefault(event.tweet_id, event)
            case TweetDeleted():
                self._deleted.add((event.user_id, event.tweet_id))
            case UserRegistered(username=username, name=name):
                words = self._words.setdefault(event.user_id, set())
                words |= {fold(username), *(token.text for token in tokens(name))}
            case ProfileChanged(name=str() as name):
                words = self._words.setdefault(event.user_id, set())
                words |= {token.text for token in tokens(name)}
            case _:
                pass

    def standing(self) -> list[TweetPosted]:
        """Tweets that exist, newest first."""
        return [
            tweet
            for tweet_id, tweet in sorted(self._posted.items(), reverse=True)
            if (tweet.user_id, tweet_id) not in self._deleted
        ]

    def search(self, query: Node, sees: Callable[[TweetPosted], bool] = everybody) -> list[int]:
        """Ids of what a query finds, newest first."""
        languages = [n.language for n in tree.members(query) if isinstance(n, tree.Lang)]
        spoken = languages[0] if len(languages) == 1 else None
        return [
            tweet.tweet_id
            for tweet in self.standing()
            if sees(tweet) and self._is(query, tweet, spoken)
        ]

    def relevant(
        self,
        query: Node,
        counts: Callable[[int], TweetCounts],
        sees: Callable[[TweetPosted], bool] = everybody,
    ) -> list[int]:
        """Ids of what a query finds, the best of the newest hundred first."""
        found = self.search(query, sees)[:RELEVANT]
        words = _words_of(query)

        def score(tweet_id: int) -> tuple[float, int]:
            tweet, has = self._posted[tweet_id], counts(tweet_id)
            terms = [term.text for term in indexed(tweet.text, tweet.lang)]
            fits = 0.1
            for places in map(asked, words):
                often = min(sum(terms.count(term) for term in place.terms) for place in places)
                fits += often * 2.2 / (often + 1.2 * (0.7 + 0.3 * len(terms) / 10))
            age_ms = time_of(found[0]) - time_of(tweet_id)
            liked = has.likes + 2 * has.retweets + has.replies + 2 * has.quotes
            return fits * 0.5 ** (age_ms / SIX_HOURS_MS) * (1 + math.log(1 + liked)), tweet_id

        return sorted(found, key=score, reverse=True)

    def counts(self, query: Node, width_ms: int) -> dict[int, int]:
        """How many tweets a query finds, by the start of the minute, hour or day they are of."""
        return dict(
            Counter(time_of(tweet_id) // width_ms * width_ms for tweet_id in self.search(query))
        )

    def people(self, typed: str) -> list[int]:
        """Candidates for what somebody types to find a user."""
        longest = max((fold(part).lstrip("@") for part in typed.split()), key=len)
        return [u for u, words in self._words.items() if any(w.startswith(longest) for w in words)]

    def _is(self, node: Node, tweet: TweetPosted, spoken: str | None) -> bool:
        match node:
            case tree.Words(text=text):
                return _stands_in(asked(text, spoken), tweet)
            case tree.Not(node=inner):
                return not self._is(inner, tweet, spoken)
            case tree.Or(nodes=nodes):
                return any(self._is(one, tweet, spoken) for one in nodes)
            case tree.And(nodes=nodes):
                so = {one for one in nodes if self._is(one, tweet, spoken)}
                passed = {one for one in nodes if _says_nothing(one, tweet, spoken)} - so
                return so | passed == set(nodes) and (
                    not passed or any(map(_looks_for_something, so))
                )
            case _:
                return self._narrows(node, tweet)

    def _narrows(self, node: Node, tweet: TweetPosted) -> bool:
        parsed = entities.parse(tweet.text)
        facts: dict[Node, bool] = {
            tree.Is("reply"): tweet.reply_to_id is not None,
            tree.Is("retweet"): tweet.retweet_of_id is not None,
            tree.Is("quote"): tweet.quote_of_id is not None,
            tree.Has("media"): bool(tweet.media_ids),
            tree.Has("links"): bool(parsed.urls),
            tree.Has("hashtags"): bool(parsed.hashtags),
            tree.Has("mentions"): bool(parsed.mentions),
        }
        match node:
            case tree.From(username=name):
                return tweet.user_id == self._holder(name)
            case tree.To(username=name):
                answered = tweet.reply_to_user_id
                return answered is not None and answered == self._holder(name)
            case tree.Conversation(tweet_id=root):
                return tweet.conversation_id == root
            case tree.Lang(language=language):
                return language_of(tweet.lang) == language
            case tree.Newer(than=bound):
                return tweet.tweet_id > bound
            case tree.Older(than=bound):
                return tweet.tweet_id < bound
            case _:
                return facts[node]


def _words_of(node: Node) -> list[str]:
    match node:
        case tree.Words(text=text):
            return [text]
        case tree.And(nodes=nodes) | tree.Or(nodes=nodes):
            return [text for one in nodes for text in _words_of(one)]
        case _:
            return []


def _stands_in(wanted: list[Asked], tweet: TweetPosted) -> bool:
    found = _places(tweet.text, tweet.lang)
    language = language_of(tweet.lang)
    for start in range(max(found, default=-1) + 1):
        there = [bool(found.get(start + one.place, set()) & set(one.terms)) for one in wanted]
        if any(there) and all(
            so or language in one.stop_in for so, one in zip(there, wanted, strict=True)
        ):
            return True
    return False


@lru_cache(maxsize=10_000)  # every query looks at every tweet
def _places(text: str, lang: str | None) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for term in indexed(text, lang):
        found.setdefault(term.place, set()).add(term.text)
    return found


def _says_nothing(node: Node, tweet: TweetPosted, spoken: str | None) -> bool:
    if not isinstance(node, tree.Words):
        return False
    language = language_of(tweet.lang)
    return all(language in one.stop_in for one in asked(node.text, spoken))


def _looks_for_something(node: Node) -> bool:
    match node:
        case tree.And(nodes=nodes):
            return any(map(_looks_for_something, nodes))
        case tree.Or(nodes=nodes):
            return all(map(_looks_for_something, nodes))
        case _:
            return isinstance(node, tree.SOUGHT)
