"""``GET /api/users/{id}/mentions``: tweets that speak to a user, newest first.

They speak to him by the name that he holds, since he claimed it, or by answering him. Left out:
what nobody may see, his own, and authors whom the reader mutes or with whom there is a block.

The lists give candidates and the tweets decide (``projections.tweets.mentions``). Bounded by
``STEPS_MAX`` rounds of reading for a page; one that was left short carries a cursor.
"""

from __future__ import annotations

import asyncio

from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.pages import page_count
from gateway.problems import not_found
from gateway.queries.listed import tweets_page
from gateway.queries.places import place_below
from gateway.queries.visible import Shown
from gateway.services import Accounts, Graph, Mentions, Tweets
from projections.tweets.layout import TweetFragment
from projections.tweets.mentions import Addressee, addressees, of_name, of_user

STEPS_MAX = 8


class MentionQueries:
    """Handler of mentions timelines."""

    def __init__(
        self,
        mentions: Mentions,
        tweets: Tweets,
        accounts: Accounts,
        graph: Graph,
        cursors: Cursors,
    ) -> None:
        self._mentions = mentions
        self._tweets = tweets
        self._accounts = accounts
        self._graph = graph
        self._cursors = cursors

    async def by_user(self, request: Request) -> Response:
        """``GET /api/users/{id}/mentions``."""
        user: int = request.params["id"]
        count = page_count(request)
        route = f"mentions/{user}"
        below = place_below(self._cursors, request, route)
        sought, relations = await asyncio.gather(
            self._sought(user), self._graph.relations_of(request.user_id)
        )
        hidden = relations.hidden | {user}
        shown = Shown(self._tweets, self._accounts)
        kept: list[tuple[int, TweetFragment]] = []
        for _ in range(STEPS_MAX):
            part = await self._mentions.page(sought, below, count + 1)
            below, seen = part.floor, len(shown.tweets)
            await shown.add(part.ids)
            kept += [
                (tweet_id, tweet)
                for tweet_id, tweet in shown.tweets[seen:]
                if tweet.author_id not in hidden and _speaks_to(sought, tweet_id, tweet)
            ]
            if len(kept) > count or below == 0:
                break
        tweets = kept[:count]
        if len(kept) > count:
            below = tweets[-1][0]
        return tweets_page(request, self._cursors, route, shown, tweets, below or None)

    async def _sought(self, user: int) -> list[Addressee]:
        """Returns what the user is spoken to by: answers, and his name since he claimed it."""
        found = await self._accounts.get([user])
        if user not in found:
            raise not_found(f"user {user}")
        username = found[user].named.username
        claim = await self._accounts.claim_of(username.casefold())
        sought = [Addressee(of_user(user))]
        if claim is not None and claim.user_id == user:
            sought.append(Addressee(of_name(username), claim.event_id))
        return sought


def _speaks_to(sought: list[Addressee], tweet_id: int, tweet: TweetFragment) -> bool:
    """Asks the tweet that stands: rows of mentions may be of another post of its id."""
    said = addressees(tweet)
    return any(whom.key in said and tweet_id > whom.above for whom in sought)
