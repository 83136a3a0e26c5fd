"""`murmur router` and `murmur digest` killed (-9) while they send, and started again.

What is due is sent, and sent once, but for what was under way when they died: of that the ledger
says that it has begun, and it is sent again once its sender is taken for dead. A rebuild of the
unit sends nothing.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from events.cassandra import Statements
from events.types import DeliveryAddressAdded, PreferencesChanged
from infra import compose
from infra.demo.children import Child, ChildFailed
from infra.demo.convergence import open_view
from infra.router.ledger import RETAKE_SECONDS
from infra.router.run import ledger_of
from infra.settings import Settings
from tests.faults.figures import Figures, record
from tests.faults.recovery import resume_s_max
from tests.integration.infra.generations import Fed
from tests.integration.infra.router_place import Place, place_of
from tests.unit.infra.router.servers import HOST, MailServer, PushService, mail_server

TWEETS = 20
"""Mentions at a time, of each of those who are pushed to: twice that is below fifty an hour."""
FURTHER = 3
"""People who are pushed to, beside Alice."""
UNHEARD = 2
"""Of whom what is under way when its sender dies has not arrived."""
READERS = 6
"""Who are mailed to."""
WAIT_S_MAX = 200.0
HELD_S_MAX = 60.0

_BEGUN = "SELECT notice, state FROM {keyspace}.router_ledger WHERE scope = ? AND user_id = ?"

pytestmark = [pytest.mark.engines, pytest.mark.fault, pytest.mark.long, pytest.mark.timeout(500)]


class Sending:
    """A command that sends, as a process, and what it has to send."""

    def __init__(self, here: Place, logs: Path, command: list[str], **env: str) -> None:
        settings = here.on.settings
        self.here = here
        self.users: list[int] = []
        self._log = logs / f"{command[0]}.log"
        self._heard = 0
        self.child = Child(
            f"murmur {command[0]}",
            ["-m", "infra.cli.main", *command],
            self._log,
            {
                "MURMUR_DATA_DIR": str(settings.data_dir),
                "MURMUR_TOPIC_PREFIX": settings.topic_prefix,
                "MURMUR_GENERATION": settings.generation,
                "MURMUR_VAPID_KEY_FILE": str(logs / "vapid.pem"),
                "MURMUR_PUSH_HOSTS": HOST,
                **env,
            },
        )

    def forget(self) -> None:
        """What it has said so far is not looked for."""
        self._heard = self._log.stat().st_size

    async def until_said(self, words: str) -> None:
        """Waits until it says something to whoever runs it."""
        deadline = time.monotonic() + HELD_S_MAX
        while words not in self._log.read_bytes()[self._heard :].decode():
            assert time.monotonic() < deadline, f"{self.child.name} does not say {words!r}"
            await asyncio.sleep(0.1)

    async def begun(self) -> set[str]:
        """What has begun and not ended, by user and notice."""
        on = self.here.on
        statements = Statements(on.session, on.settings.keyspace)
        scope = f"log:{on.settings.topic_prefix}"
        return {
            f"{user} {row['notice']}"
            for user in self.users
            for row in await statements.run(_BEGUN, (scope, user), serial=True)
            if row["state"] == "begun"
        }

    async def killed(self, server: PushService | MailServer, at_once: int) -> set[str]:
        """Kills it while so much is under way and unanswered; what that was."""
        await self.here.until(lambda: server.holding >= at_once, HELD_S_MAX)
        await self.child.kill()
        found = await self.begun()
        server.let_go()
        assert len(found) == at_once
        return found


@pytest.mark.parametrize("kills", [False, True], ids=["control", "killed"])
async def test_pushes(settings: Settings, tmp_path: Path, seed: int, kills: bool) -> None:
    chance = random.Random(seed)
    async with place_of(settings) as here:
        names = [here.name]
        router = Sending(here, tmp_path, ["router"])
        router.users = [here.alice]
        for _ in range(FURTHER):
            name = f"c{secrets.token_hex(4)}"
            names.append(f"@{name}")
            router.users.append(await here.register(name))
            await here.subscribe(router.users[-1])
        here.service.unheard = {*range(UNHEARD)}
        await here.feed()
        expected: Counter[str] = Counter()

        async def post(number: int) -> None:
            for _ in range(number):
                notice = await here.tweet(" ".join(names))
                expected.update(f"{user} {notice}" for user in router.users)

        def got() -> Counter[str]:
            pushed = here.service.got
            return Counter(f"{router.users[number]} {shown['id']}" for number, shown in pushed)

        try:
            await router.child.start()
            ledger = ledger_of(here.on)
            await ledger.create()
            while not await ledger.positions():
                router.child.check()
                await asyncio.sleep(0.1)
            if kills:
                here.service.holds_after = chance.randrange(TWEETS * len(names) // 2)
            await post(TWEETS)
            under_way: set[str] = set()
            bound, seconds, others = await resume_s_max(), 0.0, 0.0
            if kills:
                under_way = await router.killed(here.service, len(router.users))
                await post(TWEETS // 2)  # while there is no router
                began = time.monotonic()
                await router.child.start()
                await post(TWEETS // 2)
                due = expected.keys() - under_way
                await here.until(lambda: due <= got().keys(), WAIT_S_MAX)
                others = time.monotonic() - began
                await here.until(lambda: expected.keys() <= got().keys(), WAIT_S_MAX)
                seconds = time.monotonic() - began
            else:
                await post(TWEETS)
                began = time.monotonic()
                await here.until(lambda: expected.keys() <= got().keys(), WAIT_S_MAX)
                seconds = time.monotonic() - began
            # The units lag: what is posted meanwhile is pushed once they have caught up.
            router.forget()
            await post(1)
            await router.until_said("has not applied")
            await here.until(lambda: expected.keys() <= got().keys(), WAIT_S_MAX)
            while await router.begun():
                router.child.check()
                await asyncio.sleep(0.1)
            await rebuilt(here)
            await router.child.kill()
            await router.child.start()  # it reads again what it had not noted
            await post(1)
            await here.until(lambda: expected.keys() <= got().keys(), WAIT_S_MAX)
        finally:
            await router.child.stop()
        twice = got() - expected
    assert got().keys() == expected.keys(), f"seed {seed}"
    heard = {str(user) for user in router.users[UNHEARD:]}
    assert twice == Counter(one for one in under_way if one.split()[0] in heard), f"seed {seed}"
    name = "router killed while it pushes" + ("" if kills else ": control")
    more = f"{len(under_way)} under way when it died, {len(twice)} of them pushed twice"
    if kills:
        more += f"; all others within {others:.1f} s"
    record(Figures(name, seed, seconds, compared=len(expected), more=more))
    bound = max(bound, await resume_s_max())
    assert others <= bound
    assert seconds <= bound + (RETAKE_SECONDS if kills else 0)


async def rebuilt(here: Place) -> None:
    """Builds the unit anew from the log, beside the one in service."""
    there = here.on.at({"notifications": "t2"})
    again = compose.UNITS["notifications"](there)
    await again.open()
    with closing(open_view(here.on)) as view:
        await Fed(there, again, view).feed()


@pytest.mark.parametrize("kills", [False, True], ids=["control", "killed"])
async def test_digests(settings: Settings, tmp_path: Path, seed: int, kills: bool) -> None:
    chance = random.Random(seed)
    async with place_of(settings) as here, mail_server() as server:
        port, sender = str(server.port), "news@example.com"
        where = {"MURMUR_SMTP_HOST": HOST, "MURMUR_SMTP_PORT": port, "MURMUR_SMTP_SENDER": sender}
        digest = Sending(here, tmp_path, ["digest", "daily"], **where)
        mailed: dict[str, int] = {}
        for _ in range(READERS):
            name = f"d{secrets.token_hex(4)}"
            user = await here.register(name)
            mailed[f"{name}@example.com"] = user
            about: dict[str, Any] = {
                "user_id": user,
                "channel": "email",
                "address": f"{name}@example.com",
            }
            await here.say(DeliveryAddressAdded, **about, p256dh="", auth="")
            await here.say(PreferencesChanged, user_id=user, preferences={"email.daily": True})
            await here.tweet(f"@{name} hello")
        digest.users, server.held = list(mailed.values()), {*mailed}
        await here.feed()

        def got() -> Counter[str]:
            sent = Counter(str(mail["To"]) for mail in server.got)
            return Counter({to: sent[to] for to in mailed if sent[to]})  # others' tests mail too

        under_way: set[str] = set()
        try:
            bound, seconds = await resume_s_max(), 0.0
            server.holds_after = chance.randrange(READERS) if kills else None
            await digest.child.start()
            if kills:
                under_way = await digest.killed(server, 1)
                began = time.monotonic()
                await digest.child.start()
            else:
                began = time.monotonic()
            ending = asyncio.create_task(digest.child.supervise())
            with pytest.raises(ChildFailed, match="exit status 0"):
                await asyncio.wait_for(ending, WAIT_S_MAX)
            seconds = time.monotonic() - began
        finally:
            await digest.child.stop()
            for user in digest.users:
                await here.say(PreferencesChanged, user_id=user, preferences={"email.daily": False})
            await here.feed()
    assert got().keys() == mailed.keys(), f"seed {seed}"
    twice = {mailed[to] for to, number in got().items() if number > 1}
    assert twice <= {int(one.split()[0]) for one in under_way}, f"seed {seed}"
    assert got().total() - len(mailed) == len(twice), f"seed {seed}"
    name = "digest killed while it mails" + ("" if kills else ": control")
    more = f"{len(under_way)} under way when it died, {len(twice)} of them mailed twice"
    record(Figures(name, seed, seconds, compared=len(mailed), more=more))
    bound = max(bound, await resume_s_max())
    assert seconds <= bound + (RETAKE_SECONDS if kills else 0)
