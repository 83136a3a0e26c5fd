from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import hiredis
import pytest

from projections.base import RetryableError
from projections.bus import TIMEOUT_SECONDS, CommandError, RedisBus
from projections.keys import slot_of
from tests.unit.projections.fake_redis import Answer, FakeNode, bulk, slots

Start = Callable[[Callable[[list[bytes]], Answer]], "asyncio.Future[FakeNode]"]
LOW, HIGH = b"{a}", b"{b}"  # one in each half of the slots


@pytest.fixture
async def nodes() -> AsyncIterator[list[FakeNode]]:
    started: list[FakeNode] = []
    yield started
    for node in started:
        await node.stop()


async def two_nodes(
    nodes: list[FakeNode],
    answer: Callable[[int, list[bytes]], Answer],
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> RedisBus:
    """Slots below 8192 with the first node, the rest with the second."""

    def of(index: int) -> Callable[[list[bytes]], Answer]:
        def reply(command: list[bytes]) -> Answer:
            if command[0] == b"CLUSTER":
                return slots((0, 8191, nodes[0].port), (8192, 16383, nodes[1].port))
            return answer(index, command)

        return reply

    nodes.extend([await FakeNode(of(index)).start() for index in range(2)])
    address = f"redis://127.0.0.1:{nodes[0].port}"
    return await RedisBus.connect(address, timeout_seconds=timeout_seconds)


def keys_by_half() -> tuple[bytes, bytes]:
    names = [b"k%d" % n for n in range(100)]
    low = next(name for name in names if slot_of(name) < 8192)
    high = next(name for name in names if slot_of(name) >= 8192)
    return low, high


async def test_replies_keep_the_order_of_commands_across_nodes(nodes: list[FakeNode]) -> None:
    bus = await two_nodes(nodes, lambda _, command: bulk(command[1]))
    low, high = keys_by_half()
    commands = [("GET", key) for key in (high, low, high, low, low)]
    assert await bus.calls(commands) == [high, low, high, low, low]
    assert [c[1] for c in nodes[0].seen if c[0] == b"GET"] == [low, low, low]
    assert [c[1] for c in nodes[1].seen if c[0] == b"GET"] == [high, high]
    await bus.close()


async def test_a_refusal_does_not_hide_other_replies(nodes: list[FakeNode]) -> None:
    low, _ = keys_by_half()
    bus = await two_nodes(
        nodes, lambda _, c: b"-WRONGTYPE no\r\n" if c[0] == b"HGET" else bulk(b"yes")
    )
    refused, answered = await bus.calls([("HGET", low, "f"), ("GET", low)])
    assert isinstance(refused, hiredis.ReplyError)
    assert answered == b"yes"
    with pytest.raises(CommandError, match="HGET: WRONGTYPE no"):
        await bus.call("HGET", low, "f")
    await bus.close()


async def test_moved_is_followed_and_only_what_was_moved_is_sent_again(
    nodes: list[FakeNode],
) -> None:
    low, high = keys_by_half()
    moved = {"to_second": False}

    def answer(index: int, command: list[bytes]) -> Answer:
        if command[1] == low and index == 0:
            moved["to_second"] = True
            return b"-MOVED %d 127.0.0.1:%d\r\n" % (slot_of(low), nodes[1].port)
        return b":1\r\n"

    def slots_now(command: list[bytes]) -> Answer:
        if command[0] == b"CLUSTER":
            owner = nodes[1].port if moved["to_second"] else nodes[0].port
            return slots((0, 8191, owner), (8192, 16383, nodes[1].port))
        return answer(0, command)

    bus = await two_nodes(nodes, answer)
    nodes[0]._answer = slots_now
    assert await bus.calls([("INCR", low), ("INCR", high)]) == [1, 1]
    incremented = [c[1] for node in nodes for c in node.seen if c[0] == b"INCR"]
    assert sorted(incremented) == sorted([low, low, high])
    await bus.close()


async def test_ask_is_followed_for_one_command(nodes: list[FakeNode]) -> None:
    low, _ = keys_by_half()

    def answer(index: int, command: list[bytes]) -> Answer:
        if command[0] == b"ASKING":
            return b"+OK\r\n"
        if index == 0:
            return b"-ASK %d 127.0.0.1:%d\r\n" % (slot_of(low), nodes[1].port)
        return bulk(b"there")

    bus = await two_nodes(nodes, answer)
    assert await bus.call("GET", low) == b"there"
    assert [c[0] for c in nodes[1].seen] == [b"ASKING", b"GET"]
    await bus.close()


async def test_a_missing_function_is_loaded_and_the_call_repeated(nodes: list[FakeNode]) -> None:
    low, _ = keys_by_half()
    loaded: list[bytes] = []

    def answer(_: int, command: list[bytes]) -> Answer:
        if command[0] == b"FUNCTION":
            loaded.append(command[3])
            return bulk(b"lib")
        return bulk(b"done") if loaded else b"-ERR Function not found\r\n"

    bus = await two_nodes(nodes, answer)
    bus.use_library("#!lua name=lib")
    assert await bus.call("FCALL", "f", 1, low) == b"done"
    assert loaded == [b"#!lua name=lib"] * 2  # once a node
    await bus.close()


async def test_a_broken_connection_fails_all_that_wait_and_nothing_is_sent_again(
    nodes: list[FakeNode],
) -> None:
    low, _ = keys_by_half()
    bus = await two_nodes(nodes, lambda _, c: None if c[0] == b"INCR" else bulk(b"ok"))
    results = await asyncio.gather(
        bus.call("INCR", low), bus.call("INCR", low), return_exceptions=True
    )
    assert all(isinstance(result, RetryableError) for result in results)
    assert sum(c[0] == b"INCR" for c in nodes[0].seen) <= 2
    assert await bus.call("GET", low) == b"ok"  # a new connection is made for what comes later
    await bus.close()


async def test_silence_becomes_a_retryable_error(nodes: list[FakeNode]) -> None:
    low, _ = keys_by_half()
    bus = await two_nodes(
        nodes, lambda _, c: b"" if c[0] == b"GET" else bulk(b"ok"), timeout_seconds=0.05
    )
    with pytest.raises(RetryableError, match=r"did not answer within 0\.05 s"):
        await bus.call("GET", low)
    await bus.close()


async def test_slots_without_an_owner_are_not_ready(nodes: list[FakeNode]) -> None:
    nodes.append(await FakeNode(lambda _: slots((0, 100, nodes[0].port))).start())
    with pytest.raises(RetryableError, match="slots without an owner"):
        await RedisBus.connect(f"redis://127.0.0.1:{nodes[0].port}")


@pytest.mark.parametrize("url", ["http://x:1", "redis://", "127.0.0.1:6379"])
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match="write redis://host:port"):
        RedisBus(url)


@pytest.mark.parametrize(
    "refusal",
    [b"OOM command not allowed when used memory > 'maxmemory'.", b"MISCONF no disk", b"BUSY no"],
)
async def test_a_refusal_that_passes_is_retryable(nodes: list[FakeNode], refusal: bytes) -> None:
    low, _ = keys_by_half()
    bus = await two_nodes(nodes, lambda _, _command: b"-%s\r\n" % refusal)
    with pytest.raises(RetryableError, match="cannot serve this yet"):
        await bus.call("SET", low, "v")
    await bus.close()
