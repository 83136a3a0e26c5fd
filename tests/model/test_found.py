"""What the model has found, as it was left after being cut down; see docs/testing.md."""

from __future__ import annotations

import pytest

from tests.model.life import Act
from tests.model.machine import Murmuration
from tests.model.town import Read

TWEET = Act("tweet", who=0, whom=0, what=0, odd=0)


def test_a_backfill_of_an_author_who_has_deleted_a_tweet_lacks_none_of_the_others() -> None:
    """His newest rows are read, as many as a timeline holds: a deleted one is a row as well."""
    state = Murmuration()
    state.begin(members=1, hot=1_000_000, registered=3, follows=3, settled=False)
    state.people_read(reads=[Read(who=1, what=0, breaks=0)])
    deletion = Act("delete", who=0, whom=3, what=1, odd=0)
    for acts in ([TWEET] * 3, [*[TWEET] * 4, deletion]):
        state.all_catch_up_at_once(acts=acts, cold=False, reads=[], seed=0)
    state.teardown()


@pytest.mark.parametrize("breaks", range(10, 15))
def test_a_generation_that_was_hardly_begun_can_be_dropped(breaks: int) -> None:
    """Its builder died before it had made a table."""
    state = Murmuration()
    state.begin(members=1, hot=1_000_000, registered=3, follows=3, settled=True)
    state.a_replay_goes_on(breaks=breaks, knows=True, slices=3, stops=False, unit="accounts")
    assert state.town.generations.several  # the registry knows of it
    state.an_engineer_drops(breaks=None, knows=True, pick=1, unit=0)
    state.teardown()


def test_a_reply_to_a_tweet_that_nobody_can_read_names_the_root() -> None:
    """Its own post says which it is; the oracle's sentence was silent about it."""
    state = Murmuration()
    state.begin(members=1, hot=1_000_000, registered=4, follows=0, settled=False)
    state.people_act(acts=[TWEET] * 3)
    garbled = Act("garble", who=3, whom=4, what=5, odd=2)
    reply = Act("reply", who=3, whom=0, what=2, odd=0)
    acts = [garbled, TWEET, TWEET, reply]
    state.all_catch_up_at_once(acts=acts, cold=False, reads=[], seed=0)
    state.teardown()
