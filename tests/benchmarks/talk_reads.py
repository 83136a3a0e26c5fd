"""``talk_reads``: pages of a viral conversation and of mentions, by one gateway process.

One tweet has ``REPLIES`` direct replies, every third of them with a few replies of its own; a chain
is ``CHAIN`` long; a popular name is in ``REPLIES`` tweets of one span, a quiet one in one tweet a
span over ``QUIET`` spans. Each page of 20 is measured in turns with the plain list of the same
replies, its peer: one query of one partition, and as many tweets.

CPU is the gateway's alone, per answer; the least of ``ROUNDS`` counts, as latencies and rates take
what other load leaves. ``BENCH_SECONDS`` (default 5) sets the length of each measurement.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from events.snowflake import compose as compose_id
from events.types import Event, TweetPosted, UsernameClaimed, UserRegistered
from infra import compose
from infra.demo.children import GatewayProcess
from infra.gateway import open_tokens
from infra.settings import load
from infra.stack import ports
from projections.tweets.mentions import SPAN_BITS
from tests.benchmarks.harness import Figure
from tests.benchmarks.home_reads import Population, Served, populate

REPLIES = 10_000
NESTED = 3
CHAIN = 40
QUIET = 40
AUTHORS = 100
ROUNDS = 3
READY_SECONDS_MAX = 60.0


class Talk:
    """Who says what, with ids of now, so that runs do not meet."""

    def __init__(self) -> None:
        now_ms = int(time.time() * 1000)
        self.authors = [compose_id(now_ms, 0, number) for number in range(AUTHORS)]
        self.popular, self.quiet = f"p{now_ms:x}", f"q{now_ms:x}"
        self._next = compose_id(now_ms + 60_000, 0, 0)
        self.tweets: list[Event] = []
        self.root = self.say("what do you think?")
        for number in range(REPLIES):
            reply = self.say(f"@{self.popular} I think so", self.root)
            if number % 3 == 0:
                for _ in range(NESTED):
                    self.say("indeed", reply)
        top = self.say("a chain")
        for _ in range(CHAIN):
            top = self.say("and another", top)
        self.end_of_chain = top
        for _ in range(QUIET):
            self._next += 1 << SPAN_BITS
            self.say(f"@{self.quiet} are you there?")

    def say(self, text: str, reply_to: TweetPosted | None = None) -> TweetPosted:
        """Posts a tweet."""
        tweet_id, self._next = self._next, self._next + 1
        tweet = TweetPosted(
            event_id=tweet_id,
            occurred_at=1,
            tweet_id=tweet_id,
            user_id=self.authors[len(self.tweets) % AUTHORS],
            text=text,
            created_at=1_700_000_000_000,
            conversation_id=reply_to.conversation_id if reply_to else tweet_id,
            reply_to_id=reply_to.tweet_id if reply_to else None,
            reply_to_user_id=self.authors[0] if reply_to else None,
        )
        self.tweets.append(tweet)
        return tweet

    def population(self) -> Population:
        """All of it, by topic; the first two authors have the names that are mentioned."""
        names = {0: self.popular, 1: self.quiet}
        people = Population([])
        people.events["users"] = [
            UserRegistered(
                event_id=user,
                occurred_at=1,
                user_id=user,
                username=names.get(number, f"user{number}"),
                name=f"User Number {number}",
                created_at=1,
            )
            for number, user in enumerate(self.authors)
        ]
        people.events["usernames"] = [
            UsernameClaimed(
                event_id=self.authors[number],
                occurred_at=1,
                username_key=name,
                username=name,
                user_id=self.authors[number],
            )
            for number, name in names.items()
        ]
        people.events["new-tweets"] = self.tweets
        return people

    def paths(self) -> dict[str, str]:
        """What is read, by figure; the first is the peer of the others."""
        return {
            "list of replies": f"/api/tweets/{self.root.tweet_id}/replies",
            "conversation, viral": f"/api/tweets/{self.root.tweet_id}/conversation",
            "conversation, end of a chain": (
                f"/api/tweets/{self.end_of_chain.tweet_id}/conversation"
            ),
            "mentions, popular name": f"/api/users/{self.authors[0]}/mentions",
            "mentions, quiet name": f"/api/users/{self.authors[1]}/mentions",
        }


async def run() -> list[Figure]:
    """Measures and returns the figures."""
    base, talk = load().settings, Talk()
    with TemporaryDirectory(prefix="murmur-bench-") as folder:
        settings = base.model_copy(
            update={
                "topic_prefix": f"b{secrets.token_hex(4)}-",
                "token_key_file": Path(folder) / "token.key",
            }
        )
        async with compose.engines(settings) as on:
            await populate(on, talk.population())
        gateway = GatewayProcess(
            ports.choose({"http": 0}, {}, usual=False)["http"],
            Path(folder),
            {
                "MURMUR_DATA_DIR": str(settings.data_dir.resolve()),
                "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
                "MURMUR_GENERATION": settings.generation,
                "MURMUR_TOKEN_KEY_FILE": str(settings.token_key_file),
            },
        )
        await gateway.start()
        try:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
                await gateway.until_ready(client, READY_SECONDS_MAX)
                token = open_tokens(settings).issue(talk.authors[-1])
                return await _measure(gateway, client, talk, token)
        finally:
            await gateway.stop()


async def _measure(
    gateway: GatewayProcess, client: httpx.AsyncClient, talk: Talk, token: str
) -> list[Figure]:
    port = int(gateway.url.rpartition(":")[2])
    headers = {"authorization": f"Bearer {token}"}
    served: dict[str, Served] = {}
    for name, path in talk.paths().items():
        answer = await client.get(path, headers=headers)
        answer.raise_for_status()
        if name != "conversation, end of a chain" and answer.json()["meta"]["result_count"] != 20:
            raise RuntimeError(f"not a full page: {answer.text[:300]}")
        request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}"
        served[name] = Served(port, gateway.pid or 0, [request])
    for _ in range(ROUNDS):
        for one in served.values():
            await one.saturate()
    peer = served["list of replies"]
    figures: list[Figure] = []
    for name, one in served.items():
        beside = {} if one is peer else {"list of replies": peer.cpu_us}
        figures.append(Figure(f"talk_reads CPU: {name}", one.cpu_us, "µs/read", beside))
        beside = {} if one is peer else {"list of replies": peer.best.p50_ms}
        figures.append(Figure(f"talk_reads p50: {name}", one.best.p50_ms, "ms", beside))
    return figures
