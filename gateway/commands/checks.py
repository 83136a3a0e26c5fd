"""Questions that commands ask before they append: is there such a user, such a tweet.

What is read here may be behind the log; a command that follows another closely says so with
``X-Wait-For``.
"""

from __future__ import annotations

from gateway.http import Request
from gateway.problems import Problem, forbidden, not_found
from gateway.queries.visible import Shown
from gateway.services import Accounts, Authors, Graph, Tweets
from projections.accounts.layout import UserFragment
from projections.tweets.layout import TweetFragment


class Checks:
    """Asks the projections.

    Args:
        accounts: Users.
        tweets: Tweets.
        graph: Blocks.
        authors: Who retweeted what.
    """

    def __init__(self, accounts: Accounts, tweets: Tweets, graph: Graph, authors: Authors) -> None:
        self._accounts = accounts
        self._tweets = tweets
        self._graph = graph
        self._authors = authors

    async def active(self, user_id: int) -> UserFragment:
        """Returns the user who commands.

        Raises:
            Problem: 403, the account is not active.
        """
        found = await self._accounts.get([user_id])
        if user_id not in found:
            raise _inactive()
        return found[user_id]

    async def user(self, user_id: int) -> None:
        """Checks a user whom a command names.

        Raises:
            Problem: 404, there is none.
        """
        if user_id not in await self._accounts.get([user_id]):
            raise not_found(f"user {user_id}")

    async def users(self, user_id: int, target: int) -> None:
        """Checks the user who commands and the one whom the command names, in one question.

        Raises:
            Problem: 403 or 404, as above.
        """
        found = await self._accounts.get([user_id, target])
        if user_id not in found:
            raise _inactive()
        if target not in found:
            raise not_found(f"user {target}")

    async def tweet(self, tweet_id: int) -> tuple[int, TweetFragment]:
        """Returns a tweet that can be seen and its id; in place of a retweet its original.

        Raises:
            Problem: 404, there is none.
        """
        shown = Shown(self._tweets, self._accounts)
        await shown.add([tweet_id])
        if not shown.tweets:
            raise not_found(f"tweet {tweet_id}")
        tweet = shown.tweets[0][1]
        if tweet.retweet_of_id:
            return tweet.retweet_of_id, shown.originals[tweet.retweet_of_id]
        return tweet_id, tweet

    async def stored_tweet(self, tweet_id: int) -> TweetFragment:
        """Returns a tweet that exists, a retweet as itself, whether or not others can see it.

        Raises:
            Problem: 404, there is none.
        """
        found = await self._tweets.get([tweet_id])
        if tweet_id not in found:
            raise not_found(f"tweet {tweet_id}")
        return found[tweet_id]

    async def retweet_by(self, user_id: int, original: int) -> tuple[int, TweetFragment] | None:
        """Returns the user's newest standing retweet of an original."""
        made = await self._authors.retweets_of([original], [user_id])
        ids = [retweet_id for retweet_id, _ in made.get(original, [])]
        found = await self._tweets.get(ids)
        return next(((i, found[i]) for i in ids if i in found), None)

    async def no_block(self, user_id: int, *others: int) -> None:
        """Checks that there is no block, in either direction, between a user and others.

        Raises:
            Problem: 403, there is.
        """
        if set(others) <= {user_id}:
            return
        blocked = (await self._graph.relations_of(user_id)).blocked.intersection(others)
        if blocked:
            raise forbidden(
                "blocked",
                f"There is a block between you and user {min(blocked)}. If it is yours, take it "
                f"back first.",
            )


def require_own_path(request: Request) -> None:
    """Checks that a path names the user who commands.

    Raises:
        Problem: 403, it names another.
    """
    if request.params["me"] != request.user_id:
        raise forbidden(
            "not-you", f"This token is of user {request.user_id}: use that id in the path."
        )


def _inactive() -> Problem:
    return forbidden(
        "account-inactive",
        "Your account is not active. If you have just registered, send that answer's "
        "X-Event-Position as X-Wait-For; else reactivate the account first.",
    )
