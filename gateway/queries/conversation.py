"""``GET /api/tweets/{id}/conversation``: a tweet, what it answers and what answers it, as bytes.

The first page has the tweet, its ancestors and its newest replies; ``next_cursor`` of the page, and
of each entry that has more beneath it, is a cursor of that entry's own conversation and leads to
a page of its further replies alone.
"""

from __future__ import annotations

import asyncio

from gateway.cursors import Cursors
from gateway.http import Request, Response
from gateway.limits import REPLIES_MAX
from gateway.pages import page_count
from gateway.problems import not_found
from gateway.queries.places import place_below, seal_place
from gateway.queries.thread import Ancestors, Node, Thread
from gateway.queries.visible import Shown
from gateway.services import Accounts, Graph, Threads, Tweets


class ConversationQueries:
    """Handler of conversations."""

    def __init__(
        self,
        threads: Threads,
        tweets: Tweets,
        accounts: Accounts,
        graph: Graph,
        cursors: Cursors,
    ) -> None:
        self._threads = threads
        self._tweets = tweets
        self._accounts = accounts
        self._graph = graph
        self._cursors = cursors

    async def of_tweet(self, request: Request) -> Response:
        """``GET /api/tweets/{id}/conversation``."""
        tweet_id: int = request.params["id"]
        count = page_count(request, REPLIES_MAX)
        below = place_below(self._cursors, request, _route(tweet_id))
        relations = await self._graph.relations_of(request.user_id)
        thread = Thread(self._threads, self._tweets, self._accounts, relations)
        if request.query("cursor") is not None:
            focal = await thread.replies(tweet_id, below, count)
            return self._page(request, thread, focal, b'"ancestors":[],"ancestors_omitted":false')
        shown = Shown(self._tweets, self._accounts)
        await shown.add([tweet_id])
        if not shown.tweets:
            raise not_found(f"tweet {tweet_id}")
        _, tweet = shown.tweets[0]
        if tweet.retweet_of_id:  # a retweet has no replies: its original's are meant
            tweet_id, tweet = tweet.retweet_of_id, shown.originals[tweet.retweet_of_id]
        thread.tweets[tweet_id] = tweet
        thread.users[tweet.author_id] = shown.users[tweet.author_id]
        ancestors, focal = await asyncio.gather(
            thread.ancestors(tweet), thread.replies(tweet_id, below, count)
        )
        head = b'"conversation_id":"%d","ancestors":%s,"ancestors_omitted":%s,"tweet":%s' % (
            tweet.conversation_id,
            self._entries(request, thread, ancestors.nodes),
            b"true" if ancestors.omitted else b"false",
            self._entry(request, thread, Node(tweet_id, "shown")),
        )
        return self._page(request, thread, focal, head, ancestors)

    def _page(
        self,
        request: Request,
        thread: Thread,
        focal: Node,
        head: bytes,
        ancestors: Ancestors | None = None,
    ) -> Response:
        listed = [*_walk(focal.replies), *(ancestors.nodes if ancestors else ())]
        ids = [node.tweet_id for node in listed if node.status == "shown"]
        if ancestors is not None:
            ids.append(focal.tweet_id)
        authors = dict.fromkeys(thread.tweets[tweet_id].author_id for tweet_id in ids)
        users = b",".join(thread.users[author].body + b"}" for author in authors)
        return Response(
            b'{"data":{%s,"replies":%s},"includes":{"users":[%s]},"meta":{"result_count":%d%s}}'
            % (
                head,
                self._entries(request, thread, focal.replies),
                users,
                len(focal.replies),
                self._cursor(request, focal),
            )
        )

    def _entries(self, request: Request, thread: Thread, nodes: list[Node]) -> bytes:
        return b"[%s]" % b",".join(self._entry(request, thread, node) for node in nodes)

    def _entry(self, request: Request, thread: Thread, node: Node) -> bytes:
        tweet = b""
        if node.status == "shown":
            tweet = b',"tweet":%s}' % thread.tweets[node.tweet_id].body
        replies = b""
        if node.replies:
            replies = b',"replies":' + self._entries(request, thread, node.replies)
        return b'{"id":"%d","status":"%s"%s%s%s}' % (
            node.tweet_id,
            node.status.encode(),
            tweet,
            replies,
            self._cursor(request, node),
        )

    def _cursor(self, request: Request, node: Node) -> bytes:
        if node.below is None:
            return b""
        sealed = seal_place(self._cursors, request, _route(node.tweet_id), node.below)
        return b',"next_cursor":"%s"' % sealed.encode()


def _route(tweet_id: int) -> str:
    return f"conversation/{tweet_id}"


def _walk(nodes: list[Node]) -> list[Node]:
    return [found for node in nodes for found in (node, *_walk(node.replies))]
