"""Gateway, Kafka, Cassandra and Valkey killed with -9 while clients read and post through them.

What must hold of each is in `passage.py`; here is what clients are told meanwhile, which is what
`docs/degrading.md` says.
"""

from __future__ import annotations

import time

import pytest

from gateway.limits import REDIS_SECONDS_MAX
from tests.faults.clients import NO_ANSWER, READING, median, of
from tests.faults.own import Own
from tests.faults.passage import Passage, check_after, passage
from tests.faults.town import READY_S_MAX, Town

pytestmark = [
    pytest.mark.engines,
    pytest.mark.fault,
    pytest.mark.long,
    pytest.mark.timeout(500),
]


@pytest.mark.parametrize("killed", ["control", "gateway", "kafka", "cassandra", "valkey"])
async def test_all_is_well_again(own: Own, own_town: Town, killed: str) -> None:
    async def kill() -> str:
        began = time.monotonic()
        if killed == "gateway":
            await own_town.gateway.kill()
            await own_town.gateway.start()  # whoever runs it for real does that
            await own_town.gateway.until_ready(own_town.clients.client, READY_S_MAX)
        elif killed != "control":
            await own.until_back(killed, await own.kill(killed))
        return f"away {time.monotonic() - began:.1f} s"

    name = f"{killed} killed" if killed != "control" else "a process killed: control"
    found = await passage(own_town, name, kill)
    check_after(found.after)
    check_meanwhile(killed, found)


def check_meanwhile(killed: str, found: Passage) -> None:
    reads, posts = of(found.during, *READING), of(found.during, "post")
    if killed == "gateway":
        assert {one.status for one in found.during} <= {200, 201, 404, NO_ANSWER}
        return
    assert {one.status for one in reads} <= {200, 404, 503}
    assert {one.status for one in posts} <= {201, 503, 504}
    for one in found.during:
        if one.status == 503:
            assert int(one.answer.headers["retry-after"]) >= 1
    if killed == "kafka":
        assert {one.status for one in reads} <= {200, 404}
        refused = [one for one in posts if one.status == 503]
        half = median(refused)
        assert half < REDIS_SECONDS_MAX + 2 * found.usual
