"""Commands while the log cannot be reached: nothing happened, and the client is told so."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from events.snowflake import compose as compose_id
from events.types import UserFollowed
from gateway.commands.appending import Appender
from gateway.http import Request
from gateway.metrics import GatewayMetrics
from gateway.openings import Openings
from gateway.problems import Problem
from infra import compose
from infra.settings import Settings

NOWHERE = "127.0.0.1:9"
DELIVERY_MS_MAX = 1_500


async def _no_body() -> AsyncIterator[bytes]:
    yield b""


def _request(headers: dict[str, str]) -> Request:
    request = Request(
        method="POST",
        path="/api/users/1/follow",
        query_string="",
        header=headers.get,
        chunks=_no_body,
        request_id="r",
    )
    request.user_id = 1
    return request


@pytest.mark.engines
@pytest.mark.timeout(60)
@pytest.mark.parametrize("keyed", [True, False])
async def test_a_command_is_a_503_while_no_broker_answers(
    settings: Settings, topic_prefix: str, keyed: bool
) -> None:
    away = settings.model_copy(update={"kafka_bootstrap": NOWHERE})
    event = UserFollowed(
        event_id=compose_id(1_700_000_000_000, 0, 1),
        occurred_at=1,
        user_id=1,
        target_user_id=2,
    )
    request = _request({"idempotency-key": topic_prefix} if keyed else {})
    async with (
        compose.engines(away) as on,
        compose.open_log(on, delivery_ms_max=DELIVERY_MS_MAX) as log,
    ):
        with pytest.raises(Problem) as refused:
            await Appender(log).append(request, event)
        assert refused.value.status == 503
        assert "Nothing was changed" in refused.value.detail
        assert dict(refused.value.headers)["retry-after"]
        assert not request.appending
        # The key remembers what was to be appended, for the retry that reaches a broker.
        repeated = await Appender(log).repeated(request, UserFollowed)
        assert repeated == (event if keyed else None)


@pytest.mark.engines
@pytest.mark.timeout(60)
async def test_an_opening_is_counted_as_failed_while_no_broker_answers(settings: Settings) -> None:
    away = settings.model_copy(update={"kafka_bootstrap": NOWHERE})
    metrics = GatewayMetrics(CollectorRegistry())
    async with (
        compose.engines(away) as on,
        compose.open_log(on, delivery_ms_max=DELIVERY_MS_MAX) as log,
        compose.open_minter(on) as minter,
    ):
        openings = Openings(log, minter, metrics, period_seconds=60)
        openings.opened(1)
        await openings.close()
    failed = metrics.registry.get_sample_value(
        "murmur_gateway_openings_total", {"outcome": "failed"}
    )
    assert failed == 1
