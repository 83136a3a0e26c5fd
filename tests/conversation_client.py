"""A client that reads a whole conversation: every page, and every branch by its own cursors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from gateway.answers import ConversationEntry, ConversationPage
from tests.oracle_talk import Chain, Tree

Get = Callable[[str], Awaitable[bytes]]
"""Answers the body of a path that is there."""


async def read(get: Get, tweet_id: int, count: int) -> tuple[Chain, Tree]:
    """Returns the ancestors and all the replies of a tweet, as the oracle gives them."""
    page = await _page(get, f"/api/tweets/{tweet_id}/conversation?count={count}")
    assert page.data.tweet is not None and page.data.tweet.id == str(tweet_id)
    assert page.data.tweet.status == "shown"
    ancestors: Chain = [(int(entry.id), entry.status) for entry in page.data.ancestors]
    if ancestors and not page.data.ancestors_omitted:
        assert page.data.conversation_id == str(ancestors[0][0])
    replies = [*page.data.replies]
    replies += await _rest(get, str(tweet_id), page.meta.next_cursor, count)
    return ancestors, await _tree(get, replies, count)


async def _tree(get: Get, entries: list[ConversationEntry], count: int) -> Tree:
    found: Tree = []
    for entry in entries:
        replies = [*entry.replies, *await _rest(get, entry.id, entry.next_cursor, count)]
        beneath = await _tree(get, replies, count)
        # What was not read yet may turn out to have nothing beneath.
        if entry.status == "shown" or beneath:
            found.append((int(entry.id), entry.status, beneath))
    return found


async def _rest(get: Get, tweet_id: str, cursor: str | None, count: int) -> list[ConversationEntry]:
    found: list[ConversationEntry] = []
    while cursor is not None:
        path = f"/api/tweets/{tweet_id}/conversation?count={count}&cursor={cursor}"
        page = await _page(get, path)
        assert page.data.tweet is None and page.data.ancestors == []
        found += page.data.replies
        cursor = page.meta.next_cursor
    return found


async def _page(get: Get, path: str) -> ConversationPage:
    page = msgspec.json.decode(await get(path), type=ConversationPage)
    entries = [*_walk(page.data.replies), *page.data.ancestors]
    entries += [page.data.tweet] if page.data.tweet is not None else []
    for entry in entries:
        assert (entry.tweet is not None) == (entry.status == "shown")
    authors = {entry.tweet.author_id for entry in entries if entry.tweet is not None}
    assert authors == {user.id for user in page.includes.users}
    assert page.meta.result_count == len(page.data.replies)
    return page


def _walk(entries: list[ConversationEntry]) -> list[ConversationEntry]:
    return [found for entry in entries for found in (entry, *_walk(entry.replies))]
