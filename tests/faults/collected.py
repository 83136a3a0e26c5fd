"""Lists, their timelines and bookmarks of a population, against the oracle's."""

from __future__ import annotations

from gateway.queries.counted import CountedTweets
from gateway.queries.home import read_page
from gateway.queries.lists import ListSource
from infra import compose
from infra.compose import Engines
from projections.listing import NEWEST
from tests.oracle import Oracle

PAGE = 50


async def collections_different(on: Engines, oracle: Oracle) -> list[str]:
    """A line for each list, list timeline of the owner, and user's bookmarks that differ."""
    reader, kept = compose.collections_reader(on), oracle.collections
    lines: list[str] = []
    for list_id in kept.lists():
        found = (await reader.lists([list_id])).get(list_id)
        view, members = kept.view(list_id), list(await reader.members(list_id))
        if (found is None) != (view is None) or members != kept.members(list_id):
            lines.append(f"list {list_id}: {view} expected, {found} of {members} found")
        if found is None or view is None:
            continue
        if (found.owner_id, found.private, found.member_count) != (
            view.owner_id,
            view.private,
            view.member_count,
        ):
            lines.append(f"list {list_id}: {view} expected, {found} found")
        timeline, expected = (
            await _timeline(on, members, view.owner_id),
            oracle.list_timeline(list_id, view.owner_id),
        )
        if timeline != expected:
            lines.append(f"tweets of list {list_id}: {len(expected)}/{len(timeline)}")
    for user in oracle.users():
        marked = await reader.bookmarks(user, NEWEST, len(oracle.posted()))
        if [entry.tweet_id for entry in marked.entries] != kept.bookmarks(user):
            lines.append(f"bookmarks of user {user}: {kept.bookmarks(user)} expected")
    return lines


async def _timeline(on: Engines, members: list[int], user: int) -> list[int]:
    """The whole timeline of these members, as a user sees it, page by page."""
    timelines, accounts = compose.timelines_reader(on), compose.accounts_reader(on)
    tweets = CountedTweets(compose.tweets_reader(on), compose.engagement_reader(on))
    relations = await timelines.graph.relations_of(user)
    found: list[int] = []
    below: int | None = NEWEST
    while below is not None:
        source = ListSource(timelines.authors, user, relations, members, below, PAGE)
        top = found[0] if found else 0
        page = await read_page(source, tweets, accounts, below, PAGE, top=top)
        found += [tweet_id for tweet_id, _ in page.tweets]
        below = page.below
    return found
